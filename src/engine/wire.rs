//! Writing records: a small encoder with name compression (RFC 1035 section 4.1.4).
//!
//! Compression never points into the question, except for a whole owner that *is* the question. So what follows
//! the question does not depend on the case a client asked in, and one prepared answer serves every case.

use super::message::{HEADER, MessageCursor, SectionCounts, is_name_at, wire_length};
use super::records::RecordRef;
use super::work;
use std::ops::Range;

/// Points to the question's name, right behind the header.
pub(super) const QUESTION_POINTER: u16 = 0xc000 | HEADER as u16;

/// A compression pointer has 14 bits.
const FURTHEST: usize = 0x3fff;

/// Label positions that are remembered for compression; more would make it slow and save little.
const REMEMBERED: usize = 64;

/// Appends records to a message whose header and question are written.
#[derive(Debug)]
pub struct MessageWriter<'m> {
    message: &'m mut Vec<u8>,
    /// The name in the question, in lower-case wire form.
    question: &'m [u8],
    /// Where names were written, each with its hash: with hundreds of names in a message, most are told apart by it.
    labels: Vec<(u32, u16)>,
    /// A bit for each hash in `labels`: most names that were not written yet are known by it.
    filter: [u64; 4],
    /// Points to the owner of the last record.
    owner: Option<u16>,
}

impl<'m> MessageWriter<'m> {
    /// Goes on with a message; `question` is the name in it, in lower-case wire form.
    pub fn new(message: &'m mut Vec<u8>, question: &'m [u8]) -> Self {
        Self { message, question, labels: Vec::new(), filter: [0; 4], owner: None }
    }

    /// Octets of the message so far.
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// True when nothing is written.
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// Takes everything behind `length` octets back.
    pub fn truncate(&mut self, length: usize) {
        self.message.truncate(length);
        self.labels.retain(|&(_, at)| usize::from(at) < length);
        self.owner = None;
    }

    /// Appends a record.
    pub(super) fn record(&mut self, record: &RecordRef<'_>) {
        work::written();
        match self.owner.filter(|_| record.same_owner) {
            Some(pointer) => self.message.extend_from_slice(&pointer.to_be_bytes()),
            None => self.owner(record.owner),
        }
        self.message.extend_from_slice(record.fixed);
        let length_at = self.message.len();
        self.message.extend_from_slice(&(record.data.len() as u16).to_be_bytes());
        let names = match u16::from(record.rtype()) {
            2 | 5 | 12 => 0..1, // NS, CNAME, PTR
            15 => 2..3,         // MX
            6 => 0..2,          // SOA
            _ => return self.message.extend_from_slice(record.data),
        };
        self.data(record.data, names);
        let length = (self.message.len() - length_at - 2) as u16;
        self.message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// The owner of a record, and what points to it.
    fn owner(&mut self, owner: &[u8]) {
        let here = self.message.len();
        // lengths of labels are no letters
        if owner.len() > 1 && owner.eq_ignore_ascii_case(self.question) {
            self.owner = Some(QUESTION_POINTER);
            return self.message.extend_from_slice(&QUESTION_POINTER.to_be_bytes());
        }
        self.name(owner);
        self.owner = match self.message.get(here..) {
            Some(&[high, low]) => Some(u16::from_be_bytes([high, low])), // no other name has two octets
            Some([0]) | None => None, // a pointer to the root is longer than the root
            Some(_) if here > FURTHEST => None,
            Some(_) => Some(0xc000 | here as u16),
        };
    }

    /// Record data with names in it, the first of them behind as many octets as `names` begins with. They are compressed:
    /// the type is of RFC 1035 (RFC 3597 section 4).
    fn data(&mut self, data: &[u8], names: Range<usize>) {
        let (octets, mut rest) = data.split_at(names.start.min(data.len()));
        self.message.extend_from_slice(octets);
        for _ in names {
            let Some((name, behind)) = wire_length(rest).map(|length| rest.split_at(length)) else { break };
            self.name(name);
            rest = behind;
        }
        self.message.extend_from_slice(rest);
    }

    /// A name in wire form, from its first label that was written before on as a pointer.
    fn name(&mut self, wire: &[u8]) {
        let mut at = 0;
        while wire[at] != 0 {
            let suffix = &wire[at..];
            let hash = hash(suffix);
            let (word, bit) = ((hash >> 30) as usize, 1 << (hash >> 24 & 63));
            if self.filter[word] & bit != 0 {
                let mut alike = self.labels.iter().filter(|(other, _)| *other == hash);
                if let Some(&(_, seen)) =
                    alike.find(|&&(_, seen)| is_name_at(self.message, seen.into(), suffix))
                {
                    self.message.extend_from_slice(&(0xc000 | seen).to_be_bytes());
                    return;
                }
            }
            let here = self.message.len();
            if here <= FURTHEST && self.labels.len() < REMEMBERED {
                self.labels.push((hash, here as u16));
                self.filter[word] |= bit;
            }
            let end = at + 1 + usize::from(wire[at]);
            self.message.extend_from_slice(&wire[at..end]);
            at = end;
        }
        self.message.push(0);
    }
}

/// A hash of a name in wire form. Names made to collide cost a comparison with each of the few places that
/// are remembered.
fn hash(name: &[u8]) -> u32 {
    let (words, rest) = name.as_chunks::<4>();
    let mix = |hash: u32, word: u32| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b1);
    let hash = words.iter().fold(name.len() as u32, |hash, word| mix(hash, u32::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, octet| mix(hash, u32::from(*octet)))
}

/// Where the parts of a record in a finished message lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamePosition {
    /// Its first octet.
    pub start: usize,
    /// Its TTL, four octets.
    pub ttl: usize,
    /// The octet behind it.
    pub end: usize,
}

/// The places of the records behind a question, in order; nothing when the message is cut or malformed.
pub fn places(message: &[u8]) -> Option<(usize, Vec<NamePosition>)> {
    let counts = SectionCounts::of(message).filter(|counts| counts.questions == 1)?;
    let mut cursor = MessageCursor::new(message, HEADER);
    cursor.name()?;
    cursor.take(4)?;
    let question_end = cursor.position();
    let mut places = Vec::with_capacity(counts.records().min(64));
    for _ in 0..counts.records() {
        let record = cursor.record()?;
        places.push(NamePosition { start: record.start, ttl: record.ttl_at(), end: record.end() });
    }
    cursor.is_done().then_some((question_end, places))
}

/// Where the record at `at` ends; nothing where none is whole.
pub fn record_end(message: &[u8], at: usize) -> Option<usize> {
    work::visited();
    MessageCursor::new(message, at).record().map(|record| record.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::{NameKey, parse};
    use crate::engine::record::parse_value;
    use crate::engine::records::Records;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, Record, RecordType};
    use proptest::prelude::*;

    /// A message with these records in its answer section.
    fn message(question: &str, records: &[Record]) -> Vec<u8> {
        let mut head = Message::query();
        let question = parse(question).unwrap();
        head.add_query(Query::query(question.clone(), RecordType::A));
        let mut bytes = head.to_vec().unwrap();
        bytes[7] = records.len() as u8;
        let question = NameKey::of(&question);
        let mut writer = MessageWriter::new(&mut bytes, question.wire());
        let records: Records = records.iter().cloned().collect();
        records.refs().for_each(|record| writer.record(&record));
        bytes
    }

    fn record(owner: &str, rtype: RecordType, value: &str) -> Record {
        Record::from_rdata(parse(owner).unwrap(), 60, parse_value(rtype, value).unwrap())
    }

    #[test]
    fn what_is_written_reads_back_and_is_compressed() {
        let records = [
            record("www.example", RecordType::CNAME, "a.b.test"),
            record("a.b.test", RecordType::MX, "10 mail.b.test"),
            record("mail.b.test", RecordType::A, "192.0.2.1"),
            record("b.test", RecordType::SRV, "1 2 3 mail.b.test"),
            record("x.b.test", RecordType::TXT, "text"),
        ];
        let bytes = message("www.example", &records);
        assert_eq!(Message::from_vec(&bytes).unwrap().answers, records);
        let text = |needle: &[u8]| bytes.windows(needle.len()).filter(|window| *window == needle).count();
        assert_eq!(text(b"\x01b\x04test"), 2, "once by the CNAME, once in SRV data, which is not compressed");
        let (_, places) = places(&bytes).unwrap();
        assert_eq!(places.len(), 5);
        assert!(places.iter().all(|place| bytes[place.ttl..place.ttl + 4] == [0, 0, 0, 60]));
        assert_eq!(places[4].end, bytes.len());
    }

    #[test]
    fn what_follows_the_question_does_not_depend_on_its_case() {
        let records = [
            record("www.example", RecordType::CNAME, "a.example"),
            record("a.example", RecordType::A, "192.0.2.1"),
        ];
        let (lower, mixed) = (message("www.example", &records), message("wWw.eXample", &records));
        let behind = |bytes: &[u8]| bytes[places(bytes).unwrap().0..].to_vec();
        assert_eq!(behind(&lower), behind(&mixed));
    }

    #[test]
    fn the_root_is_written_whole() {
        let bytes = message(".", &[record(".", RecordType::NS, "a.root-servers.net")]);
        assert_eq!(Message::from_vec(&bytes).unwrap().answers[0].name, Name::root());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_have_no_places_or_good_ones(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((_, places)) = places(&bytes) {
                prop_assert!(places.iter().all(|place| place.start < place.ttl && place.end <= bytes.len()));
            }
        }

        #[test]
        fn any_names_read_back(names in prop::collection::vec("[a-c]{1,2}(\\.[a-c]{1,2}){0,4}", 1..20)) {
            let records: Vec<Record> = names.iter().map(|name| record(name, RecordType::CNAME, name)).collect();
            let bytes = message("a.b", &records);
            prop_assert_eq!(&Message::from_vec(&bytes).unwrap().answers, &records);
        }
    }
}
