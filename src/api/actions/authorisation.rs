//! Other accounts that may bind their VPCs, and whether the service is on. Bookkeeping: there is one account here.

use super::ground::{Decision, Ground};
use super::page::{Page, object};
use super::text;
use crate::account::Edit;
use crate::account::row::AuthorisationRow;
use crate::api::{Answer, ApiError, Params};
use serde_json::{Value, json};

/// `AddUserVpcAuthorization`
pub fn add(ground: &Ground, params: &Params) -> Result<Decision, ApiError> {
    let row = AuthorisationRow { user: user(params)?, kind: kind(params)?, created: ground.now() };
    let there = ground.account.authorisations().any(|has| (has.user, &has.kind) == (row.user, &row.kind));
    let edits = if there { Vec::new() } else { vec![Edit::Authorisation(row)] };
    Ok(Decision { edits, ..Decision::default() })
}

/// `DeleteUserVpcAuthorization`
pub fn delete(ground: &Ground, params: &Params) -> Result<Decision, ApiError> {
    let (user, kind) = (user(params)?, kind(params)?);
    if !ground.account.authorisations().any(|has| (has.user, &has.kind) == (user, &kind)) {
        return Err(ApiError::new("ZoneVpc.Auth.NotExists", "The authorization does not exist."));
    }
    Ok(Decision { edits: vec![Edit::DropAuthorisation(user, kind)], ..Decision::default() })
}

/// `DescribeUserVpcAuthorizations`
pub fn list(ground: &Ground, params: &Params) -> Answer {
    let page = Page::of(params)?;
    let wanted = params.integer("AuthorizedUserId", 0..=u64::MAX)?;
    let kind = params.text("AuthType").map(str::to_ascii_uppercase);
    let found: Vec<_> = ground
        .account
        .authorisations()
        .filter(|row| wanted.is_none_or(|user| row.user == user))
        .filter(|row| kind.as_ref().is_none_or(|kind| row.kind == *kind))
        .collect();
    let mut answer = page.fields(found.len());
    let shown = page.cut(found).map(|row| {
        json!({
            "AuthType": row.kind,
            "AuthorizedUserId": row.user,
            "AuthorizedAliyunId": "",
            "CreateTime": text::minute(row.created),
            "CreateTimestamp": row.created,
        })
    });
    let shown: Vec<Value> = shown.collect();
    answer.insert("Users".into(), Value::Array(shown));
    Ok(answer)
}

/// `DescribeUserServiceStatus`
pub fn service_status(_: &Ground, _: &Params) -> Answer {
    Ok(object(json!({ "Status": "OPENED" })))
}

fn user(params: &Params) -> Result<u64, ApiError> {
    params.required("AuthorizedUserId")?;
    Ok(params.integer("AuthorizedUserId", 1..=u64::MAX)?.unwrap_or_default())
}

fn kind(params: &Params) -> Result<String, ApiError> {
    match params.text("AuthType").map(str::to_ascii_uppercase).as_deref() {
        None => Ok("NORMAL".into()),
        Some(kind @ ("NORMAL" | "CLOUD_PRODUCT")) => Ok(kind.into()),
        Some(_) => Err(ApiError::invalid("AuthType", "it must be NORMAL or CLOUD_PRODUCT")),
    }
}
