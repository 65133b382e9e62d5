//! What the actions of several products have in common: pages, regions, names, tags, the networks that there are.

use super::resource_group;
use crate::account::network::{CommonFields, NetworkRow, SecurityGroupRow, VSwitchRow};
use crate::api::actions::ActionContext;
use crate::api::{ApiError, Params};
use crate::base::timestamp;
use crate::config::endpoints;
use crate::engine::sort;
use crate::lab::ACCOUNT;
use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};

/// The block of a configured VPC.
pub(super) const CONFIGURED_BLOCK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12);

/// Characters of a name.
const MAX_NAME: usize = 128;

/// Characters of a description.
const MAX_DESCRIPTION: usize = 256;

/// Tags of one resource.
const MAX_TAGS: usize = 20;

/// Characters of a key or a value.
const MAX_TAG: usize = 128;

/// The page of a list that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Page {
    number: u64,
    size: u64,
}

impl Page {
    /// By `PageNumber` and `PageSize`, of at most `most` items.
    pub(super) fn of(params: &Params, most: u64) -> Result<Self, ApiError> {
        let number = params.integer("PageNumber", 1..=u64::from(u32::MAX))?.unwrap_or(1);
        let size = params.integer("PageSize", 1..=most)?.unwrap_or(10);
        Ok(Self { number, size })
    }

    /// The fields of an answer: those of the page, and its items as `list` of `item`.
    pub(super) fn answer(self, list: &str, item: &str, items: Vec<Value>) -> Map<String, Value> {
        let total = items.len();
        let skipped = usize::try_from((self.number - 1).saturating_mul(self.size)).unwrap_or(usize::MAX);
        let shown: Vec<Value> = items.into_iter().skip(skipped).take(self.size as usize).collect();
        let mut fields = fields(json!({
            "PageNumber": self.number, "PageSize": self.size, "TotalCount": total,
        }));
        fields.insert(list.into(), json!({ item: shown }));
        fields
    }
}

/// The fields of a JSON object written in place.
pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(), // `json!({…})` makes nothing else
    }
}

/// The region that a request names.
pub(super) fn region(params: &Params) -> Result<String, ApiError> {
    let region = params.required("RegionId")?;
    check_region(region)?;
    Ok(region.into())
}

/// The region that a request may name.
pub(super) fn optional_region(params: &Params) -> Result<Option<&str>, ApiError> {
    params.text("RegionId").map_or(Ok(None), |region| check_region(region).map(|()| Some(region)))
}

fn check_region(region: &str) -> Result<(), ApiError> {
    match endpoints::regions().iter().any(|known| known == region) {
        true => Ok(()),
        false => Err(ApiError::new("InvalidRegionId.NotFound", "The specified RegionId does not exist.")
            .with_status(404)),
    }
}

/// What a new network of any kind has; `prefix` is that of its id, `name` the parameter that its name is in.
pub(super) fn common(
    context: &ActionContext,
    params: &Params,
    prefix: &str,
    name: &str,
) -> Result<CommonFields, ApiError> {
    Ok(CommonFields {
        id: format!("{prefix}-bp1{}", &context.new_id(0)[..18]),
        region: region(params)?,
        name: checked_name(params, name)?.unwrap_or_default(),
        description: checked_description(params)?.unwrap_or_default(),
        resource_group: resource_group_of(params)?,
        created: context.now(),
        tags: sort::map(tags(params)?.into_iter().map(|(key, value)| (key, value.unwrap_or_default()))),
    })
}

/// A name, if one was sent; it may be empty.
pub(super) fn checked_name(params: &Params, parameter: &str) -> Result<Option<String>, ApiError> {
    let Some(name) = sent(params, parameter) else { return Ok(None) };
    let lower = name.to_ascii_lowercase();
    let is_good = name.chars().count() <= MAX_NAME
        && !lower.starts_with("http://")
        && !lower.starts_with("https://")
        && !name.contains(char::is_control);
    match is_good {
        true => Ok(Some(name.into())),
        false => {
            let why = "A name has at most 128 characters and does not begin with http:// or https://.";
            Err(ApiError::new(format!("Invalid{parameter}.Malformed"), why))
        }
    }
}

/// A description, if one was sent; it may be empty.
pub(super) fn checked_description(params: &Params) -> Result<Option<String>, ApiError> {
    match sent(params, "Description") {
        Some(text) if text.chars().count() > MAX_DESCRIPTION => {
            let why = "A description has at most 256 characters.";
            Err(ApiError::new("InvalidDescription.Malformed", why))
        }
        text => Ok(text.map(String::from)),
    }
}

/// A value that was sent, be it empty.
fn sent<'p>(params: &'p Params, parameter: &str) -> Option<&'p str> {
    params.is_present(parameter).then(|| params.text(parameter).unwrap_or_default())
}

fn resource_group_of(params: &Params) -> Result<String, ApiError> {
    let id = params.text("ResourceGroupId").unwrap_or(resource_group::DEFAULT_GROUP);
    match resource_group::is_group(id) {
        true => Ok(id.into()),
        false => Err(resource_group::no_group()),
    }
}

/// The tags that a request names; a value may be left out.
pub(super) fn tags(params: &Params) -> Result<BTreeMap<String, Option<String>>, ApiError> {
    let items = params.items("Tag");
    if items.len() > MAX_TAGS {
        return Err(ApiError::new("NumberExceed.Tags", "The maximum number of tags is exceeded."));
    }
    let mut tags = BTreeMap::new();
    for item in &items {
        let key = item
            .text("Key")
            .ok_or_else(|| ApiError::new("MissingParameter.TagKey", "You must specify Tag.N.Key."))?;
        let value = item.text("Value");
        let is_good = |text: &str| text.chars().count() <= MAX_TAG;
        let reserved = ["aliyun", "acs:"].iter().any(|prefix| key.to_ascii_lowercase().starts_with(prefix));
        if !is_good(key) || reserved {
            return Err(ApiError::new("InvalidTagKey.Malformed", "The specified Tag.N.Key is not valid."));
        }
        if !value.is_none_or(is_good) {
            return Err(ApiError::new(
                "InvalidTagValue.Malformed",
                "The specified Tag.N.Value is not valid.",
            ));
        }
        tags.insert(key.to_string(), value.map(String::from));
    }
    Ok(tags)
}

/// True where a resource has the tags that a request filters by.
pub(super) fn has_tags(common: &CommonFields, wanted: &BTreeMap<String, Option<String>>) -> bool {
    wanted.iter().all(|(key, value)| {
        common.tags.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
    })
}

/// A resource with more tags; the number of all is checked.
pub(super) fn with_tags(
    mut row: NetworkRow,
    tags: &BTreeMap<String, Option<String>>,
) -> Result<NetworkRow, ApiError> {
    let has = &mut row.common_mut().tags;
    has.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())));
    match has.len() <= MAX_TAGS {
        true => Ok(row),
        false => Err(ApiError::new("NumberExceed.Tags", "The maximum number of tags is exceeded.")),
    }
}

/// Tags as the VPC API shows them.
pub(super) fn shown_tags(common: &CommonFields) -> Value {
    let tags: Vec<Value> =
        common.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    json!({ "Tag": tags })
}

/// A time as the APIs show it.
pub(super) fn time(milliseconds: u64) -> String {
    timestamp::format(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

/// True where a filter is not set or names what there is; several values are separated by commas.
pub(super) fn matches(params: &Params, parameter: &str, has: &str) -> bool {
    params.text(parameter).is_none_or(|wanted| wanted.split(',').any(|wanted| wanted.trim() == has))
}

/// Refuses a change that was only to be tried.
pub(super) fn dry_run(params: &Params) -> Result<(), ApiError> {
    match params.boolean("DryRun")? {
        Some(true) => {
            let why = "Request validation has been passed with DryRun flag set.";
            Err(ApiError::new("DryRunOperation", why))
        }
        _ => Ok(()),
    }
}

/// Refuses the creation of more than `most`.
pub(super) fn quota(has: usize, most: usize, code: &'static str) -> Result<(), ApiError> {
    match has < most {
        true => Ok(()),
        false => Err(ApiError::new(code, format!("The lab has at most {most} of these."))),
    }
}

/// A CIDR block, without host bits.
pub(super) fn cidr(text: &str) -> Result<Ipv4Net, ApiError> {
    let net: Option<Ipv4Net> = text.parse().ok();
    net.filter(|net| net.addr() == net.network())
        .ok_or_else(|| malformed_cidr(text, "it is no IPv4 CIDR block"))
}

/// A CIDR block that cannot be.
pub(super) fn malformed_cidr(text: &str, why: &str) -> ApiError {
    let text: String = text.chars().take(64).collect();
    let why = format!("The specified CIDR block {text} is not valid: {why}.");
    ApiError::new("InvalidCidrBlock.Malformed", why)
}

/// The VPC of an id and its block, be it configured or made.
pub(super) fn vpc_block(
    context: &ActionContext,
    id: &str,
    region: Option<&str>,
) -> Result<(String, Ipv4Net), ApiError> {
    let vpc = context
        .vpc(id)
        .filter(|vpc| region.is_none_or(|region| vpc.region.as_deref().is_none_or(|has| has == region)));
    let Some(vpc) = vpc else {
        return Err(ApiError::new("InvalidVpcId.NotFound", "Specified VPC does not exist.").with_status(404));
    };
    let block = context.account.vpc(id).map_or(CONFIGURED_BLOCK, |row| row.cidr.net());
    Ok((vpc.region.unwrap_or_default(), block))
}

/// The vSwitches that were made.
pub(super) fn vswitches<'g>(context: &'g ActionContext) -> impl Iterator<Item = &'g VSwitchRow> {
    context.account.networks().filter_map(|row| match &**row {
        NetworkRow::VSwitch(row) => Some(row),
        _ => None,
    })
}

/// The security groups that were made.
pub(super) fn security_groups<'g>(context: &'g ActionContext) -> impl Iterator<Item = &'g SecurityGroupRow> {
    context.account.networks().filter_map(|row| match &**row {
        NetworkRow::SecurityGroup(row) => Some(row),
        _ => None,
    })
}

/// Sorts by age, so that a page stays what it is while others are made.
pub(super) fn by_age<T>(items: &mut [T], common: impl Fn(&T) -> &CommonFields) {
    sort::by(items, |one, other| {
        let key = |item| {
            let CommonFields { created, id, .. } = common(item);
            (*created, id.clone())
        };
        key(one).cmp(&key(other))
    });
}

/// The id of a VPC's router.
pub(super) fn router(vpc: &str) -> String {
    format!("vrt-{}", vpc.strip_prefix("vpc-").unwrap_or(vpc))
}

/// The id of a VPC's route table.
pub(super) fn route_table(vpc: &str) -> String {
    format!("vtb-{}", vpc.strip_prefix("vpc-").unwrap_or(vpc))
}

/// The account, as a number.
pub(super) fn owner() -> u64 {
    ACCOUNT.parse().unwrap_or_default()
}
