//! How soon changes of a fleet are published on many followers, and how long a first read takes, against a running etcd:
//! `cargo bench --bench fleet -- http://127.0.0.1:2379,… [FOLLOWERS] [ROWS]`. The keys are below a prefix of their own.

#![allow(
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "a bench may print, and ends where something is odd"
)]

use pvtzd::account::row::{RecordRow, ZoneRow};
use pvtzd::account::{Account, Dirty, Edit};
use pvtzd::config::{self, Fleet};
use pvtzd::fleet::{FleetNode, PreparedFleet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

const ZONE: &str = "0123456789abcdef0123456789abcdef";
const ROUNDS: usize = 5;
const CHANGES: u64 = 20;
const RATE: u64 = 100;
const HELD: u64 = 60;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let Some(endpoints) = words.first().filter(|word| word.starts_with("http")) else {
        println!("skipped: name the members of etcd");
        return;
    };
    let number = |place: usize, usual: usize| words.get(place).map_or(usual, |word| word.parse().unwrap());
    let (followers, rows) = (number(1, 1000), number(2, 100_000));
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 20_000, 20_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let prefix = format!("/pvtzd/bench-{}", now());

    let writer = Node::begin(&fleet(endpoints, &prefix, "writer"), true);
    writer.until_known();
    writer.commit(vec![Edit::Zone(zone(1))]);
    let begun = Instant::now();
    let nodes: Vec<Node> = (0..followers)
        .map(|number| Node::begin(&fleet(endpoints, &prefix, &format!("f{number}")), false))
        .collect();
    nodes.iter().for_each(Node::until_known);
    println!("{followers} followers know the rows after {:?}", begun.elapsed());

    let mut medians: Vec<[Duration; 3]> = Vec::new();
    for round in 0..ROUNDS {
        let mut all = Vec::new();
        for change in 0..CHANGES {
            let before: Vec<usize> = nodes.iter().map(Node::published).collect();
            let at = Instant::now();
            writer.commit(vec![
                Edit::Record(record(round as u64 * CHANGES + change + 1)),
                Edit::Zone(zone(now())),
            ]);
            for (node, before) in nodes.iter().zip(before) {
                all.push(node.published_after(before) - at);
            }
        }
        all.sort_unstable();
        medians.push([all[all.len() / 2], all[all.len() * 99 / 100], all[all.len() - 1]]);
    }
    for (place, name) in ["50 %", "99 %", "last"].iter().enumerate() {
        let mut of: Vec<Duration> = medians.iter().map(|round| round[place]).collect();
        of.sort_unstable();
        println!("write to published, {name}: {:?}", of[ROUNDS / 2]);
    }

    nodes.iter().for_each(|node| node.lag.store(0, Ordering::Relaxed));
    let begun = Instant::now();
    for change in 0..RATE * HELD {
        let due = Duration::from_micros(change * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        writer.commit(vec![Edit::Record(record(change % 500 + 1)), Edit::Zone(zone(now()))]);
    }
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let lag = nodes.iter().map(|node| node.lag.load(Ordering::Relaxed)).max().unwrap_or(0);
    println!("{} changes in {took:?}, largest lag {lag} ms", RATE * HELD);

    drop(nodes);
    let begun = Instant::now();
    let records = (1..=rows as u64).map(|id| Edit::Record(record(10_000 + id)));
    writer.commit(records.collect());
    println!("{rows} rows in one change: {:?}", begun.elapsed());
    let (begun, cpu) = (Instant::now(), cpu());
    let fresh = Node::begin(&fleet(endpoints, &prefix, "fresh"), false);
    fresh.until_known();
    println!(
        "first read of {rows} rows: {:?}, {:?} of CPU with the writer's",
        begun.elapsed(),
        self::cpu() - cpu
    );
}

struct Node {
    node: Arc<FleetNode>,
    seen: Arc<Mutex<(usize, Instant)>>,
    /// Milliseconds between a change and its publication, the most.
    lag: Arc<AtomicU64>,
}

impl Node {
    fn begin(fleet: &Fleet, writes: bool) -> Self {
        let (seen, lag) = (Arc::new(Mutex::new((0, Instant::now()))), Arc::new(AtomicU64::new(0)));
        let (seeing, lagging) = (seen.clone(), lag.clone());
        let publish = move |account: &Account, _: &Dirty| {
            let mut seen = seeing.lock().unwrap();
            *seen = (seen.0 + 1, Instant::now());
            let made = account.zone(ZONE).map_or(0, |zone| zone.row.updated);
            lagging.fetch_max(now().saturating_sub(made), Ordering::Relaxed);
        };
        let prepared = PreparedFleet::new(fleet, None, Default::default()).unwrap();
        let node = prepared.begin(writes, Vec::new(), Box::new(publish), Arc::new(Notify::new()));
        Self { node, seen, lag }
    }

    fn until_known(&self) {
        while !self.node.state.is_known() || self.node.state.position().head.redo.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn published(&self) -> usize {
        self.seen.lock().unwrap().0
    }

    /// When it published something after its first `before` publications.
    fn published_after(&self, before: usize) -> Instant {
        loop {
            let (count, at) = *self.seen.lock().unwrap();
            if count > before {
                return at;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn commit(&self, edits: Vec<Edit>) {
        let writer = self.node.writer.as_ref().unwrap();
        let (ground, _) = writer.ground().unwrap();
        writer.commit(ground, &edits).unwrap();
    }
}

fn fleet(endpoints: &str, prefix: &str, node: &str) -> Fleet {
    let endpoints: Vec<String> = endpoints.split(',').map(|endpoint| format!("\"{endpoint}\"")).collect();
    let text = format!(
        "[fleet]\nendpoints = [{}]\nprefix = \"{prefix}\"\nnode = \"{node}\"\nhold_mass_removal = false\n",
        endpoints.join(", ")
    );
    config::parse(&text, Path::new("bench.toml")).unwrap().0.fleet.unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// User and system time of this process.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn zone(updated: u64) -> ZoneRow {
    ZoneRow {
        id: ZONE.into(),
        name: "bench.example".into(),
        proxy: false,
        remark: String::new(),
        dns_group: "FAST_ZONE".into(),
        zone_tag: String::new(),
        zone_type: "AUTH_ZONE".into(),
        resource_group: String::new(),
        created: 1,
        updated,
        serial: updated as u32,
        bindings: Vec::new(),
        tags: BTreeMap::new(),
        weighted: Vec::new(),
        sync: None,
    }
}

fn record(id: u64) -> RecordRow {
    RecordRow {
        id,
        zone: ZONE.into(),
        rr: format!("r{id}"),
        rtype: "A".into(),
        value: "10.0.0.1".into(),
        ttl: 60,
        priority: None,
        weight: 1,
        line: "default".into(),
        remark: String::new(),
        enabled: true,
        synced: false,
        created: 1,
        updated: now(),
    }
}
