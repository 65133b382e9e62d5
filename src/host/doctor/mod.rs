//! `pvtzd doctor`: checks each step from the metadata service to the API's certificate, with the finding and the
//! remedy.
//!
//! Independent steps run in parallel, and are printed in a fixed order. Every probe has a deadline; without any answer,
//! all steps take about ten seconds. Changes nothing.

pub mod ask;
pub mod endpoint;
mod machine;
pub mod mapped;
mod names;
pub mod public;
mod reach;
mod running;
mod servers;
pub mod tls;

use crate::admin::status::Status;
use crate::base::task;
use crate::config::{Config, InstanceInfo};
use crate::host::resolver::store::RecordStore;
use serde::Serialize;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The resolvers of every VPC.
pub const VPC_RESOLVERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 2, 136)), 53),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 2, 138)), 53),
];

/// Longest a step may take that has no deadline of its own inside.
const STEP: Duration = Duration::from_secs(6);

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// Passed.
    Pass,
    /// It works, with a warning.
    Warn,
    /// Failed.
    Fail,
    /// Skipped, with the reason.
    Skip,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its step.
    pub step: &'static str,
    /// The result.
    pub outcome: CheckOutcome,
    /// The finding.
    pub found: String,
    /// The remedy.
    pub advice: Option<String>,
}

impl Check {
    /// Passed.
    pub fn pass(step: &'static str, found: impl Into<String>) -> Self {
        Self { step, outcome: CheckOutcome::Pass, found: found.into(), advice: None }
    }

    /// A warning.
    pub fn warn(step: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { step, outcome: CheckOutcome::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    /// A failure.
    pub fn fail(step: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { step, outcome: CheckOutcome::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    /// Skipped.
    pub fn skip(step: &'static str, why: impl Into<String>) -> Self {
        Self { step, outcome: CheckOutcome::Skip, found: why.into(), advice: None }
    }
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct DoctorSettings {
    /// The addresses on which pvtzd should answer.
    pub listen: Vec<SocketAddr>,
    /// The metadata service, if it is used.
    pub metadata: Option<SocketAddr>,
    /// The resolvers of the VPC.
    pub vpc_resolvers: Vec<SocketAddr>,
    /// The directory of a take's saved state.
    pub store: PathBuf,
    /// The port of the API.
    pub api_port: u16,
    /// The status of the running server, if it is available.
    pub status: Option<Status>,
}

/// Looks at everything; `tell` hears of each thing in order, as soon as it is its turn. `warnings` are those of the
/// configuration.
pub async fn examine(config: Config, warnings: usize, settings: DoctorSettings, mut tell: impl FnMut(Check)) {
    let (config, settings) = (Arc::new(config), Arc::new(settings));
    let server = settings.listen.first().copied();

    let instance = start(mapped::instance_or_why(config.clone(), settings.metadata));
    let port = start(blocking("port", {
        let settings = settings.clone();
        move || machine::port(&settings.listen)
    }));
    let alive = start(servers::alive(server));
    let resolver = start(blocking("resolver", {
        let (settings, zones) = (settings.clone(), mapped::zones(&config, &InstanceInfo::default()));
        move || machine::resolver(&settings.listen, &RecordStore::new(&settings.store), &zones)
    }));
    let upstreams = servers::upstreams(&config, &settings.listen);
    let reachable = start(servers::reachable(upstreams.clone()));

    let (instance, about) = instance.await.unwrap_or_default();
    let instance: InstanceInfo = instance;
    machine::configuration(&config, warnings).into_iter().for_each(&mut tell);
    about.into_iter().for_each(&mut tell);
    machine::catalogue(&config, &instance).into_iter().for_each(&mut tell);
    let (zones, names) = (mapped::zones(&config, &instance), mapped::asked(&config, &instance));

    let own = start(names::without_us(settings.vpc_resolvers.clone(), names.clone()));
    port.await.unwrap_or_default().into_iter().for_each(&mut tell);
    let (answers, alive) = alive.await.unwrap_or_default();
    let server = server.filter(|_| answers);
    let looping = start(servers::looping(server, upstreams, zones));
    let chains = start(names::chains(server, names));
    alive.into_iter().for_each(&mut tell);
    running::state(settings.status.as_ref()).into_iter().for_each(&mut tell);
    resolver.await.unwrap_or_default().into_iter().for_each(&mut tell);
    reachable.await.unwrap_or_default().into_iter().for_each(&mut tell);
    looping.await.unwrap_or_default().into_iter().for_each(&mut tell);
    let (chains, targets) = chains.await.unwrap_or_default();
    let reached = start(reach::targets(targets, settings.api_port));
    chains.into_iter().for_each(&mut tell);
    own.await.unwrap_or_default().into_iter().for_each(&mut tell);
    reached.await.unwrap_or_default().into_iter().for_each(&mut tell);
}

/// The only step where there is no configuration.
pub fn without_configuration(found: String) -> Check {
    Check::fail("configuration", found, "`pvtzd check` reports all errors with their places; then try again")
}

/// Starts a step beside the others. A defect in one is a step without a result, not the end of all.
fn start<T: Send + 'static>(step: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    task::spawn(step)
}

/// A step that waits without a runtime; it is left to itself when it takes too long.
async fn blocking(step: &'static str, work: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    match tokio::time::timeout(STEP, task::spawn_blocking(work)).await {
        Ok(result) => result.unwrap_or_default(),
        Err(_) => {
            let advice = "a command did not finish: see `systemctl status systemd-resolved`";
            vec![Check::fail(step, format!("no result within {} s", STEP.as_secs()), advice)]
        }
    }
}
