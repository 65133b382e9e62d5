//! Finished answers for the fast lane: shared by threads, bounded by bytes.
//!
//! An answer that an upstream had to be asked for comes here when it is asked for again, so that a flood of names
//! to forward leaves it alone; answers out of zones come at once, and a flood of those passes through the
//! container's probationary part. An answer is kept under the hash of its key, with a seed that nobody outside knows; the key itself lies in the answer and
//! is compared there, where it is read anyway. Two keys of one hash displace each other and are still answered
//! right.

use super::cache::{Evictions, bounded, bounded_in_one};
use crate::engine::lane::{LaneKey, Prepared};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// Octets that the container takes for an answer beside its own: reference counts, heap header, the table's slot.
const OVERHEAD: usize = 88;

/// Weighs an answer by its octets.
#[derive(Clone, Debug)]
struct BySize;

impl Weighter<u64, Prepared> for BySize {
    fn weight(&self, _: &u64, prepared: &Prepared) -> u64 {
        (prepared.size() + OVERHEAD) as u64
    }
}

/// From so many octets on an answer counts as large.
const LARGE: usize = 4 << 10;

/// The finished answers. Large ones have a part of their own, a quarter of the whole: a few hundred of them, which one
/// client can ask for, leave the many small ones alone.
#[derive(Debug)]
pub struct PreparedAnswers {
    small: Container,
    large: Container,
    /// There has been a large one; before, nobody looks for one.
    has_large: AtomicBool,
    /// The largest that is kept.
    largest: usize,
    evictions: [Evictions; 2],
    seed: DefaultHashBuilder,
}

/// A part of them.
type Container = Cache<u64, Prepared, BySize, DefaultHashBuilder, Evictions>;

impl PreparedAnswers {
    /// Room for `bytes` octets of answers.
    pub fn new(bytes: u64) -> Self {
        let (small, small_evictions) = bounded(bytes - bytes / 4, BySize);
        let (large, large_evictions) = bounded_in_one(bytes / 4, BySize);
        Self {
            small,
            large,
            has_large: AtomicBool::new(false),
            largest: usize::try_from(bytes / 4 / 4).unwrap_or(usize::MAX),
            evictions: [small_evictions, large_evictions],
            seed: DefaultHashBuilder::default(),
        }
    }

    /// The answer kept under a key, whether or not it still holds.
    pub fn get(&self, key: &LaneKey) -> Option<Prepared> {
        let hash = self.seed.hash_one(key.bytes());
        let small = self.small.get(&hash).filter(|prepared| prepared.is_for(key));
        if small.is_some() || !self.has_large.load(Ordering::Relaxed) {
            return small;
        }
        self.large.get(&hash).filter(|prepared| prepared.is_for(key))
    }

    /// Keeps an answer, unless it is larger than any is.
    pub fn insert(&self, key: &LaneKey, prepared: Prepared) {
        let hash = self.seed.hash_one(key.bytes());
        if prepared.size() < LARGE.min(self.largest) {
            self.small.insert(hash, prepared);
            if self.has_large.load(Ordering::Relaxed) {
                self.large.remove(&hash);
            }
        } else if prepared.size() <= self.largest {
            self.has_large.store(true, Ordering::Relaxed);
            self.large.insert(hash, prepared);
            self.small.remove(&hash);
        }
    }

    /// The octets of the largest answer that is kept.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        self.small.clear();
        self.large.clear();
    }

    /// Answers that had to make room.
    pub fn evictions(&self) -> u64 {
        self.evictions.iter().map(Evictions::count).sum()
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Octets that the answers take.
    pub fn bytes(&self) -> u64 {
        self.small.weight() + self.large.weight()
    }
}
