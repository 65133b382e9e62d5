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

    /// Puts entries in that are sorted by key, each key once. Those whose key is there already come back, and change
    /// nothing. A node that several of them fall into is copied once, so that many cost less than one after another.
    pub fn merge(&mut self, entries: Vec<T>) -> Vec<T> {
        let (count, mut clashes) = (entries.len(), Vec::new());
        let root = std::mem::take(self);
        let mut children = merge_into(root.root, &mut entries.into_iter().peekable(), None, &mut clashes);
        while children.len() > 1 {
            children = level(children, Node::Branch);
        }
        if let Some(Child { node, len, .. }) = children.pop() {
            debug_assert_eq!(len, root.len + count - clashes.len());
            *self = Self { root: node, len };
        }
        clashes
    }

    /// Takes out the entries whose keys are those of other entries, sorted by key.
    pub fn remove_sorted(&mut self, others: &[T]) {
        if others.len() < self.len / FANOUT {
            for other in others {
                self.remove_by(|entry| entry.cmp(other));
            }
            return;
        }
        let mut others = others.iter().peekable();
        let stays = |entry: &&T| {
            while others.next_if(|other| *other < *entry).is_some() {}
            others.peek() != Some(entry)
        };
        *self = Self::from_sorted(self.iter().filter(stays).cloned());
    }

    /// The last entry.
    pub fn last(&self) -> Option<&T> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => return entries.last(),
                Node::Branch(children) => node = &children.last()?.node,
            }
        }
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
        iter.descend(&self.root, compare);
        iter
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

/// Entries on their way into a subtree, in order.
type Merged<T> = std::iter::Peekable<std::vec::IntoIter<T>>;

/// Puts those entries that come before `end` into a subtree: what it is then, which are several where it is too wide for
/// one node.
fn merge_into<T: Ord + Clone>(
    node: Arc<Node<T>>,
    entries: &mut Merged<T>,
    end: Option<&T>,
    clashes: &mut Vec<T>,
) -> Vec<Child<T>> {
    let is_before = |entry: &T, end: Option<&T>| end.is_none_or(|end| entry < end);
    match Arc::unwrap_or_clone(node) {
        Node::Leaf(former) => {
            let mut merged = Vec::with_capacity(former.len() + 1);
            for entry in former {
                while let Some(new) = entries.next_if(|new| *new < entry) {
                    merged.push(new);
                }
                clashes.extend(entries.next_if(|new| *new == entry));
                merged.push(entry);
            }
            while let Some(new) = entries.next_if(|new| is_before(new, end)) {
                merged.push(new);
            }
            level(merged, Node::Leaf)
        }
        Node::Branch(former) => {
            let ends: Vec<T> = former.iter().skip(1).map(|child| child.first.clone()).collect();
            let ends = ends.iter().map(Some).chain([end]);
            let mut children = Vec::with_capacity(former.len() + 1);
            for (child, end) in former.into_iter().zip(ends) {
                match entries.peek().is_some_and(|entry| is_before(entry, end)) {
                    true => children.extend(merge_into(child.node, entries, end, clashes)),
                    false => children.push(child),
                }
            }
            level(children, Node::Branch)
        }
    }
}

/// Entries or children as nodes of about the same width, as few as possible.
fn level<T: Clone, E>(entries: Vec<E>, node: impl Fn(Vec<E>) -> Node<T>) -> Vec<Child<T>> {
    let (count, nodes) = (entries.len(), entries.len().div_ceil(FANOUT));
    if nodes <= 1 {
        return Child::of(Arc::new(node(entries))).into_iter().collect();
    }
    let mut entries = entries.into_iter();
    let widths = (0..nodes).map(|at| count * (at + 1) / nodes - count * at / nodes);
    widths.filter_map(|width| Child::of(Arc::new(node(entries.by_ref().take(width).collect())))).collect()
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

impl<'a, T> Iter<'a, T> {
    /// The entry that comes next.
    pub fn peek(&self) -> Option<&'a T> {
        let right = || self.path.iter().rev().find_map(|right| right.as_slice().first());
        self.leaf.as_slice().first().or_else(|| right().map(|child| &child.first))
    }

    /// Goes on to the first entry at or after a key, which must not come before those of earlier calls. Costs less than a
    /// new look-up where it is near.
    pub fn seek_by(&mut self, compare: impl Fn(&T) -> Ordering) {
        let rest = self.leaf.as_slice();
        if rest.last().is_some_and(|last| compare(last).is_ge()) {
            self.leaf = rest[rest.partition_point(|entry| compare(entry).is_lt())..].iter();
            return;
        }
        self.leaf = [].iter();
        while let Some(right) = self.path.pop() {
            let children = right.as_slice();
            let at = children.partition_point(|child| compare(&child.first).is_le());
            let mut above = self.path.iter().rev().filter_map(|right| right.as_slice().first());
            match at.checked_sub(1) {
                _ if above.next().is_some_and(|child| compare(&child.first).is_le()) => {}
                None if children.is_empty() => {}
                None => return self.path.push(right), // the next entry comes after the key
                Some(at) => {
                    self.path.push(children[at + 1..].iter());
                    return self.descend(&children[at].node, compare);
                }
            }
        }
    }

    /// Goes on to the first entry of a subtree at or after a key.
    fn descend(&mut self, mut node: &'a Node<T>, compare: impl Fn(&T) -> Ordering) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries[entries.partition_point(|entry| compare(entry).is_lt())..].iter();
                    return;
                }
                Node::Branch(children) => {
                    let at = child_of(children, &compare);
                    self.path.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
            }
        }
    }
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
#[path = "ordered_tests.rs"]
mod tests;
