//! The document of import, export and diff: an account in PrivateZone's own field names, without ids and times.
//!
//! Plain data, the same on the wire (JSON) and in files (JSON or TOML). What values may be is not checked here: a
//! document with a hundred wrong records is to be told all hundred.

use crate::api::Params;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

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
            true => serde_json::from_str(text).map_err(|error| error.to_string()),
            false => toml::from_str(text).map_err(|error| error.to_string()),
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
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, handle) in present.iter().enumerate() {
        places.entry(&handle.name).or_default().push(place);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for handle in given {
        *counts.entry(&handle.name).or_default() += 1;
    }
    let singles: HashSet<&str> = places
        .iter()
        .filter(|(name, left)| left.len() == 1 && counts.get(*name) == Some(&1))
        .map(|(name, _)| *name)
        .collect();
    let find = |handle: &Handle| {
        let left = places.get_mut(handle.name.as_str())?;
        let is_it =
            |place: &usize| singles.contains(handle.name.as_str()) || present[*place].vpc == handle.vpc;
        left.iter().position(is_it).map(|at| left.remove(at))
    };
    given.iter().map(find).collect()
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
