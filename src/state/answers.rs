//! Finished answers for the fast lane: shared by threads, bounded by bytes.
//!
//! An answer that an upstream had to be asked for comes here when it is asked for again, so that a flood of names
//! to forward leaves it alone; answers out of zones come at once, and a flood of those passes through the
//! container's probationary part. An answer is kept under the hash of its key, with a seed that nobody outside knows; the key itself lies in the answer and
//! is compared there, where it is read anyway. Two keys of one hash displace each other and are still answered
//! right.

use super::cache::{Evictions, bounded};
use crate::engine::lane::{LaneKey, Prepared};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};
use std::hash::BuildHasher;

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

/// The finished answers.
#[derive(Debug)]
pub struct PreparedAnswers {
    answers: Cache<u64, Prepared, BySize, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    seed: DefaultHashBuilder,
}

impl PreparedAnswers {
    /// Room for `bytes` octets of answers.
    pub fn new(bytes: u64) -> Self {
        let (answers, evictions) = bounded(bytes, BySize);
        Self { answers, evictions, seed: DefaultHashBuilder::default() }
    }

    /// The answer kept under a key, whether or not it still holds.
    pub fn get(&self, key: &LaneKey) -> Option<Prepared> {
        self.answers.get(&self.seed.hash_one(key.bytes())).filter(|prepared| prepared.is_for(key))
    }

    /// Keeps an answer.
    pub fn insert(&self, key: &LaneKey, prepared: Prepared) {
        self.answers.insert(self.seed.hash_one(key.bytes()), prepared);
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        self.answers.clear();
    }

    /// Answers that had to make room.
    pub fn evictions(&self) -> u64 {
        self.evictions.count()
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Octets that the answers take.
    pub fn bytes(&self) -> u64 {
        self.answers.weight()
    }
}
