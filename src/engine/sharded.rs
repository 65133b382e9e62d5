//! A map that is cheap to copy and cheap to change a copy of: what is served is never edited in place, and a
//! change of one zone among a hundred thousand must not copy all of them.
//!
//! The entries lie in a fixed number of shards. A copy shares them all; a change copies the one it falls in.

use super::name::NameKey;
use quick_cache::DefaultHashBuilder;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// A map for look-ups on the way of a query. Its hash is quick and has a seed; what lies in it comes from who administers
/// the server, who would only slow it down for himself.
pub(super) type QuickMap<K, V> = HashMap<K, V, DefaultHashBuilder>;

/// Shards of a map. With a hundred thousand entries a change copies some four hundred.
const SHARDS: usize = 256;

/// A key that says which shard it belongs in. Spread matters for the cost of a change, not of a look-up, so the
/// rule may be simple and known to everyone.
pub trait ShardKey: Hash + Eq {
    /// Any number; its lowest octet selects the shard.
    fn shard(&self) -> u8;
}

impl ShardKey for [u8] {
    fn shard(&self) -> u8 {
        // eight octets at a time: a query looks for each suffix of its name
        let (words, rest) = self.as_chunks::<8>();
        let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(8);
        let sum = words.iter().fold(0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
        let rest = rest.iter().fold(0, |word, &octet| word << 8 | u64::from(octet));
        mix(sum, rest).to_le_bytes()[0]
    }
}

impl ShardKey for NameKey {
    fn shard(&self) -> u8 {
        self.wire().shard()
    }
}

impl ShardKey for str {
    fn shard(&self) -> u8 {
        self.as_bytes().shard()
    }
}

impl ShardKey for String {
    fn shard(&self) -> u8 {
        self.as_bytes().shard()
    }
}

impl ShardKey for Arc<str> {
    fn shard(&self) -> u8 {
        self.as_bytes().shard()
    }
}

impl ShardKey for u64 {
    fn shard(&self) -> u8 {
        self.to_le_bytes()[0]
    }
}

/// The map.
#[derive(Debug)]
pub struct Sharded<K, V> {
    shards: Arc<[Arc<QuickMap<K, V>>]>,
    len: usize,
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(QuickMap::default());
        Self { shards: vec![empty; SHARDS].into(), len: 0 }
    }
}

impl<K: ShardKey + Clone, V: Clone> Sharded<K, V> {
    /// The value of a key. `K` must borrow as `Q` with the same shard, as names do as their octets.
    pub fn get<Q: ShardKey + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.len == 0 {
            return None; // most maps of most catalogs are empty
        }
        self.shards[usize::from(key.shard())].get(key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: ShardKey + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?; // what is not there must not cost a copy
        self.shard_of(key.shard()).get_mut(key)
    }

    /// Puts a value in; the former one comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let former = self.shard_of(key.shard()).insert(key, value);
        self.len += usize::from(former.is_none());
        former
    }

    /// Takes a value out.
    pub fn remove<Q: ShardKey + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?; // what is not there must not cost a copy
        let former = self.shard_of(key.shard()).remove(key);
        self.len -= usize::from(former.is_some());
        former
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A shard of one's own.
    fn shard_of(&mut self, shard: u8) -> &mut QuickMap<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[usize::from(shard)])
    }
}

impl<K: ShardKey + Clone, V: Clone> FromIterator<(K, V)> for Sharded<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut shares: Vec<Vec<(K, V)>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for (key, value) in entries {
            shares[usize::from(key.shard())].push((key, value));
        }
        // each of the size that it needs, from the first
        let shards: Arc<[_]> =
            shares.into_iter().map(|share| Arc::new(share.into_iter().collect())).collect();
        let len = shards.iter().map(|shard: &Arc<QuickMap<K, V>>| shard.len()).sum();
        Self { shards, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_a_copy_keeps_what_it_had(
            steps in proptest::collection::vec((0u64..600, any::<Option<u8>>()), 0..300),
            split in 0usize..300,
        ) {
            let (mut plain, mut sharded) = (HashMap::new(), Sharded::default());
            let mut kept = None;
            for (at, (key, value)) in steps.iter().enumerate() {
                if at == split {
                    kept = Some((plain.clone(), sharded.clone()));
                }
                match value {
                    Some(value) => prop_assert_eq!(plain.insert(*key, *value), sharded.insert(*key, *value)),
                    None => prop_assert_eq!(plain.remove(key), sharded.remove(key)),
                }
            }
            for (plain, sharded) in [(plain, sharded)].into_iter().chain(kept) {
                prop_assert_eq!(plain.len(), sharded.len());
                prop_assert_eq!(plain, sharded.iter().map(|(key, value)| (*key, *value)).collect());
            }
        }
    }

    #[test]
    fn a_change_copies_one_shard() {
        let before: Sharded<u64, u8> = (0..1000).map(|key| (key, 0)).collect();
        let mut after = before.clone();
        after.insert(7, 1);
        let shared = before.shards.iter().zip(after.shards.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, SHARDS - 1);
    }
}
