//! Finished answers for the fast lane: shared by threads, bounded by bytes.
//!
//! Only what was asked for more than once comes here, so that a flood of names leaves it alone.

use crate::engine::lane::{LaneKey, Prepared};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, OptionsBuilder, Weighter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Octets that the container takes for an answer beside its own: heap headers, reference counts, table slot.
const OVERHEAD: usize = 96;

/// A key in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored(Box<[u8]>);

impl Hash for Stored {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A key to look up, borrowed from a packet.
struct Borrowed<'k>(&'k [u8]);

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl Equivalent<Stored> for Borrowed<'_> {
    fn equivalent(&self, key: &Stored) -> bool {
        *self.0 == *key.0
    }
}

/// Weighs an answer by its octets.
#[derive(Clone, Debug)]
struct BySize;

impl Weighter<Stored, Arc<Prepared>> for BySize {
    fn weight(&self, key: &Stored, prepared: &Arc<Prepared>) -> u64 {
        (key.0.len() + prepared.size() + OVERHEAD) as u64
    }
}

/// The finished answers.
#[derive(Debug)]
pub struct PreparedAnswers {
    answers: Cache<Stored, Arc<Prepared>, BySize>,
}

impl PreparedAnswers {
    /// Room for `bytes` octets of answers.
    pub fn new(bytes: u64) -> Self {
        let estimate = (bytes / 4096).clamp(16, 100_000) as usize;
        let shards = (bytes >> 20).clamp(1, 16) as usize;
        let mut options = OptionsBuilder::new();
        options.shards(shards).estimated_items_capacity(estimate).weight_capacity(bytes);
        let answers = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                BySize,
                quick_cache::DefaultHashBuilder::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            // only missing values make it fail; both are given above
            Err(_) => Cache::with_weighter(estimate, bytes, BySize),
        };
        Self { answers }
    }

    /// The answer kept under a key, whether or not it still holds.
    pub fn get(&self, key: &LaneKey) -> Option<Arc<Prepared>> {
        self.answers.get(&Borrowed(key.bytes()))
    }

    /// Keeps an answer.
    pub fn insert(&self, key: &LaneKey, prepared: Prepared) {
        self.answers.insert(Stored(key.bytes().into()), Arc::new(prepared));
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        self.answers.clear();
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
