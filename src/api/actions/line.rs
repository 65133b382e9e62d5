//! Custom lines: lists of IPv4 ranges of clients, whose records go before those of the default line.

use super::context::{ActionContext, ActionResult, LogLine};
use super::format;
use super::page::{ResultPage, object};
use crate::account::Edit;
use crate::account::row::LineRow;
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::sort;
use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Ranges of one line.
const MAX_RANGES: usize = 500;
/// Characters of a name.
const MAX_NAME: usize = 64;

/// `AddCustomLine`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = read(context, context.new_id(0), params)?;
    check(others(context), &row)?;
    let answer = object(json!({ "LineId": row.id, "Name": row.name }));
    Ok(put(context, "add", row, answer))
}

/// A line to be made, as a request describes it.
pub(super) fn read(context: &ActionContext, id: String, params: &Params) -> Result<LineRow, ApiError> {
    Ok(LineRow {
        id,
        name: name(params.required("Name")?)?,
        ranges: ranges(params)?.ok_or_else(|| ApiError::missing("Ipv4s"))?,
        category: params.text("DnsCategory").unwrap_or("AUTH").into(),
        created: context.now(),
        updated: context.now(),
    })
}

/// All lines that there are.
fn others<'g>(context: &'g ActionContext) -> impl Iterator<Item = &'g LineRow> {
    context.account.lines().values().map(|row| &**row)
}

/// `UpdateCustomLine`
pub fn update(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let former = find(context, params)?;
    let row = LineRow {
        name: params.text("Name").map_or(Ok(former.name.clone()), name)?,
        ranges: ranges(params)?.ok_or_else(|| ApiError::missing("Ipv4s"))?,
        category: params.text("DnsCategory").unwrap_or(&former.category).into(),
        updated: context.now(),
        ..LineRow::clone(former)
    };
    check(others(context), &row)?;
    let answer = object(json!({ "LineId": row.id }));
    Ok(put(context, "update", row, answer))
}

/// `DeleteCustomLine`: not while a record goes by it.
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = find(context, params)?;
    let in_use = |line: &str| {
        let mut records = context.account.zones().flat_map(|entry| entry.records.values());
        records.any(|record| record.line == line)
    };
    if in_use(&row.id) {
        let why = "Records use the line; delete them or give them another line first.";
        return Err(ApiError::new("CustomLine.RecordExists", why));
    }
    let mut edits = log(context, "del", row);
    edits.push(Edit::DropLine(row.id.clone()));
    Ok(ActionResult { edits, answer: object(json!({ "LineId": row.id })) })
}

/// `DescribeCustomLineInfo`
pub fn info(context: &ActionContext, params: &Params) -> ActionAnswer {
    let row = find(context, params)?;
    let mut answer = common(row);
    // In this action the category is spelled so.
    answer.insert("Dnscategory".into(), json!(row.category));
    answer.insert("Ipv4s".into(), json!(shown_ranges(row)));
    Ok(answer)
}

/// `DescribeCustomLines`
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    listed(context, params, |_| true)
}

/// `SearchCustomLines`
pub fn search(context: &ActionContext, params: &Params) -> ActionAnswer {
    let within = |name: &str| -> Result<(u64, u64), ApiError> {
        let edge = |end: &str| params.integer(&format!("{name}Timestamp{end}"), 0..=u64::MAX);
        Ok((edge("Start")?.unwrap_or(0), edge("End")?.unwrap_or(u64::MAX)))
    };
    let (created, updated) = (within("Create")?, within("Update")?);
    let word = params.text("Name").map(str::to_lowercase);
    let address: Option<Ipv4Addr> = params
        .text("Ipv4")
        .map(|text| text.parse().map_err(|_| ApiError::invalid("Ipv4", "it is not an IPv4 address")))
        .transpose()?;
    listed(context, params, |row| {
        (created.0..=created.1).contains(&row.created)
            && (updated.0..=updated.1).contains(&row.updated)
            && word.as_ref().is_none_or(|word| row.name.to_lowercase().contains(word.as_str()))
            && address.is_none_or(|ip| row.ranges.iter().any(|(first, last)| (*first..=*last).contains(&ip)))
    })
}

fn listed(context: &ActionContext, params: &Params, wanted: impl Fn(&LineRow) -> bool) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let mut found: Vec<_> = context.account.lines().values().filter(|row| wanted(row)).collect();
    sort::by_key(&mut found, |row| row.created);
    let mut answer = page.fields(found.len());
    let shown = page.cut(found).map(|row| {
        let mut fields = common(row);
        fields.insert("DnsCategory".into(), json!(row.category));
        fields.insert("Ipv4s".into(), json!({ "Ipv4": shown_ranges(row) }));
        Value::Object(fields)
    });
    let shown: Vec<Value> = shown.collect();
    answer.insert("CustomLines".into(), json!({ "CustomLine": shown }));
    Ok(answer)
}

fn find<'g>(context: &'g ActionContext, params: &Params) -> Result<&'g Arc<LineRow>, ApiError> {
    let found = context.account.lines().get(params.required("LineId")?);
    found.ok_or_else(|| ApiError::new("CustomLine.NotExists", "The custom line does not exist."))
}

fn common(row: &LineRow) -> Map<String, Value> {
    object(json!({
        "LineId": row.id,
        "Name": row.name,
        "Creator": "1",
        "CreatorType": "USER",
        "CreatorSubType": "",
        "CreateTime": format::minute(row.created),
        "CreateTimestamp": row.created,
        "UpdateTime": format::minute(row.updated),
        "UpdateTimestamp": row.updated,
    }))
}

fn put(context: &ActionContext, action: &str, row: LineRow, answer: Map<String, Value>) -> ActionResult {
    let mut edits = log(context, action, &row);
    edits.push(Edit::Line(row));
    ActionResult { edits, answer }
}

fn log(context: &ActionContext, action: &str, row: &LineRow) -> Vec<Edit> {
    let content = shown_ranges(row).join(", ");
    context.log(LogLine { kind: "CUSTOM_LINE", action, entity: &row.id, name: &row.name, zone: "", content })
}

fn name(text: &str) -> Result<String, ApiError> {
    match (1..=MAX_NAME).contains(&text.chars().count()) {
        true => Ok(text.into()),
        false => Err(ApiError::invalid("Name", format!("it has 1 to {MAX_NAME} characters"))),
    }
}

pub(super) fn shown_ranges(row: &LineRow) -> Vec<String> {
    row.ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect()
}

/// The ranges that a request names: `a-b`, a CIDR, or one address.
fn ranges(params: &Params) -> Result<Option<Vec<(Ipv4Addr, Ipv4Addr)>>, ApiError> {
    let values = params.values("Ipv4s");
    if values.is_empty() {
        return Ok(None);
    }
    if values.len() > MAX_RANGES {
        return Err(ApiError::invalid("Ipv4s", format!("a line has at most {MAX_RANGES} ranges")));
    }
    let range = |text: &str| -> Option<(Ipv4Addr, Ipv4Addr)> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            return (first <= last).then_some((first, last));
        }
        if let Ok(net) = text.parse::<Ipv4Net>() {
            return Some((net.network(), net.broadcast()));
        }
        let ip = text.parse().ok()?;
        Some((ip, ip))
    };
    let ranges = values.into_iter().map(|text| {
        let wrong =
            || ApiError::invalid("Ipv4s", format!("`{text}` is not a range such as 10.0.0.1-10.0.0.9"));
        range(text.trim()).ok_or_else(wrong)
    });
    ranges.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Names are told apart, and an address is on one line.
pub(super) fn check<'r>(lines: impl Iterator<Item = &'r LineRow>, row: &LineRow) -> Result<(), ApiError> {
    for other in lines.filter(|other| other.id != row.id) {
        if other.name == row.name {
            return Err(ApiError::new("CustomLine.NameExists", "There is a custom line of this name."));
        }
        let overlap = row
            .ranges
            .iter()
            .find(|(first, last)| other.ranges.iter().any(|(from, to)| first <= to && from <= last));
        if let Some((first, last)) = overlap {
            let why = format!("The range {first}-{last} overlaps with the custom line {}.", other.name);
            return Err(ApiError::new("CustomLine.RangeRepeated", why));
        }
    }
    let mut sorted = row.ranges.clone();
    sort::ascending(&mut sorted);
    match sorted.windows(2).find(|pair| pair[0].1 >= pair[1].0) {
        Some(pair) => {
            let why = format!("The range {}-{} overlaps with another of the line.", pair[1].0, pair[1].1);
            Err(ApiError::new("CustomLine.RangeRepeated", why))
        }
        None => Ok(()),
    }
}
