//! Tests of the way out: what a client finds in its message, and that it is never too large.

use super::*;
use crate::engine::answer::ExtendedError;
use crate::engine::name::parse;
use crate::engine::record::parse_value;
use crate::engine::request::{ClientEdns, Question};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;
use proptest::prelude::*;

fn request(edns: Option<ClientEdns>) -> Request {
    Request {
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
    Some(ClientEdns { udp_payload, version: 0, dnssec_ok: true })
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
fn proofs_go_before_answers_are_cut() {
    let mut signed = answer(20);
    signed.authority = answer(20).answers;
    let (_, message) = sent(&request(edns(512)), &signed, 512);
    assert_eq!((message.answers.len(), message.authorities.len(), message.truncation), (20, 0, false));
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
