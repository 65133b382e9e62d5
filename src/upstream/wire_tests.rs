//! Tests of queries as bytes and of the judgement on replies.

use super::*;
use hickory_proto::op::{Edns, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};

const CHANCE: Entropy = Entropy { id: [0x12, 0x34], case: [0b1010_1010; 8] };
const CLIENT: OwnCookie = [7; 8];

fn outgoing() -> UpstreamQuery {
    let name = Name::from_ascii("www.Example.COM.").unwrap();
    UpstreamQuery { name, rtype: RecordType::A, dnssec_ok: true, checking_disabled: true }
}

fn options() -> QueryOptions {
    QueryOptions {
        edns: true,
        mix_case: true,
        client_cookie: Some(CLIENT),
        server_cookie: None,
        padded: false,
    }
}

fn sent() -> SentQuery {
    SentQuery::new(&outgoing(), &options(), &CHANCE)
}

/// A good answer to `sent`, before a test spoils it.
fn answer(sent: &SentQuery) -> Message {
    let mut message = Message::from_vec(&sent.bytes).unwrap();
    message.metadata.message_type = MessageType::Response;
    let rdata = RData::A(A::new(192, 0, 2, 1));
    message.answers.push(Record::from_rdata(message.queries[0].name().clone(), 60, rdata));
    message.edns = None;
    message
}

fn with_option(mut message: Message, option: EdnsOption) -> Message {
    let mut edns = Edns::new();
    edns.options_mut().insert(option);
    message.set_edns(edns);
    message
}

fn judge(sent: &SentQuery, message: &Message) -> ReplyVerdict {
    sent.judge(message.to_vec().unwrap(), Carrier::Datagram)
}

#[test]
fn a_query_reads_back_as_it_was_meant() {
    let sent = sent();
    let message = Message::from_vec(&sent.bytes).unwrap();
    assert_eq!(message.metadata.id, 0x1234);
    assert_eq!(message.metadata.message_type, MessageType::Query);
    assert!(message.metadata.recursion_desired && message.metadata.authentic_data);
    assert!(message.metadata.checking_disabled);
    assert_eq!(message.queries.len(), 1);
    assert_eq!(message.queries[0].name(), &outgoing().name);
    assert_eq!(message.queries[0].query_type(), RecordType::A);
    let edns = message.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok, edns.version()), (1232, true, 0));
    assert_eq!(edns.option(EdnsCode::Cookie), Some(&EdnsOption::Unknown(10, CLIENT.to_vec())));
    assert_eq!(edns.options().as_ref().len(), 1);
}

#[test]
fn case_follows_the_dice_and_only_when_wanted() {
    let name = |mix_case| {
        let sent = SentQuery::new(&outgoing(), &QueryOptions { mix_case, ..options() }, &CHANCE);
        Message::from_vec(&sent.bytes).unwrap().queries[0].name().to_ascii()
    };
    assert_eq!(name(true), "WwW.ExAmPlE.CoM.");
    assert_eq!(name(false), "www.example.com.");
}

#[test]
fn without_edns_there_is_no_opt() {
    let sent = SentQuery::new(&outgoing(), &QueryOptions { edns: false, ..options() }, &CHANCE);
    assert!(Message::from_vec(&sent.bytes).unwrap().edns.is_none());
    assert_eq!(sent.bytes.len(), sent.question_end);
}

#[test]
fn the_longest_name_and_the_root_are_asked() {
    let long = format!("{}.", vec!["a".repeat(63); 3].join(".") + "." + &"b".repeat(61));
    for name in [".", long.as_str()] {
        let query = UpstreamQuery { name: Name::from_ascii(name).unwrap(), ..outgoing() };
        let sent = SentQuery::new(&query, &options(), &CHANCE);
        assert_eq!(Message::from_vec(&sent.bytes).unwrap().queries[0].name(), &query.name);
    }
}

#[test]
fn an_answer_is_taken() {
    let sent = sent();
    assert!(
        matches!(judge(&sent, &answer(&sent)), ReplyVerdict::Answer(m, ReplyCookie::Absent) if m.answers.len() == 1)
    );
}

#[test]
fn the_random_case_does_not_show_in_names_that_point_into_the_question() {
    let sent = SentQuery::new(&outgoing(), &options(), &CHANCE);
    let mut reply = sent.bytes[..sent.question_end].to_vec();
    reply[2] = 0x80;
    reply[7] = 1; // one answer
    reply[10..12].fill(0);
    // www.example.com CNAME x.example.com, the owner and the end of the target as pointers
    reply.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x10");
    let ReplyVerdict::Answer(message, _) = sent.judge(reply, Carrier::Datagram) else { panic!("not taken") };
    assert_eq!(message.answers[0].to_string(), "www.example.com. 60 IN CNAME x.example.com.");
}

#[test]
fn what_is_not_ours_is_a_stranger() {
    let sent = sent();
    let spoil: [fn(&mut Message); 8] = [
        |m| m.metadata.id ^= 1,
        |m| m.metadata.message_type = MessageType::Query,
        |m| m.metadata.op_code = hickory_proto::op::OpCode::Notify,
        |m| m.queries[0].query_type = RecordType::AAAA,
        |m| m.queries[0].query_class = hickory_proto::rr::DNSClass::CH,
        |m| m.queries[0].name = Name::from_ascii("www.example.net.").unwrap(),
        |m| m.queries.clear(),
        |m| m.queries.push(m.queries[0].clone()),
    ];
    for (index, spoil) in spoil.iter().enumerate() {
        let mut message = answer(&sent);
        spoil(&mut message);
        assert!(matches!(judge(&sent, &message), ReplyVerdict::Mismatch), "row {index}");
    }
    for junk in [vec![], vec![0x12, 0x34], sent.bytes.clone(), sent.bytes[..20].to_vec()] {
        assert!(matches!(sent.judge(junk, Carrier::Datagram), ReplyVerdict::Mismatch));
    }
}

#[test]
fn folded_case_is_noticed_over_udp_and_harmless_over_tcp() {
    let sent = sent();
    let mut message = answer(&sent);
    message.queries[0].name = message.queries[0].name.to_lowercase();
    assert!(matches!(judge(&sent, &message), ReplyVerdict::CaseFolded));
    let over_tcp = sent.judge(message.to_vec().unwrap(), Carrier::Stream);
    assert!(matches!(over_tcp, ReplyVerdict::Answer(..)));
}

#[test]
fn type_https_is_not_folded_into_another_type() {
    let sent = SentQuery::new(&UpstreamQuery { rtype: RecordType::HTTPS, ..outgoing() }, &options(), &CHANCE);
    let mut reply = answer(&sent).to_vec().unwrap();
    assert_eq!(reply[sent.question_end - 3], 65);
    reply[sent.question_end - 3] = 65 | 0x20;
    assert!(matches!(sent.judge(reply, Carrier::Datagram), ReplyVerdict::Mismatch));
}

#[test]
fn a_cut_answer_is_seen_even_when_cut_in_a_record() {
    let sent = sent();
    let mut message = answer(&sent);
    message.metadata.truncation = true;
    let mut reply = message.to_vec().unwrap();
    reply.truncate(reply.len() - 3);
    assert!(matches!(sent.judge(reply, Carrier::Datagram), ReplyVerdict::Truncated));
}

#[test]
fn an_unreadable_body_is_garbled() {
    let sent = sent();
    let mut reply = answer(&sent).to_vec().unwrap();
    reply.truncate(reply.len() - 3);
    assert!(matches!(sent.judge(reply, Carrier::Datagram), ReplyVerdict::Malformed));
}

#[test]
fn a_bare_error_header_counts_over_a_stream_only_and_a_bare_success_nowhere() {
    let sent = sent();
    let mut message = answer(&sent);
    message.queries.clear();
    message.answers.clear();
    use ResponseCode as Code;
    for rcode in [Code::FormErr, Code::ServFail, Code::NotImp, Code::Refused] {
        message.metadata.response_code = rcode;
        assert!(matches!(judge(&sent, &message), ReplyVerdict::Bare(bare) if bare == rcode), "{rcode}");
        let over_stream = sent.judge(message.to_vec().unwrap(), Carrier::Stream);
        assert!(matches!(over_stream, ReplyVerdict::Answer(..)), "{rcode}");
    }
    for rcode in [Code::NoError, Code::NXDomain, Code::YXDomain] {
        message.metadata.response_code = rcode;
        assert!(matches!(judge(&sent, &message), ReplyVerdict::Mismatch), "{rcode}");
    }
}

#[test]
fn case_is_compared_where_it_was_mixed_only() {
    let shouted = |sent: &SentQuery| {
        let mut reply = answer(sent).to_vec().unwrap();
        reply[HEADER..sent.question_end - 4].make_ascii_uppercase();
        sent.judge(reply, Carrier::Datagram)
    };
    assert!(matches!(shouted(&sent()), ReplyVerdict::CaseFolded));
    let plain = SentQuery::new(&outgoing(), &QueryOptions { mix_case: false, ..options() }, &CHANCE);
    assert!(matches!(shouted(&plain), ReplyVerdict::Answer(..)));
    // a server that folds case still returns the correct cookie
    let baked = QueryOptions { server_cookie: Some(vec![9; 8]), ..options() };
    assert!(matches!(shouted(&SentQuery::new(&outgoing(), &baked, &CHANCE)), ReplyVerdict::Mismatch));
}

#[test]
fn the_cookie_must_be_ours() {
    let sent = sent();
    let reply = |cookie: &[u8]| with_option(answer(&sent), EdnsOption::Unknown(10, cookie.to_vec()));
    let good = [CLIENT.as_slice(), &[9; 8]].concat();
    let ReplyVerdict::Answer(message, cookie) = judge(&sent, &reply(&good)) else { panic!("not taken") };
    assert_eq!(cookie, ReplyCookie::Server(vec![9; 8]));
    assert!(message.edns.unwrap().options().as_ref().is_empty());
    assert!(matches!(judge(&sent, &reply(&[8; 16])), ReplyVerdict::Mismatch));
    assert!(matches!(judge(&sent, &reply(&[])), ReplyVerdict::Mismatch));
    assert!(matches!(judge(&sent, &reply(&CLIENT)), ReplyVerdict::Answer(_, ReplyCookie::Absent)));
}

#[test]
fn unknown_and_broken_options_do_not_cost_the_answer() {
    let sent = sent();
    for (code, data) in [(8, vec![0, 9, 255, 255]), (3, vec![]), (12, vec![0; 400]), (4711, vec![1])] {
        let message = with_option(answer(&sent), EdnsOption::Unknown(code, data));
        let ReplyVerdict::Answer(message, _) = judge(&sent, &message) else { panic!("option {code}") };
        assert!(message.edns.unwrap().options().as_ref().is_empty());
    }
    let ede = with_option(answer(&sent), EdnsOption::Unknown(15, vec![0, 22]));
    let ReplyVerdict::Answer(message, _) = judge(&sent, &ede) else { panic!("not taken") };
    assert_eq!(message.edns.unwrap().options().as_ref().len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_reply_can_panic_the_judge(tail: Vec<u8>, keep in 0usize..60, flip in 0usize..60) {
        let sent = sent();
        let mut reply = answer(&sent).to_vec().unwrap();
        reply.truncate(keep.max(3));
        reply.extend(tail);
        if flip > 2 && flip < reply.len() { reply[flip] ^= 0x55; }
        sent.judge(reply.clone(), Carrier::Datagram);
        sent.judge(reply, Carrier::Stream);
    }
}

#[test]
fn each_letter_is_upper_case_by_its_bit() {
    let name: Vec<u8> = (0..=255).collect();
    for length in [0, 1, 7, 8, 9, 63, 64, 65, 255, 256] {
        for case in [[0; 8], [255; 8], [1, 2, 4, 8, 16, 32, 64, 128], [0b1010_0110; 8]] {
            let mut mixed = name[..length].to_vec();
            mix_case(&mut mixed, case);
            for (at, octet) in mixed.into_iter().enumerate() {
                let upper = case[at / 8 % 8] >> (at % 8) & 1 == 1;
                let expected = if upper { name[at].to_ascii_uppercase() } else { name[at] };
                assert_eq!(octet, expected, "{at} of {length}");
            }
        }
    }
}
