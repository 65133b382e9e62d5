//! The representation of a cache entry: name and records in one allocation, shared data outside of it, and mutable
//! state. There are hundreds of thousands, so that each octet counts.

use crate::engine::cache::{
    CacheDataOf, CacheKey, FailureCause, Freshness, KeyRef, Outcome, QueryFlags, Timestamp, TtlPolicy,
    expires, freshness, is_beside_alias, refresh_at, wants_refresh,
};
use crate::engine::catalog::GroupKey;
use crate::engine::name::{self, NameKey, NameWire};
use crate::engine::plain_answer::Addresses;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Octets of answer records that are stored inline with the name; more are stored separately.
const MAX_INLINE: usize = 128;

/// Octets of the longest data: a name, a target, a code, and answer records.
const MAX_DATA_BYTES: usize = 648;

/// Overhead of a heap allocation in octets, and its alignment.
const HEAP: (usize, usize) = (8, 16);

/// Octets of the two counts of an `Arc`.
const COUNTS: usize = 16;

/// Bits of [`EntryHead::bits`]: the lowest three are the kind of outcome.
const KIND: u8 = 7;
const AUTHENTIC: u8 = 8;
const DNSSEC: u8 = 16;
/// All answer records are of one length.
const ALIKE: u8 = 32;
/// Its weight includes the separate data.
const WEIGHS_APART: u8 = 64;

/// The kinds of outcome.
const RRSET: u8 = 0;
const ALIAS: u8 = 1;
const NO_DATA: u8 = 2;
const NX_DOMAIN: u8 = 3;
const YX_DOMAIN: u8 = 4;
const UNREACHABLE: u8 = 5;
const TOO_MANY: u8 = 6;
const RCODE: u8 = 7;

/// Bits of [`EntryHead::state`].
const SERVED: u8 = 1;
const REFRESHING: u8 = 2;

/// Records that are not inline: many records, or an SOA shared by the negative answers of a zone.
#[derive(Debug, PartialEq, Eq)]
pub struct Apart {
    answers: Box<[u8]>,
    authority: Box<[u8]>,
}

impl Apart {
    /// The authority records, packed.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// Octets of memory.
    fn size(&self) -> usize {
        let parts = [size_of::<Self>() + COUNTS, self.answers.len(), self.authority.len()];
        parts.into_iter().filter(|octets| *octets > 0).map(allocated).sum()
    }
}

/// A cache entry and its mutable state.
pub struct CacheEntry<D: ?Sized = [u8]> {
    head: EntryHead,
    /// The name; an alias's target, or a failing code; answer records.
    data: D,
}

/// The fixed part of every entry.
struct EntryHead {
    /// The configuration generation (32 bits) and view (32 bits) for which this entry alone answers a plain question; 0
    /// for none.
    bound: AtomicU64,
    /// Time of the last failed refresh: milliseconds after it was stored, plus 1; 0 for never.
    failed: AtomicU32,
    ttl: u32,
    stored: Timestamp,
    group: GroupKey,
    apart: Option<Arc<Apart>>,
    /// The type of its question, or 0 for all types of the name.
    rtype: u16,
    /// Octets of answer records in `data`.
    inline: u16,
    bits: u8,
    /// CD, and DO of a failure, as in a [`CacheKey`].
    flags: u8,
    name_length: u8,
    state: AtomicU8,
}

/// Octets of an allocation.
fn allocated(octets: usize) -> usize {
    (octets + HEAP.0).next_multiple_of(HEAP.1).max(32)
}

impl CacheEntry {
    /// An entry for the answer to a key's question. `share` may return shared records of other entries.
    pub fn new(
        key: &CacheKey,
        entry: &CacheDataOf<'_>,
        share: impl FnOnce(Apart) -> (Arc<Apart>, bool),
    ) -> Arc<Self> {
        let name = key.wire();
        let (answers, authority) = entry.packed();
        let mut place = [0; MAX_DATA_BYTES];
        let mut length = 0;
        let mut put = |octets: &[u8]| {
            if let Some(place) = place.get_mut(length..length + octets.len()) {
                place.copy_from_slice(octets);
                length += octets.len();
            }
        };
        put(name);
        let kind = match &entry.outcome {
            Outcome::Rrset => RRSET,
            Outcome::Alias(target) => {
                put(NameWire::of(target).wire());
                ALIAS
            }
            Outcome::NoData => NO_DATA,
            Outcome::NxDomain => NX_DOMAIN,
            Outcome::YxDomain => YX_DOMAIN,
            Outcome::Failure(FailureCause::Unreachable) => UNREACHABLE,
            Outcome::Failure(FailureCause::TooManyRecords) => TOO_MANY,
            Outcome::Failure(FailureCause::Rcode(rcode)) => {
                put(&u16::from(*rcode).to_be_bytes());
                RCODE
            }
        };
        let is_inline = answers.len() <= MAX_INLINE;
        if is_inline {
            put(answers);
        }
        let (apart, weighs) = match (is_inline, authority) {
            (true, []) => (None, false),
            _ => {
                let answers = if is_inline { &[] } else { answers };
                let (apart, weighs) = share(Apart { answers: answers.into(), authority: authority.into() });
                (Some(apart), weighs)
            }
        };
        let flags = key.flags();
        let mut bits = kind;
        for (bit, is_set) in [
            (AUTHENTIC, entry.authentic),
            (DNSSEC, entry.dnssec),
            (ALIKE, entry.alike().is_some()),
            (WEIGHS_APART, weighs),
        ] {
            bits |= if is_set { bit } else { 0 };
        }
        let (ttl, stored, group) = (entry.ttl, entry.stored, key.group());
        let (rtype, name_length) = (u16::from(key.rtype()), name.len() as u8); // 255 at most
        let inline = if is_inline { answers.len() as u16 } else { 0 };
        let flags = u8::from(flags.dnssec_ok) | u8::from(flags.checking_disabled) << 1;
        let head = EntryHead {
            bound: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            ttl,
            stored,
            group,
            apart,
            rtype,
            inline,
            bits,
            flags,
            name_length,
            state: AtomicU8::new(0),
        };
        let data = &place[..length];
        // sizes that use an allocation completely
        match length {
            0..=8 => head.with::<8>(data),
            9..=24 => head.with::<24>(data),
            25..=40 => head.with::<40>(data),
            41..=56 => head.with::<56>(data),
            57..=72 => head.with::<72>(data),
            73..=88 => head.with::<88>(data),
            89..=104 => head.with::<104>(data),
            105..=120 => head.with::<120>(data),
            121..=152 => head.with::<152>(data),
            153..=200 => head.with::<200>(data),
            201..=280 => head.with::<280>(data),
            281..=408 => head.with::<408>(data),
            _ => head.with::<MAX_DATA_BYTES>(data),
        }
    }

    /// An entry without shared records.
    pub fn alone(key: &CacheKey, entry: &CacheDataOf<'_>) -> Arc<Self> {
        Self::new(key, entry, |apart| (Arc::new(apart), true))
    }

    /// Its key.
    pub fn key(&self) -> CacheKey {
        let flags =
            QueryFlags { dnssec_ok: self.head.flags & 1 != 0, checking_disabled: self.head.flags & 2 != 0 };
        CacheKey::new(
            self.head.group,
            &NameKey::of_suffix(self.name()),
            RecordType::from(self.head.rtype),
            flags,
        )
    }

    /// True if this is its key.
    pub fn is_at(&self, at: &KeyRef<'_>) -> bool {
        (self.head.group, self.head.rtype, self.head.flags) == (at.group, at.rtype, at.flags)
            && self.name() == at.name
    }

    /// Its name in lower-case wire format.
    pub fn name(&self) -> &[u8] {
        self.data.get(..usize::from(self.head.name_length)).unwrap_or_default()
    }

    /// Its inline addresses, which most entries have.
    pub fn addresses(&self) -> Option<Addresses<'_>> {
        if self.head.bits & (KIND | ALIKE) != RRSET | ALIKE || self.head.apart.is_some() {
            return None;
        }
        let start = usize::from(self.head.name_length);
        let records = self.data.get(start..start + usize::from(self.head.inline))?;
        let authentic = self.head.bits & AUTHENTIC != 0;
        Some(Addresses { records, expires: expires(self.head.stored, self.head.ttl), authentic })
    }

    /// The entry.
    pub fn entry(&self) -> CacheDataOf<'_> {
        let behind = self.data.get(usize::from(self.head.name_length)..).unwrap_or_default();
        let (special, records) = match self.head.bits & KIND {
            ALIAS => behind.split_at(name::wire_length(behind).unwrap_or(0)),
            RCODE => behind.split_at(2.min(behind.len())),
            _ => (&[][..], behind),
        };
        let outcome = match self.head.bits & KIND {
            RRSET => Outcome::Rrset,
            ALIAS => Outcome::Alias(Name::from_bytes(special).unwrap_or_default()),
            NO_DATA => Outcome::NoData,
            NX_DOMAIN => Outcome::NxDomain,
            YX_DOMAIN => Outcome::YxDomain,
            UNREACHABLE => Outcome::Failure(FailureCause::Unreachable),
            TOO_MANY => Outcome::Failure(FailureCause::TooManyRecords),
            _ => {
                let code = special.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                Outcome::Failure(FailureCause::Rcode(ResponseCode::from((code >> 4) as u8, code as u8 & 15)))
            }
        };
        let inline = records.get(..usize::from(self.head.inline)).unwrap_or_default();
        let (answers, authority) = match &self.head.apart {
            Some(apart) if apart.answers.is_empty() => (inline, &*apart.authority),
            Some(apart) => (&*apart.answers, &*apart.authority),
            None => (inline, &[][..]),
        };
        let has = |bit| self.head.bits & bit != 0;
        CacheDataOf::kept(
            outcome,
            (self.head.stored, self.head.ttl),
            (has(AUTHENTIC), has(DNSSEC), has(ALIKE)),
            (answers, authority),
        )
    }

    /// Its freshness at a given time.
    pub fn freshness(&self, now: Timestamp, lifetimes: &TtlPolicy) -> Freshness {
        let may_be_stale = || match self.head.bits & KIND {
            RRSET | ALIAS => true,
            NO_DATA | NX_DOMAIN | YX_DOMAIN => self.entry().may_be_stale(),
            _ => false, // a failure
        };
        freshness(self.head.stored, self.head.ttl, now, lifetimes, may_be_stale)
    }

    /// When it was stored.
    pub fn stored(&self) -> Timestamp {
        self.head.stored
    }

    /// Its TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.head.ttl
    }

    /// It was fetched with DO.
    pub fn dnssec(&self) -> bool {
        self.head.bits & DNSSEC != 0
    }

    /// True if it applies to all types of its name.
    pub fn is_of_name(&self) -> bool {
        self.head.rtype == 0
    }

    /// True for a failure.
    pub fn is_failure(&self) -> bool {
        self.head.bits & KIND >= UNREACHABLE
    }

    /// True for NXDOMAIN.
    pub fn is_nxdomain(&self) -> bool {
        self.head.bits & KIND == NX_DOMAIN
    }

    /// True for data, not for a negative answer or a failure.
    pub fn has_data(&self) -> bool {
        matches!(self.head.bits & KIND, RRSET | ALIAS)
    }

    /// True if it may answer a question for this type.
    pub fn answers_type(&self, rtype: RecordType) -> bool {
        self.head.bits & KIND != ALIAS || !is_beside_alias(rtype)
    }

    /// Binds this entry as the complete answer to plain questions, for a configuration generation and a view.
    pub fn bind(&self, generation: u32, view: u32) {
        self.head.bound.store(Self::binding(generation, view), Ordering::Relaxed);
    }

    /// True if it is bound and does not need a refresh yet.
    pub fn answers_alone(&self, generation: u32, view: u32, now: Timestamp) -> bool {
        self.head.bound.load(Ordering::Relaxed) == Self::binding(generation, view)
            && now < refresh_at(self.head.stored, self.head.ttl)
    }

    fn binding(generation: u32, view: u32) -> u64 {
        (u64::from(generation) << 32 | u64::from(view)).wrapping_add(1)
    }

    /// Counts a hit. True if the caller must refresh the entry: it was served before, is about to expire, and no other
    /// query refreshes it.
    pub fn hit_wants_refresh(&self, now: Timestamp, lifetimes: &TtlPolicy) -> bool {
        let popular = self.head.state.fetch_or(SERVED, Ordering::Relaxed) & SERVED != 0;
        lifetimes.prefetch
            && popular
            && !self.is_failure()
            && wants_refresh(self.head.stored, self.head.ttl, now)
            && self.claim_refresh()
    }

    /// True where it answered a query out of the cache.
    pub fn was_served(&self) -> bool {
        self.head.state.load(Ordering::Relaxed) & SERVED != 0
    }

    /// True for the first caller.
    pub fn claim_refresh(&self) -> bool {
        self.head.state.fetch_or(REFRESHING, Ordering::Relaxed) & REFRESHING == 0
    }

    /// The refresh ended without a failure of the upstream.
    pub fn release_refresh(&self) {
        self.head.state.fetch_and(!REFRESHING, Ordering::Relaxed);
    }

    /// Time of the last failed refresh.
    pub fn failed(&self) -> Option<Timestamp> {
        let failed = self.head.failed.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Timestamp(self.head.stored.0 + u64::from(failed)))
    }

    /// Records a failed refresh; the next may be tried.
    pub(super) fn fail(&self, now: Timestamp) {
        let after = u32::try_from(now.since(self.head.stored)).unwrap_or(u32::MAX).min(u32::MAX - 1); // 49 days
        self.head.failed.store(after + 1, Ordering::Relaxed);
        self.release_refresh();
    }

    /// Its memory in octets.
    pub fn size(&self) -> usize {
        let apart = self.head.apart.as_ref().filter(|_| self.head.bits & WEIGHS_APART != 0);
        allocated(COUNTS + size_of_val(self)) + apart.map_or(0, |apart| apart.size())
    }
}

impl EntryHead {
    /// The entry with its data.
    fn with<const ROOM: usize>(self, octets: &[u8]) -> Arc<CacheEntry> {
        let mut data = [0; ROOM];
        let length = octets.len().min(ROOM);
        data[..length].copy_from_slice(&octets[..length]);
        Arc::new(CacheEntry { head: self, data })
    }
}

impl fmt::Debug for CacheEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.key(), self.entry())
    }
}
