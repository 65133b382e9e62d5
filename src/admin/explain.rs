//! The whole path of a question, without a query: what `pvtzd explain` prints and the console draws.

use crate::engine::answer::{Hop, Source};
use crate::engine::catalog::{Catalog, GroupKey, View};
use crate::engine::chain::{DryRun, DryRunEnd, Fetch, dry_run};
use crate::engine::hosts::{Hosts, HostsLookup};
use crate::engine::name::{self, NameKey, show, unicode};
use crate::engine::precheck::{Precheck, precheck};
use crate::engine::rcode::show_rcode;
use crate::engine::record::{parse_type, show_type, show_value};
use crate::engine::request::Question;
use crate::engine::retain::RetainRules;
use crate::engine::text::{TextRecord, printable};
use crate::engine::zone::{MissingType, Wildcards, Zone, ZoneAvailability, ZoneMode, ZoneOrigin};
use hickory_proto::rr::{Name, RData, RecordType};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// The path of a question.
#[derive(Serialize)]
pub struct Explanation {
    /// The client.
    pub client: String,
    /// The VPC of the client.
    pub vpc: Option<String>,
    /// The region of the VPC.
    pub region: Option<String>,
    /// The names of the chain.
    pub hops: Vec<ExplainedHop>,
    /// The records of local data.
    pub records: Vec<ShownRecord>,
    /// The response code, or `FORWARD` if it comes from an upstream.
    pub result: String,
    /// The query to an upstream, if there is one, and the servers.
    pub asks: Option<AskedGroup>,
}

/// A name of the chain.
#[derive(Serialize)]
pub struct ExplainedHop {
    /// The name.
    pub name: String,
    /// The name in Unicode, where it has A-labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unicode: Option<String>,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// hosts, zone, local, minimal, forward, loop or refused
    pub source: &'static str,
    /// The zone or rule, if there is one.
    pub matched: Option<String>,
    /// The source of the answer, as text.
    pub why: String,
}

/// What an upstream would be asked.
#[derive(Serialize)]
pub struct AskedGroup {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The servers.
    pub servers: String,
}

/// A record as people and programs see it.
#[derive(Serialize)]
pub struct ShownRecord {
    name: String,
    /// The name in Unicode, where it has A-labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    unicode: Option<String>,
    ttl: u32,
    #[serde(rename = "type")]
    rtype: String,
    value: String,
}

impl From<&TextRecord> for ShownRecord {
    fn from(entry: &TextRecord) -> Self {
        Self {
            name: entry.owner(),
            unicode: unicode(&entry.name),
            ttl: entry.ttl,
            rtype: entry.type_name(),
            value: entry.value(),
        }
    }
}

/// Where names are answered, and how the servers of a group are told.
pub struct ExplainedCatalog<'c> {
    /// The catalog.
    pub catalog: &'c Catalog,
    /// The rules for retained names.
    pub retain: &'c RetainRules,
    /// The servers of a group.
    pub servers: &'c dyn Fn(GroupKey) -> String,
    /// The checks before the lookup.
    pub screening: Precheck,
}

/// A name and a type as they are written.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn question(name: &str, rtype: &str) -> Result<Question, String> {
    let name = name::parse(name)?;
    let rtype = parse_type(rtype)
        .ok_or_else(|| format!("`{}` is not a record type; write A, AAAA, … or TYPEn", printable(rtype)))?;
    Ok(Question::new(name, rtype))
}

impl ExplainedCatalog<'_> {
    /// The path of a client's query, and the fetch from an upstream, if it needs one.
    pub fn explain(&self, question: &Question, client: IpAddr) -> (Explanation, Option<Fetch>) {
        if let Some(answer) = precheck(question, self.screening) {
            let hop = ExplainedHop {
                name: show(&question.name),
                unicode: unicode(&question.name),
                rtype: show_type(question.rtype),
                source: "refused",
                matched: None,
                why: answer.error.map(|error| error.text.to_string()).unwrap_or_default(),
            };
            let (vpc, region, records, asks) = (None, None, Vec::new(), None);
            let result = show_rcode(answer.rcode, true);
            let client = client.to_string();
            return (Explanation { client, vpc, region, hops: vec![hop], records, result, asks }, None);
        }
        let view = self.catalog.view(client);
        let outline = dry_run(view, question);
        let rtype = show_type(question.rtype);
        let hops = outline.hops.iter().map(|hop| self.hop(view, &outline, hop, &rtype)).collect();
        let (result, asks) = match &outline.end {
            DryRunEnd::Answered(rcode) => (show_rcode(*rcode, outline.records.is_empty()), None),
            DryRunEnd::Forwarded(fetch) => ("FORWARD".to_string(), Some(self.asked(fetch))),
        };
        let explanation = Explanation {
            client: client.to_string(),
            vpc: view.vpc.as_ref().map(|vpc| vpc.id.clone()),
            region: view.vpc.as_ref().and_then(|vpc| vpc.region.clone()),
            hops,
            records: outline.records.iter().map(|record| (&TextRecord::from(record)).into()).collect(),
            result,
            asks,
        };
        let fetch = match outline.end {
            DryRunEnd::Forwarded(fetch) => Some(fetch),
            DryRunEnd::Answered(_) => None,
        };
        (explanation, fetch)
    }

    fn asked(&self, fetch: &Fetch) -> AskedGroup {
        AskedGroup {
            name: show(&fetch.question.name),
            rtype: show_type(fetch.question.rtype),
            servers: (self.servers)(fetch.group),
        }
    }

    fn hop(&self, view: &View, outline: &DryRun, hop: &Hop, rtype: &str) -> ExplainedHop {
        let own: Vec<String> = outline
            .records
            .iter()
            .filter(|record| record.name == hop.name)
            .map(|record| {
                format!(
                    "{} {}, TTL {}",
                    show_type(record.record_type()),
                    show_value(&record.data),
                    record.ttl
                )
            })
            .collect();
        let here = if own.is_empty() { "no records of this type".to_string() } else { own.join("; ") };
        let (source, matched, why) = match &hop.source {
            Source::Zone(apex) => {
                let zone = view
                    .zone_of(apex)
                    .or_else(|| self.catalog.zones().iter().map(|(zone, _)| zone).find(|z| z.apex() == apex));
                let settings = zone.map(|zone| describe(zone)).unwrap_or_default();
                let here = match zone.map(|zone| zone.availability) {
                    Some(ZoneAvailability::NotTransferred) => {
                        "there is no copy of it to answer from".to_string()
                    }
                    Some(ZoneAvailability::Expired) => "its copy has expired".to_string(),
                    Some(ZoneAvailability::Ready) | None => here,
                };
                ("zone", Some(apex.to_string()), format!("private zone {apex} ({settings}): {here}"))
            }
            Source::Hosts => {
                let key = NameKey::of(&hop.name);
                let has = |hosts: &&Arc<Hosts>| {
                    !matches!(hosts.lookup(&key, RecordType::A), HostsLookup::Missing | HostsLookup::Above)
                };
                let file = view.hosts().iter().find(has).map(|hosts| hosts.file.clone());
                let why = format!("hosts file {}: {here}", file.as_deref().unwrap_or_default());
                ("hosts", file, why)
            }
            Source::Local(zone) => (
                "local",
                Some(zone.to_string()),
                format!("special-use name, answered locally as {zone}: {here}"),
            ),
            Source::Minimal => ("minimal", None, "ANY is answered with HINFO (RFC 8482)".to_string()),
            Source::Forwarded { rule, group, through } => {
                let by = match rule {
                    Some(rule) => format!("forwarding rule {rule}"),
                    None => "no forwarding rule: the default upstreams".to_string(),
                };
                let first = match through {
                    Some(zone) => {
                        format!(
                            "private zone {zone} has no such record and forwards the name (recursion proxy on); "
                        )
                    }
                    None => "no private zone; ".to_string(),
                };
                let matched = rule.as_ref().map(ToString::to_string);
                let kept = retained(self.retain, &hop.name, rtype).unwrap_or_default();
                ("forward", matched, format!("{first}{by}: {}{kept}", (self.servers)(*group)))
            }
            Source::Loop => ("loop", None, "already in the chain: the chain ends here".to_string()),
        };
        ExplainedHop {
            name: show(&hop.name),
            unicode: unicode(&hop.name),
            rtype: rtype.to_string(),
            source,
            matched,
            why,
        }
    }
}

/// How the last good answer of a name is retained, if it is.
fn retained(retain: &RetainRules, name: &Name, rtype: &str) -> Option<String> {
    let place = retain.find(NameKey::of(name).wire(), parse_type(rtype)?)?;
    let rule = retain.rules.get(place)?;
    let (confirm, stale) = (rule.confirm_ms / 1000, rule.stale_ms / 1000);
    let by = if rule.is_subtree { "suffix" } else { "name" };
    Some(format!(
        "; retained by {by} {}: a denial is believed after {confirm} s, the last good answer is served for {stale} s",
        rule.name
    ))
}

/// A zone's settings in a few words; `on_missing_type` is named because the product's texts leave it open.
fn describe(zone: &Zone) -> String {
    let mut words = vec![match zone.origin {
        ZoneOrigin::File => "configuration file",
        ZoneOrigin::Secondary => "secondary zone",
        ZoneOrigin::Endpoints => "catalogue of API names",
        ZoneOrigin::Api => "PrivateZone API",
    }];
    words.push(match zone.mode {
        ZoneMode::Override => "recursion proxy off",
        ZoneMode::RecursionProxy => "recursion proxy on",
    });
    let serial = zone.soa().values().next().and_then(|data| match data {
        RData::SOA(soa) => Some(format!("serial {}", soa.serial)),
        _ => None,
    });
    let has_copy =
        zone.origin == ZoneOrigin::Secondary && zone.availability != ZoneAvailability::NotTransferred;
    let serial = serial.filter(|_| has_copy).unwrap_or_default();
    if has_copy {
        words.insert(1, &serial);
    }
    if zone.mode == ZoneMode::RecursionProxy {
        words.push(match zone.on_missing_type {
            MissingType::NoData => "on_missing_type nodata",
            MissingType::Forward => "on_missing_type forward",
        });
        if zone.wildcards == Wildcards::OffWithProxy {
            words.push("wildcards off");
        }
    }
    words.join(", ")
}
