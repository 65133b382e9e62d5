//! Outbound endpoints: the addresses from which the product sends forwarded queries. Here queries leave by the
//! machine's own addresses; an endpoint is kept as told, and it is ready at once.

use super::context::{ActionContext, ActionResult, LogLine};
use super::format;
use super::page::{ResultPage, object};
use crate::account::Edit;
use crate::account::row::{EndpointIp, EndpointRow};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::config::endpoints;
use crate::engine::sort;
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Characters of a name.
const MAX_NAME: usize = 20;

/// The last addresses of a subnet, which nothing can have.
const RESERVED: u32 = 3;

/// `AddResolverEndpoint`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let mut row = EndpointRow {
        id: context.new_id(0),
        name: name(params.required("Name")?)?,
        vpc: params.required("VpcId")?.into(),
        region: params.required("VpcRegionId")?.into(),
        security_group: params.required("SecurityGroupId")?.into(),
        ips: ips(params)?.ok_or_else(|| ApiError::missing("IpConfig"))?,
        created: context.now(),
        updated: context.now(),
    };
    choose_addresses(context, &mut row, &[])?;
    let mut edits = log(context, "add", &row);
    let answer = object(json!({ "EndpointId": row.id }));
    edits.push(Edit::Endpoint(row));
    Ok(ActionResult { edits, answer })
}

/// `UpdateResolverEndpoint`
pub fn update(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let former = find(context, params.required("EndpointId")?)?;
    let mut row = EndpointRow {
        name: params.text("Name").map_or(Ok(former.name.clone()), name)?,
        ips: ips(params)?.unwrap_or_else(|| former.ips.clone()),
        updated: context.now(),
        ..EndpointRow::clone(former)
    };
    choose_addresses(context, &mut row, &former.ips)?;
    let mut edits = log(context, "update", &row);
    edits.push(Edit::Endpoint(row));
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `DeleteResolverEndpoint`: not while a rule goes by it.
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = find(context, params.required("EndpointId")?)?;
    if context.account.rules().values().any(|rule| rule.endpoint == row.id) {
        let why = "A forwarding rule uses the endpoint; delete the rule first.";
        return Err(ApiError::new("ResolverEndpoint.RuleExists", why));
    }
    let mut edits = log(context, "del", row);
    edits.push(Edit::DropEndpoint(row.id.clone()));
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `DescribeResolverEndpoint`
pub fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    Ok(object(shape(find(context, params.required("EndpointId")?)?)))
}

/// `DescribeResolverEndpoints`
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let keyword = params.text("Keyword").map(str::to_lowercase);
    let region = params.text("VpcRegionId");
    let ready = params.text("Status").is_none_or(|status| status.eq_ignore_ascii_case("SUCCESS"));
    let mut found: Vec<_> = context
        .account
        .endpoints()
        .values()
        .filter(|row| keyword.as_ref().is_none_or(|word| row.name.to_lowercase().contains(word.as_str())))
        .filter(|row| ready && region.is_none_or(|region| row.region == region))
        .collect();
    sort::by_key(&mut found, |row| row.created);
    let mut answer = page.fields(found.len());
    let shown: Vec<Value> = page.cut(found).map(shape).collect();
    answer.insert("Endpoints".into(), Value::Array(shown));
    Ok(answer)
}

/// `DescribeResolverAvailableZones`: the zones of the catalogue, all of them open.
pub fn available_zones(_: &ActionContext, params: &Params) -> ActionAnswer {
    let region = params.required("ResolverRegionId")?;
    let wanted = params.text("AzId");
    let zones: Vec<Value> = endpoints::availability_zones(region)
        .into_iter()
        .filter(|zone| wanted.is_none_or(|wanted| zone == wanted))
        .map(|zone| json!({ "AzId": zone, "Status": "NORMAL" }))
        .collect();
    Ok(object(json!({ "AvailableZones": zones })))
}

/// The endpoint of an id.
pub(super) fn find<'g>(context: &'g ActionContext, id: &str) -> Result<&'g Arc<EndpointRow>, ApiError> {
    let found = context.account.endpoints().get(id);
    found.ok_or_else(|| ApiError::new("ResolverEndpoint.NotExists", "The endpoint does not exist."))
}

fn shape(row: &Arc<EndpointRow>) -> Value {
    let ips: Vec<Value> = row
        .ips
        .iter()
        .map(|ip| json!({ "AzId": ip.az, "CidrBlock": ip.cidr, "VSwitchId": ip.vswitch, "Ip": ip.ip }))
        .collect();
    json!({
        "Id": row.id,
        "Name": row.name,
        "Status": "SUCCESS",
        "VpcId": row.vpc,
        "VpcName": row.vpc,
        "VpcRegionId": row.region,
        "VpcRegionName": row.region,
        "SecurityGroupId": row.security_group,
        "IpConfigs": ips,
        "CreateTime": format::minute(row.created),
        "CreateTimestamp": row.created,
        "UpdateTime": format::minute(row.updated),
        "UpdateTimestamp": row.updated,
    })
}

fn log(context: &ActionContext, action: &str, row: &EndpointRow) -> Vec<Edit> {
    let content = format!("{} in {}", row.name, row.vpc);
    context.log(LogLine {
        kind: "RESOLVER_ENDPOINT",
        action,
        entity: &row.id,
        name: &row.name,
        zone: "",
        content,
    })
}

pub(super) fn name(text: &str) -> Result<String, ApiError> {
    match (1..=MAX_NAME).contains(&text.chars().count()) {
        true => Ok(text.into()),
        false => Err(ApiError::invalid("Name", format!("it has 1 to {MAX_NAME} characters"))),
    }
}

fn ips(params: &Params) -> Result<Option<Vec<EndpointIp>>, ApiError> {
    let items = params.items("IpConfig");
    if items.is_empty() {
        return Ok(None);
    }
    if !(2..=6).contains(&items.len()) {
        return Err(ApiError::invalid("IpConfig", "an endpoint has 2 to 6 addresses"));
    }
    let ip = |item: &Params| {
        let owned = |name: &str| item.text(name).unwrap_or_default().to_string();
        if let Some(ip) = item.text("Ip")
            && ip.parse::<Ipv4Addr>().is_err()
        {
            return Err(ApiError::invalid("IpConfig", format!("{ip} is not an IPv4 address")));
        }
        Ok(EndpointIp {
            az: owned("AzId"),
            cidr: owned("CidrBlock"),
            vswitch: owned("VSwitchId"),
            ip: owned("Ip"),
        })
    };
    items.iter().map(ip).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Gives each place without an address one: that of the same subnet in `former`, else the first of the subnet that no
/// endpoint of the VPC has. A subnet that is no CIDR block has none to give.
fn choose_addresses(
    context: &ActionContext,
    row: &mut EndpointRow,
    former: &[EndpointIp],
) -> Result<(), ApiError> {
    let others = context.account.endpoints().values();
    let others = others.filter(|other| other.vpc == row.vpc && other.id != row.id);
    let given = others.flat_map(|other| &other.ips).chain(&row.ips);
    let mut taken: BTreeSet<Ipv4Addr> = sort::set(given.filter_map(|place| place.ip.parse().ok()));
    for place in row.ips.iter_mut().filter(|place| place.ip.is_empty()) {
        let Ok(subnet) = place.cidr.parse::<Ipv4Net>() else { continue };
        let same = |old: &&EndpointIp| old.vswitch == place.vswitch && old.cidr == place.cidr;
        let kept = former.iter().filter(same).filter_map(|old| old.ip.parse().ok());
        let last = u32::from(subnet.broadcast()).saturating_sub(RESERVED);
        let fresh = subnet.hosts().take_while(|address| u32::from(*address) <= last);
        let Some(address) = kept.chain(fresh).find(|address| !taken.contains(address)) else {
            return Err(ApiError::invalid("IpConfig", format!("no address of {subnet} is free")));
        };
        taken.insert(address);
        place.ip = address.to_string();
    }
    Ok(())
}
