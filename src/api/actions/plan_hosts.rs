//! The records of one host record in an import: those that are there, those of the document, and what is between them.
//! However many they are, each costs the same.

use super::record;
use crate::account::row::{Record, RecordRow};
use crate::account::value;
use crate::api::ApiError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The records of one host record. Most have one, and nothing in here is needed for it.
#[derive(Default)]
pub(super) struct HostRecords<'p> {
    /// Records of the document.
    given: usize,
    /// Existing records; None for those that the document has matched.
    present: Vec<Option<Record<'p>>>,
    /// The places of those that it may meet, by [`item_key`], the last one first.
    unmet: HashMap<Vec<u8>, Vec<usize>>,
    /// Records that will be there.
    pub after: Vec<RecordRow>,
}

impl<'p> HostRecords<'p> {
    /// Those that are there, and the number of those of the document.
    pub fn new(present: Vec<Record<'p>>, given: usize) -> Self {
        let present: Vec<_> = present.into_iter().map(Some).collect();
        let mut unmet: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, record) in present.iter().enumerate().rev() {
            if let Some(record) = record.filter(|record| !record.synced) {
                unmet.entry(item_key(&record)).or_default().push(place);
            }
        }
        Self { given, present, unmet, after: Vec::new() }
    }

    /// The record that is there of one of the document, if there is one; it is met then.
    pub fn meet(&mut self, given: &RecordRow) -> Option<Record<'p>> {
        if self.unmet.is_empty() {
            return None;
        }
        let place = self.unmet.get_mut(&item_key(&given.view()))?.pop()?;
        self.present.get_mut(place)?.take()
    }

    /// True where a record of the document has no other beside it.
    pub fn is_alone(&self) -> bool {
        self.given == 1 && self.present.iter().all(Option::is_none)
    }

    /// Takes out those that the document has not met, but for those of hosts.
    pub fn take_unmet(&mut self) -> impl Iterator<Item = Record<'p>> {
        self.present.iter_mut().filter_map(|record| record.take_if(|record| !record.synced))
    }

    /// What is wrong between the records that will be there, for each of those of the document, which came first.
    pub fn conflicts(&mut self) -> Vec<(u64, ApiError)> {
        let given = self.after.len();
        self.after.extend(self.present.iter().flatten().map(|record| record.to_row()));
        let mut same: HashMap<Vec<u8>, [usize; 2]> = HashMap::new();
        let mut kinds: HashMap<Vec<u8>, [Option<usize>; 2]> = HashMap::new();
        for (at, row) in self.after.iter().enumerate() {
            match same.entry(item_key(&row.view())) {
                Entry::Vacant(first) => _ = first.insert([at, at]),
                Entry::Occupied(mut found) if found.get()[1] == found.get()[0] => found.get_mut()[1] = at,
                Entry::Occupied(_) => {}
            }
            if row.enabled {
                let kinds = kinds.entry(owner_key(&row.view())).or_default();
                kinds[usize::from(row.rtype == "CNAME")].get_or_insert(at);
            }
        }
        let of_each = self.after[..given].iter().enumerate().filter_map(|(at, row)| {
            let twice = same.get(&item_key(&row.view()));
            let twice = twice.and_then(|places| places.iter().copied().find(|place| *place != at));
            let other_kind = kinds.get(&owner_key(&row.view()));
            let other_kind = other_kind.and_then(|places| places[usize::from(row.rtype != "CNAME")]);
            let others = twice.into_iter().chain(other_kind).map(|place| self.after[place].view());
            Some((row.id, record::check_conflicts(others, row.view()).err()?))
        });
        of_each.collect()
    }
}

/// Equal for records of one host record and line.
fn owner_key(record: &Record<'_>) -> Vec<u8> {
    [record.line.as_bytes(), b"\0", record.rr.to_ascii_lowercase().as_bytes()].concat()
}

/// Equal for records that say the same.
fn item_key(record: &Record<'_>) -> Vec<u8> {
    let mut key = owner_key(record);
    key.push(0);
    key.extend(record.rtype.as_bytes());
    key.push(0);
    let data = key.len();
    value::push_data(record.rtype, record.value, record.priority, &mut key);
    // the name in the data; lengths of labels are below 64 and thereby no letters
    let name = match record.rtype {
        "CNAME" | "PTR" => data,
        "MX" => data + 2,
        "SRV" => data + 6,
        _ => key.len(),
    };
    if let Some(name) = key.get_mut(name..) {
        name.make_ascii_lowercase();
    }
    key
}
