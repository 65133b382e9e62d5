//! Any packet of a client, by both lanes: what the fast one reads in place the full parser reads alike, and an
//! answer prepared for another client is, patched for this one, octet for octet what the long way gives.
#![no_main]

use hickory_proto::rr::{RData, Record, RecordType, rdata::SOA};
use libfuzzer_sys::fuzz_target;
use pvtzd::engine::answer::Answer;
use pvtzd::engine::cache::{CacheData, Outcome, QueryFlags, Timestamp, seconds_left};
use pvtzd::engine::cached_packet::{CachedPacket, PacketOrigin, PacketKey, PlainQuery};
use pvtzd::engine::catalog::{Catalog, CatalogSpec, Scope};
use pvtzd::engine::chain::{Chain, Fetch, Step};
use pvtzd::engine::name::parse;
use pvtzd::engine::precheck::{Precheck, precheck};
use pvtzd::engine::record::parse_value;
use pvtzd::engine::reply::{TCP, finish, finish_prepared, udp_limit};
use pvtzd::engine::request::{Admission, Question, Request};
use pvtzd::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use std::sync::{Arc, LazyLock};

const START: Timestamp = Timestamp(1_000_000);

/// The view that the keys are made for.
const VIEW: u32 = 3;

/// A private zone with what patches differ in: a set that rotates, aliases to it and to an upstream's name.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut spec = ZoneSpec::new(parse("p.example").unwrap(), ZoneMode::RecursionProxy);
    for (owner, rtype, value) in [
        ("p.example", RecordType::CNAME, "far.test"),
        ("set.p.example", RecordType::A, "10.0.0.1"),
        ("set.p.example", RecordType::A, "10.0.0.2"),
        ("set.p.example", RecordType::A, "10.0.0.3"),
        ("*.wild.p.example", RecordType::TXT, "\"any\""),
        ("alias.p.example", RecordType::CNAME, "set.p.example"),
        ("mx.p.example", RecordType::MX, "10 mail.p.example"),
    ] {
        let data = parse_value(rtype, value).unwrap();
        spec.records.push(ZoneRecord { owner: parse(owner).unwrap(), ttl: 60, data, weight: None });
    }
    let zone = Arc::new(Zone::build(spec, 1).unwrap());
    Catalog::build(CatalogSpec { zones: vec![(zone, Scope::Everyone)], ..Default::default() }).unwrap()
});

/// What the only upstream says: addresses, as many as the name is long, and no other type.
fn entry(fetch: &Fetch) -> CacheData {
    let (name, owner) = (&fetch.question.key, fetch.question.name.clone());
    if fetch.question.rtype == RecordType::A {
        let count = name.wire().len() as u8;
        let a = |i: u8| parse_value(RecordType::A, &format!("192.0.2.{i}")).unwrap();
        let records: Vec<_> = (0..count).map(|i| Record::from_rdata(owner.clone(), 0, a(i))).collect();
        return CacheData::new(Outcome::Rrset, name, &records, &[], 100, true, START);
    }
    let soa = SOA::new(parse("ns.test").unwrap(), parse("nobody.test").unwrap(), 1, 1, 1, 1, 1);
    let soa = Record::from_rdata(parse("test").unwrap(), 0, RData::SOA(soa));
    CacheData::new(Outcome::NoData, name, &[], &[soa], 77, false, START)
}

/// The long way, without its I/O.
fn long_way(request: &Request, question: &Question, now: Timestamp, turn: u64) -> Answer {
    if let Some(answer) = precheck(question, Precheck { allowed: true, version_bind: true }) {
        return answer;
    }
    let flags = QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled };
    let mut chain = Chain::start(CATALOG.view([127, 0, 0, 1].into()), question, flags, turn);
    loop {
        match chain.step() {
            Step::Done(answer) => return answer,
            Step::Fetch(fetch) => {
                let entry = entry(&fetch);
                chain.supply(&entry, seconds_left(entry.expires(), now), false);
            }
        }
    }
}

fn accept(packet: &[u8]) -> (Request, Question) {
    match Request::parse(packet) {
        Admission::Accept(request, question) => (request, question),
        other => panic!("read at a glance, but {other:?}"),
    }
}

fuzz_target!(|packet: &[u8]| {
    let mut key = PacketKey::default();
    let Some(glance) = PlainQuery::at(packet, VIEW, &mut key) else { return };
    let (request, question) = accept(packet);
    let long = PacketKey::of(&request, &question, VIEW).expect("what comes the fast way can be kept for it");
    assert_eq!(key.bytes(), long.bytes(), "one key by both ways");

    // Another client has asked the same before, with another id and in another case. What its answer was rotated
    // by, and when, comes out of the id, since nothing else depends on that.
    let mut other = packet.to_vec();
    other[..2].copy_from_slice(&[!packet[0], packet[1].rotate_left(3)]);
    other[12..12 + question.key.wire().len()].make_ascii_uppercase(); // lengths of labels are below the letters
    let (made, served) = (START, Timestamp(START.0 + u64::from(packet[0]) * 300));
    let (first, second) = (u64::from(packet[1] >> 4), u64::from(packet[1] & 15));
    let (asked, its_question) = accept(&other);
    let answer = long_way(&asked, &its_question, made, first);
    // Kept as it was sent over TCP or, if nothing rotates, over UDP: cut where it does not fit.
    let limit = if packet[1] & 1 == 0 || answer.rotation.is_some() { TCP } else { udp_limit(&asked, 1232) };
    let message = finish(&asked, &answer, limit, 1232);
    let making = PacketOrigin { turn: first, limit, generation: 1, now: made, mark: 0 };
    let Some(prepared) = CachedPacket::of(&key, &message, &answer, making) else { return };
    assert!(prepared.is_for(&long) && prepared.is_valid(1, made) && !prepared.is_valid(2, made));
    if !prepared.is_valid(1, served) {
        return;
    }
    for limit in [512, udp_limit(&request, 1232), TCP] {
        let answer = long_way(&request, &question, served, second);
        let long = finish(&request, &answer, limit, 1232);
        if prepared.serves(&glance, limit) {
            let mut fast = Vec::new();
            prepared.write(&glance, limit, served, second, &mut fast);
            assert_eq!(fast, long, "both lanes give the same octets");
        }
        if let Some(kept) = finish_prepared(&request, &prepared, (served, second), limit, 1232) {
            assert_eq!(kept, long, "a kept answer is the answer");
        }
    }
});
