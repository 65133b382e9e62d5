//! The records of a zone by id and by host record. A copy is cheap, and a change of a copy costs the same however many
//! records there are.

use super::packed::PackedRecord;
use super::row::Record;
use super::value::host;
use crate::engine::ordered::{Iter, Ordered};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

/// The records of a zone.
#[derive(Clone)]
pub struct ZoneRecords {
    /// The id of the zone.
    zone: Arc<str>,
    by_id: Ordered<ById>,
    /// The same by host record; nothing while there are so few that all are looked at instead: there may be many zones.
    by_host: Option<Ordered<ByHost>>,
    /// Custom line -> how many enabled records it has.
    lines: BTreeMap<String, usize>,
}

/// A record, ordered by its id.
#[derive(Clone)]
struct ById(PackedRecord);

/// A record, ordered by its host record and then its id.
#[derive(Clone)]
struct ByHost(PackedRecord);

/// Records of a zone that are looked at one by one for those of a host record.
const FEW: usize = 64;

impl ZoneRecords {
    /// All records of a zone at once.
    pub(super) fn of(zone: Arc<str>, mut records: Vec<PackedRecord>) -> Self {
        if !records.is_sorted_by(|one, two| one.id() < two.id()) {
            // later rows replace earlier ones of the same id
            records.reverse();
            records.sort_by_key(PackedRecord::id);
            records.dedup_by_key(|record| record.id());
        }
        let mut lines = BTreeMap::new();
        for record in records.iter().filter(|record| record.is_on_a_line()) {
            *lines.entry(record.view(&zone).line.to_string()).or_insert(0) += 1;
        }
        let by_host = (records.len() > FEW).then(|| by_host(records.iter().cloned()));
        Self { zone, by_id: Ordered::from_sorted(records.into_iter().map(ById)), by_host, lines }
    }

    /// The record of an id.
    pub fn get(&self, id: u64) -> Option<Record<'_>> {
        self.by_id.get_by(|other| other.0.id().cmp(&id)).map(|found| found.0.view(&self.zone))
    }

    /// All records in the order of their ids, which is that in which they were made.
    pub fn values(&self) -> impl Iterator<Item = Record<'_>> + Clone {
        self.skip(0)
    }

    /// The same without the first `count`, which cost nothing.
    pub fn skip(&self, count: usize) -> impl Iterator<Item = Record<'_>> + Clone {
        self.by_id.skip(count).map(|found| found.0.view(&self.zone))
    }

    /// The records of a host record, whatever its case, in the order of their ids.
    pub fn of_host<'r>(&'r self, rr: &str) -> impl Iterator<Item = Record<'r>> + use<'r> {
        let host = host(rr).into_owned();
        let index = self.by_host.as_ref();
        let from = index.map(|index| index.starting_at_by(|other| other.key().cmp(&(host.as_str(), 0))));
        let few = if from.is_none() { Some(self.by_id.iter()) } else { None };
        let is_host = host.clone();
        let indexed = from.into_iter().flatten().take_while(move |other| other.key().0 == host);
        let few = few.into_iter().flatten().filter(move |other| other.0.host() == is_host);
        indexed.map(|found| &found.0).chain(few.map(|found| &found.0)).map(|found| found.view(&self.zone))
    }

    /// The records by their host records, for those who look for host records in order.
    pub fn by_host(&self) -> HostCursor<'_> {
        let mut few = Vec::new();
        if self.by_host.is_none() {
            few = self.by_id.iter().map(|record| &record.0).collect();
            few.sort_unstable_by_key(|record| (record.host(), record.id()));
        }
        let many = self.by_host.as_ref().map(Ordered::iter);
        HostCursor { zone: &self.zone, many, few: few.into_iter().peekable() }
    }

    /// The ids of all records, in order.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.by_id.iter().map(|record| record.0.id())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Custom lines that have enabled records.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// Puts a record in; the former one of its id comes back.
    pub(super) fn insert(&mut self, record: &Record<'_>) -> Option<PackedRecord> {
        let former = self.remove(record.id);
        if record.is_on_a_line() {
            *self.lines.entry(record.line.to_string()).or_insert(0) += 1;
        }
        let packed = PackedRecord::of(record, &mut Vec::with_capacity(128));
        if let Some(index) = &mut self.by_host {
            index.insert(ByHost(packed.clone()));
        }
        self.by_id.insert(ById(packed));
        if self.by_host.is_none() && self.by_id.len() > FEW {
            self.by_host = Some(by_host(self.by_id.iter().map(|record| record.0.clone())));
        }
        former
    }

    /// Puts records in that are in the order of their ids, all at once. Those whose ids are there already come back, and
    /// change nothing.
    pub(super) fn add(&mut self, records: &[PackedRecord]) -> Vec<PackedRecord> {
        let known = self.by_id.merge(records.iter().cloned().map(ById).collect());
        let is_known =
            |record: &&PackedRecord| known.binary_search_by(|other| other.0.id().cmp(&record.id())).is_ok();
        let new = || records.iter().filter(|record| !is_known(record));
        for record in new().filter(|record| record.is_on_a_line()) {
            *self.lines.entry(record.view(&self.zone).line.to_string()).or_insert(0) += 1;
        }
        match &mut self.by_host {
            Some(index) => {
                let mut hosts: Vec<ByHost> = new().cloned().map(ByHost).collect();
                if !hosts.is_sorted() {
                    hosts.sort_unstable();
                }
                index.merge(hosts);
            }
            None if self.by_id.len() > FEW => {
                self.by_host = Some(by_host(self.by_id.iter().map(|record| record.0.clone())));
            }
            None => {}
        }
        known.into_iter().map(|known| known.0).collect()
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, id: u64) -> Option<PackedRecord> {
        let ById(former) = self.by_id.remove_by(|other| other.0.id().cmp(&id))?;
        let sought = (former.host(), id);
        if let Some(index) = &mut self.by_host {
            index.remove_by(|other| other.key().cmp(&sought));
        }
        let record = former.view(&self.zone);
        if record.is_on_a_line()
            && let Some(count) = self.lines.get_mut(record.line)
        {
            *count -= 1;
            if *count == 0 {
                self.lines.remove(record.line);
            }
        }
        Some(former)
    }
}

/// Finds the records of host records that are looked for in order.
pub struct HostCursor<'r> {
    zone: &'r str,
    many: Option<Iter<'r, ByHost>>,
    few: Peekable<IntoIter<&'r PackedRecord>>,
}

impl<'r> HostCursor<'r> {
    /// The records of a host record, as [`host`] has it, in the order of their ids.
    pub fn of_host(&mut self, host: &str) -> Vec<Record<'r>> {
        let mut found = Vec::new();
        if let Some(records) = &mut self.many {
            records.seek_by(|record| record.key().cmp(&(host, 0)));
            while let Some(record) = records.peek().filter(|record| record.0.host() == host) {
                found.push(record.0.view(self.zone));
                records.next();
            }
            return found;
        }
        while self.few.next_if(|record| record.host() < host).is_some() {}
        while let Some(record) = self.few.next_if(|record| record.host() == host) {
            found.push(record.view(self.zone));
        }
        found
    }
}

/// Records by their host records.
fn by_host(records: impl Iterator<Item = PackedRecord>) -> Ordered<ByHost> {
    let mut records: Vec<ByHost> = records.map(ByHost).collect();
    records.sort_unstable();
    Ordered::from_sorted(records)
}

impl ByHost {
    fn key(&self) -> (&str, u64) {
        (self.0.host(), self.0.id())
    }
}

impl fmt::Debug for ZoneRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id().cmp(&other.0.id())
    }
}

impl PartialEq for ByHost {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByHost {}

impl PartialOrd for ByHost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByHost {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
