//! The one way out: [`finish`] turns an answer into the datagram or message that one client gets.
//!
//! Id, flags, the question in the client's case, EDNS, size and truncation are set here and nowhere else.

use super::answer::Answer;
use super::request::Request;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::EdnsOption;

/// The size of a UDP answer to a client without EDNS (RFC 1035 section 4.2.1).
pub const PLAIN_UDP: usize = 512;

/// The size of a message over TCP.
pub const TCP: usize = 65_535;

/// The option code of an extended DNS error (RFC 8914).
const EDE: u16 = 15;

/// How large an answer over UDP may be: what the client takes, within what we send.
pub fn udp_limit(request: &Request, own_payload: u16) -> usize {
    match request.edns {
        // RFC 6891 section 6.2.3: values below 512 mean 512
        Some(edns) => usize::from(edns.udp_payload.min(own_payload)).max(PLAIN_UDP),
        None => PLAIN_UDP,
    }
}

/// The message for a client: at most `limit` octets, TC set when something had to be left out.
/// `own_payload` is the UDP size that our OPT record announces.
pub fn finish(request: &Request, answer: &Answer, limit: usize, own_payload: u16) -> Vec<u8> {
    let mut message = frame(request, answer, own_payload);
    message.answers = answer.answers.clone();
    message.authorities = answer.authority.clone();
    if let Some(bytes) = encode(&message).filter(|bytes| bytes.len() <= limit) {
        return bytes;
    }
    // Proofs beside an answer are optional (RFC 2181 section 9 asks for TC only where the answer is cut).
    if !answer.answers.is_empty() {
        message.authorities.clear();
        if let Some(bytes) = encode(&message).filter(|bytes| bytes.len() <= limit) {
            return bytes;
        }
    }
    message.metadata.truncation = true;
    message.authorities.clear();
    most_that_fits(message, &answer.answers, limit).unwrap_or_else(|| bare(request, ResponseCode::ServFail))
}

/// Header, question and OPT.
fn frame(request: &Request, answer: &Answer, own_payload: u16) -> Message {
    let mut message = Message::new(request.id, MessageType::Response, OpCode::from_u8(request.opcode));
    message.metadata.recursion_desired = request.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = request.checking_disabled;
    message.metadata.authoritative = answer.authoritative;
    // RFC 6840 section 5.8: AD only to those who say that they understand it
    message.metadata.authentic_data = answer.authentic && (request.authentic_data || request.dnssec_ok());
    message.metadata.response_code = answer.rcode;
    if let Some(question) = &request.question {
        let mut query = Query::query(question.name.clone(), question.rtype);
        query.set_query_class(question.class);
        message.add_query(query);
    }
    if let Some(client) = request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(own_payload).set_version(0).set_dnssec_ok(client.dnssec_ok);
        if let Some(error) = &answer.error {
            let mut option = error.code.to_be_bytes().to_vec();
            option.extend_from_slice(error.text.as_bytes());
            edns.options_mut().insert(EdnsOption::Unknown(EDE, option));
        }
        message.set_edns(edns);
    }
    message
}

/// Whole records from the front, as many as fit: clients that never ask again over TCP get what there is.
fn most_that_fits(mut message: Message, answers: &[Record], limit: usize) -> Option<Vec<u8>> {
    let (mut fits, mut too_many) = (0, answers.len());
    message.answers.clear();
    let mut best = encode(&message).filter(|bytes| bytes.len() <= limit)?;
    while too_many - fits > 1 {
        let count = fits + (too_many - fits) / 2;
        message.answers = answers[..count].to_vec();
        match encode(&message).filter(|bytes| bytes.len() <= limit) {
            Some(bytes) => (fits, best) = (count, bytes),
            None => too_many = count,
        }
    }
    Some(best)
}

/// The message in octets; nothing when it does not fit 64 KiB.
fn encode(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok().filter(|bytes| bytes.len() <= TCP)
}

/// A header alone.
fn bare(request: &Request, rcode: ResponseCode) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes[..2].copy_from_slice(&request.id.to_be_bytes());
    bytes[2] = 0x80 | request.opcode << 3 | u8::from(request.recursion_desired);
    bytes[3] = 0x80 | rcode.low();
    bytes
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
