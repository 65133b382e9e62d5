//! The log of changes as it is shown.

use super::context::ActionContext;
use super::format;
use super::page::{ResultPage, object};
use crate::account::row::LogRow;
use crate::api::{ActionAnswer, Params};
use serde_json::{Value, json};

/// `DescribeChangeLogs`, the newest first.
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let from = params.integer("StartTimestamp", 0..=u64::MAX)?;
    let to = params.integer("EndTimestamp", 0..=u64::MAX)?;
    let (kind, zone) = (params.text("EntityType"), params.text("ZoneId"));
    let keyword = params.text("Keyword").map(str::to_lowercase);
    let wanted = |row: &LogRow| {
        let named =
            |word: &str| row.name.to_lowercase().contains(word) || row.content.to_lowercase().contains(word);
        from.is_none_or(|from| row.at >= from)
            && to.is_none_or(|to| row.at <= to)
            && kind.is_none_or(|kind| row.kind.eq_ignore_ascii_case(kind))
            && zone.is_none_or(|zone| row.zone == zone)
            && keyword.as_ref().is_none_or(|word| named(word))
    };
    let found: Vec<_> = context.account.log().filter(|row| wanted(row)).collect();
    let mut answer = page.fields(found.len());
    let shown: Vec<Value> = page.cut(found).map(|row| Value::Object(object(shape(row)))).collect();
    answer.insert("ChangeLogs".into(), json!({ "ChangeLog": shown }));
    Ok(answer)
}

fn shape(row: &LogRow) -> Value {
    json!({
        "Id": row.id,
        "EntityId": row.entity,
        "EntityName": row.name,
        "OperObject": row.kind,
        "OperAction": row.action,
        "OperIp": row.source,
        "OperTime": format::minute(row.at),
        "OperTimestamp": row.at,
        "Content": row.content,
        "CreatorId": row.access_key,
        "CreatorType": "USER",
        "CreatorSubType": "",
        "CreatorUserId": "1",
    })
}
