//! What a question costs for each kind of cached set, by both lanes and transports.

use super::{NOW, ROOM};
use divan::{Bencher, counter::ItemsCount};
use hickory_proto::rr::rdata::{CNAME, NULL, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pvtzd::engine::answer::Answer;
use pvtzd::engine::cache::{CacheData, CacheKey, Outcome, QueryFlags, TtlPolicy};
use pvtzd::engine::cached_packet::{CachedPacket, PacketKey, PacketOrigin, PlainQuery};
use pvtzd::engine::catalog::{Catalog, CatalogSpec, GroupKey, Scope};
use pvtzd::engine::chain::{Chain, Step};
use pvtzd::engine::name::{NameKey, parse};
use pvtzd::engine::record::{parse_type, parse_value};
use pvtzd::engine::reply::{TCP, finish};
use pvtzd::engine::request::{Admission, Request};
use pvtzd::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use pvtzd::resolve::cache::AnswerCache;
use pvtzd::resolve::packet_cache::PacketCache;
use std::sync::Arc;

/// The kinds, the cheapest first. "private" ones are configured here, the others came from an upstream.
const KINDS: [&str; 15] = [
    "1 A",
    "denial",
    "denial, DO",
    "A, DO",
    "chain of 16",
    "DNAME",
    "100 A",
    "1000 A",
    "100 NS",
    "3801 NS",
    "64 KiB TXT",
    "600 proofs, DO",
    "private 10000 A",
    "private 3801 NS",
    "private 1000 weights",
];

/// The size of a datagram by default.
const UDP: usize = 1232;

/// A question, with what the cache and the zones have for it.
struct Kind {
    packet: Vec<u8>,
    catalog: Catalog,
    cache: AnswerCache,
}

fn opaque(owner: &str, code: u16, number: usize, octets: usize) -> Record {
    let mut data = number.to_be_bytes().to_vec();
    data.resize(octets, 7);
    at(owner, RData::Unknown { code: RecordType::from(code), rdata: NULL::with(data) })
}

fn at(owner: &str, data: RData) -> Record {
    Record::from_rdata(parse(owner).unwrap(), 0, data)
}

/// A record of a numbered value.
fn numbered(rtype: &str, number: usize) -> RData {
    let value = match rtype {
        "NS" => format!("ns{number}.of-some-length.test"),
        "TXT" => format!("{number:03}{}", "x".repeat(240)),
        _ => format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
    };
    parse_value(parse_type(rtype).unwrap(), &value).unwrap()
}

/// Proofs of a denial, each with its signature.
fn proofs(count: usize) -> Vec<Record> {
    let owner = |i| format!("n{i}.test");
    (0..count).flat_map(|i| [opaque(&owner(i), 47, i, 40), opaque(&owner(i), 46, i, 90)]).collect()
}

fn soa() -> Vec<Record> {
    vec![at("test", RData::SOA(SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, 60)))]
}

/// An entry for a name: what it says, and its sections.
type Said = (String, Outcome, Vec<Record>, Vec<Record>);

fn alias(from: &str, to: &str, mut records: Vec<Record>) -> Said {
    let target = parse(to).unwrap();
    records.push(at(from, RData::CNAME(CNAME(target.clone()))));
    (from.into(), Outcome::Alias(target), records, vec![])
}

fn set(rtype: &str, count: usize) -> Vec<Said> {
    let records = (0..count).map(|i| at("www.test", numbered(rtype, i))).collect();
    vec![("www.test".into(), Outcome::Rrset, records, vec![])]
}

impl Kind {
    fn new(kind: &str) -> Self {
        let words: Vec<&str> = kind.split(' ').collect();
        let signed = || vec![at("www.test", numbered("A", 1)), opaque("www.test", 46, 0, 90)];
        let rrset = |name: &str| (name.to_string(), Outcome::Rrset, vec![at(name, numbered("A", 1))], vec![]);
        let denial = |proofs| vec![("www.test".into(), Outcome::NxDomain, vec![], proofs)];
        let hop = |i| if i == 0 { "www.test".into() } else { format!("hop{i}.some.where.test") };
        let (rtype, entries) = match words[..] {
            ["denial"] => ("A", denial(soa())),
            ["denial,", _] => ("A", denial([soa(), proofs(4)].concat())),
            ["A,", _] => ("A", vec![("www.test".into(), Outcome::Rrset, signed(), proofs(1))]),
            ["600", ..] => ("A", vec![("www.test".into(), Outcome::Rrset, signed(), proofs(300))]),
            ["chain", ..] => {
                let aliases = (0..15).map(|i| alias(&hop(i), &hop(i + 1), vec![]));
                ("A", aliases.chain([rrset(&hop(15))]).collect())
            }
            ["DNAME"] => {
                let dname = opaque("test", 39, 0, 6);
                ("A", vec![alias("www.test", "www.other", vec![dname]), rrset("www.other")])
            }
            ["64", _, rtype] => (rtype, set(rtype, 255)),
            ["private", _, rtype] => (if rtype == "weights" { "A" } else { rtype }, vec![]),
            [count, rtype] => (rtype, set(rtype, count.parse().unwrap())),
            _ => panic!("{kind}"),
        };
        let mut spec = CatalogSpec::default();
        if let ["private", count, of] = words[..] {
            let mut zone = ZoneSpec::new(parse("www.test").unwrap(), ZoneMode::Override);
            let weight = (of == "weights").then_some(1);
            zone.records.extend((0..count.parse().unwrap()).map(|i| {
                let data = numbered(rtype, i);
                ZoneRecord { owner: parse("www.test").unwrap(), ttl: 60, data, weight }
            }));
            spec.zones.push((Arc::new(Zone::build(zone, 1).unwrap()), Scope::Everyone));
        }
        let rtype = parse_type(rtype).unwrap();
        let dnssec_ok = kind.ends_with("DO");
        let flags = QueryFlags { dnssec_ok, checking_disabled: false };
        let cache = AnswerCache::new(ROOM, TtlPolicy::default());
        for (name, outcome, answers, authority) in entries {
            let name = NameKey::of(&parse(&name).unwrap());
            let entry = CacheData::new(outcome, &name, &answers, &authority, 3600, true, NOW);
            cache.insert(CacheKey::new(GroupKey::DEFAULT, &name, rtype, flags), entry, NOW);
        }
        let mut packet = super::packet("www.test");
        let type_at = packet.len() - 11 - 4;
        packet[type_at..type_at + 2].copy_from_slice(&u16::from(rtype).to_be_bytes());
        let do_at = packet.len() - 4;
        packet[do_at] = u8::from(dnssec_ok) << 7;
        Self { packet, catalog: Catalog::build(spec).unwrap(), cache }
    }

    /// The long way, from the packet to the message: parsed, decided, looked up in the cache, finished.
    fn compose(&self, limit: usize, turn: u64) -> (Request, Vec<u8>, Answer) {
        let Admission::Accept(request, question) = Request::parse(&self.packet) else { panic!() };
        let flags = QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: false };
        let view = self.catalog.view([127, 0, 0, 1].into());
        let mut chain = Chain::start(view, &question, flags, turn).within(limit);
        let answer = loop {
            match chain.step() {
                Step::Done(answer) => break answer,
                Step::Fetch(fetch) => {
                    let (slot, _) = self.cache.get(fetch.cache_key(), NOW).unwrap();
                    chain.supply(&slot.entry(), 3600, false);
                }
            }
        };
        let message = finish(&request, &answer, limit, UDP as u16);
        (request, message, answer)
    }

    /// The finished answer; nothing where each answer is drawn anew.
    fn keep(&self, limit: usize) -> Option<(PacketKey, CachedPacket)> {
        let (request, mut message, mut answer) = self.compose(limit, 0);
        let mut limit = limit;
        if message[2] & 2 != 0 && answer.rotation.is_some() {
            limit = 1 << 20;
            (_, message, answer) = self.compose(limit, 0);
        }
        let key = PacketKey::of(&request, request.question.as_ref().unwrap(), 0).unwrap();
        let making = PacketOrigin { turn: 0, limit, generation: 1, now: NOW, mark: 0 };
        Some((key.clone(), CachedPacket::of(&key, &message, &answer, making)?))
    }
}

/// The fast lane: glance, look-up, copy.
fn fast(bencher: Bencher<'_, '_>, kind: &str, limit: usize) {
    let kind = Kind::new(kind);
    let answers = PacketCache::new(ROOM);
    let Some((key, prepared)) = kind.keep(limit) else { return long(bencher, kind, limit) };
    answers.insert(&key, prepared);
    let (mut key, mut out, mut turn) = (PacketKey::default(), Vec::with_capacity(1 << 16), 0);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        turn += 1;
        let glance = PlainQuery::at(&kind.packet, 0, &mut key).unwrap();
        let prepared = answers.get(&key).unwrap();
        assert!(prepared.is_valid(1, NOW) && prepared.serves(&glance, limit));
        prepared.write(&glance, limit, NOW, turn, &mut out);
        out.len()
    });
}

fn long(bencher: Bencher<'_, '_>, kind: Kind, limit: usize) {
    let mut turn = 0;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        turn += 1;
        kind.compose(limit, turn).1.len()
    });
}

/// Over UDP by the fast lane. What is drawn by weight has no finished answer and goes the long way.
#[divan::bench(args = KINDS, sample_size = 100)]
fn fast_udp(bencher: Bencher<'_, '_>, kind: &str) {
    fast(bencher, kind, UDP);
}

/// Over TCP by the fast lane.
#[divan::bench(args = KINDS, sample_size = 20)]
fn fast_tcp(bencher: Bencher<'_, '_>, kind: &str) {
    fast(bencher, kind, TCP);
}

/// Over UDP the long way, as in the last tenth of an answer's life and beyond it.
#[divan::bench(args = KINDS, sample_size = 20)]
fn long_udp(bencher: Bencher<'_, '_>, kind: &str) {
    long(bencher, Kind::new(kind), UDP);
}

/// Over TCP the long way.
#[divan::bench(args = KINDS, sample_size = 5)]
fn long_tcp(bencher: Bencher<'_, '_>, kind: &str) {
    long(bencher, Kind::new(kind), TCP);
}
