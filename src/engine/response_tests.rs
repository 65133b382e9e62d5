//! Tests of what is believed of an upstream's answer.

use super::*;
use crate::engine::name::{parse, show};
use crate::engine::record::{parse_value, show_value};
use hickory_proto::rr::rdata::SOA;

fn record(owner: &str, ttl: u32, rtype: RecordType, value: &str) -> Record {
    Record::from_rdata(parse(owner).unwrap(), ttl, parse_value(rtype, value).unwrap())
}

fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    let name = parse(owner).unwrap();
    Record::from_rdata(name.clone(), ttl, RData::SOA(SOA::new(name.clone(), name, 1, 1, 1, 1, minimum)))
}

fn message(rcode: ResponseCode, answers: Vec<Record>, authority: Vec<Record>) -> Message {
    let mut message = Message::query();
    message.metadata.response_code = rcode;
    message.add_answers(answers);
    message.add_authorities(authority);
    message
}

/// The entries as text: `name=outcome/ttl[values]`.
fn read(message: &Message, rtype: RecordType, believed: &[&str]) -> Result<Vec<String>, Unusable> {
    let question = Question::new(parse("www.example").unwrap(), rtype);
    let in_bailiwick = |key: &NameKey| believed.contains(&key.to_string().as_str());
    let entries = entries(message, &question, &TtlPolicy::default(), Timestamp(0), in_bailiwick)?;
    Ok(entries
        .iter()
        .map(|(name, entry)| {
            let outcome = match &entry.outcome {
                Outcome::Alias(target) => format!("->{}", show(target)),
                other => format!("{other:?}"),
            };
            let values: Vec<_> =
                entry.answers(&name.to_name(), 0).iter().map(|r| show_value(&r.data)).collect();
            format!("{name}={outcome}/{}{values:?}", entry.ttl)
        })
        .collect())
}

#[test]
fn a_chain_becomes_one_entry_a_hop() {
    let answers = vec![
        record("www.example", 300, RecordType::CNAME, "a.example"),
        record("A.example", 60, RecordType::A, "192.0.2.1"),
        record("a.example", 50, RecordType::A, "192.0.2.2"),
    ];
    assert_eq!(
        read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &["a.example"]).unwrap(),
        ["www.example=->a.example/300[\"a.example\"]", "a.example=Rrset/50[\"192.0.2.1\", \"192.0.2.2\"]"]
    );
}

#[test]
fn what_lies_behind_a_target_that_is_not_believed_is_left_out() {
    let answers = vec![
        record("www.example", 300, RecordType::CNAME, "private.example"),
        record("private.example", 60, RecordType::A, "203.0.113.66"),
    ];
    assert_eq!(
        read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &[]).unwrap(),
        ["www.example=->private.example/300[\"private.example\"]"]
    );
}

#[test]
fn records_off_the_chain_are_ignored() {
    let answers = vec![
        record("victim.example", 300, RecordType::A, "203.0.113.66"),
        record("www.example", 300, RecordType::A, "192.0.2.1"),
    ];
    assert_eq!(
        read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &[]).unwrap(),
        ["www.example=Rrset/300[\"192.0.2.1\"]"]
    );
}

#[test]
fn denials_live_as_long_as_their_soa_says() {
    let authority = || vec![soa("example", 3600, 120)];
    let nx = message(ResponseCode::NXDomain, vec![], authority());
    assert_eq!(read(&nx, RecordType::A, &[]).unwrap(), ["www.example=NxDomain/120[]"]);
    let nodata = message(ResponseCode::NoError, vec![], vec![soa("example", 60, 120)]);
    assert_eq!(read(&nodata, RecordType::A, &[]).unwrap(), ["www.example=NoData/60[]"]);
    let capped = message(ResponseCode::NXDomain, vec![], vec![soa("example", 86_400, 86_400)]);
    assert_eq!(read(&capped, RecordType::A, &[]).unwrap(), ["www.example=NxDomain/900[]"]);
}

#[test]
fn denials_without_a_soa_or_with_a_foreign_one_are_kept_briefly() {
    let bare = message(ResponseCode::NoError, vec![], vec![]);
    assert_eq!(read(&bare, RecordType::A, &[]).unwrap(), ["www.example=NoData/5[]"]);
    let foreign = message(ResponseCode::NXDomain, vec![], vec![soa("other.test", 3600, 3600)]);
    assert_eq!(read(&foreign, RecordType::A, &[]).unwrap(), ["www.example=NxDomain/5[]"]);
}

#[test]
fn a_denial_at_the_end_of_a_chain_belongs_to_the_last_name() {
    let answers = vec![record("www.example", 300, RecordType::CNAME, "a.example")];
    let nx = message(ResponseCode::NXDomain, answers, vec![soa("example", 60, 60)]);
    assert_eq!(
        read(&nx, RecordType::A, &["a.example"]).unwrap(),
        ["www.example=->a.example/300[\"a.example\"]", "a.example=NxDomain/60[]"]
    );
}

#[test]
fn a_bare_cname_leaves_its_target_open() {
    let answers = vec![record("www.example", 300, RecordType::CNAME, "far.test")];
    assert_eq!(
        read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &["far.test"]).unwrap(),
        ["www.example=->far.test/300[\"far.test\"]"]
    );
}

#[test]
fn a_loop_in_the_message_ends_the_reading() {
    let answers = vec![
        record("www.example", 300, RecordType::CNAME, "a.example"),
        record("a.example", 300, RecordType::CNAME, "www.example"),
    ];
    let loops = message(ResponseCode::NoError, answers, vec![]);
    assert_eq!(read(&loops, RecordType::A, &["a.example", "www.example"]).unwrap().len(), 2);
}

#[test]
fn an_rrset_or_proofs_beyond_the_bound_are_not_taken() {
    let most = TtlPolicy::default().max_rrset_records;
    let addresses = |count: usize| -> Vec<Record> {
        let value = |i: usize| format!("192.0.{}.{}", i / 256, i % 256);
        (0..count).map(|i| record("www.example", 60, RecordType::A, &value(i))).collect()
    };
    let proofs = |count: usize| -> Vec<Record> {
        let data = |i: usize| RData::Unknown {
            code: RecordType::from(47),
            rdata: hickory_proto::rr::rdata::NULL::with(i.to_be_bytes().to_vec()),
        };
        (0..count).map(|i| Record::from_rdata(parse("example").unwrap(), 60, data(i))).collect()
    };
    let read = |answers, authority| {
        let message = message(ResponseCode::NoError, answers, authority);
        read(&message, RecordType::A, &[]).map(|entries| entries.len())
    };
    assert_eq!(read(addresses(most), proofs(most)), Ok(1));
    assert_eq!(read(addresses(most + 1), vec![]), Err(Unusable::TooManyRecords));
    assert_eq!(read(addresses(1), proofs(most + 1)), Err(Unusable::TooManyRecords));
    assert_eq!(
        read(vec![], [vec![soa("example", 60, 60)], proofs(most + 1)].concat()),
        Err(Unusable::TooManyRecords)
    );
}

#[test]
fn a_plain_answer_is_taken_in_place_within_the_bound_and_without_repetition() {
    let reply = |count: u16, differ: bool| {
        let mut reply = vec![0, 0, 0x81, 0x80, 0, 1];
        reply.extend(count.to_be_bytes());
        reply.extend([0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1]);
        for i in 0..count {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0]);
            reply.extend(if differ { i } else { i / 2 }.to_be_bytes());
        }
        parse_plain(&reply, 19, RecordType::A, &TtlPolicy::default(), Timestamp(0)).is_some()
    };
    for (count, differ, taken) in [
        (1, true, true),
        (2, true, true),
        (2, false, false),
        (100, true, true),
        (100, false, false),
        (101, true, false),
    ] {
        assert_eq!(reply(count, differ), taken, "{count} records, all different: {differ}");
    }
}

#[test]
fn a_signature_is_kept_with_what_it_signs() {
    let opaque = |rtype: u16, covered: u16| {
        let data = hickory_proto::rr::rdata::NULL::with(covered.to_be_bytes().to_vec());
        let data = RData::Unknown { code: RecordType::from(rtype), rdata: data };
        Record::from_rdata(parse("example").unwrap(), 60, data)
    };
    // the NS records of the zone are left out, so their signature is as well
    let authority = [opaque(46, 2), opaque(46, 6), opaque(47, 0), opaque(46, 47), opaque(46, 50)];
    let kept = |authority: &[Record], answers: Vec<Record>| {
        let message = message(ResponseCode::NoError, answers, authority.to_vec());
        let question = Question::new(parse("www.example").unwrap(), RecordType::A);
        let entries = entries(&message, &question, &TtlPolicy::default(), Timestamp(0), |_| true).unwrap();
        entries[0].1.authority(&question.name, 60).len()
    };
    assert_eq!(kept(&authority, vec![record("www.example", 60, RecordType::A, "192.0.2.1")]), 3);
    assert_eq!(kept(&[&[soa("example", 60, 60)], &authority[..]].concat(), vec![]), 5);
}

#[test]
fn a_referral_is_no_answer() {
    let refers =
        message(ResponseCode::NoError, vec![], vec![record("example", 60, RecordType::NS, "ns.example")]);
    assert_eq!(read(&refers, RecordType::A, &[]), Err(Unusable::Referral));
}

#[test]
fn a_ttl_with_its_highest_bit_set_is_zero() {
    let answers = vec![record("www.example", u32::MAX, RecordType::A, "192.0.2.1")];
    assert_eq!(
        read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &[]).unwrap(),
        ["www.example=Rrset/0[\"192.0.2.1\"]"]
    );
}

#[test]
fn dname_records_stand_before_the_cname_they_made() {
    let dname = RData::Unknown {
        code: RecordType::from(39),
        rdata: hickory_proto::rr::rdata::NULL::with(b"\x04test\0".to_vec()),
    };
    let answers = vec![
        Record::from_rdata(parse("example").unwrap(), 300, dname),
        record("www.example", 300, RecordType::CNAME, "www.test"),
    ];
    let lines = read(&message(ResponseCode::NoError, answers, vec![]), RecordType::A, &["www.test"]).unwrap();
    assert_eq!(lines, ["www.example=->www.test/300[\"test\", \"www.test\"]"]);
}

#[test]
fn a_plain_answer_is_read_in_place_only_when_it_is_whole() {
    // header: an answer with one A record and an OPT record; question: a.example A
    let mut reply = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\x01\x01a\x07example\0\0\x01\0\x01".to_vec();
    let question_end = reply.len();
    reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
    reply.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    let read =
        |reply: &[u8]| parse_plain(reply, question_end, RecordType::A, &TtlPolicy::default(), Timestamp(0));
    assert_eq!(read(&reply).map(|entry| entry.ttl), Some(60));
    for cut in 1..reply.len() {
        assert!(read(&reply[..reply.len() - cut]).is_none(), "cut by {cut}");
    }
    reply.push(0);
    assert!(read(&reply).is_none(), "something behind it");
}
