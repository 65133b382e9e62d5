//! What the cache holds and what it is worth at a moment: entries, their lifetimes, fresh and stale.
//!
//! An entry is what one upstream group said of one name and type: one hop of a chain. It keeps its records in
//! a compact wire form, because there are many of them and few are looked at. The container that holds the
//! entries, bounds them by bytes and is shared by threads is `resolve::cache`; this file is pure.

pub use super::cache_key::{CacheKey, KeyRef, QueryFlags};

use super::name::{self, NameKey};
use super::{decode, record, work};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use std::borrow::Cow;
use std::collections::HashSet;

/// A moment in milliseconds on a clock that never goes back. The shell says where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds since an earlier moment; 0 if that lies in the future.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When an entry stored at a moment with a TTL in seconds expires.
pub fn expires(stored: Timestamp, ttl: u32) -> Timestamp {
    Timestamp(stored.0 + u64::from(ttl) * 1000)
}

/// When it should be refreshed if it is popular: a tenth of its life is left. Short lives are not worth it.
pub fn refresh_at(stored: Timestamp, ttl: u32) -> Timestamp {
    match ttl {
        0..10 => expires(stored, ttl),
        ttl => Timestamp(stored.0 + u64::from(ttl) * 900),
    }
}

/// True when it should be refreshed now if it is popular.
pub fn wants_refresh(stored: Timestamp, ttl: u32, now: Timestamp) -> bool {
    ttl >= 10 && now >= refresh_at(stored, ttl)
}

/// What an entry stored at a moment with a TTL in seconds is worth; `may_be_stale` says whether it may be served beyond
/// its life, and is asked only then.
#[inline]
pub fn freshness(
    stored: Timestamp,
    ttl: u32,
    now: Timestamp,
    lifetimes: &TtlPolicy,
    may_be_stale: impl FnOnce() -> bool,
) -> Freshness {
    let (age, life) = (now.since(stored), u64::from(ttl) * 1000);
    if age < life {
        Freshness::Fresh(seconds_left(expires(stored, ttl), now))
    } else if age < life + u64::from(lifetimes.max_stale) * 1000 && may_be_stale() {
        Freshness::Stale
    } else {
        Freshness::Expired
    }
}

/// The TTL of a record that expires then: rounded up, since it must not be seen as 0 while it still holds.
pub fn seconds_left(expires: Timestamp, now: Timestamp) -> u32 {
    u32::try_from(expires.since(now).div_ceil(1000)).unwrap_or(u32::MAX)
}

/// How long things are kept, and how much of one answer. Seconds unless a name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlPolicy {
    /// No answer is kept for less.
    pub min_ttl: u32,
    /// No answer is kept for longer.
    pub max_ttl: u32,
    /// No denial is kept for longer (RFC 2308 section 5).
    pub negative_max_ttl: u32,
    /// How long after its expiry an answer may still be served when no new one is available; 0 switches it off.
    pub max_stale: u32,
    /// The TTL that a stale answer carries (RFC 8767 section 4).
    pub stale_ttl: u32,
    /// How long a failed refresh keeps the next from being tried, in milliseconds.
    pub stale_retry_ms: u64,
    /// Refresh a popular answer before it expires.
    pub prefetch: bool,
    /// No RRset of an upstream has more records.
    pub max_rrset_records: usize,
    /// NXDOMAIN denies the names below as well (RFC 8020).
    pub nxdomain_cut: bool,
}

impl Default for TtlPolicy {
    fn default() -> Self {
        Self {
            min_ttl: 0,
            max_ttl: 86_400,
            negative_max_ttl: 900,
            max_stale: 86_400,
            stale_ttl: 30,
            stale_retry_ms: 30_000,
            prefetch: true,
            max_rrset_records: 100,
            nxdomain_cut: false,
        }
    }
}

impl TtlPolicy {
    /// A TTL within the bounds for what it belongs to.
    pub fn bound(&self, outcome: &Outcome, ttl: u32) -> u32 {
        match outcome {
            Outcome::NoData | Outcome::NxDomain => ttl.min(self.negative_max_ttl),
            Outcome::Failure(_) => ttl.min(FAILURE_MAX_TTL),
            Outcome::Rrset | Outcome::Alias(_) | Outcome::YxDomain => {
                ttl.clamp(self.min_ttl.min(self.max_ttl), self.max_ttl)
            }
        }
    }
}

/// The longest time for which a failure is kept, in seconds (RFC 2308 section 7.1 allows 300).
pub const FAILURE_MAX_TTL: u32 = 5;

/// True for a type that a CNAME does not stand for (RFC 4034 section 2.5, RFC 2535 section 2.3.5): SIG, KEY, NXT,
/// RRSIG and NSEC lie beside it.
pub fn is_beside_alias(rtype: RecordType) -> bool {
    matches!(u16::from(rtype), 24 | 25 | 30 | 46 | 47)
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The RRset asked for.
    Rrset,
    /// A CNAME to this name.
    Alias(Name),
    /// The name exists, not with this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The name would be longer than a name can be where a DNAME leads it (RFC 6672 section 2.2).
    YxDomain,
    /// No upstream answered, for this reason.
    Failure(FailureCause),
}

impl Outcome {
    /// What an entry is kept under, by the key of its question: an alias and NXDOMAIN hold for the name whatever the type
    /// (RFC 2308 section 5), and what was fetched with DO serves those without it. A failure is the question's own.
    pub fn entry_key(&self, question: CacheKey) -> CacheKey {
        match self {
            Self::Failure(_) => question,
            Self::Alias(_) | Self::NxDomain => question.of_any_type().without_dnssec(),
            Self::Rrset | Self::NoData | Self::YxDomain => question.without_dnssec(),
        }
    }
}

/// Why an upstream group could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// A server answered with a code that is no answer.
    Rcode(ResponseCode),
    /// No server could be reached in time.
    Unreachable,
    /// An RRset of the answer has more records than are taken.
    TooManyRecords,
}

/// What one group said of one name and type, with octets of its own.
pub type CacheData = CacheDataOf<'static>;

/// What one group said of one name and type; its records may be borrowed from who keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDataOf<'e> {
    /// What it said.
    pub outcome: Outcome,
    /// When it was said.
    pub stored: Timestamp,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// An upstream vouches for it (AD).
    pub authentic: bool,
    /// It was fetched with DO: its signatures and proofs are in it, if there are any.
    pub dnssec: bool,
    /// Octets of each packed answer record, where all are of the asked-for name and of one type and length; else 0.
    stride: u16,
    /// Records of the answer section, packed.
    answers: PackedBytes<'e>,
    /// Records of the authority section, packed.
    authority: PackedBytes<'e>,
}

/// What an entry is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Valid for this many seconds more.
    Fresh(u32),
    /// It has expired, but may be served if nothing better is to be had.
    Stale,
    /// It is nothing any more.
    Expired,
}

impl CacheData {
    /// An entry; all records are given the TTL of the entry when they are read back.
    pub fn new(
        outcome: Outcome,
        owner: &NameKey,
        answers: &[Record],
        authority: &[Record],
        ttl: u32,
        authentic: bool,
        now: Timestamp,
    ) -> Self {
        let (answers, authority) = (PackedBytes::pack(answers, owner), PackedBytes::pack(authority, owner));
        let stride = answers.stride();
        Self { outcome, stored: now, ttl, authentic, dnssec: false, stride, answers, authority }
    }

    /// A failure, kept for `ttl` seconds, at most [`FAILURE_MAX_TTL`].
    pub fn failure(cause: FailureCause, ttl: u32, now: Timestamp) -> Self {
        Self {
            outcome: Outcome::Failure(cause),
            stored: now,
            ttl: ttl.min(FAILURE_MAX_TTL),
            authentic: false,
            dnssec: false,
            stride: 0,
            answers: PackedBytes::default(),
            authority: PackedBytes::default(),
        }
    }
}

impl<'e> CacheDataOf<'e> {
    /// What the entry is worth now.
    pub fn freshness(&self, now: Timestamp, lifetimes: &TtlPolicy) -> Freshness {
        freshness(self.stored, self.ttl, now, lifetimes, || self.may_be_stale())
    }

    /// True for entries that may be served stale: not for failures, and not for negative answers without an SOA.
    pub fn may_be_stale(&self) -> bool {
        match self.outcome {
            Outcome::Failure(_) => false,
            Outcome::NoData | Outcome::NxDomain => {
                self.packed_authority().any(|record| record.rtype == RecordType::SOA)
            }
            Outcome::YxDomain => self.packed_answers().next().is_some(),
            Outcome::Rrset | Outcome::Alias(_) => true,
        }
    }

    /// True when it may answer a question for this type: what is kept for a name does not say everything of it.
    pub fn answers_type(&self, rtype: RecordType) -> bool {
        !matches!(self.outcome, Outcome::Alias(_)) || !is_beside_alias(rtype)
    }

    /// True for an NXDOMAIN that may be passed on for the names below it (RFC 8020): none of its records is of the
    /// name itself.
    pub fn denies_below(&self) -> bool {
        self.outcome == Outcome::NxDomain && self.packed_authority().all(|record| record.owner.is_some())
    }

    /// An entry as it is kept: its moment and TTL, whether it is authentic, fetched with DO, and has answer records
    /// of one length only, and its packed records.
    pub fn kept(
        outcome: Outcome,
        (stored, ttl): (Timestamp, u32),
        (authentic, dnssec, alike): (bool, bool, bool),
        (answers, authority): (&'e [u8], &'e [u8]),
    ) -> Self {
        let stride = match answers.split_first_chunk() {
            Some((head @ &[_, _, _, high, low], _)) if alike => {
                u16::from_be_bytes([high, low]) + head.len() as u16
            }
            _ => 0,
        };
        let (answers, authority) = (PackedBytes(answers.into()), PackedBytes(authority.into()));
        Self { outcome, stored, ttl, authentic, dnssec, stride, answers, authority }
    }

    /// When it expires.
    pub fn expires(&self) -> Timestamp {
        expires(self.stored, self.ttl)
    }

    /// When it should be refreshed if it is popular: a tenth of its life is left. Short lives are not worth it.
    pub fn refresh_at(&self) -> Timestamp {
        refresh_at(self.stored, self.ttl)
    }

    /// True when a popular entry should be refreshed.
    pub fn wants_refresh(&self, now: Timestamp) -> bool {
        !self.is_failure() && wants_refresh(self.stored, self.ttl, now)
    }

    /// True for a failure.
    pub fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failure(_))
    }

    /// The answer records, the asked-for owner written as `owner` (a client sees its own case).
    pub fn answers(&self, owner: &Name, ttl: u32) -> Vec<Record> {
        self.packed_answers().filter_map(|record| record.unpack(owner, ttl)).collect()
    }

    /// The authority records.
    pub fn authority(&self, owner: &Name, ttl: u32) -> Vec<Record> {
        self.packed_authority().filter_map(|record| record.unpack(owner, ttl)).collect()
    }

    /// The answer records as they are kept.
    pub(super) fn packed_answers(&self) -> PackedRecords<'_> {
        PackedRecords(&self.answers.0)
    }

    /// The authority records as they are kept.
    pub(super) fn packed_authority(&self) -> PackedRecords<'_> {
        PackedRecords(&self.authority.0)
    }

    /// The data of its records, where all it has are records of this type at the asked-for name.
    pub fn own_data(&self, rtype: RecordType) -> Option<Vec<&[u8]>> {
        let mut data = Vec::with_capacity(4);
        let mut rest: &[u8] = &self.answers.0;
        let [high, low] = u16::from(rtype).to_be_bytes();
        while let Some((head, tail)) = rest.split_first_chunk() {
            let [SAME_OWNER, a, b, c, d] = *head else { return None };
            let (own, others) = tail.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
            if [a, b] != [high, low] {
                return None;
            }
            data.push(own);
            rest = others;
        }
        (rest.is_empty() && self.authority.0.is_empty()).then_some(data)
    }

    /// The type of its answer records, and the octets of each as it is packed, where all are of the asked-for name, and of
    /// one type and length.
    pub fn alike(&self) -> Option<(RecordType, usize)> {
        let (&[_, high, low], _) = self.answers.0.split_first_chunk().filter(|_| self.stride > 0)?;
        Some((RecordType::from(u16::from_be_bytes([high, low])), usize::from(self.stride)))
    }

    /// True when it denies, and all that it has is a SOA record of a name above.
    pub fn is_bare_denial(&self) -> bool {
        let mut authority = self.packed_authority();
        let soa =
            authority.next().is_some_and(|record| record.rtype == RecordType::SOA && record.owner.is_some());
        let denies = matches!(self.outcome, Outcome::NoData | Outcome::NxDomain);
        denies && soa && authority.next().is_none() && self.answers.0.is_empty()
    }

    /// True when it has a record twice.
    pub(super) fn repeats_itself(&self) -> bool {
        let mut records = self.packed_answers().map(|record| (record.owner, record.rtype, record.data));
        let mut seen = HashSet::new();
        !records.all(|record| seen.insert(record))
    }

    /// The packed records, answer and authority, for the snapshot.
    pub fn packed(&self) -> (&[u8], &[u8]) {
        (&self.answers.0, &self.authority.0)
    }

    /// An entry of packed records, out of a snapshot or as it is kept.
    pub fn restore(
        outcome: Outcome,
        stored: Timestamp,
        ttl: u32,
        authentic: bool,
        packed: (impl Into<Cow<'e, [u8]>>, impl Into<Cow<'e, [u8]>>),
    ) -> Self {
        let (answers, authority) = (PackedBytes(packed.0.into()), PackedBytes(packed.1.into()));
        let stride = answers.stride();
        Self { outcome, stored, ttl, authentic, dnssec: false, stride, answers, authority }
    }
}

/// Records in a compact form: for each, the owner (one 0xff for the asked-for name, else its wire form), type,
/// length and data. The TTL is the entry's, the class is IN.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct PackedBytes<'p>(Cow<'p, [u8]>);

/// Stands for the asked-for name; no label is that long.
const SAME_OWNER: u8 = 0xff;

/// Appends a record of the asked-for name to packed records.
pub(super) fn pack_own(packed: &mut Vec<u8>, rtype: RecordType, data: &[u8]) {
    packed.push(SAME_OWNER);
    packed.extend(u16::from(rtype).to_be_bytes());
    packed.extend((data.len() as u16).to_be_bytes()); // the length field of a record has 16 bits
    packed.extend_from_slice(data);
}

impl PackedBytes<'_> {
    /// Octets of each record, where all are of the asked-for name and of one type and length; else 0.
    fn stride(&self) -> u16 {
        let Some((head @ &[SAME_OWNER, _, _, high, low], _)) = self.0.split_first_chunk() else { return 0 };
        let Some(stride) = u16::from_be_bytes([high, low]).checked_add(head.len() as u16) else { return 0 };
        let records = self.0.chunks(usize::from(stride));
        let alike = records.map(|record| record.len() == usize::from(stride) && record.starts_with(head));
        if alike.into_iter().all(|alike| alike) { stride } else { 0 }
    }

    /// Packs records, each of them once (RFC 2181 section 5).
    fn pack(records: &[Record], owner: &NameKey) -> PackedBytes<'static> {
        let mut bytes = Vec::new();
        let mut seen = HashSet::new();
        for record in records {
            let data = record::to_wire(&record.data);
            let Ok(length) = u16::try_from(data.len()) else { continue };
            let start = bytes.len();
            let name = NameKey::of(&record.name);
            if name == *owner {
                bytes.push(SAME_OWNER);
            } else {
                bytes.extend_from_slice(name.wire());
            }
            bytes.extend(u16::from(record.record_type()).to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend(data);
            if records.len() > 1 && !seen.insert(bytes[start..].to_vec()) {
                bytes.truncate(start);
            }
        }
        PackedBytes(bytes.into())
    }
}

/// A record as an entry keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachedRecord<'e> {
    /// The owner in lower-case wire form; nothing for the name that the entry is about.
    pub(super) owner: Option<&'e [u8]>,
    /// The type.
    pub(super) rtype: RecordType,
    /// The data, uncompressed.
    pub(super) data: &'e [u8],
}

impl CachedRecord<'_> {
    /// The record itself; `asked` is the name that the entry is about.
    pub(super) fn unpack(&self, asked: &Name, ttl: u32) -> Option<Record> {
        work::unpacked();
        let data = decode::data(self.rtype, self.data)?;
        let name = match self.owner {
            Some(wire) => NameKey::of_suffix(wire).to_name(),
            None => asked.clone(),
        };
        Some(Record::from_rdata(name, ttl, data))
    }
}

/// Packed records, one after the other.
#[derive(Clone, Debug)]
pub(super) struct PackedRecords<'e>(&'e [u8]);

impl<'e> PackedRecords<'e> {
    /// The records in these octets.
    pub(super) fn of(octets: &'e [u8]) -> Self {
        Self(octets)
    }
}

impl<'e> Iterator for PackedRecords<'e> {
    type Item = CachedRecord<'e>;

    fn next(&mut self) -> Option<CachedRecord<'e>> {
        let rest = self.0;
        let (owner, rest) = if *rest.first()? == SAME_OWNER {
            (None, &rest[1..])
        } else {
            let (wire, rest) = rest.split_at(name::wire_length(rest)?);
            (Some(wire), rest)
        };
        let (&[type_high, type_low, high, low], rest) = rest.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.0 = rest;
        work::visited();
        Some(CachedRecord { owner, rtype: RecordType::from(u16::from_be_bytes([type_high, type_low])), data })
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
