//! The records of a message for people. Nothing here decides: a record whose data are of a type that is not known, or
//! invalid for its type, is still a record, and does not hide the others.

use super::escape::printable_octets;
use super::labels;
use super::layout::{Field, layout, may_be_compressed};
use super::print;
use super::types::mnemonic;
use crate::engine::message::{
    HEADER, MessageCursor, OPTION_EDE, PointerBudget, SectionCounts, TYPE_OPT, WireRecord,
};
use crate::engine::record::to_wire;
use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::binary::BinDecodable;

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

/// Reads a message; nothing where it is cut or malformed.
pub fn read(message: &[u8]) -> Option<TextSections> {
    let counts = SectionCounts::of(message)?;
    let mut head = MessageCursor::new(message, 0);
    let (id, flags) = (head.u16()?, head.u16()?);
    let mut sections = TextSections { id, flags, rcode: flags & 15, ..TextSections::default() };
    let mut pointers = PointerBudget::of(message);
    let mut cursor = MessageCursor::new(message, HEADER);
    if counts.questions > 0 {
        let name = name(&mut cursor.clone(), &mut pointers)?;
        cursor.skip_name()?;
        let mut behind = cursor;
        sections.question = Some((name, behind.u16()?));
        cursor.take(4)?;
        cursor.skip_questions(counts.questions - 1)?;
    }
    for (section, count) in [counts.answers, counts.authorities, counts.additionals].into_iter().enumerate() {
        for _ in 0..count {
            let record = cursor.record()?;
            let owner = name(&mut MessageCursor::new(message, record.start), &mut pointers)?;
            if record.rtype == TYPE_OPT {
                sections.rcode |= (record.ttl >> 24 << 4) as u16;
                sections.opt = Some(opt(&record));
                continue;
            }
            let data = expanded(message, &record, &mut pointers).unwrap_or_else(|| record.data.to_vec());
            let entry = TextRecord { name: owner, rtype: record.rtype, ttl: record.ttl, data };
            match section {
                0 => sections.answers.push(entry),
                1 => sections.authorities.push(entry),
                _ => sections.additionals.push(entry),
            }
        }
    }
    Some(sections)
}

/// Takes a name.
fn name(cursor: &mut MessageCursor<'_>, pointers: &mut PointerBudget) -> Option<Name> {
    let mut wire = Vec::with_capacity(32);
    cursor.expand_name(&mut wire, pointers)?;
    Name::from_bytes(&wire).ok()
}

/// Record data with their names written out; nothing where they are not what their type says.
fn expanded(message: &[u8], record: &WireRecord<'_>, pointers: &mut PointerBudget) -> Option<Vec<u8>> {
    let fields = layout(record.rtype).filter(|_| may_be_compressed(record.rtype))?;
    let mut cursor = MessageCursor::new(message.get(..record.end())?, record.data_at());
    let mut data = Vec::with_capacity(record.data.len());
    for field in fields {
        let octets = match field {
            Field::Name => {
                cursor.expand_name(&mut data, pointers)?;
                continue;
            }
            Field::U8(_) | Field::Algorithm => cursor.take(1)?,
            Field::U16(_) | Field::Rtype | Field::CertificateType => cursor.take(2)?,
            Field::U32(_) | Field::Period(_) | Field::Time => cursor.take(4)?,
            Field::String => cursor.string()?,
            _ => cursor.rest(),
        };
        data.extend_from_slice(octets);
    }
    cursor.is_done().then_some(data)
}

/// What an OPT record says, as far as its options can be told apart.
fn opt(record: &WireRecord<'_>) -> Opt {
    let errors = record.options().filter(|option| option.code == OPTION_EDE).filter_map(|option| {
        let (code, text) = option.value.split_first_chunk()?;
        // a final NUL is allowed and no part of the text
        let text = printable_octets(text.strip_suffix(&[0]).unwrap_or(text));
        Some(ReadExtendedError { code: u16::from_be_bytes(*code), text })
    });
    Opt {
        payload: record.class,
        version: record.edns_version(),
        dnssec_ok: record.dnssec_ok(),
        errors: errors.collect(),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
