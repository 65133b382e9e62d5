//! A record in few octets. An account may have a million of them: a row with a string for each field takes several hundred
//! octets, the same in one run some sixty. [`Record`] is the view of one, with the fields of a row.
//!
//! The store has records in this form too: what changes here needs a step in its migration.

use super::row::Record;
use super::value::{DEFAULT_LINE, host};
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

/// Types that are there as their number (RFC 1035 section 3.2.2 and later).
const TYPES: [(u8, &str); 7] =
    [(1, "A"), (28, "AAAA"), (5, "CNAME"), (16, "TXT"), (15, "MX"), (12, "PTR"), (33, "SRV")];

/// The number of any other type, which is there as text.
const OTHER_TYPE: u8 = 0;

/// Octets of the id and the flags, which come first.
const HEADER_BYTES: usize = 9;

/// A packed record: id (8), flags (1), host record, that in comparable form if it is another, type, value, TTL, priority
/// and weight, line, times and remark. Numbers have seven bits in each octet, the lowest first; a text has its length
/// before it.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedRecord(Arc<[u8]>);

/// New records of one zone, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecords {
    /// The id of the zone.
    pub zone: String,
    /// The records.
    pub records: Vec<PackedRecord>,
}

impl fmt::Debug for PackedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view("").fmt(f)
    }
}

impl PackedRecord {
    /// Packs a record; its zone is not part of it. `buffer` is overwritten; it saves an allocation for each record.
    pub fn of(record: &Record<'_>, buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend(record.id.to_be_bytes());
        push_body(record, buffer);
        Self(buffer.as_slice().into())
    }

    /// A record out of its id and its body, as [`push_body`] wrote it; nothing where it makes no sense.
    pub fn of_body(id: u64, body: &[u8], buffer: &mut Vec<u8>) -> Option<Self> {
        let is_sound = |body: &[u8]| {
            let mut rest = Rest(body);
            let flags = rest.octet().filter(|flags| *flags < 2 * HOST)?;
            fields(flags, &mut rest)?;
            rest.0.is_empty().then_some(())
        };
        is_sound(body)?;
        buffer.clear();
        buffer.extend(id.to_be_bytes());
        buffer.extend(body);
        Some(Self(buffer.as_slice().into()))
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.0.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
    }

    /// Its host record in the form in which equal owners are equal text.
    pub fn host(&self) -> &str {
        let mut rest = Rest(self.0.get(HEADER_BYTES..).unwrap_or_default());
        let rr = rest.text();
        if self.has(HOST) { rest.text() } else { rr }.unwrap_or_default()
    }

    /// All of it but its id, as [`push_body`] wrote it.
    pub fn body(&self) -> &[u8] {
        self.0.get(HEADER_BYTES - 1..).unwrap_or_default()
    }

    /// Its fields; `zone` is the id of its zone.
    pub fn view<'r>(&'r self, zone: &'r str) -> Record<'r> {
        let flags = self.0.get(HEADER_BYTES - 1).copied().unwrap_or_default();
        let mut rest = Rest(self.0.get(HEADER_BYTES..).unwrap_or_default());
        let fields = fields(flags, &mut rest).unwrap_or_default(); // found sound when it was packed
        Record { id: self.id(), zone, ..fields }
    }

    /// Whether it counts, for clients on no line.
    pub(super) fn is_on_default(&self) -> bool {
        self.has(ENABLED) && !self.has(LINE)
    }

    /// Whether it counts for a custom line.
    pub(super) fn is_on_a_line(&self) -> bool {
        self.has(ENABLED) && self.has(LINE)
    }

    fn has(&self, flag: u8) -> bool {
        self.0.get(HEADER_BYTES - 1).is_some_and(|flags| flags & flag != 0)
    }
}

/// Appends all of a record but its id and its zone.
pub fn push_body(record: &Record<'_>, buffer: &mut Vec<u8>) {
    let host = host(record.rr);
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
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
    match TYPES.iter().find(|(_, name)| *name == record.rtype) {
        Some((number, _)) => buffer.push(*number),
        None => {
            buffer.push(OTHER_TYPE);
            push_text(buffer, record.rtype);
        }
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
}

/// What [`push_body`] wrote behind the flags; nothing where it makes no sense.
fn fields<'r>(flags: u8, rest: &mut Rest<'r>) -> Option<Record<'r>> {
    let has = |flag: u8| flags & flag != 0;
    let rr = rest.text()?;
    if has(HOST) {
        rest.text()?;
    }
    let rtype = match rest.octet()? {
        OTHER_TYPE => rest.text()?,
        number => TYPES.iter().find(|(other, _)| *other == number)?.1,
    };
    let value = rest.text()?;
    let ttl = u32::try_from(rest.number()?).ok()?;
    let priority = if has(PRIORITY) { Some(u16::try_from(rest.number()?).ok()?) } else { None };
    let weight = rest.octet()?;
    let line = if has(LINE) { rest.text()? } else { DEFAULT_LINE };
    let created = rest.number()?;
    let updated = created.wrapping_add(rest.number()?);
    let (enabled, synced, remark) = (has(ENABLED), has(SYNCED), rest.text()?);
    let (id, zone) = (0, "");
    Some(Record {
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
    })
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
    fn octet(&mut self) -> Option<u8> {
        let (&octet, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(octet)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let octet = self.octet()?;
            number |= u64::from(octet & 0x7f).checked_shl(shift)?;
            if octet < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> Option<&'r str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
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
            let mut body = Vec::new();
            push_body(&row.view(), &mut body);
            let read = PackedRecord::of_body(id, &body, &mut Vec::new()).unwrap();
            prop_assert_eq!(read.view("z"), row.view());
            for cut in 0..body.len() {
                prop_assert!(PackedRecord::of_body(id, &body[..cut], &mut Vec::new()).is_none(), "{}", cut);
            }
            body.push(0);
            prop_assert!(PackedRecord::of_body(id, &body, &mut Vec::new()).is_none());
        }

        #[test]
        fn any_octets_are_a_record_or_none(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(packed) = PackedRecord::of_body(7, &octets, &mut Vec::new()) {
                prop_assert_eq!(packed.view("z").id, 7);
            }
        }
    }

    #[test]
    fn a_usual_record_takes_few_octets() {
        let row = crate::account::tests::record(1_700_000_000_000, 1, 2, 3, DEFAULT_LINE, true);
        assert!(PackedRecord::of(&row.view(), &mut Vec::new()).0.len() < 48);
    }
}
