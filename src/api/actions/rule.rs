//! Forwarding rules: names at or below a zone name are asked of the rule's targets, in the VPCs it is bound to.

use super::context::{ActionContext, ActionResult, LogLine};
use super::page::{ResultPage, object};
use super::{endpoint, format, vpc, zone};
use crate::account::Edit;
use crate::account::priority::{PriorityForward, is_vpc_resolver};
use crate::account::row::{Binding, RuleRow};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::name::{self, NameKey};
use crate::engine::sort;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Targets of a rule.
const MAX_TARGETS: usize = 6;

/// `AddResolverRule`
pub fn add(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = RuleRow {
        endpoint: endpoint_of(context, params)?.unwrap_or_default(),
        bindings: vpc::bindings(context, &params.items("Vpcs"))?,
        ..read(context, context.new_id(0), params)?
    };
    check_names(context, others(context), &row, &row.bindings)?;
    let answer = object(json!({ "RuleId": row.id }));
    Ok(put(context, "add", row, answer))
}

/// A rule to be made, as a request describes it, endpoint and VPCs apart.
pub(super) fn read(context: &ActionContext, id: String, params: &Params) -> Result<RuleRow, ApiError> {
    let zone = match params.required("ZoneName")? {
        "." => ".".to_string(),
        name => zone::zone_name(name)?,
    };
    match params.text("Type").map(str::to_ascii_uppercase).as_deref() {
        None | Some("OUTBOUND") => {}
        Some(_) => return Err(ApiError::invalid("Type", "it must be OUTBOUND")),
    }
    Ok(RuleRow {
        id,
        name: params.text("Name").unwrap_or(&zone).into(),
        endpoint: String::new(),
        targets: targets(params)?.ok_or_else(|| ApiError::missing("ForwardIp"))?,
        priorities: Vec::new(),
        bindings: Vec::new(),
        zone,
        created: context.now(),
        updated: context.now(),
    })
}

/// All rules that there are.
fn others<'g>(context: &'g ActionContext) -> impl Iterator<Item = &'g RuleRow> {
    context.account.rules().values().map(|row| &**row)
}

/// `UpdateResolverRule`: what is not given stays; zone name and type cannot be changed.
pub fn update(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let former = find(context, params)?;
    let row = RuleRow {
        name: params.text("Name").unwrap_or(&former.name).into(),
        endpoint: endpoint_of(context, params)?.unwrap_or_else(|| former.endpoint.clone()),
        targets: targets(params)?.unwrap_or_else(|| former.targets.clone()),
        priorities: priorities(params)?.unwrap_or_else(|| former.priorities.clone()),
        updated: context.now(),
        ..RuleRow::clone(former)
    };
    Ok(put(context, "update", row, object(json!({}))))
}

/// `DeleteResolverRule`
pub fn delete(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let row = find(context, params)?;
    let mut edits = log(context, "del", row);
    edits.push(Edit::DropRule(row.id.clone()));
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `BindResolverRuleVpc`: the list given is the list from now on. See [`vpc::wanted`].
pub fn bind(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let former = find(context, params)?;
    let bindings = vpc::wanted(context, &former.bindings, params, "Vpc")?;
    check_names(context, others(context), former, &bindings)?;
    let action = if bindings.is_empty() { "unbind" } else { "bind" };
    let row = RuleRow { bindings, updated: context.now(), ..RuleRow::clone(former) };
    Ok(put(context, action, row, object(json!({}))))
}

/// `DescribeResolverRule`
pub fn describe(context: &ActionContext, params: &Params) -> ActionAnswer {
    let mut answer = object(shape(context, find(context, params)?));
    answer.insert("BindEdgeDnsClusters".into(), json!([]));
    Ok(answer)
}

/// `DescribeResolverRules`
pub fn list(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let keyword = params.text("Keyword").map(str::to_lowercase);
    let endpoint = params.text("EndpointId");
    let mut found: Vec<_> = context
        .account
        .rules()
        .values()
        .filter(|row| endpoint.is_none_or(|endpoint| row.endpoint == endpoint))
        .filter(|row| {
            let has = |text: &str, word: &str| text.to_lowercase().contains(word);
            keyword.as_ref().is_none_or(|word| has(&row.name, word) || has(&row.zone, word))
        })
        .collect();
    sort::by_key(&mut found, |row| row.created);
    let mut answer = page.fields(found.len());
    let shown = page.cut(found).map(|row| {
        let mut fields = shape(context, row);
        fields["BindEdgeDnsClusters"] = json!([]);
        fields["PriorityForwardConfigs"] = row.priorities.iter().map(priority_shape).collect();
        fields
    });
    let shown: Vec<Value> = shown.collect();
    answer.insert("Rules".into(), Value::Array(shown));
    Ok(answer)
}

fn find<'g>(context: &'g ActionContext, params: &Params) -> Result<&'g Arc<RuleRow>, ApiError> {
    let found = context.account.rules().get(params.required("RuleId")?);
    found.ok_or_else(|| ApiError::new("ResolverRule.NotExists", "The forwarding rule does not exist."))
}

fn shape(context: &ActionContext, row: &RuleRow) -> Value {
    let bound: Vec<Value> =
        row.bindings.iter().map(|binding| vpc::shape(binding, Some(json!("1")))).collect();
    let targets: Vec<Value> = row
        .targets
        .iter()
        .map(|target| json!({ "Ip": target.ip().to_string(), "Port": target.port() }))
        .collect();
    let endpoint = context.account.endpoints().get(&row.endpoint);
    json!({
        "Id": row.id,
        "Name": row.name,
        "Type": "OUTBOUND",
        "ZoneName": row.zone,
        "EndpointId": row.endpoint,
        "EndpointName": endpoint.map_or("", |endpoint| &endpoint.name),
        "ForwardIps": targets,
        "BindVpcs": bound,
        "CreateTime": format::minute(row.created),
        "CreateTimestamp": row.created,
        "UpdateTime": format::minute(row.updated),
        "UpdateTimestamp": row.updated,
    })
}

fn put(
    context: &ActionContext,
    action: &str,
    row: RuleRow,
    answer: serde_json::Map<String, Value>,
) -> ActionResult {
    let mut edits = log(context, action, &row);
    edits.push(Edit::Rule(row));
    ActionResult { edits, answer }
}

fn log(context: &ActionContext, action: &str, row: &RuleRow) -> Vec<Edit> {
    let targets: Vec<String> = row.servers().iter().map(ToString::to_string).collect();
    let vpcs: Vec<&str> = row.bindings.iter().map(|binding| binding.vpc.as_str()).collect();
    let content = format!("{} -> {} for {}", row.zone, targets.join(", "), vpcs.join(", "));
    context.log(LogLine {
        kind: "RESOLVER_RULE",
        action,
        entity: &row.id,
        name: &row.zone,
        zone: "",
        content,
    })
}

/// The endpoint that a request names, which must be there.
fn endpoint_of(context: &ActionContext, params: &Params) -> Result<Option<String>, ApiError> {
    params.text("EndpointId").map(|id| endpoint::find(context, id).map(|row| row.id.clone())).transpose()
}

/// The targets that a request names.
fn targets(params: &Params) -> Result<Option<Vec<SocketAddr>>, ApiError> {
    let items = params.items("ForwardIp");
    if items.is_empty() {
        return Ok(None);
    }
    if items.len() > MAX_TARGETS {
        return Err(ApiError::invalid("ForwardIp", format!("a rule has at most {MAX_TARGETS} targets")));
    }
    let mut targets = Vec::new();
    for item in items {
        let text = item.required("Ip").map_err(|_| ApiError::missing("ForwardIp.Ip"))?;
        let ip: IpAddr =
            text.parse().map_err(|_| ApiError::invalid("ForwardIp", format!("{text} is not an address")))?;
        let port = item.integer("Port", 1..=65_535)?.unwrap_or(53) as u16;
        if is_vpc_resolver(ip) {
            let why = format!("{ip} belongs to the VPC's own resolvers, which the product does not take");
            return Err(ApiError::invalid("ForwardIp", why));
        }
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(ApiError::invalid("ForwardIp", format!("{ip} is not the address of a host")));
        }
        let target = SocketAddr::new(ip, port);
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(Some(targets))
}

/// The ordered targets that a request lists.
fn priorities(params: &Params) -> Result<Option<Vec<PriorityForward>>, ApiError> {
    const NAME: &str = "PriorityForwardConfigs";
    let items = params.items(NAME);
    if items.len() > MAX_TARGETS {
        return Err(ApiError::invalid(NAME, format!("a rule has at most {MAX_TARGETS} of them")));
    }
    let mut entries = Vec::new();
    for (item, at) in items.iter().zip(1..) {
        let texts = |name: &str| item.values(name).into_iter().map(str::to_string).collect();
        let entry = PriorityForward {
            protocol: item.text("Protocol").unwrap_or("UDP").into(),
            status: item.text("EnableStatus").unwrap_or("ENABLE").into(),
            priority: item.integer("Priority", 0..=1_000_000)?.unwrap_or(at) as u32,
            alidns: texts("AlidnsServiceAddresses"),
            custom: texts("CustomAddresses"),
        };
        entry.check().map_err(|why| ApiError::invalid(NAME, why))?;
        entries.push(entry);
    }
    Ok((!entries.is_empty()).then_some(entries))
}

fn priority_shape(entry: &PriorityForward) -> Value {
    json!({
        "Protocol": entry.protocol,
        "EnableStatus": entry.status,
        "Priority": entry.priority,
        "AlidnsServiceAddresses": entry.alidns,
        "CustomAddresses": entry.custom,
    })
}

/// One VPC goes by one rule of a name.
pub(super) fn check_names<'r>(
    context: &ActionContext,
    others: impl Iterator<Item = &'r RuleRow>,
    rule: &RuleRow,
    bindings: &[Binding],
) -> Result<(), ApiError> {
    let own = suffix(rule);
    let same: Vec<&RuleRow> = others.filter(|other| other.id != rule.id && suffix(other) == own).collect();
    for binding in bindings {
        let taken = same.iter().any(|other| other.bindings.iter().any(|has| has.vpc == binding.vpc));
        let configured =
            own.as_ref().is_some_and(|own| context.catalog.has_configured_rule(&binding.vpc, own));
        if taken || configured {
            let why = format!("The VPC {} is bound to another rule of the same zone name.", binding.vpc);
            return Err(ApiError::new("ResolverRuleVpc.Zone.Repeated", why));
        }
    }
    Ok(())
}

/// The name whose names at or below it a rule is for.
pub(super) fn suffix(rule: &RuleRow) -> Option<NameKey> {
    name::parse(&rule.zone).ok().map(|name| NameKey::of(&name))
}
