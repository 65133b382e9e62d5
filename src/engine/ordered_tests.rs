//! Tests of the ordered set: it is what a map of the standard library is, and a copy keeps what it had.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A key with a value that its order does not look at.
#[derive(Clone, Copy, Debug)]
struct OrderedEntry(u32, u32);

impl PartialEq for OrderedEntry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for OrderedEntry {}

impl PartialOrd for OrderedEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

fn is(key: u32) -> impl Fn(&OrderedEntry) -> Ordering {
    move |entry| entry.0.cmp(&key)
}

type Set = Ordered<OrderedEntry>;

/// Compares everything that can be asked with a map of the standard library.
fn check(set: &Set, map: &BTreeMap<u32, u32>, probes: &[u32]) {
    let all: Vec<(u32, u32)> = map.iter().map(|(key, value)| (*key, *value)).collect();
    assert_eq!(set.len(), map.len());
    assert_eq!(set.iter().map(|entry| (entry.0, entry.1)).collect::<Vec<_>>(), all);
    for &key in probes {
        assert_eq!(set.get_by(is(key)).map(|entry| entry.1), map.get(&key).copied());
        let (before, after) = set.around_by(is(key));
        assert_eq!(before.map(|entry| entry.0), map.range(..key).next_back().map(|(key, _)| *key));
        assert_eq!(after.map(|entry| entry.0), map.range(key..).next().map(|(key, _)| *key));
        let from: Vec<u32> = set.starting_at_by(is(key)).take(70).map(|entry| entry.0).collect();
        assert_eq!(from, map.range(key..).take(70).map(|(key, _)| *key).collect::<Vec<_>>());
        let mut skipped = set.skip(key as usize);
        assert_eq!(skipped.next().map(|entry| (entry.0, entry.1)), all.get(key as usize).copied());
    }
}

/// Compares what is found by going on with what is looked up anew.
fn check_seek(set: &Set, map: &BTreeMap<u32, u32>, probes: &[u32]) {
    let mut probes = probes.to_vec();
    probes.sort_unstable();
    let mut iter = set.iter();
    for key in probes {
        iter.seek_by(is(key));
        let next = map.range(key..).next().map(|(key, _)| *key);
        assert_eq!(iter.peek().map(|entry| entry.0), next);
        if key % 2 == 0 {
            assert_eq!(iter.next().map(|entry| entry.0), next);
            // what was taken does not come again
            let after = next.and_then(|next| map.range(next + 1..).next().map(|(key, _)| *key));
            assert_eq!(iter.peek().map(|entry| entry.0), after);
            iter = set.starting_at_by(is(key));
        }
    }
}

/// Puts entries in at once: what a map comes to that keeps the former ones.
fn merge(set: &mut Set, map: &mut BTreeMap<u32, u32>, keys: &[u32], value: u32) {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let clashes = set.merge(keys.iter().map(|key| OrderedEntry(*key, value)).collect());
    let there: Vec<u32> = keys.iter().copied().filter(|key| map.contains_key(key)).collect();
    assert_eq!(clashes.iter().map(|entry| entry.0).collect::<Vec<_>>(), there);
    for key in keys {
        map.entry(key).or_insert(value);
    }
}

proptest! {
    #[test]
    fn many_at_once_are_many_one_after_another(
        sorted in 0u32..3000,
        steps in proptest::collection::vec((0u32..9000, 1u32..2000, 1u32..9, any::<bool>(), any::<Option<u16>>()), 0..6),
        probes in proptest::collection::vec(0u32..9100, 0..60),
    ) {
        let mut map: BTreeMap<u32, u32> = (0..sorted).map(|key| (key * 3, key)).collect();
        let mut set = Set::from_sorted(map.iter().map(|(key, value)| OrderedEntry(*key, *value)));
        for (from, count, step, puts, one) in steps {
            let (before, copy) = (map.clone(), set.clone());
            let keys: Vec<u32> = (0..count).map(|at| from + at * step).collect();
            if puts {
                merge(&mut set, &mut map, &keys, 7);
            } else {
                set.remove_sorted(&keys.iter().map(|key| OrderedEntry(*key, 0)).collect::<Vec<_>>());
                keys.iter().for_each(|key| _ = map.remove(key));
            }
            if let Some(one) = one {
                set.insert(OrderedEntry(one.into(), 1));
                map.insert(one.into(), 1);
                set.remove_by(is(from));
                map.remove(&from);
            }
            prop_assert_eq!(set.last().map(|entry| entry.0), map.keys().last().copied());
            check(&set, &map, &probes);
            check(&copy, &before, &probes);
            check_seek(&set, &map, &probes);
        }
    }


    #[test]
    fn it_is_a_set_and_a_copy_keeps_what_it_had(
        sorted in 0u32..400,
        steps in proptest::collection::vec((0u32..1500, any::<Option<u32>>()), 0..1500),
        split in 0usize..1500,
        probes in proptest::collection::vec(0u32..1600, 20),
    ) {
        let mut map: BTreeMap<u32, u32> = (0..sorted).map(|key| (key * 3, key)).collect();
        let mut set = Set::from_sorted(map.iter().map(|(key, value)| OrderedEntry(*key, *value)));
        check(&set, &map, &probes);
        let mut kept = None;
        for (at, (key, value)) in steps.iter().enumerate() {
            if at == split {
                kept = Some((set.clone(), map.clone()));
            }
            match value {
                Some(value) => prop_assert_eq!(
                    set.insert(OrderedEntry(*key, *value)).map(|entry| entry.1),
                    map.insert(*key, *value)
                ),
                None => prop_assert_eq!(set.remove_by(is(*key)).map(|entry| entry.1), map.remove(key)),
            }
        }
        check(&set, &map, &probes);
        if let Some((set, map)) = kept {
            check(&set, &map, &probes);
        }
    }
}

/// Where the leaves are.
fn leaves(set: &Set) -> Vec<*const Node<OrderedEntry>> {
    let mut leaves = Vec::new();
    let mut nodes = vec![set.root.clone()];
    while let Some(node) = nodes.pop() {
        match &*node {
            Node::Leaf(_) => leaves.push(Arc::as_ptr(&node)),
            Node::Branch(children) => nodes.extend(children.iter().map(|child| child.node.clone())),
        }
    }
    leaves
}

#[test]
fn a_change_copies_one_path() {
    let before = Set::from_sorted((0..100_000).map(|key| OrderedEntry(key, 0)));
    let mut after = before.clone();
    after.insert(OrderedEntry(50_000, 1));
    let (before, after) = (leaves(&before), leaves(&after));
    assert_eq!(before.len(), after.len());
    assert_eq!(before.iter().zip(&after).filter(|(one, two)| one != two).count(), 1);
}

#[test]
fn emptied_it_is_small_again() {
    let mut set = Set::from_sorted((0..10_000).map(|key| OrderedEntry(key, 0)));
    for key in (0..10_000).rev() {
        assert_eq!(set.remove_by(is(key)), Some(OrderedEntry(key, 0)));
    }
    assert!(set.is_empty() && matches!(&*set.root, Node::Leaf(entries) if entries.is_empty()));
}

#[test]
fn many_at_once_copy_what_they_fall_into() {
    let before = Set::from_sorted((0..100_000).map(|key| OrderedEntry(key * 2, 0)));
    let mut after = before.clone();
    let clashes = after.merge((0..1000).map(|key| OrderedEntry(100_000 + key, 1)).collect());
    assert_eq!((clashes.len(), after.len()), (500, 100_500));
    let shared = leaves(&before).into_iter().collect::<std::collections::HashSet<_>>();
    let copied = leaves(&after).iter().filter(|leaf| !shared.contains(*leaf)).count();
    assert!(copied <= 1500 / (FANOUT / 2) + 2, "{copied}");
}
