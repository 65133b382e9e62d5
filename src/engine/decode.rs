//! Decoding an upstream's message: owners, and the names in the data of the types that may be compressed. All other
//! data are opaque (RFC 3597 section 3): they are copied for every type, so that values that are unknown to the message
//! library or invalid for their type pass through unchanged.
//!
//! Records of the additional section are skipped, except OPT.

use super::message::{
    HEADER, MessageCursor, PointerBudget, SectionCounts, TYPE_OPT, WireRecord, wire_length,
};
use super::record;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, AAAA, NULL};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

/// The records of a message that may be compressed.
struct Compressed<'m> {
    bytes: &'m [u8],
    pointers: PointerBudget,
}

/// A field of record data.
#[derive(Clone, Copy)]
enum DecodedField {
    /// This many octets.
    Octets(usize),
    /// A name, which may be compressed.
    Name,
    /// A character-string.
    Text,
    /// The remaining octets.
    Rest,
}

/// The treatment of the data of a type.
enum Treatment {
    /// Names are expanded; a record with other data is invalid (RFC 1035).
    Strict(&'static [DecodedField]),
    /// Names are expanded if the data have this form, else they are opaque (RFC 3597 section 4).
    Lenient(&'static [DecodedField]),
    /// It has this length.
    Address(usize),
    /// Opaque data.
    Opaque,
}

/// The types whose names senders compress, or once did (RFC 3597 section 4, RFC 6672 section 2.5).
fn treatment(rtype: RecordType) -> Treatment {
    use self::DecodedField::{Name, Octets, Rest, Text};
    match u16::from(rtype) {
        1 => Treatment::Address(4),
        28 => Treatment::Address(16),
        // NS, MD, MF, CNAME, MB, MG, MR, PTR
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 => Treatment::Strict(&[Name]),
        6 => Treatment::Strict(&[Name, Name, Octets(20)]), // SOA
        14 => Treatment::Strict(&[Name, Name]),            // MINFO
        15 => Treatment::Strict(&[Octets(2), Name]),       // MX
        17 => Treatment::Lenient(&[Name, Name]),           // RP
        18 | 21 | 36 => Treatment::Lenient(&[Octets(2), Name]), // AFSDB, RT, KX
        24 => Treatment::Lenient(&[Octets(18), Name, Rest]), // SIG
        26 => Treatment::Lenient(&[Octets(2), Name, Name]), // PX
        30 => Treatment::Lenient(&[Name, Rest]),           // NXT
        33 => Treatment::Lenient(&[Octets(6), Name]),      // SRV
        35 => Treatment::Lenient(&[Octets(4), Text, Text, Text, Name]), // NAPTR
        39 => Treatment::Lenient(&[Name]),                 // DNAME
        _ => Treatment::Opaque,
    }
}

/// True for a type with opaque data, which can be read in place.
pub(super) fn is_opaque(rtype: RecordType) -> bool {
    matches!(treatment(rtype), Treatment::Opaque)
}

/// True for data that can be written as a record of this type: names are whole where they are compressed, addresses have
/// their length.
pub(super) fn is_sound(rtype: RecordType, data: &[u8]) -> bool {
    let after = |data: &[u8]| wire_length(data).unwrap_or(usize::MAX);
    match rtype {
        RecordType::A => data.len() == 4,
        RecordType::AAAA => data.len() == 16,
        RecordType::CNAME | RecordType::NS | RecordType::PTR => after(data) == data.len(),
        RecordType::MX => data.get(2..).is_some_and(|name| after(name) == name.len()),
        RecordType::SOA => {
            let second = data.get(after(data)..).unwrap_or_default();
            second.get(after(second)..).is_some_and(|numbers| numbers.len() == 20)
        }
        _ => true,
    }
}

/// Decodes a message. None for a malformed message, or if the answer section has records but no usable ones. Of the
/// additional section only OPT is read.
pub fn message(bytes: &[u8]) -> Option<Message> {
    let counts = SectionCounts::of(bytes)?;
    let mut cursor = MessageCursor::new(bytes, HEADER);
    cursor.skip_questions(counts.questions)?;
    let mut small = bytes.get(..cursor.position())?.to_vec();
    let mut compressed = Compressed { bytes, pointers: PointerBudget::of(bytes) };
    let answer_section = compressed.section(&mut cursor, counts.answers)?;
    if counts.answers > 0 && answer_section.is_empty() {
        return None;
    }
    let authority_section = compressed.section(&mut cursor, counts.authorities)?;
    if compressed.pointers.is_spent() {
        return None; // some data may have been treated as opaque because of it
    }
    let mut opt = None;
    for _ in 0..counts.additionals {
        let record = cursor.record()?;
        let octets = bytes.get(record.start..record.end())?;
        if record.rtype == TYPE_OPT && opt.replace(octets).is_some() {
            return None; // RFC 6891 section 6.1.1: there is one at most
        }
    }
    // The library reads the rest: flags, question, and the code that is spread over header and OPT.
    small[6..HEADER].fill(0);
    small[11] = u8::from(opt.is_some());
    small.extend_from_slice(opt.unwrap_or_default());
    let mut message = Message::from_vec(&small).ok()?;
    message.add_answers(answer_section);
    message.add_authorities(authority_section);
    Some(message)
}

/// The uncompressed data of a record, as in a cache entry.
pub(super) fn data(rtype: RecordType, wire: &[u8]) -> Option<RData> {
    match (rtype, wire) {
        // addresses are most frequent and need no decoder
        (RecordType::A, &[a, b, c, d]) => return Some(RData::A(A::new(a, b, c, d))),
        (RecordType::AAAA, octets) if octets.len() == 16 => {
            return Some(RData::AAAA(AAAA(<[u8; 16]>::try_from(octets).ok()?.into())));
        }
        _ => {}
    }
    match rtype {
        RecordType::A
        | RecordType::AAAA
        | RecordType::CNAME
        | RecordType::MX
        | RecordType::NS
        | RecordType::PTR
        | RecordType::SOA => record::from_wire(rtype, wire).ok(),
        _ => Some(opaque(rtype, wire)),
    }
}

/// Data that stands for its octets.
fn opaque(rtype: RecordType, wire: &[u8]) -> RData {
    let mut rdata = NULL::new(); // `NULL::with` does not take empty data
    rdata.anything = wire.to_vec();
    RData::Unknown { code: rtype, rdata }
}

impl Compressed<'_> {
    /// The records of a section without unusable ones; None if the section is malformed.
    fn section(&mut self, cursor: &mut MessageCursor<'_>, count: u16) -> Option<Vec<Record>> {
        let mut records = Vec::with_capacity(usize::from(count.min(64)));
        for _ in 0..count {
            let record = cursor.record()?;
            let mut owner = Vec::with_capacity(32);
            MessageCursor::new(self.bytes, record.start).expand_name(&mut owner, &mut self.pointers)?;
            let owner = Name::from_bytes(&owner).ok()?;
            let rtype = RecordType::from(record.rtype);
            let data = match treatment(rtype) {
                Treatment::Address(length) if record.data.len() != length => None,
                Treatment::Strict(fields) => {
                    self.expand_fields(&record, fields).and_then(|own| data(rtype, &own))
                }
                Treatment::Lenient(fields) => match self.expand_fields(&record, fields) {
                    Some(own) => data(rtype, &own),
                    None => data(rtype, record.data),
                },
                Treatment::Address(_) | Treatment::Opaque => data(rtype, record.data),
            };
            if let Some(data) = data {
                let class = DNSClass::from(record.class);
                let mut record = Record::from_rdata(owner, record.ttl, data);
                record.dns_class = class;
                records.push(record);
            }
        }
        Some(records)
    }

    /// The data of a record with expanded names; None if it does not have these fields.
    fn expand_fields(&mut self, record: &WireRecord<'_>, fields: &[DecodedField]) -> Option<Vec<u8>> {
        let mut cursor = MessageCursor::new(self.bytes.get(..record.end())?, record.data_at());
        let mut expanded = Vec::with_capacity(record.data.len());
        for field in fields {
            match field {
                DecodedField::Octets(count) => expanded.extend_from_slice(cursor.take(*count)?),
                DecodedField::Text => expanded.extend_from_slice(cursor.string()?),
                DecodedField::Rest => expanded.extend_from_slice(cursor.rest()),
                DecodedField::Name => cursor.expand_name(&mut expanded, &mut self.pointers)?,
            }
        }
        cursor.is_done().then_some(expanded)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
