//! Tags of zones.

use super::context::{ActionContext, ActionResult};
use super::page::object;
use crate::account::row::ZoneRow;
use crate::account::{Edit, ZoneEntry};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::sort;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Zones in one request.
const MAX_RESOURCES: usize = 50;
/// Tags of one zone, and in one request.
const MAX_TAGS: usize = 20;
/// Characters of a key or a value.
const MAX_LENGTH: usize = 128;

/// `ListTagResources`
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    check_type(params)?;
    let size = params.integer("Size", 1..=200)?.unwrap_or(20) as usize;
    let skip = match params.text("NextToken") {
        None => 0,
        Some(token) => token.parse().map_err(|_| ApiError::invalid("NextToken", "it is not one of ours"))?,
    };
    let ids = sort::set(params.values("ResourceId"));
    let wanted = tags(params)?;
    let mut zones: Vec<&Arc<ZoneEntry>> = match ids.is_empty() {
        true => context.account.zones().collect(),
        false => ids.iter().filter_map(|id| context.account.zone(id)).collect(),
    };
    sort::by(&mut zones, |one, other| {
        (one.row.created, &one.row.id).cmp(&(other.row.created, &other.row.id))
    });
    let has = |row: &ZoneRow| {
        let matches = |(key, value): &(&String, &Option<String>)| {
            row.tags.get(*key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
        };
        wanted.iter().all(|tag| matches(&tag))
    };
    let rows: Vec<Value> = zones
        .iter()
        .filter(|entry| has(&entry.row))
        .flat_map(|entry| entry.row.tags.iter().map(move |(key, value)| (&entry.row.id, key, value)))
        .map(|(id, key, value)| {
            json!({ "ResourceId": id, "ResourceType": "ZONE", "TagKey": key, "TagValue": value })
        })
        .collect();
    let next = skip + size;
    let mut answer = object(json!({}));
    if next < rows.len() {
        answer.insert("NextToken".into(), json!(next.to_string()));
    }
    let shown: Vec<Value> = rows.into_iter().skip(skip).take(size).collect();
    answer.insert("TagResources".into(), Value::Array(shown));
    Ok(answer)
}

/// `TagResources`
pub fn tag(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let zones = zones(context, params)?;
    let tags = tags(params)?;
    if tags.is_empty() {
        return Err(ApiError::missing("Tag"));
    }
    let overwrite = params.boolean("OverWrite")?.unwrap_or(true);
    let mut edits = Vec::new();
    for entry in zones {
        let mut row = context.touched(&entry.row);
        for (key, value) in &tags {
            let value = value.clone().unwrap_or_default();
            if overwrite || !row.tags.contains_key(key) {
                row.tags.insert(key.clone(), value);
            }
        }
        check_number(&row.tags)?;
        if row.tags != entry.row.tags {
            edits.push(Edit::Zone(row));
        }
    }
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `UntagResources`
pub fn untag(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let zones = zones(context, params)?;
    let keys = params.values("TagKey");
    let all = keys.is_empty() && params.boolean("All")?.unwrap_or(false);
    let mut edits = Vec::new();
    for entry in zones {
        let mut row = context.touched(&entry.row);
        row.tags.retain(|key, _| !(all || keys.contains(&key.as_str())));
        if row.tags != entry.row.tags {
            edits.push(Edit::Zone(row));
        }
    }
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `DescribeTags`
pub fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    check_type(params)?;
    let number = params.integer("PageNumber", 1..=u64::from(u32::MAX))?.unwrap_or(1) as usize;
    let size = params.integer("PageSize", 1..=200)?.unwrap_or(20) as usize;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in context.account.zones() {
        for (key, value) in &entry.row.tags {
            values.entry(key).or_default().insert(value);
        }
    }
    let total = values.len();
    let shown = values.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let shown: Vec<Value> = shown.map(|(key, values)| json!({ "Key": key, "Values": values })).collect();
    Ok(object(json!({ "PageNumber": number, "PageSize": size, "TotalCount": total, "Tags": shown })))
}

/// The zones that a request names.
fn zones<'g>(context: &'g ActionContext, params: &Params) -> Result<Vec<&'g Arc<ZoneEntry>>, ApiError> {
    check_type(params)?;
    let ids = params.values("ResourceId");
    if ids.is_empty() {
        return Err(ApiError::missing("ResourceId"));
    }
    if ids.len() > MAX_RESOURCES {
        return Err(ApiError::invalid("ResourceId", format!("at most {MAX_RESOURCES} at a time")));
    }
    let ids: BTreeSet<&str> = sort::set(ids);
    ids.into_iter().map(|id| context.zone(id)).collect()
}

/// The tags that a request names; a value may be left out.
fn tags(params: &Params) -> Result<BTreeMap<String, Option<String>>, ApiError> {
    let items = params.items("Tag");
    if items.len() > MAX_TAGS {
        return Err(ApiError::invalid("Tag", format!("at most {MAX_TAGS} at a time")));
    }
    let mut tags = BTreeMap::new();
    for item in items {
        let key = item.required("Key").map_err(|_| ApiError::missing("Tag.Key"))?;
        let value = item.text("Value");
        check_length(key)?;
        check_length(value.unwrap_or_default())?;
        tags.insert(key.to_string(), value.map(String::from));
    }
    Ok(tags)
}

/// Checks the number of tags of a zone.
pub(super) fn check_number(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    match tags.len() <= MAX_TAGS {
        true => Ok(()),
        false => Err(ApiError::invalid("Tag", format!("a zone has at most {MAX_TAGS} tags"))),
    }
}

/// Checks the length of a key or a value.
pub(super) fn check_length(text: &str) -> Result<(), ApiError> {
    match text.chars().count() <= MAX_LENGTH {
        true => Ok(()),
        false => Err(ApiError::invalid("Tag", format!("a key or value has at most {MAX_LENGTH} characters"))),
    }
}

fn check_type(params: &Params) -> Result<(), ApiError> {
    match params.required("ResourceType")?.eq_ignore_ascii_case("ZONE") {
        true => Ok(()),
        false => Err(ApiError::invalid("ResourceType", "it must be ZONE")),
    }
}
