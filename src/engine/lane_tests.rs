//! Tests of the fast lane: above all that it answers, octet for octet, what the long way answers.

use super::*;
use crate::engine::cache::{Entry, Outcome, QueryFlags};
use crate::engine::catalog::{Catalog, CatalogSpec, Scope};
use crate::engine::chain::{Chain, Step};
use crate::engine::name::{NameKey, parse};
use crate::engine::record::parse_value;
use crate::engine::reply::{finish, udp_limit};
use crate::engine::request::Admission;
use crate::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use hickory_proto::rr::{RData, Record, RecordType};
use proptest::prelude::*;
use std::sync::Arc;

const START: Moment = Moment(1_000_000);

/// A private zone with a CNAME to an upstream's name, a rotating set, a TXT and an MX record.
fn catalog() -> Catalog {
    let mut spec = ZoneSpec::new(parse("p.example").unwrap(), ZoneMode::RecursionProxy);
    for (owner, rtype, value) in [
        ("p.example", RecordType::CNAME, "far.test"),
        ("set.p.example", RecordType::A, "10.0.0.1"),
        ("set.p.example", RecordType::A, "10.0.0.2"),
        ("set.p.example", RecordType::A, "10.0.0.3"),
        ("alias.p.example", RecordType::CNAME, "set.p.example"),
        ("mx.p.example", RecordType::MX, "10 mail.p.example"),
    ] {
        let data = parse_value(rtype, value).unwrap();
        spec.records.push(ZoneRecord { owner: parse(owner).unwrap(), ttl: 60, data, weight: None });
    }
    let zone = Arc::new(Zone::build(spec, 1).unwrap());
    Catalog::build(CatalogSpec { zones: vec![(zone, Scope::Everyone)], ..Default::default() }).unwrap()
}

/// What the only upstream says of a name: one address, a denial, or many addresses.
fn entry(name: &NameKey) -> Entry {
    let owner = name.to_name();
    let a = |i: u8| {
        Record::from_rdata(owner.clone(), 0, parse_value(RecordType::A, &format!("192.0.2.{i}")).unwrap())
    };
    let soa = RData::SOA(crate::engine::zone::soa_data(7));
    match name.to_string().as_str() {
        "many.test" => {
            Entry::new(Outcome::Rrset, name, &(0..60).map(a).collect::<Vec<_>>(), &[], 300, true, START)
        }
        "nx.test" => Entry::new(
            Outcome::NxDomain,
            name,
            &[],
            &[Record::from_rdata(parse("test").unwrap(), 0, soa)],
            77,
            false,
            START,
        ),
        _ => Entry::new(Outcome::Rrset, name, &[a(1)], &[], 100, true, START),
    }
}

/// The long way, without its I/O.
fn long_way(catalog: &Catalog, request: &Request, question: &Question, now: Moment, turn: u64) -> Answer {
    let flags = QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled };
    let mut chain = Chain::start(catalog.view("127.0.0.1".parse().unwrap()), question, flags, turn);
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
            let long = LaneKey::of(&request, &question, 3).unwrap();
            let (mut same, mut other) = (LaneKey::default(), LaneKey::default());
            assert!(
                Glance::at(&bytes, 3, &mut same).is_some() && Glance::at(&bytes, 4, &mut other).is_some()
            );
            assert_eq!(same.bytes(), long.bytes());
            assert_ne!(other.bytes(), long.bytes());
        }
    }
}

#[test]
fn what_is_not_plain_goes_the_long_way() {
    let plain = packet(7, "a.example", 1, Some((1232, false)), false, false);
    assert!(Glance::at(&plain, 0, &mut LaneKey::default()).is_some());
    for (at, value) in
        [(2, 0x00), (2, 0x81), (2, 0x09), (2, 0x03), (3, 0x80), (3, 0x40), (5, 2), (7, 1), (9, 1), (11, 2)]
    {
        let mut odd = plain.clone();
        odd[at] = value;
        assert!(Glance::at(&odd, 0, &mut LaneKey::default()).is_none(), "octet {at} = {value:#x}");
    }
    assert!(Glance::at(&plain[..plain.len() - 1], 0, &mut LaneKey::default()).is_none());
    assert!(Glance::at(&[plain.as_slice(), &[0]].concat(), 0, &mut LaneKey::default()).is_none());
}

#[test]
fn an_answer_is_not_served_beyond_its_due_time_or_catalog() {
    let catalog = catalog();
    let bytes = packet(7, "p.example", 1, None, false, false);
    let (request, question) = accept(&bytes);
    let key = LaneKey::of(&request, &question, 0).unwrap();
    let answer = long_way(&catalog, &request, &question, START, 0);
    let reply = finish(&request, &answer, 512, 1232);
    let prepared = Prepared::of(&key, &reply, &answer, 0, 5, START, 77).unwrap();
    assert!(prepared.holds(5, Moment(START.0 + 89_999)));
    assert!(!prepared.holds(5, Moment(START.0 + 90_000)), "the last tenth is for the refresh");
    assert!(!prepared.holds(6, START), "another catalog");
    assert_eq!((prepared.mark(), prepared.rcode()), (77, 0));
}

#[test]
fn a_cut_answer_is_not_kept() {
    let catalog = catalog();
    let bytes = packet(7, "many.test", 1, None, false, false);
    let (request, question) = accept(&bytes);
    let key = LaneKey::of(&request, &question, 0).unwrap();
    let answer = long_way(&catalog, &request, &question, START, 0);
    assert!(Prepared::of(&key, &finish(&request, &answer, 512, 1232), &answer, 0, 1, START, 0).is_none());
    assert!(Prepared::of(&key, &finish(&request, &answer, 65_535, 1232), &answer, 0, 1, START, 0).is_some());
}

fn mixed_case(name: &str, mask: u64) -> String {
    let flip = |(at, c): (usize, char)| if mask >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
    name.chars().enumerate().map(flip).collect()
}

proptest! {
    /// One client's query prepares an answer, another client's is answered with it, at another time and turn, in
    /// another case, with another id and payload size: the octets are those of the long way.
    #[test]
    fn both_lanes_give_the_same_octets(
        name in prop::sample::select(vec![
            "p.example", "set.p.example", "alias.p.example", "mx.p.example", "www.test", "nx.test", "many.test",
            "nothing.p.example", "localhost",
        ]),
        rtype in prop::sample::select(vec![1u16, 28, 15, 5, 6, 255]),
        edns in prop::option::of((prop::sample::select(vec![512u16, 900, 1232, 4096]), any::<bool>())),
        payload in 0u16..5000, ids in any::<[u16; 2]>(), cases in any::<[u64; 2]>(), flags in any::<[bool; 2]>(),
        turns in any::<[u32; 2]>(), ages in [0u64..60_000, 0u64..60_000],
    ) {
        let catalog = catalog();
        let first = packet(ids[0], &mixed_case(name, cases[0]), rtype, edns, flags[0], flags[1]);
        let second_edns = edns.map(|(_, dnssec_ok)| (payload, dnssec_ok));
        let second = packet(ids[1], &mixed_case(name, cases[1]), rtype, second_edns, flags[0], flags[1]);
        let (made, served) = (Moment(START.0 + ages[0]), Moment(START.0 + ages[0] + ages[1] / 10));

        let (request, question) = accept(&first);
        let key = LaneKey::of(&request, &question, 0).unwrap();
        let answer = long_way(&catalog, &request, &question, made, u64::from(turns[0]));
        let message = finish(&request, &answer, udp_limit(&request, 1232), 1232);
        let prepared = Prepared::of(&key, &message, &answer, u64::from(turns[0]), 1, made, 0);
        let cut = message[2] & 2 != 0;
        prop_assert_eq!(prepared.is_none(), cut, "everything here but a cut answer can be kept");
        let Some(prepared) = prepared else { return Ok(()) };

        let mut looked_up = LaneKey::default();
        let glance = Glance::at(&second, 0, &mut looked_up).unwrap();
        prop_assert!(prepared.is_for(&looked_up));
        let (request, question) = accept(&second);
        let limit = udp_limit(&request, 1232);
        if prepared.holds(1, served) && prepared.length(&glance) <= limit {
            let mut fast = Vec::new();
            prepared.write(&glance, served, u64::from(turns[1]), &mut fast);
            let answer = long_way(&catalog, &request, &question, served, u64::from(turns[1]));
            prop_assert_eq!(fast, finish(&request, &answer, limit, 1232));
        }
    }

    #[test]
    fn arbitrary_packets_never_panic_and_agree_with_the_full_parser(mut bytes in prop::collection::vec(any::<u8>(), 0..80), plain in any::<bool>()) {
        if plain && bytes.len() > 12 {
            bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let mut key = LaneKey::default();
        if Glance::at(&bytes, 0, &mut key).is_some() {
            let (request, question) = accept(&bytes);
            let long_key = LaneKey::of(&request, &question, 0).unwrap();
            prop_assert_eq!(key.bytes(), long_key.bytes());
        }
    }
}
