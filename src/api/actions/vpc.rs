//! VPCs: which there are, and which see a zone.

use super::context::{ActionContext, ActionResult};
use super::page::{ResultPage, object};
use crate::account::Edit;
use crate::account::row::{Binding, ZoneRow};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::name::{self, NameKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// VPCs in one request.
const MAX_VPCS: usize = 150;

/// The regions of the product's API. They are Alibaba Cloud's; which of them exist matters to nothing here.
const REGIONS: &[(&str, &str)] = &[
    ("cn-qingdao", "China (Qingdao)"),
    ("cn-beijing", "China (Beijing)"),
    ("cn-zhangjiakou", "China (Zhangjiakou)"),
    ("cn-huhehaote", "China (Hohhot)"),
    ("cn-wulanchabu", "China (Ulanqab)"),
    ("cn-hangzhou", "China (Hangzhou)"),
    ("cn-shanghai", "China (Shanghai)"),
    ("cn-shenzhen", "China (Shenzhen)"),
    ("cn-heyuan", "China (Heyuan)"),
    ("cn-guangzhou", "China (Guangzhou)"),
    ("cn-chengdu", "China (Chengdu)"),
    ("cn-hongkong", "China (Hong Kong)"),
    ("ap-northeast-1", "Japan (Tokyo)"),
    ("ap-northeast-2", "South Korea (Seoul)"),
    ("ap-southeast-1", "Singapore"),
    ("ap-southeast-3", "Malaysia (Kuala Lumpur)"),
    ("ap-southeast-5", "Indonesia (Jakarta)"),
    ("ap-southeast-6", "Philippines (Manila)"),
    ("ap-southeast-7", "Thailand (Bangkok)"),
    ("us-east-1", "US (Virginia)"),
    ("us-west-1", "US (Silicon Valley)"),
    ("eu-west-1", "UK (London)"),
    ("eu-central-1", "Germany (Frankfurt)"),
    ("me-east-1", "UAE (Dubai)"),
];

/// `BindZoneVpc`: the list given is the list from now on; none at all unbinds. See [`wanted`].
pub fn bind(context: &ActionContext, params: &Params) -> Result<ActionResult, ApiError> {
    let entry = context.zone(params.required("ZoneId")?)?;
    let bindings = wanted(context, &entry.row.bindings, params, "Vpcs")?;
    let others = context.account.zones_named(&entry.row.name).map(|other| &other.row);
    check_names(context, others, &entry.row, &bindings)?;
    if bindings == entry.row.bindings {
        return Ok(ActionResult::default());
    }
    let ids: Vec<&str> = bindings.iter().map(|binding| binding.vpc.as_str()).collect();
    let (action, content) = match ids.is_empty() {
        true => ("unbind", "unbound from all VPCs".to_string()),
        false => ("bind", format!("bound to {}", ids.join(", "))),
    };
    let row = ZoneRow { bindings, ..context.touched(&entry.row) };
    let mut edits = super::zone::log(context, action, &row, content);
    edits.push(Edit::Zone(row));
    Ok(ActionResult { edits, ..ActionResult::default() })
}

/// `DescribeRegions`
pub fn regions(context: &ActionContext, _: &Params) -> ActionAnswer {
    let unlisted = context.vpcs().filter_map(|vpc| vpc.region);
    let unlisted: BTreeSet<String> =
        unlisted.filter(|region| REGIONS.iter().all(|(known, _)| known != region)).collect();
    let unlisted = unlisted.iter().map(|region| (region.as_str(), region.as_str()));
    let names = REGIONS.iter().copied().chain(unlisted);
    let regions: Vec<Value> = names
        .map(|(id, name)| {
            json!({
                "RegionId": id, "RegionName": name, "LocalName": name, "RegionEndpoint": "pvtz.aliyuncs.com",
            })
        })
        .collect();
    Ok(object(json!({ "Regions": { "Region": regions } })))
}

/// `DescribeIntranetUserCanAnalysisVpcs`: the VPCs that are known here.
pub fn analysable(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let region = params.text("RegionId");
    let vpcs: Vec<_> = context
        .vpcs()
        .filter(|vpc| region.is_none_or(|region| vpc.region.as_deref() == Some(region)))
        .map(|vpc| {
            json!({
                "AuthType": "NORMAL", "AuthorizedUserId": 1, "NetworkType": "VPC", "TreeLevel": 1,
                "RegionId": vpc.region.clone().unwrap_or_default(), "VpcId": vpc.id, "VpcType": "STANDARD",
            })
        })
        .collect();
    let mut answer = page.other_fields(vpcs.len());
    let shown: Vec<Value> = page.cut(vpcs).collect();
    let list = json!({ "UserCanAnalysisVpcsPopResult": shown });
    answer.insert("UserCanAnalysisVpcsPopResults".into(), list);
    Ok(answer)
}

/// A binding as it is shown. Its owner's number has another type in each list.
pub fn shape(binding: &Binding, owner: Option<Value>) -> Value {
    let region = &binding.region;
    let named = REGIONS.iter().find(|(id, _)| id == region).map_or(region.as_str(), |(_, name)| name);
    let mut fields = json!({
        "VpcId": binding.vpc,
        "VpcName": binding.vpc,
        "VpcType": binding.kind,
        "RegionId": region,
        "RegionName": named,
    });
    if let Some(owner) = owner {
        fields["VpcUserId"] = owner;
    }
    fields
}

/// The bindings that a request lists; one VPC twice is one.
pub fn bindings(context: &ActionContext, items: &[Params]) -> Result<Vec<Binding>, ApiError> {
    if items.len() > MAX_VPCS {
        return Err(ApiError::invalid("Vpcs", format!("at most {MAX_VPCS} VPCs can be bound at a time")));
    }
    let mut bindings: Vec<Binding> = Vec::new();
    for item in items {
        let id = item.required("VpcId").map_err(|_| ApiError::missing("VpcId"))?;
        let kind = match item.text("VpcType").map(str::to_ascii_uppercase).as_deref() {
            None | Some("STANDARD") => "STANDARD",
            Some("EDS") => "EDS",
            Some(_) => return Err(ApiError::invalid("VpcType", "it must be STANDARD or EDS")),
        };
        let unknown = |why: String| ApiError::new("ZoneVpc.NotExists.VpcId", why);
        let Some(vpc) = context.vpc(id) else {
            return Err(unknown(format!(
                "The VPC {id} does not exist: pvtzd knows those of its configuration."
            )));
        };
        let region = match (item.text("RegionId"), &vpc.region) {
            (Some(given), Some(known)) if given != known => {
                return Err(unknown(format!("The VPC {id} does not exist in region {given}.")));
            }
            (given, known) => given.map(String::from).or_else(|| known.clone()).unwrap_or_default(),
        };
        if bindings.iter().all(|binding| binding.vpc != id) {
            bindings.push(Binding { vpc: id.into(), region, kind: kind.into() });
        }
    }
    Ok(bindings)
}

/// The bindings that a request asks for. `PvtzdMode`, an extension of ours, is for two who bind at once: with
/// `ADD` and `REMOVE` the list changes what is there, where the product has it replace that.
pub(super) fn wanted(
    context: &ActionContext,
    former: &[Binding],
    params: &Params,
    list: &str,
) -> Result<Vec<Binding>, ApiError> {
    let items = params.items(list);
    match params.text("PvtzdMode").map(str::to_ascii_uppercase).as_deref() {
        None | Some("REPLACE") => bindings(context, &items),
        Some("ADD") => Ok(joined(former, bindings(context, &items)?)),
        Some("REMOVE") => {
            let ids: Vec<&str> = items.iter().filter_map(|item| item.text("VpcId")).collect();
            let bound = |id: &str| former.iter().any(|binding| binding.vpc == id);
            if let Some(id) = ids.iter().find(|id| !bound(id)) {
                let why = format!("The VPC {id} is not bound.");
                return Err(ApiError::new("ZoneVpc.NotExists.VpcId", why));
            }
            Ok(former.iter().filter(|binding| !ids.contains(&binding.vpc.as_str())).cloned().collect())
        }
        Some(_) => Err(ApiError::invalid("PvtzdMode", "it must be REPLACE, ADD or REMOVE")),
    }
}

/// Bindings and more bindings; of a VPC that is in both, the latter.
pub(super) fn joined(former: &[Binding], more: Vec<Binding>) -> Vec<Binding> {
    let mut joined = former.to_vec();
    for binding in more {
        match joined.iter_mut().find(|has| has.vpc == binding.vpc) {
            Some(has) => *has = binding,
            None => joined.push(binding),
        }
    }
    joined
}

/// One VPC sees one zone of a name; `others` are the zones of the name, and may have the zone itself.
pub(super) fn check_names<'r>(
    context: &ActionContext,
    others: impl Iterator<Item = &'r ZoneRow>,
    zone: &ZoneRow,
    bindings: &[Binding],
) -> Result<(), ApiError> {
    let apex = name::parse(&zone.name).map_err(|_| ApiError::internal())?;
    let apex = NameKey::of(&apex);
    let is_wanted = |has: &Binding| bindings.iter().any(|binding| binding.vpc == has.vpc);
    let mut others = others.filter(|other| other.id != zone.id);
    let taken = others.any(|other| other.bindings.iter().any(is_wanted));
    if taken || bindings.iter().any(|binding| context.catalog.has_configured(&binding.vpc, &apex)) {
        return Err(ApiError::new("ZoneVpc.Zone.Repeated", "Vpc is bind to same zone name."));
    }
    Ok(())
}
