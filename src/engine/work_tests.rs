//! What an answer costs, in records looked at, decoded and encoded and in octets copied, for every kind of cached set:
//! as much as its message has room for, and no more the larger the set is.

use super::*;
use crate::engine::answer::Answer;
use crate::engine::cache::{CacheData, Outcome, QueryFlags, Timestamp};
use crate::engine::cached_packet::{CachedPacket, PacketKey, PacketOrigin, PlainQuery};
use crate::engine::catalog::{Catalog, CatalogSpec, Scope};
use crate::engine::chain::{Chain, MAX_HOPS, Step};
use crate::engine::name::{NameKey, parse};
use crate::engine::record::parse_value;
use crate::engine::reply::{TCP, finish, finish_prepared};
use crate::engine::request::{Admission, Question, Request};
use crate::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use hickory_proto::rr::rdata::{CNAME, NULL};
use hickory_proto::rr::{RData, Record, RecordType};
use std::collections::HashMap;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000_000);

/// What a datagram has room for by default.
const UDP: usize = 1232;

/// Room for all records of every set here.
const ALL: usize = 1 << 20;

/// A question, and what is cached or configured for it.
struct Kind {
    what: &'static str,
    name: &'static str,
    rtype: RecordType,
    dnssec_ok: bool,
    entries: HashMap<NameKey, CacheData>,
    catalog: Catalog,
}

fn value(rtype: RecordType, text: &str) -> RData {
    parse_value(rtype, text).unwrap()
}

fn address(number: usize) -> RData {
    value(RecordType::A, &format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255))
}

fn opaque(code: u16, number: usize, octets: usize) -> RData {
    let mut data = number.to_be_bytes().to_vec();
    data.resize(octets, 7);
    RData::Unknown { code: RecordType::from(code), rdata: NULL::with(data) }
}

fn key(name: &str) -> NameKey {
    NameKey::of(&parse(name).unwrap())
}

fn entry(outcome: Outcome, name: &str, answers: &[Record], authority: &[Record]) -> (NameKey, CacheData) {
    (key(name), CacheData::new(outcome, &key(name), answers, authority, 3600, true, NOW))
}

fn at(name: &str, data: RData) -> Record {
    Record::from_rdata(parse(name).unwrap(), 0, data)
}

fn alias(name: &str, target: &str, more: &[Record]) -> (NameKey, CacheData) {
    let target = parse(target).unwrap();
    let mut records = more.to_vec();
    records.push(at(name, RData::CNAME(CNAME(target.clone()))));
    entry(Outcome::Alias(target), name, &records, &[])
}

/// Proofs, each with its signature.
fn proofs(count: usize) -> Vec<Record> {
    let proof =
        |i| [at(&format!("n{i}.test"), opaque(47, i, 40)), at(&format!("n{i}.test"), opaque(46, i, 90))];
    (0..count).flat_map(proof).collect()
}

fn cached(
    what: &'static str,
    rtype: &str,
    dnssec_ok: bool,
    entries: impl IntoIterator<Item = (NameKey, CacheData)>,
) -> Kind {
    let catalog = Catalog::build(CatalogSpec::default()).unwrap();
    let rtype = crate::engine::record::parse_type(rtype).unwrap();
    Kind { what, name: "www.test", rtype, dnssec_ok, entries: entries.into_iter().collect(), catalog }
}

fn set(what: &'static str, rtype: &str, data: impl Iterator<Item = RData>) -> Kind {
    let records: Vec<Record> = data.map(|data| at("www.test", data)).collect();
    cached(what, rtype, false, [entry(Outcome::Rrset, "www.test", &records, &[])])
}

fn private(what: &'static str, rtype: &str, values: impl Iterator<Item = (RData, Option<u8>)>) -> Kind {
    let mut spec = ZoneSpec::new(parse("www.test").unwrap(), ZoneMode::Override);
    let owner = spec.apex.clone();
    spec.records.extend(values.map(|(data, weight)| ZoneRecord {
        owner: owner.clone(),
        ttl: 60,
        data,
        weight,
    }));
    let zone = Arc::new(Zone::build(spec, 1).unwrap());
    let catalog = CatalogSpec { zones: vec![(zone, Scope::Everyone)], ..Default::default() };
    Kind { catalog: Catalog::build(catalog).unwrap(), ..cached(what, rtype, false, []) }
}

fn kinds() -> Vec<Kind> {
    let names =
        |count: usize| (0..count).map(|i| value(RecordType::NS, &format!("ns{i}.of-some-length.test")));
    let text = |i: usize| value(RecordType::TXT, &format!("{i:03}{}", "x".repeat(240)));
    let hops = (0..MAX_HOPS - 1).map(|i| alias(&hop(i), &hop(i + 1), &[]));
    let end = entry(Outcome::Rrset, &hop(MAX_HOPS - 1), &[at(&hop(MAX_HOPS - 1), address(1))], &[]);
    let dname = at("test", opaque(39, 0, 6));
    let signed = [at("www.test", address(1)), at("www.test", opaque(46, 0, 90))];
    vec![
        set("an address", "A", (0..1).map(address)),
        set("100 addresses", "A", (0..100).map(address)),
        set("1,000 addresses", "A", (0..1000).map(address)),
        set("3,801 name servers", "NS", names(3801)),
        set("64 KiB of text", "TXT", (0..255).map(text)),
        cached("a denial", "A", false, [entry(Outcome::NxDomain, "www.test", &[], &soa())]),
        cached(
            "a signed denial",
            "A",
            true,
            [entry(Outcome::NxDomain, "www.test", &[], &[soa(), proofs(4)].concat())],
        ),
        cached("a chain of 16 names", "A", false, hops.chain([end])),
        cached(
            "a DNAME",
            "A",
            false,
            [
                alias("www.test", "www.other", &[dname]),
                entry(Outcome::Rrset, "www.other", &[at("www.other", address(1))], &[]),
            ],
        ),
        cached("a signed answer", "A", true, [entry(Outcome::Rrset, "www.test", &signed, &proofs(1))]),
        cached("a huge authority", "A", true, [entry(Outcome::Rrset, "www.test", &signed, &proofs(300))]),
        cached(
            "a huge authority, without DO",
            "A",
            false,
            [entry(Outcome::Rrset, "www.test", &signed, &proofs(300))],
        ),
        private("10,000 private addresses", "A", (0..10_000).map(|i| (address(i), None))),
        private("1,000 private addresses with weights", "A", (0..1000).map(|i| (address(i), Some(1)))),
        private("3,801 private name servers", "NS", names(3801).map(|data| (data, None))),
    ]
}

fn hop(number: usize) -> String {
    if number == 0 { "www.test".into() } else { format!("hop{number}.some.where.test") }
}

fn soa() -> Vec<Record> {
    vec![at("test", RData::SOA(crate::engine::zone::soa_data(1)))]
}

impl Kind {
    fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        packet.extend(key(self.name).wire());
        packet.extend(u16::from(self.rtype).to_be_bytes());
        packet.extend([0, 1, 0, 0, 41, 4, 208, 0, 0, u8::from(self.dnssec_ok) << 7, 0, 0, 0]);
        packet
    }

    fn accept(&self) -> (Request, Question) {
        match Request::parse(&self.packet()) {
            Admission::Accept(request, question) => (request, question),
            other => panic!("{other:?}"),
        }
    }

    /// The slow path, out of the cache, and the answer that came of it.
    fn compose(&self, limit: usize, turn: u64) -> (Vec<u8>, Answer) {
        let (request, question) = self.accept();
        let flags = QueryFlags { dnssec_ok: self.dnssec_ok, checking_disabled: false };
        let view = self.catalog.view([127, 0, 0, 1].into());
        let mut chain = Chain::start(view, &question, flags, turn).within(limit);
        let answer = loop {
            match chain.step() {
                Step::Done(answer) => break answer,
                Step::Fetch(fetch) => chain.supply(&self.entries[&fetch.question.key], 3600, false),
            }
        };
        (finish(&request, &answer, limit, UDP as u16), answer)
    }

    /// The cached packet of it; None if each answer is selected anew.
    fn keep(&self, limit: usize) -> Option<CachedPacket> {
        let (request, question) = self.accept();
        let key = PacketKey::of(&request, &question, 0).unwrap();
        let making = |limit| PacketOrigin { turn: 0, limit, generation: 1, now: NOW, mark: 0 };
        let (message, answer) = self.compose(limit, 0);
        if message[2] & 2 != 0 && answer.rotation.is_some() {
            let (message, answer) = self.compose(ALL, 0);
            return CachedPacket::of(&key, &message, &answer, making(ALL));
        }
        CachedPacket::of(&key, &message, &answer, making(limit))
    }
}

/// More records than this have no room in a message, however short they are.
fn most(limit: usize) -> usize {
    limit / 12
}

#[test]
fn the_long_way_decodes_nothing_and_looks_at_and_encodes_what_is_sent() {
    for kind in kinds() {
        for limit in [512, UDP, TCP] {
            let ((message, _), work) = count(|| kind.compose(limit, 7));
            let Work { visited, unpacked, written } = work;
            let what = format!("{} in {limit} octets: {work:?}", kind.what);
            assert!(message.len() <= limit, "{what}");
            assert!(unpacked == 0 && written <= most(limit) + 1, "{what}");
            // proofs are passed over for who did not send DO: their number has a bound of its own
            let passed_over = if kind.what.ends_with("without DO") { 600 } else { 0 };
            assert!(visited <= 2 * most(limit) + passed_over + 20, "{what}");
        }
    }
}

#[test]
fn a_set_costs_the_same_whichever_of_its_records_is_the_first() {
    for what in ["1,000 addresses", "10,000 private addresses"] {
        let kind = kinds().into_iter().find(|kind| kind.what == what).unwrap();
        let visited = |turn| count(|| kind.compose(UDP, turn)).1.visited;
        assert!([0, 1, 500, 999].into_iter().all(|turn| visited(turn) <= most(UDP) + 2), "{what}");
    }
}

#[test]
fn the_fast_lane_copies_what_is_sent_and_decodes_nothing() {
    for kind in kinds() {
        for limit in [512, UDP, TCP] {
            let what = format!("{} in {limit} octets", kind.what);
            let Some(prepared) = kind.keep(limit) else {
                assert!(kind.what.ends_with("with weights"), "{what}: nothing is kept");
                continue;
            };
            let packet = kind.packet();
            let (mut key, mut out) = (PacketKey::default(), Vec::new());
            let glance = PlainQuery::at(&packet, 0, &mut key).unwrap();
            assert!(prepared.serves(&glance, limit), "{what}");
            let ((), work) = count(|| prepared.write(&glance, limit, NOW, 7, &mut out));
            assert_eq!(out, kind.compose(limit, 7).0, "{what}");
            assert_eq!((work.unpacked, work.written), (0, 0), "{what}");
            assert!(work.visited <= most(limit) + 1, "{what}: {work:?}");
            if limit == UDP {
                // A cut answer is no larger than its datagram, but where all of it must be there to rotate.
                let rotates = prepared.rotates() || prepared.size() < 3 * UDP;
                assert!(rotates, "{what}: {} octets are kept", prepared.size());
            }
        }
    }
}

#[test]
fn a_query_with_options_gets_the_finished_answer() {
    for kind in kinds() {
        let Some(prepared) = kind.keep(UDP) else { continue };
        let (mut request, _) = kind.accept();
        request.recursion_desired = false;
        let (reply, work) = count(|| finish_prepared(&request, &prepared, (NOW, 7), UDP, UDP as u16));
        assert!(reply.is_some_and(|reply| reply.len() <= UDP), "{}", kind.what);
        assert_eq!((work.unpacked, work.written), (0, 0), "{}: {work:?}", kind.what);
    }
}

#[test]
fn a_cut_set_that_rotates_begins_with_each_of_its_records() {
    let kind = private("many", "A", (0..500).map(|i| (address(i), None)));
    let prepared = kind.keep(UDP).unwrap();
    let packet = kind.packet();
    let (mut key, mut firsts) = (PacketKey::default(), std::collections::HashSet::new());
    let glance = PlainQuery::at(&packet, 0, &mut key).unwrap();
    for turn in 0..500 {
        let mut out = Vec::new();
        prepared.write(&glance, UDP, NOW, turn, &mut out);
        assert_eq!(out, kind.compose(UDP, turn).0);
        firsts.insert(out[26 + 12..26 + 16].to_vec());
    }
    assert_eq!(firsts.len(), 500);
}
