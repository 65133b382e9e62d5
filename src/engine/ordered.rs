//! An ordered set that is cheap to copy and cheap to change a copy of: a B+ tree whose nodes are shared.
//!
//! A copy shares all nodes. A change copies the path from the root to one leaf, at most `FANOUT` entries on each
//! level, so that it costs the same in a zone of ten records and of a million. Entries are ordered, and told apart, by
//! their `Ord`, which goes by a key that is part of them; look-ups say how an entry compares with the key sought, as
//! `slice::binary_search_by` does. Entries are meant to be cheap to clone, such as an `Arc`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Entries of a leaf and children of a branch, at most.
const FANOUT: usize = 64;

/// A node with fewer entries than this is merged with a neighbour where both fit into one.
const FEW: usize = FANOUT / 4;

/// The set.
#[derive(Clone)]
pub struct Ordered<T> {
    root: Arc<Node<T>>,
    len: usize,
}

/// A node. No leaf but the root's is empty, and no branch.
#[derive(Clone)]
enum Node<T> {
    Leaf(Vec<T>),
    Branch(Vec<Child<T>>),
}

/// A subtree in its branch.
#[derive(Clone)]
struct Child<T> {
    /// Its first entry.
    first: T,
    /// How many entries it has.
    len: usize,
    node: Arc<Node<T>>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<T: Ord + Clone> Ordered<T> {
    /// The set of entries that are sorted by key, each key once.
    pub fn from_sorted(entries: impl IntoIterator<Item = T>) -> Self {
        let mut children = Vec::new();
        let mut entries = entries.into_iter();
        loop {
            let mut leaf: Vec<T> = entries.by_ref().take(FANOUT).collect();
            leaf.shrink_to_fit(); // there may be many sets of few entries
            let Some(first) = leaf.first().cloned() else { break };
            children.push(Child { first, len: leaf.len(), node: Arc::new(Node::Leaf(leaf)) });
        }
        while children.len() > 1 {
            let mut above = Vec::with_capacity(children.len().div_ceil(FANOUT));
            let mut below = children.into_iter();
            loop {
                let branch: Vec<Child<T>> = below.by_ref().take(FANOUT).collect();
                let Some(first) = branch.first().map(|child| child.first.clone()) else { break };
                let len = branch.iter().map(|child| child.len).sum();
                above.push(Child { first, len, node: Arc::new(Node::Branch(branch)) });
            }
            children = above;
        }
        match children.pop() {
            Some(Child { node, len, .. }) => Self { root: node, len },
            None => Self::default(),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where two sets share all their nodes; false may be said of two that are equal.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of a key; `compare` tells how an entry's key compares with it.
    pub fn get_by(&self, compare: impl Fn(&T) -> Ordering) -> Option<&T> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    return entries.binary_search_by(&compare).ok().map(|at| &entries[at]);
                }
                Node::Branch(children) => node = &children[child_of(children, &compare)].node,
            }
        }
    }

    /// The last entry before a key, and the first one at or after it.
    pub fn around_by(&self, compare: impl Fn(&T) -> Ordering) -> (Option<&T>, Option<&T>) {
        let mut node = &*self.root;
        let mut right = None; // the subtree right of the path, the nearest
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|entry| compare(entry).is_lt());
                    // Only the leftmost leaf can begin at or after a key that the path was chosen by.
                    let before = at.checked_sub(1).map(|at| &entries[at]);
                    return (before, entries.get(at).or(right));
                }
                Node::Branch(children) => {
                    // strictly before, so that the entry before the key lies on the path
                    let at =
                        children.partition_point(|child| compare(&child.first).is_lt()).saturating_sub(1);
                    right = children.get(at + 1).map(|child| &child.first).or(right);
                    node = &children[at].node;
                }
            }
        }
    }

    /// Puts an entry in; the former one of its key comes back.
    pub fn insert(&mut self, entry: T) -> Option<T> {
        let (former, split) = insert(&mut self.root, entry);
        if let Some(right) = split {
            let left = self.root.clone();
            let children = [Child::of(left), Some(right)].into_iter().flatten().collect();
            self.root = Arc::new(Node::Branch(children));
        }
        self.len += usize::from(former.is_none());
        former
    }

    /// Takes the entry of a key out.
    pub fn remove_by(&mut self, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        self.get_by(&compare)?; // a key that is not there must not cost a copy
        let former = remove(&mut self.root, &compare)?;
        self.len -= 1;
        while let Node::Branch(children) = &*self.root
            && let [only] = &children[..]
        {
            self.root = only.node.clone();
        }
        Some(former)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> Iter<'_, T> {
        self.skip(0)
    }

    /// The entries in order without the first `count`, which cost nothing.
    pub fn skip(&self, mut count: usize) -> Iter<'_, T> {
        let mut iter = Iter { path: Vec::new(), leaf: [].iter() };
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    iter.leaf = entries.get(count..).unwrap_or_default().iter();
                    return iter;
                }
                Node::Branch(children) => {
                    let mut at = 0;
                    while at + 1 < children.len() && count >= children[at].len {
                        count -= children[at].len;
                        at += 1;
                    }
                    iter.path.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
            }
        }
    }

    /// The entries in order from the first one at or after a key.
    pub fn starting_at_by(&self, compare: impl Fn(&T) -> Ordering) -> Iter<'_, T> {
        let mut iter = Iter { path: Vec::new(), leaf: [].iter() };
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|entry| compare(entry).is_lt());
                    iter.leaf = entries[at..].iter();
                    return iter;
                }
                Node::Branch(children) => {
                    let at = child_of(children, &compare);
                    iter.path.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
            }
        }
    }
}

impl<T: Ord + Clone + fmt::Debug> fmt::Debug for Ordered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Clone> Child<T> {
    /// A node with its first entry and its length; nothing for an empty one.
    fn of(node: Arc<Node<T>>) -> Option<Self> {
        let (first, len) = match &*node {
            Node::Leaf(entries) => (entries.first()?.clone(), entries.len()),
            Node::Branch(children) => {
                (children.first()?.first.clone(), children.iter().map(|child| child.len).sum())
            }
        };
        Some(Self { first, len, node })
    }
}

impl<T> Node<T> {
    /// Entries or children.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }
}

/// The child in which a key lies, or would.
fn child_of<T>(children: &[Child<T>], compare: impl Fn(&T) -> Ordering) -> usize {
    children.partition_point(|child| compare(&child.first).is_le()).saturating_sub(1)
}

/// The two halves of what has become too wide. What grows at its end, as ids and sorted files do, stays full.
fn split<E>(entries: &mut Vec<E>, at_end: bool) -> Option<Vec<E>> {
    (entries.len() > FANOUT).then(|| entries.split_off(if at_end { FANOUT } else { FANOUT / 2 }))
}

/// Puts an entry into a subtree: the former entry, and the right half if the subtree had to be split.
fn insert<T: Ord + Clone>(node: &mut Arc<Node<T>>, entry: T) -> (Option<T>, Option<Child<T>>) {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => match entries.binary_search(&entry) {
            Ok(at) => (Some(std::mem::replace(&mut entries[at], entry)), None),
            Err(at) => {
                entries.insert(at, entry);
                let right = split(entries, at == FANOUT);
                (None, right.and_then(|right| Child::of(Arc::new(Node::Leaf(right)))))
            }
        },
        Node::Branch(children) => {
            let at = child_of(children, |other| other.cmp(&entry));
            let child = &mut children[at];
            if entry <= child.first {
                child.first = entry.clone();
            }
            let (former, right) = insert(&mut child.node, entry);
            child.len += usize::from(former.is_none());
            let mut half = None;
            if let Some(right) = right {
                child.len -= right.len;
                children.insert(at + 1, right);
                half = split(children, at + 1 == FANOUT);
            }
            (former, half.and_then(|half| Child::of(Arc::new(Node::Branch(half)))))
        }
    }
}

/// Takes an entry out of a subtree, which has it.
fn remove<T: Clone>(node: &mut Arc<Node<T>>, compare: &impl Fn(&T) -> Ordering) -> Option<T> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = entries.binary_search_by(compare).ok()?;
            Some(entries.remove(at))
        }
        Node::Branch(children) => {
            let at = child_of(children, compare);
            let former = remove(&mut children[at].node, compare)?;
            match Child::of(children[at].node.clone()) {
                Some(child) => children[at] = child,
                None => {
                    children.remove(at);
                    return Some(former);
                }
            }
            if children[at].node.width() < FEW {
                merge(children, at);
            }
            Some(former)
        }
    }
}

/// Merges a child with a neighbour where both fit into one node.
fn merge<T: Clone>(children: &mut Vec<Child<T>>, at: usize) {
    let left = if at + 1 < children.len() { at } else { at.saturating_sub(1) };
    let [one, two] = match children.get(left..left + 2) {
        Some([one, two]) if one.node.width() + two.node.width() <= FANOUT => [&one.node, &two.node],
        _ => return,
    };
    let merged = match (&**one, &**two) {
        (Node::Leaf(one), Node::Leaf(two)) => Node::Leaf([&one[..], two].concat()),
        (Node::Branch(one), Node::Branch(two)) => Node::Branch(one.iter().chain(two).cloned().collect()),
        _ => return, // all leaves are on one level
    };
    if let Some(child) = Child::of(Arc::new(merged)) {
        children[left] = child;
        children.remove(left + 1);
    }
}

/// Iterator over entries in order.
#[derive(Clone)]
pub struct Iter<'a, T> {
    /// For each branch on the path what lies right of it.
    path: Vec<std::slice::Iter<'a, Child<T>>>,
    leaf: std::slice::Iter<'a, T>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            let mut node = loop {
                match self.path.last_mut()?.next() {
                    Some(child) => break &*child.node,
                    None => self.path.pop(),
                };
            };
            loop {
                match node {
                    Node::Leaf(entries) => {
                        self.leaf = entries.iter();
                        break;
                    }
                    Node::Branch(children) => {
                        let mut children = children.iter();
                        let Some(first) = children.next() else { break };
                        self.path.push(children);
                        node = &first.node;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    proptest! {
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

    #[test]
    fn a_change_copies_one_path() {
        let before = Set::from_sorted((0..100_000).map(|key| OrderedEntry(key, 0)));
        let mut after = before.clone();
        after.insert(OrderedEntry(50_000, 1));
        let leaves = |set: &Set| {
            let mut leaves = Vec::new();
            let mut nodes = vec![set.root.clone()];
            while let Some(node) = nodes.pop() {
                match &*node {
                    Node::Leaf(_) => leaves.push(Arc::as_ptr(&node)),
                    Node::Branch(children) => nodes.extend(children.iter().map(|child| child.node.clone())),
                }
            }
            leaves
        };
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
}
