//! NOTIFY (RFC 1996): a primary says that its zone has changed. It is taken from the primaries of the zone, known by
//! address or by TSIG key, and does no more than have them asked.

use super::secondary::SecondaryZone;
use super::tsig::{Signed, TsigFault, TsigKey, TsigTime, append_refusal};
use super::walk::MessageParts;
use crate::engine::message::{HEADER, MessageCursor};
use crate::engine::name::NameKey;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::IpAddr;
use std::sync::Arc;

/// The opcode of NOTIFY.
pub const NOTIFY: u8 = 4;

/// The UDP payload size that an OPT record announces.
const PAYLOAD: u16 = 1232;

/// The result of a NOTIFY.
#[derive(Debug)]
pub struct NotifyOutcome {
    /// The answer.
    pub reply: Vec<u8>,
    /// Its code.
    pub rcode: ResponseCode,
    /// The zones whose primaries are to be asked.
    pub zones: Vec<Arc<SecondaryZone>>,
}

/// The signature of a request, as far as it is one of ours.
enum Signature<'s> {
    None,
    Good(&'s TsigKey, TsigTime),
    Bad(TsigFault),
}

/// Answers a NOTIFY from an address; `now` is in seconds since 1970. Nothing for a packet without a header.
pub fn answer(zones: &[Arc<SecondaryZone>], packet: &[u8], peer: IpAddr, now: u64) -> Option<NotifyOutcome> {
    packet.get(..HEADER)?;
    let malformed = || outcome(reply(packet, HEADER, false, ResponseCode::FormErr), ResponseCode::FormErr);
    let Some(parts) = MessageParts::of(packet).filter(|parts| parts.counts.questions == 1) else {
        return Some(malformed());
    };
    let question = packet.get(HEADER..parts.question_end)?;
    let (name, kind) = question.split_at_checked(question.len().checked_sub(4)?)?;
    let signed = match Signed::of(packet, &parts) {
        Ok(signed) => signed,
        Err(_) => return Some(malformed()),
    };
    if kind != [&u16::from(RecordType::SOA).to_be_bytes()[..], &[0, 1]].concat() {
        return Some(malformed());
    }
    let apex = NameKey::of_wire(name);
    let signature = match &signed {
        None => Signature::None,
        Some(signed) => check(zones, signed, now),
    };
    let (rcode, asked) = decide(zones, &apex, peer, &signature);
    let mut reply = reply(packet, parts.question_end, parts.has_opt, rcode);
    match (&signature, &signed) {
        (Signature::Good(key, time), Some(signed)) => key.sign_answer(&mut reply, signed.mac, *time),
        (Signature::Bad(fault), Some(signed)) => append_refusal(&mut reply, signed, *fault),
        _ => {}
    }
    Some(NotifyOutcome { reply, rcode, zones: asked })
}

/// The signature of a request, held against the keys of all primaries.
fn check<'z>(zones: &'z [Arc<SecondaryZone>], signed: &Signed<'_>, now: u64) -> Signature<'z> {
    let keys =
        zones.iter().flat_map(|zone| &zone.plan().primaries).filter_map(|primary| primary.key.as_deref());
    let mut fault = TsigFault::OtherKey;
    for key in keys.filter(|key| *key.name() == signed.key) {
        match key.check_request(signed, now) {
            Ok(time) => return Signature::Good(key, time),
            Err(why) => fault = why,
        }
    }
    Signature::Bad(fault)
}

/// The code of the answer, and the zones that are meant.
fn decide(
    zones: &[Arc<SecondaryZone>],
    apex: &NameKey,
    peer: IpAddr,
    signature: &Signature<'_>,
) -> (ResponseCode, Vec<Arc<SecondaryZone>>) {
    let key = match signature {
        Signature::Bad(_) | Signature::Good(_, TsigTime::Wrong { .. }) => {
            return (ResponseCode::NotAuth, Vec::new());
        }
        Signature::Good(key, TsigTime::Right(_)) => Some(*key),
        Signature::None => None,
    };
    let peer = peer.to_canonical();
    let mut of_zone = zones.iter().filter(|zone| zone.plan().apex == *apex).peekable();
    if of_zone.peek().is_none() {
        return (ResponseCode::NotAuth, Vec::new());
    }
    let from_primary = |zone: &&Arc<SecondaryZone>| {
        zone.plan().primaries.iter().any(|primary| {
            primary.address.ip().to_canonical() == peer || (key.is_some() && primary.key.as_deref() == key)
        })
    };
    let meant: Vec<_> = of_zone.filter(from_primary).cloned().collect();
    match meant.is_empty() {
        true => (ResponseCode::Refused, meant),
        false => (ResponseCode::NoError, meant),
    }
}

fn outcome(reply: Vec<u8>, rcode: ResponseCode) -> NotifyOutcome {
    NotifyOutcome { reply, rcode, zones: Vec::new() }
}

/// An answer with the question of a request, which ends at `end`.
fn reply(packet: &[u8], end: usize, has_opt: bool, rcode: ResponseCode) -> Vec<u8> {
    let authoritative = if rcode == ResponseCode::NoError { 0x04 } else { 0 };
    let mut reply = packet.get(..end).unwrap_or(packet).to_vec();
    let questions = u8::from(end > HEADER);
    for (at, octet) in [(2, 0x80 | NOTIFY << 3 | authoritative), (3, u16::from(rcode) as u8 & 0x0f)]
        .into_iter()
        .chain([(4, 0), (5, questions), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, u8::from(has_opt))])
    {
        reply[at] = octet;
    }
    if has_opt {
        reply.extend([0, 0, 41]);
        reply.extend(PAYLOAD.to_be_bytes());
        reply.extend([0; 6]);
    }
    reply
}

/// True for a packet that is a NOTIFY, by its header.
pub fn is_notify(packet: &[u8]) -> bool {
    MessageCursor::new(packet, 2).u16().is_some_and(|flags| flags >> 11 == u16::from(NOTIFY))
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
