//! A zone with its records, and the engine's zones that they make: one for all clients, and one more for each
//! custom line that has records of its own.

use super::row::{RecordRow, ZoneRow};
use super::value::{self, DEFAULT_LINE};
use crate::engine::catalog::Catalog;
use crate::engine::name;
use crate::engine::zone::{Reading, Zone, ZoneMode, ZoneOrigin, ZoneRecord, ZoneSpec};
use hickory_proto::rr::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Records by id.
type Records = BTreeMap<u64, Arc<RecordRow>>;

/// A zone with its records.
#[derive(Clone, Debug)]
pub struct ZoneEntry {
    /// The zone.
    pub row: ZoneRow,
    /// Its records in the order in which they were made.
    pub records: Records,
    reading: Reading,
    zone: Arc<Zone>,
    /// Line -> the zone as it is on that line.
    variants: Vec<(String, Arc<Zone>)>,
}

impl ZoneEntry {
    /// A zone with records that are its own.
    pub(super) fn of_records(row: ZoneRow, records: Vec<Arc<RecordRow>>, reading: Reading) -> Self {
        let records: BTreeMap<_, _> = records.into_iter().map(|record| (record.id, record)).collect();
        let (zone, variants) = zones(&row, &records, reading);
        Self { row, records, reading, zone, variants }
    }

    /// Reads what is not documented in another way.
    pub(super) fn read_as(&mut self, reading: Reading) {
        self.reading = reading;
        self.rebuild();
    }

    /// Makes the engine's zones anew, after a change of row or records.
    pub(super) fn rebuild(&mut self) {
        (self.zone, self.variants) = zones(&self.row, &self.records, self.reading);
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
                    "an API zone does not count in this VPC: it is not configured, or the configuration file has a zone of the same name there"
                );
                continue;
            }
            for (line, zone) in &self.variants {
                catalog.place_on_line(&binding.vpc, line, zone);
            }
        }
    }

    /// Takes the zone out of a catalog.
    pub(super) fn withdraw(&self, catalog: &mut Catalog) {
        for binding in &self.row.bindings {
            catalog.withdraw(&binding.vpc, self.zone.apex());
        }
    }
}

/// The engine's zone for clients on no line, and those for clients on a line that has records of its own.
fn zones(row: &ZoneRow, records: &Records, reading: Reading) -> (Arc<Zone>, Vec<(String, Arc<Zone>)>) {
    let enabled = || records.values().filter(|record| record.enabled);
    let on_default: Vec<_> = enabled().filter(|record| record.line == DEFAULT_LINE).collect();
    let lines: BTreeSet<&str> =
        enabled().map(|record| record.line.as_str()).filter(|line| *line != DEFAULT_LINE).collect();
    let variant = |line: &str| {
        let own: Vec<_> = enabled().filter(|record| record.line == line).collect();
        // What the line has takes the place of the default's set of that type; and a CNAME stands alone.
        let replaced = |other: &RecordRow| {
            own.iter().any(|record| {
                let (cname, same) = (record.rtype == "CNAME", record.rtype == other.rtype);
                record.rr.eq_ignore_ascii_case(&other.rr) && (same || cname || other.rtype == "CNAME")
            })
        };
        let rest = on_default.iter().copied().filter(|record| !replaced(record));
        let records = rest.chain(own.iter().copied()).collect();
        (line.to_string(), Arc::new(build(row, reading, records)))
    };
    let variants = lines.into_iter().map(variant).collect();
    (Arc::new(build(row, reading, on_default)), variants)
}

/// The engine's zone of some records. What contradicts itself is refused before it gets here; should something
/// have come another way, the later record is left out rather than the zone.
fn build(row: &ZoneRow, reading: Reading, records: Vec<&Arc<RecordRow>>) -> Zone {
    let apex = name::parse(&row.name).unwrap_or_else(|_| Name::root()); // parsed before it was stored
    let mode = if row.proxy { ZoneMode::RecursionProxy } else { ZoneMode::Override };
    let Reading { on_missing_type, wildcards } = reading;
    let mut spec =
        ZoneSpec { origin: ZoneOrigin::Api, on_missing_type, wildcards, ..ZoneSpec::new(apex, mode) };
    for record in records {
        let owner = value::owner(&record.rr, &spec.apex);
        let data = value::data(&record.rtype, &record.value, record.priority);
        let (Ok(owner), Ok(data)) = (owner, data) else { continue };
        let weighted = row.weighted.iter().any(|set| {
            let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
            same(&set.rr, &record.rr) && same(&set.rtype, &record.rtype) && set.line == record.line
        });
        let weight = weighted.then_some(record.weight);
        spec.records.push(ZoneRecord { owner, ttl: record.ttl, data, weight });
    }
    Zone::build_leniently(spec, row.serial)
}
