//! The records of a message for people. Nothing here decides: a record whose data are of a type that is not known, or
//! not what the type says, is a record all the same, and does not hide the others.

use super::escape::printable_octets;
use super::labels;
use super::layout::{Field, layout, may_be_compressed};
use super::print;
use super::types::mnemonic;
use crate::engine::record::to_wire;
use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::binary::BinDecodable;

/// The type of the pseudo-record OPT (RFC 6891).
const OPT: u16 = 41;
/// The code of extended DNS errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// Octets of the longest name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// Pointers that a name may follow: each leads to a place before it, and a label stands between two.
const POINTERS: usize = 127;

/// A record, its data in wire form without compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRecord {
    /// The owner.
    pub name: Name,
    /// The type.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// The data.
    pub data: Vec<u8>,
}

impl TextRecord {
    /// The owner as text.
    pub fn owner(&self) -> String {
        labels::show(&self.name)
    }

    /// The type as text.
    pub fn type_name(&self) -> String {
        mnemonic(self.rtype)
    }

    /// The data as text.
    pub fn value(&self) -> String {
        print::show(self.rtype, &self.data)
    }
}

impl From<&Record> for TextRecord {
    fn from(record: &Record) -> Self {
        let rtype = u16::from(record.record_type());
        Self { name: record.name.clone(), rtype, ttl: record.ttl, data: to_wire(&record.data) }
    }
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextSections {
    /// The id.
    pub id: u16,
    /// The second word of the header.
    pub flags: u16,
    /// The code, with what OPT adds to it.
    pub rcode: u16,
    /// Name and type of the first question.
    pub question: Option<(Name, u16)>,
    /// The answer section.
    pub answers: Vec<TextRecord>,
    /// The authority section.
    pub authorities: Vec<TextRecord>,
    /// The additional section, without OPT.
    pub additionals: Vec<TextRecord>,
    /// The OPT record.
    pub opt: Option<Opt>,
}

/// What an OPT record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opt {
    /// The largest datagram.
    pub payload: u16,
    /// The version of EDNS.
    pub version: u8,
    /// DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Extended errors.
    pub errors: Vec<ReadExtendedError>,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadExtendedError {
    /// The code.
    pub code: u16,
    /// Its text, printable.
    pub text: String,
}

/// Reads a message; nothing where it is cut or crooked.
pub fn read(message: &[u8]) -> Option<TextSections> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    let mut sections =
        TextSections { id: word(0)?, flags: word(2)?, rcode: word(2)? & 15, ..TextSections::default() };
    let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
    let mut at = 12;
    for number in 0..counts[0] {
        let (name, end) = name(message, at)?;
        if number == 0 {
            sections.question = Some((Name::from_bytes(&name).ok()?, word(end)?));
        }
        at = end + 4;
    }
    for section in 0..3 {
        for _ in 0..counts[section + 1] {
            let (owner, end) = name(message, at)?;
            let (rtype, class, ttl) =
                (word(end)?, word(end + 2)?, message.get(end + 4..)?.first_chunk::<4>()?);
            let start = end + 10;
            at = start + usize::from(word(end + 8)?);
            let data = message.get(start..at)?;
            if rtype == OPT {
                sections.rcode |= u16::from(ttl[0]) << 4;
                sections.opt = Some(opt(class, *ttl, data));
                continue;
            }
            let data = expanded(message, rtype, start, at).unwrap_or_else(|| data.to_vec());
            let entry = TextRecord {
                name: Name::from_bytes(&owner).ok()?,
                rtype,
                ttl: u32::from_be_bytes(*ttl),
                data,
            };
            match section {
                0 => sections.answers.push(entry),
                1 => sections.authorities.push(entry),
                _ => sections.additionals.push(entry),
            }
        }
    }
    Some(sections)
}

/// The wire form of the name at `at`, and the place behind it.
fn name(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    let mut pointers = 0;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => {
                name.push(0);
                return (name.len() <= MAX_NAME).then(|| (name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                name.extend_from_slice(message.get(at..=at + usize::from(length))?);
                at += 1 + usize::from(length);
            }
            192.. => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                end = end.or(Some(at + 2));
                pointers += 1;
                if target >= at || pointers > POINTERS {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
        if name.len() > MAX_NAME {
            return None;
        }
    }
}

/// Record data with their names written out; nothing where they are not what their type says.
fn expanded(message: &[u8], rtype: u16, start: usize, end: usize) -> Option<Vec<u8>> {
    let fields = layout(rtype).filter(|_| may_be_compressed(rtype))?;
    let mut data = Vec::new();
    let mut at = start;
    for field in fields {
        let length = match field {
            Field::Name => {
                let (name, behind) = name(message, at).filter(|(_, behind)| *behind <= end)?;
                data.extend(name);
                at = behind;
                continue;
            }
            Field::U8(_) => 1,
            Field::U16(_) | Field::Rtype => 2,
            Field::U32(_) | Field::Time => 4,
            Field::String => 1 + usize::from(*message.get(at)?),
            _ => end - at,
        };
        data.extend_from_slice(message.get(at..at + length).filter(|_| at + length <= end)?);
        at += length;
    }
    (at == end).then_some(data)
}

/// What an OPT record says, as far as its options can be told apart.
fn opt(class: u16, ttl: [u8; 4], mut data: &[u8]) -> Opt {
    let mut opt = Opt { payload: class, version: ttl[1], dnssec_ok: ttl[2] & 0x80 != 0, ..Opt::default() };
    while let Some((&[high, low, long, short], rest)) = data.split_first_chunk() {
        let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([long, short])))
        else {
            break;
        };
        if u16::from_be_bytes([high, low]) == EXTENDED_ERROR
            && let Some((code, text)) = value.split_first_chunk()
        {
            // a final NUL is allowed and no part of the text
            let text = printable_octets(text.strip_suffix(&[0]).unwrap_or(text));
            opt.errors.push(ReadExtendedError { code: u16::from_be_bytes(*code), text });
        }
        data = rest;
    }
    opt
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
