//! A long file in pieces: the sections of zones apart from the rest, so that the values of one piece at a time are in
//! memory, and not those of a million records.
//!
//! A file is cut only before lines that are the header of a section. Each piece is TOML by itself: a `[[zone]]` with what
//! follows it, or more of its `[[zone.record]]`. The rest, put together, is TOML too.

use std::ops::Range;

/// Bytes after which a zone's records go on in another piece.
const PIECE: usize = 1 << 16;

/// A file in pieces.
pub(super) struct Pieces {
    /// All that is not of zones.
    pub rest: String,
    /// Where the parts of the rest lie: for each its byte there, and in the file.
    pub parts: Vec<(usize, usize)>,
    /// Where the zones lie, in the order of the file.
    pub zones: Vec<ZonePiece>,
    /// There are strings of several lines, so that a line that looks like a header may be none.
    pub has_long_strings: bool,
}

/// A piece of a zone.
pub(super) struct ZonePiece {
    /// True where it begins with the header of the zone.
    pub is_head: bool,
    /// Where it lies.
    pub span: Range<usize>,
}

/// A zone with all of its pieces.
pub(super) struct WholeZone {
    /// Where it lies.
    pub span: Range<usize>,
    /// The places of its pieces.
    pub pieces: Range<usize>,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// `[[zone]]`
    Zone,
    /// `[[zone.record]]`
    Record,
    /// Something else within a zone.
    InZone,
    /// A section that is no zone.
    Other,
}

impl Pieces {
    /// The pieces of a file; nothing for one that has no zones, or has them in another way than under headers.
    pub fn of(text: &str) -> Option<Self> {
        let headers = Headers::of(text);
        let has_long_strings = headers.has_long_strings;
        let mut pieces = Self { rest: String::new(), parts: Vec::new(), zones: Vec::new(), has_long_strings };
        let mut part = Some(0); // where the part of the rest begins that the line is in
        for (start, header) in headers {
            match (header, part) {
                (Header::Zone, _) => {
                    if let Some(begin) = part.take() {
                        pieces.push_rest(text, begin..start);
                    }
                    pieces.end_zone(start);
                    pieces.zones.push(ZonePiece { is_head: true, span: start..text.len() });
                }
                (Header::Record, None) => {
                    if pieces.zones.last().is_some_and(|zone| start - zone.span.start >= PIECE) {
                        pieces.end_zone(start);
                        pieces.zones.push(ZonePiece { is_head: false, span: start..text.len() });
                    }
                }
                (Header::InZone, None) | (Header::Other, Some(_)) => {}
                (Header::Record | Header::InZone, Some(_)) => return None, // of no zone
                (Header::Other, None) => {
                    pieces.end_zone(start);
                    part = Some(start);
                }
            }
        }
        if let Some(begin) = part {
            pieces.push_rest(text, begin..text.len());
        }
        (!pieces.zones.is_empty()).then_some(pieces)
    }

    /// The zones, each with all of its pieces.
    pub fn whole_zones(&self) -> impl Iterator<Item = WholeZone> + '_ {
        let mut at = 0;
        self.zones.chunk_by(|_, next| !next.is_head).map(move |pieces| {
            let span = pieces[0].span.start..pieces[pieces.len() - 1].span.end;
            let first = at;
            at += pieces.len();
            WholeZone { span, pieces: first..at }
        })
    }

    /// Ends the last piece of a zone, unless it has ended.
    fn end_zone(&mut self, at: usize) {
        if let Some(last) = self.zones.last_mut() {
            last.span.end = last.span.end.min(at);
        }
    }

    fn push_rest(&mut self, text: &str, span: Range<usize>) {
        self.parts.push((self.rest.len(), span.start));
        self.rest.push_str(&text[span]);
    }
}

/// The headers of a file, each with the byte that its line begins with.
struct Headers<'t> {
    text: &'t str,
    at: usize,
    /// There are strings of several lines.
    has_long_strings: bool,
    /// The quote of the string of several lines that the line begins in.
    open: Option<u8>,
}

impl<'t> Headers<'t> {
    fn of(text: &'t str) -> Self {
        let has_long_strings = has_triple_quote(text.as_bytes());
        Self { text, at: 0, has_long_strings, open: None }
    }
}

impl Iterator for Headers<'_> {
    type Item = (usize, Header);

    fn next(&mut self) -> Option<(usize, Header)> {
        loop {
            let start = self.at;
            let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
            let line = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
            self.at += line.len();
            let begins_in_string = self.open.is_some();
            if self.has_long_strings {
                self.open = open_after(line, self.open);
            }
            let header = if begins_in_string { None } else { header(line) };
            if let Some(header) = header {
                return Some((start, header));
            }
        }
    }
}

/// True where three quotes of a kind are in a row. One of them lies at each third place, so that these alone are looked at.
fn has_triple_quote(text: &[u8]) -> bool {
    let is_quote = |octet: &u8| matches!(octet, b'"' | b'\'');
    text.iter().enumerate().step_by(3).filter(|(_, octet)| is_quote(octet)).any(|(at, octet)| {
        let around = text.get(at.saturating_sub(2)..text.len().min(at + 3)).unwrap_or_default();
        around.windows(3).any(|three| three.iter().all(|other| other == octet))
    })
}

/// What a line says as a header; nothing for one that is none.
fn header(line: &str) -> Option<Header> {
    // as nearly all of a long file are
    match line {
        "[[zone.record]]\n" => return Some(Header::Record),
        "[[zone]]\n" => return Some(Header::Zone),
        _ => {}
    }
    if !line.as_bytes().first().is_some_and(|byte| matches!(byte, b'[' | b' ' | b'\t')) {
        return None;
    }
    let inner = line.trim_start_matches([' ', '\t']).strip_prefix('[')?;
    let (inner, is_list) = match inner.strip_prefix('[') {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let keys = &inner[..inner.find([']', '#']).unwrap_or(inner.len())];
    let mut keys = keys.split('.').map(|key| key.trim().trim_matches(['"', '\'']));
    match (keys.next(), keys.next(), keys.next(), is_list) {
        (Some("zone"), None, _, true) => Some(Header::Zone),
        (Some("zone"), Some("record"), None, true) => Some(Header::Record),
        (Some("zone"), ..) => Some(Header::InZone),
        _ => Some(Header::Other),
    }
}

/// The quote of the string of several lines that is open after a line; `open` is that before it.
fn open_after(line: &str, mut open: Option<u8>) -> Option<u8> {
    let bytes = line.as_bytes();
    let mut at = 0;
    let is_triple = |at: usize, quote: u8| bytes[at..].starts_with(&[quote; 3]);
    while let Some(&byte) = bytes.get(at) {
        match open {
            Some(b'"') if byte == b'\\' => at += 2,
            Some(quote) if is_triple(at, quote) => {
                open = None;
                at += 3;
                while bytes.get(at) == Some(&quote) {
                    at += 1; // the string may end in quotes
                }
            }
            Some(_) => at += 1,
            None if byte == b'#' => return None,
            None if matches!(byte, b'"' | b'\'') && is_triple(at, byte) => {
                open = Some(byte);
                at += 3;
            }
            None if matches!(byte, b'"' | b'\'') => {
                at += 1;
                while bytes.get(at).is_some_and(|other| *other != byte) {
                    at += if byte == b'"' && bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            None => at += 1,
        }
    }
    open
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
