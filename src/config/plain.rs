//! Sections of zones in their plainest form: a header and lines of a key and a string of plain characters, or a number.
//! Nearly all of a long file is such, and is read here at a fraction of what a TOML parser takes. What has any other form is
//! left to the parser; what a section means, and whether it may, is decided elsewhere.

/// The header of a zone.
const ZONE: &str = "[[zone]]\n";

/// The header of a record.
const RECORD: &str = "[[zone.record]]\n";

/// A value with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlainValue<'t> {
    /// What is between the quotes.
    pub text: &'t str,
    /// The byte of the opening quote.
    pub start: usize,
    /// The byte behind the closing quote.
    pub end: usize,
}

/// `[[zone]]` with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainZone<'t> {
    /// `name`
    pub name: PlainValue<'t>,
    /// `file`
    pub file: Option<PlainValue<'t>>,
}

/// `[[zone.record]]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainRecord<'t> {
    /// `name`
    pub name: &'t str,
    /// `type`
    pub rtype: &'t str,
    /// `value`
    pub value: PlainValue<'t>,
    /// `ttl`, as it is written.
    pub ttl: Option<&'t str>,
}

/// The zone that a text begins with, and the octets of its section; nothing where it has another form.
pub(super) fn zone(text: &str) -> Option<(PlainZone<'_>, usize)> {
    let (mut name, mut file) = (None, None);
    let length = section(text, ZONE, |key, value, is_quoted| match key {
        "name" if is_quoted => name.replace(value).is_none(),
        "file" if is_quoted => file.replace(value).is_none(),
        _ => false,
    })?;
    Some((PlainZone { name: name?, file }, length))
}

/// The same for a record.
pub(super) fn record(text: &str) -> Option<(PlainRecord<'_>, usize)> {
    let (mut name, mut rtype, mut value, mut ttl) = (None, None, None, None);
    let length = section(text, RECORD, |key, found, is_quoted| match key {
        "name" if is_quoted => name.replace(found.text).is_none(),
        "type" if is_quoted => rtype.replace(found.text).is_none(),
        "value" if is_quoted => value.replace(found).is_none(),
        "ttl" if !is_quoted => ttl.replace(found.text).is_none(),
        _ => false,
    })?;
    Some((PlainRecord { name: name?, rtype: rtype?, value: value?, ttl }, length))
}

/// Octets up to the next header of a record that is at or after a byte.
pub(super) fn next_record(text: &str, from: usize) -> usize {
    let begin = from.saturating_sub(1).min(text.len());
    let rest = text.as_bytes().get(begin..).unwrap_or_default();
    let sought = RECORD.as_bytes();
    let mut at = 0;
    while let Some(line) = rest.get(at..).and_then(|rest| rest.iter().position(|octet| *octet == b'\n')) {
        at += line + 1;
        if rest[at..].starts_with(sought) {
            return begin + at;
        }
    }
    text.len()
}

/// Reads the lines of a section under a header, and how many octets it has. `take` has the key, the value and whether it is
/// quoted, and says whether it knows the key and had none of it before.
fn section<'t>(
    text: &'t str,
    header: &str,
    mut take: impl FnMut(&'t str, PlainValue<'t>, bool) -> bool,
) -> Option<usize> {
    let mut at = text.starts_with(header).then_some(header.len())?;
    let octets = text.as_bytes();
    loop {
        let rest = octets.get(at..)?;
        match rest.first() {
            None => return Some(at),
            // any other header might still belong to this section
            Some(b'[') => return rest.starts_with(RECORD.as_bytes()).then_some(at),
            Some(b'\n') => {
                at += 1;
                continue;
            }
            Some(_) => {}
        }
        let key_end = at + rest.iter().position(|octet| !octet.is_ascii_lowercase())?;
        let begin = octets.get(key_end..)?.starts_with(b" = ").then_some(key_end + 3)?;
        let is_quoted = octets.get(begin) == Some(&b'"');
        let inside = begin + usize::from(is_quoted);
        let is_value = |octet: u8| match is_quoted {
            true => matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\'),
            false => octet.is_ascii_digit(),
        };
        let length = octets.get(inside..)?.iter().position(|octet| !is_value(*octet))?;
        let close = inside + length;
        let end = close + usize::from(is_quoted);
        if (is_quoted && octets.get(close) != Some(&b'"')) || octets.get(end) != Some(&b'\n') {
            return None;
        }
        let value = PlainValue { text: text.get(inside..close)?, start: begin, end };
        if !take(text.get(at..key_end)?, value, is_quoted) {
            return None;
        }
        at = end + 1;
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
