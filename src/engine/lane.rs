//! The fast lane: a known question answered by copying its finished answer and patching what differs.
//!
//! [`Glance::at`] reads a plain query in place; whatever it does not know at a glance goes the long way, through
//! `request` and `chain`. [`Prepared::of`] keeps an answer that `reply::finish` made, and [`Prepared::write`]
//! patches it for another client: id, the question in that client's case, TTLs counted down, the order of a
//! rotating set. A client cannot tell the lanes apart but by speed; a property test compares their octets.

use super::answer::{Answer, Holding};
use super::cache::{Moment, seconds_left};
use super::request::{ClientEdns, Question, Request};
use super::wire;
use hickory_proto::rr::DNSClass;

/// The header of a message in octets.
const HEADER: usize = 12;

/// Octets of the longest key: view, flags, type and a name.
const LONGEST_KEY: usize = NAME + 255;

/// Where the name begins in a key: behind view, flags and type.
const NAME: usize = 7;

/// Flag of a key: the client sent an OPT record.
const EDNS: u8 = 1;
/// Flag of a key: DO.
const DNSSEC_OK: u8 = 2;
/// Flag of a key: CD.
const CHECKING_DISABLED: u8 = 4;
/// Flag of a key: AD, the client understands it.
const AUTHENTIC_DATA: u8 = 8;

/// What an answer is kept under: the view, all of the query that changes an answer, type and name in lower case.
#[derive(Clone, Debug)]
pub struct LaneKey {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

impl LaneKey {
    /// The bytes of the key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The key of a query that came the long way; nothing if its like never comes the fast way.
    pub fn of(request: &Request, question: &Question, view: u32) -> Option<Self> {
        if !request.recursion_desired || question.class != DNSClass::IN {
            return None;
        }
        let mut key = Self { bytes: [0; LONGEST_KEY], length: NAME };
        key.head(
            view,
            flags(request.edns, request.checking_disabled, request.authentic_data),
            question.rtype.into(),
        );
        let name = question.key.wire();
        key.bytes[NAME..NAME + name.len()].copy_from_slice(name);
        key.length += name.len();
        Some(key)
    }

    fn head(&mut self, view: u32, flags: u8, rtype: u16) {
        self.bytes[..4].copy_from_slice(&view.to_be_bytes());
        self.bytes[4] = flags;
        self.bytes[5..NAME].copy_from_slice(&rtype.to_be_bytes());
    }
}

fn flags(edns: Option<ClientEdns>, checking_disabled: bool, authentic_data: bool) -> u8 {
    let mut flags = 0;
    if let Some(edns) = edns {
        flags |= EDNS | if edns.dnssec_ok { DNSSEC_OK } else { 0 };
    }
    if checking_disabled {
        flags |= CHECKING_DISABLED;
    }
    if authentic_data {
        flags |= AUTHENTIC_DATA;
    }
    flags
}

/// A plain query, read in place.
#[derive(Debug)]
pub struct Glance<'p> {
    /// What its answer is kept under.
    pub key: LaneKey,
    /// Header and question as they came.
    head: &'p [u8],
    /// The UDP payload size the client takes; nothing without EDNS.
    pub udp_payload: Option<u16>,
}

impl<'p> Glance<'p> {
    /// Reads a query of the plainest form: QUERY with RD, one question of class IN, at most an OPT record of
    /// version 0 without options. Nothing for everything else, right or wrong.
    pub fn at(packet: &'p [u8], view: u32) -> Option<Self> {
        let header: &[u8; HEADER] = packet.first_chunk()?;
        // QR, opcode, AA and TC clear, RD set; RA and Z clear, RCODE 0, AD and CD as they are
        if header[2] != 1
            || header[3] & 0b1100_1111 != 0
            || header[4..10] != [0, 1, 0, 0, 0, 0]
            || header[10] != 0
        {
            return None;
        }
        let mut key = LaneKey { bytes: [0; LONGEST_KEY], length: NAME };
        let mut at = HEADER;
        loop {
            let length = *packet.get(at)?;
            if length > 63 {
                return None;
            }
            let next = at + 1 + usize::from(length);
            let label = packet.get(at..next)?;
            if key.length + label.len() + usize::from(length != 0) > LONGEST_KEY {
                return None; // longer than 255 octets with the root label
            }
            let lower = &mut key.bytes[key.length..key.length + label.len()];
            lower.copy_from_slice(label);
            lower[1..].make_ascii_lowercase();
            key.length += label.len();
            at = next;
            if length == 0 {
                break;
            }
        }
        let [type_high, type_low, 0, 1] = *packet.get(at..)?.first_chunk()? else { return None };
        at += 4;
        let edns = match (header[11], &packet[at..]) {
            (0, []) => None,
            (1, &[0, 0, 41, high, low, 0, 0, dnssec, 0, 0, 0]) if dnssec & 0x7f == 0 => {
                let udp_payload = u16::from_be_bytes([high, low]);
                Some(ClientEdns { udp_payload, version: 0, dnssec_ok: dnssec != 0 })
            }
            _ => return None,
        };
        let flags = flags(edns, header[3] & 0x10 != 0, header[3] & 0x20 != 0);
        key.head(view, flags, u16::from_be_bytes([type_high, type_low]));
        Some(Self { key, head: &packet[..at], udp_payload: edns.map(|edns| edns.udp_payload) })
    }
}

/// A TTL to count down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Countdown {
    /// Its place behind the question.
    at: u16,
    /// When it is zero.
    expires: Moment,
}

/// A set of records that rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rotation {
    /// The first record's place behind the question.
    at: u16,
    /// Octets of each record.
    length: u16,
    /// How many they are.
    count: u16,
}

/// A finished answer, less what differs from client to client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Until then it is served without a thought.
    until: Moment,
    /// The catalog under which it was made.
    generation: u32,
    rotation: Option<Rotation>,
    /// Header octets 2 to 11: flags and counts.
    header: [u8; 10],
    countdowns: Box<[Countdown]>,
    /// Everything behind the question.
    tail: Box<[u8]>,
}

impl Prepared {
    /// Keeps the message that `finish` made of an answer; nothing when it must not be kept: it was cut, may be
    /// another next time, or holds no longer. `turn` is what the answer was rotated by.
    pub fn of(message: &[u8], answer: &Answer, turn: u64, generation: u32, now: Moment) -> Option<Self> {
        let holdings = answer.holdings.as_ref()?;
        let header: &[u8; HEADER] = message.first_chunk()?;
        let (question_end, places) = wire::places(message)?;
        let counts = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let whole = (counts(6), counts(8)) == (answer.answers.len(), answer.authority.len());
        if header[2] & 2 != 0 || !whole || answer.error.is_some() {
            return None;
        }
        let expiries = expiries(holdings, answer.answers.len() + answer.authority.len())?;
        let behind = |at: usize| u16::try_from(at - question_end).ok();
        let mut countdowns = Vec::new();
        for (place, expires) in places.iter().zip(expiries) {
            if let Some(expires) = expires {
                countdowns.push(Countdown { at: behind(place.ttl)?, expires });
            }
        }
        let mut tail: Box<[u8]> = message[question_end..].into();
        let mut rotation = None;
        if let Some((first, count)) = answer.rotation {
            let set = places.get(first..first + count)?;
            let length = set.first().map(|place| place.end - place.start)?;
            if set.iter().any(|place| place.end - place.start != length) {
                return None;
            }
            let (at, count) = (behind(set[0].start)?, count as u16);
            let found = Rotation { at, length: u16::try_from(length).ok()?, count };
            // kept in the order of turn 0
            rotate(&mut tail, found, u64::from(count) - turn % u64::from(count));
            rotation = Some(found);
        }
        let until = holdings.iter().filter_map(|holding| holding.due).min().unwrap_or(Moment(u64::MAX));
        let header = *header.last_chunk()?;
        let prepared = Self { until, generation, rotation, header, countdowns: countdowns.into(), tail };
        (until > now).then_some(prepared)
    }

    /// True while it may be served under a catalog.
    pub fn holds(&self, generation: u32, now: Moment) -> bool {
        self.generation == generation && now < self.until
    }

    /// True when the order of its records changes with each answer.
    pub fn rotates(&self) -> bool {
        self.rotation.is_some()
    }

    /// Octets of the answer to a query.
    pub fn length(&self, glance: &Glance<'_>) -> usize {
        glance.head.len() + self.tail.len()
    }

    /// Appends the answer for one client to `out`.
    pub fn write(&self, glance: &Glance<'_>, now: Moment, turn: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(glance.head);
        out[start + 2..start + HEADER].copy_from_slice(&self.header);
        let behind = out.len();
        out.extend_from_slice(&self.tail);
        let tail = &mut out[behind..];
        for countdown in &self.countdowns {
            let at = usize::from(countdown.at);
            tail[at..at + 4].copy_from_slice(&seconds_left(countdown.expires, now).to_be_bytes());
        }
        if let Some(rotation) = self.rotation {
            rotate(tail, rotation, turn % u64::from(rotation.count));
        }
    }

    /// Octets of memory that it takes, its allocations counted.
    pub fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.countdowns) + self.tail.len()
    }
}

/// When each record expires, in the order of the message.
fn expiries(holdings: &[Holding], records: usize) -> Option<Vec<Option<Moment>>> {
    let mut expiries = Vec::with_capacity(records);
    for holding in holdings {
        expiries.extend(std::iter::repeat_n(holding.expires, holding.answers));
    }
    for holding in holdings {
        expiries.extend(std::iter::repeat_n(holding.expires, holding.authority));
    }
    (expiries.len() == records).then_some(expiries)
}

/// Rotates a set of records of equal length to the left.
fn rotate(tail: &mut [u8], rotation: Rotation, by: u64) {
    let (at, length) = (usize::from(rotation.at), usize::from(rotation.length));
    let set = &mut tail[at..at + length * usize::from(rotation.count)];
    let by = (by % u64::from(rotation.count)) as usize;
    set.rotate_left(by * length);
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
