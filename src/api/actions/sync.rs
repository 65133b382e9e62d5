//! Host names in zones: a task keeps an address record for each host of some regions. In the cloud the hosts are ECS
//! instances; here they are those of the configuration (`[[control.host]]`).

use super::context::{ActionContext, ActionResult};
use super::page::object;
use super::record;
use crate::account::row::Record;
use crate::account::row::{HostSync, RecordRow, ZoneRow};
use crate::account::value::DEFAULT_LINE;
use crate::account::{Edit, ZoneEntry};
use crate::api::{ActionAnswer, ApiError, Params};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds that a host's record lives in caches.
const TTL: u32 = 60;

/// The account that hosts without another belong to.
pub(super) const OWN_ACCOUNT: u64 = 1;

/// `DescribeSyncEcsHostTask`
pub fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    let id = params.required("ZoneId")?;
    let task = match context.fixed_zone(id) {
        Some(_) => None,
        None => context.zone(id)?.row.sync.clone(),
    };
    let Some(task) = task else {
        return Err(ApiError::new("Ecs.SyncTask.NotExists", "The zone has no task for host names."));
    };
    let mut by_owner: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (region, owner) in &task.regions {
        by_owner.entry(*owner).or_default().push(region);
    }
    let owners: Vec<Value> = by_owner
        .iter()
        .map(|(owner, regions)| json!({ "UserId": owner, "RegionIds": { "RegionId": regions } }))
        .collect();
    let regions: Vec<&str> = task.regions.iter().map(|(region, _)| region.as_str()).collect();
    Ok(object(json!({
        "Success": true,
        "ZoneId": id,
        "Status": if task.on { "ON" } else { "OFF" },
        "Regions": { "RegionId": regions },
        "EcsRegions": { "EcsRegion": owners },
    })))
}

/// `UpdateSyncEcsHostTask`: switched on, the records are there with the answer; switched off, they stay as they
/// are and are no longer synced.
pub fn update(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let on = is_on(params.required("Status")?)?;
    let mut regions = Vec::new();
    for item in params.items("Region") {
        let region = item.required("RegionId").map_err(|_| ApiError::missing("Region"))?;
        let owner = item.integer("UserId", 0..=u64::MAX)?.unwrap_or(OWN_ACCOUNT);
        regions.push((region.to_string(), owner));
    }
    if regions.is_empty() && on {
        return Err(ApiError::missing("Region"));
    }
    let names: Vec<&str> = regions.iter().map(|(region, _)| region.as_str()).collect();
    let content = format!("host names {} for {}", if on { "on" } else { "off" }, names.join(", "));
    let row = ZoneRow { sync: Some(HostSync { on, regions }), ..context.touched(&entry.row) };
    let mut edits = super::zone::log(context, "update", &row, content);
    edits.extend(records(context, entry, &row));
    edits.push(Edit::Zone(row));
    Ok(ActionResult { edits, answer: object(json!({ "Success": true })) })
}

/// `ON` or `OFF`.
pub(super) fn is_on(status: &str) -> Result<bool, ApiError> {
    match status.to_ascii_uppercase().as_str() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        _ => Err(ApiError::invalid("Status", "it must be ON or OFF")),
    }
}

/// Brings the records of every zone with a task up to the hosts there are: after a reload.
pub fn refresh(context: &ActionContext) -> ActionResult {
    let mut edits = Vec::new();
    for entry in context.account.zones() {
        let changes = records(context, entry, &entry.row);
        if !changes.is_empty() {
            edits.extend(changes);
            edits.push(Edit::Zone(context.touched(&entry.row)));
        }
    }
    ActionResult { edits, ..ActionResult::default() }
}

/// What differs between the synced records of a zone and the hosts. A record made by hand is left alone.
pub(super) fn records(context: &ActionContext, entry: &ZoneEntry, row: &ZoneRow) -> Vec<Edit> {
    let Some(task) = row.sync.as_ref().filter(|task| task.on) else { return Vec::new() };
    // A host may have an address of each family, and more than one.
    let wanted: BTreeSet<(String, &str, String)> = context
        .hosts
        .iter()
        .filter(|host| task.regions.iter().any(|(region, _)| *region == host.region))
        .map(|host| {
            let rtype = if host.ip.is_ipv4() { "A" } else { "AAAA" };
            (host.name.to_lowercase(), rtype, host.ip.to_string())
        })
        .collect();
    let synced: Vec<_> = entry.records.values().filter(|record| record.synced).collect();
    let is = |record: &Record<'_>, (rr, rtype, value): &(String, &str, String)| {
        record.rr == *rr && record.rtype == *rtype && record.value == *value
    };
    let mut edits = Vec::new();
    for record in &synced {
        if !wanted.iter().any(|host| is(record, host)) {
            edits.push(Edit::DropRecord(record.id));
        }
    }
    let mut next = context.account.next_record(context.now());
    for host in wanted {
        if synced.iter().any(|record| is(record, &host)) {
            continue;
        }
        let (rr, rtype, value) = host;
        let new = RecordRow {
            id: next,
            zone: row.id.clone(),
            rr,
            rtype: rtype.into(),
            value,
            ttl: TTL,
            priority: None,
            weight: 1,
            line: DEFAULT_LINE.into(),
            remark: String::new(),
            enabled: true,
            synced: true,
            created: context.now(),
            updated: context.now(),
        };
        let made = entry.records.of_host(&new.rr).any(|other| !other.synced);
        if !made && record::check(row, &new).is_ok() {
            edits.push(Edit::Record(new));
            next += 1;
        }
    }
    edits
}
