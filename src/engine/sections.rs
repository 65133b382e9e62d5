//! The answer and authority sections of a message in the making: each record once (RFC 2181 section 5), and no more
//! records than the message can hold, so that a large set is unpacked only as far as it is sent.

use super::cache::{CacheDataOf, CachedRecord, PackedRecords};
use super::decode::is_sound;
use super::name::NameWire;
use super::records::{RecordRef, Records};
use hickory_proto::rr::{Name, RecordType};
use std::collections::HashSet;

/// RRSIG, NSEC and NSEC3 (RFC 4034, RFC 5155): they go only to clients that asked for them, by DO or by type.
const DNSSEC: [u16; 3] = [46, 47, 50];

/// Octets of a record beside its data, at least: an owner of one octet, type, class, TTL and length.
const RECORD_HEAD: usize = 11;

/// The two sections.
#[derive(Debug)]
pub(super) struct Sections {
    /// The answer section.
    pub(super) answers: Records,
    /// The authority section.
    pub(super) authority: Records,
    /// Octets that further records may take, as short as they can be written.
    room: usize,
    /// Records were left out.
    left_out: bool,
    /// The records so far, once they may be met again.
    seen: Option<HashSet<Vec<u8>>>,
}

/// Which records of an entry are taken, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    /// The name that the entry is about, in the client's case.
    pub(super) name: &'w Name,
    /// The type asked for.
    pub(super) rtype: RecordType,
    /// The client sent DO.
    pub(super) dnssec_ok: bool,
    /// The TTL of all records.
    pub(super) ttl: u32,
    /// No record is kept back.
    pub(super) all: bool,
    /// Rotates a set of addresses; nothing keeps its order.
    pub(super) turn: Option<u64>,
}

impl Sections {
    /// Empty sections for a message in which records can take this many octets.
    pub(super) fn new(room: usize) -> Self {
        Self { answers: Records::default(), authority: Records::default(), room, left_out: false, seen: None }
    }

    /// Sets the octets that records can take; for sections that are empty.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Records in both sections.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.answers.len(), self.authority.len())
    }

    /// True when records were left out for want of room.
    pub(super) fn left_out(&self) -> bool {
        self.left_out
    }

    /// Takes all records out again.
    pub(super) fn clear(&mut self) {
        (self.answers, self.authority) = (Records::default(), Records::default());
        (self.seen, self.left_out) = (None, false);
    }

    /// Appends a record to the answer section while there is room.
    pub(super) fn answer(&mut self, name: &Name, rtype: RecordType, ttl: u32, data: &[u8]) {
        if self.fits(shortest(rtype, data)) {
            self.answers.append(NameWire::of(name).wire(), rtype, ttl, data);
        }
    }

    /// Appends records of one owner to the answer section while there is room.
    pub(super) fn answers<'d>(
        &mut self,
        name: &Name,
        rtype: RecordType,
        ttl: u32,
        data: impl Iterator<Item = &'d [u8]>,
    ) {
        let owner = NameWire::of(name);
        for data in data {
            if !self.fits(shortest(rtype, data)) {
                break;
            }
            self.answers.append(owner.wire(), rtype, ttl, data);
        }
    }

    /// Appends a record to the authority section while there is room.
    pub(super) fn authority(&mut self, name: &Name, rtype: RecordType, ttl: u32, data: &[u8]) {
        if self.fits(shortest(rtype, data)) {
            self.authority.append(NameWire::of(name).wire(), rtype, ttl, data);
        }
    }

    /// Appends the records of an entry that `keep` takes. How many addresses rotate, if several do.
    pub(super) fn take<'e>(
        &mut self,
        entry: &'e CacheDataOf<'_>,
        wanted: Wanted<'_>,
        keep: impl Fn(&CachedRecord<'e>) -> bool,
    ) -> Option<usize> {
        let owner = NameWire::of(wanted.name);
        let owner = owner.wire();
        let alike =
            entry.alike().filter(|(rtype, _)| wanted.all && wanted.turn.is_some() && *rtype == wanted.rtype);
        let set = match alike {
            // any of them may be the first: none is looked at that is not sent
            Some((_, stride)) => {
                let (packed, _) = entry.packed();
                let count = packed.len() / stride;
                let first = wanted.turn.unwrap_or(0).checked_rem(count as u64).unwrap_or(0) as usize;
                let (before, from) = packed.split_at(first * stride);
                for record in PackedRecords::of(from).chain(PackedRecords::of(before)) {
                    if !self.take_one(record, owner, wanted, false) {
                        break;
                    }
                }
                count
            }
            None => self.take_answers(entry, owner, wanted, keep),
        };
        // proofs beside an answer are for those who sent DO, whatever type they asked for
        let visible =
            |record: &CachedRecord<'_>| wanted.dnssec_ok || !DNSSEC.contains(&u16::from(record.rtype));
        for record in entry.packed_authority().filter(visible) {
            if !self.take_one(record, owner, wanted, true) {
                break;
            }
        }
        (set > 1).then_some(set)
    }

    /// Appends the answer records of an entry that `keep` takes; how many addresses rotate.
    fn take_answers<'e>(
        &mut self,
        entry: &'e CacheDataOf<'_>,
        owner: &[u8],
        wanted: Wanted<'_>,
        keep: impl Fn(&CachedRecord<'e>) -> bool,
    ) -> usize {
        let visible = |record: &CachedRecord<'_>| {
            wanted.dnssec_ok || record.rtype == wanted.rtype || !DNSSEC.contains(&u16::from(record.rtype))
        };
        let kept = entry.packed_answers().filter(|record| visible(record) && keep(record));
        let set = match wanted.turn {
            Some(_) => kept.clone().take_while(|record| record.rtype == wanted.rtype).count(),
            None => 0,
        };
        let first = wanted.turn.unwrap_or(0).checked_rem(set as u64).unwrap_or(0) as usize;
        let rotated = kept.clone().take(set).skip(first).chain(kept.clone().take(first));
        for record in rotated.chain(kept.skip(set)) {
            if !self.take_one(record, owner, wanted, false) {
                break;
            }
        }
        set
    }

    /// Appends a packed record if it is not there yet; false when there is no room for more.
    fn take_one(
        &mut self,
        record: CachedRecord<'_>,
        name: &[u8],
        wanted: Wanted<'_>,
        authority: bool,
    ) -> bool {
        if self.is_repeated(&record, name, authority) {
            return true;
        }
        if !self.fits(shortest(record.rtype, record.data)) {
            return false;
        }
        if is_sound(record.rtype, record.data) {
            let section = if authority { &mut self.authority } else { &mut self.answers };
            section.append(record.owner.unwrap_or(name), record.rtype, wanted.ttl, record.data);
        }
        true
    }

    /// True for a record that an earlier hop brought. An entry has each of its records once, so the first hop needs
    /// no look; nor do records of the hop's own name, unless others were seen: a chain visits a name once.
    fn is_repeated(&mut self, record: &CachedRecord<'_>, name: &[u8], authority: bool) -> bool {
        if self.seen.is_none() {
            let apart = authority || record.owner.is_some();
            if !apart || (self.answers.is_empty() && self.authority.is_empty()) {
                return false;
            }
            let key = |(record, authority): (RecordRef<'_>, bool)| {
                key(record.owner, record.rtype(), record.data, authority)
            };
            let answers = self.answers.refs().map(|record| (record, false));
            let authority = self.authority.refs().map(|record| (record, true));
            self.seen = Some(answers.chain(authority).map(key).collect());
        }
        let Some(seen) = &mut self.seen else { return false };
        !seen.insert(key(record.owner.unwrap_or(name), record.rtype, record.data, authority))
    }

    /// Takes the room for a record; false when there is none, and then for none that follows.
    fn fits(&mut self, octets: usize) -> bool {
        if self.left_out || octets > self.room {
            self.left_out = true;
            return false;
        }
        self.room -= octets;
        true
    }
}

/// What tells records apart: section, owner, type and data.
fn key(owner: &[u8], rtype: RecordType, data: &[u8], authority: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(owner.len() + data.len() + 3);
    key.push(u8::from(authority));
    key.extend_from_slice(owner);
    key[1..].make_ascii_lowercase(); // lengths of labels are no letters
    key.extend_from_slice(&u16::from(rtype).to_be_bytes());
    key.extend_from_slice(data);
    key
}

/// Octets of a record at least, however well its names are compressed.
fn shortest(rtype: RecordType, data: &[u8]) -> usize {
    RECORD_HEAD
        + match rtype {
            RecordType::CNAME | RecordType::NS | RecordType::PTR => 1,
            RecordType::MX => 3,
            RecordType::SOA => 22,
            _ => data.len(),
        }
}

#[cfg(test)]
#[path = "sections_tests.rs"]
mod tests;
