//! The names that pvtzd answers on this machine, as far as its programs are concerned: what a take leads here, and
//! what the doctor asks for.

use super::Check;
use super::ask;
use crate::config::{Config, InstanceInfo};
use crate::engine::catalog::Catalog;
use crate::engine::name::{self, NameKey, show};
use crate::engine::rcode::show_rcode;
use crate::engine::request::Question;
use crate::engine::sort;
use crate::engine::zone::{Zone, ZoneOrigin};
use crate::host::metadata::{self, Absent};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the metadata service may take in all.
const METADATA: Duration = Duration::from_secs(3);

/// Longer than pvtzd takes for any answer.
pub(super) const TIMEOUT: Duration = Duration::from_millis(4500);

/// How many names are tried before a take.
const TRIED: usize = 3;

/// A name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MappedName {
    /// The name.
    pub(super) name: String,
    /// It is an API name of the catalogue and should resolve to an address inside the VPC.
    pub(super) api: bool,
}

/// Why no name was answered.
#[derive(Debug)]
pub enum Unanswered {
    /// There is no server.
    Unreachable(io::Error),
    /// The server does not work.
    Failed(String),
}

/// What the metadata service says, if it is needed and answers.
pub async fn instance(config: &Config, service: Option<SocketAddr>) -> Option<InstanceInfo> {
    let service = service.filter(|_| config.wants_metadata())?;
    timeout(METADATA, metadata::instance(service)).await.ok()?.ok()
}

/// The same as a step.
pub(super) async fn instance_or_why(
    config: Arc<Config>,
    service: Option<SocketAddr>,
) -> (InstanceInfo, Vec<Check>) {
    const STEP: &str = "metadata";
    let Some(service) = service else {
        return (InstanceInfo::default(), vec![Check::skip(STEP, "switched off")]);
    };
    let asked = timeout(METADATA, metadata::instance(service)).await;
    let found = asked.unwrap_or_else(|_| Err(Absent::Silent(io::ErrorKind::TimedOut.into())));
    let unknown = "list the region in [endpoints] regions, so that only its names are mapped";
    match found {
        Ok(instance) => {
            let vpc = instance.vpc_id.as_deref().unwrap_or("unknown").to_string();
            let check = match &instance.region {
                Some(region) => Check::pass(STEP, format!("region {region}, VPC {vpc}")),
                None => Check::warn(STEP, format!("{service} answers, but without a region"), unknown),
            };
            (instance, vec![check])
        }
        Err(Absent::Foreign(what)) => {
            let why = format!("the server at {service} is not the metadata service: {what}");
            let check = match config.wants_metadata() {
                true => Check::warn(STEP, why, unknown),
                false => Check::skip(STEP, why),
            };
            (InstanceInfo::default(), vec![check])
        }
        Err(Absent::Silent(error)) => {
            let why = format!(
                "no answer from {service} ({error}): not an ECS instance, or the service is disabled"
            );
            let check = match config.wants_metadata() {
                true => Check { advice: Some(unknown.into()), ..Check::skip(STEP, why) },
                false => Check::skip(STEP, why),
            };
            (InstanceInfo::default(), vec![check])
        }
    }
}

/// The names of the zones that programs on this machine see, sorted.
pub fn zones(config: &Config, instance: &InstanceInfo) -> Vec<String> {
    let mut names: Vec<String> =
        visible(&config.catalog(instance, 1)).iter().map(|zone| show(&zone.name)).collect();
    sort::ascending(&mut names);
    names.dedup();
    names
}

/// A name with an address or an alias in each of these zones.
pub fn names(config: &Config, instance: &InstanceInfo) -> Vec<String> {
    asked(config, instance).into_iter().map(|asked| asked.name).collect()
}

/// The same, with what is expected of each.
pub(super) fn asked(config: &Config, instance: &InstanceInfo) -> Vec<MappedName> {
    let of = |zone: &Arc<Zone>| {
        let leads = |rtype| matches!(rtype, RecordType::A | RecordType::CNAME);
        let owners = zone.rrsets().filter(|(owner, set)| leads(set.rtype) && !is_wildcard(owner));
        let owner = owners.map(|(owner, _)| owner).min_by_key(|owner| owner.wire().len())?;
        Some(MappedName { name: show(&owner.to_name()), api: zone.origin == ZoneOrigin::Endpoints })
    };
    visible(&config.catalog(instance, 1)).iter().filter_map(of).collect()
}

/// The zones that a program on this machine sees.
fn visible(catalog: &Catalog) -> Vec<Arc<Zone>> {
    let view = catalog.view(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let seen = |zone: &Arc<Zone>| view.zone_of(zone.apex()).is_some_and(|seen| Arc::ptr_eq(seen, zone));
    catalog.zones().iter().map(|(zone, _)| zone).filter(|zone| seen(zone)).cloned().collect()
}

/// True for `*.something`.
fn is_wildcard(owner: &NameKey) -> bool {
    owner.wire().starts_with(b"\x01*")
}

/// The first of these names for which the server at `server` has addresses, with them; nothing if there are no
/// names, and then only that it answers at all.
///
/// # Errors
/// No answer, or no name gets an address.
pub async fn first_answered(
    server: SocketAddr,
    names: &[String],
) -> Result<Option<(String, BTreeSet<IpAddr>)>, Unanswered> {
    if names.is_empty() {
        let question = question("localhost", RecordType::A).map_err(Unanswered::Failed)?;
        return match ask::ask(server, &question, TIMEOUT).await {
            Ok(_) => Ok(None),
            Err(error) => Err(Unanswered::Unreachable(error)),
        };
    }
    let mut problem = String::new();
    for wanted in names.iter().take(TRIED) {
        let a = question(wanted, RecordType::A).map_err(Unanswered::Failed)?;
        let aaaa = question(wanted, RecordType::AAAA).map_err(Unanswered::Failed)?;
        let told = ask::ask(server, &a, TIMEOUT).await.map_err(Unanswered::Unreachable)?;
        let mut addresses: BTreeSet<IpAddr> = sort::set(told.addresses());
        if !addresses.is_empty() {
            // getaddrinfo queries both.
            if let Ok(more) = ask::ask(server, &aaaa, TIMEOUT).await {
                addresses.extend(more.addresses());
            }
            return Ok(Some((wanted.clone(), addresses)));
        }
        problem = match told.rcode() {
            ResponseCode::NoError => format!("{wanted} has no address"),
            code => format!("{wanted} gets {}", show_rcode(code, true)),
        };
    }
    Err(Unanswered::Failed(problem))
}

/// A question from text.
pub(super) fn question(text: &str, rtype: RecordType) -> Result<Question, String> {
    Ok(Question::new(name::parse(text)?, rtype))
}
