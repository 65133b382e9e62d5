//! The packet cache: complete answers for the fast path, shared by threads, limited in bytes.
//!
//! A forwarded answer is stored when it is queried again, so that a flood of forwarded names does not fill the cache;
//! answers from zones are stored at once, and a flood of those passes through the probationary part of the container.
//! The index is a seeded hash of the key; the key itself is in the packet and is compared there. Two keys with the same
//! hash evict each other and are still answered correctly.

use super::cache::{Evictions, bounded, bounded_in_one};
use crate::engine::cached_packet::{CachedPacket, PacketKey};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// Overhead of a packet in octets: reference counts, heap header, table slot.
const OVERHEAD: usize = 88;

/// The weight of a packet is its memory in octets.
#[derive(Clone, Debug)]
struct PacketBytes;

impl Weighter<u64, CachedPacket> for PacketBytes {
    fn weight(&self, _: &u64, prepared: &CachedPacket) -> u64 {
        (prepared.size() + OVERHEAD) as u64
    }
}

/// Packets of at least this many octets are large.
const LARGE: usize = 4 << 10;

/// The packet cache. Large packets have a separate part, a quarter of the total, so that one client cannot evict the
/// small packets with a few hundred large ones.
#[derive(Debug)]
pub struct PacketCache {
    small: Container,
    large: Container,
    /// A large packet was stored; before that, lookups skip the part.
    has_large: AtomicBool,
    /// The largest packet that is stored.
    largest: usize,
    evictions: [Evictions; 2],
    seed: DefaultHashBuilder,
}

/// A part of them.
type Container = Cache<u64, CachedPacket, PacketBytes, DefaultHashBuilder, Evictions>;

impl PacketCache {
    /// A cache of `bytes` octets.
    pub fn new(bytes: u64) -> Self {
        let (small, small_evictions) = bounded(bytes - bytes / 4, PacketBytes);
        let (large, large_evictions) = bounded_in_one(bytes / 4, PacketBytes);
        Self {
            small,
            large,
            has_large: AtomicBool::new(false),
            largest: usize::try_from(bytes / 4 / 4).unwrap_or(usize::MAX),
            evictions: [small_evictions, large_evictions],
            seed: DefaultHashBuilder::default(),
        }
    }

    /// The packet of a key, valid or not.
    pub fn get(&self, key: &PacketKey) -> Option<CachedPacket> {
        let hash = self.seed.hash_one(key.bytes());
        let small = self.small.get(&hash).filter(|prepared| prepared.is_for(key));
        if small.is_some() || !self.has_large.load(Ordering::Relaxed) {
            return small;
        }
        self.large.get(&hash).filter(|prepared| prepared.is_for(key))
    }

    /// Stores a packet, unless it is too large.
    pub fn insert(&self, key: &PacketKey, prepared: CachedPacket) {
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

    /// The octets of the largest packet that is stored.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// Removes all packets.
    pub fn clear(&self) {
        self.small.clear();
        self.large.clear();
    }

    /// Number of evicted packets.
    pub fn evictions(&self) -> u64 {
        self.evictions.iter().map(Evictions::count).sum()
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Memory of the packets in octets.
    pub fn bytes(&self) -> u64 {
        self.small.weight() + self.large.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::answer::{Answer, SectionTtl};
    use crate::engine::cache::Timestamp;
    use crate::engine::cached_packet::{PacketOrigin, PlainQuery};
    use hickory_proto::op::ResponseCode;

    /// A packet of about this many octets, and its key.
    fn answer(number: u32, octets: usize) -> (PacketKey, CachedPacket) {
        let mut message = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0\x08".to_vec();
        message.extend(format!("{number:08}").bytes());
        message.extend(b"\0\0\x10\0\x01");
        let mut query = message.clone();
        (query[2], query[3], query[7]) = (1, 0, 0);
        let mut key = PacketKey::default();
        assert!(PlainQuery::at(&query, 0, &mut key).is_some());
        message.extend(b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c");
        message.extend((octets as u16).to_be_bytes());
        message.resize(message.len() + octets, 0);
        let mut answer = Answer::code(ResponseCode::NoError, None);
        let data = hickory_proto::rr::RData::TXT(hickory_proto::rr::rdata::TXT::new(vec!["x".into()]));
        answer.answers.push(&hickory_proto::rr::Record::from_rdata(
            hickory_proto::rr::Name::root(),
            60,
            data,
        ));
        answer.holdings = Some(vec![SectionTtl { answers: 1, authority: 0, expires: None, due: None }]);
        let making = PacketOrigin { turn: 0, limit: 65_535, generation: 1, now: Timestamp(0), mark: 0 };
        let prepared = CachedPacket::of(&key, &message, &answer, making).unwrap();
        (key, prepared)
    }

    #[test]
    fn large_answers_leave_small_ones_alone_and_all_keep_within_the_bound() {
        let bound = 8 << 20;
        let answers = PacketCache::new(bound);
        let small: Vec<_> = (0..5000).map(|number| answer(number, 100)).collect();
        small.iter().for_each(|(key, prepared)| answers.insert(key, prepared.clone()));
        for number in 5000..6000 {
            let (key, prepared) = answer(number, 60_000);
            answers.insert(&key, prepared);
        }
        assert!(answers.bytes() <= bound, "{}", answers.bytes());
        assert!(answers.bytes() > bound / 8, "large ones are kept: {}", answers.bytes());
        let left = small.iter().filter(|(key, _)| answers.get(key).is_some()).count();
        assert_eq!(left, 5000);
    }

    #[test]
    fn the_last_answer_to_a_question_counts_whatever_its_size() {
        let answers = PacketCache::new(8 << 20);
        for octets in [100, 50_000, 100, 60_000] {
            let (key, prepared) = answer(7, octets);
            answers.insert(&key, prepared.clone());
            assert_eq!(answers.get(&key).map(|found| found.size()), Some(prepared.size()));
            assert_eq!(answers.len(), 1);
        }
        let (key, _) = answer(7, 100);
        answers.clear();
        assert!(answers.get(&key).is_none() && answers.is_empty());
    }

    #[test]
    fn what_is_larger_than_a_part_of_the_room_is_not_kept() {
        let answers = PacketCache::new(64 << 10);
        let (key, prepared) = answer(7, 20_000);
        answers.insert(&key, prepared);
        assert!(answers.get(&key).is_none());
        let (key, prepared) = answer(7, 1000);
        answers.insert(&key, prepared);
        assert!(answers.get(&key).is_some());
    }
}
