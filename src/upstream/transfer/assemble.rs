//! From the messages of a transfer (RFC 5936, RFC 1995) to what is in them. A state machine over records, without I/O:
//! what a primary sends is believed as far as it is a transfer of the zone that was asked for, and no larger than allowed.

use super::content::{RecordKey, SoaRecord, ZoneChange, ZoneContent, is_newer};
use super::walk::MessageParts;
use crate::engine::decode;
use crate::engine::message::HEADER;
use crate::engine::name::NameKey;
use crate::engine::rcode::show_rcode;
use crate::engine::record;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Record, RecordType};
use std::fmt;
use std::mem;

/// Octets by which a message counts beside its own: one without records is work, too.
const MESSAGE: usize = 512;

/// Octets that a transfer may have for each octet of the largest zone: an incremental one may change the same over and
/// over.
const TIMES: usize = 2;

/// What is wrong with a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferFault {
    /// A message does not hold together.
    Malformed,
    /// The answer has this code.
    Rcode(ResponseCode),
    /// It answers another question.
    OtherQuestion,
    /// It does not begin with the SOA record of the zone.
    NoSoa,
    /// Records follow the last SOA record.
    AfterEnd,
    /// Its serial is not newer than that of the copy.
    NotNewer(u32),
    /// It does not have the form of an incremental transfer.
    Form,
    /// It, or the zone, is larger than `max_size`.
    TooLarge,
}

impl TransferFault {
    /// True where a full transfer may do what an incremental one did not.
    pub fn is_worth_a_full_transfer(&self) -> bool {
        !matches!(self, Self::TooLarge)
    }
}

impl fmt::Display for TransferFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("a message of the transfer is malformed"),
            Self::Rcode(rcode) => write!(f, "it answers {}", show_rcode(*rcode, false)),
            Self::OtherQuestion => f.write_str("it answers another question than was asked"),
            Self::NoSoa => f.write_str("the transfer does not begin with the zone's SOA record"),
            Self::AfterEnd => f.write_str("records follow the SOA record that ends the transfer"),
            Self::NotNewer(serial) => write!(f, "the transfer has serial {serial}, which is not newer"),
            Self::Form => f.write_str("the incremental transfer is malformed"),
            Self::TooLarge => f.write_str("the transfer is larger than max_size allows"),
        }
    }
}

/// What a transfer brought.
#[derive(Debug)]
pub enum TransferContent {
    /// The copy is as new as the primary's zone.
    Current,
    /// The whole zone.
    Whole(ZoneContent),
    /// What has changed since the copy.
    Changes(Vec<ZoneChange>),
}

/// Where the transfer is.
#[derive(Debug)]
enum Stage {
    /// Nothing has come.
    Start,
    /// The first SOA record.
    First(SoaRecord),
    /// Within a whole zone.
    Whole(Box<ZoneContent>),
    /// Within what a step deletes.
    Deleting(SoaRecord, ZoneChange),
    /// Within what a step adds.
    Adding(SoaRecord, ZoneChange),
    /// The last SOA record has come.
    End(TransferContent),
}

/// A transfer that is coming in.
#[derive(Debug)]
pub struct Assembler {
    apex: NameKey,
    question: u16,
    /// The serial of the copy that an incremental transfer was asked for.
    since: Option<u32>,
    /// Octets that the zone may have.
    most: usize,
    stage: Stage,
    changes: Vec<ZoneChange>,
    /// Octets of memory that the records so far take.
    size: usize,
    /// Octets of the messages so far.
    octets: usize,
    messages: usize,
    /// Records of names that are not in the zone, which are left out.
    outside: usize,
}

impl Assembler {
    /// For the answer to a question for a zone: a full transfer, or one since a serial.
    pub fn new(apex: NameKey, since: Option<u32>, most: usize) -> Self {
        let question = u16::from(if since.is_some() { RecordType::IXFR } else { RecordType::AXFR });
        let (stage, changes) = (Stage::Start, Vec::new());
        Self { apex, question, since, most, stage, changes, size: 0, octets: 0, messages: 0, outside: 0 }
    }

    /// Takes the next message; true once it was the last one. The id and the signature have been checked.
    ///
    /// # Errors
    /// The transfer is not used.
    pub fn take(&mut self, message: &[u8], parts: &MessageParts<'_>) -> Result<bool, TransferFault> {
        self.octets = self.octets.saturating_add(message.len() + MESSAGE);
        if self.octets > self.most.saturating_mul(TIMES).saturating_add(1 << 20) {
            return Err(TransferFault::TooLarge);
        }
        self.messages += 1;
        check_head(message, parts, &self.apex, self.question, self.messages == 1)?;
        let decoded = decode::message(message).ok_or(TransferFault::Malformed)?;
        if decoded.answers.len() != usize::from(parts.counts.answers) {
            return Err(TransferFault::Malformed); // a record whose data is not what its type wants
        }
        for record in decoded.answers {
            self.record(&record)?;
        }
        if let (Stage::First(soa), Some(since)) = (&self.stage, self.since) {
            // Alone in the first message, it says that nothing is newer (RFC 1995 section 2).
            return match is_newer(soa.serial(), since) {
                true if parts.counts.answers == 1 && self.messages == 1 => Ok(false), // a server may send one record a message
                true => Err(TransferFault::Form),
                false => {
                    self.stage = Stage::End(TransferContent::Current);
                    Ok(true)
                }
            };
        }
        Ok(matches!(self.stage, Stage::End(_)))
    }

    /// What was brought, and how many records were left out because they are not in the zone; nothing before the end.
    pub fn finish(self) -> Option<(TransferContent, usize)> {
        match self.stage {
            Stage::End(received) => Some((received, self.outside)),
            _ => None,
        }
    }

    /// Octets of memory that the records so far take.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes the next record.
    fn record(&mut self, record: &Record) -> Result<(), TransferFault> {
        let rtype = record.record_type();
        if record.dns_class != DNSClass::IN || record::is_meta(rtype) {
            return Err(TransferFault::Malformed);
        }
        let owner = NameKey::of(&record.name);
        let data = record::to_wire(&record.data);
        let soa = (rtype == RecordType::SOA && owner == self.apex)
            .then(|| SoaRecord { ttl: record.ttl, data: data.clone() });
        let in_zone = owner.is_within(&self.apex);
        let key = RecordKey::new(&owner, rtype, &data);
        let stage = mem::replace(&mut self.stage, Stage::Start);
        self.stage = match (stage, soa) {
            (Stage::Start, Some(soa)) => self.begin(soa)?,
            (Stage::Start, None) => return Err(TransferFault::NoSoa),
            (Stage::First(first), Some(soa)) if self.is_step(&first, &soa) => {
                Stage::Deleting(first, step(&soa))
            }
            (Stage::First(first), Some(soa)) if soa.serial() == first.serial() => {
                Stage::End(TransferContent::Whole(ZoneContent::new(first))) // a zone that has its SOA record only
            }
            (Stage::First(_), Some(_)) => return Err(TransferFault::Form),
            (Stage::First(first), None) => {
                self.whole(Box::new(ZoneContent::new(first)), in_zone, key, record.ttl)?
            }
            (Stage::Whole(zone), Some(soa)) if soa.serial() == zone.soa.serial() => {
                Stage::End(TransferContent::Whole(*zone))
            }
            (Stage::Whole(_), Some(_)) => return Err(TransferFault::NoSoa),
            (Stage::Whole(zone), None) => self.whole(zone, in_zone, key, record.ttl)?,
            (Stage::Deleting(first, change), Some(soa)) => Stage::Adding(first, ZoneChange { soa, ..change }),
            (Stage::Deleting(first, mut change), None) => {
                if self.counts(in_zone, &key)? {
                    change.deleted.push(key);
                }
                Stage::Deleting(first, change)
            }
            (Stage::Adding(first, change), Some(soa)) => self.next_step(first, change, soa)?,
            (Stage::Adding(first, mut change), None) => {
                if self.counts(in_zone, &key)? {
                    change.added.push((key, record.ttl));
                }
                Stage::Adding(first, change)
            }
            (Stage::End(_), _) => return Err(TransferFault::AfterEnd),
        };
        Ok(())
    }

    /// The first record of all.
    fn begin(&self, soa: SoaRecord) -> Result<Stage, TransferFault> {
        Ok(Stage::First(soa))
    }

    /// True where the second record begins an incremental transfer.
    fn is_step(&self, first: &SoaRecord, second: &SoaRecord) -> bool {
        self.since.is_some_and(|since| second.serial() == since) && first.serial() != second.serial()
    }

    /// Takes a record of a whole zone.
    fn whole(
        &mut self,
        mut zone: Box<ZoneContent>,
        in_zone: bool,
        key: RecordKey,
        ttl: u32,
    ) -> Result<Stage, TransferFault> {
        if self.counts(in_zone, &key)? {
            zone.add(key, ttl); // the same record twice is one
        }
        Ok(Stage::Whole(zone))
    }

    /// Counts a record; true where it is in the zone.
    fn counts(&mut self, in_zone: bool, key: &RecordKey) -> Result<bool, TransferFault> {
        if !in_zone {
            self.outside += 1;
            return Ok(false);
        }
        self.size += key.size();
        if self.size > self.most.saturating_mul(if self.since.is_some() { TIMES } else { 1 }) {
            return Err(TransferFault::TooLarge);
        }
        Ok(true)
    }

    /// A SOA record behind what a step adds: the end, or the next step.
    fn next_step(
        &mut self,
        first: SoaRecord,
        change: ZoneChange,
        soa: SoaRecord,
    ) -> Result<Stage, TransferFault> {
        let reached = change.soa.serial();
        if !is_newer(reached, change.from) || soa.serial() != reached {
            return Err(TransferFault::Form);
        }
        self.changes.push(change);
        if reached == first.serial() {
            return Ok(Stage::End(TransferContent::Changes(mem::take(&mut self.changes))));
        }
        Ok(Stage::Deleting(first, step(&soa)))
    }
}

/// A step that begins with the zone as it was at a SOA record.
fn step(soa: &SoaRecord) -> ZoneChange {
    ZoneChange { from: soa.serial(), deleted: Vec::new(), added: Vec::new(), soa: soa.clone() }
}

/// Checks header and question of an answer. `is_first` says that it is the first message, which has the question.
///
/// # Errors
/// It is no answer to this question.
pub fn check_head(
    message: &[u8],
    parts: &MessageParts<'_>,
    apex: &NameKey,
    question: u16,
    is_first: bool,
) -> Result<(), TransferFault> {
    let (Some(&flags), Some(&more)) = (message.get(2), message.get(3)) else {
        return Err(TransferFault::Malformed);
    };
    if flags & 0xf8 != 0x80 {
        return Err(TransferFault::Malformed); // no answer, or to another kind of request
    }
    match more & 0x0f {
        0 => {}
        rcode => return Err(TransferFault::Rcode(ResponseCode::from(0, rcode))),
    }
    if flags & 0x02 != 0 {
        return Err(TransferFault::Malformed); // nothing is truncated over TCP
    }
    match parts.counts.questions {
        0 if !is_first => Ok(()),
        1 => {
            let asked = message.get(HEADER..parts.question_end).unwrap_or_default();
            let (name, kind) = asked.split_at(asked.len().saturating_sub(4));
            let wanted = [&question.to_be_bytes()[..], &[0, 1]].concat();
            let same = name.eq_ignore_ascii_case(apex.wire()) && kind == wanted;
            if same { Ok(()) } else { Err(TransferFault::OtherQuestion) }
        }
        _ => Err(TransferFault::OtherQuestion),
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
