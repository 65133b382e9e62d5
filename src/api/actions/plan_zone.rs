//! The part of an import that is about zones.

use super::bound_names::BoundNames;
use super::import_plan::{ChangeKind, ImportPlan, ItemKind, Mode, Planned};
use super::plan_records::records;
use super::{format, record, sync, tag, vpc, zone};
use crate::account::row::{HostSync, RecordRow, Weighted, Word, ZoneRow};
use crate::account::{Edit, ZoneEntry};
use crate::api::ApiError;
use crate::api::document;
use crate::api::document::{DocumentZone, Handle};
use crate::engine::sort;
use std::collections::{BTreeMap, HashSet};
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
                plan.summary.tell_record(ChangeKind::Removed, &entry.row.name, row);
            }
            plan.summary.count_records(ChangeKind::Removed, &entry.row.name, entry.records.len());
            plan.edits.push(Edit::DropZone(entry.row.id.clone()));
            plan.edits.push(Edit::DropRecords(entry.records.ids().collect()));
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
    sort::by_key(&mut present, |entry| (entry.row.created, &entry.row.id));
    present.dedup_by_key(|entry| &entry.row.id);
    present
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
    let key = |set: &Weighted| (set.rr.to_ascii_lowercase(), set.rtype.clone(), set.line.clone());
    let mut known: HashSet<_> = sets.iter().map(key).collect();
    for given in &zone.lba_status {
        let place = format!("{place}, LbaStatus {} {}", given.rr, given.rtype);
        let rtype = given.rtype.to_ascii_uppercase();
        plan.sound(&place, record::check_weighted(&rtype));
        let line = plan.line(given.line.as_deref()).ok_or_else(record::unknown_line);
        let Some(line) = plan.sound(&place, line) else { continue };
        let set = Weighted { rr: given.rr.clone(), rtype, line };
        if known.insert(key(&set)) {
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
    let rest = rest.filter(|_| plan.mode == Mode::Merge).map(|(_, entry)| &entry.row);
    let after = named.iter().map(|planned| &planned.row).chain(rest);
    let name = |row: &ZoneRow| row.name.to_ascii_lowercase();
    let after = BoundNames::of(after.map(|row| (row, name(row), &row.bindings[..])));
    for planned in named {
        // What was bound so before stays so: a conflict with the file may have come since, and counts for nothing.
        if planned.former.is_some_and(|entry| entry.row.bindings == planned.row.bindings) {
            continue;
        }
        let others = after.beside(&name(&planned.row), &planned.row.bindings);
        let checked = vpc::check_names(plan.context, others, &planned.row, &planned.row.bindings);
        plan.sound(&planned.place, checked);
    }
}

/// The records of tasks for host names, where a document sets such a task. They are made by what the zones will be.
fn host_names(plan: &mut ImportPlan, named: &[Planned], from: usize) {
    if plan.faults.count > 0
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
