//! Records as they are shown.

use super::context::ActionContext;
use super::page::{ResultPage, object};
use super::{config_zones, format, record};
use crate::account::row::Record;
use crate::api::{ActionAnswer, ApiError, Params};
use serde_json::{Value, json};

/// `DescribeZoneRecords`, in the order in which they were made.
pub fn records(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let exact = match params.text("SearchMode").map(str::to_ascii_uppercase).as_deref() {
        None | Some("EXACT") => true,
        Some("LIKE") => false,
        Some(_) => return Err(ApiError::invalid("SearchMode", "it must be LIKE or EXACT")),
    };
    let only_synced = match params.text("Tag") {
        None => false,
        Some(tag) if tag.eq_ignore_ascii_case("ecs") => true,
        Some(_) => return Err(ApiError::invalid("Tag", "it must be ecs")),
    };
    let keyword = params.text("Keyword").map(str::to_lowercase);
    let matches = |row: &Record<'_>| {
        let named = keyword.as_ref().is_none_or(|keyword| {
            let rr = row.rr.to_lowercase();
            if exact { rr == *keyword } else { rr.contains(keyword.as_str()) }
        });
        named && (!only_synced || row.synced)
    };
    let id = params.required("ZoneId")?;
    let (total, shown): (usize, Vec<Value>) = match context.fixed_zone(id) {
        Some((row, zone)) => {
            let (total, records) = match keyword.is_none() && !only_synced {
                true => (zone.record_count(), config_zones::records(&row, zone, page.skipped())),
                false => (0, config_zones::records(&row, zone, 0)),
            };
            match total {
                0 => page.filtered(records, |row| matches(&row.view()), |row| shape(row.view())),
                _ => (total, records.take(page.size()).map(|row| shape(row.view())).collect()),
            }
        }
        None => {
            let records = &context.zone(id)?.records;
            match &keyword {
                // A page of all records costs what is on it, however many others there are.
                None if !only_synced => {
                    let shown = records.skip(page.skipped()).take(page.size());
                    (records.len(), shown.map(shape).collect())
                }
                Some(keyword) if exact => page.filtered(records.of_host(keyword), matches, shape),
                _ => page.filtered(records.values(), matches, shape),
            }
        }
    };
    let mut answer = page.fields(total);
    answer.insert("Records".into(), json!({ "Record": shown }));
    Ok(answer)
}

/// `DescribeZoneRecord`
pub fn record(context: &ActionContext, params: &Params) -> ActionAnswer {
    let id = record::id(params)?;
    if context.account.zone_of_record(id).is_none()
        && let Some((_, row)) = context.config_ids.record(context.catalog, id)
    {
        return Ok(object(shape(row.view())));
    }
    let (_, row) = context.record(id)?;
    Ok(object(shape(row)))
}

fn shape(row: Record<'_>) -> Value {
    let mut fields = json!({
        "RecordId": row.id,
        "ZoneId": row.zone,
        "Rr": row.rr,
        "Type": row.rtype,
        "Value": row.value,
        "Ttl": row.ttl,
        "Line": row.line,
        "Weight": row.weight,
        "Status": if row.enabled { "ENABLE" } else { "DISABLE" },
        "Remark": row.remark,
        "CreateTime": format::minute(row.created),
        "CreateTimestamp": row.created,
        "UpdateTime": format::minute(row.updated),
        "UpdateTimestamp": row.updated,
    });
    if let Some(priority) = row.priority {
        fields["Priority"] = json!(priority);
    }
    fields
}
