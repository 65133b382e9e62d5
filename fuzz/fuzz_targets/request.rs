//! Any packet of a client: reading it never panics, and whatever is answered fits the client's datagram.
#![no_main]

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, rdata::A};
use libfuzzer_sys::fuzz_target;
use pvtzd::engine::answer::Answer;
use pvtzd::engine::precheck::{Precheck, precheck};
use pvtzd::engine::reply::{TCP, finish, udp_limit};
use pvtzd::engine::request::{Admission, Request};

fuzz_target!(|packet: &[u8]| {
    let (request, mut answer) = match Request::parse(packet) {
        Admission::Drop => return,
        Admission::Reject(request, rcode) => (request, Answer::code(rcode, None)),
        Admission::Accept(request, question) => {
            let screened = precheck(&question, Precheck { allowed: true, version_bind: true });
            (request, screened.unwrap_or_else(|| Answer::code(ResponseCode::NoError, None)))
        }
    };
    if let Some(question) = &request.question {
        // often none or a few, and now and then more than any datagram takes, so that it has to be cut
        let count = u16::from(packet[0]);
        let count = if count < 192 { count % 8 } else { count };
        let record = |n: u16| {
            let [high, low] = n.to_be_bytes();
            Record::from_rdata(question.name.clone(), 60, RData::A(A::new(192, 0, high, low)))
        };
        (0..count).for_each(|n| answer.answers.push(&record(n)));
    }
    for limit in [udp_limit(&request, 1232), TCP] {
        let reply = finish(&request, &answer, limit, 1232);
        assert!(reply.len() <= limit, "{} octets for {limit}", reply.len());
        let message = Message::from_vec(&reply).expect("an answer that can be read");
        assert_eq!(message.metadata.id, request.id);
        assert_eq!(message.edns.is_some(), request.edns.is_some());
        assert!(message.metadata.truncation || message.answers.len() == answer.answers.len());
    }
});
