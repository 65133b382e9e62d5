//! VPC 2016-04-28: VPCs and their route tables.
//!
//! A VPC that was made is ready at once. Configured ones are listed too, and cannot be changed from here.

use super::common::{
    CONFIGURED_BLOCK, Page, by_age, checked_description, checked_name, cidr, common, dry_run, fields,
    has_tags, malformed_cidr, matches, optional_region, owner, quota, region, route_table, router,
    security_groups, shown_tags, tags, time, vswitches,
};
use super::resource_group::DEFAULT_GROUP;
use super::vswitch;
use crate::account::Edit;
use crate::account::network::{CommonFields, NetworkRow, VpcRow};
use crate::account::row::Binding;
use crate::api::actions::{ActionContext, ActionResult};
use crate::api::{ActionAnswer, ApiError, Params};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// VPCs that may be made: each has a network on loopback.
const MAX_VPCS: usize = 200;

/// The second octets of the networks on loopback that are given out.
const LOOPBACK: std::ops::RangeInclusive<u8> = 16..=250;

/// The name of the lab's own VPC: the one under which Terraform's acceptance tests look for a VPC that is always there.
const CONFIGURED_NAME: &str = "default-NODELETING";

/// Blocks within which a VPC's block lies.
const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// `CreateVpc`
pub(super) fn create(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let common = common(context, params, "vpc", "VpcName")?;
    let block = block(params.text("CidrBlock").unwrap_or("172.16.0.0/12"))?;
    let user_cidrs = user_cidrs(params)?;
    quota(context.account.catalog_vpcs().len(), MAX_VPCS, "QuotaExceeded.Vpc")?;
    let loopback = free_loopback(context)
        .ok_or_else(|| ApiError::new("QuotaExceeded.Vpc", "No network on loopback is free."))?;
    let dns_hostname = params.boolean("EnableDnsHostname")?.unwrap_or(false);
    dry_run(params)?;
    let row = VpcRow { common, cidr: block.into(), loopback, user_cidrs, dns_hostname };
    let id = &row.common.id;
    let answer = fields(json!({
        "VpcId": id,
        "VRouterId": router(id),
        "RouteTableId": route_table(id),
        "ResourceGroupId": row.common.resource_group,
        "CidrBlock": block.to_string(),
        "PvtzdClients": row.clients().to_string(),
    }));
    Ok(ActionResult { edits: vec![Edit::Network(NetworkRow::Vpc(row))], answer })
}

/// `DescribeVpcs`
pub(super) fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = Page::of(params, 50)?;
    let region = region(params)?;
    let (wanted, is_default) = (tags(params)?, params.boolean("IsDefault")?);
    let shown = all(context)
        .into_iter()
        .filter(|vpc| vpc.common.region == region)
        .filter(|vpc| {
            matches(params, "VpcId", &vpc.common.id) && matches(params, "VpcName", &vpc.common.name)
        })
        .filter(|vpc| matches(params, "ResourceGroupId", &vpc.common.resource_group))
        .filter(|_| matches(params, "VpcOwnerId", crate::lab::ACCOUNT))
        .filter(|vpc| is_default.is_none_or(|wanted| wanted == vpc.is_default))
        .filter(|vpc| has_tags(&vpc.common, &wanted))
        .map(|vpc| Value::Object(vpc.shape(context)))
        .collect();
    Ok(page.answer("Vpcs", "Vpc", shown))
}

/// `DescribeVpcAttribute`
pub(super) fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    let found = find(context, params)?;
    let mut answer = found.shape(context);
    answer.insert("ClassicLinkEnabled".into(), false.into());
    answer.insert("AssociatedCens".into(), json!({ "AssociatedCen": [] }));
    answer.insert("CloudResources".into(), json!({ "CloudResourceSetType": [] }));
    Ok(answer)
}

/// `ModifyVpcAttribute`
pub(super) fn modify(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let found = find(context, params)?;
    let mut row = changeable(context, &found.common.id)?.clone();
    if let Some(name) = checked_name(params, "VpcName")? {
        row.common.name = name;
    }
    if let Some(description) = checked_description(params)? {
        row.common.description = description;
    }
    if let Some(text) = params.text("CidrBlock") {
        let net = block(text)?;
        let is_inside = |other: Ipv4Net| net.contains(&other);
        if !vswitches(context).filter(|has| has.vpc == row.common.id).all(|has| is_inside(has.cidr.net())) {
            return Err(malformed_cidr(text, "a vSwitch of the VPC lies outside of it"));
        }
        row.cidr = net.into();
    }
    row.dns_hostname = params.boolean("EnableDnsHostname")?.unwrap_or(row.dns_hostname);
    Ok(ActionResult { edits: vec![Edit::Network(NetworkRow::Vpc(row))], ..ActionResult::default() })
}

/// `DeleteVpc`: not while anything is in it or bound to it.
pub(super) fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let id = find(context, params)?.common.id;
    changeable(context, &id)?;
    let account = context.account;
    let is_bound = |bindings: &[Binding]| bindings.iter().any(|binding| binding.vpc == id);
    let uses = [
        ("VSwitch", "a vSwitch", vswitches(context).any(|row| row.vpc == id)),
        ("SecurityGroup", "a security group", security_groups(context).any(|row| row.vpc == id)),
        (
            "PrivateZone",
            "a private zone that is bound to it",
            account.zones().any(|zone| is_bound(&zone.row.bindings)),
        ),
        (
            "ResolverRule",
            "a forwarding rule that is bound to it",
            account.rules().values().any(|rule| is_bound(&rule.bindings)),
        ),
        (
            "ResolverEndpoint",
            "an outbound endpoint",
            account.endpoints().values().any(|endpoint| endpoint.vpc == id),
        ),
    ];
    if let Some((what, words, _)) = uses.iter().find(|(.., used)| *used) {
        let why = format!("Specified object has dependent resources: the VPC {id} has {words}.");
        return Err(ApiError::new(format!("DependencyViolation.{what}"), why));
    }
    dry_run(params)?;
    Ok(ActionResult { edits: vec![Edit::DropNetwork(id)], ..ActionResult::default() })
}

/// `DescribeRouteTableList`: each VPC has its system route table.
pub(super) fn route_tables(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = Page::of(params, 50)?;
    let region = optional_region(params)?;
    let tables = all(context)
        .into_iter()
        .filter(|vpc| region.is_none_or(|region| vpc.common.region == region))
        .filter(|vpc| {
            let id = &vpc.common.id;
            let filters = [
                ("VpcId", id.clone()),
                ("RouteTableId", route_table(id)),
                ("RouterId", router(id)),
                ("RouteTableName", String::new()),
                ("RouterType", "VRouter".into()),
                ("RouteTableType", "System".into()),
            ];
            filters.iter().all(|(parameter, has)| matches(params, parameter, has))
        })
        .map(|vpc| {
            let CommonFields { id, resource_group, created, .. } = &vpc.common;
            json!({
                "RouteTableId": route_table(id), "RouteTableName": "", "RouteTableType": "System",
                "RouterId": router(id), "RouterType": "VRouter", "VpcId": id, "Status": "Available",
                "VSwitchIds": { "VSwitchId": vswitch::ids(context, id) }, "Description": "",
                "CreationTime": time(*created), "OwnerId": owner(), "ResourceGroupId": resource_group,
                "AssociateType": "VSwitch", "RoutePropagationEnable": true, "Tags": { "Tag": [] },
                "GatewayRouteTableIds": null,
            })
        });
    let tables = tables.collect();
    Ok(page.answer("RouterTableList", "RouterTableListType", tables))
}

/// A VPC, configured or made, as it is shown.
struct Shown {
    common: CommonFields,
    block: Ipv4Net,
    user_cidrs: Vec<String>,
    dns_hostname: bool,
    clients: Vec<IpNet>,
    is_default: bool,
}

impl Shown {
    fn shape(&self, context: &ActionContext) -> Map<String, Value> {
        let CommonFields { id, region, name, description, resource_group, created, .. } = &self.common;
        let clients: Vec<String> = self.clients.iter().map(IpNet::to_string).collect();
        fields(json!({
            "VpcId": id, "VpcName": name, "Description": description, "Status": "Available", "RegionId": region,
            "CidrBlock": self.block.to_string(), "CreationTime": time(*created), "IsDefault": self.is_default,
            "VRouterId": router(id), "ResourceGroupId": resource_group, "OwnerId": owner(),
            "DnsHostnameStatus": if self.dns_hostname { "ENABLED" } else { "DISABLED" },
            "DhcpOptionsSetId": "", "DhcpOptionsSetStatus": "", "EnabledIpv6": false, "Ipv6CidrBlock": "",
            "Ipv6CidrBlocks": { "Ipv6CidrBlock": [] }, "SecondaryCidrBlocks": { "SecondaryCidrBlock": [] },
            "UserCidrs": { "UserCidr": self.user_cidrs }, "CenStatus": "Detached",
            "RouterTableIds": { "RouterTableIds": [route_table(id)] },
            "NatGatewayIds": { "NatGatewayIds": [] },
            "VSwitchIds": { "VSwitchId": vswitch::ids(context, id) }, "Tags": shown_tags(&self.common),
            "PvtzdClients": clients.join(","),
        }))
    }
}

/// All VPCs: the configured ones, then the others by age.
fn all(context: &ActionContext) -> Vec<Shown> {
    let mut made: Vec<&VpcRow> = context.vpcs().filter_map(|vpc| context.account.vpc(&vpc.id)).collect();
    by_age(&mut made, |row| &row.common);
    let configured = context.catalog.configured_vpcs().enumerate().map(|(place, vpc)| {
        let common = CommonFields {
            id: vpc.id.clone(),
            region: vpc.region.clone().unwrap_or_default(),
            name: if place == 0 { CONFIGURED_NAME.into() } else { vpc.id.clone() },
            resource_group: DEFAULT_GROUP.into(),
            ..CommonFields::default()
        };
        let (user_cidrs, clients) = (Vec::new(), vpc.clients.clone());
        let is_default = place == 0;
        Shown { common, block: CONFIGURED_BLOCK, user_cidrs, dns_hostname: false, clients, is_default }
    });
    let is_configured = |row: &VpcRow| context.catalog.configured_vpcs().any(|vpc| vpc.id == row.common.id);
    let made = made.into_iter().filter(|row| !is_configured(row)).map(|row| Shown {
        common: row.common.clone(),
        block: row.cidr.net(),
        user_cidrs: row.user_cidrs.clone(),
        dns_hostname: row.dns_hostname,
        clients: vec![IpNet::V4(row.clients())],
        is_default: false,
    });
    configured.chain(made).collect()
}

/// The VPC that a request names by `VpcId`, in the region that it may name.
fn find(context: &ActionContext, params: &Params) -> Result<Shown, ApiError> {
    let (id, region) = (params.required("VpcId")?, optional_region(params)?);
    let found = all(context)
        .into_iter()
        .find(|vpc| vpc.common.id == id && region.is_none_or(|region| vpc.common.region == region));
    found.ok_or_else(|| {
        ApiError::new("InvalidVpcID.NotFound", "Specified VPC does not exist.").with_status(404)
    })
}

/// A VPC that was made; one that is configured is changed elsewhere.
fn changeable<'g>(context: &'g ActionContext, id: &str) -> Result<&'g VpcRow, ApiError> {
    let is_configured = context.catalog.configured_vpcs().any(|vpc| vpc.id == id);
    match context.account.vpc(id).filter(|_| !is_configured) {
        Some(row) => Ok(row),
        None => {
            let why =
                format!("The VPC {id} is the lab's own or configured; it cannot be changed by the API.");
            Err(ApiError::new("OperationDenied.VpcConfigured", why).with_status(403))
        }
    }
}

/// The block of a VPC.
fn block(text: &str) -> Result<Ipv4Net, ApiError> {
    let net = cidr(text)?;
    if !PRIVATE.iter().any(|private| private.contains(&net)) {
        return Err(malformed_cidr(text, "it lies outside of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"));
    }
    match (8..=28).contains(&net.prefix_len()) {
        true => Ok(net),
        false => Err(malformed_cidr(text, "the prefix length of a VPC is 8 to 28")),
    }
}

/// The blocks that a user names as his own: at most three, none of which is reserved.
fn user_cidrs(params: &Params) -> Result<Vec<String>, ApiError> {
    let Some(text) = params.text("UserCidr") else { return Ok(Vec::new()) };
    let nets = text.split(',').map(|text| cidr(text.trim())).collect::<Result<Vec<_>, _>>()?;
    let reserved: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
    let overlaps = |net: &Ipv4Net| net.contains(&reserved) || reserved.contains(net);
    match nets.len() <= 3 && !nets.iter().any(overlaps) {
        true => Ok(nets.iter().map(Ipv4Net::to_string).collect()),
        false => {
            let why = "A VPC has at most three user CIDR blocks, none of which overlaps 100.64.0.0/10.";
            Err(ApiError::new("InvalidUserCidr.Malformed", why))
        }
    }
}

/// The second octet of a network on loopback that no VPC has.
fn free_loopback(context: &ActionContext) -> Option<u8> {
    let mut taken = BTreeSet::new();
    for net in context.vpcs().flat_map(|vpc| vpc.clients) {
        // Wider networks are passed over: the longest prefix counts.
        if let (IpAddr::V4(address), 9..) = (net.network(), net.prefix_len())
            && let [127, second, ..] = address.octets()
        {
            let spread = 1u16 << 16u8.saturating_sub(net.prefix_len());
            taken.extend(u16::from(second)..u16::from(second) + spread);
        }
    }
    LOOPBACK.into_iter().find(|second| !taken.contains(&u16::from(*second)))
}
