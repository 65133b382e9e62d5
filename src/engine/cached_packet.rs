//! The fast path: answers a question by copying its cached packet and patching the differences.
//!
//! [`PlainQuery::at`] reads a plain query in place; whatever it does not know at a glance takes the slow path, through
//! `request` and `chain`. [`CachedPacket::of`] keeps an answer that `reply::finish` made, and [`CachedPacket::write`]
//! patches it for another client: id, the question in that client's case, TTLs counted down, the order of a
//! rotating set. A client cannot tell the paths apart but by speed; a property test compares their octets.

use super::answer::{Answer, SectionTtl};
use super::cache::{Timestamp, seconds_left};
use super::message::{HEADER, SectionCounts};
pub use super::packet_key::PacketKey;
use super::packet_key::flags;
use super::request::ClientEdns;
use super::wire;
use hickory_proto::op::ResponseCode;
use std::sync::Arc;

/// A plain query, read in place.
#[derive(Debug)]
pub struct PlainQuery<'p> {
    /// Header and question as they came.
    head: &'p [u8],
    /// The UDP payload size the client takes; nothing without EDNS.
    pub udp_payload: Option<u16>,
    /// DO.
    pub dnssec_ok: bool,
}

impl<'p> PlainQuery<'p> {
    /// Reads a query of the plainest form: QUERY with RD, one question of class IN, at most an OPT record of
    /// version 0 without options. Nothing for everything else, right or wrong. What its answer is kept under
    /// goes into `key`.
    pub fn at(packet: &'p [u8], view: u32, key: &mut PacketKey) -> Option<Self> {
        let header: &[u8; HEADER] = packet.first_chunk()?;
        // QR, opcode, AA and TC clear, RD set; RA and Z clear, RCODE 0, AD and CD as they are
        if header[2] != 1 || header[3] & 0b1100_1111 != 0 || header[4..11] != [0, 1, 0, 0, 0, 0, 0] {
            return None;
        }
        let mut at = HEADER + key.take_name(&packet[HEADER..])?;
        let [type_high, type_low, 0, 1] = *packet.get(at..)?.first_chunk()? else { return None };
        at += 4;
        let edns = match (header[11], &packet[at..]) {
            (0, []) => None,
            (1, &[0, 0, 41, high, low, 0, 0, dnssec, 0, 0, 0]) if dnssec & 0x7f == 0 => {
                let udp_payload = u16::from_be_bytes([high, low]);
                Some(ClientEdns { udp_payload, version: 0, dnssec_ok: dnssec != 0, cookie: None })
            }
            _ => return None,
        };
        let flags = flags(edns, header[3] & 0x10 != 0, header[3] & 0x20 != 0);
        key.head(view, flags, [type_high, type_low]);
        let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
        Some(Self { head: &packet[..at], udp_payload: edns.map(|edns| edns.udp_payload), dnssec_ok })
    }

    /// Header and question as they came.
    pub(super) fn head(&self) -> &'p [u8] {
        self.head
    }
}

/// A set of records that rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rotation {
    /// The first record's place behind the question.
    at: u16,
    /// Octets of each record.
    length: u16,
    /// Number of records.
    count: u16,
}

impl Rotation {
    /// Where the set begins and ends.
    fn span(self) -> (usize, usize) {
        let at = usize::from(self.at);
        (at, at + usize::from(self.length) * usize::from(self.count))
    }

    /// The octets by which a turn moves it.
    fn octets(self, turn: u64) -> usize {
        turn.checked_rem(u64::from(self.count)).unwrap_or(0) as usize * usize::from(self.length)
    }
}

/// A complete answer without the parts that differ between clients.
///
/// All of it lies in one piece of memory, in the order in which it is read, because there are many and each is
/// cold when its turn comes:
///
/// | octets | |
/// | --- | --- |
/// | 8 | until when it is served without a thought |
/// | 4 | the catalog under which it was made |
/// | 10 | header octets 2 to 11: flags and counts |
/// | 6 | the rotating set: place, octets of a record, count (0 for none) |
/// | 2 | how many TTLs are counted down |
/// | 2 | octets of the key |
/// | 4 | what the shell counts it for |
/// | 2 | where it was cut: the octets that its sections could take |
/// | … | the key |
/// | 10 each | a TTL: when it is zero, and its place behind the question |
/// | … | everything behind the question; of a cut answer as many records as could be sent |
#[derive(Clone, Debug)]
pub struct CachedPacket(Arc<[u8]>);

/// Octets of a [`CachedPacket`] before its key.
const FIXED: usize = 38;

/// Octets of a TTL to count down.
const COUNTDOWN: usize = 10;

/// Octets of an OPT record without options.
const OPT: usize = 11;

/// TC in the third octet of a header.
const TC: u8 = 2;

/// How an answer was made that is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct PacketOrigin {
    /// What it was rotated by.
    pub turn: u64,
    /// The size that its message was made for.
    pub limit: usize,
    /// The catalog under which it was made.
    pub generation: u32,
    /// When it was made.
    pub now: Timestamp,
    /// What it is to be counted for: the engine only keeps it.
    pub mark: u32,
}

/// What [`CachedPacket::append`] appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentFlags {
    /// Records of the answer section.
    pub answers: u16,
    /// Records of the authority section.
    pub authority: u16,
    /// There are more.
    pub cut: bool,
}

impl CachedPacket {
    /// Keeps the message that `finish` made of an answer; nothing when it must not be kept: it may be another next
    /// time, holds no longer, or was cut although its records rotate. What was cut is kept
    /// for messages that are no larger.
    pub fn of(key: &PacketKey, message: &[u8], answer: &Answer, making: PacketOrigin) -> Option<Self> {
        let holdings = answer.holdings.as_ref()?;
        let header: &[u8; HEADER] = message.first_chunk()?;
        let (question_end, mut places) = wire::places(message)?;
        let until = holdings.iter().filter_map(|holding| holding.due).min().unwrap_or(Timestamp(u64::MAX));
        let is_cut = header[2] & TC != 0;
        if (is_cut && answer.rotation.is_some()) || answer.error.is_some() || until <= making.now {
            return None;
        }
        let opt = if header[11] == 1 { Some(places.pop()?) } else { None };
        let end = opt.map_or(message.len(), |opt| opt.start);
        let opt = opt.map_or(&[][..], |opt| message.get(opt.start..opt.start + OPT - 2).unwrap_or_default());
        let counts = SectionCounts::of_header(header);
        let whole = usize::from(counts.answers) == answer.answers.len()
            && usize::from(counts.authorities) == answer.authority.len();
        if !whole && !is_cut {
            return None;
        }
        let reach = match is_cut {
            true => making.limit.checked_sub(question_end + message.len() - end)?,
            false => 0,
        };
        let behind = |at: usize| u16::try_from(at - question_end).ok();
        let mut countdowns = Vec::new();
        for (place, expires) in places.iter().zip(expiries(holdings, whole_count(answer))?) {
            if let Some(expires) = expires {
                countdowns.extend(expires.0.to_be_bytes());
                countdowns.extend(behind(place.ttl)?.to_be_bytes());
            }
        }
        let mut tail = message[question_end..end].to_vec();
        let rotation = match answer.rotation {
            None => Rotation { at: 0, length: 0, count: 0 },
            Some((first, count)) => {
                let set = places.get(first..first + count)?;
                let length = set.first().map(|place| place.end - place.start)?;
                if set.iter().any(|place| place.end - place.start != length) {
                    return None;
                }
                let (length, count) = (u16::try_from(length).ok()?, u16::try_from(count).ok()?);
                let rotation = Rotation { at: behind(set[0].start)?, length, count };
                // kept in the order of turn 0
                rotate(&mut tail, rotation, u64::from(count) - making.turn % u64::from(count));
                rotation
            }
        };
        if !opt.is_empty() {
            tail.extend_from_slice(opt);
            tail.extend([0, 0]); // a cookie was for one client
        }
        let mut bytes = Vec::with_capacity(FIXED + key.bytes().len() + countdowns.len() + tail.len());
        bytes.extend(until.0.to_be_bytes());
        bytes.extend(making.generation.to_be_bytes());
        bytes.extend(&header[2..]);
        let counted = u16::try_from(countdowns.len() / COUNTDOWN).ok()?;
        for number in [rotation.at, rotation.length, rotation.count, counted, key.bytes().len() as u16] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(making.mark.to_be_bytes());
        bytes.extend(u16::try_from(reach).ok()?.to_be_bytes());
        bytes.extend(key.bytes());
        bytes.extend(countdowns);
        bytes.extend(tail);
        Some(Self(bytes.into()))
    }

    /// True while it may be served under a catalog.
    pub fn is_valid(&self, generation: u32, now: Timestamp) -> bool {
        let (until, rest) =
            self.0.split_first_chunk().map_or((0, &[][..]), |(b, rest)| (u64::from_be_bytes(*b), rest));
        rest.first_chunk() == Some(&generation.to_be_bytes()) && now.0 < until
    }

    /// True when it is the answer to this key, and not to another of the same hash.
    pub fn is_for(&self, key: &PacketKey) -> bool {
        self.0.get(FIXED..FIXED + key.bytes().len()) == Some(key.bytes())
            && usize::from(self.u16(30)) == key.bytes().len()
    }

    /// True when the order of its records changes with each answer.
    pub fn rotates(&self) -> bool {
        self.u16(26) > 0
    }

    /// True when it serves a query whose answer may have this many octets.
    pub fn serves(&self, plain: &PlainQuery<'_>, limit: usize) -> bool {
        !self.is_cut() || limit <= plain.head.len() + usize::from(self.reach()) + self.opt().len()
    }

    /// Appends the answer for one client to `out`, at most `limit` octets; [`Self::serves`] says whether it can.
    pub fn write(&self, plain: &PlainQuery<'_>, limit: usize, now: Timestamp, turn: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let tail = &self.0[self.tail_at()..];
        out.extend_from_slice(plain.head);
        out[start + 2..start + HEADER].copy_from_slice(&self.0[12..22]);
        if !self.rotates() && plain.head.len() + tail.len() <= limit {
            let behind = out.len();
            out.extend_from_slice(tail);
            self.count_down(&mut out[behind..], now);
            return;
        }
        let opt = self.opt();
        let room = limit.saturating_sub(plain.head.len() + opt.len()).min(self.room());
        if let Some(sent) = self.append(room, now, turn, out) {
            out[start + 2] |= if sent.cut { TC } else { 0 };
            out[start + 6..start + 8].copy_from_slice(&sent.answers.to_be_bytes());
            out[start + 8..start + 10].copy_from_slice(&sent.authority.to_be_bytes());
        }
        out.extend_from_slice(opt);
    }

    /// Appends answer and authority section, in at most `room` octets. Nothing when it was cut to less.
    pub fn append(&self, room: usize, now: Timestamp, turn: u64, out: &mut Vec<u8>) -> Option<SentFlags> {
        let sections = &self.0[self.tail_at()..self.0.len() - self.opt().len()];
        let (answers, authority) = (self.u16(16), self.u16(18));
        if room > self.room() {
            return None;
        }
        let rotation = self.rotation();
        let (end, sent) = match sections.len() <= room {
            true => (sections.len(), SentFlags { answers, authority, cut: self.is_cut() }),
            false => {
                let (end, records) = front(sections, rotation, room);
                let first = records.min(answers);
                (end, SentFlags { answers: first, authority: records - first, cut: true })
            }
        };
        let behind = out.len();
        let (set_at, set_end) = rotation.span();
        if rotation.count == 0 || end <= set_at {
            out.extend_from_slice(&sections[..end]);
        } else {
            let set = &sections[set_at..set_end];
            let (shown, by) = (end.min(set_end) - set_at, rotation.octets(turn));
            let begins = &set[by..][..shown.min(set.len() - by)];
            out.extend_from_slice(&sections[..set_at]);
            out.extend_from_slice(begins);
            out.extend_from_slice(&set[..shown - begins.len()]);
            out.extend_from_slice(&sections[set_at + shown..end]);
        }
        self.count_down(&mut out[behind..], now);
        Some(sent)
    }

    /// Writes what is left of each TTL.
    fn count_down(&self, tail: &mut [u8], now: Timestamp) {
        let countdowns = &self.0[FIXED + usize::from(self.u16(30))..self.tail_at()];
        for countdown in countdowns.as_chunks::<COUNTDOWN>().0 {
            let &[a, b, c, d, e, f, g, h, high, low] = countdown;
            let left = seconds_left(Timestamp(u64::from_be_bytes([a, b, c, d, e, f, g, h])), now);
            let at = usize::from(u16::from_be_bytes([high, low]));
            let Some(ttl) = tail.get_mut(at..at + 4) else { return }; // the rest was cut off
            ttl.copy_from_slice(&left.to_be_bytes());
        }
    }

    /// Code and flags alone.
    pub fn bare_answer(&self) -> Answer {
        let mut answer = Answer::code(ResponseCode::from(0, self.rcode()), None);
        answer.authoritative = self.0[12] & 4 != 0;
        answer.authentic = self.0[13] & 0x20 != 0;
        answer
    }

    /// True when there are records that it does not have.
    fn is_cut(&self) -> bool {
        self.0[12] & TC != 0
    }

    /// The octets for which its sections can be used.
    fn room(&self) -> usize {
        if self.is_cut() { usize::from(self.reach()) } else { usize::MAX }
    }

    fn reach(&self) -> u16 {
        self.u16(36)
    }

    fn rotation(&self) -> Rotation {
        Rotation { at: self.u16(22), length: self.u16(24), count: self.u16(26) }
    }

    /// Its OPT record, if the client has one.
    fn opt(&self) -> &[u8] {
        let length = if self.0[21] == 1 { OPT } else { 0 };
        &self.0[self.0.len() - length..]
    }

    /// What it is counted for.
    pub fn mark(&self) -> u32 {
        u32::from(self.u16(32)) << 16 | u32::from(self.u16(34))
    }

    /// Its response code, but for the part that is in the OPT record.
    pub fn rcode(&self) -> u8 {
        self.0[13] & 0x0f
    }

    /// Its memory in octets.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// What comes before the key.
    #[inline]
    fn fixed(&self) -> &[u8; FIXED] {
        self.0.first_chunk().unwrap_or(&[0; FIXED]) // none is shorter
    }

    #[inline]
    fn u16(&self, at: usize) -> u16 {
        let fixed = self.fixed();
        u16::from_be_bytes([fixed[at], fixed[at + 1]])
    }

    /// Where the octets behind the question begin.
    fn tail_at(&self) -> usize {
        FIXED + usize::from(self.u16(30)) + usize::from(self.u16(28)) * COUNTDOWN
    }
}

/// How many records from the front take at most `room` octets: where the last ends, and their number. The records of a
/// rotating set have one length.
fn front(sections: &[u8], rotation: Rotation, room: usize) -> (usize, u16) {
    let (mut at, mut records) = (0, 0);
    let (set_at, _) = rotation.span();
    loop {
        if rotation.count > 0 && at == set_at {
            let length = usize::from(rotation.length.max(1));
            let count = ((room - at) / length).min(usize::from(rotation.count));
            (at, records) = (at + count * length, records + count as u16);
            if count < usize::from(rotation.count) {
                return (at, records);
            }
        }
        match wire::record_end(sections, at) {
            Some(end) if end <= room => (at, records) = (end, records + 1),
            _ => return (at, records),
        }
    }
}

/// All records of an answer.
fn whole_count(answer: &Answer) -> usize {
    answer.answers.len() + answer.authority.len()
}

/// When each record expires, in the order of the message.
fn expiries(holdings: &[SectionTtl], records: usize) -> Option<Vec<Option<Timestamp>>> {
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
    let (at, end) = rotation.span();
    tail[at..end].rotate_left(rotation.octets(by));
}

#[cfg(test)]
#[path = "cached_packet_tests.rs"]
mod tests;
