//! Tests of the fast path: above all that it answers, octet for octet, what the slow path answers.

use super::*;
use crate::engine::cache::{CacheData, Outcome, QueryFlags};
use crate::engine::catalog::{Catalog, CatalogSpec, Scope};
use crate::engine::chain::{Chain, Step};
use crate::engine::cookie::ClientCookie;
use crate::engine::name::{NameKey, parse};
use crate::engine::record::parse_value;
use crate::engine::reply::{TCP, finish, finish_prepared, udp_limit};
use crate::engine::request::Admission;
use crate::engine::request::{Question, Request};
use crate::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use hickory_proto::rr::rdata::{CNAME, NULL};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use std::sync::Arc;

const START: Timestamp = Timestamp(1_000_000);

/// A private zone with a CNAME to an upstream's name, a rotating set, a TXT and an MX record.
fn catalog() -> Catalog {
    let mut spec = ZoneSpec::new(parse("p.example").unwrap(), ZoneMode::RecursionProxy);
    for (owner, rtype, value) in [
        ("p.example", RecordType::CNAME, "far.test"),
        ("set.p.example", RecordType::A, "10.0.0.1"),
        ("set.p.example", RecordType::A, "10.0.0.2"),
        ("set.p.example", RecordType::A, "10.0.0.3"),
        ("alias.p.example", RecordType::CNAME, "set.p.example"),
        ("crowded.p.example", RecordType::CNAME, "crowd.p.example"),
        ("mx.p.example", RecordType::MX, "10 mail.p.example"),
    ] {
        let data = parse_value(rtype, value).unwrap();
        spec.records.push(ZoneRecord { owner: parse(owner).unwrap(), ttl: 60, data, weight: None });
    }
    for i in 0..400 {
        let data = parse_value(RecordType::A, &format!("10.1.{}.{}", i / 256, i % 256)).unwrap();
        spec.records.push(ZoneRecord {
            owner: parse("crowd.p.example").unwrap(),
            ttl: 60,
            data,
            weight: None,
        });
    }
    let zone = Arc::new(Zone::build(spec, 1).unwrap());
    Catalog::build(CatalogSpec { zones: vec![(zone, Scope::Everyone)], ..Default::default() }).unwrap()
}

/// What the only upstream says of a name: one address, a denial, or many addresses.
fn entry(name: &NameKey) -> CacheData {
    let owner = name.to_name();
    let a = |i: u8| {
        Record::from_rdata(owner.clone(), 0, parse_value(RecordType::A, &format!("192.0.2.{i}")).unwrap())
    };
    let soa = RData::SOA(crate::engine::zone::soa_data(7));
    match name.to_string().as_str() {
        "many.test" => {
            CacheData::new(Outcome::Rrset, name, &(0..60).map(a).collect::<Vec<_>>(), &[], 300, true, START)
        }
        "nx.test" => CacheData::new(
            Outcome::NxDomain,
            name,
            &[],
            &[Record::from_rdata(parse("test").unwrap(), 0, soa)],
            77,
            false,
            START,
        ),
        "long.test" => {
            let text = |i: u8| parse_value(RecordType::TXT, &format!("{i}{}", "x".repeat(100))).unwrap();
            let records: Vec<_> = (0..60).map(|i| Record::from_rdata(owner.clone(), 0, text(i))).collect();
            CacheData::new(Outcome::Rrset, name, &records, &[], 100, true, START)
        }
        // an alias with proofs, to a denial that has the same and more
        "hop.test" => {
            let target = parse("denied.test").unwrap();
            let alias = Record::from_rdata(owner, 0, RData::CNAME(CNAME(target.clone())));
            CacheData::new(Outcome::Alias(target), name, &[alias], &proofs(3), 300, true, START)
        }
        "denied.test" => CacheData::new(Outcome::NxDomain, name, &[], &proofs(5), 77, true, START),
        "signed.test" => CacheData::new(
            Outcome::Rrset,
            name,
            &[a(1), a(2), signature(&owner)],
            &proofs(4),
            300,
            true,
            START,
        ),
        _ => CacheData::new(Outcome::Rrset, name, &[a(1)], &[], 100, true, START),
    }
}

/// A signature, as far as anybody here looks at it.
fn signature(owner: &Name) -> Record {
    let data = NULL::with(vec![7; 90]);
    Record::from_rdata(owner.clone(), 0, RData::Unknown { code: RecordType::from(46), rdata: data })
}

/// A SOA and this many proofs of a denial.
fn proofs(count: u8) -> Vec<Record> {
    let soa = RData::SOA(crate::engine::zone::soa_data(7));
    let nsec = |i: u8| {
        let data = RData::Unknown { code: RecordType::from(47), rdata: NULL::with(vec![i; 60]) };
        let owner = parse(&format!("n{i}.test")).unwrap();
        [signature(&owner), Record::from_rdata(owner, 0, data)]
    };
    let soa = Record::from_rdata(parse("test").unwrap(), 0, soa);
    std::iter::once(soa).chain((0..count).flat_map(nsec)).collect()
}

/// The slow path, without its I/O, with all records.
fn long_way(catalog: &Catalog, request: &Request, question: &Question, now: Timestamp, turn: u64) -> Answer {
    within(catalog, request, question, (now, turn), usize::MAX)
}

/// The same with no more records than a message of this size can hold.
fn within(
    catalog: &Catalog,
    request: &Request,
    question: &Question,
    (now, turn): (Timestamp, u64),
    limit: usize,
) -> Answer {
    let flags = QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled };
    let view = catalog.view("127.0.0.1".parse().unwrap());
    let mut chain = Chain::start(view, question, flags, turn).within(limit);
    loop {
        match chain.step() {
            Step::Done(answer) => return answer,
            Step::Fetch(fetch) => {
                let entry = entry(&fetch.question.key);
                let left = seconds_left(entry.expires(), now);
                chain.supply(&entry, left, false);
            }
        }
    }
}

fn packet(id: u16, name: &str, rtype: u16, edns: Option<(u16, bool)>, cd: bool, ad: bool) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, u8::from(cd) << 4 | u8::from(ad) << 5, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some((payload, dnssec_ok)) = edns {
        bytes.extend([0, 0, 41]);
        bytes.extend(payload.to_be_bytes());
        bytes.extend([0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0]);
    }
    bytes
}

fn accept(packet: &[u8]) -> (Request, Question) {
    match Request::parse(packet) {
        Admission::Accept(request, question) => (request, question),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_both_ways_are_the_same() {
    for edns in [None, Some((1232, false)), Some((4096, true))] {
        for (cd, ad) in [(false, false), (true, false), (false, true)] {
            let bytes = packet(7, "WWW.Example", 28, edns, cd, ad);
            let (request, question) = accept(&bytes);
            let long = PacketKey::of(&request, &question, 3).unwrap();
            let (mut same, mut other) = (PacketKey::default(), PacketKey::default());
            assert!(
                PlainQuery::at(&bytes, 3, &mut same).is_some()
                    && PlainQuery::at(&bytes, 4, &mut other).is_some()
            );
            assert_eq!(same.bytes(), long.bytes());
            assert_ne!(other.bytes(), long.bytes());
        }
    }
}

#[test]
fn what_is_not_plain_goes_the_long_way() {
    let plain = packet(7, "a.example", 1, Some((1232, false)), false, false);
    assert!(PlainQuery::at(&plain, 0, &mut PacketKey::default()).is_some());
    for (at, value) in
        [(2, 0x00), (2, 0x81), (2, 0x09), (2, 0x03), (3, 0x80), (3, 0x40), (5, 2), (7, 1), (9, 1), (11, 2)]
    {
        let mut odd = plain.clone();
        odd[at] = value;
        assert!(PlainQuery::at(&odd, 0, &mut PacketKey::default()).is_none(), "octet {at} = {value:#x}");
    }
    assert!(PlainQuery::at(&plain[..plain.len() - 1], 0, &mut PacketKey::default()).is_none());
    assert!(PlainQuery::at(&[plain.as_slice(), &[0]].concat(), 0, &mut PacketKey::default()).is_none());
}

#[test]
fn an_answer_is_not_served_beyond_its_due_time_or_catalog() {
    let catalog = catalog();
    let bytes = packet(7, "p.example", 1, None, false, false);
    let (request, question) = accept(&bytes);
    let key = PacketKey::of(&request, &question, 0).unwrap();
    let answer = long_way(&catalog, &request, &question, START, 0);
    let reply = finish(&request, &answer, 512, 1232);
    let making = PacketOrigin { turn: 0, limit: 512, generation: 5, now: START, mark: 77 };
    let prepared = CachedPacket::of(&key, &reply, &answer, making).unwrap();
    assert!(prepared.is_valid(5, Timestamp(START.0 + 89_999)));
    assert!(!prepared.is_valid(5, Timestamp(START.0 + 90_000)), "the last tenth is for the refresh");
    assert!(!prepared.is_valid(6, START), "another catalog");
    assert_eq!((prepared.mark(), prepared.rcode()), (77, 0));
}

#[test]
fn a_cut_answer_is_kept_for_messages_that_are_no_larger() {
    let catalog = catalog();
    let bytes = packet(7, "long.test", 16, Some((1232, false)), false, false);
    let (request, question) = accept(&bytes);
    let key = PacketKey::of(&request, &question, 0).unwrap();
    let answer = long_way(&catalog, &request, &question, START, 0);
    let making = PacketOrigin { turn: 0, limit: 1000, generation: 1, now: START, mark: 0 };
    let message = finish(&request, &answer, 1000, 1232);
    assert!(message[2] & TC != 0, "it is cut");
    let prepared = CachedPacket::of(&key, &message, &answer, making).unwrap();
    let mut key = PacketKey::default();
    let glance = PlainQuery::at(&bytes, 0, &mut key).unwrap();
    for limit in [512, 999, 1000, 1001, 65_535] {
        assert_eq!(prepared.serves(&glance, limit), limit <= 1000);
        let by_the_long_way = finish_prepared(&request, &prepared, (START, 0), limit, 1232);
        assert_eq!(by_the_long_way.is_some(), limit <= 1000);
        if limit <= 1000 {
            let mut fast = Vec::new();
            prepared.write(&glance, limit, START, 0, &mut fast);
            assert_eq!(fast, finish(&request, &answer, limit, 1232));
            assert_eq!(by_the_long_way, Some(fast));
        }
    }
}

#[test]
fn a_cut_answer_that_rotates_is_kept_whole_or_not_at_all() {
    let catalog = catalog();
    let bytes = packet(7, "many.test", 1, None, false, false);
    let (request, question) = accept(&bytes);
    let key = PacketKey::of(&request, &question, 0).unwrap();
    let answer = long_way(&catalog, &request, &question, START, 0);
    let making = |limit| PacketOrigin { turn: 0, limit, generation: 1, now: START, mark: 0 };
    let finished =
        |limit| CachedPacket::of(&key, &finish(&request, &answer, limit, 1232), &answer, making(limit));
    assert!(finished(512).is_none());
    assert!(finished(65_535).is_some());
}

fn mixed_case(name: &str, mask: u64) -> String {
    let flip = |(at, c): (usize, char)| if mask >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
    name.chars().enumerate().map(flip).collect()
}

proptest! {
    /// One client's query prepares an answer, another client's is answered with it, at another time and turn, in
    /// another case, with another id, payload size and transport, by the fast path and, out of the same finished
    /// answer, by the slow path: the octets are those of the slow path without it.
    #[test]
    fn both_lanes_give_the_same_octets(
        name in prop::sample::select(vec![
            "p.example", "set.p.example", "alias.p.example", "mx.p.example", "www.test", "nx.test", "many.test",
            "long.test", "signed.test", "hop.test", "crowd.p.example", "crowded.p.example", "nothing.p.example",
            "localhost",
        ]),
        rtype in prop::sample::select(vec![1u16, 28, 15, 16, 5, 6, 255]),
        edns in prop::option::of((prop::sample::select(vec![512u16, 900, 1232, 4096]), any::<bool>())),
        payload in 0u16..5000, ids in any::<[u16; 2]>(), cases in any::<[u64; 2]>(), flags in any::<[bool; 2]>(),
        turns in any::<[u32; 2]>(), ages in [0u64..60_000, 0u64..60_000], tcp in any::<[bool; 2]>(),
        cookies in any::<[bool; 2]>(), recursion in any::<bool>(), own in prop::sample::select(vec![1232u16, 4096]),
    ) {
        let catalog = catalog();
        let first = packet(ids[0], &mixed_case(name, cases[0]), rtype, edns, flags[0], flags[1]);
        let second_edns = edns.map(|(_, dnssec_ok)| (payload, dnssec_ok));
        let second = packet(ids[1], &mixed_case(name, cases[1]), rtype, second_edns, flags[0], flags[1]);
        let (made, served) = (Timestamp(START.0 + ages[0]), Timestamp(START.0 + ages[0] + ages[1] / 10));

        let (mut request, question) = accept(&first);
        if cookies[0] && let Some(edns) = &mut request.edns {
            edns.cookie = Some(ClientCookie { client: [1; 8], server: None });
            request.give_cookie(&[2; 16]);
        }
        let key = PacketKey::of(&request, &question, 0).unwrap();
        let limit = if tcp[0] { TCP } else { udp_limit(&request, own) };
        let turn = u64::from(turns[0]);
        let answer = long_way(&catalog, &request, &question, made, turn);
        let message = finish(&request, &answer, limit, own);
        let cut = message[2] & TC != 0;
        // what rotates and does not fit is kept with all its records
        let limit = if cut && answer.rotation.is_some() { TCP } else { limit };
        let making = PacketOrigin { turn, limit, generation: 1, now: made, mark: 0 };
        let prepared = CachedPacket::of(&key, &finish(&request, &answer, limit, own), &answer, making).unwrap();

        let mut looked_up = PacketKey::default();
        let glance = PlainQuery::at(&second, 0, &mut looked_up).unwrap();
        prop_assert!(prepared.is_for(&looked_up));
        let (mut request, question) = accept(&second);
        let limit = if tcp[1] { TCP } else { udp_limit(&request, own) };
        if !prepared.is_valid(1, served) {
            return Ok(());
        }
        let (turn, moment) = (u64::from(turns[1]), (served, u64::from(turns[1])));
        let answer = within(&catalog, &request, &question, moment, limit);
        if prepared.serves(&glance, limit) {
            let mut fast = Vec::new();
            prepared.write(&glance, limit, served, turn, &mut fast);
            prop_assert!(fast.len() <= limit);
            prop_assert_eq!(fast, finish(&request, &answer, limit, own));
        } else {
            prop_assert!(cut, "only a cut answer is kept for some sizes only");
        }
        request.recursion_desired = recursion;
        if cookies[1] && let Some(edns) = &mut request.edns {
            edns.cookie = Some(ClientCookie { client: [3; 8], server: None });
            request.give_cookie(&[4; 16]);
        }
        if let Some(by_the_long_way) = finish_prepared(&request, &prepared, moment, limit, own) {
            prop_assert_eq!(by_the_long_way, finish(&request, &answer, limit, own));
        }
    }

    #[test]
    fn arbitrary_packets_never_panic_and_agree_with_the_full_parser(mut bytes in prop::collection::vec(any::<u8>(), 0..80), plain in any::<bool>()) {
        if plain && bytes.len() > 12 {
            bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let mut key = PacketKey::default();
        if PlainQuery::at(&bytes, 0, &mut key).is_some() {
            let (request, question) = accept(&bytes);
            let long_key = PacketKey::of(&request, &question, 0).unwrap();
            prop_assert_eq!(key.bytes(), long_key.bytes());
        }
    }
}
