//! The container of the answer cache: shared by threads, bounded by bytes, hard to flush.
//!
//! Admission and eviction are quick_cache's S3-FIFO-like policy: a flood of names that are asked once passes
//! through a small probationary part and leaves the names that are asked again alone. What an entry is worth
//! is decided in `engine::cache`; here is only who holds it.

use crate::engine::cache::{CacheData, CacheKey, Freshness, KeyRef, Outcome, Timestamp, TtlPolicy};
use crate::engine::name;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Octets that the container itself takes for an entry: key and value pointers, their heap headers, the hash
/// table's slot.
const OVERHEAD: usize = 96;

/// An entry in the cache, and what happened to it since.
#[derive(Debug)]
pub struct CacheEntry {
    /// The entry; never changed.
    pub entry: CacheData,
    /// How often it was served.
    hits: AtomicU32,
    /// When a refresh of it failed last, in milliseconds + 1; 0 for never.
    failed: AtomicU64,
    /// A refresh is on its way.
    refreshing: AtomicBool,
}

impl CacheEntry {
    /// A slot for a new entry.
    pub fn new(entry: CacheData) -> Self {
        Self { entry, hits: AtomicU32::new(0), failed: AtomicU64::new(0), refreshing: AtomicBool::new(false) }
    }

    /// Counts a hit. True for the one who is to refresh the entry: it was served before, is about to expire, and
    /// nobody else refreshes it.
    pub fn hit_wants_refresh(&self, now: Timestamp, lifetimes: &TtlPolicy) -> bool {
        let popular = self.hits.fetch_add(1, Ordering::Relaxed) > 0;
        lifetimes.prefetch && popular && self.entry.wants_refresh(now) && self.claim_refresh()
    }

    /// True for the first who asks.
    pub fn claim_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// The refresh came to nothing, without a failure of the upstream.
    pub fn release_refresh(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }

    /// When a refresh failed last.
    pub fn failed(&self) -> Option<Timestamp> {
        self.failed.load(Ordering::Relaxed).checked_sub(1).map(Timestamp)
    }

    /// A refresh failed now: the next may be tried.
    fn fail(&self, now: Timestamp) {
        self.failed.store(now.0 + 1, Ordering::Relaxed);
        self.refreshing.store(false, Ordering::Relaxed);
    }
}

impl Equivalent<CacheKey> for KeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        self.is(key)
    }
}

/// Weighs an entry by its octets.
#[derive(Clone, Debug)]
struct EntryBytes;

impl Weighter<CacheKey, Arc<CacheEntry>> for EntryBytes {
    fn weight(&self, key: &CacheKey, slot: &Arc<CacheEntry>) -> u64 {
        (key.bytes().len() + slot.entry.size() + size_of::<CacheEntry>() - size_of::<CacheData>() + OVERHEAD)
            as u64
    }
}

/// Counts what had to make room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evictions(Arc<AtomicU64>);

impl Evictions {
    /// How many there were.
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

/// A container that is bounded, with the count of what had to make room.
pub(crate) type Bounded<K, V, W> = (Cache<K, V, W, DefaultHashBuilder, Evictions>, Evictions);

/// A container of at most `bytes` octets by weight.
pub(crate) fn bounded<K, V, W>(bytes: u64, weighter: W) -> Bounded<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    // Entries weigh some hundred octets. Too low an estimate costs a rehash while filling, too high a one costs
    // memory at once: the tables are made for it. One shard for each MiB keeps the weight exact enough.
    let estimate = (bytes / 4096).clamp(16, 100_000) as usize;
    in_shards(bytes, weighter, estimate, (bytes >> 20).clamp(1, 16) as usize)
}

/// The same for few and large things, which shards of their own could not hold.
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
        // only missing values make it fail; both are given above
        Err(_) => Cache::with(estimate, bytes, weighter, hasher, evictions.clone()),
    };
    (cache, evictions)
}

/// The answers of all upstream groups.
#[derive(Debug)]
pub struct AnswerCache {
    slots: Cache<CacheKey, Arc<CacheEntry>, EntryBytes, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    /// How many entries were put in, failures and what is not worth keeping included.
    insertions: AtomicU64,
    /// How long things are kept.
    pub lifetimes: TtlPolicy,
}

impl AnswerCache {
    /// An empty cache of at most `bytes` octets.
    pub fn new(bytes: u64, lifetimes: TtlPolicy) -> Self {
        let (slots, evictions) = bounded(bytes, EntryBytes);
        Self { slots, evictions, insertions: AtomicU64::new(0), lifetimes }
    }

    /// What is known of a question, with its worth: what was said of its type, or of its name whatever the type (an
    /// alias, NXDOMAIN). What holds comes before what does not, an answer before a failure, and of two that are stale
    /// the newer one. Nothing when all is dead.
    pub fn get(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        let own = self.look_up(&key.of_type(), key, now);
        if let Some((slot, Freshness::Fresh(_))) = &own
            && !slot.entry.is_failure()
        {
            return own;
        }
        let name = self.look_up(&key.of_name(), key, now);
        if matches!(name, Some((_, Freshness::Fresh(_)))) {
            return name;
        }
        if self.lifetimes.nxdomain_cut
            && let Some(denied) = self.denied_above(key, now)
        {
            return Some(denied);
        }
        match (own, name) {
            (Some(own), Some(name)) if own.0.entry.stored >= name.0.entry.stored => Some(own),
            (own, None) if key.flags().dnssec_ok && own.is_none() => {
                // a failure is kept for the question as it was asked
                self.slots.get(key).and_then(|slot| self.freshness(slot, now))
            }
            (own, name) => name.or(own),
        }
    }

    /// What is kept at a place, if it can serve a question.
    fn look_up(
        &self,
        at: &KeyRef<'_>,
        question: &CacheKey,
        now: Timestamp,
    ) -> Option<(Arc<CacheEntry>, Freshness)> {
        let slot = self.slots.get(at)?;
        let has_proofs = slot.entry.dnssec || !question.flags().dnssec_ok;
        let serves = has_proofs && slot.entry.answers_type(question.rtype());
        self.freshness(slot, now).filter(|_| serves)
    }

    /// A slot with its worth, unless it is dead.
    fn freshness(&self, slot: Arc<CacheEntry>, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        match slot.entry.freshness(now, &self.lifetimes) {
            Freshness::Expired => None,
            worth => Some((slot, worth)),
        }
    }

    /// The NXDOMAIN of a name above, while it holds: below a name that does not exist there are none (RFC 8020).
    fn denied_above(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<CacheEntry>, Freshness)> {
        let above = name::suffixes(key.wire()).skip(1).filter(|suffix| suffix.len() > 1);
        above
            .filter_map(|suffix| self.look_up(&key.of_suffix(suffix), key, now))
            .find(|(slot, worth)| slot.entry.denies_below() && matches!(worth, Freshness::Fresh(_)))
    }

    /// Keeps an entry for a question. A failure never takes the place of something that can still be served, be it stale
    /// (RFC 8767 section 4): it is noted there instead, in one step with the look whether there is such a thing.
    ///
    /// Returns the slot, kept or not: what is not worth keeping is still good for the query that brought it.
    pub fn insert(&self, key: CacheKey, entry: CacheData, now: Timestamp) -> Arc<CacheEntry> {
        let slot = self.put(key, entry, now);
        self.insertions.fetch_add(1, Ordering::Release); // now that it can be found
        slot
    }

    fn put(&self, key: CacheKey, mut entry: CacheData, now: Timestamp) -> Arc<CacheEntry> {
        if entry.is_failure() {
            return self.insert_failure(key, entry, now);
        }
        entry.dnssec |= key.flags().dnssec_ok;
        let key = key.of_entry(&entry.outcome);
        let slot = Arc::new(CacheEntry::new(entry));
        if slot.entry.ttl > 0 {
            self.slots.insert(key, slot.clone());
        } else {
            self.slots.remove(&key); // an older answer must not come back, stale, once a newer one was seen
        }
        slot
    }

    fn insert_failure(&self, key: CacheKey, failure: CacheData, now: Timestamp) -> Arc<CacheEntry> {
        if let Some((slot, _)) = self.get(&key, now)
            && !slot.entry.is_failure()
        {
            slot.fail(now);
            return slot;
        }
        self.put_failure(&key, failure, now)
    }

    /// Keeps a failure, unless an answer is there: another thread may have brought it since it was looked for.
    fn put_failure(&self, key: &CacheKey, failure: CacheData, now: Timestamp) -> Arc<CacheEntry> {
        let failure = Arc::new(CacheEntry::new(failure));
        let kept = self.slots.entry(key, None, |_, present| {
            if !present.entry.is_failure() && self.freshness(present.clone(), now).is_some() {
                present.fail(now);
            } else {
                *present = failure.clone();
            }
            EntryAction::Retain(present.clone())
        });
        match kept {
            EntryResult::Retained(slot) => slot,
            EntryResult::Vacant(place) => {
                // an answer that was put in since stays
                let _ = place.insert(failure.clone());
                failure
            }
            _ => failure,
        }
    }

    /// How many entries were put in so far. While it is the same, what was not there is not there.
    pub fn insertions(&self) -> u64 {
        self.insertions.load(Ordering::Acquire)
    }

    /// Forgets what `of` takes; how many there were.
    pub fn forget(&self, of: impl Fn(&CacheKey) -> bool) -> usize {
        let before = self.slots.len();
        self.slots.retain(|key, _| !of(key));
        before.saturating_sub(self.slots.len())
    }

    /// All entries, for the snapshot; others may come and go meanwhile.
    pub fn entries(&self) -> Vec<(CacheKey, Arc<CacheEntry>)> {
        self.slots.iter().collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Entries that had to make room.
    pub fn evictions(&self) -> u64 {
        self.evictions.count()
    }

    /// How many entries hold data, and how many a denial or a failure.
    pub fn kinds(&self) -> (usize, usize) {
        self.slots.iter().fold((0, 0), |(data, denials), (_, slot)| match slot.entry.outcome {
            Outcome::Rrset | Outcome::Alias(_) => (data + 1, denials),
            _ => (data, denials + 1),
        })
    }

    /// Octets that the entries take.
    pub fn bytes(&self) -> u64 {
        self.slots.weight()
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
