//! The part of an import that is about zones and their records.

use super::import_plan::{ChangeKind, ImportPlan, ItemKind, Mode};
use super::plan_hosts::HostRecords;
use super::{format, record, sync, tag, vpc, zone};
use crate::account::row::{HostSync, Record, RecordRow, Weighted, Word, ZoneRow};
use crate::account::value::{self, host};
use crate::account::{Edit, ZoneEntry};
use crate::api::ApiError;
use crate::api::document;
use crate::api::document::{DocumentRecord, DocumentZone, Handle};
use crate::engine::name::{self, NameKey};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Plans all zones of a document.
pub(super) fn zones(plan: &mut ImportPlan, given: &[DocumentZone]) {
    let present = present(plan, given);
    let known: Vec<Handle> = present.iter().map(|entry| handle(&entry.row)).collect();
    let names: HashSet<&str> = known.iter().map(|handle| handle.name.as_str()).collect();
    let handles: Vec<Handle> = given.iter().map(Handle::of_zone).collect();
    let pairs = document::pair(&handles, &known);
    let taken: HashSet<usize> = pairs.iter().flatten().copied().collect();

    let mut named = Vec::new();
    for ((zone, handle), former) in given.iter().zip(&handles).zip(&pairs) {
        let former = former.map(|place| &**present[place]);
        let place = match zone.zone_name.as_str() {
            "" => "a zone without name".to_string(),
            name => format!("zone {name}"),
        };
        let is_vague = former.is_none() && zone.bind_vpcs.is_empty() && plan.mode == Mode::Merge;
        if is_vague && names.contains(handle.name.as_str()) {
            let why = "The account has several zones of this name; BindVpcs must tell which one is meant.";
            plan.sound::<()>(&place, Err(ApiError::new("Zone.Ambiguous", why)));
        }
        if let Some(row) = row(plan, &place, zone, former) {
            named.push(Planned { place, zone, former, row });
        }
    }
    check_names(plan, &named, present.iter().enumerate().filter(|(at, _)| !taken.contains(at)));
    let before = plan.edits.len();
    for planned in &named {
        records(plan, planned);
    }
    if plan.mode == Mode::Replace {
        for (_, entry) in present.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            plan.summary.note(ChangeKind::Removed, ItemKind::Zones, format_args!("{}", entry.row.name));
            for row in entry.records.values() {
                plan.summary.note_record(ChangeKind::Removed, &entry.row.name, row);
            }
            plan.edits.push(Edit::DropRecords(entry.records.values().map(|row| row.id).collect()));
            plan.edits.push(Edit::DropZone(entry.row.id.clone()));
        }
    }
    host_names(plan, &named, before);
}

/// The zones that are there and that a document may change, in the order in which they were made: in a merge those of its
/// names, however many others there are.
fn present<'p>(plan: &ImportPlan<'p>, given: &[DocumentZone]) -> Vec<&'p Arc<ZoneEntry>> {
    let account = plan.context.account;
    let mut present: Vec<&Arc<ZoneEntry>> = match plan.mode {
        Mode::Replace => account.zones().collect(),
        Mode::Merge => given.iter().flat_map(|zone| account.zones_named(&zone.zone_name)).collect(),
    };
    present.sort_by_key(|entry| (entry.row.created, &entry.row.id));
    present.dedup_by_key(|entry| &entry.row.id);
    present
}

/// A zone of the document, and what it is to be.
struct Planned<'p> {
    place: String,
    zone: &'p DocumentZone,
    former: Option<&'p ZoneEntry>,
    row: ZoneRow,
}

fn handle(row: &ZoneRow) -> Handle {
    Handle::new(&row.name, row.bindings.iter().map(|binding| binding.vpc.as_str()))
}

/// The row of a zone, times and serial as they were.
fn row(
    plan: &mut ImportPlan,
    place: &str,
    zone: &DocumentZone,
    former: Option<&ZoneEntry>,
) -> Option<ZoneRow> {
    let missing = || ApiError::missing("ZoneName");
    let name = if zone.zone_name.is_empty() { Err(missing()) } else { zone::zone_name(&zone.zone_name) };
    let name = plan.sound(place, name);
    let id = former.map_or_else(|| plan.new_id(), |entry| entry.row.id.clone());
    let blank = zone::blank(plan.context, id, name.clone().unwrap_or_default());
    let base = match (former, plan.mode) {
        (None, _) => blank,
        (Some(entry), Mode::Merge) => entry.row.clone(),
        (Some(entry), Mode::Replace) => {
            let ZoneRow { created, updated, serial, .. } = entry.row;
            ZoneRow { created, updated, serial, ..blank }
        }
    };
    let proxy = zone.proxy_pattern.as_deref().map(zone::proxy_pattern).transpose();
    let group = zone.dns_group.as_deref().map(zone::group).transpose();
    let remark = zone.remark.as_deref().map(format::remark).transpose();
    let former_bindings = former.map_or(&[][..], |entry| &entry.row.bindings);
    let row = ZoneRow {
        proxy: plan.sound(place, proxy).flatten().unwrap_or(base.proxy),
        dns_group: plan.sound(place, group).flatten().map_or(base.dns_group, Word::Borrowed),
        remark: plan.sound(place, remark).flatten().unwrap_or(base.remark),
        zone_tag: zone.zone_tag.clone().unwrap_or(base.zone_tag),
        resource_group: zone.resource_group_id.clone().unwrap_or(base.resource_group),
        bindings: plan.bindings(place, &zone.bind_vpcs, former_bindings),
        tags: tags(plan, place, zone, base.tags),
        weighted: weighted(plan, place, zone, base.weighted),
        sync: task(plan, place, zone).or(base.sync),
        ..base
    };
    name.map(|_| row)
}

fn tags(
    plan: &mut ImportPlan,
    place: &str,
    zone: &DocumentZone,
    mut tags: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    for given in &zone.tags {
        if given.key.is_empty() {
            plan.sound::<()>(place, Err(ApiError::missing("Tag.Key")));
        }
        for text in [&given.key, &given.value] {
            plan.sound(place, tag::check_length(text));
        }
        tags.insert(given.key.clone(), given.value.clone());
    }
    plan.sound(place, tag::check_number(&tags));
    tags
}

fn weighted(
    plan: &mut ImportPlan,
    place: &str,
    zone: &DocumentZone,
    mut sets: Vec<Weighted>,
) -> Vec<Weighted> {
    for given in &zone.lba_status {
        let place = format!("{place}, LbaStatus {} {}", given.rr, given.rtype);
        let rtype = given.rtype.to_ascii_uppercase();
        plan.sound(&place, record::check_weighted(&rtype));
        let line = plan.line(given.line.as_deref()).ok_or_else(record::unknown_line);
        let Some(line) = plan.sound(&place, line) else { continue };
        let set = Weighted { rr: given.rr.clone(), rtype, line };
        let same = |other: &Weighted| {
            other.rr.eq_ignore_ascii_case(&set.rr) && other.rtype == set.rtype && other.line == set.line
        };
        if !sets.iter().any(same) {
            sets.push(set);
        }
    }
    sets
}

fn task(plan: &mut ImportPlan, place: &str, zone: &DocumentZone) -> Option<HostSync> {
    let given = zone.sync_ecs_host_task.as_ref()?;
    let place = format!("{place}, SyncEcsHostTask");
    let on = plan.sound(&place, sync::is_on(&given.status))?;
    if on && given.regions.iter().all(|region| region.region_id.is_empty()) {
        plan.sound::<()>(&place, Err(ApiError::missing("Region")));
    }
    let region = |region: &document::SyncRegion| {
        (region.region_id.clone(), region.user_id.unwrap_or(sync::OWN_ACCOUNT))
    };
    Some(HostSync { on, regions: given.regions.iter().map(region).collect() })
}

/// One VPC sees one zone of a name, among those of the document and those that stay beside it.
fn check_names<'p>(
    plan: &mut ImportPlan,
    named: &[Planned],
    rest: impl Iterator<Item = (usize, &'p &'p Arc<ZoneEntry>)>,
) {
    let mut after: HashMap<String, Vec<&ZoneRow>> = HashMap::new();
    for planned in named {
        after.entry(planned.row.name.to_ascii_lowercase()).or_default().push(&planned.row);
    }
    if plan.mode == Mode::Merge {
        for (_, entry) in rest {
            after.entry(entry.row.name.to_ascii_lowercase()).or_default().push(&entry.row);
        }
    }
    for planned in named {
        // What was bound so before stays so: a conflict with the file may have come since, and counts for nothing.
        if planned.former.is_some_and(|entry| entry.row.bindings == planned.row.bindings) {
            continue;
        }
        let others = after.get(&planned.row.name.to_ascii_lowercase()).into_iter().flatten().copied();
        let checked = vpc::check_names(plan.context, others, &planned.row, &planned.row.bindings);
        plan.sound(&planned.place, checked);
    }
}

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
fn records(plan: &mut ImportPlan, planned: &Planned) {
    let Planned { place, zone, former, row } = planned;
    let (mut edits, mut drops, mut checks) = (Vec::new(), Vec::new(), HashMap::new());
    let (mut hosts, places) = by_host(&zone.records, *former);
    let reader = RecordReader::new(row);
    for ((at, given), place_of_host) in zone.records.iter().enumerate().zip(places) {
        let place = RecordAt { zone: place, number: at + 1, given };
        let Some(read) = reader.read(plan, &place, given) else { continue };
        let host: &mut HostRecords = &mut hosts[place_of_host];
        let found = host.meet(&read);
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
            plan.summary.note_record(change, &row.name, record.view());
        }
        if !host.is_alone() {
            checks.insert(record.id, at);
            host.after.push(record.clone());
        }
        if change.is_some() {
            edits.push(Edit::Record(record));
        }
    }
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
        Some(_) if is_same && edits.is_empty() && drops.is_empty() => {}
        Some(_) => plan.edits.push(Edit::Zone(plan.context.touched(row))),
    }
    plan.edits.extend(drops);
    plan.edits.extend(edits);
}

/// The host records that a document names, each with the records that the zone has there; and for each record of the document
/// the index of its host record. The cost does not depend on the other records of the zone.
fn by_host<'p>(
    given: &[DocumentRecord],
    former: Option<&'p ZoneEntry>,
) -> (Vec<HostRecords<'p>>, Vec<usize>) {
    let mut hosts: Vec<HostRecords> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(given.len());
    let of_each = given.iter().map(|record| {
        let place = *places.entry(host(&record.rr)).or_insert_with_key(|host| {
            hosts.push(HostRecords::new(former.into_iter().flat_map(|entry| entry.records.of_host(host))));
            hosts.len() - 1
        });
        hosts[place].given += 1;
        place
    });
    let of_each = of_each.collect();
    (hosts, of_each)
}

/// The edits that remove, where a document replaces the records of a zone, those that it does not name. Records that are
/// synchronised from hosts stay.
fn left<'p>(plan: &mut ImportPlan, planned: &Planned<'p>, hosts: &mut [HostRecords<'p>]) -> Vec<Edit> {
    let Some(entry) = planned.former else { return Vec::new() };
    let named: HashSet<Cow<'_, str>> = planned.zone.records.iter().map(|record| host(&record.rr)).collect();
    let others = entry.records.values().filter(|record| !named.contains(&host(record.rr)));
    let mut left: Vec<_> = others.filter(|record| !record.synced).collect();
    for host in hosts {
        left.extend(host.take_unmet());
    }
    left.sort_by_key(|record| record.id);
    let drop = |record: Record<'_>| {
        plan.summary.note_record(ChangeKind::Removed, &planned.row.name, record);
        Edit::DropRecord(record.id)
    };
    left.into_iter().map(drop).collect()
}

/// Reads records of a zone as documents have them.
struct RecordReader<'p> {
    zone: &'p ZoneRow,
    /// The zone's name in wire form, where it is sound.
    apex: Option<NameKey>,
}

impl<'p> RecordReader<'p> {
    fn new(zone: &'p ZoneRow) -> Self {
        Self { zone, apex: name::parse(&zone.name).ok().map(|name| NameKey::of(&name)) }
    }

    /// A record as the document has it, of no id yet.
    fn read(&self, plan: &mut ImportPlan, place: &RecordAt, given: &DocumentRecord) -> Option<RecordRow> {
        if let Some(row) = self.read_plain(plan, given) {
            return Some(row);
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
    fn read_plain(&self, plan: &ImportPlan, given: &DocumentRecord) -> Option<RecordRow> {
        let DocumentRecord { rr, rtype, value, ttl, priority, weight, line, remark, status } = given;
        let rest = [line, remark, status];
        if !matches!(rtype.as_str(), "A" | "AAAA") || rest.iter().any(|text| text.is_some()) {
            return None;
        }
        if priority.is_some() || weight.is_some() || !ttl.is_none_or(|ttl| record::TTLS.contains(&ttl)) {
            return None;
        }
        let mut wire = Vec::with_capacity(256);
        if rr.is_empty() || !value::push_plain_owner(rr, self.apex.as_ref()?.wire(), &mut wire) {
            return None;
        }
        match (rtype.as_str(), value.parse().ok()?) {
            ("A", IpAddr::V4(_)) | ("AAAA", IpAddr::V6(_)) => {}
            _ => return None,
        }
        let blank = record::blank(plan.context, 0, self.zone);
        let ttl = ttl.map_or(blank.ttl, |ttl| ttl as u32); // within TTLS
        Some(RecordRow { rr: rr.clone(), rtype: rtype.clone(), value: value.clone(), ttl, ..blank })
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

/// The records of tasks for host names, where a document sets such a task. They are made by what the zones will be.
fn host_names(plan: &mut ImportPlan, named: &[Planned], from: usize) {
    if !plan.faults.is_empty()
        || named.iter().all(|planned| planned.row.sync.as_ref().is_none_or(|task| !task.on))
    {
        return;
    }
    let mut after = plan.context.account.clone();
    after.apply(&plan.edits);
    let context = super::ActionContext { account: &after, ..*plan.context };
    let mut next = context.account.next_record(context.now());
    for planned in named {
        let Some(entry) = after.zone(&planned.row.id) else { continue };
        let edits = sync::records(&context, entry, &entry.row);
        let touches = !edits.is_empty();
        for edit in edits {
            // Each zone numbers its own from the same number on.
            plan.edits.push(match edit {
                Edit::Record(row) => {
                    next += 1;
                    Edit::Record(RecordRow { id: next - 1, ..row })
                }
                other => other,
            });
        }
        let is_touched = |edit: &Edit| matches!(edit, Edit::Zone(row) if row.id == planned.row.id);
        if touches && !plan.edits[from..].iter().any(is_touched) {
            plan.edits.push(Edit::Zone(context.touched(&entry.row)));
        }
    }
}
