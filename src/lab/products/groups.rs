//! ECS 2014-05-26: security groups. They are kept as told and guard nothing.

use super::common::{
    Page, by_age, checked_description, checked_name, common, fields, has_tags, matches, optional_region,
    quota, region, security_groups, tags, time, vpc_block,
};
use crate::account::Edit;
use crate::account::network::{CommonFields, NetworkRow, SecurityGroupRow};
use crate::api::actions::{ActionContext, ActionResult};
use crate::api::{ActionAnswer, ApiError, Params};
use serde_json::{Value, json};

/// Security groups that may be made.
const MAX_GROUPS: usize = 500;

/// `CreateSecurityGroup`
pub(super) fn create(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let common = common(context, params, "sg", "SecurityGroupName")?;
    let kind = match params.text("SecurityGroupType") {
        None | Some("normal") => "normal",
        Some("enterprise") => "enterprise",
        Some(_) => {
            let why = "The specified SecurityGroupType is neither normal nor enterprise.";
            return Err(ApiError::new("InvalidSecurityGroupType.ValueNotSupported", why));
        }
    };
    let vpc = params.text("VpcId").unwrap_or_default();
    if !vpc.is_empty() {
        vpc_block(context, vpc, Some(&common.region))?;
    }
    quota(security_groups(context).count(), MAX_GROUPS, "QuotaExceed.SecurityGroup")?;
    let inner_access = if kind == "normal" { "Accept" } else { "Drop" };
    let row =
        SecurityGroupRow { common, vpc: vpc.into(), kind: kind.into(), inner_access: inner_access.into() };
    let answer = fields(json!({ "SecurityGroupId": row.common.id }));
    Ok(ActionResult { edits: vec![Edit::Network(NetworkRow::SecurityGroup(row))], answer })
}

/// `DescribeSecurityGroups`
pub(super) fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = Page::of(params, 100)?;
    let region = region(params)?;
    let wanted = tags(params)?;
    let ids = super::instances::id_list(params, "SecurityGroupIds")?;
    let mut found: Vec<&SecurityGroupRow> = security_groups(context)
        .filter(|row| row.common.region == region && has_tags(&row.common, &wanted))
        .filter(|row| ids.as_ref().is_none_or(|ids| ids.contains(&row.common.id)))
        .filter(|row| {
            let filters = [
                ("SecurityGroupId", &row.common.id),
                ("SecurityGroupName", &row.common.name),
                ("SecurityGroupType", &row.kind),
                ("VpcId", &row.vpc),
                ("ResourceGroupId", &row.common.resource_group),
            ];
            filters.iter().all(|(parameter, has)| matches(params, parameter, has))
        })
        .collect();
    by_age(&mut found, |row| &row.common);
    let mut answer = page.answer("SecurityGroups", "SecurityGroup", found.into_iter().map(shape).collect());
    answer.insert("RegionId".into(), region.into());
    answer.insert("NextToken".into(), "".into());
    Ok(answer)
}

/// `DescribeSecurityGroupAttribute`: it has no rules.
pub(super) fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    let row = find(context, params)?;
    Ok(fields(json!({
        "RegionId": row.common.region, "SecurityGroupId": row.common.id, "VpcId": row.vpc,
        "SecurityGroupName": row.common.name, "Description": row.common.description,
        "InnerAccessPolicy": row.inner_access, "Permissions": { "Permission": [] }, "NextToken": "",
    })))
}

/// `ModifySecurityGroupPolicy`
pub(super) fn modify_policy(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = find(context, params)?;
    let policy = params.required("InnerAccessPolicy")?;
    let policies = ["Accept", "Drop"];
    let Some(policy) = policies.iter().find(|known| known.eq_ignore_ascii_case(policy)) else {
        let why = "The specified InnerAccessPolicy is neither Accept nor Drop.";
        return Err(ApiError::new("InvalidPolicy.Malformed", why));
    };
    if row.kind == "enterprise" && *policy == "Accept" {
        let why = "The policy of an enterprise security group cannot be changed.";
        return Err(ApiError::new("InvalidOperation.InvalidSecurityGroupType", why));
    }
    Ok(put(SecurityGroupRow { inner_access: (*policy).into(), ..row.clone() }))
}

/// `ModifySecurityGroupAttribute`
pub(super) fn modify(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let mut row = find(context, params)?.clone();
    if let Some(name) = checked_name(params, "SecurityGroupName")? {
        row.common.name = name;
    }
    if let Some(description) = checked_description(params)? {
        row.common.description = description;
    }
    Ok(put(row))
}

/// `DeleteSecurityGroup`: not while an outbound endpoint has it.
pub(super) fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = find(context, params)?;
    let mut endpoints = context.account.endpoints().values();
    if let Some(user) = endpoints.find(|endpoint| endpoint.security_group == row.common.id) {
        let why = format!("There is still an outbound endpoint in the security group: {}.", user.id);
        return Err(ApiError::new("DependencyViolation", why).with_status(403));
    }
    Ok(ActionResult { edits: vec![Edit::DropNetwork(row.common.id.clone())], ..ActionResult::default() })
}

fn put(row: SecurityGroupRow) -> ActionResult {
    ActionResult { edits: vec![Edit::Network(NetworkRow::SecurityGroup(row))], ..ActionResult::default() }
}

/// The group that a request names by `SecurityGroupId`, in the region that it may name.
fn find<'g>(context: &'g ActionContext, params: &Params) -> Result<&'g SecurityGroupRow, ApiError> {
    let (id, region) = (params.required("SecurityGroupId")?, optional_region(params)?);
    let mut groups = security_groups(context);
    groups
        .find(|row| row.common.id == id && region.is_none_or(|region| row.common.region == region))
        .ok_or_else(|| {
            ApiError::new("InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
                .with_status(404)
        })
}

fn shape(row: &SecurityGroupRow) -> Value {
    let CommonFields { id, name, description, resource_group, created, tags, .. } = &row.common;
    let tags: Vec<Value> =
        tags.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
    json!({
        "SecurityGroupId": id, "SecurityGroupName": name, "Description": description, "VpcId": row.vpc,
        "SecurityGroupType": row.kind, "CreationTime": time(*created), "ResourceGroupId": resource_group,
        "EcsCount": 0, "AvailableInstanceAmount": 2000, "ServiceManaged": false, "RuleCount": 0,
        "Tags": { "Tag": tags },
    })
}
