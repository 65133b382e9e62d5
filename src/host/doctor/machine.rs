//! What is looked at without asking a server: the configuration, the catalogue, the port, the resolver.

use super::Check;
use crate::base::port_owner;
use crate::base::port_owner::PortOwner;
use crate::config::{Config, InstanceInfo, Regions};
use crate::engine::sort;
use crate::host::resolver::machine::Machine;
use crate::host::resolver::store::RecordStore;
use crate::host::resolver::{ResolverError, Routing, status};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The name of our process.
const OURS: &str = "pvtzd";

/// The configuration was loaded.
pub(super) fn configuration(config: &Config, warnings: usize) -> Vec<Check> {
    let what = format!("{} zones of its own, {} forwarding rules", config.zones.len(), config.forwards.len());
    vec![match warnings {
        0 => Check::pass("configuration", what),
        count => Check::warn("configuration", format!("{what}, {count} warnings"), "see `pvtzd check`"),
    }]
}

/// The catalogue has what the configuration wants of it here.
pub(super) fn catalogue(config: &Config, instance: &InstanceInfo) -> Vec<Check> {
    const STEP: &str = "catalogue";
    if config.endpoints.products.is_empty() {
        return vec![Check::skip(STEP, "no products are selected: no API name is mapped")];
    }
    let notes = config.endpoint_notes(instance);
    if !notes.is_empty() {
        let advice = "or add a [[zone]] for the name";
        return notes.into_iter().map(|note| Check::fail(STEP, note, advice)).collect();
    }
    let products = config.endpoints.products.join(", ");
    vec![match (&config.endpoints.regions, &instance.region) {
        (Regions::Auto, None) => Check::warn(
            STEP,
            format!("{products}: the region is unknown, the names of all regions are mapped"),
            "list the region in [endpoints] regions",
        ),
        (Regions::Auto, Some(region)) => Check::pass(STEP, format!("{products} in {region}")),
        (Regions::All, _) => Check::pass(STEP, format!("{products} in all regions")),
        (Regions::Listed(listed), Some(region)) if !listed.contains(region) => Check::warn(
            STEP,
            format!("{products} in {}, but this instance is in {region}", listed.join(", ")),
            "addresses inside a VPC are reachable within one region only: write `regions = \"auto\"`",
        ),
        (Regions::Listed(listed), _) => Check::pass(STEP, format!("{products} in {}", listed.join(", "))),
    }]
}

/// Who listens where pvtzd should.
pub(super) fn port(listen: &[SocketAddr]) -> Vec<Check> {
    let ports: BTreeSet<u16> = sort::set(listen.iter().map(SocketAddr::port));
    let listeners: Vec<PortOwner> = ports.into_iter().flat_map(port_owner::on_port).collect();
    listen.iter().map(|address| held(*address, &listeners)).collect()
}

/// Who has an address.
fn held(address: SocketAddr, listeners: &[PortOwner]) -> Check {
    const STEP: &str = "port";
    let mut missing = Vec::new();
    let mut foreign = Vec::new();
    for protocol in ["UDP", "TCP"] {
        let here: Vec<&PortOwner> =
            listeners.iter().filter(|one| one.protocol == protocol && one.covers(address)).collect();
        let ours =
            |one: &&PortOwner| one.holders.is_empty() || one.holders.iter().any(|(name, _)| name == OURS);
        if here.is_empty() {
            missing.push(protocol);
        } else if !here.iter().any(ours) {
            foreign.extend(here.iter().map(|one| format!("{protocol} {}: {}", one.address, one.held_by())));
        }
    }
    if !foreign.is_empty() {
        let advice = format!(
            "stop that program, or let pvtzd listen elsewhere ([server] listen): without {address} it does not start"
        );
        return Check::fail(STEP, format!("{address} is another program's: {}", foreign.join("; ")), advice);
    }
    match missing.as_slice() {
        [] => {
            let holder = listeners.iter().find(|one| one.covers(address)).map(PortOwner::held_by);
            Check::pass(STEP, format!("{address}: {}", holder.unwrap_or_default()))
        }
        [_, _] if address.is_ipv6() && !has_ipv6() => {
            Check::skip(STEP, format!("{address}: IPv6 is disabled on this machine"))
        }
        [_, _] => Check::fail(
            STEP,
            format!("nothing listens on {address}"),
            "start pvtzd: `systemctl start pvtzd`, or `pvtzd` with this configuration",
        ),
        _ => Check::fail(
            STEP,
            format!("nothing listens on {address} over {}", missing.join(", ")),
            "see the log of pvtzd: it should listen on both",
        ),
    }
}

/// True when the machine has an IPv6 address, be it `::1`.
fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.is_empty())
}

/// Whom this machine's programs ask.
pub(super) fn resolver(listen: &[SocketAddr], store: &RecordStore, zones: &[String]) -> Vec<Check> {
    const STEP: &str = "resolver";
    let own = listen.iter().find(|listen| listen.port() == 53);
    let Some(own) = own else {
        let where_at = listen.first().map(ToString::to_string).unwrap_or_default();
        return vec![Check {
            advice: Some("to serve all programs: `listen = [\"127.0.0.1:53\"]` in [server]".into()),
            ..Check::skip(
                STEP,
                format!(
                    "pvtzd listens on {where_at}: only clients that use this address \
                                         reach it"
                ),
            )
        }];
    };
    let address = if own.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { own.ip() };
    let standing = match status(&Machine::this(), store, address, zones) {
        Ok(standing) => standing,
        Err(trouble) => return vec![cannot_look(&trouble)],
    };
    let who = standing.manager.title();
    let mut checks = Vec::new();
    let taken = standing.taken.as_ref();
    checks.push(match standing.leads {
        Routing::Us => Check::pass(STEP, format!("{who}: all queries go to pvtzd at {address}")),
        Routing::Mapped => {
            Check::pass(STEP, format!("{who}: queries for mapped names go to pvtzd at {address}"))
        }
        Routing::Both => Check::fail(
            STEP,
            format!("{who}: queries go to pvtzd and to other servers, so that some bypass it"),
            "`pvtzd resolver take` makes pvtzd the only server",
        ),
        Routing::Nowhere if address == IpAddr::V4(Ipv4Addr::LOCALHOST) => Check::warn(
            STEP,
            "no nameserver is configured: programs query 127.0.0.1 by default",
            "`pvtzd resolver take` configures it explicitly",
        ),
        Routing::Elsewhere | Routing::Nowhere => {
            let servers: Vec<String> = standing.nameservers.iter().map(ToString::to_string).collect();
            Check::fail(
                STEP,
                format!("{who}: queries go to {}, not to pvtzd", servers_or_none(&servers)),
                "once pvtzd answers: `pvtzd resolver take` (`--dry-run` shows what it would change)",
            )
        }
    });
    let conflict = |found: &String| Check::warn(STEP, found.clone(), "see docs/troubleshooting.md");
    checks.extend(standing.conflicts.iter().map(conflict));
    if taken.is_some_and(|taken| !taken.in_force) {
        let found = standing.notes.last().cloned().unwrap_or_default();
        checks.push(Check::fail(STEP, found, "see `pvtzd resolver status`"));
    }
    checks
}

/// The servers, or that there are none.
fn servers_or_none(servers: &[String]) -> String {
    if servers.is_empty() { "no server".into() } else { servers.join(", ") }
}

/// The machine cannot be looked at.
fn cannot_look(trouble: &ResolverError) -> Check {
    Check::fail("resolver", trouble.to_string(), trouble.hint())
}
