//! The state of the server as a person wants it: one value, read at once, that goes over the control socket.

use super::AdminView;
use super::fleet::FleetStatus;
use super::metrics::{rcode_name, servers};
use super::secondary;
use super::secondary::SecondaryStatus;
use crate::base::auxiliary::AuxiliaryService;
use crate::base::data_files::FaultyFile;
use crate::base::local_address::is_absent;
use crate::engine::catalog::Scope;
use crate::engine::name::show;
use crate::engine::sort;
use crate::engine::zone::{ZoneMode, ZoneOrigin};
use crate::resolve::retained::RetainedState;
use crate::stats::counters::BUCKETS;
use crate::stats::zone_stats::CacheResult;
use crate::upstream::ServerHealth;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

/// Faulty files that are listed.
const FAULTY: usize = 100;

/// Retained names with a denial that are listed.
const DENIED: usize = 20;

/// Zones that the overview lists.
const BUSIEST: usize = 10;

/// The state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since start.
    pub uptime: f64,
    /// Listeners are bound and the catalog is loaded.
    pub ready: bool,
    /// The listen addresses.
    pub listen: Vec<String>,
    /// Listen addresses that no interface has yet.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Queries and answers since start.
    pub queries: Queries,
    /// The cache.
    pub cache: CacheStatus,
    /// Upstream servers.
    pub upstreams: Vec<UpstreamStatus>,
    /// The number of private zones.
    pub zones: usize,
    /// The zones with the most answers.
    pub busiest: Vec<BusyZone>,
    /// The PrivateZone API, if it is served.
    pub api: Option<ApiStatus>,
    /// The fleet, if the node is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// Reloads so far.
    pub reloads: u64,
    /// Failed reloads.
    pub reloads_failed: u64,
    /// The last reload did not fail.
    pub current: bool,
    /// Zone files, hosts files and, with `watch_config`, the configuration.
    #[serde(default)]
    pub data_files: DataFilesStatus,
    /// Retained names, if `[[retain]]` is configured.
    #[serde(default)]
    pub retained: Option<RetainedState>,
    /// Secondary zones.
    #[serde(default)]
    pub secondaries: Vec<SecondaryStatus>,
    /// Messages that watchers missed, by watcher.
    pub missed: BTreeMap<String, u64>,
    /// Services beside DNS that are configured.
    #[serde(default)]
    pub auxiliary: Vec<AuxiliaryStatus>,
}

/// Files that are read again when they change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DataFilesStatus {
    /// Watched files.
    pub watched: u64,
    /// Files read again.
    pub reads: u64,
    /// Files not used because of a fault.
    pub failures: u64,
    /// The first 100 files whose former content is served.
    pub faulty: Vec<FaultyFile>,
}

/// A service beside DNS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuxiliaryStatus {
    /// `metrics`, `api`, `control_socket`, `query_log` or `dnstap`.
    pub service: String,
    /// Its address or file.
    pub at: String,
    /// The error; None while it works.
    pub fault: Option<String>,
    /// The number of failures.
    pub failures: u64,
}

/// Queries and answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Queries {
    /// Queries received.
    pub asked: u64,
    /// Answers.
    pub answered: u64,
    /// Answers from the packet cache.
    pub fast: u64,
    /// Packets without an answer.
    pub dropped: u64,
    /// Queries that wait for an upstream.
    pub waiting: usize,
    /// Queries above the limits.
    pub overload: u64,
    /// Queries over UDP above the rate of their network.
    #[serde(default)]
    pub rate_limited: u64,
    /// Answers by code.
    pub rcodes: BTreeMap<String, u64>,
    /// Numbers of answers by duration: up to a quarter of a millisecond, up to half a millisecond, and so on doubled;
    /// the last one counts longer durations.
    pub durations: Vec<u64>,
    /// Mean time in milliseconds.
    pub mean_ms: f64,
    /// Internal errors of pvtzd.
    pub panics: u64,
}

/// The cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Entries from upstreams.
    pub entries: usize,
    /// Packets in the packet cache.
    pub finished: usize,
    /// Octets of both.
    pub bytes: u64,
    /// Answers without a query to an upstream.
    pub hits: u64,
    /// Answers with a query to an upstream.
    pub misses: u64,
    /// Stale answers.
    pub stale: u64,
    /// Evicted entries.
    pub evictions: u64,
}

/// An upstream server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its group.
    pub group: String,
    /// Its address.
    pub server: String,
    /// `up`, `failing`, `down` or `loop`.
    pub state: String,
    /// Smoothed round-trip time, once known.
    pub rtt_ms: Option<f64>,
    /// Queries sent to it.
    pub queries: u64,
    /// Usable answers.
    pub answers: u64,
    /// Queries without a usable answer.
    pub failures: u64,
    /// Queries in flight.
    pub in_flight: usize,
}

/// A zone that is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BusyZone {
    /// Its name.
    pub zone: String,
    /// The VPC of the clients; empty for clients outside of VPCs.
    pub vpc: String,
    /// Answers.
    pub answers: u64,
}

/// The API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiStatus {
    /// The listen addresses.
    pub listen: Vec<String>,
    /// Zones of the API.
    pub zones: usize,
    /// Requests.
    pub requests: u64,
    /// Refused requests.
    pub refused: u64,
}

/// A private zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its name.
    pub zone: String,
    /// `configuration`, `secondary`, `catalogue` or `api`.
    pub source: String,
    /// The recursion proxy is on.
    pub recursion_proxy: bool,
    /// The ids of the VPCs that see it; empty for all clients.
    pub vpcs: Option<Vec<String>>,
    /// Answers since start, of all VPCs.
    pub answers: u64,
}

/// Reads the state.
pub fn read(subject: &AdminView) -> Status {
    let live = &subject.live;
    let sum = live.tallies.sum();
    let counters = &live.counters;
    let (reloads, reloads_failed) = subject.readiness.reloads();
    let account_zones = subject.account().map_or(0, |account| account.zone_count());
    let rcodes = sum.rcodes.iter().enumerate().filter(|(_, count)| **count > 0);
    let timed = sum.durations.count();
    let mean_ms = if timed == 0 { 0.0 } else { sum.durations.nanos as f64 / timed as f64 / 1e6 };
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime: live.clock.uptime().as_secs_f64(),
        ready: subject.readiness.is_ready(),
        absent: {
            let absent = subject.listening.iter().filter(|address| is_absent(address.ip()));
            absent.map(ToString::to_string).collect()
        },
        listen: subject.listening.iter().map(ToString::to_string).collect(),
        queries: Queries {
            asked: sum.asked(),
            answered: sum.answered(),
            fast: sum.known,
            dropped: counters.dropped.load(Ordering::Relaxed),
            waiting: live.limits.in_flight(),
            overload: counters.overload.load(Ordering::Relaxed),
            rate_limited: live.guard.held_back(),
            rcodes: sort::map(rcodes.map(|(code, count)| (rcode_name(code), *count))),
            durations: sum.durations.cells.to_vec(),
            mean_ms,
            panics: counters.panics.load(Ordering::Relaxed),
        },
        cache: CacheStatus {
            entries: live.cache.len(),
            finished: live.answers.len(),
            bytes: live.cache.bytes() + live.answers.bytes(),
            hits: sum.share(CacheResult::Success) + sum.share(CacheResult::Denial),
            misses: sum.share(CacheResult::Miss) + sum.share(CacheResult::Stale),
            stale: counters.stale.load(Ordering::Relaxed),
            evictions: live.cache.evictions() + live.answers.evictions(),
        },
        upstreams: upstreams(subject),
        zones: live.published().catalog.zones().len() + account_zones,
        busiest: busiest(subject),
        api: subject.api.as_ref().map(|api| {
            let calls = api.calls.read();
            let of = |wanted: fn(&str) -> bool| {
                calls.iter().filter(|(_, class, _)| wanted(class)).map(|(.., count)| count).sum()
            };
            ApiStatus {
                listen: api.addresses.iter().map(ToString::to_string).collect(),
                zones: account_zones,
                requests: of(|_| true),
                refused: of(|class| class != "2xx"),
            }
        }),
        fleet: super::fleet::status(subject),
        reloads,
        reloads_failed,
        current: subject.readiness.is_current(),
        auxiliary: auxiliary(subject),
        data_files: data_files(subject),
        retained: retained(subject),
        secondaries: secondary::read(subject),
        missed: sort::map(live.watch.watchers().iter().map(|w| (w.name().to_string(), w.dropped()))),
    }
}

fn data_files(subject: &AdminView) -> DataFilesStatus {
    let files = &subject.readiness.data_files;
    let (watched, reads, failures) = files.counts();
    let mut faulty = files.read();
    faulty.truncate(FAULTY);
    DataFilesStatus { watched, reads, failures, faulty }
}

fn retained(subject: &AdminView) -> Option<RetainedState> {
    let retained = &subject.live.cache.retained;
    retained.is_active().then(|| retained.state(DENIED))
}

fn auxiliary(subject: &AdminView) -> Vec<AuxiliaryStatus> {
    let services = subject.readiness.auxiliary.read().into_iter();
    let shown = services.map(|AuxiliaryService { name, at, fault, failures }| AuxiliaryStatus {
        service: name.into(),
        at,
        fault,
        failures,
    });
    shown.collect()
}

pub(super) fn upstreams(subject: &AdminView) -> Vec<UpstreamStatus> {
    let shown = servers(subject).into_iter().map(|(group, server)| {
        let state = match server.standing {
            _ if server.looping => "loop",
            ServerHealth::Up => "up",
            ServerHealth::Failing => "failing",
            ServerHealth::Down => "down",
        };
        let counts = server.counts;
        UpstreamStatus {
            group,
            server: server.address.to_string(),
            state: state.into(),
            rtt_ms: server.srtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            queries: counts.queries,
            answers: counts.successes,
            failures: counts.timeouts + counts.network_errors + counts.bad_rcodes + counts.garbled,
            in_flight: server.in_flight,
        }
    });
    shown.collect()
}

fn busiest(subject: &AdminView) -> Vec<BusyZone> {
    let live = &subject.live;
    let mut busy: Vec<BusyZone> = Vec::new();
    for (number, counts) in live.tallies.places() {
        let Some(place) = live.places.place(number).filter(|place| !place.is_rule) else { continue };
        let (zone, vpc) = (show(&place.name.to_name()), place.vpc.clone().unwrap_or_default());
        busy.push(BusyZone { zone, vpc, answers: counts.iter().sum() });
    }
    sort::by(&mut busy, |a, b| b.answers.cmp(&a.answers).then_with(|| a.zone.cmp(&b.zone)));
    busy.truncate(BUSIEST);
    busy
}

/// All private zones, by name.
pub fn zones(subject: &AdminView) -> Vec<ZoneStatus> {
    let live = &subject.live;
    let mut answers: HashMap<String, u64> = HashMap::new();
    for (number, counts) in live.tallies.places() {
        if let Some(place) = live.places.place(number).filter(|place| !place.is_rule) {
            *answers.entry(show(&place.name.to_name())).or_default() += counts.iter().sum::<u64>();
        }
    }
    let count = |zone: &str| answers.get(&zone.to_ascii_lowercase()).copied().unwrap_or(0);
    let published = live.published();
    let configured = published.catalog.zones().iter().map(|(zone, scope)| {
        let name = show(&zone.name);
        ZoneStatus {
            answers: count(&name),
            zone: name,
            source: match zone.origin {
                ZoneOrigin::File => "configuration",
                ZoneOrigin::Secondary => "secondary",
                ZoneOrigin::Endpoints | ZoneOrigin::Api => "catalogue",
            }
            .into(),
            recursion_proxy: zone.mode == ZoneMode::RecursionProxy,
            vpcs: match scope {
                Scope::Everyone => None,
                Scope::Vpcs(ids) => Some(ids.clone()),
            },
        }
    });
    let mut zones: Vec<ZoneStatus> = configured.collect();
    if let Some(account) = subject.account() {
        zones.extend(account.zones().map(|entry| ZoneStatus {
            zone: entry.row.name.clone(),
            source: "api".into(),
            recursion_proxy: entry.row.proxy,
            vpcs: Some(entry.row.bindings.iter().map(|binding| binding.vpc.clone()).collect()),
            answers: count(&entry.row.name),
        }));
    }
    sort::by(&mut zones, |a, b| a.zone.cmp(&b.zone).then_with(|| a.vpcs.cmp(&b.vpcs)));
    zones
}

/// An upper bound of the time within which this share of the answers came, in milliseconds; nothing where there is
/// no answer, or it is beyond the last bucket.
pub fn quantile(durations: &[u64], share: f64) -> Option<f64> {
    let all: u64 = durations.iter().sum();
    let mut below = 0;
    for (at, count) in durations.iter().enumerate().take(BUCKETS) {
        below += count;
        if all > 0 && below as f64 >= all as f64 * share {
            return Some(crate::stats::counters::bound(at) * 1e3);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let durations = [90, 5, 4, 0, 1];
        assert_eq!(quantile(&durations, 0.5), Some(0.25));
        assert_eq!(quantile(&durations, 0.95), Some(0.5));
        assert_eq!(quantile(&durations, 0.999), Some(4.0));
        assert_eq!(quantile(&[0; BUCKETS + 1], 0.5), None);
        let mut late = [0; BUCKETS + 1];
        late[BUCKETS] = 1;
        assert_eq!(quantile(&late, 0.5), None);
    }
}
