//! The document of import, export and diff: an account in PrivateZone's own field names, without ids and times.
//!
//! Plain data, the same on the wire (JSON) and in files (JSON or TOML). What values may be is not checked here: a
//! document with a hundred wrong records is to be told all hundred.

use super::toml_document;
use crate::api::Params;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// Items of the lists of a document, at most: zones, records, VPCs and all others. The octets of a document are bounded
/// where it comes in, but an item of three octets takes a hundred times as many in memory.
pub const MAX_ITEMS: usize = 400_000;

/// Reads a document that is JSON.
///
/// # Errors
/// It is no document, or has too many items.
pub fn read(json: &str) -> Result<Document, String> {
    if has_more_items(json, MAX_ITEMS) {
        return Err(format!(
            "it has more than {MAX_ITEMS} items (zones, records, rules and others together); import it in parts"
        ));
    }
    serde_json::from_slice(json.as_bytes()).map_err(|error| error.to_string())
}

/// True where the lists of a JSON text have more items than a number. Of what is no JSON the result has no meaning.
pub fn has_more_items(json: &str, most: usize) -> bool {
    if json.len() < 2 * most {
        return false; // an item has an octet at least, and a comma
    }
    let (mut items, mut lists, mut is_text, mut octets) = (0, Vec::new(), false, json.bytes());
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => is_text = !is_text,
            b'\\' if is_text => _ = octets.next(),
            _ if is_text => {}
            b'[' | b'{' => {
                lists.push(octet);
                items += usize::from(octet == b'[');
            }
            b']' | b'}' => _ = lists.pop(),
            b',' => items += usize::from(lists.last() == Some(&b'[')),
            _ => {}
        }
        if items > most {
            return true;
        }
    }
    false
}

/// Zones, forwarding rules and custom lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Document {
    /// Zones with their records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<DocumentZone>,
    /// Forwarding rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<DocumentRule>,
    /// Custom lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_lines: Vec<CustomLine>,
}

impl Document {
    /// Reads a document in either form: JSON begins with a brace, which TOML never does.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim_start().starts_with('{') {
            true => serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string()),
            false => toml_document::read(text),
        }
    }
}

/// A zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct DocumentZone {
    /// Its name.
    pub zone_name: String,
    /// `ZONE` or `RECORD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_pattern: Option<String>,
    /// `NORMAL_ZONE` or `FAST_ZONE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_group: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// What kind of use it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_tag: Option<String>,
    /// The resource group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// The task that keeps host names in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_ecs_host_task: Option<SyncTask>,
    /// Who sees it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_vpcs: Vec<DocumentVpc>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The sets that answer by weight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lba_status: Vec<WeightedSet>,
    /// Its records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DocumentRecord>,
}

/// A VPC that something is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct DocumentVpc {
    /// Its id.
    pub vpc_id: String,
    /// Its region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// `STANDARD` or `EDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_type: Option<String>,
}

/// A tag of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// A set of records that answers by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct WeightedSet {
    /// Host record.
    pub rr: String,
    /// Type.
    #[serde(rename = "Type")]
    pub rtype: String,
    /// `default` or the name of a custom line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// A task that keeps the names of hosts in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct SyncTask {
    /// `ON` or `OFF`.
    pub status: String,
    /// The regions whose hosts are meant.
    pub regions: Vec<SyncRegion>,
}

/// A region whose hosts are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct SyncRegion {
    /// The region.
    pub region_id: String,
    /// The account that owns the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u64>,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct DocumentRecord {
    /// Host record.
    pub rr: String,
    /// Type.
    #[serde(rename = "Type")]
    pub rtype: String,
    /// Value.
    pub value: String,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Preference, of an MX record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// `default` or the name of a custom line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// `ENABLE` or `DISABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// A forwarding rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct DocumentRule {
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names at or below this one are meant.
    pub zone_name: String,
    /// `OUTBOUND`.
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    pub rtype: Option<String>,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward_ips: Vec<ForwardIp>,
    /// For whom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_vpcs: Vec<DocumentVpc>,
}

/// A server that a rule asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct ForwardIp {
    /// Its address.
    pub ip: String,
    /// Its port; 53 where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
}

/// A custom line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct CustomLine {
    /// Its name.
    pub name: String,
    /// `AUTH`, `CACHE`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_category: Option<String>,
    /// Its clients' ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv4s: Vec<String>,
}

impl DocumentRecord {
    /// As an action of the API takes it; the line apart.
    pub(crate) fn params(&self) -> Params {
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let fields = [
            ("Rr", Some(self.rr.clone())),
            ("Type", Some(self.rtype.clone())),
            ("Value", Some(self.value.clone())),
            ("Ttl", number(self.ttl)),
            ("Priority", number(self.priority)),
            ("Weight", number(self.weight)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// VPCs as actions of the API take them.
pub(crate) fn vpc_items(vpcs: &[DocumentVpc]) -> Vec<Params> {
    let item = |vpc: &DocumentVpc| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (region, kind) = (text(&vpc.region_id), text(&vpc.vpc_type));
        [("VpcId", vpc.vpc_id.clone()), ("RegionId", region), ("VpcType", kind)].into_iter().collect()
    };
    vpcs.iter().map(item).collect()
}

impl DocumentRule {
    /// As an action of the API takes it; the VPCs apart.
    pub(crate) fn params(&self) -> Params {
        let mut fields = vec![
            ("Name".to_string(), self.name.clone().unwrap_or_default()),
            ("ZoneName".to_string(), self.zone_name.clone()),
            ("Type".to_string(), self.rtype.clone().unwrap_or_default()),
        ];
        for (at, target) in (1..).zip(&self.forward_ips) {
            fields.push((format!("ForwardIp.{at}.Ip"), target.ip.clone()));
            let port = target.port.map(|port| port.to_string());
            fields.push((format!("ForwardIp.{at}.Port"), port.unwrap_or_default()));
        }
        fields.into_iter().collect()
    }
}

impl CustomLine {
    /// As an action of the API takes it.
    pub(crate) fn params(&self) -> Params {
        let head =
            [("Name", self.name.clone()), ("DnsCategory", self.dns_category.clone().unwrap_or_default())];
        let head = head.into_iter().map(|(name, value)| (name.to_string(), value));
        let ranges = (1..).zip(&self.ipv4s).map(|(at, range)| (format!("Ipv4s.{at}"), range.clone()));
        head.chain(ranges).collect()
    }
}

/// By what a zone or a rule is found again in another document or account: its name, and where the name occurs
/// more than once on either side, the first of its VPCs in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The name in lower case, without a final dot.
    pub name: String,
    /// The first VPC; empty where there is none.
    pub vpc: String,
}

impl Handle {
    /// Of a name and the VPCs it is bound to.
    pub fn new<'v>(name: &str, vpcs: impl Iterator<Item = &'v str>) -> Self {
        let name = match name {
            "." => name,
            _ => name.strip_suffix('.').unwrap_or(name),
        };
        Self { name: name.to_lowercase(), vpc: vpcs.min().unwrap_or_default().into() }
    }

    /// Of a zone.
    pub fn of_zone(zone: &DocumentZone) -> Self {
        Self::new(&zone.zone_name, zone.bind_vpcs.iter().map(|vpc| vpc.vpc_id.as_str()))
    }

    /// Of a rule: its own name tells apart those of one zone name.
    pub fn of_rule(rule: &DocumentRule) -> Self {
        let zone = Self::new(&rule.zone_name, rule.bind_vpcs.iter().map(|vpc| vpc.vpc_id.as_str()));
        let name = rule.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&zone.name);
        Self { name: format!("{} {name}", zone.name), vpc: zone.vpc }
    }
}

/// For each that is given, the place of the one among `present` that it is. What even name and VPC do not tell
/// apart is taken in order.
pub fn pair(given: &[Handle], present: &[Handle]) -> Vec<Option<usize>> {
    let mut places: HashMap<(&str, &str), VecDeque<usize>> = HashMap::new();
    let mut names: HashMap<&str, [usize; 3]> = HashMap::new(); // how many are there, and given; the first place
    for (place, handle) in present.iter().enumerate() {
        places.entry((&handle.name, &handle.vpc)).or_default().push_back(place);
        names.entry(&handle.name).or_insert([0, 0, place])[0] += 1;
    }
    for handle in given {
        if let Some(counts) = names.get_mut(handle.name.as_str()) {
            counts[1] += 1;
        }
    }
    let mut pairs = Vec::with_capacity(given.len());
    for handle in given {
        pairs.push(match names.get(handle.name.as_str()) {
            None => None,
            Some([1, 1, place]) => Some(*place),
            Some(_) => {
                places.get_mut(&(handle.name.as_str(), handle.vpc.as_str())).and_then(VecDeque::pop_front)
            }
        });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handles(texts: &[&str]) -> Vec<Handle> {
        texts
            .iter()
            .map(|text| {
                let (name, vpcs) = text.split_once(' ').unwrap_or((text, ""));
                Handle::new(name, vpcs.split(',').filter(|vpc| !vpc.is_empty()))
            })
            .collect()
    }

    #[test]
    fn items_of_all_lists_are_counted() {
        for (text, items) in [
            ("{}", 0),
            (r#"{"Zones":[{},{}]}"#, 2),
            (r#"{"Zones":[{"Records":[{"Rr":"[,,,\",,","Ttl":1},{}],"Tags":[]}],"Rules":[{}]}"#, 5),
            (r#"{"CustomLines":[{"Ipv4s":["","",""]}]}"#, 4),
            ("[[[[", 4),
        ] {
            let padded = format!("{text}{}", " ".repeat(64));
            let counted = (0..20).find(|most| !has_more_items(&padded, *most));
            assert_eq!(counted, Some(items), "{text}");
        }
    }

    #[test]
    fn a_document_of_too_many_items_is_refused_before_it_is_read() {
        for (head, item, tail) in [
            ("{\"Zones\":[", "{},", "{}]}"),
            ("{\"Zones\":[{\"Records\":[", "{},", "{}]}]}"),
            ("{\"CustomLines\":[{\"Ipv4s\":[", "\"\",", "\"\"]}]}"),
        ] {
            let document = |items: usize| format!("{head}{}{tail}", item.repeat(items));
            let error = read(&document(MAX_ITEMS + 1)).unwrap_err();
            assert!(error.contains("more than 400000 items") && error.contains("in parts"), "{error}");
            assert!(read(&document(MAX_ITEMS - 2)).is_ok());
        }
    }

    #[test]
    fn a_name_that_is_unique_is_enough_and_else_the_first_vpc_decides() {
        for (given, present, pairs) in [
            (&["A.example. v1"][..], &["b.example", "a.example v2"][..], vec![Some(1)]),
            (&["a v1", "a v2"], &["a v3,v2", "a v1"], vec![Some(1), Some(0)]),
            (&["a v1", "a v2"], &["a v9"], vec![None, None]),
            (&["a", "a"], &["a", "a", "a v1"], vec![Some(0), Some(1)]),
            (&["a v1"], &["a v2", "a v3"], vec![None]),
        ] {
            assert_eq!(pair(&handles(given), &handles(present)), pairs, "{given:?} {present:?}");
        }
    }
}
