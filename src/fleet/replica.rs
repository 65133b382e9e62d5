//! The rows as one node has them: of each, what tells whether it is the one that etcd has. Pure: changes in, edits out.

use super::row::{self, RowChange};
use crate::account::{Account, Edit};
use crate::engine::sort;
use std::collections::{BTreeMap, HashSet};

/// Rows below which no removal is held.
const FEW: usize = 100;

/// Why a record is not in force whose zone is missing.
pub const NO_ZONE: &str = "its zone is not there";

/// Characters of a reason that are kept.
const REASON: usize = 200;

/// What tells one content of a row from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowStamp {
    mark: u64,
    /// The revision of its last change.
    modified: i64,
}

/// All rows of a node.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    stamps: BTreeMap<Box<str>, RowStamp>,
    digest: u64,
    /// Rows that make no sense, with the reason; their last good value stays in force.
    bad: BTreeMap<Box<str>, String>,
}

/// What some changes would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaPreview {
    /// Rows then.
    pub rows: u64,
    /// Their digest.
    pub digest: u64,
    /// Rows that go.
    pub removed: usize,
}

/// How a list of keys differs from the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaDifference {
    /// Keys whose value is to be read.
    pub wanted: Vec<Box<str>>,
    /// Keys of rows that are gone.
    pub gone: Vec<Box<str>>,
}

impl Replica {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// The sum of all marks.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Rows that make no sense, with the reason.
    pub fn bad(&self) -> &BTreeMap<Box<str>, String> {
        &self.bad
    }

    /// Notes that a row is not in force, and why.
    pub fn note_bad(&mut self, key: Box<str>, reason: &str) {
        self.bad.insert(key, reason.chars().take(REASON).collect());
    }

    /// What changes would come to. Of two of one row the later counts.
    pub fn preview(&self, changes: &[RowChange]) -> ReplicaPreview {
        let mut last: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for change in changes {
            let mark = change.value.as_ref().map(|value| row::mark(&change.key, value));
            last.insert(&change.key, mark);
        }
        let (mut rows, mut digest, mut removed) = (self.stamps.len() as u64, self.digest, 0);
        for (key, mark) in last {
            let former = self.stamps.get(key).map(|stamp| stamp.mark);
            digest = digest.wrapping_sub(former.unwrap_or(0)).wrapping_add(mark.unwrap_or(0));
            match (former, mark) {
                (None, Some(_)) => rows += 1,
                (Some(_), None) => {
                    rows -= 1;
                    removed += 1;
                }
                _ => {}
            }
        }
        ReplicaPreview { rows, digest, removed }
    }

    /// True where so much goes that it may be a mistake: more than half of all rows.
    pub fn is_mass_removal(&self, preview: &ReplicaPreview) -> bool {
        preview.removed > FEW && preview.removed * 2 > self.stamps.len()
    }

    /// Takes changes in; the edits that they are, in an order in which they can be carried out. A row that makes no sense
    /// is noted, and is no edit.
    pub fn apply(&mut self, changes: &[RowChange]) -> Vec<Edit> {
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        last.extend(changes.iter().enumerate().map(|(place, change)| (&*change.key, place)));
        let mut edits = Vec::with_capacity(last.len());
        for (place, change) in changes.iter().enumerate() {
            if last.get(&*change.key) != Some(&place) {
                continue; // changed once more behind it
            }
            self.stamp(change);
            match row::edit(change) {
                Ok(edit) => {
                    self.bad.remove(&change.key);
                    edits.push(edit);
                }
                Err(reason) if change.value.is_some() => self.note_bad(change.key.clone(), &reason),
                Err(_) => {
                    self.bad.remove(&change.key); // gone, and never in force
                }
            }
        }
        sort::by_key(&mut edits, row::rank);
        edits
    }

    /// The edits without records whose zone is neither there nor among them; those are noted.
    pub fn without_orphans(&mut self, account: &Account, edits: Vec<Edit>) -> Vec<Edit> {
        let zone = |edit: &Edit| match edit {
            Edit::Zone(row) => Some(row.id.clone()),
            _ => None,
        };
        let zones: HashSet<String> = edits.iter().filter_map(zone).collect();
        let mut kept = Vec::with_capacity(edits.len());
        for edit in edits {
            match &edit {
                Edit::Record(row) if !zones.contains(&row.zone) && account.zone(&row.zone).is_none() => {
                    self.note_bad(format!("record/{:020}", row.id).into(), NO_ZONE);
                }
                _ => kept.push(edit),
            }
        }
        kept
    }

    /// Takes a row in that is not looked at.
    pub fn stamp(&mut self, change: &RowChange) {
        let stamp = change
            .value
            .as_ref()
            .map(|value| RowStamp { mark: row::mark(&change.key, value), modified: change.modified });
        let former = match stamp {
            Some(stamp) => self.stamps.insert(change.key.clone(), stamp),
            None => self.stamps.remove(&change.key),
        };
        let mark = |stamp: Option<RowStamp>| stamp.map_or(0, |stamp| stamp.mark);
        self.digest = self.digest.wrapping_sub(mark(former)).wrapping_add(mark(stamp));
    }

    /// How a list of all keys, each with the revision of its last change, differs from the rows. With `whole` every value
    /// is to be read: revisions of another history tell nothing.
    pub fn difference(&self, listed: &BTreeMap<Box<str>, i64>, whole: bool) -> ReplicaDifference {
        let is_wanted = |key: &str, modified: i64| {
            whole || self.stamps.get(key).is_none_or(|stamp| stamp.modified != modified)
        };
        let wanted = listed.iter().filter(|(key, modified)| is_wanted(key, **modified));
        let wanted = wanted.map(|(key, _)| key.clone()).collect();
        let gone = self.stamps.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        ReplicaDifference { wanted, gone }
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
