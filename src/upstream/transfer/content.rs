//! The records of a secondary zone as the primary has them: the changes of an incremental transfer, and their result in
//! the zone that is served.
//!
//! A record is one key: owner, type and data in wire form. All records of an owner lie together, so that a change of few
//! names costs little however large the zone is.

use crate::engine::message::wire_length;
use crate::engine::name::NameKey;
use crate::engine::record;
use crate::engine::rrset::{Owner, Rrset};
use crate::engine::zone::{PackedZone, soa_data};
use crate::engine::zone_build::{OwnerKey, ZoneBuilder};
use hickory_proto::rr::{RData, RecordType};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Octets that a record takes beside its own.
const OVERHEAD: usize = 64;

/// A SOA record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoaRecord {
    /// Its TTL.
    pub ttl: u32,
    /// Its data in uncompressed wire form.
    pub data: Vec<u8>,
}

impl SoaRecord {
    /// The numbers of the record.
    pub fn numbers(&self) -> SoaNumbers {
        let mut numbers = [0; 5];
        if let Some(octets) = self.data.last_chunk::<20>() {
            for (number, octets) in numbers.iter_mut().zip(octets.as_chunks::<4>().0) {
                *number = u32::from_be_bytes(*octets);
            }
        }
        let [serial, refresh, retry, expire, _] = numbers;
        SoaNumbers { serial, refresh, retry, expire }
    }

    /// The serial number.
    pub fn serial(&self) -> u32 {
        self.numbers().serial
    }
}

/// The numbers of a SOA record that a secondary goes by, in seconds but for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoaNumbers {
    /// The version of the zone.
    pub serial: u32,
    /// How often the primary is asked.
    pub refresh: u32,
    /// The same after a failure.
    pub retry: u32,
    /// How long the copy is good without an answer of the primary.
    pub expire: u32,
}

/// True when `one` is newer than `two` (RFC 1982).
pub fn is_newer(one: u32, two: u32) -> bool {
    (one.wrapping_sub(two) as i32) > 0
}

/// One record: owner, type and data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey(Box<[u8]>);

impl RecordKey {
    /// The key of a record; the owner is in lower case.
    pub fn new(owner: &NameKey, rtype: RecordType, data: &[u8]) -> Self {
        Self([owner.wire(), &u16::from(rtype).to_be_bytes(), data].concat().into())
    }

    /// Owner, type and data.
    fn parts(&self) -> Option<(&[u8], RecordType, &[u8])> {
        let (owner, rest) = self.0.split_at_checked(wire_length(&self.0)?)?;
        let (rtype, data) = rest.split_first_chunk()?;
        Some((owner, RecordType::from(u16::from_be_bytes(*rtype)), data))
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// A record from its octets; nothing where they do not hold together.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let key = Self(octets.into());
        key.parts().is_some().then_some(key)
    }

    /// Octets that it takes in memory.
    pub fn size(&self) -> usize {
        self.0.len() + OVERHEAD
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Some((owner, rtype, data)) => write!(f, "{} {rtype} {data:?}", NameKey::of_suffix(owner)),
            None => f.write_str("?"),
        }
    }
}

/// One step of an incremental transfer.
#[derive(Clone, Debug)]
pub struct ZoneChange {
    /// The serial that it begins with.
    pub from: u32,
    /// What is taken away.
    pub deleted: Vec<RecordKey>,
    /// What is added, with its TTL.
    pub added: Vec<(RecordKey, u32)>,
    /// The SOA record afterwards.
    pub soa: SoaRecord,
}

/// The records of a zone.
#[derive(Clone, Debug)]
pub struct ZoneContent {
    /// Its SOA record.
    pub soa: SoaRecord,
    records: BTreeMap<RecordKey, u32>,
    size: usize,
}

impl ZoneContent {
    /// A zone without records.
    pub fn new(soa: SoaRecord) -> Self {
        Self { soa, records: BTreeMap::new(), size: 0 }
    }

    /// Adds a record; false where it is there already.
    pub fn add(&mut self, record: RecordKey, ttl: u32) -> bool {
        let size = record.size();
        let is_new = self.records.insert(record, ttl).is_none();
        self.size += if is_new { size } else { 0 };
        is_new
    }

    /// Takes a record away; its TTL, or nothing where it is not there.
    fn remove(&mut self, record: &RecordKey) -> Option<u32> {
        let ttl = self.records.remove(record)?;
        self.size -= record.size();
        Some(ttl)
    }

    /// Octets that the records take in memory.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many records there are, the SOA left out.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True for a zone that has its SOA only.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All records with their TTLs, ordered.
    pub fn records(&self) -> impl Iterator<Item = (&RecordKey, u32)> {
        self.records.iter().map(|(record, ttl)| (record, *ttl))
    }

    /// Carries the steps of an incremental transfer out, one after another; the owners that they touch. Nothing is
    /// changed where one of them does not fit: it begins with another serial, deletes what is not there, adds what is, or
    /// makes the zone larger than `most` octets.
    pub fn apply(&mut self, changes: &[ZoneChange], most: usize) -> Result<BTreeSet<NameKey>, Misfit> {
        enum Undo<'c> {
            Add(&'c RecordKey, u32),
            Remove(&'c RecordKey),
        }
        let (mut undo, mut touched, soa) = (Vec::new(), BTreeSet::new(), self.soa.clone());
        let mut carry_out = || -> Result<(), Misfit> {
            for change in changes {
                if change.from != self.soa.serial() {
                    return Err(Misfit::Serial);
                }
                for record in &change.deleted {
                    let ttl = self.remove(record).ok_or(Misfit::NotThere)?;
                    undo.push(Undo::Add(record, ttl));
                    note(&mut touched, record);
                }
                for (record, ttl) in &change.added {
                    if !self.add(record.clone(), *ttl) {
                        return Err(Misfit::ThereAlready);
                    }
                    undo.push(Undo::Remove(record));
                    note(&mut touched, record);
                }
                if self.size > most {
                    return Err(Misfit::TooLarge);
                }
                self.soa = change.soa.clone();
            }
            Ok(())
        };
        if let Err(misfit) = carry_out() {
            for step in undo.into_iter().rev() {
                match step {
                    Undo::Add(record, ttl) => _ = self.add(record.clone(), ttl),
                    Undo::Remove(record) => _ = self.remove(record),
                }
            }
            self.soa = soa;
            return Err(misfit);
        }
        Ok(touched)
    }

    /// The zone to serve, and how many records are left out of it because they contradict others.
    pub fn pack(&self, apex: &NameKey) -> (PackedZone, usize) {
        let mut builder = ZoneBuilder::new(apex.clone());
        self.records().for_each(|(record, ttl)| give(&mut builder, record, ttl));
        let (owners, faults) = builder.finish();
        (PackedZone::new(owners, Some(self.soa_set())), faults.len())
    }

    /// The zone to serve, where it differs from `packed` in these names only.
    pub fn pack_again(&self, packed: &PackedZone, apex: &NameKey, touched: &BTreeSet<NameKey>) -> PackedZone {
        let mut owners = packed.owners.clone();
        for owner in touched {
            let mut builder = ZoneBuilder::new(apex.clone());
            let first = RecordKey(owner.wire().into());
            let all =
                self.records.range(first..).take_while(|(record, _)| record.0.starts_with(owner.wire()));
            all.for_each(|(record, ttl)| give(&mut builder, record, *ttl));
            match builder.finish().0.iter().next() {
                Some(owner) => _ = owners.insert(Owner::clone(owner)),
                None => {
                    let key = OwnerKey::of(owner, apex);
                    _ = owners.remove_by(|owner| owner.key().cmp(key.octets()));
                }
            }
        }
        PackedZone::new(owners, Some(self.soa_set()))
    }

    /// The SOA record as a set.
    fn soa_set(&self) -> Rrset {
        record::from_wire(RecordType::SOA, &self.soa.data)
            .map(|data| Rrset::single(self.soa.ttl, &data))
            .unwrap_or_else(|_| Rrset::single(self.soa.ttl, &RData::SOA(soa_data(self.soa.serial()))))
    }
}

/// Notes the owner of a record.
fn note(owners: &mut BTreeSet<NameKey>, record: &RecordKey) {
    if let Some((owner, ..)) = record.parts()
        && !owners.contains(owner)
    {
        owners.insert(NameKey::of_suffix(owner));
    }
}

/// Gives a record to a builder, unless it is of DNSSEC's: a private zone is served unsigned, and its chains of names would
/// contradict the zone that clients see.
fn give(builder: &mut ZoneBuilder, record: &RecordKey, ttl: u32) {
    let Some((owner, rtype, data)) = record.parts() else { return };
    let is_signed = matches!(u16::from(rtype), 46 | 47 | 50 | 51); // RRSIG, NSEC, NSEC3, NSEC3PARAM
    if !is_signed {
        builder.add_wire(owner, rtype, ttl.min(i32::MAX as u32), data, None);
    }
}

/// Why an incremental transfer does not fit to the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A step begins with another serial.
    Serial,
    /// It deletes what is not there.
    NotThere,
    /// It adds what is there already.
    ThereAlready,
    /// The zone would be too large.
    TooLarge,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serial => "a step of it begins with a serial that the copy does not have",
            Self::NotThere => "it deletes a record that the copy does not have",
            Self::ThereAlready => "it adds a record that the copy has already",
            Self::TooLarge => "the zone becomes larger than max_size",
        })
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
pub(super) mod tests;
