//! VPC 2016-04-28: vSwitches. Each configured VPC has one in each availability zone of its region.

use super::common::{
    CONFIGURED_BLOCK, Page, by_age, checked_description, checked_name, cidr, common, dry_run, fields,
    has_tags, malformed_cidr, matches, optional_region, owner, quota, route_table, shown_tags, tags, time,
    vpc_block, vswitches,
};
use super::resource_group::DEFAULT_GROUP;
use crate::account::Edit;
use crate::account::network::{CommonFields, Ipv4Cidr, NetworkRow, VSwitchRow};
use crate::api::actions::{ActionContext, ActionResult};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::config::endpoints;
use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

/// vSwitches that may be made, in all VPCs together and in one.
const MAX_VSWITCHES: usize = 1000;
/// See [`MAX_VSWITCHES`].
const MAX_IN_A_VPC: usize = 150;

/// Addresses of a vSwitch that nothing can have: the first and the last three.
const RESERVED: u32 = 4;

/// The second part of the ids of configured vSwitches, before their number.
const CONFIGURED_ID: &str = "vsw-pvtzdlab";

/// `CreateVSwitch`
pub(super) fn create(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let vpc = params.required("VpcId")?;
    let zone = params.required("ZoneId")?;
    let text = params.required("CidrBlock")?;
    let (vpc_region, block) = vpc_block(context, vpc, optional_region(params)?)?;
    let mut common = match params.text("RegionId") {
        Some(_) => common(context, params, "vsw", "VSwitchName")?,
        None => {
            let region = [("RegionId", vpc_region.as_str())];
            let params: Params = params.iter().chain(region).collect();
            common(context, &params, "vsw", "VSwitchName")?
        }
    };
    common.region = vpc_region;
    if !endpoints::availability_zones(&common.region).iter().any(|known| known == zone) {
        let why = format!("The specified zone does not exist in {}.", common.region);
        return Err(ApiError::new("InvalidZoneId.NotFound", why).with_status(404));
    }
    let net = cidr(text)?;
    if !(16..=29).contains(&net.prefix_len()) {
        return Err(malformed_cidr(text, "the prefix length of a vSwitch is 16 to 29"));
    }
    if !block.contains(&net) {
        return Err(malformed_cidr(text, &format!("it lies outside of the VPC's block {block}")));
    }
    let siblings: Vec<VSwitchRow> = all(context).into_iter().filter(|row| row.vpc == vpc).collect();
    let overlaps = |row: &&VSwitchRow| row.cidr.net().contains(&net) || net.contains(&row.cidr.net());
    if let Some(other) = siblings.iter().find(overlaps) {
        let why = format!("The specified CIDR block overlaps with that of {}.", other.common.id);
        return Err(ApiError::new("InvalidCidrBlock.Overlapped", why));
    }
    quota(siblings.len(), MAX_IN_A_VPC, "QuotaExceeded.VSwitch")?;
    quota(vswitches(context).count(), MAX_VSWITCHES, "QuotaExceeded.VSwitch")?;
    dry_run(params)?;
    let row = VSwitchRow { common, vpc: vpc.into(), zone: zone.into(), cidr: net.into() };
    let answer = fields(json!({ "VSwitchId": row.common.id }));
    Ok(ActionResult { edits: vec![Edit::Network(NetworkRow::VSwitch(row))], answer })
}

/// `DescribeVSwitches`
pub(super) fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = Page::of(params, 50)?;
    let region = optional_region(params)?;
    if region.is_none() && params.text("VpcId").is_none() {
        let why = "One of RegionId and VpcId is mandatory for this action.";
        return Err(ApiError::new("MissingParameter", why));
    }
    let (wanted, is_default) = (tags(params)?, params.boolean("IsDefault")?);
    let shown = all(context)
        .into_iter()
        .filter(|row| region.is_none_or(|region| row.common.region == region))
        .filter(|row| {
            let filters = [
                ("VpcId", row.vpc.clone()),
                ("VSwitchId", row.common.id.clone()),
                ("ZoneId", row.zone.clone()),
                ("VSwitchName", row.common.name.clone()),
                ("ResourceGroupId", row.common.resource_group.clone()),
                ("RouteTableId", route_table(&row.vpc)),
                ("VSwitchOwnerId", owner().to_string()),
            ];
            filters.iter().all(|(parameter, has)| matches(params, parameter, has))
        })
        .filter(|row| is_default.is_none_or(|wanted| wanted == is_configured(&row.common.id)))
        .filter(|row| has_tags(&row.common, &wanted))
        .map(|row| Value::Object(shape(&row)))
        .collect();
    Ok(page.answer("VSwitches", "VSwitch", shown))
}

/// `DescribeVSwitchAttributes`
pub(super) fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    let mut answer = shape(&find(context, params)?);
    answer.insert("CloudResources".into(), json!({ "CloudResourceSetType": [] }));
    Ok(answer)
}

/// `ModifyVSwitchAttribute`
pub(super) fn modify(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let mut row = changeable(context, params)?;
    if let Some(name) = checked_name(params, "VSwitchName")? {
        row.common.name = name;
    }
    if let Some(description) = checked_description(params)? {
        row.common.description = description;
    }
    Ok(ActionResult { edits: vec![Edit::Network(NetworkRow::VSwitch(row))], ..ActionResult::default() })
}

/// `DeleteVSwitch`: not while an outbound endpoint has an address in it.
pub(super) fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let id = changeable(context, params)?.common.id;
    let mut endpoints = context.account.endpoints().values();
    if let Some(user) = endpoints.find(|endpoint| endpoint.ips.iter().any(|ip| ip.vswitch == id)) {
        let why = format!("Specified object has dependent resources: the outbound endpoint {}.", user.id);
        return Err(ApiError::new("DependencyViolation", why));
    }
    Ok(ActionResult { edits: vec![Edit::DropNetwork(id)], ..ActionResult::default() })
}

/// The ids of a VPC's vSwitches.
pub(super) fn ids(context: &ActionContext, vpc: &str) -> Vec<String> {
    all(context).into_iter().filter(|row| row.vpc == vpc).map(|row| row.common.id).collect()
}

/// All vSwitches: those of configured VPCs, then the others by age.
fn all(context: &ActionContext) -> Vec<VSwitchRow> {
    let mut made: Vec<&VSwitchRow> = vswitches(context).collect();
    by_age(&mut made, |row| &row.common);
    let mut all = Vec::new();
    for (place, vpc) in context.catalog.configured_vpcs().enumerate().take(256) {
        let region = vpc.region.clone().unwrap_or_default();
        for (number, zone) in endpoints::availability_zones(&region).into_iter().enumerate().take(256) {
            let [first, second, ..] = CONFIGURED_BLOCK.network().octets();
            let address = Ipv4Addr::new(first, second, number as u8, 0);
            let common = CommonFields {
                id: format!("{CONFIGURED_ID}{:012}", place * 1000 + number),
                region: region.clone(),
                name: format!("{}-{zone}", vpc.id),
                resource_group: DEFAULT_GROUP.into(),
                ..CommonFields::default()
            };
            all.push(VSwitchRow { common, vpc: vpc.id.clone(), zone, cidr: Ipv4Cidr(address, 24) });
        }
    }
    all.extend(made.into_iter().cloned());
    all
}

fn is_configured(id: &str) -> bool {
    id.starts_with(CONFIGURED_ID)
}

/// The vSwitch that a request names by `VSwitchId`, in the region that it may name.
fn find(context: &ActionContext, params: &Params) -> Result<VSwitchRow, ApiError> {
    let (id, region) = (params.required("VSwitchId")?, optional_region(params)?);
    let mut all = all(context).into_iter();
    let found =
        all.find(|row| row.common.id == id && region.is_none_or(|region| row.common.region == region));
    found.ok_or_else(|| {
        ApiError::new("InvalidVSwitchId.NotFound", "Specified vSwitch does not exist.").with_status(404)
    })
}

/// The same, where it was made.
fn changeable(context: &ActionContext, params: &Params) -> Result<VSwitchRow, ApiError> {
    let row = find(context, params)?;
    match is_configured(&row.common.id) {
        false => Ok(row),
        true => {
            let why = format!("The vSwitch {} is the lab's own; it cannot be changed.", row.common.id);
            Err(ApiError::new("OperationDenied.VSwitchConfigured", why).with_status(403))
        }
    }
}

fn shape(row: &VSwitchRow) -> Map<String, Value> {
    let net: Ipv4Net = row.cidr.net();
    let addresses = 1u32 << (32 - u32::from(net.prefix_len())).min(31);
    let CommonFields { id, name, description, resource_group, created, .. } = &row.common;
    fields(json!({
        "VSwitchId": id, "VSwitchName": name, "Description": description, "VpcId": row.vpc, "ZoneId": row.zone,
        "Status": "Available", "CidrBlock": net.to_string(), "CreationTime": time(*created),
        "AvailableIpAddressCount": addresses.saturating_sub(RESERVED), "IsDefault": is_configured(id),
        "ResourceGroupId": resource_group, "OwnerId": owner(), "Ipv6CidrBlock": "", "NetworkAclId": "",
        "ShareType": "", "RouteTable": { "RouteTableId": route_table(&row.vpc), "RouteTableType": "System" },
        "Tags": shown_tags(&row.common),
    }))
}
