//! The parts of a file held against each other: what contradicts itself. Zones and rules in the catalog are judged by the
//! engine itself; here its verdicts get their places in the file.

use super::file::Spec;
use super::reader::{ConfigReader, Span, Spanned, listed};
use super::suggest;
use crate::engine::catalog::{CatalogFault, CatalogOutline, Scope, Vpc};
use crate::engine::name::{self, NameKey};
use std::collections::HashSet;
use std::net::SocketAddr;

/// Who sees each rule and each zone, in the order of the file.
pub(super) struct Scopes {
    /// Of the rules.
    pub forwards: Vec<Scope>,
    /// Of the zones.
    pub zones: Vec<Scope>,
    /// Of the hosts files.
    pub hosts: Vec<Scope>,
}

/// Notes everything that contradicts itself, records of one zone apart.
pub(super) fn contradictions(reader: &ConfigReader, spec: &Spec) -> Scopes {
    listeners(reader, spec);
    primaries(reader, spec);
    let ids: Vec<&str> = spec.vpcs.iter().map(|entry| entry.vpc.id.as_str()).collect();
    let known = ids.iter().copied().collect();
    let scope = |vpcs: &Option<Vec<_>>| scope(reader, &ids, &known, vpcs.as_deref());
    let scopes = Scopes {
        forwards: spec.forwards.iter().map(|entry| scope(&entry.vpcs)).collect(),
        zones: spec.zones.iter().map(|entry| scope(&entry.vpcs)).collect(),
        hosts: spec.hosts.iter().map(|entry| scope(&entry.vpcs)).collect(),
    };
    let vpcs: Vec<Vpc> = spec.vpcs.iter().map(|entry| entry.vpc.clone()).collect();
    let apexes: Vec<NameKey> = spec.zones.iter().map(|entry| NameKey::of(&entry.spec.apex)).collect();
    let suffixes: Vec<NameKey> = spec.forwards.iter().map(|entry| NameKey::of(&entry.zone.value)).collect();
    let outline = CatalogOutline {
        vpcs: &vpcs,
        zones: apexes.iter().zip(&scopes.zones).collect(),
        rules: suffixes.iter().zip(&scopes.forwards).collect(),
    };
    for fault in outline.faults() {
        catalog_fault(reader, spec, &fault);
    }
    scopes
}

/// Addresses listened to twice, and upstream servers that are this server.
fn listeners(reader: &ConfigReader, spec: &Spec) {
    twice(
        reader,
        &spec.listen.iter().chain(&spec.listen_tls).chain(&spec.control_listen).collect::<Vec<_>>(),
    );
    // QUIC and HTTP/3 have UDP for themselves, and so may share the ports of TLS and HTTPS.
    twice(reader, &spec.listen.iter().chain(&spec.listen_quic).collect::<Vec<_>>());
    let servers = spec.servers.iter().chain(spec.forwards.iter().flat_map(|entry| &entry.servers));
    for server in servers {
        let addr = server.value.addr;
        if server.value.is_named() && spec.upstream.bootstrap.is_empty() {
            let message =
                format!("the address of {} cannot be resolved: there is no bootstrap server", server.value);
            let hint = "add bootstrap = [\"192.0.2.1\"] to [upstream], or write the server's address with its name \
                        behind a #: tls://192.0.2.1#dns.example";
            reader.error(&server.at, message, hint.to_string());
        }
        let mut own = spec.listen.iter().chain(&spec.listen_tls).chain(&spec.listen_quic);
        if let Some(own) = own.find(|own| is_own(own.value, addr)) {
            let place = place_of(reader, own);
            let message = format!("{addr} is this server itself: it listens on {} ({place})", own.value);
            let hint = "this would be a forwarding loop; use another server, or listen on another port";
            reader.error(&server.at, message, hint.to_string());
        }
    }
}

/// Primaries of secondary zones that are this server.
fn primaries(reader: &ConfigReader, spec: &Spec) {
    for primary in &spec.primaries {
        if let Some(own) = spec.listen.iter().find(|own| is_own(own.value, primary.value)) {
            let (place, address) = (place_of(reader, own), primary.value);
            let message = format!("{address} is this server itself: it listens on {} ({place})", own.value);
            reader.error(&primary.at, message, "name the server that has the zone".to_string());
        }
    }
}

/// Notes addresses that are listened to twice.
fn twice(reader: &ConfigReader, all: &[&Spanned<SocketAddr>]) {
    for (place, item) in all.iter().enumerate() {
        // Port 0 is a new port each time.
        let first = all[..place].iter().find(|first| first.value == item.value);
        if let Some(first) = first.filter(|_| item.value.port() != 0) {
            let message =
                format!("{} is in use by another listener ({})", item.value, place_of(reader, first));
            reader.error(&item.at, message, "remove one".to_string());
        }
    }
}

/// Where a listener comes from.
fn place_of(reader: &ConfigReader, listener: &Spanned<SocketAddr>) -> String {
    match listener.at.span.is_empty() {
        true => "by default".to_string(),
        false => format!("line {}", reader.line_of(&listener.at)),
    }
}

/// True when a query to `server` would reach the listener `own`. A wildcard listener has the loopback addresses;
/// which others it has is not a known value.
fn is_own(own: SocketAddr, server: SocketAddr) -> bool {
    let (own_ip, ip) = (own.ip().to_canonical(), server.ip().to_canonical());
    own.port() == server.port()
        && (own_ip == ip || (own_ip.is_unspecified() && ip.is_loopback() && own_ip.is_ipv4() == ip.is_ipv4()))
}

/// Who sees a zone or a rule. VPCs that are not there, or are named twice, are noted and left out. `ids` are those of
/// all VPCs in the order of the file, and `known` the same.
fn scope(
    reader: &ConfigReader,
    ids: &[&str],
    known: &HashSet<&str>,
    vpcs: Option<&[Spanned<String>]>,
) -> Scope {
    let Some(vpcs) = vpcs else { return Scope::Everyone };
    let (mut named, mut seen) = (HashSet::new(), Vec::with_capacity(vpcs.len()));
    for vpc in vpcs {
        let id = vpc.value.as_str();
        if known.contains(id) {
            match named.insert(id) {
                true => seen.push(id.into()),
                false => {
                    reader.error(&vpc.at, format!("VPC `{id}` is listed twice"), "remove one".to_string())
                }
            }
        } else {
            let hint = match suggest::suggest(id, ids.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if ids.is_empty() => format!(
                    "there is no [[vpc]]; define one: [[vpc]], id = \"{id}\", clients = [\"10.0.0.0/8\"]; \
                     or omit `vpcs` for all clients"
                ),
                None => format!("configured are {}", listed(ids)),
            };
            reader.error(&vpc.at, format!("no VPC `{id}` is configured"), hint);
        }
    }
    Scope::Vpcs(seen)
}

/// Gives a catalog's fault its place.
fn catalog_fault(reader: &ConfigReader, spec: &Spec, fault: &CatalogFault) {
    let line = |at: &Span| reader.line_of(at);
    let seen_by = |vpc: &Option<String>| match vpc {
        Some(vpc) => format!("VPC `{vpc}` sees both"),
        None => "every client sees both".to_string(),
    };
    match fault {
        CatalogFault::ZoneTwice { first, second, vpc } => {
            let (first, second) = (&spec.zones[*first], &spec.zones[*second]);
            let name = name::show(&second.spec.apex);
            let message =
                format!("zone `{name}` is defined already (line {}); {}", line(&first.at), seen_by(vpc));
            let hint = "join the records in one zone, or give the zones different `vpcs`".to_string();
            reader.error(&second.at, message, hint);
        }
        CatalogFault::RuleTwice { first, second, vpc } => {
            let (first, second) = (&spec.forwards[*first].zone, &spec.forwards[*second].zone);
            let name = name::show(&second.value);
            let message = format!("`{name}` has a rule already (line {}); {}", line(&first.at), seen_by(vpc));
            let hint = "list all servers in one rule, or give the rules different `vpcs`".to_string();
            reader.error(&second.at, message, hint);
        }
        CatalogFault::VpcTwice { first, second } => {
            let (first, second) = (&spec.vpcs[*first], &spec.vpcs[*second]);
            let message = format!("VPC `{}` is defined already (line {})", second.vpc.id, line(&first.at));
            reader.error(&second.at, message, "list all its clients in one [[vpc]]".to_string());
        }
        CatalogFault::ClientsTwice { first, second, clients } => {
            let (first, second) = (&spec.vpcs[*first], &spec.vpcs[*second]);
            let place = second.vpc.clients.iter().position(|range| range == clients);
            let at = place.and_then(|place| second.clients_at.get(place)).unwrap_or(&second.at);
            let message =
                format!("{clients} belongs to VPC `{}` already (line {})", first.vpc.id, line(&first.at));
            reader.error(
                at,
                message,
                "a client is in one VPC; a narrower range within a wider one is fine".to_string(),
            );
        }
        // These were told with a better hint in `scope`, and left out there.
        CatalogFault::ZoneVpcUnknown { .. } | CatalogFault::RuleVpcUnknown { .. } => {}
    }
}
