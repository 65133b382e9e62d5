//! The data of the PrivateZone API: zones with their records and bindings, forwarding rules, endpoints, custom lines,
//! authorisations, and the log of changes.
//!
//! An [`Account`] is a snapshot. It changes by [`Edit`]s, whole rows that the store writes as well, so that memory
//! and disk change by the same list; `api` decides which edits are allowed. This module reads no clock, does no I/O and
//! depends neither on the API's parameters nor on the store's format.

mod edit;
mod entry;
mod load;
pub mod network;
pub mod packed;
pub mod priority;
pub mod records;
pub mod row;
pub mod value;

#[cfg(test)]
pub(crate) mod tests;

pub use edit::{Dirty, Edit, MAX_LOG};
pub use entry::ZoneEntry;
pub use load::Rows;

use crate::engine::catalog::{Catalog, GroupKey, Line};
use crate::engine::name::{self, NameKey};
use crate::engine::ordered::Ordered;
use crate::engine::sharded::Sharded;
use crate::engine::zone::ZoneSemantics;
use crate::upstream::ServerAddress;
use row::{AuthorisationRow, EndpointRow, LineRow, LogRow, RuleRow};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// All data of the API. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub struct Account {
    zones: Sharded<Arc<str>, Arc<ZoneEntry>>,
    /// The zones of records, by their numbers.
    records: Ordered<RecordZone>,
    /// The number of a zone -> its id. Numbers are those of this run, and each is given once.
    numbers: Sharded<u64, Arc<str>>,
    next_number: u32,
    /// Zone name -> the zones of that name.
    by_name: Sharded<NameKey, Namesakes>,
    /// All zones in the order of lists, the newest first.
    newest: Ordered<NewestZone>,
    rules: BTreeMap<String, Arc<RuleRow>>,
    endpoints: BTreeMap<String, Arc<EndpointRow>>,
    lines: BTreeMap<String, Arc<LineRow>>,
    authorisations: BTreeMap<(u64, String), AuthorisationRow>,
    networks: BTreeMap<String, Arc<network::NetworkRow>>,
    log: Sharded<u64, Arc<LogRow>>,
    /// The oldest and the newest line of the log; nothing while it is empty.
    log_span: Option<(u64, u64)>,
    last_record: u64,
    reading: ZoneSemantics,
}

/// The numbers of the zones of one name.
#[derive(Clone, Debug)]
enum Namesakes {
    /// One, the usual case.
    One(u32),
    /// Several.
    Several(Arc<[u32]>),
}

impl Namesakes {
    fn numbers(&self) -> &[u32] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Several(numbers) => numbers,
        }
    }
}

/// A zone in the list of all, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NewestZone(Reverse<u64>, Arc<str>);

impl NewestZone {
    fn of(entry: &ZoneEntry) -> Self {
        Self(Reverse(entry.row.created), entry.id.clone())
    }
}

/// The zone that a record is in: the two halves of the record's id, and the number of the zone. Ordered by the record.
#[derive(Clone, Copy)]
struct RecordZone([u32; 3]);

impl RecordZone {
    fn new(record: u64, zone: u32) -> Self {
        Self([(record >> 32) as u32, record as u32, zone])
    }

    fn record(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }

    fn zone(self) -> u64 {
        self.0[2].into()
    }
}

impl fmt::Debug for RecordZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.record(), self.zone())
    }
}

impl PartialEq for RecordZone {
    fn eq(&self, other: &Self) -> bool {
        self.record() == other.record()
    }
}

impl Eq for RecordZone {}

impl PartialOrd for RecordZone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RecordZone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.record().cmp(&other.record())
    }
}

impl Account {
    /// Sets how all zones, later ones included, read undocumented cases.
    pub fn read_as(&mut self, reading: ZoneSemantics) {
        if reading == self.reading {
            return;
        }
        self.reading = reading;
        let ids: Vec<Arc<str>> = self.zones.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(entry) = self.zones.get_mut(&*id) {
                Arc::make_mut(entry).read_as(reading);
            }
        }
    }

    /// A zone.
    pub fn zone(&self, id: &str) -> Option<&Arc<ZoneEntry>> {
        self.zones.get(id)
    }

    /// All zones, in no particular order.
    pub fn zones(&self) -> impl Iterator<Item = &Arc<ZoneEntry>> {
        self.zones.iter().map(|(_, entry)| entry)
    }

    /// The number of zones.
    pub fn zone_count(&self) -> usize {
        self.zones.len()
    }

    /// All zones without the first `count`, the newest first. The skipped ones cost no work.
    pub fn newest_zones(&self, count: usize) -> impl Iterator<Item = &Arc<ZoneEntry>> {
        self.newest.skip(count).filter_map(|listed| self.zones.get(&*listed.1))
    }

    /// The zones of one name, in any case.
    pub fn zones_named(&self, name: &str) -> impl Iterator<Item = &Arc<ZoneEntry>> {
        let found = name::parse(name).ok().and_then(|name| self.by_name.get(&NameKey::of(&name)));
        let numbers = found.map_or(&[][..], Namesakes::numbers).iter();
        numbers.filter_map(|number| self.zones.get(&**self.numbers.get(&u64::from(*number))?))
    }

    /// The zone of a record.
    pub fn zone_of_record(&self, record: u64) -> Option<&Arc<ZoneEntry>> {
        let found = self.records.get_by(|other| other.record().cmp(&record))?;
        self.zones.get(&**self.numbers.get(&found.zone())?)
    }

    /// The number of a new record: greater than all before, and close to the time, so that no number is used twice.
    pub fn next_record(&self, now: u64) -> u64 {
        now.max(self.last_record + 1)
    }

    /// All forwarding rules by id.
    pub fn rules(&self) -> &BTreeMap<String, Arc<RuleRow>> {
        &self.rules
    }

    /// All endpoints by id.
    pub fn endpoints(&self) -> &BTreeMap<String, Arc<EndpointRow>> {
        &self.endpoints
    }

    /// All custom lines by id.
    pub fn lines(&self) -> &BTreeMap<String, Arc<LineRow>> {
        &self.lines
    }

    /// All authorisations.
    pub fn authorisations(&self) -> impl Iterator<Item = &AuthorisationRow> {
        self.authorisations.values()
    }

    /// The log, the newest line first.
    pub fn log(&self) -> impl Iterator<Item = &Arc<LogRow>> {
        let ids = self.log_span.map(|(oldest, newest)| (oldest..=newest).rev());
        ids.into_iter().flatten().filter_map(|id| self.log.get(&id))
    }

    /// The number of the next line of the log.
    pub fn next_log(&self) -> u64 {
        self.log_span.map_or(1, |(_, newest)| newest + 1)
    }

    /// Adds everything to a catalog that holds the configuration, and returns the groups of the rules by key.
    /// `is_taken` is true for the keys of configured groups, which are not used again.
    pub fn place_all(
        &self,
        catalog: &mut Catalog,
        is_taken: impl Fn(GroupKey) -> bool,
    ) -> Vec<(GroupKey, Arc<RuleRow>)> {
        let lines = self.lines.values().map(|row| Line { id: row.id.clone(), ranges: row.ranges.clone() });
        catalog.set_lines(&lines.collect::<Vec<_>>());
        for entry in self.zones() {
            entry.place(catalog);
        }
        let mut groups: BTreeMap<GroupKey, Arc<RuleRow>> = BTreeMap::new();
        for rule in self.rules.values() {
            let Ok(suffix) = name::parse(&rule.zone) else { continue }; // parsed before it was stored
            let suffix = NameKey::of(&suffix);
            let differs = |other: &Arc<RuleRow>| !has_same_group(other, rule);
            let key = group_key(rule).unless(|key| is_taken(key) || groups.get(&key).is_some_and(differs));
            let placed = rule.bindings.iter().filter(|binding| {
                let placed = catalog.place_rule(&binding.vpc, &suffix, key);
                if !placed {
                    tracing::debug!(rule = rule.id, vpc = binding.vpc, "the rule is not in force there");
                }
                placed
            });
            if placed.count() > 0 {
                groups.entry(key).or_insert_with(|| rule.clone());
            }
        }
        groups.into_iter().collect()
    }

    /// Applies the differences of two snapshots to a catalog that holds the earlier one. Rules and lines are the same
    /// in both.
    pub fn place_changes(&self, before: &Account, dirty: &Dirty, catalog: &mut Catalog) {
        for id in &dirty.zones {
            if let Some(entry) = before.zone(id) {
                entry.remove_zone(catalog);
            }
        }
        for id in &dirty.zones {
            if let Some(entry) = self.zone(id) {
                entry.place(catalog);
            }
        }
    }
}

/// The group of a rule's targets: one for each set of targets, so that cached answers stay with the servers they came
/// from, and rules with the same targets share the state of these.
fn group_key(rule: &RuleRow) -> GroupKey {
    ServerAddress::group_key(&[b"rule"], &rule.servers())
}

/// True for two rules that query the same servers in the same way.
fn has_same_group(a: &RuleRow, b: &RuleRow) -> bool {
    a.is_ordered() == b.is_ordered() && a.servers() == b.servers()
}
