//! The container of the answer cache: shared by threads, limited in bytes, resistant to flooding.
//!
//! quick_cache provides admission and eviction by a policy like S3-FIFO: a flood of names that are queried once passes
//! through a small probationary part and does not evict names that are queried again. `engine::cache` decides the
//! freshness of an entry.

use super::cache_entry::{Apart, CacheEntry};
use super::retained::{RetainReview, RetainedAnswers};
use crate::engine::cache::{
    CacheDataOf, CacheKey, Freshness, KeyRef, Outcome, QueryFlags, Timestamp, TtlPolicy,
};
use crate::engine::cached_packet::PacketKey;
use crate::engine::catalog::GroupKey;
use crate::engine::name;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Overhead of an entry in octets: pointer, links and hash in its table, and the slot of the hash table.
const OVERHEAD: usize = 52;

/// Number of zones whose negative answers share their SOA records.
const MAX_SHARED: usize = 1024;

/// Number of hints.
const HINTS: usize = 4096;

/// A bit of a hint: there are entries for a type.
const AT_TYPE: u8 = 1;

/// There are entries for a name, for all types.
const AT_NAME: u8 = 2;

/// The index of an entry: a seeded hash of its key. Two keys with the same hash evict each other; the key is in the
/// slot and is compared there.
type PlaceHash = u64;

/// The weight of an entry is its memory in octets.
#[derive(Clone, Debug)]
struct EntryBytes;

impl Weighter<PlaceHash, Arc<CacheEntry>> for EntryBytes {
    fn weight(&self, _: &PlaceHash, slot: &Arc<CacheEntry>) -> u64 {
        (slot.size() + OVERHEAD) as u64
    }
}

/// Counts evictions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evictions(Arc<AtomicU64>);

impl Evictions {
    /// Number of evictions.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<K, V> Lifecycle<K, V> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A limited container with a count of its evictions.
pub(crate) type Bounded<K, V, W> = (Cache<K, V, W, DefaultHashBuilder, Evictions>, Evictions);

/// A container of at most `bytes` octets by weight.
pub(crate) fn bounded<K, V, W>(bytes: u64, weighter: W) -> Bounded<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    // Entries have some hundred octets. A low estimate costs a rehash while filling, a high one costs memory at once,
    // because it determines the table size. One shard for each MiB keeps the limit sufficiently exact.
    let estimate = (bytes / 4096).clamp(16, 100_000) as usize;
    in_shards(bytes, weighter, estimate, (bytes >> 20).clamp(1, 16) as usize)
}

/// The same for few large values, which would not fit into shards.
pub(crate) fn bounded_in_one<K, V, W>(bytes: u64, weighter: W) -> Bounded<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    in_shards(bytes, weighter, 16, 1)
}

fn in_shards<K, V, W>(bytes: u64, weighter: W, estimate: usize, shards: usize) -> Bounded<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let mut options = OptionsBuilder::new();
    options.shards(shards).estimated_items_capacity(estimate).weight_capacity(bytes);
    let (evictions, hasher) = (Evictions::default(), DefaultHashBuilder::default());
    let cache = match options.build() {
        Ok(options) => Cache::with_options(options, weighter, hasher, evictions.clone()),
        // fails only without these values, which are set above
        Err(_) => Cache::with(estimate, bytes, weighter, hasher, evictions.clone()),
    };
    (cache, evictions)
}

/// The answers of all upstream groups.
#[derive(Debug)]
pub struct AnswerCache {
    slots: Cache<PlaceHash, Arc<CacheEntry>, EntryBytes, DefaultHashBuilder, Evictions>,
    seed: DefaultHashBuilder,
    evictions: Evictions,
    /// Number of insertions, including failures and entries that were not stored.
    insertions: AtomicU64,
    /// Bound entries, by the hash of the name.
    hints: Box<[AtomicU8; HINTS]>,
    /// Shared SOA records of negative answers, by their octets.
    shared: Mutex<HashMap<Box<[u8]>, Weak<Apart>, DefaultHashBuilder>>,
    /// The TTL policy.
    pub lifetimes: TtlPolicy,
    /// The last good answers of retained names.
    pub retained: RetainedAnswers,
}

impl AnswerCache {
    /// An empty cache of at most `bytes` octets.
    pub fn new(bytes: u64, lifetimes: TtlPolicy) -> Self {
        let (slots, evictions) = bounded(bytes, EntryBytes);
        let (seed, insertions) = (DefaultHashBuilder::default(), AtomicU64::new(0));
        let hints = Box::new([const { AtomicU8::new(0) }; HINTS]);
        Self {
            slots,
            seed,
            evictions,
            insertions,
            hints,
            shared: Mutex::default(),
            lifetimes,
            retained: RetainedAnswers::default(),
        }
    }

    /// The hash of a name, the base of the indices of its entries.
    fn base(&self, name: &[u8]) -> u64 {
        self.seed.hash_one(name)
    }

    /// The index of an entry. `base` is the hash of its name.
    fn place(base: u64, at: &KeyRef<'_>) -> PlaceHash {
        let kind = u64::from(at.rtype) << 8 | u64::from(at.flags);
        let mixed = base ^ at.group.0.rotate_left(32) ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93;
        (product >> 64) as PlaceHash ^ product as PlaceHash
    }

    /// The entry for a question, with its freshness: for its type, or for its name and all types (CNAME, NXDOMAIN).
    /// Prefers a fresh entry to a stale one, an answer to a failure, and the newer of two stale ones. None if all are
    /// expired.
    pub fn get(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        let base = self.base(key.wire());
        let own = self.look_up(base, &key.of_type(), key, now);
        if let Some((slot, Freshness::Fresh(_))) = &own
            && !slot.is_failure()
        {
            return own;
        }
        let name = self.look_up(base, &key.of_name(), key, now);
        if matches!(name, Some((_, Freshness::Fresh(_)))) {
            return name;
        }
        if self.lifetimes.nxdomain_cut
            && let Some(denied) = self.denied_above(key, now)
        {
            return Some(denied);
        }
        match (own, name) {
            (Some(own), Some(name)) if own.0.stored() >= name.0.stored() => Some(own),
            (own, None) if key.flags().dnssec_ok && own.is_none() => {
                // a failure is stored for the exact question
                self.slot(base, &key.itself()).and_then(|slot| self.freshness(slot, now))
            }
            (own, name) => name.or(own),
        }
    }

    /// The entry at an index.
    fn slot(&self, base: u64, at: &KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.slots.get(&Self::place(base, at)).filter(|slot| slot.is_at(at))
    }

    /// The entry at an index, if it can answer a question.
    fn look_up(
        &self,
        base: u64,
        at: &KeyRef<'_>,
        question: &CacheKey,
        now: Timestamp,
    ) -> Option<(Arc<CacheEntry>, Freshness)> {
        let slot = self.slot(base, at)?;
        let has_proofs = slot.dnssec() || !question.flags().dnssec_ok;
        let serves = has_proofs && slot.answers_type(question.rtype());
        self.freshness(slot, now).filter(|_| serves)
    }

    /// An entry with its freshness, unless it is expired.
    fn freshness(&self, slot: Arc<CacheEntry>, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        match slot.freshness(now, &self.lifetimes) {
            Freshness::Expired => None,
            worth => Some((slot, worth)),
        }
    }

    /// A fresh NXDOMAIN of a name above, which denies all names below it (RFC 8020).
    fn denied_above(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        let above = name::suffixes(key.wire()).skip(1).filter(|suffix| suffix.len() > 1);
        above
            .filter_map(|suffix| self.look_up(self.base(suffix), &key.of_suffix(suffix), key, now))
            .find(|(slot, worth)| slot.entry().denies_below() && matches!(worth, Freshness::Fresh(_)))
    }

    /// Keeps an entry for a question. A failure never replaces an entry that can still be served, even stale (RFC 8767
    /// section 4): it is noted there instead, in one step with the look whether there is such a thing.
    ///
    /// Returns the slot, kept or not: what is not worth keeping is still good for the query that brought it.
    pub fn insert(&self, key: CacheKey, entry: CacheDataOf<'_>, now: Timestamp) -> Arc<CacheEntry> {
        let question = self.retained.is_active().then(|| (key.clone(), entry.outcome.clone()));
        let slot = self.put(key, entry, now);
        self.insertions.fetch_add(1, Ordering::Release); // after it can be found
        if let Some((question, outcome)) = question {
            self.retained.remember(&question, &slot, &outcome);
        }
        slot
    }

    /// Keeps what a group said of a question; of a retained name the last good answer instead of a negative answer that
    /// is not confirmed.
    pub fn insert_reviewed(
        &self,
        key: CacheKey,
        mut entry: CacheDataOf<'_>,
        now: Timestamp,
    ) -> Arc<CacheEntry> {
        if !self.retained.is_active() {
            return self.insert(key, entry, now);
        }
        match self.retained.review(&key, &entry, now, self.lifetimes.stale_ttl) {
            RetainReview::Believe => self.insert(key, entry, now),
            RetainReview::Hold(good, ttl) => self.insert_again(key, &good, ttl, now),
            RetainReview::NoData(ttl) => {
                entry.outcome = Outcome::NoData;
                entry.ttl = entry.ttl.min(ttl);
                self.insert(key, entry, now)
            }
        }
    }

    /// Keeps an earlier answer once more, for `ttl` seconds.
    fn insert_again(&self, key: CacheKey, good: &CacheEntry, ttl: u32, now: Timestamp) -> Arc<CacheEntry> {
        let mut entry = good.entry();
        (entry.stored, entry.ttl, entry.authentic) = (now, ttl, false);
        let slot = self.put(key, entry, now);
        self.insertions.fetch_add(1, Ordering::Release);
        slot
    }

    fn put(&self, key: CacheKey, mut entry: CacheDataOf<'_>, now: Timestamp) -> Arc<CacheEntry> {
        if entry.is_failure() {
            return self.insert_failure(key, &entry, now);
        }
        entry.dnssec |= key.flags().dnssec_ok;
        let key = entry.outcome.entry_key(key);
        let place = Self::place(self.base(key.wire()), &key.itself());
        let shares = entry.is_bare_denial();
        let slot = CacheEntry::new(&key, &entry, |apart| match shares {
            true => self.share(apart),
            false => (Arc::new(apart), true),
        });
        if slot.ttl() > 0 {
            self.slots.insert(place, slot.clone());
        } else {
            self.slots.remove(&place); // an older answer must not be served stale after a newer one
        }
        slot
    }

    /// The shared SOA record of other negative answers, or this one, and whether it is new.
    fn share(&self, apart: Apart) -> (Arc<Apart>, bool) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = shared.get(apart.authority()).and_then(Weak::upgrade) {
            return (present, false);
        }
        if shared.len() >= MAX_SHARED {
            shared.retain(|_, apart| apart.strong_count() > 0);
        }
        if shared.len() >= MAX_SHARED {
            shared.clear();
        }
        let octets = apart.authority().into();
        let apart = Arc::new(apart);
        shared.insert(octets, Arc::downgrade(&apart));
        (apart, true)
    }

    fn insert_failure(&self, key: CacheKey, failure: &CacheDataOf<'_>, now: Timestamp) -> Arc<CacheEntry> {
        if let Some((slot, _)) = self.get(&key, now)
            && !slot.is_failure()
        {
            slot.fail(now);
            return slot;
        }
        self.put_failure(&key, failure, now)
    }

    /// Stores a failure, unless another thread has stored an answer meanwhile.
    fn put_failure(&self, key: &CacheKey, failure: &CacheDataOf<'_>, now: Timestamp) -> Arc<CacheEntry> {
        let at = key.itself();
        let place = Self::place(self.base(key.wire()), &at);
        let failure = CacheEntry::alone(key, failure);
        let kept = self.slots.entry(&place, None, |_, present| {
            let answers = present.is_at(&at) && !present.is_failure();
            if answers && self.freshness(present.clone(), now).is_some() {
                present.fail(now);
            } else {
                *present = failure.clone();
            }
            EntryAction::Retain(present.clone())
        });
        match kept {
            EntryResult::Retained(slot) => slot,
            EntryResult::Vacant(place) => {
                // an answer that was stored meanwhile stays
                let _ = place.insert(failure.clone());
                failure
            }
            _ => failure,
        }
    }

    /// The bound entry that answers a plain question alone, if any.
    pub fn answer_to(
        &self,
        question: &PacketKey,
        group: GroupKey,
        (generation, view): (u32, u32),
        now: Timestamp,
    ) -> Option<Arc<CacheEntry>> {
        let base = self.base(question.name());
        let hint = self.hint(base).load(Ordering::Relaxed);
        let QueryFlags { dnssec_ok, checking_disabled } = question.flags();
        [(AT_TYPE, question.rtype()), (AT_NAME, 0)].into_iter().find_map(|(place, rtype)| {
            if hint & place == 0 {
                return None;
            }
            let flags = u8::from(checking_disabled) << 1;
            let slot = self.slot(base, &KeyRef { group, rtype, flags, name: question.name() })?;
            let has_proofs = slot.dnssec() || !dnssec_ok;
            (has_proofs && slot.answers_alone(generation, view, now)).then_some(slot)
        })
    }

    /// Binds an entry as the complete answer to plain questions, for a configuration generation and a view.
    pub fn bind(&self, slot: &CacheEntry, generation: u32, view: u32) {
        slot.bind(generation, view);
        let place = if slot.is_of_name() { AT_NAME } else { AT_TYPE };
        self.hint(self.base(slot.name())).fetch_or(place, Ordering::Relaxed);
    }

    fn hint(&self, base: u64) -> &AtomicU8 {
        &self.hints[(base >> 52) as usize % HINTS]
    }

    /// Number of insertions so far. While it is unchanged, a missing entry is still missing.
    pub fn insertions(&self) -> u64 {
        self.insertions.load(Ordering::Acquire)
    }

    /// Removes the entries selected by `of`; returns their number.
    pub fn forget(&self, of: impl Fn(&CacheKey) -> bool) -> usize {
        self.retained.forget(&of);
        let before = self.slots.len();
        self.slots.retain(|_, slot| !of(&slot.key()));
        before.saturating_sub(self.slots.len())
    }

    /// All entries for the snapshot, retained ones first; others may come and go meanwhile.
    pub fn entries(&self) -> Vec<Arc<CacheEntry>> {
        let mut all = self.retained.entries();
        all.extend(self.slots.iter().map(|(_, slot)| slot));
        all
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of evicted entries.
    pub fn evictions(&self) -> u64 {
        self.evictions.count()
    }

    /// Number of entries with data, and of negative answers and failures.
    pub fn kinds(&self) -> (usize, usize) {
        self.slots.iter().fold((0, 0), |(data, denials), (_, slot)| match slot.has_data() {
            true => (data + 1, denials),
            false => (data, denials + 1),
        })
    }

    /// Memory of the entries in octets.
    pub fn bytes(&self) -> u64 {
        self.slots.weight()
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
