//! Which questions pools ask right now, all pools together: so that one is out for each name, whoever asks, and so
//! that the octets that they take have one bound, however many servers there are.

use crate::base::octets::OctetKind;
use crate::engine::cache::CacheKey;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Parts of the list, so that threads seldom meet.
const PARTS: usize = 16;

/// A part: questions by the hash of their key, and whom to tell of their end, if there is anybody. Two keys of one
/// hash are taken for one; then one of them takes the slow path for nothing.
type Part = HashMap<u64, Option<Arc<Notify>>, DefaultHashBuilder>;

/// The list of the questions that pools ask.
#[derive(Debug)]
pub struct InFlightKeys {
    hasher: DefaultHashBuilder,
    parts: [Mutex<Part>; PARTS],
    /// Octets of the open questions, those included of which only a late reply is expected.
    held: AtomicUsize,
    /// Beyond this many octets no more questions are opened.
    most: usize,
}

impl Default for InFlightKeys {
    fn default() -> Self {
        Self::with_most(OctetKind::Relay.total())
    }
}

impl InFlightKeys {
    /// A list whose questions may take this many octets.
    pub(super) fn with_most(most: usize) -> Self {
        let (hasher, parts) = (DefaultHashBuilder::default(), Default::default());
        Self { hasher, parts, held: AtomicUsize::new(0), most }
    }

    /// Octets that open questions take.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether another question may be opened. Relays that look at the same time may go beyond by one each.
    pub(super) fn has_room(&self) -> bool {
        self.held() < self.most
    }

    /// A question of this many octets was opened.
    pub(super) fn hold(&self, octets: usize) {
        self.held.fetch_add(octets, Ordering::Relaxed);
    }

    /// Questions of this many octets are no longer open.
    pub(super) fn release(&self, octets: usize) {
        self.held.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Waits until no pool asks this question any more; what it brought is in the cache then.
    pub async fn ended(&self, key: &CacheKey) {
        let hash = self.hash(key);
        let ended = {
            let mut part = self.part(hash);
            let Some(told) = part.get_mut(&hash) else { return };
            // From here on the end is not missed.
            told.get_or_insert_with(Arc::default).clone().notified_owned()
        };
        ended.await;
    }

    /// True while a pool asks this question.
    pub fn contains(&self, key: &CacheKey) -> bool {
        let hash = self.hash(key);
        self.part(hash).contains_key(&hash)
    }

    /// What a question is listed under.
    pub(super) fn hash(&self, key: &CacheKey) -> u64 {
        self.hasher.hash_one(key.bytes())
    }

    /// Puts a question on the list; false when it is there.
    pub(super) fn begin(&self, hash: u64) -> bool {
        let mut part = self.part(hash);
        let is_new = !part.contains_key(&hash);
        if is_new {
            part.insert(hash, None);
        }
        is_new
    }

    /// Takes a question off the list.
    pub(super) fn end(&self, hash: u64) {
        let told = self.part(hash).remove(&hash).flatten();
        told.iter().for_each(|waiting| waiting.notify_waiters());
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        self.parts[hash as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
