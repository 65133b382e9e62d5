//! Zones as they are shown.

use super::context::ActionContext;
use super::page::{ResultPage, object};
use super::{config_zones, format, vpc, zone};
use crate::account::ZoneEntry;
use crate::account::row::ZoneRow;
use crate::api::{ActionAnswer, ApiError, Params};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// `DescribeZones`. With nothing to filter by, a page costs what is on it, however many zones there are.
pub fn zones(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let show = |shown: ListedZone| Value::Object(summary(&shown));
    let (total, shown) = match filter(params)? {
        Some(matches) => page.filtered(all(context, 0), |shown| matches(&shown.row), show),
        None => {
            let total = context.account.zone_count() + config_zones::count(context.catalog);
            (total, all(context, page.skipped()).take(page.size()).map(show).collect())
        }
    };
    let mut answer = page.fields(total);
    answer.insert("Zones".into(), json!({ "Zone": shown }));
    Ok(answer)
}

/// `DescribeZoneInfo`
pub fn info(context: &ActionContext, params: &Params) -> ActionAnswer {
    let id = params.required("ZoneId")?;
    let shown = match context.fixed_zone(id) {
        Some((row, zone)) => ListedZone::fixed(row, zone.record_count()),
        None => ListedZone::made(context.zone(id)?),
    };
    let mut answer = common(&shown);
    let bound: Vec<Value> =
        shown.row.bindings.iter().map(|binding| vpc::shape(binding, Some(json!(1)))).collect();
    let rest = json!({
        "BindVpcs": { "Vpc": bound },
        "BindEdgeDnsClusters": { "EdgeDnsCluster": [] },
        "CreatorType": "USER",
        "SlaveDns": false,
    });
    answer.extend(object(rest));
    Ok(answer)
}

/// `DescribeZoneVpcTree`
pub fn vpc_tree(context: &ActionContext, _: &Params) -> ActionAnswer {
    let zones: Vec<Value> = all(context, 0)
        .map(|shown| {
            let vpcs: Vec<Value> =
                shown.row.bindings.iter().map(|binding| vpc::shape(binding, None)).collect();
            let mut fields = common(&shown);
            fields.remove("ProxyPattern");
            fields.remove("ResourceGroupId");
            fields.insert("CreatorType".into(), json!("USER"));
            fields.insert("Vpcs".into(), json!({ "Vpc": vpcs }));
            Value::Object(fields)
        })
        .collect();
    Ok(object(json!({ "Zones": { "Zone": zones } })))
}

/// A zone to be shown.
struct ListedZone<'g> {
    row: Cow<'g, ZoneRow>,
    records: usize,
    fixed: bool,
}

impl<'g> ListedZone<'g> {
    /// One of the API.
    fn made(entry: &'g ZoneEntry) -> Self {
        Self { row: Cow::Borrowed(&entry.row), records: entry.records.len(), fixed: false }
    }

    /// One of the configuration file.
    fn fixed(row: ZoneRow, records: usize) -> Self {
        Self { row: Cow::Owned(row), records, fixed: true }
    }
}

/// Zones of the API, the newest first, then those of the file, without the first `count`. There may be many: nothing of the
/// API's is copied.
fn all<'g>(context: &'g ActionContext, count: usize) -> impl Iterator<Item = ListedZone<'g>> {
    let made = context.account.newest_zones(count).map(|entry| ListedZone::made(entry));
    let fixed =
        config_zones::zones_after(context.catalog, count.saturating_sub(context.account.zone_count()));
    made.chain(fixed.map(|(row, zone)| ListedZone::fixed(row, zone.record_count())))
}

/// What a zone must be like to be listed; nothing where all are listed.
fn filter(params: &Params) -> Result<Option<impl Fn(&ZoneRow) -> bool>, ApiError> {
    let exact = match params.text("SearchMode").map(str::to_ascii_uppercase).as_deref() {
        None | Some("LIKE") => false,
        Some("EXACT") => true,
        Some(_) => return Err(ApiError::invalid("SearchMode", "it must be LIKE or EXACT")),
    };
    let lower = |name: &str| params.text(name).map(str::to_lowercase);
    let owned = |name: &str| params.text(name).map(str::to_string);
    let keyword = lower("Keyword");
    let (vpc, region, group, kind) =
        (owned("QueryVpcId"), owned("QueryRegionId"), owned("ResourceGroupId"), owned("ZoneType"));
    let zone_tags: Vec<String> = params.values("ZoneTag").into_iter().map(String::from).collect();
    let tags: Vec<(String, Option<String>)> = params
        .items("ResourceTag")
        .iter()
        .filter_map(|tag| Some((tag.text("Key")?.to_string(), tag.text("Value").map(String::from))))
        .collect();
    let is_any = keyword.is_none() && vpc.is_none() && region.is_none() && group.is_none() && kind.is_none();
    if is_any && zone_tags.is_empty() && tags.is_empty() {
        return Ok(None);
    }
    Ok(Some(move |row: &ZoneRow| {
        let named = keyword.as_ref().is_none_or(|keyword| {
            let name = row.name.to_lowercase();
            if exact { name == *keyword } else { name.contains(keyword.as_str()) }
        });
        let bound = (vpc.is_none() && region.is_none())
            || row.bindings.iter().any(|binding| {
                let at = &binding.region;
                vpc.as_ref().is_none_or(|vpc| binding.vpc == *vpc)
                    && region.as_ref().is_none_or(|region| at.is_empty() || at == region)
            });
        let tagged = tags.iter().all(|(key, value)| {
            row.tags.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
        });
        named
            && bound
            && tagged
            && group.as_ref().is_none_or(|group| row.resource_group == *group)
            && kind.as_ref().is_none_or(|kind| row.zone_type == *kind)
            && (zone_tags.is_empty() || zone_tags.contains(&row.zone_tag))
    }))
}

/// A zone in a list of zones.
fn summary(shown: &ListedZone) -> Map<String, Value> {
    let tags: Vec<Value> =
        shown.row.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let mut fields = common(shown);
    fields.extend(object(json!({
        "CreatorSubType": "",
        "ResourceTags": { "ResourceTag": tags },
        "SlaveDnsStatus": "CLOSE",
    })));
    fields
}

/// What every list and look-up shows.
fn common(shown: &ListedZone) -> Map<String, Value> {
    let row = &shown.row;
    object(json!({
        "ZoneId": row.id,
        "ZoneName": row.name,
        "ZoneTag": row.zone_tag,
        "ZoneType": row.zone_type,
        "ProxyPattern": zone::pattern(row.proxy),
        "DnsGroup": row.dns_group,
        "DnsGroupChanging": false,
        "RecordCount": shown.records,
        "Remark": row.remark,
        "ResourceGroupId": row.resource_group,
        "IsPtr": row.name.ends_with(".in-addr.arpa") || row.name.ends_with(".ip6.arpa"),
        "Creator": if shown.fixed { config_zones::CREATOR } else { "1" },
        "CreateTime": format::minute(row.created),
        "CreateTimestamp": row.created,
        "UpdateTime": format::minute(row.updated),
        "UpdateTimestamp": row.updated,
    }))
}
