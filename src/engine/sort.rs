//! Sorting in little code. The standard library's sort is compiled once more for each type and each order, about 5 KB
//! each time. Here the order is found on positions, by code that is there once; only a comparison and a swap are
//! compiled for each type. For lists that are short or seldom sorted: what sorts a million records or serves a query
//! calls the standard library.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts by `compare`; what is equal stays in its order.
pub fn by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let order = positions(items.len(), &mut |one, other| compare(&items[one], &items[other]));
    arrange(items, order);
}

/// Sorts by a key, which is computed at each comparison.
pub fn by_key<T, K: Ord>(items: &mut [T], mut key: impl FnMut(&T) -> K) {
    by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts by a key, which is computed once for each item.
pub fn by_cached_key<T, K: Ord>(items: &mut [T], key: impl FnMut(&T) -> K) {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = positions(keys.len(), &mut |one, other| keys[one].cmp(&keys[other]));
    arrange(items, order);
}

/// Sorts in ascending order.
pub fn ascending<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// A set of items, put in one by one: collecting sorts them first.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    items.into_iter().for_each(|item| {
        set.insert(item);
    });
    set
}

/// A map of entries, put in one by one: the last of a key stays.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    entries.into_iter().for_each(|(key, value)| {
        map.insert(key, value);
    });
    map
}

/// The positions of `count` items in their order.
fn positions(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    if count < 2 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|&one, &other| compare(one, other).then(one.cmp(&other)));
    order
}

/// Puts the item at `order[n]` at position n, for each n.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            // Each position is its own once its item is there.
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items with few keys, so that many are equal, in an order without a pattern.
    fn mixed(count: u32) -> Vec<(u32, u32)> {
        (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 20 & 31, n)).collect()
    }

    #[test]
    fn the_order_is_that_of_the_standard_library() {
        for count in [0, 1, 2, 3, 7, 20, 21, 64, 1000] {
            let items = mixed(count);
            let (mut ours, mut theirs) = (items.clone(), items.clone());
            by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            assert_eq!(ours, theirs, "{count}: equal items stay in their order");
            by_cached_key(&mut ours, |item| std::cmp::Reverse(item.0));
            theirs.sort_by_cached_key(|item| std::cmp::Reverse(item.0));
            assert_eq!(ours, theirs, "{count}: descending");
            ascending(&mut ours);
            theirs.sort();
            assert_eq!(ours, theirs, "{count}: ascending");
            by(&mut ours, |one, other| other.cmp(one));
            theirs.reverse();
            assert_eq!(ours, theirs, "{count}: reversed");
            let texts: Vec<String> = items.iter().map(|item| item.0.to_string()).collect();
            let (mut ours, mut theirs) = (texts.clone(), texts);
            ascending(&mut ours);
            theirs.sort();
            assert_eq!(ours, theirs, "{count}: items that own memory");
        }
    }

    #[test]
    fn the_last_entry_of_a_key_stays() {
        let entries = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(map(entries), entries.into_iter().collect());
        assert_eq!(set(["b", "a", "b"]).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
