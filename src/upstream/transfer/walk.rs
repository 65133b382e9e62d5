//! Where the parts of a message of a transfer lie: its question, and its last record, which may be its signature.

use crate::engine::message::{HEADER, MessageCursor, PointerBudget, SectionCounts, WireRecord};

/// The parts of a message.
#[derive(Clone, Debug)]
pub struct MessageParts<'m> {
    /// The counts of its header.
    pub counts: SectionCounts,
    /// Where the questions end.
    pub question_end: usize,
    /// There is an OPT record.
    pub has_opt: bool,
    /// The last record of the additional section.
    pub last_additional: Option<LastRecord<'m>>,
}

/// A record with its owner.
#[derive(Clone, Debug)]
pub struct LastRecord<'m> {
    /// The record.
    pub record: WireRecord<'m>,
    /// Its owner, uncompressed.
    pub owner: Vec<u8>,
}

impl<'m> MessageParts<'m> {
    /// The parts of a message; nothing for one that is cut or has octets left over.
    pub fn of(message: &'m [u8]) -> Option<Self> {
        let counts = SectionCounts::of(message)?;
        let mut cursor = MessageCursor::new(message, HEADER);
        cursor.skip_questions(counts.questions)?;
        let question_end = cursor.position();
        for _ in 0..usize::from(counts.answers) + usize::from(counts.authorities) {
            cursor.record()?;
        }
        let (mut last, mut has_opt) = (None, false);
        for _ in 0..counts.additionals {
            let record = cursor.record()?;
            has_opt |= record.is_opt();
            last = Some(record);
        }
        let last_additional = match last {
            None => None,
            Some(record) => {
                let mut owner = Vec::new();
                let mut at_owner = MessageCursor::new(message, record.start);
                at_owner.expand_name(&mut owner, &mut PointerBudget::of(message))?;
                Some(LastRecord { record, owner })
            }
        };
        cursor.is_done().then_some(Self { counts, question_end, has_opt, last_additional })
    }
}
