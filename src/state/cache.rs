//! The container of the answer cache: shared by threads, bounded by bytes, hard to flush.
//!
//! Admission and eviction are quick_cache's S3-FIFO-like policy: a flood of names that are asked once passes
//! through a small probationary part and leaves the names that are asked again alone. What an entry is worth
//! is decided in `engine::cache`; here is only who holds it.

use crate::engine::cache::{CacheKey, Entry, Lifetimes, Moment, Outcome, Worth};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Octets that the container itself takes for an entry: key and value pointers, their heap headers, the hash
/// table's slot.
const OVERHEAD: usize = 96;

/// An entry in the cache, and what happened to it since.
#[derive(Debug)]
pub struct Slot {
    /// The entry; never changed.
    pub entry: Entry,
    /// How often it was served.
    hits: AtomicU32,
    /// When a refresh of it failed last, in milliseconds + 1; 0 for never.
    failed: AtomicU64,
    /// A refresh is on its way.
    refreshing: AtomicBool,
}

impl Slot {
    /// A slot for a new entry.
    pub fn new(entry: Entry) -> Self {
        Self { entry, hits: AtomicU32::new(0), failed: AtomicU64::new(0), refreshing: AtomicBool::new(false) }
    }

    /// Counts a hit. True for the one who is to refresh the entry: it was served before, is about to expire, and
    /// nobody else refreshes it.
    pub fn hit_wants_refresh(&self, now: Moment, lifetimes: &Lifetimes) -> bool {
        let popular = self.hits.fetch_add(1, Ordering::Relaxed) > 0;
        lifetimes.prefetch && popular && self.entry.is_due(now) && self.claim_refresh()
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
    pub fn failed(&self) -> Option<Moment> {
        self.failed.load(Ordering::Relaxed).checked_sub(1).map(Moment)
    }

    /// A refresh failed now: the next may be tried.
    fn fail(&self, now: Moment) {
        self.failed.store(now.0 + 1, Ordering::Relaxed);
        self.refreshing.store(false, Ordering::Relaxed);
    }
}

/// Weighs an entry by its octets.
#[derive(Clone, Debug)]
struct BySize;

impl Weighter<CacheKey, Arc<Slot>> for BySize {
    fn weight(&self, key: &CacheKey, slot: &Arc<Slot>) -> u64 {
        (key.bytes().len() + slot.entry.size() + size_of::<Slot>() - size_of::<Entry>() + OVERHEAD) as u64
    }
}

/// Counts what had to make room.
#[derive(Clone, Debug, Default)]
pub(super) struct Evictions(Arc<AtomicU64>);

impl Evictions {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
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
pub(super) type Bounded<K, V, W> = (Cache<K, V, W, DefaultHashBuilder, Evictions>, Evictions);

/// A container of at most `bytes` octets by weight.
pub(super) fn bounded<K, V, W>(bytes: u64, weighter: W) -> Bounded<K, V, W>
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
pub(super) fn bounded_in_one<K, V, W>(bytes: u64, weighter: W) -> Bounded<K, V, W>
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
    slots: Cache<CacheKey, Arc<Slot>, BySize, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    /// How long things are kept.
    pub lifetimes: Lifetimes,
}

impl AnswerCache {
    /// An empty cache of at most `bytes` octets.
    pub fn new(bytes: u64, lifetimes: Lifetimes) -> Self {
        let (slots, evictions) = bounded(bytes, BySize);
        Self { slots, evictions, lifetimes }
    }

    /// What is kept under a key, with its worth; nothing when it is dead.
    pub fn get(&self, key: &CacheKey, now: Moment) -> Option<(Arc<Slot>, Worth)> {
        let slot = self.slots.get(key)?;
        match slot.entry.worth(now, &self.lifetimes) {
            Worth::Dead => None,
            worth => Some((slot, worth)),
        }
    }

    /// Keeps an entry. A failure never takes the place of something that can still be served stale
    /// (RFC 8767 section 4): it is noted there instead.
    ///
    /// Returns the slot, kept or not: what is not worth keeping is still good for the query that brought it.
    pub fn insert(&self, key: CacheKey, entry: Entry, now: Moment) -> Arc<Slot> {
        if entry.is_failure()
            && !entry.is_too_long()
            && let Some((slot, Worth::Stale | Worth::Fresh(_))) = self.get(&key, now)
            && !slot.entry.is_failure()
        {
            slot.fail(now);
            return slot;
        }
        let slot = Arc::new(Slot::new(entry));
        if slot.entry.ttl > 0 {
            self.slots.insert(key, slot.clone());
        } else {
            self.slots.remove(&key); // an older answer must not come back, stale, once a newer one was seen
        }
        slot
    }

    /// Forgets what `of` takes; how many there were.
    pub fn forget(&self, of: impl Fn(&CacheKey) -> bool) -> usize {
        let before = self.slots.len();
        self.slots.retain(|key, _| !of(key));
        before.saturating_sub(self.slots.len())
    }

    /// All entries, for the snapshot; others may come and go meanwhile.
    pub fn entries(&self) -> Vec<(CacheKey, Arc<Slot>)> {
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
mod tests {
    use super::*;
    use crate::engine::cache::{FailureCause, QueryFlags};
    use crate::engine::catalog::GroupKey;
    use crate::engine::name::{NameKey, parse};
    use hickory_proto::rr::RecordType;

    fn key(name: &str) -> CacheKey {
        CacheKey::new(
            GroupKey::DEFAULT,
            &NameKey::of(&parse(name).unwrap()),
            RecordType::A,
            QueryFlags::default(),
        )
    }

    fn entry(ttl: u32, now: u64) -> Entry {
        Entry::new(Outcome::NoData, &NameKey::of(&parse("x").unwrap()), &[], &[], ttl, false, Moment(now))
    }

    #[test]
    fn a_failure_does_not_replace_what_can_be_served_stale() {
        let cache = AnswerCache::new(1 << 20, Lifetimes::default());
        cache.insert(key("a"), entry(60, 0), Moment(0));
        let later = Moment(120_000);
        cache.insert(key("a"), Entry::failure(FailureCause::Unreachable, 1, later), later);
        let (slot, worth) = cache.get(&key("a"), later).unwrap();
        assert_eq!((worth, slot.failed()), (Worth::Stale, Some(later)));
        cache.insert(key("b"), Entry::failure(FailureCause::Unreachable, 1, later), later);
        assert!(cache.get(&key("b"), later).unwrap().0.entry.is_failure());
    }

    #[test]
    fn an_answer_that_is_not_to_be_kept_takes_the_older_one_away() {
        let cache = AnswerCache::new(1 << 20, Lifetimes::default());
        cache.insert(key("a"), entry(60, 0), Moment(0));
        cache.insert(key("a"), entry(0, 90_000), Moment(90_000));
        assert!(cache.get(&key("a"), Moment(90_000)).is_none());
    }

    #[test]
    fn the_cache_keeps_within_its_bytes() {
        let cache = AnswerCache::new(1 << 20, Lifetimes::default());
        for i in 0..20_000 {
            cache.insert(key(&format!("n{i}.example")), entry(60, 0), Moment(0));
        }
        assert!(cache.bytes() <= 1 << 20);
        assert!(cache.len() > 2000, "{}", cache.len());
    }

    #[test]
    fn a_flood_of_names_leaves_those_asked_again() {
        let cache = AnswerCache::new(4 << 20, Lifetimes::default());
        let hot: Vec<CacheKey> = (0..1000).map(|i| key(&format!("hot{i}.example"))).collect();
        for key in &hot {
            cache.insert(key.clone(), entry(3600, 0), Moment(0));
        }
        for i in 0..200_000 {
            cache.insert(key(&format!("flood{i}.example")), entry(60, 0), Moment(0));
            if i % 10 == 0 {
                cache.get(&hot[(i / 10) % 1000], Moment(0));
            }
        }
        let kept = hot.iter().filter(|key| cache.get(key, Moment(0)).is_some()).count();
        assert!(kept >= 990, "{kept} of 1000 are left");
    }

    #[test]
    fn only_the_first_refreshes() {
        let slot = Slot::new(entry(60, 0));
        assert!(slot.claim_refresh());
        assert!(!slot.claim_refresh());
        slot.fail(Moment(1));
        assert!(slot.claim_refresh());
    }
}
