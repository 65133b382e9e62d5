//! Decoding an upstream's message: owners, and the names in the data of the types that may be compressed. All other
//! data is opaque (RFC 3597 section 3): it is copied, whatever its type, so that a value that the message library does
//! not know, or that is not what its type wants, passes through as it came.
//!
//! Records of the additional section are skipped, but for OPT: nothing in them is believed.

use super::name::wire_length;
use super::record;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{A, AAAA, NULL};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use std::ops::Range;

/// Octets of a header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// OPT (RFC 6891).
const OPT: u16 = 41;

/// The most compression pointers that one name may follow.
const MAX_POINTERS: usize = 127;

/// A message and the compression pointers that may still be followed in it: as many as it has octets, so that the work
/// grows with its length only. Names of usual messages take one or two pointers, and there is a name in six octets at
/// most.
struct Compressed<'m> {
    bytes: &'m [u8],
    pointers_left: usize,
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
    /// All that is left.
    Rest,
}

/// What is done with the data of a type.
enum Treatment {
    /// Its names are expanded; a record whose data does not have this form is no record (RFC 1035).
    Strict(&'static [DecodedField]),
    /// Its names are expanded where the data has this form, else it is opaque (RFC 3597 section 4).
    Lenient(&'static [DecodedField]),
    /// It has this length.
    Address(usize),
    /// It is copied.
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

/// True for a type whose data is copied as it is, so that it can be taken out of a message in place.
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

/// Decodes a message. Nothing for one that does not hold together, or whose answer section has records but none that
/// can be used. Of the additional section only OPT is read.
pub fn message(bytes: &[u8]) -> Option<Message> {
    let count = |at| number(bytes, at).map(usize::from);
    let (questions, answers, authorities, additionals) = (count(4)?, count(6)?, count(8)?, count(10)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(bytes, at)? + 4;
    }
    let mut small = bytes.get(..at)?.to_vec();
    let mut compressed = Compressed { bytes, pointers_left: bytes.len() };
    let answer_section = compressed.section(&mut at, answers)?;
    if answers > 0 && answer_section.is_empty() {
        return None;
    }
    let authority_section = compressed.section(&mut at, authorities)?;
    if compressed.pointers_left == 0 {
        return None; // some data may have been taken for opaque because of it
    }
    let mut opt = None;
    for _ in 0..additionals {
        let start = at;
        let fixed = after_name(bytes, at)?;
        at = fixed + 10 + usize::from(number(bytes, fixed + 8)?);
        let record = bytes.get(start..at)?;
        if number(bytes, fixed)? == OPT && opt.replace(record).is_some() {
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

/// The data of a record, uncompressed, as an entry of the cache keeps it.
pub(super) fn data(rtype: RecordType, wire: &[u8]) -> Option<RData> {
    match (rtype, wire) {
        // addresses are most of what there is, and need no decoder
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
    /// The records of a section, without those whose data cannot be used; nothing when they do not hold together.
    fn section(&mut self, at: &mut usize, count: usize) -> Option<Vec<Record>> {
        let bytes = self.bytes;
        let mut records = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let (owner, fixed) = self.expand(*at)?;
            let rtype = RecordType::from(number(bytes, fixed)?);
            let class = DNSClass::from(number(bytes, fixed + 2)?);
            let ttl = u32::from_be_bytes(*bytes.get(fixed + 4..)?.first_chunk()?);
            let start = fixed + 10;
            let end = start + usize::from(number(bytes, fixed + 8)?);
            let own = bytes.get(start..end)?;
            *at = end;
            let data = match treatment(rtype) {
                Treatment::Address(length) if own.len() != length => None,
                Treatment::Strict(fields) => {
                    self.expand_fields(start..end, fields).and_then(|own| data(rtype, &own))
                }
                Treatment::Lenient(fields) => match self.expand_fields(start..end, fields) {
                    Some(own) => data(rtype, &own),
                    None => data(rtype, own),
                },
                Treatment::Address(_) | Treatment::Opaque => data(rtype, own),
            };
            if let Some(data) = data {
                let mut record = Record::from_rdata(owner, ttl, data);
                record.dns_class = class;
                records.push(record);
            }
        }
        Some(records)
    }

    /// This data, its names expanded; nothing when it does not have these fields.
    fn expand_fields(&mut self, data: Range<usize>, fields: &[DecodedField]) -> Option<Vec<u8>> {
        let bytes = &self.bytes[..data.end];
        let mut at = data.start;
        let mut expanded = Vec::with_capacity(data.len());
        for field in fields {
            let end = match field {
                DecodedField::Octets(count) => at + count,
                DecodedField::Text => at + 1 + usize::from(*bytes.get(at)?),
                DecodedField::Rest => bytes.len(),
                DecodedField::Name => {
                    at = self.expand_into(at, data.end, &mut expanded)?;
                    continue;
                }
            };
            expanded.extend_from_slice(bytes.get(at..end)?);
            at = end;
        }
        (at == bytes.len()).then_some(expanded)
    }

    /// The name at `at`, and where it ends.
    fn expand(&mut self, at: usize) -> Option<(Name, usize)> {
        let mut wire = Vec::with_capacity(32);
        let end = self.expand_into(at, self.bytes.len(), &mut wire)?;
        Some((Name::from_bytes(&wire).ok()?, end))
    }

    /// Appends the name at `at`, uncompressed; where it ends, `limit` at most. Pointers lead backwards.
    fn expand_into(&mut self, mut at: usize, limit: usize, out: &mut Vec<u8>) -> Option<usize> {
        let bytes = &self.bytes[..limit];
        let start = out.len();
        let mut end = None;
        let mut pointers = 0;
        loop {
            let length = *bytes.get(at)?;
            match length {
                0 => {
                    out.push(0);
                    return (out.len() - start <= 255).then_some(end.unwrap_or(at + 1));
                }
                1..=63 => {
                    let next = at + 1 + usize::from(length);
                    out.extend_from_slice(bytes.get(at..next)?);
                    if out.len() - start > 254 {
                        return None;
                    }
                    at = next;
                }
                192.. => {
                    let to = usize::from(number(bytes, at)? & 0x3fff);
                    pointers += 1;
                    self.pointers_left = self.pointers_left.saturating_sub(1);
                    if to >= at || to < HEADER || pointers > MAX_POINTERS || self.pointers_left == 0 {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    at = to;
                }
                _ => return None,
            }
        }
    }
}

/// Where the name that begins at `at` ends.
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            192.. => return Some(at + 2),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// The number in the two octets at `at`.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
