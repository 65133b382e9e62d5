//! The part of an import that is about zones and their records.

use super::import_plan::{ChangeKind, ImportPlan, ItemKind, Mode};
use super::{format, record, sync, tag, vpc, zone};
use crate::account::row::{HostSync, Record, RecordRow, Weighted, ZoneRow};
use crate::account::value::{self, host};
use crate::account::{Edit, ZoneEntry};
use crate::api::ApiError;
use crate::api::document;
use crate::api::document::{DocumentRecord, DocumentZone, Handle};
use hickory_proto::rr::RData;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Plans all zones of a document.
pub(super) fn zones(plan: &mut ImportPlan, given: &[DocumentZone]) {
    let mut present: Vec<&Arc<ZoneEntry>> = plan.context.account.zones().collect();
    present.sort_by_key(|entry| (entry.row.created, &entry.row.id));
    let known: Vec<Handle> = present.iter().map(|entry| handle(&entry.row)).collect();
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
        if is_vague && known.iter().any(|other| other.name == handle.name) {
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
                note(plan, ChangeKind::Removed, &entry.row, row);
            }
            plan.edits.push(Edit::DropRecords(entry.records.values().map(|row| row.id).collect()));
            plan.edits.push(Edit::DropZone(entry.row.id.clone()));
        }
    }
    host_names(plan, &named, before);
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
        dns_group: plan.sound(place, group).flatten().map_or(base.dns_group, String::from),
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

/// Host record in lower case and line: records that may be in each other's way.
type ItemPath = (String, String);

/// A record that is there, with its data.
type Present<'p> = (Option<RData>, Record<'p>);

/// The records of a zone, and then the zone itself.
fn records(plan: &mut ImportPlan, planned: &Planned) {
    let Planned { place, zone, former, row } = planned;
    let (mut edits, mut drops) = (Vec::new(), Vec::new());
    let mut present: HashMap<ItemPath, Vec<Present>> = HashMap::new();
    for record in in_question(plan.mode, zone, *former) {
        let key = (record.rr.to_ascii_lowercase(), record.line.to_string());
        present.entry(key).or_default().push((data(record), record));
    }
    let mut after: HashMap<ItemPath, Vec<RecordRow>> = HashMap::new();
    let mut checks = Vec::new();
    for (at, given) in zone.records.iter().enumerate() {
        let place = format!("{place}, record {} ({} {} {})", at + 1, given.rr, given.rtype, given.value);
        let Some(read) = read(plan, &place, row, given) else { continue };
        let key = (read.rr.to_ascii_lowercase(), read.line.clone());
        let wanted = data(read.view());
        let same = |(data, other): &Present| !other.synced && other.rtype == read.rtype && *data == wanted;
        let found = present.get_mut(&key).and_then(|all| Some(all.swap_remove(all.iter().position(same)?).1));
        let record = match found {
            None => {
                let record = RecordRow { id: plan.new_record(), ..read };
                note(plan, ChangeKind::Added, row, record.view());
                edits.push(Edit::Record(record.clone()));
                record
            }
            Some(found) => {
                let record = changed(plan.mode, found, read, given);
                if record.view() == found {
                    record
                } else {
                    let record = RecordRow { updated: plan.context.now(), ..record };
                    note(plan, ChangeKind::Changed, row, record.view());
                    edits.push(Edit::Record(record.clone()));
                    record
                }
            }
        };
        checks.push((place, key.clone(), record.id));
        after.entry(key).or_default().push(record);
    }
    let mut left: Vec<_> = present
        .into_iter()
        .flat_map(|(key, all)| all.into_iter().map(move |(_, row)| (key.clone(), row)))
        .collect();
    left.sort_by_key(|(_, record)| record.id);
    for (key, record) in left {
        if plan.mode == Mode::Replace && !record.synced {
            note(plan, ChangeKind::Removed, row, record);
            drops.push(Edit::DropRecord(record.id));
        } else {
            after.entry(key).or_default().push(record.to_row());
        }
    }
    for (place, key, id) in checks {
        let all = after.get(&key).map_or(&[][..], Vec::as_slice);
        if let Some(record) = all.iter().find(|record| record.id == id) {
            plan.sound(&place, record::check_conflicts(all.iter().map(RecordRow::view), record.view()));
        }
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

/// The records that are there and that a document may change or meet: in a merge those of its host records, however many
/// others there are.
fn in_question<'p>(mode: Mode, zone: &DocumentZone, former: Option<&'p ZoneEntry>) -> Vec<Record<'p>> {
    let Some(entry) = former else { return Vec::new() };
    if mode == Mode::Replace {
        return entry.records.values().collect();
    }
    let hosts: BTreeSet<Cow<'_, str>> = zone.records.iter().map(|record| host(&record.rr)).collect();
    hosts.iter().flat_map(|host| entry.records.of_host(host)).collect()
}

/// A record as the document has it, of no id yet.
fn read(plan: &mut ImportPlan, place: &str, zone: &ZoneRow, given: &DocumentRecord) -> Option<RecordRow> {
    let row = record::read(record::blank(plan.context, 0, zone), &given.params());
    let line = plan.line(given.line.as_deref()).ok_or_else(record::unknown_line);
    let remark = given.remark.as_deref().map(format::remark).transpose();
    let enabled = given.status.as_deref().map(record::is_enabled).transpose();
    let (line, remark) = (plan.sound(place, line), plan.sound(place, remark));
    let enabled = plan.sound(place, enabled);
    let row = plan.sound(place, row)?;
    plan.sound(place, record::check(zone, &row))?;
    Some(RecordRow {
        line: line?,
        remark: remark?.unwrap_or_default(),
        enabled: enabled?.unwrap_or(true),
        ..row
    })
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

fn data(row: Record<'_>) -> Option<RData> {
    value::data(row.rtype, row.value, row.priority).ok()
}

fn note(plan: &mut ImportPlan, change: ChangeKind, zone: &ZoneRow, row: Record<'_>) {
    let dot = if row.rr == "@" { ("", "") } else { (row.rr, ".") };
    let name = format_args!("{}{}{} {} {}", dot.0, dot.1, zone.name, row.rtype, row.value);
    plan.summary.note(change, ItemKind::Records, name);
    plan.summary.count_in_zone(change, &zone.name);
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
