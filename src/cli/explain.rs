//! `pvtzd explain NAME [TYPE]`: the whole path of a question, without a query.

use super::run::service_state_dir;
use super::{CommonArgs, ExplainArgs, exit, shown};
use crate::base::clock::Clock;
use crate::config::{Config, InstanceInfo};
use crate::daemon::secondaries;
use crate::engine::answer::{Hop, Source};
use crate::engine::catalog::{Catalog, View};
use crate::engine::chain::{DryRun, DryRunEnd, Fetch, dry_run};
use crate::engine::hosts::{Hosts, HostsLookup};
use crate::engine::name::{self, NameKey, show, unicode};
use crate::engine::precheck::{Precheck, precheck};
use crate::engine::rcode::show_rcode;
use crate::engine::record::{parse_type, show_type, show_value};
use crate::engine::request::Question;
use crate::engine::text::printable;
use crate::engine::zone::{MissingType, Wildcards, Zone, ZoneAvailability, ZoneMode, ZoneOrigin};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use serde::Serialize;
use std::sync::Arc;

/// What `--json` prints.
#[derive(Serialize)]
struct Explanation {
    client: String,
    vpc: Option<String>,
    region: Option<String>,
    hops: Vec<ExplainedHop>,
    records: Vec<shown::ShownRecord>,
    /// The code, or `FORWARD` when an upstream has the last word.
    result: String,
    /// What an upstream would be asked, and whom.
    asks: Option<AskedGroup>,
}

#[derive(Serialize)]
struct ExplainedHop {
    name: String,
    /// The name in Unicode, where it has A-labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    unicode: Option<String>,
    #[serde(rename = "type")]
    rtype: String,
    /// hosts, zone, local, minimal, forward or loop
    source: &'static str,
    /// The zone or rule, if one is meant.
    matched: Option<String>,
    why: String,
}

#[derive(Serialize)]
struct AskedGroup {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    servers: String,
}

/// Carries the command out.
pub(super) fn run(common: &CommonArgs, args: &ExplainArgs) -> u8 {
    let mut config = match common.load_or_tell() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let state_dir = config.server.state_dir.clone().or_else(service_state_dir);
    secondaries::restore(&mut config, state_dir.as_deref(), Clock::start().now());
    let question = match question(&args.name, &args.rtype) {
        Ok(question) => question,
        Err(error) => {
            eprintln!("error: {error}");
            return 2;
        }
    };
    let instance = InstanceInfo { region: args.region.clone(), vpc_id: None };
    let catalog = config.catalog(&instance, 1);
    let client = args.client.to_canonical();
    let allowed = config.server.allow.iter().any(|net| net.contains(&client));
    let screening = Precheck { allowed, version_bind: config.server.version_bind };
    if let Some(answer) = precheck(&question, screening) {
        let why = answer.error.map(|error| error.text.to_string()).unwrap_or_default();
        refused(common, args, &question, answer.rcode, why);
        return exit::OK;
    }
    let view = catalog.view(client);
    let outline = dry_run(view, &question);
    let explanation = explain(&config, &catalog, view, &question, &outline, client.to_string());
    if common.json {
        shown::json(&explanation)
    } else {
        print(&explanation)
    }
    exit::OK
}

/// A name and a type from the command line.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn question(name: &str, rtype: &str) -> Result<Question, String> {
    let name = name::parse(name)?;
    let rtype = parse_type(rtype)
        .ok_or_else(|| format!("`{}` is not a record type; write A, AAAA, … or TYPEn", printable(rtype)))?;
    Ok(Question::new(name, rtype))
}

fn refused(common: &CommonArgs, args: &ExplainArgs, question: &Question, rcode: ResponseCode, why: String) {
    let client = args.client.to_string();
    if common.json {
        let result = show_rcode(rcode, true);
        let hop = ExplainedHop {
            name: show(&question.name),
            unicode: unicode(&question.name),
            rtype: show_type(question.rtype),
            source: "refused",
            matched: None,
            why,
        };
        let (vpc, region, records, asks) = (None, None, Vec::new(), None);
        shown::json(&Explanation { client, vpc, region, hops: vec![hop], records, result, asks });
    } else {
        println!("client {client}: {}, since {why}", show_rcode(rcode, true));
    }
}

fn explain(
    config: &Config,
    catalog: &Catalog,
    view: &View,
    question: &Question,
    outline: &DryRun,
    client: String,
) -> Explanation {
    let rtype = show_type(question.rtype);
    let hops =
        outline.hops.iter().map(|hop| explain_hop(config, catalog, view, outline, hop, &rtype)).collect();
    let (result, asks) = match &outline.end {
        DryRunEnd::Answered(rcode) => (show_rcode(*rcode, outline.records.is_empty()), None),
        DryRunEnd::Forwarded(fetch) => ("FORWARD".to_string(), Some(asked(config, fetch))),
    };
    Explanation {
        client,
        vpc: view.vpc.as_ref().map(|vpc| vpc.id.clone()),
        region: view.vpc.as_ref().and_then(|vpc| vpc.region.clone()),
        hops,
        records: outline.records.iter().map(|record| shown::record(&record.into())).collect(),
        result,
        asks,
    }
}

fn asked(config: &Config, fetch: &Fetch) -> AskedGroup {
    AskedGroup {
        name: show(&fetch.question.name),
        rtype: show_type(fetch.question.rtype),
        servers: shown::servers(config, fetch.group),
    }
}

fn explain_hop(
    config: &Config,
    catalog: &Catalog,
    view: &View,
    outline: &DryRun,
    hop: &Hop,
    rtype: &str,
) -> ExplainedHop {
    let own: Vec<String> = outline
        .records
        .iter()
        .filter(|record| record.name == hop.name)
        .map(|record| {
            format!("{} {}, TTL {}", show_type(record.record_type()), show_value(&record.data), record.ttl)
        })
        .collect();
    let here = if own.is_empty() { "no records of this type".to_string() } else { own.join("; ") };
    let (source, matched, why) = match &hop.source {
        Source::Zone(apex) => {
            let zone = view
                .zone_of(apex)
                .or_else(|| catalog.zones().iter().map(|(zone, _)| zone).find(|z| z.apex() == apex));
            let settings = zone.map(|zone| describe(zone)).unwrap_or_default();
            let here = match zone.map(|zone| zone.availability) {
                Some(ZoneAvailability::NotTransferred) => "there is no copy of it to answer from".to_string(),
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
        Source::Local(zone) => {
            ("local", Some(zone.to_string()), format!("special-use name, answered locally as {zone}: {here}"))
        }
        Source::Minimal => ("minimal", None, "ANY is answered with HINFO (RFC 8482)".to_string()),
        Source::Forwarded { rule, group, through } => {
            let by = match rule {
                Some(rule) => format!("forwarding rule {rule}"),
                None => "no forwarding rule: the default upstreams".to_string(),
            };
            let first = match through {
                Some(zone) => {
                    format!(
                        "private zone {zone} has no such record and forwards the name (recursion proxy \
                             on); "
                    )
                }
                None => "no private zone; ".to_string(),
            };
            let matched = rule.as_ref().map(ToString::to_string);
            let kept = retained(config, &hop.name, rtype).unwrap_or_default();
            ("forward", matched, format!("{first}{by}: {}{kept}", shown::servers(config, *group)))
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

/// How the last good answer of a name is retained, if it is.
fn retained(config: &Config, name: &Name, rtype: &str) -> Option<String> {
    let place = config.retain.find(NameKey::of(name).wire(), parse_type(rtype)?)?;
    let rule = config.retain.rules.get(place)?;
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

fn print(explanation: &Explanation) {
    let vpc = match (&explanation.vpc, &explanation.region) {
        (Some(vpc), Some(region)) => format!("in VPC {vpc} ({region})"),
        (Some(vpc), None) => format!("in VPC {vpc} (region unknown)"),
        (None, _) => "in no VPC".to_string(),
    };
    println!("client {} is {vpc}", explanation.client);
    for (number, hop) in explanation.hops.iter().enumerate() {
        let unicode = hop.unicode.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        println!("{}. {} {}{unicode}", number + 1, hop.name, hop.rtype);
        println!("   {}", printable(&hop.why));
    }
    match &explanation.asks {
        Some(asks) => println!(
            "result: would query {} for {} {}; the upstream sets the response code",
            asks.servers, asks.name, asks.rtype
        ),
        None => println!("result: {}", explanation.result),
    }
}
