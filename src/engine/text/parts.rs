//! The parts that the data of many types have in common, as text and in wire form: numbers, addresses, names, strings,
//! hex and base64.

use super::escape::printable;
use super::labels;
use super::tokens::Token;
use data_encoding::{BASE64, BASE64_NOPAD, HEXUPPER};
use hickory_proto::rr::Name;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Appends a name in wire form: absolute, or relative to an origin.
pub(super) fn name(data: &mut Vec<u8>, text: &str, origin: Option<&Name>) -> Result<(), String> {
    let name = match origin {
        Some(origin) if text == "@" => origin.clone(),
        Some(origin) if !labels::is_absolute(text) => labels::parse_below(text, origin)?,
        _ => labels::parse(text)?,
    };
    for label in name.iter() {
        data.push(label.len() as u8);
        data.extend_from_slice(label);
    }
    data.push(0);
    Ok(())
}

/// Appends a string behind its length.
pub(super) fn push_string(data: &mut Vec<u8>, string: &[u8]) -> Result<(), String> {
    let length = u8::try_from(string.len())
        .map_err(|_| format!("a string of {} octets; 255 are the most", string.len()))?;
    data.push(length);
    data.extend_from_slice(string);
    Ok(())
}

/// The string behind its length, and what follows it.
pub(super) fn split_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// An IPv4 address.
pub(super) fn v4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("`{}` is not an IPv4 address", shortened(text)))
}

/// An IPv6 address.
pub(super) fn v6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| format!("`{}` is not an IPv6 address", shortened(text)))
}

/// A number in the range of its field: decimal digits and nothing else.
pub(super) fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("`{}` is not a {what}", shortened(text)))
}

/// Seconds: a number, or numbers with units as in `1h30m`.
pub fn seconds(text: &str) -> Option<u32> {
    if let Ok(seconds) = number(text, "") {
        return Some(seconds);
    }
    let (mut total, mut part) = (0u64, None);
    for octet in text.bytes() {
        let unit: u64 = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let so_far: u64 = part.unwrap_or(0);
                part = Some(so_far.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.saturating_add(part.take()?.saturating_mul(unit));
    }
    let rest = part.unwrap_or(0);
    u32::try_from(total.saturating_add(rest)).ok().filter(|_| !text.is_empty())
}

/// The text of words, without what stands between them.
pub(super) fn joined(words: &[Token<'_>]) -> String {
    words.iter().map(|word| word.text).collect()
}

/// The octets of hex digits, over several words.
pub(super) fn hex(words: &[Token<'_>], place: &str) -> Result<Vec<u8>, String> {
    let digits = joined(words);
    if let Some(bad) = digits.chars().find(|char| !char.is_ascii_hexdigit()) {
        return Err(format!("`{}` {place} is not hex", printable(&bad.to_string())));
    }
    let octets = HEXUPPER.decode(digits.to_ascii_uppercase().as_bytes()).ok();
    octets
        .filter(|octets| !octets.is_empty())
        .ok_or_else(|| format!("the hex digits {place} must come in pairs"))
}

/// The octets of base64, with its padding or without.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    let octets = BASE64.decode(text.as_bytes()).or_else(|_| BASE64_NOPAD.decode(text.as_bytes()));
    octets
        .ok()
        .filter(|octets| !octets.is_empty())
        .ok_or_else(|| format!("`{}` is not base64", shortened(text)))
}

/// The beginning of a text that a message quotes.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text).into_owned(),
    }
}
