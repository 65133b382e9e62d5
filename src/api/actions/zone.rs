//! Zones: made, changed, deleted.

use super::context::{ActionContext, ActionResult, LogLine};
use super::format;
use super::page::object;
use crate::account::Edit;
use crate::account::row::ZoneRow;
use crate::account::value::{AUTH, FAST};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::name;
use serde_json::json;
use std::collections::BTreeMap;

/// `AddZone`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let name = zone_name(params.required("ZoneName")?)?;
    let proxy = params.text("ProxyPattern").map(proxy_pattern).transpose()?.unwrap_or(false);
    let dns_group = params.text("DnsGroup").map(group).transpose()?.unwrap_or(FAST);
    match params.text("ZoneType") {
        None | Some(AUTH) => {}
        Some(_) => return Err(ApiError::invalid("ZoneType", "only AUTH_ZONE can be made")),
    }
    let row = ZoneRow {
        proxy,
        dns_group: dns_group.into(),
        zone_tag: params.text("ZoneTag").unwrap_or_default().into(),
        resource_group: params.text("ResourceGroupId").unwrap_or_default().into(),
        ..blank(context, context.new_id(0), name.clone())
    };
    let answer = object(json!({ "Success": true, "ZoneId": row.id, "ZoneName": name }));
    let content = format!("ProxyPattern {}", pattern(proxy));
    let mut edits = log(context, "add", &row, content);
    edits.push(Edit::Zone(row));
    Ok(ActionResult { edits, answer })
}

/// A zone of which nothing but the name is said.
pub(super) fn blank(context: &ActionContext, id: String, name: String) -> ZoneRow {
    ZoneRow {
        id,
        name,
        proxy: false,
        remark: String::new(),
        dns_group: FAST.into(),
        zone_tag: String::new(),
        zone_type: AUTH.into(),
        resource_group: String::new(),
        created: context.now(),
        updated: context.now(),
        serial: (context.now() / 1000) as u32,
        bindings: Vec::new(),
        tags: BTreeMap::new(),
        weighted: Vec::new(),
        sync: None,
    }
}

/// `DeleteZone`: a zone that is bound stays.
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    if !entry.row.bindings.is_empty() {
        return Err(ApiError::new("Zone.VpcExists", "Zone have vpc bound."));
    }
    let id = entry.row.id.clone();
    let records = entry.records.ids().collect();
    let mut edits = vec![Edit::DropZone(id.clone()), Edit::DropRecords(records)];
    edits.extend(log(context, "del", &entry.row, format!("with {} records", entry.records.len())));
    Ok(ActionResult { edits, answer: object(json!({ "ZoneId": id })) })
}

/// `SetProxyPattern`
pub fn set_proxy_pattern(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let proxy = proxy_pattern(params.required("ProxyPattern")?)?;
    let row = ZoneRow { proxy, ..context.touched(&entry.row) };
    changed(context, &entry.row, row, format!("ProxyPattern {}", pattern(proxy)))
}

/// `UpdateZoneRemark`
pub fn update_remark(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let remark = format::remark(params.text("Remark").unwrap_or_default())?;
    let content = format!("Remark {remark}");
    changed(context, &entry.row, ZoneRow { remark, ..context.touched(&entry.row) }, content)
}

/// `ChangeZoneDnsGroup`
pub fn change_dns_group(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let dns_group = group(params.required("DnsGroup")?)?;
    let row = ZoneRow { dns_group: dns_group.into(), ..context.touched(&entry.row) };
    changed(context, &entry.row, row, format!("DnsGroup {dns_group}"))
}

/// `MoveResourceGroup`
pub fn move_resource_group(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let resource_group = params.required("NewResourceGroupId")?.to_string();
    let entry = context.zone(params.required("ResourceId")?)?;
    let content = format!("ResourceGroupId {resource_group}");
    let row = ZoneRow { resource_group, ..context.touched(&entry.row) };
    let decision = changed(context, &entry.row, row, content)?;
    Ok(ActionResult { answer: object(json!({})), ..decision })
}

/// `CheckZoneName`
pub fn check_name(_: &ActionContext, params: &Params) -> ActionAnswer {
    let name = params.required("ZoneName")?;
    Ok(object(json!({ "Check": zone_name(name).is_ok(), "Success": true })))
}

/// The word for a proxy pattern.
pub fn pattern(proxy: bool) -> &'static str {
    if proxy { "RECORD" } else { "ZONE" }
}

/// A line of the log about a zone.
pub fn log(context: &ActionContext, action: &str, row: &ZoneRow, content: String) -> Vec<Edit> {
    context.log(LogLine { kind: "PV_ZONE", action, entity: &row.id, name: &row.name, zone: &row.id, content })
}

/// A zone's row in place of the former; nothing where only the time differs.
fn changed(
    context: &ActionContext,
    former: &ZoneRow,
    row: ZoneRow,
    content: String,
) -> Result<ActionResult, ApiError> {
    let answer = object(json!({ "ZoneId": row.id }));
    let same = ZoneRow { updated: former.updated, serial: former.serial, ..row.clone() } == *former;
    if same {
        return Ok(ActionResult::nothing(answer));
    }
    let mut edits = log(context, "update", &row, content);
    edits.push(Edit::Zone(row));
    Ok(ActionResult { edits, answer })
}

/// The name of a zone to be made: a domain name of letters, digits, `-` and `_`.
pub(super) fn zone_name(given: &str) -> Result<String, ApiError> {
    let text = given.strip_suffix('.').unwrap_or(given);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let whole = |label: &str| !label.starts_with('-') && !label.ends_with('-');
    let good = text.chars().all(plain) && text.split('.').all(whole) && name::parse(text).is_ok();
    match good && !text.is_empty() {
        true => Ok(text.to_lowercase()),
        false => Err(ApiError::new("Zone.Invalid.Name", "The zone name is not a domain name.")),
    }
}

/// `ZONE` or `RECORD`.
pub(super) fn proxy_pattern(text: &str) -> Result<bool, ApiError> {
    match text.to_ascii_uppercase().as_str() {
        "ZONE" => Ok(false),
        "RECORD" => Ok(true),
        _ => Err(ApiError::invalid("ProxyPattern", "it must be ZONE or RECORD")),
    }
}

/// `NORMAL_ZONE` or `FAST_ZONE`.
pub(super) fn group(text: &str) -> Result<&'static str, ApiError> {
    match text.to_ascii_uppercase().as_str() {
        FAST => Ok(FAST),
        "NORMAL_ZONE" => Ok("NORMAL_ZONE"),
        _ => Err(ApiError::invalid("DnsGroup", "it must be NORMAL_ZONE or FAST_ZONE")),
    }
}
