//! What a fleet costs and how fast it is, against three members of etcd on this machine: `cargo bench --bench fleet`. Each
//! figure is the median of 5 rounds. `etcd` and `etcdctl` must be on the PATH; the members keep their data below the
//! folder for temporary files, and end with the bench.
//!
//! Words after `--`: `followers=1000`, `rows=100000`, `seconds=60` (of 100 changes a second, in each round), `rounds=5`,
//! `only=idle,sync,publish,held`, and `write`, which puts the table into docs/performance.md.

#![allow(
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "a bench may print, and ends where something is odd"
)]

mod processes;

use processes::{Daemon, Etcd, end};
use pvtzd::account::row::{RecordRow, ZoneRow};
use pvtzd::account::{Account, Dirty, Edit};
use pvtzd::config::{self, Fleet};
use pvtzd::fleet::{FleetNode, FleetPhase, PreparedFleet};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const ZONE: &str = "0123456789abcdef0123456789abcdef";
const CHANGES: u64 = 20;
const RATE: u64 = 100;
const IDLE: Duration = Duration::from_secs(20);
const MARKS: (&str, &str) = ("<!-- figures of a fleet: begin -->\n", "<!-- figures of a fleet: end -->\n");

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.parse().unwrap());
    if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no etcd: apt-get install etcd-server etcd-client");
        return;
    }
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 20_000, 20_000);
    let bench = Bench {
        etcd: Etcd::start(),
        followers: number("followers", 1000),
        rows: number("rows", 100_000),
        seconds: number("seconds", 60) as u64,
        rounds: number("rounds", 5),
    };
    let is_wanted = |part: &str| value("only").is_none_or(|only| only.split(',').any(|other| other == part));
    let mut table = Vec::new();
    for (part, work) in [
        ("idle", Bench::idle as fn(&Bench) -> Vec<Figure>),
        ("sync", Bench::sync),
        ("publish", Bench::publish),
        ("held", Bench::held),
    ] {
        if is_wanted(part) {
            table.extend(work(&bench));
        }
    }
    let mut text = String::from("| figure | goal | result | |\n| --- | --- | --- | --- |\n");
    for Figure { name, goal, shown, met } in table {
        let met = met.map_or("", |met| if met { "met" } else { "not met" });
        text += &format!("| {name} | {goal} | {shown} | {met} |\n");
    }
    println!("\n{text}");
    if words.iter().any(|word| word == "write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(MARKS.0).unwrap();
        let (_, after) = rest.split_once(MARKS.1).unwrap();
        fs::write(&path, format!("{before}{}{text}{}{after}", MARKS.0, MARKS.1)).unwrap();
        println!("written: {}", path.display());
    }
}

/// A line of the table.
struct Figure {
    name: String,
    goal: &'static str,
    shown: String,
    met: Option<bool>,
}

fn figure(name: impl Into<String>, goal: &'static str, shown: String, met: Option<bool>) -> Figure {
    let name = name.into();
    println!("{name}: {shown}");
    Figure { name, goal, shown, met }
}

/// The median, and both ends, in milliseconds.
fn of_rounds(mut all: Vec<Duration>) -> (Duration, String) {
    all.sort_unstable();
    let ms = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1000.0);
    let (first, median, last) = (all[0], all[all.len() / 2], all[all.len() - 1]);
    (median, format!("{} ms ({}-{})", ms(median), ms(first), ms(last)))
}

struct Bench {
    etcd: Etcd,
    followers: usize,
    rows: usize,
    seconds: u64,
    rounds: usize,
}

impl Bench {
    fn fleet(&self, part: &str, node: &str) -> Fleet {
        config::parse(&self.etcd.section(part, node), Path::new("bench.toml")).unwrap().0.fleet.unwrap()
    }

    /// What a pvtzd with [fleet] costs beyond one without, while nothing changes.
    fn idle(&self) -> Vec<Figure> {
        let runtime = Runtime::new().unwrap();
        let writer = Node::begin(&runtime, &self.fleet("idle", "writer"), None, true);
        writer.until_known();
        writer.commit(vec![Edit::Zone(zone(1)), Edit::Record(record(1))]);
        drop((writer, runtime));
        let mut daemons = [
            Daemon::start(&self.etcd.folder, "with", &self.etcd.section("idle", "daemon")),
            Daemon::start(&self.etcd.folder, "without", ""),
        ];
        sleep(Duration::from_secs(10));
        let (mut cpu, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let before = daemons[0].cpu();
            sleep(IDLE);
            cpu.push(daemons[0].cpu() - before);
            memory.push(daemons[0].memory() as i64 - daemons[1].memory() as i64);
        }
        daemons.iter_mut().for_each(|daemon| end(&mut daemon.process));
        cpu.sort_unstable();
        memory.sort_unstable();
        let share = cpu[cpu.len() / 2].as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        let more = memory[memory.len() / 2] as f64 / 1024.0;
        vec![
            figure(
                "a node that only follows, of a core",
                "at most 0.1 %",
                format!("{share:.3} %"),
                Some(share <= 0.1),
            ),
            figure(
                "its memory above a pvtzd without `[fleet]`",
                "at most 4 MiB",
                format!("{more:.1} MiB"),
                Some(more <= 4.0),
            ),
        ]
    }

    /// Many rows: written, read for the first time, and compared after a compaction.
    fn sync(&self) -> Vec<Figure> {
        let runtime = Runtime::new().unwrap();
        let writer = Node::begin(&runtime, &self.fleet("sync", "writer"), None, true);
        writer.until_known();
        writer.commit(vec![Edit::Zone(zone(1))]);
        let begun = Instant::now();
        let records = (1..=self.rows as u64).map(|id| Edit::Record(record(10_000 + id)));
        writer.commit(records.collect());
        let made = begun.elapsed();
        drop((writer, runtime));
        let state = self.etcd.folder.join("state");
        let (mut first, mut resync, mut load) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let runtime = Runtime::new().unwrap();
            let _ = fs::remove_dir_all(&state);
            let begun = Instant::now();
            let node = Node::begin(&runtime, &self.fleet("sync", &format!("f{round}")), Some(&state), false);
            node.until_known();
            first.push(begun.elapsed());
            assert!(node.node.save());
            drop((node, runtime));
            self.etcd.compact();
            let begun = Instant::now();
            let prepared = PreparedFleet::new(&self.fleet("sync", "again"), Some(&state), Default::default());
            load.push(begun.elapsed());
            let runtime = Runtime::new().unwrap();
            let before = cpu();
            let node = Node::of(&runtime, prepared.unwrap(), false);
            node.until(|node| {
                let view = node.state.view();
                view.counts.compared > 0 && view.phase == FleetPhase::Following
            });
            resync.push(cpu() - before);
            assert_eq!(node.node.state.view().rows, self.rows + 1);
            drop((node, runtime));
        }
        let size = fs::metadata(state.join("fleet.redb")).unwrap().len() as f64 / f64::from(1 << 20);
        let rows = self.rows;
        let ((first, shown_first), (resync, shown_resync)) = (of_rounds(first), of_rounds(resync));
        let (_, shown_load) = of_rounds(load);
        vec![
            figure(format!("{rows} rows in one change"), "", format!("{:.1} s", made.as_secs_f64()), None),
            figure(
                format!("{rows} rows, first read"),
                "at most 3 s",
                shown_first,
                Some(first <= Duration::from_secs(3)),
            ),
            figure(
                format!("{rows} rows, comparison after a compaction that found nothing, of CPU"),
                "at most 300 ms",
                shown_resync,
                Some(resync <= Duration::from_millis(300)),
            ),
            figure(format!("{rows} rows, start from the snapshot of {size:.0} MiB"), "", shown_load, None),
        ]
    }

    /// Followers that know the rows, and their writer.
    fn crowd(&self, runtime: &Runtime, part: &str) -> (Node, Vec<Node>) {
        let writer = Node::begin(runtime, &self.fleet(part, "writer"), None, true);
        writer.until_known();
        writer.commit(vec![Edit::Zone(zone(1))]);
        let begin = |number| Node::begin(runtime, &self.fleet(part, &format!("f{number}")), None, false);
        let nodes: Vec<Node> = (0..self.followers).map(begin).collect();
        nodes.iter().for_each(Node::until_known);
        nodes.iter().for_each(|node| node.until(|node| node.state.view().phase == FleetPhase::Following));
        (writer, nodes)
    }

    /// From the call of the writer to the publication on each follower.
    fn publish(&self) -> Vec<Figure> {
        let runtime = Runtime::new().unwrap();
        let begun = Instant::now();
        let (writer, nodes) = self.crowd(&runtime, "publish");
        let started = begun.elapsed();
        let mut rounds: [Vec<Duration>; 3] = Default::default();
        for round in 0..self.rounds as u64 {
            let mut all = Vec::new();
            for change in 0..CHANGES {
                let before: Vec<usize> = nodes.iter().map(Node::published).collect();
                let at = Instant::now();
                writer.commit(vec![
                    Edit::Record(record(round * CHANGES + change + 1)),
                    Edit::Zone(zone(now())),
                ]);
                for (node, before) in nodes.iter().zip(before) {
                    all.push(node.published_after(before) - at);
                }
            }
            all.sort_unstable();
            for (place, at) in [all.len() / 2, all.len() * 99 / 100, all.len() - 1].into_iter().enumerate() {
                rounds[place].push(all[at]);
            }
        }
        let count = self.followers;
        let [half, most, last] = rounds.map(of_rounds);
        let well = Some(most.0 <= Duration::from_millis(500));
        vec![
            figure(
                format!("{count} followers begun at once know the rows of a small fleet"),
                "",
                format!("{:.1} s", started.as_secs_f64()),
                None,
            ),
            figure(format!("change to publication on {count} followers, half of them"), "", half.1, None),
            figure(
                format!("change to publication on {count} followers, 99 %"),
                "at most 500 ms, better 200",
                most.1,
                well,
            ),
            figure(format!("change to publication on {count} followers, the last"), "", last.1, None),
        ]
    }

    /// Changes at a steady rate, and how far followers lag.
    fn held(&self) -> Vec<Figure> {
        let runtime = Runtime::new().unwrap();
        let (writer, nodes) = self.crowd(&runtime, "held");
        let (mut lags, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            nodes.iter().for_each(|node| node.lag.store(0, Ordering::Relaxed));
            let begun = Instant::now();
            for change in 0..RATE * self.seconds {
                let due = Duration::from_micros(change * 1_000_000 / RATE);
                sleep(due.saturating_sub(begun.elapsed()));
                writer.commit(vec![Edit::Record(record(change % 500 + 1)), Edit::Zone(zone(now()))]);
            }
            rates.push((RATE * self.seconds) as f64 / begun.elapsed().as_secs_f64());
            let revision = writer.node.state.position().revision;
            nodes.iter().for_each(|node| node.until(|node| node.state.position().revision >= revision));
            let most = nodes.iter().map(|node| node.lag.load(Ordering::Relaxed)).max().unwrap_or(0);
            lags.push(Duration::from_millis(most));
        }
        rates.sort_unstable_by(f64::total_cmp);
        let (rate, (lag, shown)) = (rates[rates.len() / 2], of_rounds(lags));
        let (count, seconds) = (self.followers, self.seconds);
        vec![
            figure(
                format!("changes a second held for {seconds} s by one writer, with {count} followers"),
                "100",
                format!("{rate:.0}"),
                Some(rate >= 0.99 * RATE as f64),
            ),
            figure(
                "the largest lag of a follower meanwhile",
                "at most 1 s",
                shown,
                Some(lag <= Duration::from_secs(1)),
            ),
        ]
    }
}

struct Node {
    node: Arc<FleetNode>,
    seen: Arc<Mutex<(usize, Instant)>>,
    /// Milliseconds between a change and its publication, the most.
    lag: Arc<AtomicU64>,
}

impl Node {
    fn begin(runtime: &Runtime, fleet: &Fleet, state: Option<&Path>, writes: bool) -> Self {
        Self::of(runtime, PreparedFleet::new(fleet, state, Default::default()).unwrap(), writes)
    }

    fn of(runtime: &Runtime, prepared: PreparedFleet, writes: bool) -> Self {
        let (seen, lag) = (Arc::new(Mutex::new((0, Instant::now()))), Arc::new(AtomicU64::new(0)));
        let (seeing, lagging) = (seen.clone(), lag.clone());
        let publish = move |account: &Account, _: &Dirty| {
            let mut seen = seeing.lock().unwrap();
            *seen = (seen.0 + 1, Instant::now());
            let made = account.zone(ZONE).map_or(0, |zone| zone.row.updated);
            lagging.fetch_max(now().saturating_sub(made), Ordering::Relaxed);
        };
        let _inside = runtime.enter();
        let node = prepared.begin(writes, Vec::new(), Box::new(publish), Arc::new(Notify::new()));
        Self { node, seen, lag }
    }

    fn until(&self, is_so: impl Fn(&FleetNode) -> bool) {
        while !is_so(&self.node) {
            sleep(Duration::from_millis(1));
        }
    }

    fn until_known(&self) {
        self.until(|node| node.state.is_known() && node.state.position().head.redo.is_none());
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
            sleep(Duration::from_millis(1));
        }
    }

    fn commit(&self, edits: Vec<Edit>) {
        let writer = self.node.writer.as_ref().unwrap();
        let (ground, _) = writer.ground().unwrap();
        writer.commit(ground, &edits, &[]).unwrap();
    }
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
