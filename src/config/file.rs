//! The file's sections, key by key: [`Spec`] mirrors the file and remembers where things were written. Every key is
//! read here or in a file named after its section; a missing or invalid value has its default.

use super::admin;
use super::admin::{Admin, Log, TopConfig};
use super::api;
use super::api::Api;
use super::fleet;
use super::hosts_file::{self, HostsEntry};
use super::reader::{ConfigReader, Origin, Span, Spanned};
use super::retain;
use super::secondary::{self, Secondary};
use super::section::Section;
use super::sections::{not_empty, path, read_each, read_one, values, vpc_ids};
use super::server;
use super::suggest;
use super::value::Value;
use super::zone_draft::{self, ZoneDraftEntry};
use super::zones;
use super::{
    Cache, EndpointTarget, Endpoints, Expect, Expected, Regions, ServerConfig, Servers, UpstreamConfig,
    endpoints,
};
use crate::engine::catalog::Vpc;
use crate::engine::name::NameKey;
use crate::engine::rebinding::Rebinding;
use crate::engine::retain::RetainRules;
use crate::engine::{name, record};
use crate::upstream::{ServerAddress, Strategy};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// The words for [`Strategy`].
const STRATEGIES: [(&str, Strategy); 3] =
    [("failover", Strategy::Failover), ("fastest", Strategy::Fastest), ("parallel", Strategy::Parallel)];

/// The content of the file by section, with the places for later checks.
pub(super) struct Spec {
    /// `[server]`
    pub server: ServerConfig,
    /// The listen addresses with their places.
    pub listen: Vec<Spanned<SocketAddr>>,
    /// Those of DNS over TLS and over HTTPS.
    pub listen_tls: Vec<Spanned<SocketAddr>>,
    /// Those of DNS over QUIC and over HTTP/3.
    pub listen_quic: Vec<Spanned<SocketAddr>>,
    /// `[endpoints]`
    pub endpoints: Endpoints,
    /// The listed regions with their places.
    pub regions: Vec<Spanned<String>>,
    /// `[upstream]`
    pub upstream: UpstreamConfig,
    /// The listed servers with their places.
    pub servers: Vec<Spanned<ServerAddress>>,
    /// `[cache]`
    pub cache: Cache,
    /// `[control]`
    pub control: Option<Api>,
    /// `[fleet]`
    pub fleet: Option<super::Fleet>,
    /// `[ops]`
    pub ops: Admin,
    /// `[log]`
    pub log: Log,
    /// `[top]`
    pub top: TopConfig,
    /// Where the API listens, with the places.
    pub control_listen: Vec<Spanned<SocketAddr>>,
    /// `[[forward]]`
    pub forwards: Vec<ForwardEntry>,
    /// `[[vpc]]`
    pub vpcs: Vec<VpcEntry>,
    /// `[[zone]]`
    pub zones: Vec<ZoneDraftEntry>,
    /// `[[secondary]]`; their zones are the last of the zones.
    pub secondaries: Vec<Secondary>,
    /// `[[retain]]`
    pub retain: RetainRules,
    /// All their primaries with their places.
    pub primaries: Vec<Spanned<SocketAddr>>,
    /// `[[hosts]]`
    pub hosts: Vec<HostsEntry>,
    /// `[[expect]]`
    pub expects: Vec<Expect>,
}

/// A forwarding rule as written.
pub(super) struct ForwardEntry {
    /// Its name.
    pub zone: Spanned<Name>,
    /// Its servers.
    pub servers: Vec<Spanned<ServerAddress>>,
    /// In which order they are asked.
    pub strategy: Strategy,
    /// Its VPCs; None means all clients.
    pub vpcs: Option<Vec<Spanned<String>>>,
}

/// A VPC as written.
pub(super) struct VpcEntry {
    /// What it says.
    pub vpc: Vpc,
    /// Where its id is.
    pub at: Span,
    /// Where each of its ranges is.
    pub clients_at: Vec<Span>,
}

/// Reads the whole file; `zones` are its zones where they were read before, piece by piece.
pub(super) fn read<'a>(
    reader: &'a ConfigReader<'a>,
    table: &'a DeTable<'a>,
    origin: Origin,
    zones: Option<Vec<ZoneDraftEntry>>,
) -> Spec {
    let mut top = Section::new(reader, table, origin, Span::default());
    let (server, [listen, listen_tls, listen_quic]) = read_one(reader, &mut top, "server", server::server);
    let (endpoints, regions) = read_one(reader, &mut top, "endpoints", endpoints);
    let (upstream, servers) = read_one(reader, &mut top, "upstream", upstream);
    let cache = read_one(reader, &mut top, "cache", |section| cache(reader, section));
    let ops = read_one(reader, &mut top, "ops", admin::ops);
    let log = read_one(reader, &mut top, "log", admin::log);
    let top_lists = read_one(reader, &mut top, "top", admin::top);
    let strategy = upstream.strategy;
    let forwards = read_each(reader, &mut top, "forward", |section| forward(section, strategy));
    let vpcs = read_each(reader, &mut top, "vpc", vpc);
    let mut zones = match zones {
        Some(zones) => {
            top.allow("zone");
            zones
        }
        None => {
            let mut zones = read_each(reader, &mut top, "zone", zone_draft::zone);
            zone_draft::load_files(reader, &mut zones);
            zones
        }
    };
    let retain = read_each(reader, &mut top, "retain", retain::retain);
    let retain = retain::join(reader, retain);
    let keys = read_each(reader, &mut top, "tsig", secondary::tsig);
    secondary::check_keys(reader, &keys);
    let secondaries = read_each(reader, &mut top, "secondary", secondary::secondary);
    let (secondaries, primaries) = secondary::join(reader, secondaries, &keys, &mut zones);
    let without_localhost = server.local_names.localhost;
    let hosts = read_each(reader, &mut top, "hosts", |section| hosts_file::hosts(section, without_localhost));
    hosts_file::check_octets(&hosts, reader);
    let expects = read_each(reader, &mut top, "expect", |section| expect(reader, section));
    let (control, control_listen) = api(reader, &mut top).unzip();
    top.allow("fleet");
    let fleet = top.has("fleet").then(|| read_one(reader, &mut top, "fleet", fleet::fleet)).flatten();
    top.finish();
    Spec {
        server,
        listen,
        listen_tls,
        listen_quic,
        endpoints,
        regions,
        upstream,
        servers,
        cache,
        control,
        fleet,
        control_listen: control_listen.unwrap_or_default(),
        ops,
        log,
        top: top_lists,
        forwards,
        vpcs,
        zones,
        secondaries,
        retain,
        primaries,
        hosts,
        expects,
    }
}

/// The section of the API: `[api]`, or by its older name `[control]`.
fn api<'a>(
    reader: &'a ConfigReader<'a>,
    top: &mut Section<'a>,
) -> Option<(super::Api, Vec<Spanned<std::net::SocketAddr>>)> {
    if let (Some(control), Some(api)) = (top.value("control"), top.value("api")) {
        let text =
            format!("[control] is the older name of [api], which is on line {} too", reader.line_of(&api.at));
        reader.error(&control.at, text, "put all keys under one of the two names".to_string());
    }
    let name = if top.has("api") { "api" } else { "control" };
    top.has(name).then(|| read_one(reader, top, name, api::control))
}

/// `[endpoints]`
fn endpoints(section: &mut Section) -> (Endpoints, Vec<Spanned<String>>) {
    let default = Endpoints::default();
    let mut listed = Vec::new();
    let regions = section.take("regions", |value| match value.raw() {
        DeValue::String(_) => value.one_of(&[("auto", Regions::Auto), ("all", Regions::All)]),
        DeValue::Array(_) => {
            let hint = "leave `regions` out for this instance's; `products = []` switches the catalogue off";
            listed = value.some("no region", hint, |item| known(item, &endpoints::regions()))?;
            Some(Regions::Listed(listed.iter().map(|item| item.value.clone()).collect()))
        }
        _ => value.wrong_type("\"auto\", \"all\" or a list of regions", None),
    });
    let products = section.take("products", |value| match value.raw() {
        DeValue::String(_) => value.one_of(&[("all", endpoints::products())]),
        DeValue::Array(_) => Some(values(value.list(|item| {
            let text = item.text()?;
            let found = endpoints::product(text).map(str::to_string);
            found.or_else(|| item.unknown_word(text, &names(&endpoints::products())))
        })?)),
        _ => value.wrong_type("\"all\" or a list of products", None),
    });
    let targets =
        [("popunify-vpc", EndpointTarget::PopunifyVpc), ("product-vpc", EndpointTarget::ProductVpc)];
    let endpoints = Endpoints {
        regions: regions.unwrap_or(default.regions),
        products: products.unwrap_or(default.products),
        target: section.take("target", |value| value.one_of(&targets)).unwrap_or(default.target),
        ttl: section.take("ttl", Value::ttl).unwrap_or(default.ttl),
    };
    (endpoints, listed)
}

/// One of the words that are known.
fn known(value: &Value, words: &[String]) -> Option<String> {
    let text = value.text()?;
    if words.iter().any(|word| word == text) {
        return Some(text.into());
    }
    value.unknown_word(text, &names(words))
}

/// Borrowed words.
fn names(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// `[upstream]`
fn upstream(section: &mut Section) -> (UpstreamConfig, Vec<Spanned<ServerAddress>>) {
    let default = UpstreamConfig::default();
    let mut listed = Vec::new();
    let servers = section.take("servers", |value| match value.raw() {
        DeValue::String(text) if text == "system" => Some(Servers::System),
        DeValue::Array(_) => {
            listed = value.list(Value::server)?;
            Some(Servers::Listed(listed.iter().map(|item| item.value.clone()).collect()))
        }
        DeValue::String(text) => value.wrong_type(
            "\"system\" or a list of servers",
            match suggest::suggest(text, ["system"]) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("write servers = [\"{}\"]", super::reader::shortened(text)),
            },
        ),
        _ => value.wrong_type("\"system\" or a list of servers", None),
    });
    let upstream = UpstreamConfig {
        servers: servers.unwrap_or(default.servers),
        strategy: section.take("strategy", |value| value.one_of(&STRATEGIES)).unwrap_or(default.strategy),
        max_in_flight: section
            .take("max_in_flight", |value| Some(value.integer(1..=60_000)? as usize))
            .unwrap_or(default.max_in_flight),
        tls_ca: path(section, "tls_ca"),
        bootstrap: values(
            section.take("bootstrap", |value| value.list(Value::bootstrap)).unwrap_or_default(),
        ),
        rebinding: rebinding(section),
    };
    (upstream, listed)
}

/// `rebind_protection` and its exceptions.
fn rebinding(section: &mut Section) -> Rebinding {
    let barred = section.take("rebind_protection", Value::flag).unwrap_or(false);
    let exceptions = section.take("rebind_exceptions", |value| value.list(Value::name)).unwrap_or_default();
    match barred {
        true => Rebinding::Barred(exceptions.iter().map(|name| NameKey::of(&name.value)).collect()),
        false => Rebinding::Allowed,
    }
}

/// `[cache]`
fn cache(reader: &ConfigReader, section: &mut Section) -> Cache {
    let default = Cache::default();
    let hour = Duration::from_secs(3600);
    let min_ttl = section.take_located("min_ttl", Value::ttl);
    let cache = Cache {
        size: section.take("size", |value| value.bytes(64 << 10..=1 << 40)).unwrap_or(default.size),
        min_ttl: min_ttl.as_ref().map_or(default.min_ttl, |ttl| ttl.value),
        max_ttl: section.take("max_ttl", Value::ttl).unwrap_or(default.max_ttl),
        negative_max_ttl: section.take("negative_max_ttl", Value::ttl).unwrap_or(default.negative_max_ttl),
        serve_stale: section
            .take("serve_stale", |value| match value.raw() {
                DeValue::String(text) if text == "off" => Some(None),
                DeValue::Boolean(false) => {
                    value.wrong_type("a duration or \"off\"", "write \"off\"".to_string())
                }
                _ => value.duration(Duration::from_secs(1)..=hour * 24 * 30).map(Some),
            })
            .unwrap_or(default.serve_stale),
        // After 4 seconds the client has an answer, and soon after that it times out.
        stale_answer_after: section
            .take("stale_answer_after", |value| value.duration(Duration::ZERO..=Duration::from_secs(4)))
            .unwrap_or(default.stale_answer_after),
        stale_retry: section
            .take("stale_retry", |value| value.duration(Duration::from_secs(1)..=hour))
            .unwrap_or(default.stale_retry),
        stale_ttl: section.take("stale_ttl", Value::ttl).unwrap_or(default.stale_ttl),
        prefetch: section.take("prefetch", Value::flag).unwrap_or(default.prefetch),
        max_rrset_records: section
            .take("max_rrset_records", |value| Some(value.integer(1..=65_535)? as u16))
            .unwrap_or(default.max_rrset_records),
        nxdomain_cut: section.take("nxdomain_cut", Value::flag).unwrap_or(default.nxdomain_cut),
        snapshot_every: section
            .take("snapshot_every", |value| value.duration(Duration::from_secs(1)..=hour * 24))
            .unwrap_or(default.snapshot_every),
    };
    if let Some(min_ttl) = min_ttl
        && min_ttl.value > cache.max_ttl
    {
        let message = format!("min_ttl {} is above max_ttl {}", cache.min_ttl, cache.max_ttl);
        reader.error(&min_ttl.at, message, "lower one or raise the other".to_string());
    }
    cache
}

/// `[[forward]]`
fn forward(section: &mut Section, default: Strategy) -> Option<ForwardEntry> {
    let zone = section.require("zone", "\"corp.example\"", Value::name);
    let servers = section.require("servers", "[\"10.1.0.53\"]", |value| {
        value.some("a rule without servers", "name at least one: servers = [\"10.1.0.53\"]", Value::server)
    });
    let strategy = section.take("strategy", |value| value.one_of(&STRATEGIES));
    let vpcs = section.take("vpcs", vpc_ids);
    Some(ForwardEntry { zone: zone?, servers: servers?.value, strategy: strategy.unwrap_or(default), vpcs })
}

/// `[[vpc]]`. If only the clients are invalid, the id still counts as known.
fn vpc(section: &mut Section) -> Option<VpcEntry> {
    let id = section.require("id", "\"vpc-lab\"", not_empty);
    let region = section.take("region", not_empty);
    let clients = section.require("clients", "[\"10.0.0.0/8\"]", |value| {
        value.some(
            "a VPC without clients",
            "name at least one range: clients = [\"10.0.0.0/8\"]",
            Value::network,
        )
    });
    let (clients, clients_at) =
        clients.into_iter().flat_map(|clients| clients.value).map(|item| (item.value, item.at)).unzip();
    let id = id?;
    Some(VpcEntry { vpc: Vpc { id: id.value, region, clients }, at: id.at, clients_at })
}

/// `[[expect]]`
fn expect(reader: &ConfigReader, section: &mut Section) -> Option<Expect> {
    let query = section.require("query", "\"www.example\"", Value::name);
    let rtype = section.take("type", zones::record_type);
    let client = section.take("client", Value::ip);
    let answer = match (rtype, section.has("type")) {
        (None, true) => section.value("answer").and(None), // a value of an unknown type cannot be parsed
        _ => section
            .require("answer", "\"192.0.2.1\"", |value| expected(value, rtype.unwrap_or(RecordType::A))),
    }?;
    Some(Expect {
        query: query?.value,
        rtype: rtype.unwrap_or(RecordType::A),
        client: client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        line: reader.line_of(&answer.at),
        answer: answer.value,
    })
}

/// `answer`: a word, a value, or a list of values.
fn expected(value: &Value, rtype: RecordType) -> Option<Expected> {
    match value.raw() {
        DeValue::String(text) if text == "NXDOMAIN" => Some(Expected::NxDomain),
        DeValue::String(text) if text == "NODATA" => Some(Expected::NoData),
        DeValue::String(text) if text == "FORWARD" => Some(Expected::Forward),
        DeValue::String(_) => Some(Expected::Values(vec![expected_value(value, rtype)?])),
        DeValue::Array(_) => {
            let hint = "write \"NODATA\" or \"NXDOMAIN\"";
            let found = value.some("no values", hint, |item| expected_value(item, rtype))?;
            Some(Expected::Values(values(found)))
        }
        _ => value.wrong_type("a string or a list of strings", None),
    }
}

/// A value of the type asked for, or `CNAME <target>` for a step of the chain.
fn expected_value(value: &Value, rtype: RecordType) -> Option<RData> {
    let text = value.text()?;
    let parsed = match text.strip_prefix("CNAME ") {
        Some(target) => name::parse(target.trim()).map(|target| RData::CNAME(CNAME(target))),
        None => record::parse_value(rtype, text),
    };
    let hint = || "also: \"CNAME target.example\", \"NXDOMAIN\", \"NODATA\", \"FORWARD\"".to_string();
    parsed.or_else(|why| value.wrong(why, hint()).ok_or(())).ok()
}
