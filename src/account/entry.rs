//! A zone with its records, and the engine's zones that they make: one for all clients, and one more for each
//! custom line that has records of its own.

use super::packed::PackedRecord;
use super::records::ZoneRecords;
use super::row::Record;
use super::row::{Weighted, ZoneRow};
use super::value::{self, DEFAULT_LINE};
use crate::engine::catalog::Catalog;
use crate::engine::name::{self, NameKey};
use crate::engine::sort;
use crate::engine::zone::{PackedZone, Zone, ZoneMode, ZoneOrigin, ZoneRecord, ZoneSemantics, ZoneSpec};
use crate::engine::zone_build::ZoneBuilder;
use hickory_proto::rr::Name;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Beyond this many changed host records, and a quarter of all records, the zone is built anew.
const MANY: usize = 1000;

/// A zone with its records.
#[derive(Clone, Debug)]
pub struct ZoneEntry {
    /// The zone's id, shared by what refers to it.
    pub(super) id: Arc<str>,
    /// Its number in this run.
    pub(super) number: u32,
    /// The zone.
    pub row: ZoneRow,
    /// Its records in the order in which they were made.
    pub records: ZoneRecords,
    reading: ZoneSemantics,
    zone: Arc<Zone>,
    /// Line -> the zone as it is on that line.
    variants: Vec<(String, Arc<Zone>)>,
}

/// What changed in a zone, and is not in the engine's zones yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Host records, as [`value::host`] has them.
    hosts: BTreeSet<String>,
    /// New records for clients on no line, whose host records may be others than these.
    added: Vec<PackedRecord>,
}

impl Touched {
    /// Notes that a record was put in or taken out.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        let host = value::host(record.rr);
        if !self.hosts.contains(&*host) {
            self.hosts.insert(host.into_owned());
        }
    }

    /// Notes that a zone's row was replaced: sets begin or cease to answer by weight.
    pub(super) fn note_row(&mut self, before: &ZoneRow, after: &ZoneRow) {
        if before.weighted == after.weighted {
            return;
        }
        let only_in = |one: &ZoneRow, other: &ZoneRow| -> Vec<Weighted> {
            let other: HashSet<_> = other.weighted.iter().map(set_of).collect();
            one.weighted.iter().filter(|set| !other.contains(&set_of(set))).cloned().collect()
        };
        for set in only_in(before, after).into_iter().chain(only_in(after, before)) {
            self.hosts.insert(value::host(&set.rr).into_owned());
        }
    }
}

/// A set that answers by weight, for comparison.
fn set_of(set: &Weighted) -> (String, String, &str) {
    (set.rr.to_ascii_lowercase(), set.rtype.to_ascii_lowercase(), &set.line)
}

impl ZoneEntry {
    /// A zone with records that are its own.
    pub(super) fn of_records(
        row: ZoneRow,
        number: u32,
        records: Vec<PackedRecord>,
        reading: ZoneSemantics,
    ) -> Self {
        let id: Arc<str> = row.id.as_str().into();
        let records = ZoneRecords::of(id.clone(), records);
        let (zone, variants) = zones(&row, &records, reading);
        Self { id, number, row, records, reading, zone, variants }
    }

    /// Reads what is not documented in another way.
    pub(super) fn read_as(&mut self, reading: ZoneSemantics) {
        self.reading = reading;
        (self.zone, self.variants) = zones(&self.row, &self.records, self.reading);
    }

    /// Puts new records in, which are in the order of their ids.
    pub(super) fn add_records(&mut self, records: &[PackedRecord], touched: &mut Touched) {
        let known = self.records.add(records);
        let is_known = |id: u64| known.binary_search_by_key(&id, PackedRecord::id).is_ok();
        for record in records.iter().filter(|record| !is_known(record.id())) {
            if record.is_on_default() {
                touched.added.push(record.clone());
            } else {
                touched.note(&record.view(""));
            }
        }
        for record in &known {
            touched.note(&record.view(""));
            if let Some(former) = self.records.insert(&record.view(&self.id)) {
                touched.note(&former.view(""));
            }
        }
    }

    /// Brings the engine's zones up to date with the row and with the host records that were touched.
    pub(super) fn refresh(&mut self, mut touched: Touched) {
        if touched.hosts.len() > MANY && touched.hosts.len() > self.records.len() / 4 {
            (self.zone, self.variants) = zones(&self.row, &self.records, self.reading);
            return;
        }
        self.add_owners(&mut touched);
        let Self { row, records, zone, variants, .. } = self;
        let former: HashMap<String, Arc<Zone>> = std::mem::take(variants).into_iter().collect();
        let maker = Maker::new(row);
        let owner = |host: &String| value::owner(host, &maker.apex).ok();
        let changed: Vec<(NameKey, Vec<Record<'_>>)> = touched
            .hosts
            .iter()
            .filter_map(|host| Some((NameKey::of(&owner(host)?), enabled(records, host))))
            .collect();
        let names: Vec<NameKey> = changed.iter().map(|(name, _)| name.clone()).collect();
        let apex = NameKey::of(&maker.apex);
        let change = |zone: &mut Arc<Zone>, line: &str| {
            let zone = Arc::make_mut(zone);
            maker.settle(zone);
            let mut builder = ZoneBuilder::new(apex.clone());
            for (_, rows) in &changed {
                maker.add(on_line(rows, line).into_iter(), &apex, &mut builder);
            }
            zone.set_owners(&names, builder);
        };
        change(zone, DEFAULT_LINE);
        let variant = |line: &str| {
            // A line that had no records is the default zone but for the host records touched just now.
            let mut variant = former.get(line).unwrap_or(zone).clone();
            change(&mut variant, line);
            (line.to_string(), variant)
        };
        *variants = records.lines().map(variant).collect();
    }

    /// Puts the names of new records into the engine's zones. The host records of names that are there already, as names of
    /// other records, are noted instead.
    fn add_owners(&mut self, touched: &mut Touched) {
        if touched.added.is_empty() {
            return;
        }
        // Several edits of one commit may have added records of one name: an RRset is in the order of the ids.
        if !touched.added.is_sorted_by_key(PackedRecord::id) {
            touched.added.sort_by_key(PackedRecord::id);
        }
        let maker = Maker::new(&self.row);
        let apex = NameKey::of(&maker.apex);
        let mut builder = ZoneBuilder::new(apex.clone());
        maker.add(touched.added.iter().map(|record| record.view(&self.id)), &apex, &mut builder);
        let owners = builder.finish_owners();
        let zones = std::iter::once(&mut self.zone).chain(self.variants.iter_mut().map(|(_, zone)| zone));
        let there: HashSet<NameKey> =
            zones.flat_map(|zone| Arc::make_mut(zone).add_owners(&owners)).collect();
        if there.is_empty() {
            return;
        }
        for record in std::mem::take(&mut touched.added) {
            let record = record.view("");
            if value::owner(record.rr, &maker.apex).is_ok_and(|owner| there.contains(&NameKey::of(&owner))) {
                touched.note(&record);
            }
        }
    }

    /// The zone as clients on no line see it.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// Puts the zone into a catalog, for the VPCs that it is bound to.
    pub(super) fn place(&self, catalog: &mut Catalog) {
        for binding in &self.row.bindings {
            if !catalog.place(&binding.vpc, &self.zone) {
                let (zone, vpc) = (&self.row.name, &binding.vpc);
                tracing::warn!(
                    zone,
                    vpc,
                    "an API zone is not in force in this VPC: it is not configured, or the configuration file has a zone of the same name there"
                );
                continue;
            }
            for (line, zone) in &self.variants {
                catalog.place_on_line(&binding.vpc, line, zone);
            }
        }
    }

    /// Takes the zone out of a catalog.
    pub(super) fn remove_zone(&self, catalog: &mut Catalog) {
        for binding in &self.row.bindings {
            catalog.remove_zone(&binding.vpc, self.zone.apex());
        }
    }
}

/// The enabled records of a host record.
fn enabled<'r>(records: &'r ZoneRecords, host: &str) -> Vec<Record<'r>> {
    records.of_host(host).filter(|record| record.enabled).collect()
}

/// The records of one host record as a line sees them: a set of the line replaces the default's set of that type; and a
/// CNAME stands alone. All are enabled.
fn on_line<'r>(records: &[Record<'r>], line: &str) -> Vec<Record<'r>> {
    let of = |line: &str| records.iter().copied().filter(|record| record.line == line).collect::<Vec<_>>();
    let (default, own) = (of(DEFAULT_LINE), of(line));
    if line == DEFAULT_LINE {
        return default;
    }
    let replaced = |other: &Record<'_>| {
        own.iter()
            .any(|record| record.rtype == other.rtype || record.rtype == "CNAME" || other.rtype == "CNAME")
    };
    let rest = default.into_iter().filter(|record| !replaced(record));
    rest.chain(own.iter().copied()).collect()
}

/// The engine's zone for clients on no line, and those for clients on a line that has records of its own.
fn zones(
    row: &ZoneRow,
    records: &ZoneRecords,
    reading: ZoneSemantics,
) -> (Arc<Zone>, Vec<(String, Arc<Zone>)>) {
    let maker = Maker::new(row);
    let default = records.values().filter(|record| record.enabled && record.line == DEFAULT_LINE);
    let zone = Arc::new(maker.build(reading, default));
    let variant = |line: &str| {
        let mut variant = Zone::clone(&zone);
        let own = records.values().filter(|record| record.enabled && record.line == line);
        let hosts: BTreeSet<String> = sort::set(own.map(|record| value::host(record.rr).into_owned()));
        for host in hosts {
            let Ok(owner) = value::owner(&host, &maker.apex) else { continue };
            let own = on_line(&enabled(records, &host), line);
            variant.set_owner(&NameKey::of(&owner), &maker.records(own.into_iter()).collect::<Vec<_>>());
        }
        (line.to_string(), Arc::new(variant))
    };
    let variants = records.lines().map(variant).collect();
    (zone, variants)
}

/// Makes the engine's records of an account's.
struct Maker<'r> {
    row: &'r ZoneRow,
    apex: Name,
    weighted: HashSet<(String, String, &'r str)>,
}

impl<'r> Maker<'r> {
    fn new(row: &'r ZoneRow) -> Self {
        let apex = name::parse(&row.name).unwrap_or_else(|_| Name::root()); // parsed before it was stored
        Self { row, apex, weighted: row.weighted.iter().map(set_of).collect() }
    }

    /// Whether names that are not configured are resolved outside.
    fn mode(&self) -> ZoneMode {
        if self.row.proxy { ZoneMode::RecursionProxy } else { ZoneMode::Override }
    }

    /// Brings a zone up to date with the row, its records apart.
    fn settle(&self, zone: &mut Zone) {
        zone.mode = self.mode();
        zone.set_serial(self.row.serial);
    }

    /// The weight that a record answers with, if its set answers by weight.
    fn weight(&self, record: &Record<'_>) -> Option<u8> {
        let is_weighted = !self.weighted.is_empty() && {
            let set = (record.rr.to_ascii_lowercase(), record.rtype.to_ascii_lowercase(), record.line);
            self.weighted.contains(&set)
        };
        is_weighted.then_some(record.weight)
    }

    /// The engine's records. What contradicts itself is refused before it gets here.
    fn records<'m>(&'m self, records: impl Iterator<Item = Record<'m>>) -> impl Iterator<Item = ZoneRecord> {
        records.filter_map(|record| {
            let owner = value::owner(record.rr, &self.apex).ok()?;
            let data = value::data(record.rtype, record.value, record.priority).ok()?;
            Some(ZoneRecord { owner, ttl: record.ttl, data, weight: self.weight(&record) })
        })
    }

    /// Gives all of some records to a builder. There may be a million at a start.
    fn add<'m>(
        &'m self,
        records: impl Iterator<Item = Record<'m>>,
        apex: &NameKey,
        builder: &mut ZoneBuilder,
    ) {
        let (mut owner, mut data) = (Vec::new(), Vec::new());
        for record in records {
            owner.clear();
            data.clear();
            if !value::push_plain_owner(record.rr, apex.wire(), &mut owner) {
                let Ok(name) = value::owner(record.rr, &self.apex) else { continue };
                owner.extend(NameKey::of(&name).wire());
            }
            let rtype = value::push_data(record.rtype, record.value, record.priority, &mut data);
            let Some(rtype) = rtype else { continue };
            builder.add_wire(&owner, rtype, record.ttl, &data, self.weight(&record));
        }
    }

    /// The zone of some records. Should something contradictory have come another way, the later record is left out
    /// rather than the zone.
    fn build<'m>(&'m self, reading: ZoneSemantics, records: impl Iterator<Item = Record<'m>>) -> Zone {
        let ZoneSemantics { on_missing_type, wildcards } = reading;
        let apex = NameKey::of(&self.apex);
        let mut builder = ZoneBuilder::new(apex.clone());
        self.add(records, &apex, &mut builder);
        let (owners, _) = builder.finish();
        let spec = ZoneSpec {
            origin: ZoneOrigin::Api,
            on_missing_type,
            wildcards,
            packed: Some(PackedZone::new(owners, None)),
            ..ZoneSpec::new(self.apex.clone(), self.mode())
        };
        Zone::build_leniently(spec, self.row.serial)
    }
}
