//! What an entry of the answer cache takes of the process's memory, beside the weight that bounds the cache: in a process
//! of its own, since others of this binary run beside it.

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pvtzd::engine::cache::{CacheData, CacheKey, Outcome, QueryFlags, Timestamp, TtlPolicy};
use pvtzd::engine::catalog::GroupKey;
use pvtzd::engine::name::{NameKey, parse};
use pvtzd::engine::record::parse_value;
use pvtzd::resolve::cache::AnswerCache;
use std::process::Command;

/// Says to a process what it is to keep.
const KIND: &str = "PVTZD_TEST_KEEPS";

/// How many names are kept.
const NAMES: usize = 100_000;

const NOW: Timestamp = Timestamp(1 << 42);

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// An entry of this kind for a name.
fn entry(kind: &str, name: &Name, key: &NameKey) -> CacheData {
    let root = || Name::from_ascii("root.localhost.").unwrap();
    let soa = RData::SOA(SOA::new(Name::from_ascii("localhost.").unwrap(), root(), 1, 3600, 600, 86_400, 60));
    let soa = [Record::from_rdata(parse("bench.test").unwrap(), 60, soa)];
    let a = parse_value(RecordType::A, "198.51.100.99").unwrap();
    let a = [Record::from_rdata(name.clone(), 300, a)];
    let (outcome, answers, authority) = match kind {
        "A" => (Outcome::Rrset, &a[..], &[][..]),
        "NXDOMAIN" => (Outcome::NxDomain, &[][..], &soa[..]),
        _ => (Outcome::NoData, &[][..], &soa[..]),
    };
    CacheData::new(outcome, key, answers, authority, 300, false, NOW)
}

/// Keeps names, and prints by how much the process has grown, and what they weigh, each.
fn keep(kind: &str) {
    let cache = AnswerCache::new(512 << 20, TtlPolicy::default());
    let mut before = 0;
    for number in 0..NAMES + 1000 {
        if number == 1000 {
            before = resident(); // what the first entries have brought along is there
        }
        let name = parse(&format!("c{number}.cold.bench.test")).unwrap();
        let key = NameKey::of(&name);
        let question = CacheKey::new(GroupKey(7), &key, RecordType::A, QueryFlags::default());
        let slot = cache.insert(question, entry(kind, &name, &key), NOW);
        cache.bind(&slot, 1, 0); // it is the finished answer as well
    }
    assert_eq!(cache.len(), NAMES + 1000);
    println!("grown {} weight {}", (resident() - before) / NAMES, cache.bytes() as usize / cache.len());
}

#[test]
fn an_entry_is_small_and_weighs_what_it_takes() {
    if let Ok(kind) = std::env::var(KIND) {
        return keep(&kind);
    }
    for kind in ["A", "NXDOMAIN", "NODATA"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "memory::an_entry_is_small_and_weighs_what_it_takes", "--nocapture"]);
        let output = child.env(KIND, kind).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<usize> = printed
            .lines()
            .filter(|line| line.contains("grown "))
            .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()))
            .collect();
        let &[grown, weight] = &numbers[..] else { panic!("{kind}: {output:?}") };
        assert!(grown <= 200, "{kind}: {grown} octets of memory");
        assert!((grown * 4 / 5..=grown * 5 / 4).contains(&weight), "{kind}: {grown} octets weigh {weight}");
    }
}
