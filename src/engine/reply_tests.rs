//! Tests of the way out: what a client finds in its message, and that it is never too large.

use super::*;
use crate::engine::answer::ExtendedError;
use crate::engine::cache::CacheData;
use crate::engine::cache::{QueryFlags, Timestamp};
use crate::engine::catalog::{Catalog, CatalogSpec};
use crate::engine::chain::{Chain, Step};
use crate::engine::cookie::ClientCookie;
use crate::engine::name::parse;
use crate::engine::record::parse_value;
use crate::engine::request::{ClientEdns, Question};
use hickory_proto::op::Message;
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::EdnsOption;
use proptest::prelude::*;

fn request(edns: Option<ClientEdns>) -> Request {
    Request {
        cookie_back: None,
        id: 0xbeef,
        opcode: 0,
        recursion_desired: true,
        checking_disabled: true,
        authentic_data: false,
        question: Some(Question::new(parse("wWw.Example").unwrap(), RecordType::A)),
        edns,
    }
}

fn edns(udp_payload: u16) -> Option<ClientEdns> {
    Some(ClientEdns { udp_payload, version: 0, dnssec_ok: true, cookie: None })
}

fn answer(count: usize) -> Answer {
    let mut answer = Answer::code(ResponseCode::NoError, None);
    answer.answers = (0..count)
        .map(|i| {
            let value = format!("10.0.{}.{}", i / 256, i % 256);
            Record::from_rdata(parse("wWw.Example").unwrap(), 60, parse_value(RecordType::A, &value).unwrap())
        })
        .collect();
    answer
}

fn sent(request: &Request, answer: &Answer, limit: usize) -> (usize, Message) {
    let bytes = finish(request, answer, limit, 1232);
    (bytes.len(), Message::from_vec(&bytes).unwrap())
}

#[test]
fn the_client_gets_its_own_id_case_and_flags_back() {
    let (_, message) = sent(&request(None), &answer(1), 512);
    assert_eq!(message.id, 0xbeef);
    assert!(message.queries[0].name().eq_case(&parse("wWw.Example").unwrap()));
    assert!(message.answers[0].name.eq_case(&parse("wWw.Example").unwrap()));
    assert!(message.recursion_desired && message.recursion_available && message.checking_disabled);
    assert!(!message.authoritative && !message.authentic_data && !message.truncation);
    assert!(message.edns.is_none(), "no OPT unless the client sent one");
}

#[test]
fn an_opt_is_answered_with_ours() {
    let (_, message) = sent(&request(edns(4096)), &answer(1), 1232);
    let edns = message.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
}

#[test]
fn an_extended_error_is_told_to_those_who_speak_edns() {
    let failure = Answer::code(ResponseCode::ServFail, Some(ExtendedError::new(22, "all dead")));
    let (_, message) = sent(&request(edns(1232)), &failure, 1232);
    let option = message.edns.unwrap().options().as_ref().to_vec();
    assert_eq!(option.len(), 1);
    assert!(matches!(&option[0].1, EdnsOption::Unknown(15, data) if data == b"\0\x16all dead"), "{option:?}");
    assert!(sent(&request(None), &failure, 512).1.edns.is_none());
}

#[test]
fn ad_goes_to_those_who_understand_it() {
    let mut authentic = answer(1);
    authentic.authentic = true;
    assert!(!sent(&request(None), &authentic, 512).1.authentic_data);
    assert!(sent(&request(edns(1232)), &authentic, 1232).1.authentic_data);
    let asks = Request { authentic_data: true, ..request(None) };
    assert!(sent(&asks, &authentic, 512).1.authentic_data);
}

#[test]
fn badvers_reaches_the_client_in_the_extended_rcode() {
    let (_, message) = sent(&request(edns(1232)), &Answer::code(ResponseCode::BADVERS, None), 1232);
    assert_eq!(u16::from(message.response_code), 16, "BADVERS and BADSIG share a number");
}

#[test]
fn unknown_opcodes_are_echoed() {
    for opcode in [1, 2, 3, 4, 5, 6, 15] {
        let odd = Request { opcode, question: None, ..request(None) };
        let bytes = finish(&odd, &Answer::code(ResponseCode::NotImp, None), 512, 1232);
        assert_eq!((bytes.len(), (bytes[2] >> 3) & 15, bytes[3] & 15), (12, opcode, 4));
    }
}

#[test]
fn what_does_not_fit_is_cut_between_records_with_tc() {
    let (length, message) = sent(&request(None), &answer(100), PLAIN_UDP);
    assert!(length <= PLAIN_UDP && length > PLAIN_UDP - 16, "{length}");
    assert!(message.truncation);
    let (_, whole) = sent(&request(None), &answer(100), TCP);
    assert!(!whole.truncation);
    assert_eq!(whole.answers.len(), 100);
}

#[test]
fn exactly_512_octets_fit_and_513_do_not() {
    // header 12, question 17, and 16 for each address
    let count = (512 - 12 - 17) / 16;
    let (length, message) = sent(&request(None), &answer(count), PLAIN_UDP);
    assert!(length <= 512 && !message.truncation);
    assert!(sent(&request(None), &answer(count + 1), PLAIN_UDP).1.truncation);
}

#[test]
fn authority_records_that_do_not_fit_set_tc() {
    // 20 addresses take 320 octets, the proofs as many again
    let mut signed = answer(20);
    signed.authority = answer(20).answers;
    let (_, message) = sent(&request(edns(512)), &signed, 512);
    assert_eq!((message.answers.len(), message.truncation), (20, true));
    let (_, message) = sent(&request(edns(1232)), &signed, 1232);
    assert_eq!((message.answers.len(), message.authorities.len(), message.truncation), (20, 20, false));
}

#[test]
fn the_longest_name_cookie_and_words_are_within_512_octets() {
    let mut asks = request(edns(512));
    let labels = ["x".repeat(63), "x".repeat(63), "x".repeat(63), "x".repeat(61)].join(".");
    asks.question = Some(Question::new(parse(&labels).unwrap(), RecordType::A));
    asks.edns = asks
        .edns
        .map(|edns| ClientEdns { cookie: Some(ClientCookie { client: [7; 8], server: None }), ..edns });
    asks.give_cookie(&[9; 16]);
    let failure = Answer::code(ResponseCode::ServFail, Some(ExtendedError::new(22, "x".repeat(1000))));
    let (length, _) = sent(&asks, &failure, 512);
    assert!((490..=512).contains(&length), "{length}");
}

#[test]
fn the_limit_is_the_clients_within_ours() {
    for (client, expected) in [(None, 512), (edns(100), 512), (edns(900), 900), (edns(4096), 1232)] {
        assert_eq!(udp_limit(&request(client), 1232), expected);
    }
}

proptest! {
    #[test]
    fn no_answer_is_larger_than_its_limit(count in 0usize..300, payload in 0u16..5000, with_edns in any::<bool>()) {
        let request = request(if with_edns { edns(payload) } else { None });
        let limit = udp_limit(&request, 1232);
        let (length, message) = sent(&request, &answer(count), limit);
        prop_assert!(length <= limit);
        prop_assert_eq!(message.truncation, message.answers.len() < count);
        prop_assert_eq!(message.edns.is_some(), with_edns);
    }
}

/// The slow path to the message for one entry of an upstream: decided, unpacked, written record by record.
fn by_the_chain(request: &Request, entry: &CacheData, turn: u64, limit: usize) -> Vec<u8> {
    let catalog = Catalog::build(CatalogSpec::default()).unwrap();
    let view = catalog.view([192, 0, 2, 1].into());
    let question = request.question.as_ref().unwrap();
    let mut chain = Chain::start(view, question, QueryFlags::default(), turn);
    assert!(matches!(chain.step(), Step::Fetch(_)));
    chain.supply(entry, entry.ttl, false);
    let Step::Done(answer) = chain.step() else { panic!("there is nothing more to fetch") };
    finish(request, &answer, limit, 1232)
}

proptest! {
    #[test]
    fn an_entry_that_is_copied_gives_the_octets_of_the_long_way(
        name in prop::sample::select(vec!["wWw.Example", "a.b.c.D.test", "x"]),
        v6 in any::<bool>(), addresses in prop::collection::vec(any::<u8>(), 0..40),
        edns in prop::option::of((0u16..3000, any::<bool>())), flags in any::<[bool; 4]>(),
        ttl in any::<u32>(), turn in any::<u64>(), limit in 100usize..1300, odd in prop::option::of(any::<bool>()),
    ) {
        let rtype = if v6 { RecordType::AAAA } else { RecordType::A };
        let question = Question::new(parse(name).unwrap(), rtype);
        let value = |i: &u8| if v6 { format!("2001:db8::{i:x}") } else { format!("10.0.0.{i}") };
        let owner = parse(name).unwrap();
        let record = |i| Record::from_rdata(owner.clone(), 0, parse_value(rtype, &value(i)).unwrap());
        let mut records: Vec<Record> = addresses.iter().map(record).collect();
        match odd {
            Some(true) => records.push(Record::from_rdata(
                owner.clone(), 0, parse_value(RecordType::TXT, "a signature, say").unwrap())),
            Some(false) => records.push(Record::from_rdata(
                parse("other.test").unwrap(), 0, parse_value(rtype, &value(&1)).unwrap())),
            None => {}
        }
        let authentic = flags[0];
        let entry = CacheData::new(Outcome::Rrset, &question.key, &records, &[], ttl, authentic, Timestamp(0));
        let request = Request {
            cookie_back: None,
            id: 7, opcode: 0, recursion_desired: flags[1], checking_disabled: flags[2],
            authentic_data: flags[3], question: Some(question),
            edns: edns.map(|(udp_payload, dnssec_ok)| ClientEdns { udp_payload, version: 0, dnssec_ok, cookie: None }),
        };
        let copied = finish_entry(&request, &entry, turn, limit, 1232);
        let expected = by_the_chain(&request, &entry, turn, limit);
        match copied {
            Some(copied) => prop_assert_eq!(copied, expected),
            None => prop_assert!(odd.is_some() || expected[2] & 2 != 0, "an ordinary set that fits is copied"),
        }
    }
}

#[test]
fn a_cookie_goes_back_before_the_words() {
    let mut asks = request(edns(1232));
    asks.edns = asks
        .edns
        .map(|edns| ClientEdns { cookie: Some(ClientCookie { client: [7; 8], server: None }), ..edns });
    asks.give_cookie(&[9; 16]);
    let error = ExtendedError::new(ExtendedError::OTHER, "why");
    let bytes = finish(&asks, &Answer::code(ResponseCode::ServFail, Some(error)), 512, 1232);
    let tail = [b"\0\x25\0\x0a\0\x18".as_slice(), &[7; 8], &[9; 16], b"\0\x0f\0\x05\0\0why"].concat();
    assert!(bytes.ends_with(&tail), "{bytes:?}");
}
