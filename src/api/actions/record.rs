//! Records: made, changed, switched, deleted.

use super::context::{ActionContext, ActionResult, LogLine};
use super::format;
use super::page::object;
use crate::account::row::Record;
use crate::account::row::{RecordRow, Weighted, ZoneRow};
use crate::account::value::{self, DEFAULT_LINE, ValueFault};
use crate::account::{Edit, ZoneEntry};
use crate::api::{ApiError, Params};
use crate::engine::name;
use serde_json::json;

/// Seconds that a record lives in caches if it does not say.
pub(super) const DEFAULT_TTL: u32 = 60;

/// The TTLs that a record can have.
pub(super) const TTLS: std::ops::RangeInclusive<i64> = 5..=86_400;

/// Record ids are numbers of at most 15 digits.
const IDS: std::ops::RangeInclusive<u64> = 1..=999_999_999_999_999;

/// `AddZoneRecord`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let blank = RecordRow {
        remark: format::remark(params.text("Remark").unwrap_or_default())?,
        ..blank(context, context.account.next_record(context.now()), &entry.row)
    };
    let row = filled(context, entry, blank, params)?;
    let answer = object(json!({ "RecordId": row.id, "Success": true }));
    Ok(put(context, entry, "add", row, answer))
}

/// A record of a zone of which nothing is said.
pub(super) fn blank(context: &ActionContext, id: u64, zone: &ZoneRow) -> RecordRow {
    RecordRow {
        id,
        zone: zone.id.clone(),
        rr: String::new(),
        rtype: String::new(),
        value: String::new(),
        ttl: DEFAULT_TTL,
        priority: None,
        weight: 1,
        line: DEFAULT_LINE.into(),
        remark: String::new(),
        enabled: true,
        synced: false,
        created: context.now(),
        updated: context.now(),
    }
}

/// `UpdateZoneRecord`: what is not given stays, but for host record, type and value, which are mandatory.
pub fn update(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (entry, former) = context.record(id(params)?)?;
    let row = RecordRow { updated: context.now(), ..former.to_row() };
    let row = filled(context, entry, row, params)?;
    let answer = object(json!({ "RecordId": row.id }));
    if (Record { updated: former.updated, ..row.view() }) == former {
        return Ok(ActionResult::nothing(answer));
    }
    Ok(put(context, entry, "update", row, answer))
}

/// `SetZoneRecordStatus`
pub fn set_status(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (entry, former) = context.record(id(params)?)?;
    let status = params.required("Status")?;
    let enabled = is_enabled(status)?;
    let answer = object(json!({ "RecordId": former.id, "Status": status.to_ascii_uppercase() }));
    if enabled == former.enabled {
        return Ok(ActionResult::nothing(answer));
    }
    let row = RecordRow { enabled, updated: context.now(), ..former.to_row() };
    check_conflicts(entry.records.of_host(&row.rr), row.view())?;
    Ok(put(context, entry, "update", row, answer))
}

/// `DeleteZoneRecord`
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (entry, row) = context.record(id(params)?)?;
    let mut edits = log(context, entry, "del", row);
    edits.push(Edit::DropRecord(row.id));
    edits.push(Edit::Zone(context.touched(&entry.row)));
    Ok(ActionResult { edits, answer: object(json!({ "RecordId": row.id })) })
}

/// `UpdateRecordRemark`
pub fn update_remark(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (entry, former) = context.record(id(params)?)?;
    let remark = format::remark(params.text("Remark").unwrap_or_default())?;
    let row = RecordRow { remark, updated: context.now(), ..former.to_row() };
    let answer = object(json!({ "RecordId": row.id }));
    Ok(put(context, entry, "update", row, answer))
}

/// `UpdateZoneRecordWeight`
pub fn update_weight(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (entry, former) = context.record(id(params)?)?;
    params.required("Weight")?;
    let weight = weight(params)?.unwrap_or(former.weight);
    let row = RecordRow { weight, updated: context.now(), ..former.to_row() };
    let answer = object(json!({ "RecordId": row.id }));
    Ok(put(context, entry, "update", row, answer))
}

/// `SetZoneLbaStatus`: whether a set answers by weight rather than with all values in turn.
pub fn set_lba_status(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let (rr, rtype) = (params.required("Rr")?, params.required("Type")?.to_ascii_uppercase());
    let line = params.required("Line")?;
    params.required("Open")?;
    let open = params.boolean("Open")?.unwrap_or_default();
    check_weighted(&rtype)?;
    let is_of_set = |record: Record<'_>| {
        record.rr.eq_ignore_ascii_case(rr) && record.rtype == rtype && record.line == line
    };
    if open && !entry.records.of_host(rr).any(is_of_set) {
        let why = format!("The zone has no {rtype} record {rr} on line {line}.");
        return Err(ApiError::new("Record.NotExists", why));
    }
    let mut row = context.touched(&entry.row);
    row.weighted.retain(|set| !(set.rr.eq_ignore_ascii_case(rr) && set.rtype == rtype && set.line == line));
    if open {
        row.weighted.push(Weighted { rr: rr.into(), rtype: rtype.clone(), line: line.into() });
    }
    let answer = object(json!({ "Success": true }));
    if row.weighted == entry.row.weighted {
        return Ok(ActionResult::nothing(answer));
    }
    let content = format!("{rr} {rtype} {line}: weights {}", if open { "on" } else { "off" });
    let mut edits = super::zone::log(context, "update", &row, content);
    edits.push(Edit::Zone(row));
    Ok(ActionResult { edits, answer })
}

/// Whether sets of a type can answer by weight.
pub(super) fn check_weighted(rtype: &str) -> Result<(), ApiError> {
    match rtype {
        "A" | "AAAA" | "CNAME" => Ok(()),
        _ => Err(ApiError::invalid("Type", "sets of A, AAAA and CNAME can answer by weight")),
    }
}

/// A record with what the request says of it, checked against its zone.
fn filled(
    context: &ActionContext,
    entry: &ZoneEntry,
    row: RecordRow,
    params: &Params,
) -> Result<RecordRow, ApiError> {
    let row = read(row, params)?;
    check(&entry.row, &row)?;
    if row.line != DEFAULT_LINE && !context.account.lines().contains_key(&row.line) {
        return Err(unknown_line());
    }
    check_conflicts(entry.records.of_host(&row.rr), row.view())?;
    Ok(row)
}

/// A record with what the request says of it.
pub(super) fn read(row: RecordRow, params: &Params) -> Result<RecordRow, ApiError> {
    let rtype = params.required("Type")?.to_ascii_uppercase();
    // What is answered for an MX record that has no priority is what is shown of it.
    let otherwise = (rtype == "MX").then_some(value::DEFAULT_PREFERENCE);
    Ok(RecordRow {
        rr: params.required("Rr")?.to_string(),
        rtype,
        value: params.required("Value")?.trim().to_string(),
        ttl: ttl(params)?.unwrap_or(row.ttl),
        priority: priority(params)?.or(row.priority).or(otherwise),
        weight: weight(params)?.unwrap_or(row.weight),
        line: params.text("Line").map_or(row.line, String::from),
        ..row
    })
}

/// `ENABLE` or `DISABLE`.
pub(super) fn is_enabled(status: &str) -> Result<bool, ApiError> {
    match status.to_ascii_uppercase().as_str() {
        "ENABLE" => Ok(true),
        "DISABLE" => Ok(false),
        _ => Err(ApiError::invalid("Status", "it must be ENABLE or DISABLE")),
    }
}

/// The refusal of a line that is not there.
pub(super) fn unknown_line() -> ApiError {
    ApiError::new("Record.Invalid.Line", "Line is neither `default` nor a custom line that exists.")
}

/// Whether a record can be one of the zone, its line apart.
pub(super) fn check(zone: &ZoneRow, row: &RecordRow) -> Result<(), ApiError> {
    let apex = name::parse(&zone.name).map_err(|_| ApiError::internal())?;
    let wrong = |fault| match fault {
        ValueFault::Rr(why) => ApiError::new("Record.Invalid.Rr", format!("Rr is not valid: {why}.")),
        ValueFault::Type(why) => ApiError::new("Record.Invalid.Type", format!("Type is not valid: {why}.")),
        ValueFault::Value(why) => {
            ApiError::new("Record.Invalid.Value", format!("Value is not valid: {why}."))
        }
    };
    value::owner(&row.rr, &apex).map_err(wrong)?;
    value::data(&row.rtype, &row.value, row.priority).map_err(wrong)?;
    Ok(())
}

/// Whether the zone's other records leave room for this one: no record twice, and a CNAME with CNAMEs only, among
/// those that are enabled and of one line.
pub(super) fn check_conflicts<'r>(
    records: impl Iterator<Item = Record<'r>>,
    row: Record<'_>,
) -> Result<(), ApiError> {
    let others = records.filter(|other| {
        other.id != row.id && other.line == row.line && other.rr.eq_ignore_ascii_case(row.rr)
    });
    let value = |row: Record<'_>| value::data(row.rtype, row.value, row.priority).ok();
    for other in others {
        let conflict = |what: &str| {
            let text = format!("{what}: record {} ({} {}).", other.id, other.rtype, other.value);
            Err(ApiError::new("Record.Invalid.Conflict", text))
        };
        if other.rtype == row.rtype && value(other) == value(row) {
            return conflict("The record is there already");
        }
        let one_cname = (other.rtype == "CNAME") != (row.rtype == "CNAME");
        if one_cname && other.enabled && row.enabled {
            return conflict("A CNAME stands alone at its name, but there is another");
        }
    }
    Ok(())
}

/// A record and its zone's new serial.
fn put(
    context: &ActionContext,
    entry: &ZoneEntry,
    action: &str,
    row: RecordRow,
    answer: serde_json::Map<String, serde_json::Value>,
) -> ActionResult {
    let mut edits = log(context, entry, action, row.view());
    edits.push(Edit::Record(row));
    edits.push(Edit::Zone(context.touched(&entry.row)));
    ActionResult { edits, answer }
}

/// A line of the log about a record.
pub(super) fn log(context: &ActionContext, entry: &ZoneEntry, action: &str, row: Record<'_>) -> Vec<Edit> {
    let status = if row.enabled { "" } else { " (disabled)" };
    let content = format!("{} {} {} {} {}{status}", row.rr, row.ttl, row.line, row.rtype, row.value);
    let name = match row.rr {
        "@" => entry.row.name.clone(),
        rr => format!("{rr}.{}", entry.row.name),
    };
    let entity = row.id.to_string();
    context.log(LogLine { kind: "PV_RECORD", action, entity: &entity, name: &name, zone: row.zone, content })
}

/// `RecordId`
pub(super) fn id(params: &Params) -> Result<u64, ApiError> {
    params.required("RecordId")?;
    Ok(params.integer("RecordId", IDS)?.unwrap_or_default())
}

fn ttl(params: &Params) -> Result<Option<u32>, ApiError> {
    let ttl = params.integer("Ttl", *TTLS.start() as u64..=*TTLS.end() as u64);
    let ttl = ttl.map_err(|error| ApiError::new("Record.Invalid.TTL", error.message))?;
    Ok(ttl.map(|ttl| ttl as u32))
}

/// Clients send 1 for records that have none, so that it is taken for every type.
fn priority(params: &Params) -> Result<Option<u16>, ApiError> {
    let priority = params.integer("Priority", 0..=99);
    let priority = priority.map_err(|error| ApiError::new("Record.Invalid.Priority", error.message))?;
    Ok(priority.filter(|priority| *priority > 0).map(|priority| priority as u16))
}

fn weight(params: &Params) -> Result<Option<u8>, ApiError> {
    let weight = params.integer("Weight", 1..=100);
    let weight = weight.map_err(|error| ApiError::new("Record.Invalid.Weight", error.message))?;
    Ok(weight.map(|weight| weight as u8))
}
