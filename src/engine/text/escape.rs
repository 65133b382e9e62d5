//! Escapes: `\DDD` is an octet in decimal, `\X` is the character X without its meaning (RFC 1035 section 5.1).

use std::borrow::Cow;

/// Appends `\DDD`.
pub(super) fn push_decimal(out: &mut String, octet: u8) {
    out.push('\\');
    for divisor in [100, 10, 1] {
        out.push(char::from(b'0' + octet / divisor % 10));
    }
}

/// The octets behind a backslash, and the text behind them.
///
/// # Errors
/// The text ends, or three digits are no octet.
pub(super) fn unescape(text: &str) -> Result<(EscapedOctets, &str), String> {
    let Some(first) = text.chars().next() else {
        return Err("ends with a backslash that escapes nothing".into());
    };
    if !first.is_ascii_digit() {
        let (char, rest) = text.split_at(first.len_utf8());
        let mut octets = EscapedOctets { octets: [0; 4], length: char.len() };
        octets.octets[..char.len()].copy_from_slice(char.as_bytes());
        return Ok((octets, rest));
    }
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let Some(octet) = digits.and_then(|digits| digits.parse::<u8>().ok()) else {
        let shown: String = text.chars().take(3).collect();
        return Err(format!(
            "has `\\{}`; an escape is a backslash and three decimal digits, at most \\255",
            printable(&shown)
        ));
    };
    Ok((EscapedOctets { octets: [octet, 0, 0, 0], length: 1 }, &text[3..]))
}

/// What an escape stands for: an octet, or those of a character.
#[derive(Clone, Copy, Debug)]
pub(super) struct EscapedOctets {
    octets: [u8; 4],
    length: usize,
}

impl AsRef<[u8]> for EscapedOctets {
    fn as_ref(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// The octets of a text, its escapes resolved.
///
/// # Errors
/// What is wrong with an escape.
pub(super) fn octets(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        let (escaped, behind) =
            unescape(&rest[at + 1..]).map_err(|why| format!("`{}` {why}", printable(text)))?;
        octets.extend_from_slice(escaped.as_ref());
        rest = behind;
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

/// A string between quotes. What is not printable ASCII is `\DDD`.
pub fn quoted(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() + 2);
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => push_decimal(&mut text, octet),
        }
    }
    text.push('"');
    text
}

/// True for characters that act on a terminal, reorder a line or cannot be seen: controls, line and paragraph
/// separators, directional marks and overrides, zero-width and tag characters.
pub fn is_hazard(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Text from outside for a terminal, a table or a log: characters that would do something there are shown as the
/// `\DDD` of their octets.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_hazard(char) {
            char.encode_utf8(&mut [0; 4]).bytes().for_each(|octet| push_decimal(&mut out, octet));
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// [`printable`] for octets that may be no UTF-8.
pub fn printable_octets(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        out.push_str(&printable(chunk.valid()));
        chunk.invalid().iter().for_each(|&octet| push_decimal(&mut out, octet));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decimal() {
        assert_eq!(octets("\\101x").unwrap(), b"ex");
        assert_eq!(octets("\\065\\\\\\\"\\.").unwrap(), b"A\\\".");
        assert_eq!(octets("\\255\\é").unwrap(), [255, 0xc3, 0xa9]);
        for bad in ["\\", "\\1", "\\12", "\\256", "\\1a2", "\\01é", "a\\9"] {
            assert!(octets(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_acts_on_a_terminal_or_cannot_be_seen_is_escaped() {
        for (text, shown) in [
            ("plain 例子 é", "plain 例子 é"),
            ("\x1b[2J", "\\027[2J"),
            ("\u{9b}2J\x7f\r\n", "\\194\\1552J\\127\\013\\010"),
            ("a\u{202e}b\u{2066}", "a\\226\\128\\174b\\226\\129\\166"),
            ("\u{200b}\u{2028}\u{61c}\u{feff}", "\\226\\128\\139\\226\\128\\168\\216\\156\\239\\187\\191"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(printable_octets(text.as_bytes()), shown);
        }
        assert_eq!(printable_octets(b"a\xff\x1b\xe2\x80"), "a\\255\\027\\226\\128");
        assert_eq!(quoted("é\"\\\n".as_bytes()), r#""\195\169\"\\\010""#);
    }

    proptest! {
        #[test]
        fn a_quoted_string_reads_back_and_is_plain_ascii(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = quoted(&bytes);
            prop_assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~')));
            prop_assert_eq!(octets(&text[1..text.len() - 1]).unwrap(), bytes);
        }
    }
}
