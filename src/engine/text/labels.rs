//! Names. Any octet can be in a label (RFC 2181 section 11); text shows those that mean something, or nothing on
//! a screen, as escapes. Labels beyond ASCII are read as IDNA has them (UTS 46) and kept as A-labels.

use super::escape::{is_hazard, printable, push_decimal, unescape};
use crate::engine::name::of_labels;
use hickory_proto::rr::Name;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Octets of the longest label and of the longest name on the wire (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;

/// Characters of a name that a message repeats.
const QUOTED: usize = 120;

/// What separates labels: the dot, and what IDNA takes for one.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// A name as text, without the final dot; the root as `.`. Always ASCII.
pub fn show(name: &Name) -> String {
    show_labels(name.iter())
}

/// [`show`] for a name in wire form.
pub fn show_wire(wire: &[u8]) -> String {
    let mut rest = wire;
    show_labels(std::iter::from_fn(|| {
        let (&length, behind) = rest.split_first()?;
        let (label, behind) = behind.split_at_checked(usize::from(length)).filter(|_| length > 0)?;
        rest = behind;
        Some(label)
    }))
}

fn show_labels<'l>(labels: impl Iterator<Item = &'l [u8]>) -> String {
    let mut out = String::new();
    for label in labels {
        if !out.is_empty() {
            out.push('.');
        }
        show_label(&mut out, label);
    }
    if out.is_empty() { ".".into() } else { out }
}

fn show_label(out: &mut String, label: &[u8]) {
    for &octet in label {
        match octet {
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => out.extend(['\\', char::from(octet)]),
            b'!'..=b'~' => out.push(char::from(octet)),
            _ => push_decimal(out, octet),
        }
    }
}

/// The name in Unicode, for people beside [`show`]; nothing where no label is an A-label.
pub fn unicode(name: &Name) -> Option<String> {
    let mut out = String::new();
    let mut found = false;
    for label in name.iter() {
        if !out.is_empty() {
            out.push('.');
        }
        match u_label(label) {
            Some(text) => {
                found = true;
                out.push_str(&text);
            }
            None => show_label(&mut out, label),
        }
    }
    found.then_some(out)
}

/// The Unicode form of an A-label that has one which reads back to it.
fn u_label(label: &[u8]) -> Option<String> {
    if !label.get(..4)?.eq_ignore_ascii_case(b"xn--") {
        return None;
    }
    let (text, result) = Uts46::new().to_unicode(label, AsciiDenyList::EMPTY, Hyphens::Allow);
    result.ok()?;
    let text = text.into_owned();
    let safe = !text.is_ascii() && !text.contains(DOTS) && printable(&text) == text;
    let back = a_label(&text).ok()?;
    (safe && back.as_bytes().eq_ignore_ascii_case(label)).then_some(text)
}

/// The A-label of a label in Unicode.
fn a_label(text: &str) -> Result<String, String> {
    Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .ok()
        .filter(|ascii| !ascii.is_empty() && !ascii.contains('.'))
        .map(|ascii| ascii.into_owned())
        .ok_or_else(|| {
            format!(
                "has the label `{}`, which IDNA does not allow; write its A-label (xn--…), or its octets as \\DDD",
                printable(text)
            )
        })
}

/// True for text whose final dot is one, and not an escaped octet of the last label.
pub fn is_absolute(text: &str) -> bool {
    text.strip_suffix(DOTS)
        .is_some_and(|rest| rest.bytes().rev().take_while(|&octet| octet == b'\\').count().is_multiple_of(2))
}

/// True for text whose labels are its octets, and are all plain letters, digits, hyphens or underscores.
pub fn is_plain(text: &str) -> bool {
    let octet = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    let label = |label: &str| !label.starts_with('-') && label.bytes().all(octet);
    text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// Reads an absolute name; the final dot is optional. The root is `.`.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse(text: &str) -> Result<Name, String> {
    parse_below(text, &Name::root())
}

/// Reads a name that is relative to another.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse_below(text: &str, origin: &Name) -> Result<Name, String> {
    if text.is_empty() {
        return Err("an empty name; write \".\" for the root".into());
    }
    if text == "." {
        return Ok(origin.clone());
    }
    // Most names, and there may be a hundred thousand of them to read at a start.
    if text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\') {
        let labels = text.strip_suffix('.').unwrap_or(text).split('.').map(str::as_bytes);
        if let Some(name) = of_labels(labels.chain(origin.iter())) {
            return Ok(name);
        }
    }
    let wrong = |why: String| format!("`{}` {why}", shortened(text));
    let labels = labels(text).map_err(wrong)?;
    let name = of_labels(labels.iter().map(Vec::as_slice).chain(origin.iter()));
    name.ok_or_else(|| wrong(format!("is longer than {MAX_NAME} octets")))
}

/// The beginning of a text that a message quotes.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text).into_owned(),
    }
}

/// The labels of a name.
fn labels(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut labels = Vec::new();
    let mut label = Label::default();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            _ if DOTS.contains(&char) => labels.push(std::mem::take(&mut label).end()?),
            '\\' => {
                let (octets, behind) = unescape(rest)?;
                label.octets.extend_from_slice(octets.as_ref());
                label.is_escaped = true;
                rest = behind;
            }
            ' ' | '\t'..='\r' | '\0'..='\x1f' | '\x7f' => {
                let octet = char as u32;
                return Err(format!("contains {char:?}; where a label has this octet, write \\{octet:03}"));
            }
            _ if char.is_whitespace() || is_hazard(char) => {
                let code = char as u32;
                return Err(format!(
                    "contains U+{code:04X}, which is invisible; where a label has its octets, write each as \\DDD"
                ));
            }
            _ => {
                label.octets.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                label.is_unicode |= !char.is_ascii();
            }
        }
    }
    if label.octets.is_empty() {
        return Ok(labels); // a final dot
    }
    labels.push(label.end()?);
    Ok(labels)
}

/// A label that is being read.
#[derive(Default)]
struct Label {
    octets: Vec<u8>,
    /// It has a character beyond ASCII.
    is_unicode: bool,
    /// It has an escape.
    is_escaped: bool,
}

impl Label {
    /// The octets of the label.
    fn end(self) -> Result<Vec<u8>, String> {
        let Self { mut octets, is_unicode, is_escaped } = self;
        if octets.is_empty() {
            return Err("has an empty label".into());
        }
        if is_unicode && is_escaped {
            return Err(
                "has a label with both escapes and characters beyond ASCII; write all of these as \\DDD"
                    .to_string(),
            );
        }
        if is_unicode && let Ok(text) = std::str::from_utf8(&octets) {
            octets = a_label(text)?.into_bytes();
        }
        if octets.len() > MAX_LABEL {
            return Err(format!("has a label of {} octets; {MAX_LABEL} are the most", octets.len()));
        }
        Ok(octets)
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
