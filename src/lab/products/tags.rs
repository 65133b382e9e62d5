//! Tags of VPCs and vSwitches (VPC 2016-04-28) and of security groups (ECS 2014-05-26).

use super::common::{fields, has_tags, region, tags, with_tags};
use crate::account::Edit;
use crate::account::network::NetworkRow;
use crate::api::actions::{ActionContext, ActionResult};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::sort;
use serde_json::{Value, json};

/// Resources in one request.
const MAX_RESOURCES: usize = 50;

/// `ListTagResources`
pub(super) fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let region = region(params)?;
    let kind = kind(params)?;
    let most = params.integer("MaxResults", 1..=50)?.unwrap_or(50) as usize;
    let skip = match params.text("NextToken") {
        None => 0usize,
        Some(token) => token.parse().map_err(|_| {
            ApiError::new("InvalidParameter.NextToken", "The specified NextToken is not one of the lab's.")
        })?,
    };
    let ids = sort::set(params.values("ResourceId"));
    let wanted = tags(params)?;
    let rows: Vec<Value> = context
        .account
        .networks()
        .filter(|row| kind.is(row) && row.common().region == region && has_tags(row.common(), &wanted))
        .filter(|row| ids.is_empty() || ids.contains(row.common().id.as_str()))
        .flat_map(|row| row.common().tags.iter().map(move |(key, value)| (&row.common().id, key, value)))
        .map(|(id, key, value)| {
            json!({ "ResourceId": id, "ResourceType": kind.name(), "TagKey": key, "TagValue": value })
        })
        .collect();
    let next = skip.saturating_add(most);
    let next = if next < rows.len() { next.to_string() } else { String::new() };
    let shown: Vec<Value> = rows.into_iter().skip(skip).take(most).collect();
    Ok(fields(json!({ "NextToken": next, "TagResources": { "TagResource": shown } })))
}

/// `TagResources`
pub(super) fn tag(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let rows = resources(context, params)?;
    let tags = tags(params)?;
    if tags.is_empty() {
        return Err(ApiError::new("MissingParameter.Tag", "You must specify Tag.N."));
    }
    let edit = |row: &NetworkRow| with_tags(row.clone(), &tags).map(Edit::Network);
    let edits = rows.into_iter().map(edit).collect::<Result<Vec<_>, _>>()?;
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `UnTagResources`
pub(super) fn untag(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let rows = resources(context, params)?;
    let keys = params.values("TagKey");
    let all = keys.is_empty() && params.boolean("All")?.unwrap_or(false);
    let edit = |row: &NetworkRow| {
        let mut row = row.clone();
        row.common_mut().tags.retain(|key, _| !(all || keys.contains(&key.as_str())));
        Edit::Network(row)
    };
    Ok(ActionResult { edits: rows.into_iter().map(edit).collect(), ..ActionResult::default() })
}

/// What is tagged.
#[derive(Clone, Copy)]
enum Kind {
    Vpc,
    VSwitch,
    SecurityGroup,
}

impl Kind {
    fn is(self, row: &NetworkRow) -> bool {
        match self {
            Self::Vpc => matches!(row, NetworkRow::Vpc(_)),
            Self::VSwitch => matches!(row, NetworkRow::VSwitch(_)),
            Self::SecurityGroup => matches!(row, NetworkRow::SecurityGroup(_)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Vpc => "VPC",
            Self::VSwitch => "VSWITCH",
            Self::SecurityGroup => "securitygroup",
        }
    }
}

fn kind(params: &Params) -> Result<Kind, ApiError> {
    match params.required("ResourceType")?.to_ascii_lowercase().as_str() {
        "vpc" => Ok(Kind::Vpc),
        "vswitch" => Ok(Kind::VSwitch),
        "securitygroup" => Ok(Kind::SecurityGroup),
        _ => {
            let why = "The specified ResourceType is not VPC, VSWITCH or securitygroup.";
            Err(ApiError::new("InvalidResourceType.NotFound", why))
        }
    }
}

/// The resources that a request names.
fn resources<'g>(context: &'g ActionContext, params: &Params) -> Result<Vec<&'g NetworkRow>, ApiError> {
    let region = region(params)?;
    let kind = kind(params)?;
    let ids = sort::set(params.values("ResourceId"));
    if ids.is_empty() {
        return Err(ApiError::new("MissingParameter.ResourceId", "You must specify ResourceId.N."));
    }
    if ids.len() > MAX_RESOURCES {
        return Err(ApiError::new("NumberExceed.ResourceIds", "At most 50 resources at a time."));
    }
    let find = |id: &str| {
        let found = context.account.network(id).filter(|row| kind.is(row) && row.common().region == region);
        found.map(|row| &**row).ok_or_else(|| {
            ApiError::new(
                "InvalidResourceId.NotFound",
                "The specified ResourceIds are not found in our records.",
            )
            .with_status(404)
        })
    };
    ids.into_iter().map(find).collect()
}
