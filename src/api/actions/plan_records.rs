//! The part of an import that is about the records of a zone. There may be a million, of which nearly all are new and have
//! no other beside them: such a record is written once, in the form in which it stays.

use super::context::ActionContext;
use super::import_plan::{ChangeKind, ImportPlan, ItemKind, Mode, Planned};
use super::plan_hosts::HostRecords;
use super::{format, record};
use crate::account::packed::{NewRecords, PackedRecord};
use crate::account::row::{Record, RecordRow, ZoneRow};
use crate::account::value::{self, DEFAULT_LINE, host};
use crate::account::{Edit, ZoneEntry};
use crate::api::document::DocumentRecord;
use crate::engine::name::{self, NameKey};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A record of a document, for messages.
struct RecordAt<'p> {
    zone: &'p str,
    number: usize,
    given: &'p DocumentRecord,
}

impl fmt::Display for RecordAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zone, number, given: DocumentRecord { rr, rtype, value, .. } } = self;
        write!(f, "{zone}, record {number} ({rr} {rtype} {value})")
    }
}

/// The records of a zone, and then the zone itself.
pub(super) fn records(plan: &mut ImportPlan, planned: &Planned) {
    let Planned { place, zone, former, row } = planned;
    let (mut new, mut edits, mut drops, mut checks) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
    let (mut hosts, places) = by_host(&zone.records, *former);
    let mut reader = RecordReader::new(row);
    let (mut buffer, mut changed_ones) = (Vec::new(), 0);
    for ((at, given), place_of_host) in zone.records.iter().enumerate().zip(places) {
        let host = hosts.get_mut(place_of_host as usize);
        if host.is_none()
            && let Some(record) = reader.plain(plan.context, given)
        {
            let record = Record { id: plan.new_record(), ..record };
            plan.summary.tell_record(ChangeKind::Added, &row.name, record);
            new.push(PackedRecord::of(&record, &mut buffer));
            continue;
        }
        let place = RecordAt { zone: place, number: at + 1, given };
        let Some(read) = reader.read(plan, &place, given) else { continue };
        let (host, found) = match host {
            Some(host) => {
                let found = host.meet(&read);
                (Some(host), found)
            }
            None => (None, None),
        };
        let (record, change) = match found {
            None => (RecordRow { id: plan.new_record(), ..read }, Some(ChangeKind::Added)),
            Some(found) => {
                let record = changed(plan.mode, found, read, given);
                if record.view() == found {
                    (record, None)
                } else {
                    (RecordRow { updated: plan.context.now(), ..record }, Some(ChangeKind::Changed))
                }
            }
        };
        if let Some(change) = change {
            plan.summary.tell_record(change, &row.name, record.view());
        }
        if change == Some(ChangeKind::Added) {
            new.push(PackedRecord::of(&record.view(), &mut buffer));
        }
        let is_changed = change == Some(ChangeKind::Changed);
        if is_changed {
            changed_ones += 1;
        }
        if let Some(host) = host.filter(|host| !host.is_alone()) {
            checks.insert(record.id, at);
            if is_changed {
                edits.push(Edit::Record(record.clone()));
            }
            host.after.push(record);
        } else if is_changed {
            edits.push(Edit::Record(record));
        }
    }
    plan.summary.count_records(ChangeKind::Added, &row.name, new.len());
    plan.summary.count_records(ChangeKind::Changed, &row.name, changed_ones);
    if plan.mode == Mode::Replace {
        drops = left(plan, planned, &mut hosts);
    }
    let crowded = hosts.iter_mut().filter(|host| !host.after.is_empty());
    let conflicts = crowded.flat_map(HostRecords::conflicts);
    let mut conflicts: Vec<_> =
        conflicts.filter_map(|(id, error)| Some((*checks.get(&id)?, error))).collect();
    conflicts.sort_by_key(|(at, _)| *at);
    for (at, error) in conflicts {
        let place = RecordAt { zone: place, number: at + 1, given: &zone.records[at] };
        plan.sound::<()>(&place, Err(error));
    }
    let is_same = former.is_some_and(|entry| entry.row == *row);
    match former {
        None => plan.summary.note(ChangeKind::Added, ItemKind::Zones, format_args!("{}", row.name)),
        Some(_) if !is_same => {
            plan.summary.note(ChangeKind::Changed, ItemKind::Zones, format_args!("{}", row.name))
        }
        Some(_) => {}
    }
    match former {
        None => plan.edits.push(Edit::Zone(row.clone())),
        Some(_) if is_same && edits.is_empty() && new.is_empty() && drops.is_empty() => {}
        Some(_) => plan.edits.push(Edit::Zone(plan.context.touched(row))),
    }
    if !drops.is_empty() {
        plan.edits.push(Edit::DropRecords(drops));
    }
    plan.edits.extend(edits);
    if !new.is_empty() {
        plan.edits.push(Edit::Records(NewRecords { zone: row.id.clone(), records: new }));
    }
}

/// The place of a record that has no other beside it, neither in the document nor in the zone.
const ALONE: u32 = u32::MAX;

/// The host records with several records, those of the document and those that the zone has there; and for each record of
/// the document the index of its host record, or [`ALONE`]. The cost does not depend on the other records of the zone.
fn by_host<'p>(given: &[DocumentRecord], former: Option<&'p ZoneEntry>) -> (Vec<HostRecords<'p>>, Vec<u32>) {
    let mut of_each: Vec<(Cow<'_, str>, u32)> =
        given.iter().map(|record| host(&record.rr)).zip(0..).collect();
    if !of_each.is_sorted() {
        of_each.sort_unstable();
    }
    let mut hosts: Vec<HostRecords> = Vec::new();
    let mut places = vec![ALONE; given.len()];
    let mut there = former.map(|entry| entry.records.by_host());
    for group in of_each.chunk_by(|one, two| one.0 == two.0) {
        let present = match &mut there {
            Some(there) => there.of_host(&group[0].0),
            None => Vec::new(),
        };
        if group.len() > 1 || !present.is_empty() {
            for (_, at) in group {
                places[*at as usize] = hosts.len() as u32; // at most as many as records
            }
            hosts.push(HostRecords::new(present, group.len()));
        }
    }
    (hosts, places)
}

/// The ids of the records of a zone that a document replaces and does not name, in order. Records that are
/// synchronised from hosts stay.
fn left<'p>(plan: &mut ImportPlan, planned: &Planned<'p>, hosts: &mut [HostRecords<'p>]) -> Vec<u64> {
    let Some(entry) = planned.former else { return Vec::new() };
    let named: HashSet<Cow<'_, str>> = planned.zone.records.iter().map(|record| host(&record.rr)).collect();
    let others = entry.records.values().filter(|record| !named.contains(&host(record.rr)));
    let mut left: Vec<_> = others.filter(|record| !record.synced).collect();
    for host in hosts {
        left.extend(host.take_unmet());
    }
    left.sort_by_key(|record| record.id);
    for record in &left {
        plan.summary.tell_record(ChangeKind::Removed, &planned.row.name, *record);
    }
    plan.summary.count_records(ChangeKind::Removed, &planned.row.name, left.len());
    left.into_iter().map(|record| record.id).collect()
}

/// Reads records of a zone as documents have them.
struct RecordReader<'p> {
    zone: &'p ZoneRow,
    /// The zone's name in wire form, where it is sound.
    apex: Option<NameKey>,
    /// A name in wire form.
    wire: Vec<u8>,
}

impl<'p> RecordReader<'p> {
    fn new(zone: &'p ZoneRow) -> Self {
        let apex = name::parse(&zone.name).ok().map(|name| NameKey::of(&name));
        Self { zone, apex, wire: Vec::new() }
    }

    /// A record as the document has it, of no id yet.
    fn read(&mut self, plan: &mut ImportPlan, place: &RecordAt, given: &DocumentRecord) -> Option<RecordRow> {
        if let Some(record) = self.plain(plan.context, given) {
            return Some(record.to_row());
        }
        let row = record::read(record::blank(plan.context, 0, self.zone), &given.params());
        let line = plan.line(given.line.as_deref()).ok_or_else(record::unknown_line);
        let remark = given.remark.as_deref().map(format::remark).transpose();
        let enabled = given.status.as_deref().map(record::is_enabled).transpose();
        let (line, remark) = (plan.sound(place, line), plan.sound(place, remark));
        let enabled = plan.sound(place, enabled);
        let row = plan.sound(place, row)?;
        plan.sound(place, record::check(self.zone, &row))?;
        Some(RecordRow {
            line: line?,
            remark: remark?.unwrap_or_default(),
            enabled: enabled?.unwrap_or(true),
            ..row
        })
    }

    /// The same in few steps for a sound address, as most of a million are; nothing where more is to be said.
    fn plain<'r>(&mut self, context: &ActionContext, given: &'r DocumentRecord) -> Option<Record<'r>>
    where
        'p: 'r,
    {
        let DocumentRecord { rr, rtype, value, ttl, priority, weight, line, remark, status } = given;
        let rest = [line, remark, status];
        if rest.iter().any(|text| text.is_some()) || priority.is_some() || weight.is_some() {
            return None;
        }
        let is_address = match rtype.as_str() {
            "A" => value.parse::<Ipv4Addr>().is_ok(),
            "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
            _ => false,
        };
        if !is_address || !ttl.is_none_or(|ttl| record::TTLS.contains(&ttl)) || rr.is_empty() {
            return None;
        }
        self.wire.clear();
        if !value::push_plain_owner(rr, self.apex.as_ref()?.wire(), &mut self.wire) {
            return None;
        }
        Some(Record {
            id: 0,
            zone: &self.zone.id,
            rr,
            rtype,
            value,
            ttl: ttl.map_or(record::DEFAULT_TTL, |ttl| ttl as u32), // within TTLS
            priority: None,
            weight: 1,
            line: DEFAULT_LINE,
            remark: "",
            enabled: true,
            synced: false,
            created: context.now(),
            updated: context.now(),
        })
    }
}

/// A record that is there, as the document has it. In a merge it keeps what the document does not say.
fn changed(mode: Mode, found: Record<'_>, read: RecordRow, given: &DocumentRecord) -> RecordRow {
    let base = RecordRow { id: found.id, created: found.created, updated: found.updated, ..read };
    if mode == Mode::Replace {
        return base;
    }
    RecordRow {
        ttl: if given.ttl.is_some() { base.ttl } else { found.ttl },
        priority: if given.priority.is_some() { base.priority } else { found.priority },
        weight: if given.weight.is_some() { base.weight } else { found.weight },
        remark: if given.remark.is_some() { base.remark } else { found.remark.into() },
        enabled: if given.status.is_some() { base.enabled } else { found.enabled },
        ..base
    }
}
