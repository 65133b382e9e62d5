//! A record in few octets. An account may have a million of them: a row with a string for each field takes several hundred
//! octets, the same in one run some sixty. [`Record`] is the view of one, with the fields of a row.

use super::row::Record;
use super::value::{DEFAULT_LINE, host};
use crate::engine::record::TABLE;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// It counts.
const ENABLED: u8 = 1;
/// It came from a task for host names.
const SYNCED: u8 = 2;
/// It has a priority.
const PRIORITY: u8 = 4;
/// It is of a line that is named.
const LINE: u8 = 8;
/// Its host record is there in the form in which equal owners are equal text, too.
const HOST: u8 = 16;

/// The number of a type that is not in the table of types, and is there as text.
const OTHER_TYPE: u8 = u8::MAX;

/// Octets of the id and the flags, which come first.
const HEADER_BYTES: usize = 9;

/// A packed record: id (8), flags (1), host record, that in comparable form if it is another, then the rest. Numbers
/// have seven bits in each octet, the lowest first; a text has its length before it.
#[derive(Clone)]
pub struct PackedRecord(Arc<[u8]>);

impl fmt::Debug for PackedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view("").fmt(f)
    }
}

impl PackedRecord {
    /// Packs a record; its zone is not part of it. `buffer` is overwritten; it saves an allocation for each record.
    pub fn of(record: &Record<'_>, buffer: &mut Vec<u8>) -> Self {
        let host = host(record.rr);
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        buffer.clear();
        buffer.extend(record.id.to_be_bytes());
        buffer.push(
            flag(ENABLED, record.enabled)
                | flag(SYNCED, record.synced)
                | flag(PRIORITY, record.priority.is_some())
                | flag(LINE, record.line != DEFAULT_LINE)
                | flag(HOST, matches!(host, Cow::Owned(_))),
        );
        push_text(buffer, record.rr);
        if let Cow::Owned(host) = &host {
            push_text(buffer, host);
        }
        let rtype = TABLE.iter().position(|row| row.name == record.rtype);
        buffer.push(rtype.and_then(|place| u8::try_from(place).ok()).unwrap_or(OTHER_TYPE));
        if rtype.is_none() {
            push_text(buffer, record.rtype);
        }
        push_text(buffer, record.value);
        push_number(buffer, record.ttl.into());
        if let Some(priority) = record.priority {
            push_number(buffer, priority.into());
        }
        buffer.push(record.weight);
        if record.line != DEFAULT_LINE {
            push_text(buffer, record.line);
        }
        push_number(buffer, record.created);
        push_number(buffer, record.updated.wrapping_sub(record.created));
        push_text(buffer, record.remark);
        Self(buffer.as_slice().into())
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.0.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
    }

    /// Its host record in the form in which equal owners are equal text.
    pub fn host(&self) -> &str {
        let mut rest = Rest(self.0.get(HEADER_BYTES..).unwrap_or_default());
        let rr = rest.text();
        if self.has(HOST) { rest.text() } else { rr }
    }

    /// Its fields; `zone` is the id of its zone.
    pub fn view<'r>(&'r self, zone: &'r str) -> Record<'r> {
        let mut rest = Rest(self.0.get(HEADER_BYTES..).unwrap_or_default());
        let rr = rest.text();
        if self.has(HOST) {
            rest.text();
        }
        let rtype = match rest.octet() {
            OTHER_TYPE => rest.text(),
            place => TABLE.get(usize::from(place)).map_or("", |row| row.name),
        };
        let value = rest.text();
        let ttl = rest.number() as u32; // packed from numbers of these sizes
        let priority = if self.has(PRIORITY) { Some(rest.number() as u16) } else { None };
        let weight = rest.octet();
        let line = if self.has(LINE) { rest.text() } else { DEFAULT_LINE };
        let created = rest.number();
        let updated = created.wrapping_add(rest.number());
        let (enabled, synced) = (self.has(ENABLED), self.has(SYNCED));
        let (id, remark) = (self.id(), rest.text());
        Record {
            id,
            zone,
            rr,
            rtype,
            value,
            ttl,
            priority,
            weight,
            line,
            remark,
            enabled,
            synced,
            created,
            updated,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.0.get(HEADER_BYTES - 1).is_some_and(|flags| flags & flag != 0)
    }
}

/// Appends a number.
fn push_number(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Appends a text.
fn push_text(buffer: &mut Vec<u8>, text: &str) {
    push_number(buffer, text.len() as u64);
    buffer.extend(text.as_bytes());
}

/// What has not been read yet.
struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    fn octet(&mut self) -> u8 {
        let Some((&octet, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        octet
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let octet = self.octet();
            number |= u64::from(octet & 0x7f).wrapping_shl(shift);
            if octet < 0x80 || shift > 56 {
                return number;
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> &'r str {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let Some((text, rest)) = self.0.split_at_checked(length) else { return "" };
        self.0 = rest;
        std::str::from_utf8(text).unwrap_or_default() // packed from text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::row::RecordRow;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_record_is_the_record(
            numbers in (any::<u64>(), any::<u32>(), any::<Option<u16>>(), any::<u8>(), any::<u64>(), any::<u64>()),
            texts in ("[a-zA-Z@*.-]{0,20}|é.例子|.{0,400}", "A|CNAME|SRV|HTTPS|[A-Z]{0,12}|.{0,4}", ".{0,300}", "default|line-0|.{0,40}", ".{0,200}"),
            (enabled, synced) in any::<(bool, bool)>(),
        ) {
            let (id, ttl, priority, weight, created, updated) = numbers;
            let (rr, rtype, value, line, remark) = texts;
            let row = RecordRow {
                id, ttl, priority, weight, created, updated, rr, rtype, value, line, remark, enabled, synced, zone: "z".into(),
            };
            let packed = PackedRecord::of(&row.view(), &mut Vec::new());
            prop_assert_eq!(packed.view("z"), row.view());
            prop_assert_eq!(packed.view("z").to_row(), row.clone());
            prop_assert_eq!((packed.id(), packed.host()), (row.id, &*host(&row.rr)));
        }
    }

    #[test]
    fn a_usual_record_takes_few_octets() {
        let row = crate::account::tests::record(1_700_000_000_000, 1, 2, 3, DEFAULT_LINE, true);
        assert!(PackedRecord::of(&row.view(), &mut Vec::new()).0.len() < 48);
    }
}
