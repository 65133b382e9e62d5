//! Two actions of our own, beside the product's: everything out as one document, and a document in, as one
//! change.
//!
//! `PvtzdExport` leaves out the zones of the configuration file unless `All` is set; `PvtzdImport` never touches
//! them.

use super::context::{ActionContext, ActionResult};
use super::import_plan::{ChangeKind, ItemKind, Mode, PlanFaults, Summary};
use super::page::object;
use super::plan::plan;
use super::{Decide, config_zones, line, zone};
use crate::account::row::{Binding, RecordRow, ZoneRow};
use crate::account::value::DEFAULT_LINE;
use crate::api::document::{
    self, CustomLine, Document, DocumentRecord, DocumentRule, DocumentVpc, DocumentZone, ForwardIp,
    SyncRegion, SyncTask, Tag, WeightedSet,
};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::sort;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Zones whose changes are counted apart; of more, the number.
const MAX_ZONES: usize = 1000;

/// `PvtzdExport`: with `ZoneName.1`, … these zones and the lines that they use, and no rules; with none, everything.
pub fn export(context: &ActionContext, params: &Params) -> ActionAnswer {
    let names: BTreeSet<String> = params
        .values("ZoneName")
        .into_iter()
        .map(|name| name.strip_suffix('.').unwrap_or(name).to_lowercase())
        .collect();
    let all = params.boolean("All")?.unwrap_or(false);
    let document = document(context, &names, all);
    let found: BTreeSet<&str> = sort::set(document.zones.iter().map(|zone| zone.zone_name.as_str()));
    if let Some(name) = names.iter().find(|name| !found.iter().any(|has| has.eq_ignore_ascii_case(name))) {
        return Err(ApiError::new("Zone.NotExists", format!("There is no zone {name}.")));
    }
    let document = serde_json::to_value(&document).map_err(|_| ApiError::internal())?;
    Ok(object(json!({ "Document": document })))
}

/// `PvtzdImport`: `Document` is JSON text, a parameter or the body; `Mode` is MERGE (the default) or REPLACE; with `DryRun` nothing changes
/// and the answer is the same. The document is read here, so that other changes do not wait for it.
pub fn import(params: &Params) -> Result<Decide, ApiError> {
    let mode = match params.text("Mode").map(str::to_ascii_uppercase).as_deref() {
        None | Some("MERGE") => Mode::Merge,
        Some("REPLACE") => Mode::Replace,
        Some(_) => return Err(ApiError::invalid("Mode", "it must be MERGE or REPLACE")),
    };
    let dry = params.boolean("DryRun")?.unwrap_or(false);
    let document = document::read(params.required("Document")?);
    let document = document.map_err(|error| ApiError::invalid("Document", error))?;
    Ok(Box::new(move |context| {
        let (edits, summary) = plan(context, &document, mode).map_err(|faults| refusal(&faults))?;
        let answer = shape(&summary, dry);
        Ok(if dry { ActionResult::nothing(answer) } else { ActionResult { edits, answer } })
    }))
}

/// Every fault, one a line.
fn refusal(faults: &PlanFaults) -> ApiError {
    let things = if faults.count == 1 { "1 fault".to_string() } else { format!("{} faults", faults.count) };
    let mut lines = vec![format!("The document has {things}; nothing was changed.")];
    lines.extend(faults.told.iter().map(ToString::to_string));
    if faults.count > faults.told.len() {
        lines.push(format!("and {} more", faults.count - faults.told.len()));
    }
    ApiError::new("Document.Invalid", lines.join("\n"))
}

fn shape(summary: &Summary, dry: bool) -> Map<String, Value> {
    let counts = |deed: ChangeKind| {
        let kinds = [ItemKind::Zones, ItemKind::Records, ItemKind::Rules, ItemKind::CustomLines];
        let fields = kinds.map(|kind| (format!("{kind:?}"), json!(summary.count(deed, kind))));
        let mut counts = Map::new();
        counts.extend(fields);
        Value::Object(counts)
    };
    let zones = summary.zones.iter().take(MAX_ZONES).map(|(name, [added, changed, removed])| {
        json!({ "ZoneName": name, "Added": added, "Changed": changed, "Removed": removed })
    });
    object(json!({
        "DryRun": dry,
        "Added": counts(ChangeKind::Added),
        "Changed": counts(ChangeKind::Changed),
        "Removed": counts(ChangeKind::Removed),
        "Changes": summary.changes,
        "ChangesOmitted": summary.omitted,
        "ChangedZones": zones.collect::<Vec<_>>(),
        "ChangedZonesOmitted": summary.zones.len().saturating_sub(MAX_ZONES),
    }))
}

/// The account as a document, in an order that depends on what is in it and not on when it came.
pub(super) fn document(context: &ActionContext, names: &BTreeSet<String>, all: bool) -> Document {
    let is_meant = |row: &ZoneRow| names.is_empty() || names.contains(&row.name.to_lowercase());
    let made = context.account.zones().filter(|entry| is_meant(&entry.row));
    let mut zones: Vec<(ZoneRow, Vec<RecordRow>)> = made
        .map(|entry| (entry.row.clone(), entry.records.values().map(|record| record.to_row()).collect()))
        .collect();
    if all {
        let fixed = config_zones::zones(context.catalog).filter(|(row, _)| is_meant(row));
        zones.extend(fixed.map(|(row, zone)| {
            let records = config_zones::records(&row, zone, 0).collect();
            (row, records)
        }));
    }
    let first = |row: &ZoneRow| row.bindings.iter().map(|binding| binding.vpc.clone()).min();
    sort::by_cached_key(&mut zones, |(row, _)| {
        (row.name.to_lowercase(), first(row), row.created, row.id.clone())
    });
    let used: BTreeSet<String> = zones
        .iter()
        .flat_map(|(row, records)| {
            records.iter().map(|record| &record.line).chain(row.weighted.iter().map(|set| &set.line))
        })
        .cloned()
        .collect();
    let whole = names.is_empty();
    let mut lines: Vec<CustomLine> = context
        .account
        .lines()
        .values()
        .filter(|row| whole || used.contains(&row.id))
        .map(|row| CustomLine {
            name: row.name.clone(),
            dns_category: Some(row.category.clone()),
            ipv4s: line::shown_ranges(row),
        })
        .collect();
    sort::by(&mut lines, |a, b| a.name.cmp(&b.name));
    Document {
        zones: zones.iter().map(|(row, records)| zone_of(context, row, records)).collect(),
        rules: if whole { rules(context) } else { Vec::new() },
        custom_lines: lines,
    }
}

fn zone_of(context: &ActionContext, row: &ZoneRow, records: &[RecordRow]) -> DocumentZone {
    let mut records: Vec<&RecordRow> = records.iter().filter(|record| !record.synced).collect();
    let place = |record: &&RecordRow| {
        (record.rr != "@", record.rr.to_lowercase(), record.rtype.clone(), record.line.clone(), record.id)
    };
    sort::by_cached_key(&mut records, place);
    let mut sets: Vec<WeightedSet> = row
        .weighted
        .iter()
        .map(|set| WeightedSet {
            rr: set.rr.clone(),
            rtype: set.rtype.clone(),
            line: line_word(context, &set.line),
        })
        .collect();
    sort::ascending(&mut sets);
    DocumentZone {
        zone_name: row.name.clone(),
        proxy_pattern: Some(zone::pattern(row.proxy).into()),
        dns_group: Some(row.dns_group.to_string()),
        remark: filled(&row.remark),
        zone_tag: filled(&row.zone_tag),
        resource_group_id: filled(&row.resource_group),
        sync_ecs_host_task: row.sync.as_ref().map(|task| SyncTask {
            status: if task.on { "ON" } else { "OFF" }.into(),
            regions: task
                .regions
                .iter()
                .map(|(region, owner)| SyncRegion { region_id: region.clone(), user_id: Some(*owner) })
                .collect(),
        }),
        bind_vpcs: vpcs(&row.bindings),
        tags: row.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect(),
        lba_status: sets,
        records: records.into_iter().map(|record| record_of(context, record)).collect(),
    }
}

fn record_of(context: &ActionContext, row: &RecordRow) -> DocumentRecord {
    DocumentRecord {
        rr: row.rr.clone(),
        rtype: row.rtype.clone(),
        value: row.value.clone(),
        ttl: Some(i64::from(row.ttl)),
        priority: row.priority.map(i64::from),
        weight: Some(i64::from(row.weight)).filter(|weight| *weight != 1),
        line: line_word(context, &row.line),
        remark: filled(&row.remark),
        status: (!row.enabled).then(|| "DISABLE".into()),
    }
}

/// Forwarding rules by the names that they are for.
fn rules(context: &ActionContext) -> Vec<DocumentRule> {
    let mut rows: Vec<_> = context.account.rules().values().collect();
    sort::by_key(&mut rows, |row| {
        (&row.zone, &row.name, row.bindings.iter().map(|has| &has.vpc).min(), row.created)
    });
    let target = |target: &std::net::SocketAddr| ForwardIp {
        ip: target.ip().to_string(),
        port: Some(i64::from(target.port())),
    };
    rows.into_iter()
        .map(|row| DocumentRule {
            name: Some(row.name.clone()),
            zone_name: row.zone.clone(),
            rtype: Some("OUTBOUND".into()),
            forward_ips: row.targets.iter().map(target).collect(),
            bind_vpcs: vpcs(&row.bindings),
        })
        .collect()
}

/// A line by its name: ids are others in another account.
fn line_word(context: &ActionContext, id: &str) -> Option<String> {
    if id == DEFAULT_LINE {
        return None;
    }
    Some(context.account.lines().get(id).map_or(id, |row| &row.name).to_string())
}

fn vpcs(bindings: &[Binding]) -> Vec<DocumentVpc> {
    let vpc = |binding: &Binding| DocumentVpc {
        vpc_id: binding.vpc.clone(),
        region_id: filled(&binding.region),
        vpc_type: filled(&binding.kind).filter(|kind| kind != "STANDARD"),
    };
    let mut vpcs: Vec<DocumentVpc> = bindings.iter().map(vpc).collect();
    sort::by(&mut vpcs, |a, b| a.vpc_id.cmp(&b.vpc_id));
    vpcs
}

fn filled(text: &str) -> Option<String> {
    Some(text.to_string()).filter(|text| !text.is_empty())
}
