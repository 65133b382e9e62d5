//! The zones of a file that is read in pieces, one section after another.

use super::key_path::KeyPath;
use super::pieces::ZonePiece;
use super::plain;
use super::reader::{ConfigReader, Origin, Span};
use super::section::Section;
use super::zone_draft::{ZoneDraft, ZoneDraftEntry, load_files};
use toml::de::{DeTable, DeValue};

/// Octets that the parser is given at a time, at most, where one section after another is not plain.
const MAX_STEP: usize = 1 << 16;

/// The zones of a file that is read in pieces.
pub(super) struct ZonesInPieces<'r> {
    reader: &'r ConfigReader<'r>,
    /// The zone that the last piece was of.
    draft: Option<ZoneDraft>,
    /// Zones that have begun.
    begun: usize,
    /// A zone, and a record, were read by the parser, so that their keys are known.
    known: (bool, bool),
    /// Octets that the parser is given at a time: the more, the fewer plain sections are among them.
    step: usize,
    done: Vec<ZoneDraftEntry>,
}

impl<'r> ZonesInPieces<'r> {
    /// No zones yet.
    pub fn new(reader: &'r ConfigReader<'r>) -> Self {
        Self { reader, draft: None, begun: 0, known: (false, false), step: 0, done: Vec::new() }
    }

    /// The same from the zone of a place on.
    pub fn beginning_at(reader: &'r ConfigReader<'r>, place: usize) -> Self {
        Self { begun: place, ..Self::new(reader) }
    }

    /// Reads a piece of a file; nothing where it has something else than a piece should have. `on_syntax` has the faults of
    /// the parser, and says whether to go on.
    pub fn read_piece(
        &mut self,
        text: &str,
        piece: &ZonePiece,
        has_long_strings: bool,
        mut on_syntax: impl FnMut(&[toml::de::Error], Origin) -> Option<()>,
    ) -> Option<()> {
        let (mut at, mut is_head) = (piece.span.start, piece.is_head);
        while at < piece.span.end {
            let rest = text.get(at..piece.span.end)?;
            let plain = if has_long_strings { None } else { self.read_plain(rest, at, is_head) };
            let length = match plain {
                Some(length) => {
                    self.step = 0;
                    length
                }
                None => {
                    let length = match has_long_strings {
                        true => rest.len(),
                        false => plain::next_record(rest, self.step.max(1)),
                    };
                    self.step = (2 * length).min(MAX_STEP);
                    let (table, errors) = DeTable::parse_recoverable(&rest[..length]);
                    if !errors.is_empty() {
                        on_syntax(&errors, Origin::At(at))?;
                    }
                    self.read(table.get_ref(), Origin::At(at), is_head)?;
                    length
                }
            };
            (at, is_head) = (at + length, false);
        }
        Some(())
    }

    /// Reads a plain section, and says how many octets it has; nothing where it is left to the parser.
    fn read_plain(&mut self, text: &str, begin: usize, is_head: bool) -> Option<usize> {
        if !is_head {
            let (section, length) = self.known.1.then(|| plain::record(text)).flatten()?;
            self.draft.as_mut()?.plain_record(&section, begin)?;
            return Some(length);
        }
        let (section, length) = self.known.0.then(|| plain::zone(text)).flatten()?;
        let path = KeyPath::default().key("zone").item(self.begun);
        let draft = ZoneDraft::plain(self.reader, path, &section, begin)?;
        self.end_zone();
        self.begun += 1;
        self.draft = Some(draft);
        Some(length)
    }

    /// Reads a piece that was parsed. `is_head` says that it begins a zone.
    fn read(&mut self, table: &DeTable, origin: Origin, is_head: bool) -> Option<()> {
        let (key, value) = table.iter().next()?;
        if table.len() != 1 || key.get_ref() != "zone" {
            return None;
        }
        let table = match value.get_ref() {
            DeValue::Array(zones) if is_head && zones.len() == 1 => zones[0].get_ref().as_table()?,
            DeValue::Table(more) if !is_head && more.len() == 1 => more,
            _ => return None,
        };
        if is_head {
            self.end_zone();
            self.begun += 1;
        }
        let path = KeyPath::default().key("zone").item(self.begun.checked_sub(1)?);
        let span = match value.get_ref() {
            DeValue::Array(zones) => zones[0].span(),
            _ => value.span(),
        };
        let mut section =
            Section::new(self.reader, table, origin, Span { path, span: self.reader.place(origin, span) });
        if is_head {
            let mut draft = ZoneDraft::begin(&mut section);
            draft.records(&mut section);
            section.finish();
            self.draft = Some(draft);
        } else {
            self.draft.as_mut()?.records(&mut section);
        }
        let has_records = self.draft.as_ref().is_some_and(|draft| draft.has_records());
        self.known = (true, self.known.1 || has_records);
        Some(())
    }

    fn end_zone(&mut self) {
        self.done.extend(self.draft.take().and_then(|draft| draft.finish(self.reader)));
    }

    /// All zones, their zone files read.
    pub fn finish(mut self) -> Vec<ZoneDraftEntry> {
        self.end_zone();
        load_files(self.reader, &mut self.done);
        self.done
    }
}
