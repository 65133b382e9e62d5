//! The records of a section: packed in wire format, so that records from the cache or a zone are copied into the
//! message, and decoded only on demand.

use super::name::NameWire;
use super::{decode, record, work};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

/// Octets of type, class and TTL.
const FIXED: usize = 8;

/// Records, each with the octets of its owner (0 for the owner of the record before), owner, type, class, TTL, octets of
/// its data (2), and data without compression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    octets: Vec<u8>,
    count: usize,
    /// Position and octets of the last owner.
    owner: (usize, usize),
}

/// A record in [`Records`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordRef<'r> {
    /// The owner in wire format, in its original case.
    pub(super) owner: &'r [u8],
    /// It has the owner of the record before.
    pub(super) same_owner: bool,
    /// Type, class and TTL.
    pub(super) fixed: &'r [u8; FIXED],
    /// The data.
    pub(super) data: &'r [u8],
}

impl Records {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends a record of class IN.
    pub(super) fn append(&mut self, owner: &[u8], rtype: RecordType, ttl: u32, data: &[u8]) {
        self.append_of_class(owner, rtype, DNSClass::IN, ttl, data);
    }

    fn append_of_class(&mut self, owner: &[u8], rtype: RecordType, class: DNSClass, ttl: u32, data: &[u8]) {
        let (at, length) = self.owner;
        self.octets.reserve(owner.len() + FIXED + 3 + data.len());
        if self.count > 0 && self.octets.get(at..at + length) == Some(owner) {
            self.octets.push(0);
        } else {
            self.octets.push(owner.len() as u8); // names have 255 octets at most
            self.owner = (self.octets.len(), owner.len());
            self.octets.extend_from_slice(owner);
        }
        let [type_high, type_low] = u16::from(rtype).to_be_bytes();
        let [class_high, class_low] = u16::from(class).to_be_bytes();
        let [a, b, c, d] = ttl.to_be_bytes();
        let [high, low] = (data.len() as u16).to_be_bytes(); // the length field of a record has 16 bits
        self.octets.extend_from_slice(&[type_high, type_low, class_high, class_low, a, b, c, d, high, low]);
        self.octets.extend_from_slice(data);
        self.count += 1;
    }

    /// Appends a record.
    pub fn push(&mut self, record: &Record) {
        let data = record::to_wire(&record.data);
        let owner = NameWire::of(&record.name);
        self.append_of_class(owner.wire(), record.record_type(), record.dns_class, record.ttl, &data);
    }

    /// The records, decoded.
    pub fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.refs().filter_map(|record| record.decode())
    }

    /// The packed records.
    pub(super) fn refs(&self) -> Refs<'_> {
        Refs { rest: &self.octets, owner: &[0] }
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut packed = Self::default();
        records.into_iter().for_each(|record| packed.push(&record));
        packed
    }
}

/// Iterator of [`Records::refs`].
#[derive(Clone, Debug)]
pub(super) struct Refs<'r> {
    rest: &'r [u8],
    owner: &'r [u8],
}

impl<'r> Iterator for Refs<'r> {
    type Item = RecordRef<'r>;

    fn next(&mut self) -> Option<RecordRef<'r>> {
        let (&length, rest) = self.rest.split_first()?;
        let (owner, rest) = rest.split_at_checked(usize::from(length))?;
        if length > 0 {
            self.owner = owner;
        }
        let (fixed, rest) = rest.split_first_chunk()?;
        let (&[high, low], rest) = rest.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.rest = rest;
        Some(RecordRef { owner: self.owner, same_owner: length == 0, fixed, data })
    }
}

impl RecordRef<'_> {
    /// The type.
    pub(super) fn rtype(&self) -> RecordType {
        RecordType::from(u16::from_be_bytes([self.fixed[0], self.fixed[1]]))
    }

    /// The record itself.
    fn decode(&self) -> Option<Record> {
        work::unpacked();
        let &[_, _, high, low, a, b, c, d] = self.fixed;
        let data = record::from_wire(self.rtype(), self.data)
            .ok()
            .or_else(|| decode::data(self.rtype(), self.data))?;
        let mut record =
            Record::from_rdata(Name::from_bytes(self.owner).ok()?, u32::from_be_bytes([a, b, c, d]), data);
        record.dns_class = DNSClass::from(u16::from_be_bytes([high, low]));
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;
    use crate::engine::record::{parse_type, parse_value};

    #[test]
    fn records_come_out_as_they_went_in() {
        let record = |(owner, rtype, value)| {
            Record::from_rdata(
                parse(owner).unwrap(),
                60,
                parse_value(parse_type(rtype).unwrap(), value).unwrap(),
            )
        };
        let mut records = [
            ("wWw.example", "A", "192.0.2.1"),
            ("wWw.example", "A", "192.0.2.2"),
            ("www.example", "TXT", "text"),
            (".", "NS", "a.root-servers.net"),
            (".", "MX", "10 mail.example"),
        ]
        .map(record);
        records[2].dns_class = DNSClass::CH;
        let packed: Records = records.iter().cloned().collect();
        assert_eq!((packed.len(), Records::default().is_empty()), (5, true));
        assert_eq!(packed.iter().collect::<Vec<_>>(), records);
        assert!(packed.iter().next().unwrap().name.eq_case(&records[0].name));
        let same: Vec<bool> = packed.refs().map(|record| record.same_owner).collect();
        assert_eq!(same, [false, true, false, false, true]);
    }
}
