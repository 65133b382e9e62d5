//! The servers: pvtzd itself, the upstreams, and whether one of these leads back to it.

use super::Check;
use super::ask::{DoctorReply, ask, over_tcp, over_udp};
use super::mapped::{TIMEOUT, question};
use crate::config::{Config, Servers};
use crate::engine::rcode::show_rcode;
use crate::host::system_servers;
use crate::host::system_servers::Paths;
use futures_util::future::{join, join_all};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an upstream server may take.
const UPSTREAM: Duration = Duration::from_millis(2500);

/// How many upstream servers are asked.
const MAX_SERVERS: usize = 16;

/// A server that pvtzd asks, and a name to ask it for.
#[derive(Clone, Debug)]
pub(super) struct CheckedUpstream {
    /// Its address.
    address: SocketAddr,
    /// The rule that it serves; None for the default upstreams.
    rule: Option<String>,
}

/// Whether pvtzd answers, and the step.
pub(super) async fn alive(server: Option<SocketAddr>) -> (bool, Vec<Check>) {
    const STEP: &str = "pvtzd";
    let Some(server) = server else { return (false, vec![Check::skip(STEP, "it has no listen address")]) };
    // pvtzd answers it locally, unless the configuration disables that.
    let Ok(local) = question("localhost", RecordType::A) else { return (false, Vec::new()) };
    let (udp, tcp) = join(over_udp(server, &local, TIMEOUT), over_tcp(server, &local, TIMEOUT)).await;
    let refused = |told: &io::Result<DoctorReply>| {
        told.as_ref().is_ok_and(|told| told.rcode() == ResponseCode::Refused)
    };
    let check = match (&udp, &tcp) {
        (Ok(_), Ok(_)) if refused(&udp) => Check::fail(
            STEP,
            format!("{server} answers REFUSED to this machine"),
            "add its addresses to `allow` in [server]",
        ),
        (Ok(udp), Ok(tcp)) => {
            let (udp, tcp) = (millis(udp.elapsed), millis(tcp.elapsed));
            Check::pass(STEP, format!("{server} answers over UDP ({udp}) and TCP ({tcp})"))
        }
        (Ok(_), Err(error)) => Check::fail(
            STEP,
            format!("{server} answers over UDP but not over TCP: {error}"),
            "long answers need TCP: look for a packet filter on this machine",
        ),
        (Err(error), _) => Check::fail(
            STEP,
            format!("no answer from {server}: {error}"),
            "start pvtzd: `systemctl start pvtzd`; its log has the reason why it stopped",
        ),
    };
    (udp.is_ok() && !refused(&udp), vec![check])
}

/// The servers that pvtzd asks, by the configuration and the system.
pub(super) fn upstreams(config: &Config, listen: &[SocketAddr]) -> Vec<CheckedUpstream> {
    let default: Vec<SocketAddr> = match &config.upstream.servers {
        Servers::Listed(servers) => servers.iter().filter_map(|server| server.target().ok()).collect(),
        Servers::System => {
            let paths = Paths::with_state(config.server.state_dir.as_deref());
            system_servers::discover(&paths, listen)
                .servers
                .iter()
                .filter_map(|server| server.target().ok())
                .collect()
        }
    };
    let mut found: Vec<CheckedUpstream> =
        default.into_iter().map(|address| CheckedUpstream { address, rule: None }).collect();
    for rule in &config.forwards {
        let name = crate::engine::name::show(&rule.zone);
        let servers = rule.servers.iter().filter_map(|server| server.target().ok());
        found.extend(servers.map(|address| CheckedUpstream { address, rule: Some(name.clone()) }));
    }
    found
}

/// Whether each upstream answers.
pub(super) async fn reachable(upstreams: Vec<CheckedUpstream>) -> Vec<Check> {
    const STEP: &str = "upstream";
    if upstreams.is_empty() {
        return vec![Check::fail(
            STEP,
            "there is none: only private names are answered",
            "list the resolvers in [upstream] servers; inside a VPC they are 100.100.2.136 and 100.100.2.138",
        )];
    }
    let left_out = upstreams.len().saturating_sub(MAX_SERVERS);
    let checks = join_all(upstreams.into_iter().take(MAX_SERVERS).map(upstream));
    let mut checks: Vec<Check> = checks.await;
    if left_out > 0 {
        checks.push(Check::skip(STEP, format!("{left_out} more were not queried")));
    }
    checks
}

/// Whether one upstream answers.
async fn upstream(upstream: CheckedUpstream) -> Check {
    const STEP: &str = "upstream";
    let name = upstream.rule.as_deref().unwrap_or("aliyuncs.com");
    let shown = match &upstream.rule {
        Some(rule) => format!("{} (for {rule})", upstream.address),
        None => upstream.address.to_string(),
    };
    let Ok(asked) = question(name, RecordType::SOA) else { return Check::skip(STEP, shown) };
    let (udp, tcp) =
        join(over_udp(upstream.address, &asked, UPSTREAM), over_tcp(upstream.address, &asked, UPSTREAM))
            .await;
    match (udp, tcp) {
        (Ok(udp), tcp) => {
            let code = udp.rcode();
            let rtt = millis(udp.elapsed);
            if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                let advice = "it gets queries for all names without a zone or rule: find out why it does not answer \
                     this one";
                return Check::warn(
                    STEP,
                    format!("{shown} answers {} to {name} SOA", show_rcode(code, true)),
                    advice,
                );
            }
            match tcp {
                Ok(tcp) => Check::pass(STEP, format!("{shown}: UDP {rtt}, TCP {}", millis(tcp.elapsed))),
                Err(error) => Check::warn(
                    STEP,
                    format!("{shown}: UDP {rtt}, but not over TCP: {error}"),
                    "long answers need TCP: allow port 53/TCP in the security group",
                ),
            }
        }
        (Err(error), Ok(_)) => Check::warn(
            STEP,
            format!("{shown} answers over TCP only: {error} over UDP"),
            "allow port 53/UDP in the security group",
        ),
        (Err(error), Err(_)) => Check::fail(
            STEP,
            format!("{shown} does not answer: {error}"),
            "is this the right server, is there a route to it, does the security group allow outbound port 53?",
        ),
    }
}

/// Whether an upstream leads back to pvtzd: it then has the SOA record that only pvtzd makes for a zone of its own.
pub(super) async fn looping(
    server: Option<SocketAddr>,
    upstreams: Vec<CheckedUpstream>,
    zones: Vec<String>,
) -> Vec<Check> {
    const STEP: &str = "loop";
    if upstreams.is_empty() {
        return vec![Check::skip(STEP, "there is no upstream")];
    }
    let (Some(server), Some(zone)) = (server, zones.first()) else {
        let why =
            if zones.is_empty() { "there is no zone that identifies pvtzd" } else { "pvtzd does not answer" };
        return vec![Check::skip(STEP, why)];
    };
    let Ok(asked) = question(zone, RecordType::SOA) else { return Vec::new() };
    let Some(ours) = ask(server, &asked, TIMEOUT).await.ok().and_then(|told| soa(&told)) else {
        return vec![Check::skip(STEP, format!("pvtzd has no SOA record for {zone}"))];
    };
    let told =
        join_all(upstreams.iter().take(MAX_SERVERS).map(|one| ask(one.address, &asked, UPSTREAM))).await;
    let back = |(one, told): (&CheckedUpstream, io::Result<DoctorReply>)| {
        (told.ok().and_then(|told| soa(&told)).as_ref() == Some(&ours)).then(|| {
            Check::fail(
                STEP,
                format!("{} forwards to pvtzd: a forwarding loop", one.address),
                "set a server in [upstream] or [[forward]] that does not forward to this machine",
            )
        })
    };
    let found: Vec<Check> = upstreams.iter().zip(told).filter_map(back).collect();
    if found.is_empty() { vec![Check::pass(STEP, "no upstream forwards to pvtzd")] } else { found }
}

/// The SOA record of an answer.
fn soa(told: &DoctorReply) -> Option<String> {
    told.values(RecordType::SOA).next()
}

/// A duration for people.
pub(super) fn millis(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1e3)
}
