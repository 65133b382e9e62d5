//! The open queries of all pools: ensures one query in flight for each name, and one limit for the octets of open
//! queries over all servers.

use crate::base::octets::OctetKind;
use crate::engine::cache::CacheKey;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Number of shards, to reduce lock contention.
const PARTS: usize = 16;

/// A part: queries by the hash of their key, and whom to notify of their end, if needed. Two keys of one hash are
/// treated as one; then one of them takes the slow path unnecessarily.
type Part = HashMap<u64, Option<Arc<Notify>>, DefaultHashBuilder>;

/// The list of open pool queries.
#[derive(Debug)]
pub struct InFlightKeys {
    hasher: DefaultHashBuilder,
    parts: [Mutex<Part>; PARTS],
    /// Octets of the open queries, including those that only wait for a late reply.
    held: AtomicUsize,
    /// Limit of octets for new queries.
    most: usize,
}

impl Default for InFlightKeys {
    fn default() -> Self {
        Self::with_most(OctetKind::Relay.total())
    }
}

impl InFlightKeys {
    /// A list with this limit of octets.
    pub(super) fn with_most(most: usize) -> Self {
        let (hasher, parts) = (DefaultHashBuilder::default(), Default::default());
        Self { hasher, parts, held: AtomicUsize::new(0), most }
    }

    /// Octets of open queries.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether another query may be opened. Concurrent pools may exceed the limit by one each.
    pub(super) fn has_room(&self) -> bool {
        self.held() < self.most
    }

    /// Counts an opened query of this many octets.
    pub(super) fn hold(&self, octets: usize) {
        self.held.fetch_add(octets, Ordering::Relaxed);
    }

    /// Releases closed queries of this many octets.
    pub(super) fn release(&self, octets: usize) {
        self.held.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Waits until no pool has this query open; its result is then in the cache.
    pub async fn ended(&self, key: &CacheKey) {
        let hash = self.hash(key);
        let ended = {
            let mut part = self.part(hash);
            let Some(told) = part.get_mut(&hash) else { return };
            // From here on the end is detected.
            told.get_or_insert_with(Arc::default).clone().notified_owned()
        };
        ended.await;
    }

    /// True while a pool has this query open.
    pub fn contains(&self, key: &CacheKey) -> bool {
        let hash = self.hash(key);
        self.part(hash).contains_key(&hash)
    }

    /// The index of a query.
    pub(super) fn hash(&self, key: &CacheKey) -> u64 {
        self.hasher.hash_one(key.bytes())
    }

    /// Adds a query; false if it is present.
    pub(super) fn begin(&self, hash: u64) -> bool {
        let mut part = self.part(hash);
        let is_new = !part.contains_key(&hash);
        if is_new {
            part.insert(hash, None);
        }
        is_new
    }

    /// Removes a query.
    pub(super) fn end(&self, hash: u64) {
        let told = self.part(hash).remove(&hash).flatten();
        told.iter().for_each(|waiting| waiting.notify_waiters());
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        self.parts[hash as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
