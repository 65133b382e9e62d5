//! The only exit: [`finish`] turns an answer into the message for one client.
//!
//! Id, flags, the question in the client's case, EDNS, size and truncation are set here and nowhere else.

use super::answer::Answer;
use super::cache::{CacheDataOf, Outcome, Timestamp};
use super::cached_packet::CachedPacket;
use super::message::{HEADER, MAX_MESSAGE_BYTES, OPTION_COOKIE, OPTION_EDE};
use super::records::Records;
use super::request::Request;
use super::wire::{MessageWriter, QUESTION_POINTER};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RecordType};

/// The size of a UDP answer to a client without EDNS (RFC 1035 section 4.2.1).
pub const PLAIN_UDP: usize = 512;

/// The size of a message over TCP.
pub const TCP: usize = MAX_MESSAGE_BYTES;

/// Maximum octets of the extended error text, which must not displace records. With the longest name and a cookie a
/// message stays within 512 octets.
const MAX_TEXT: usize = 190;

/// The size limit of an answer over UDP: the client's payload size, within the configured one.
pub fn udp_limit(request: &Request, own_payload: u16) -> usize {
    payload_limit(request.edns.map(|edns| edns.udp_payload), own_payload)
}

/// The same from the payload size in the client's OPT record; None for a client without one.
pub fn payload_limit(client: Option<u16>, own_payload: u16) -> usize {
    // RFC 6891 section 6.2.3: values below 512 mean 512
    client.map_or(PLAIN_UDP, |payload| usize::from(payload.min(own_payload)).max(PLAIN_UDP))
}

/// The message for a client: at most `limit` octets, TC set when something had to be left out.
/// `own_payload` is the UDP size that our OPT record announces.
pub fn finish(request: &Request, answer: &Answer, limit: usize, own_payload: u16) -> Vec<u8> {
    let opt = opt(request, answer, own_payload);
    let mut message = Vec::with_capacity(512);
    head(&mut message, request, answer);
    let question = request.question.as_ref().map_or(&[0][..], |question| question.key.wire());
    let room = limit.saturating_sub(opt.len());
    let mut writer = MessageWriter::new(&mut message, question);
    // Whole records from the start, as many as fit, for clients that do not retry over TCP. The whole authority section
    // is required (RFC 2181 section 9): the SOA of a negative answer, and proofs for clients that sent DO.
    let answers = append(&mut writer, &answer.answers, room);
    let whole = answers == answer.answers.len();
    let authority = if whole { append(&mut writer, &answer.authority, room) } else { 0 };
    let cut = answer.left_out || !whole || authority < answer.authority.len();
    message.extend_from_slice(&opt);
    if cut {
        self::cut(&mut message);
    }
    for (at, count) in [(6, answers), (8, authority), (10, usize::from(!opt.is_empty()))] {
        message[at..at + 2].copy_from_slice(&(count as u16).to_be_bytes());
    }
    message
}

/// The same from a cached packet, without encoding records. None if it was cached for smaller messages only.
pub fn finish_prepared(
    request: &Request,
    prepared: &CachedPacket,
    (now, turn): (Timestamp, u64),
    limit: usize,
    own_payload: u16,
) -> Option<Vec<u8>> {
    let answer = prepared.bare_answer();
    let opt = opt(request, &answer, own_payload);
    let mut message = Vec::with_capacity(512);
    head(&mut message, request, &answer);
    let room = limit.saturating_sub(message.len() + opt.len());
    let sent = prepared.append(room, now, turn, &mut message)?;
    message.extend_from_slice(&opt);
    if sent.cut {
        cut(&mut message);
    }
    message[6..8].copy_from_slice(&sent.answers.to_be_bytes());
    message[8..10].copy_from_slice(&sent.authority.to_be_bytes());
    message[11] = u8::from(!opt.is_empty());
    Some(message)
}

/// Sets TC in a complete message.
pub fn cut(message: &mut [u8]) {
    if let Some(flags) = message.get_mut(2) {
        *flags |= 0x02;
    }
}

/// [`finish`] for an answer that is a single upstream entry of the query name: copies octets without unpacking records.
/// None if more than copying is needed. `turn` rotates a set of addresses.
pub fn finish_entry(
    request: &Request,
    entry: &CacheDataOf<'_>,
    turn: u64,
    limit: usize,
    own_payload: u16,
) -> Option<Vec<u8>> {
    let question = request.question.as_ref().filter(|question| !question.name.is_root())?;
    // types without names in their data
    if entry.outcome != Outcome::Rrset || !matches!(question.rtype, RecordType::A | RecordType::AAAA) {
        return None;
    }
    if entry.packed().0.len() > limit {
        return None; // it does not fit; avoids reading each record
    }
    let mut set = entry.own_data(question.rtype)?;
    let (count, by) = (u16::try_from(set.len()).ok()?, turn % (set.len() as u64).max(1));
    set.rotate_left(by as usize);
    let mut answer = Answer::code(ResponseCode::NoError, None);
    answer.authentic = entry.authentic;
    let opt = opt(request, &answer, own_payload);
    let records = set.iter().map(|data| 12 + data.len()).sum::<usize>();
    let mut message = Vec::with_capacity(HEADER + question.name.len() + 6 + records + opt.len());
    head(&mut message, request, &answer);
    let class = u16::from(DNSClass::IN).to_be_bytes();
    for data in set {
        message.extend(QUESTION_POINTER.to_be_bytes());
        message.extend(u16::from(question.rtype).to_be_bytes());
        message.extend(class);
        message.extend(entry.ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes()); // at most 65535: the packed length has 16 bits
        message.extend_from_slice(data);
    }
    message.extend_from_slice(&opt);
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message[11] = u8::from(!opt.is_empty());
    (message.len() <= limit).then_some(message)
}

/// Appends records while they fit into `room` octets; returns their number.
fn append(writer: &mut MessageWriter<'_>, records: &Records, room: usize) -> usize {
    for (count, record) in records.refs().enumerate() {
        let before = writer.len();
        writer.record(&record);
        if writer.len() > room {
            writer.truncate(before);
            return count;
        }
    }
    records.len()
}

/// Header and question; the record counts are set later.
#[inline]
fn head(message: &mut Vec<u8>, request: &Request, answer: &Answer) {
    // RFC 6840 section 5.8: AD only for clients that set AD or DO
    let authentic = answer.authentic && (request.authentic_data || request.dnssec_ok());
    let flags = 0x8080 // QR and RA
        | u16::from(request.opcode) << 11
        | u16::from(answer.authoritative) << 10
        | u16::from(request.recursion_desired) << 8
        | u16::from(authentic) << 5
        | u16::from(request.checking_disabled) << 4
        | u16::from(answer.rcode.low());
    let [id_high, id_low] = request.id.to_be_bytes();
    let [flags_high, flags_low] = flags.to_be_bytes();
    let questions = u8::from(request.question.is_some());
    message.extend_from_slice(&[id_high, id_low, flags_high, flags_low, 0, questions, 0, 0, 0, 0, 0, 0]);
    if let Some(question) = &request.question {
        for label in question.name.iter() {
            message.push(label.len() as u8); // at most 63: it comes from a packet
            message.extend_from_slice(label);
        }
        let [type_high, type_low] = u16::from(question.rtype).to_be_bytes();
        let [class_high, class_low] = u16::from(question.class).to_be_bytes();
        message.extend_from_slice(&[0, type_high, type_low, class_high, class_low]);
    }
}

/// The OPT record (RFC 6891 section 6.1.2); none for a client without one.
#[inline]
fn opt(request: &Request, answer: &Answer, own_payload: u16) -> Vec<u8> {
    let Some(client) = request.edns else { return Vec::new() };
    let [payload_high, payload_low] = own_payload.to_be_bytes();
    let dnssec_ok = u8::from(client.dnssec_ok) << 7;
    let mut opt = vec![0, 0, 41, payload_high, payload_low, answer.rcode.high(), 0, dnssec_ok, 0, 0, 0];
    let length_at = opt.len() - 2;
    if let Some(cookie) = &request.cookie_back {
        for number in [OPTION_COOKIE, cookie.len() as u16] {
            opt.extend(number.to_be_bytes());
        }
        opt.extend_from_slice(cookie);
    }
    if let Some(error) = &answer.error {
        let text = &error.text.as_bytes()[..error.text.floor_char_boundary(MAX_TEXT)];
        for number in [OPTION_EDE, (text.len() + 2) as u16, error.code] {
            opt.extend(number.to_be_bytes());
        }
        opt.extend_from_slice(text);
    }
    let length = (opt.len() - length_at - 2) as u16; // a cookie and a short text
    opt[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    opt
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
