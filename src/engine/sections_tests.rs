//! Tests of the sections: what goes to whom, each record once, and no further than there is room.

use super::*;
use crate::engine::cache::CacheData;
use crate::engine::cache::{Outcome, Timestamp};
use crate::engine::name::NameKey;
use crate::engine::name::parse;
use crate::engine::record::parse_value;
use crate::engine::work;
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{RData, Record};

fn opaque(owner: &str, rtype: u16, octet: u8) -> Record {
    let data = RData::Unknown { code: RecordType::from(rtype), rdata: NULL::with(vec![octet; 40]) };
    Record::from_rdata(parse(owner).unwrap(), 0, data)
}

fn address(owner: &str, number: usize) -> Record {
    let value = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    Record::from_rdata(parse(owner).unwrap(), 0, parse_value(RecordType::A, &value).unwrap())
}

fn entry(name: &str, answers: &[Record], authority: &[Record]) -> CacheData {
    let name = NameKey::of(&parse(name).unwrap());
    CacheData::new(Outcome::Rrset, &name, answers, authority, 60, false, Timestamp(0))
}

fn wanted(name: &Name, dnssec_ok: bool, turn: Option<u64>) -> Wanted<'_> {
    Wanted { name, rtype: RecordType::A, dnssec_ok, ttl: 60, all: true, turn }
}

#[test]
fn a_record_that_several_hops_bring_is_sent_once() {
    let proofs = [opaque("n1.test", 47, 1), opaque("n1.test", 46, 2)];
    let dname = opaque("test", 39, 3);
    let mut sections = Sections::new(usize::MAX);
    for (hop, more) in [("a.test", 4), ("b.test", 5), ("c.test", 6)] {
        let name = parse(hop).unwrap();
        let mut authority = proofs.to_vec();
        authority.push(opaque("n2.test", 47, more));
        let entry = entry(hop, &[dname.clone(), address(hop, 1)], &authority);
        sections.take(&entry, wanted(&name, true, None), |_| true);
    }
    assert_eq!(sections.lengths(), (4, 5), "the DNAME and the shared proofs once");
}

#[test]
fn an_entry_has_each_of_its_records_once() {
    let twice = [address("a.test", 1), address("a.test", 2), address("A.test", 1)];
    let entry = entry("a.test", &twice, &[opaque("n.test", 47, 1), opaque("N.test", 47, 1)]);
    let name = parse("a.test").unwrap();
    assert_eq!((entry.answers(&name, 1).len(), entry.authority(&name, 1).len()), (2, 1));
}

#[test]
fn dnssec_records_go_to_who_asked_for_them() {
    let name = parse("a.test").unwrap();
    let answers = [address("a.test", 1), opaque("a.test", 46, 1)];
    let proofs = [opaque("n.test", 47, 1), opaque("n.test", 50, 1), opaque("n.test", 46, 1)];
    let entry = entry("a.test", &answers, &proofs);
    for (dnssec_ok, rtype, expected) in [(true, 1, (2, 3)), (false, 1, (1, 0)), (false, 46, (2, 0))] {
        let mut sections = Sections::new(usize::MAX);
        let wanted = Wanted { rtype: RecordType::from(rtype), ..wanted(&name, dnssec_ok, None) };
        sections.take(&entry, wanted, |_| true);
        assert_eq!(sections.lengths(), expected, "DO {dnssec_ok}, type {rtype}");
    }
}

#[test]
fn a_set_is_unpacked_only_as_far_as_there_is_room() {
    let records: Vec<Record> = (0..4000).map(|number| address("a.test", number)).collect();
    let entry = entry("a.test", &records, &[]);
    let name = parse("a.test").unwrap();
    let mut sections = Sections::new(1200);
    let (count, work) = work::count(|| sections.take(&entry, wanted(&name, false, Some(3990)), |_| true));
    assert_eq!((count, sections.left_out(), sections.lengths()), (Some(4000), true, (80, 0)));
    assert!(work.unpacked == 0 && work.visited <= 81, "{work:?}");
    assert_eq!(
        sections.answers.iter().next().unwrap().data,
        records[3990].data,
        "it begins where the turn says"
    );
    assert_eq!(sections.answers.iter().nth(10).unwrap().data, records[0].data);
}
