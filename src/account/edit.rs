//! The only way in which an account changes: a list of whole rows, put or dropped.

use super::entry::Touched;
use super::network::NetworkRow;
use super::packed::NewRecords;
use super::row::{AuthorisationRow, EndpointRow, LineRow, LogRow, RecordRow, RuleRow, ZoneRow};
use super::{Account, Namesakes, NewestZone, RecordZone, ZoneEntry};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Lines of the change log that are kept; beyond, the oldest go.
pub const MAX_LOG: u64 = 10_000;

/// One row, put or dropped. To put a row in place of another of the same id is a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A zone; its records stay.
    Zone(ZoneRow),
    /// A zone goes, and its records with it. Their rows go by [`Edit::DropRecords`], which comes after it.
    DropZone(String),
    /// A record of a zone that is there.
    Record(RecordRow),
    /// New records of a zone that is there: an import has many.
    Records(NewRecords),
    /// A record goes.
    DropRecord(u64),
    /// Records go, many of one zone, in the order of their ids.
    DropRecords(Vec<u64>),
    /// A forwarding rule.
    Rule(RuleRow),
    /// A forwarding rule goes.
    DropRule(String),
    /// An endpoint.
    Endpoint(EndpointRow),
    /// An endpoint goes.
    DropEndpoint(String),
    /// A custom line.
    Line(LineRow),
    /// A custom line goes.
    DropLine(String),
    /// An authorisation.
    Authorisation(AuthorisationRow),
    /// An authorisation goes, by account and kind.
    DropAuthorisation(u64, String),
    /// A VPC, a vSwitch or a security group.
    Network(NetworkRow),
    /// A VPC, a vSwitch or a security group goes.
    DropNetwork(String),
    /// A line of the log.
    Log(LogRow),
    /// The oldest line of the log goes.
    DropLog(u64),
}

impl Edit {
    /// How many rows it puts or drops.
    pub fn rows(&self) -> usize {
        match self {
            Self::Records(new) => new.records.len(),
            Self::DropRecords(ids) => ids.len(),
            _ => 1,
        }
    }
}

/// What a list of edits touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Zones, by id.
    pub zones: BTreeSet<String>,
    /// Rules, lines or VPCs: the catalog is to be built anew.
    pub whole: bool,
}

impl Account {
    /// Carries out edits. The engine's zones are made anew where something in them changed.
    pub fn apply(&mut self, edits: &[Edit]) -> Dirty {
        let mut dirty = Dirty::default();
        let mut touched = HashMap::new();
        for edit in edits {
            self.carry_out(edit, &mut dirty, &mut touched);
        }
        for id in &dirty.zones {
            if let Some(entry) = self.zones.get_mut(id.as_str()) {
                Arc::make_mut(entry).refresh(touched.remove(id.as_str()).unwrap_or_default());
            }
        }
        dirty
    }

    /// Carries out one edit. `touched` has the zones whose records changed.
    fn carry_out(&mut self, edit: &Edit, dirty: &mut Dirty, touched: &mut HashMap<Arc<str>, Touched>) {
        match edit {
            Edit::Zone(row) => {
                dirty.zones.insert(row.id.clone());
                match self.zones.get_mut(row.id.as_str()) {
                    Some(entry) => {
                        let listed = NewestZone::of(entry);
                        let former = std::mem::replace(&mut Arc::make_mut(entry).row, row.clone());
                        touched.entry(entry.id.clone()).or_default().note_row(&former, &entry.row);
                        if former.created != row.created {
                            let now = NewestZone::of(entry);
                            self.newest.remove_by(|other| other.cmp(&listed));
                            self.newest.insert(now);
                        }
                    }
                    None => {
                        let number = self.next_number;
                        self.next_number += 1;
                        let entry = ZoneEntry::of_records(row.clone(), number, Vec::new(), self.reading);
                        self.index(&entry);
                        self.newest.insert(NewestZone::of(&entry));
                        self.zones.insert(entry.id.clone(), Arc::new(entry));
                    }
                }
            }
            Edit::DropZone(id) => {
                if let Some(entry) = self.zones.remove(id.as_str()) {
                    self.forget(&entry);
                    let records = entry.records.ids().map(|record| RecordZone::new(record, entry.number));
                    self.records.remove_sorted(&records.collect::<Vec<_>>());
                    touched.remove(id.as_str());
                    dirty.zones.insert(id.clone());
                }
            }
            Edit::Record(row) => {
                if let Some(entry) = self.zones.get_mut(row.zone.as_str()) {
                    self.last_record = self.last_record.max(row.id);
                    if !dirty.zones.contains(&row.zone) {
                        dirty.zones.insert(row.zone.clone());
                    }
                    let touched = touched.entry(entry.id.clone()).or_default();
                    touched.note(&row.view());
                    self.records.insert(RecordZone::new(row.id, entry.number));
                    if let Some(former) = Arc::make_mut(entry).records.insert(&row.view()) {
                        touched.note(&former.view(""));
                    }
                }
            }
            Edit::Records(new) => self.add_records(new, dirty, touched),
            Edit::DropRecord(id) => self.drop_record(*id, dirty, touched),
            Edit::DropRecords(ids) => ids.iter().for_each(|id| self.drop_record(*id, dirty, touched)),
            Edit::Rule(row) => {
                self.rules.insert(row.id.clone(), Arc::new(row.clone()));
                dirty.whole = true;
            }
            Edit::DropRule(id) => dirty.whole |= self.rules.remove(id).is_some(),
            Edit::Endpoint(row) => {
                self.endpoints.insert(row.id.clone(), Arc::new(row.clone()));
            }
            Edit::DropEndpoint(id) => {
                self.endpoints.remove(id);
            }
            Edit::Line(row) => {
                self.lines.insert(row.id.clone(), Arc::new(row.clone()));
                dirty.whole = true;
            }
            Edit::DropLine(id) => dirty.whole |= self.lines.remove(id).is_some(),
            Edit::Authorisation(row) => {
                self.authorisations.insert((row.user, row.kind.clone()), row.clone());
            }
            Edit::DropAuthorisation(user, kind) => {
                self.authorisations.remove(&(*user, kind.clone()));
            }
            Edit::Network(row) => {
                let is_vpc = matches!(row, NetworkRow::Vpc(_));
                // A name or a tag changes nothing that the catalog has.
                let former = self.networks.insert(row.common().id.clone(), Arc::new(row.clone()));
                dirty.whole |= is_vpc && former.is_none();
            }
            Edit::DropNetwork(id) => {
                let former = self.networks.remove(id);
                dirty.whole |= former.is_some_and(|row| matches!(*row, NetworkRow::Vpc(_)));
            }
            Edit::Log(row) => {
                let (oldest, newest) = self.log_span.unwrap_or((row.id, row.id));
                self.log_span = Some((oldest.min(row.id), newest.max(row.id)));
                self.log.insert(row.id, Arc::new(row.clone()));
            }
            Edit::DropLog(id) => {
                self.log.remove(id);
                self.log_span = self.log_span.map(|(oldest, newest)| (oldest.max(id + 1), newest));
            }
        }
    }

    /// Puts new records in, all at once.
    fn add_records(&mut self, new: &NewRecords, dirty: &mut Dirty, touched: &mut HashMap<Arc<str>, Touched>) {
        let (Some(entry), Some(last)) = (self.zones.get_mut(new.zone.as_str()), new.records.last()) else {
            return;
        };
        self.last_record = self.last_record.max(last.id());
        dirty.zones.insert(new.zone.clone());
        let touched = touched.entry(entry.id.clone()).or_default();
        let index = new.records.iter().map(|record| RecordZone::new(record.id(), entry.number));
        for known in self.records.merge(index.collect()) {
            self.records.insert(known);
        }
        Arc::make_mut(entry).add_records(&new.records, touched);
    }

    /// Takes a record out.
    fn drop_record(&mut self, id: u64, dirty: &mut Dirty, touched: &mut HashMap<Arc<str>, Touched>) {
        let Some(zone) = self.forget_record(id) else { return };
        if let Some(entry) = self.zones.get_mut(&*zone) {
            if let Some(former) = Arc::make_mut(entry).records.remove(id) {
                touched.entry(zone.clone()).or_default().note(&former.view(""));
            }
            if !dirty.zones.contains(&*zone) {
                dirty.zones.insert(zone.to_string());
            }
        }
    }

    /// Takes a record out of the index of records; its zone.
    fn forget_record(&mut self, record: u64) -> Option<Arc<str>> {
        let found = self.records.remove_by(|other| other.record().cmp(&record))?;
        self.numbers.get(&found.zone()).cloned()
    }

    /// Puts a zone into the indices by number and by name.
    pub(super) fn index(&mut self, entry: &ZoneEntry) {
        self.numbers.insert(entry.number.into(), entry.id.clone());
        let apex = entry.zone().apex();
        let numbers = match self.by_name.get(apex) {
            None => Namesakes::One(entry.number),
            Some(others) => {
                Namesakes::Several(others.numbers().iter().copied().chain([entry.number]).collect())
            }
        };
        self.by_name.insert(apex.clone(), numbers);
    }

    /// Takes a zone out of all indices.
    fn forget(&mut self, entry: &ZoneEntry) {
        self.numbers.remove(&u64::from(entry.number));
        let listed = NewestZone::of(entry);
        self.newest.remove_by(|other| other.cmp(&listed));
        let apex = entry.zone().apex();
        let others: Arc<[u32]> = match self.by_name.get(apex) {
            Some(numbers) => {
                numbers.numbers().iter().copied().filter(|number| *number != entry.number).collect()
            }
            None => return,
        };
        match others[..] {
            [] => _ = self.by_name.remove(apex),
            [one] => _ = self.by_name.insert(apex.clone(), Namesakes::One(one)),
            _ => _ = self.by_name.insert(apex.clone(), Namesakes::Several(others)),
        }
    }
}
