//! Other accounts that may bind their VPCs, and whether the service is on. Bookkeeping: there is one account here.

use super::context::{ActionContext, ActionResult};
use super::format;
use super::page::{ResultPage, object};
use crate::account::Edit;
use crate::account::row::AuthorisationRow;
use crate::api::{ActionAnswer, ApiError, Params};
use serde_json::{Value, json};

/// `AddUserVpcAuthorization`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = AuthorisationRow { user: user(params)?, kind: kind(params)?, created: context.now() };
    let there = context.account.authorisations().any(|has| (has.user, &has.kind) == (row.user, &row.kind));
    let edits = if there { Vec::new() } else { vec![Edit::Authorisation(row)] };
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `DeleteUserVpcAuthorization`
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let (user, kind) = (user(params)?, kind(params)?);
    if !context.account.authorisations().any(|has| (has.user, &has.kind) == (user, &kind)) {
        return Err(ApiError::new("ZoneVpc.Auth.NotExists", "The authorization does not exist."));
    }
    Ok(ActionResult { edits: vec![Edit::DropAuthorisation(user, kind)], ..ActionResult::default() })
}

/// `DescribeUserVpcAuthorizations`
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let wanted = params.integer("AuthorizedUserId", 0..=u64::MAX)?;
    let kind = params.text("AuthType").map(str::to_ascii_uppercase);
    let found: Vec<_> = context
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
            "CreateTime": format::minute(row.created),
            "CreateTimestamp": row.created,
        })
    });
    let shown: Vec<Value> = shown.collect();
    answer.insert("Users".into(), Value::Array(shown));
    Ok(answer)
}

/// `DescribeUserServiceStatus`
pub fn service_status(_: &ActionContext, _: &Params) -> ActionAnswer {
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
