//! The mapped names: where each leads over pvtzd, and whether it would lead there without it.

use super::Check;
use super::ask::{DoctorReply, ask};
use super::mapped::{MappedName, TIMEOUT, question};
use crate::engine::rcode::show_rcode;
use crate::engine::special_address::block_of;
use futures_util::future::join_all;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How many names are asked for.
const MAX_NAMES: usize = 16;

/// How long a resolver of the VPC may take.
const VPC: Duration = Duration::from_millis(2500);

/// An API name, and the address that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReachTarget {
    /// The name that clients query, and expect in the certificate.
    pub(super) name: String,
    /// Its address.
    pub(super) address: IpAddr,
}

/// The answer chain of each name over pvtzd, and the addresses of the API names.
pub(super) async fn chains(
    server: Option<SocketAddr>,
    names: Vec<MappedName>,
) -> (Vec<Check>, Vec<ReachTarget>) {
    const STEP: &str = "chain";
    if names.is_empty() {
        return (vec![Check::skip(STEP, "no name is mapped")], Vec::new());
    }
    let Some(server) = server else {
        let names: Vec<&str> = names.iter().take(3).map(|asked| asked.name.as_str()).collect();
        let why = format!("pvtzd does not answer: {} and other names were not queried", names.join(", "));
        return (vec![Check::skip(STEP, why)], Vec::new());
    };
    let left_out = names.len().saturating_sub(MAX_NAMES);
    let told = join_all(names.iter().take(MAX_NAMES).map(|asked| async move {
        let question = question(&asked.name, RecordType::A).ok()?;
        Some((asked, ask(server, &question, TIMEOUT).await))
    }));
    let (mut checks, mut targets) = (Vec::new(), Vec::new());
    for (asked, told) in told.await.into_iter().flatten() {
        match told {
            Ok(told) => {
                if let (true, Some(address)) = (asked.api, told.addresses().first()) {
                    targets.push(ReachTarget { name: asked.name.clone(), address: *address });
                }
                checks.push(chain(asked, &told));
            }
            Err(error) => {
                let found = format!("{}: no answer: {error}", asked.name);
                checks.push(Check::fail(STEP, found, "see the log of pvtzd"));
            }
        }
    }
    if left_out > 0 {
        checks.push(Check::skip(STEP, format!("{left_out} more names were not queried")));
    }
    (checks, targets)
}

/// What is to be said about the answer for an API name.
pub(super) fn chain_of(name: &str, told: &DoctorReply) -> Check {
    chain(&MappedName { name: name.to_string(), api: true }, told)
}

/// What is to be said about one answer.
fn chain(asked: &MappedName, told: &DoctorReply) -> Check {
    const STEP: &str = "chain";
    let (aliases, addresses) = (told.aliases(), told.addresses());
    let shown: Vec<String> = std::iter::once(asked.name.clone())
        .chain(aliases)
        .chain(addresses.first().map(|address| match addresses.len() {
            1 => address.to_string(),
            count => format!("{address} and {} more", count - 1),
        }))
        .collect();
    let path = shown.join(" -> ");
    let code = told.rcode();
    match addresses.first() {
        None => {
            let what = show_rcode(code, true);
            let advice = match code {
                ResponseCode::ServFail => "the upstreams do not resolve the target: see the steps above",
                ResponseCode::NXDomain | ResponseCode::NoError => {
                    "the target has no address: try `target = \"product-vpc\"` in [endpoints], or set \
                     another target in a [[zone]]"
                }
                _ => "see `pvtzd explain` for this name",
            };
            Check::fail(STEP, format!("{path}: {what}"), advice)
        }
        Some(address) if asked.api && !is_inside(*address) => Check::warn(
            STEP,
            format!("{path}: a public address"),
            "without a public network it is unreachable: is the upstream the resolver of the VPC?",
        ),
        Some(_) => Check::pass(STEP, path),
    }
}

/// Whether the VPC's own resolvers lead the API names to addresses inside the VPC: then PrivateZone is at work.
pub(super) async fn without_us(resolvers: Vec<SocketAddr>, names: Vec<MappedName>) -> Vec<Check> {
    const STEP: &str = "privatezone";
    let names: Vec<MappedName> = names.into_iter().filter(|asked| asked.api).take(MAX_NAMES).collect();
    if names.is_empty() || resolvers.is_empty() {
        return vec![Check::skip(STEP, "no API name is mapped")];
    }
    // One after the other answers or none does: all names are asked of all at once.
    let asked = names.iter().map(|asked| async {
        let question = question(&asked.name, RecordType::A).ok()?;
        let told = join_all(resolvers.iter().map(|resolver| ask(*resolver, &question, VPC))).await;
        Some((asked.name.clone(), told.into_iter().find_map(Result::ok)?))
    });
    let told: Vec<(String, DoctorReply)> = join_all(asked).await.into_iter().flatten().collect();
    if told.is_empty() {
        let who: Vec<String> = resolvers.iter().map(|resolver| resolver.ip().to_string()).collect();
        return vec![Check::skip(STEP, format!("{} do not answer: not inside a VPC", who.join(" and ")))];
    }
    let inside = |told: &DoctorReply| {
        let addresses = told.addresses();
        !addresses.is_empty() && addresses.iter().all(|address| is_inside(*address))
    };
    let known: Vec<&str> =
        told.iter().filter(|(_, told)| inside(told)).map(|(name, _)| name.as_str()).collect();
    vec![match known.len() {
        0 => Check::pass(STEP, "the VPC's resolvers map none of these names into the VPC: pvtzd is needed"),
        count if count == told.len() => Check::warn(
            STEP,
            format!("the VPC's resolvers already map {} into the VPC", known.join(", ")),
            format!(
                "PrivateZone is in use; `pvtzd compare --with {} {}` shows whether its answers are those \
                 of pvtzd: if so, run `pvtzd resolver give-back`",
                resolvers[0].ip(),
                known.join(" ")
            ),
        ),
        _ => Check::warn(
            STEP,
            format!("the VPC's resolvers already map some names into the VPC: {}", known.join(", ")),
            "PrivateZone is in use for these; pvtzd is needed only for the others",
        ),
    }]
}

/// True for addresses within a VPC.
fn is_inside(address: IpAddr) -> bool {
    block_of(address).is_some_and(|block| block.inside_vpc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_and_outside() {
        for (address, inside) in [
            ("100.100.0.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("203.0.113.2", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_inside(address.parse().unwrap()), inside, "{address}");
        }
    }
}
