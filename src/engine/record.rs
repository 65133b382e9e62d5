//! The table of the record types that a private zone can have by mnemonic, and conversion of record data between text
//! and wire format.
//!
//! Values are written as in zone files (RFC 1035 section 5.1), with two conveniences: names inside values are
//! absolute whether or not they end in a dot, and an unquoted TXT value is one string, taken whole.
//! Every type, known or not, may be written in the form of RFC 3597: `\# <octets> <hex>`.
//! A new type is a row in [`TABLE`]; the form of its data is a row in `text::layout`.

use super::text;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL, TXT};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict};

/// One row of the table.
#[derive(Debug)]
pub struct TypeRow {
    /// The type.
    pub rtype: RecordType,
    /// Its mnemonic.
    pub name: &'static str,
    /// An example value, for messages.
    pub example: &'static str,
    /// True for the types that Alibaba Cloud PrivateZone supports.
    pub private_zone: bool,
}

/// All types that a private zone can have by mnemonic.
pub const TABLE: &[TypeRow] = &[
    row(RecordType::A, "A", "192.0.2.1", true),
    row(RecordType::AAAA, "AAAA", "2001:db8::1", true),
    row(RecordType::CNAME, "CNAME", "target.example", true),
    row(RecordType::TXT, "TXT", "any text, or \"one\" \"two\"", true),
    row(RecordType::MX, "MX", "10 mail.example", true),
    row(RecordType::PTR, "PTR", "host.example", true),
    row(RecordType::SRV, "SRV", "10 5 5060 sip.example", true),
    row(RecordType::NS, "NS", "ns1.example", false),
    row(RecordType::CAA, "CAA", "0 issue \"ca.example\"", false),
    row(RecordType::SVCB, "SVCB", "1 svc.example alpn=h2", false),
    row(RecordType::HTTPS, "HTTPS", "1 . alpn=h2,h3", false),
];

/// Meta types, which are never record types (RFC 6895 section 3.1).
pub fn is_meta(rtype: RecordType) -> bool {
    let code = u16::from(rtype);
    code == 0 || code == 41 || (128..=255).contains(&code)
}

/// The row of a type, if it has one.
pub fn row_of(rtype: RecordType) -> Option<&'static TypeRow> {
    TABLE.iter().find(|row| row.rtype == rtype)
}

/// Parses a type: a mnemonic in any case, or `TYPEn` (RFC 3597).
pub fn parse_type(text: &str) -> Option<RecordType> {
    text::parse_type(text.trim()).map(RecordType::from)
}

/// The mnemonic, or `TYPEn`.
pub fn show_type(rtype: RecordType) -> String {
    text::mnemonic(rtype.into())
}

/// A value of the given type, from text.
///
/// # Errors A sentence with the reason and an example value of this type.
pub fn parse_value(rtype: RecordType, text: &str) -> Result<RData, String> {
    if is_meta(rtype) {
        return Err(format!("{} is not a type of record", show_type(rtype)));
    }
    let trimmed = text.trim();
    if trimmed.starts_with("\\#") {
        return from_wire(rtype, &text::read_data(rtype.into(), trimmed)?);
    }
    let parsed = match rtype {
        // The most frequent types; there may be hundred thousands of them at a start.
        RecordType::A => parse_address(trimmed, "an IPv4 address").map(|address| RData::A(A(address))),
        RecordType::AAAA => {
            parse_address(trimmed, "an IPv6 address").map(|address| RData::AAAA(AAAA(address)))
        }
        RecordType::CNAME => text::parse(trimmed).map(|target| RData::CNAME(CNAME(target))),
        RecordType::TXT => parse_txt(text),
        _ => text::read_data(rtype.into(), trimmed).and_then(|data| from_wire(rtype, &data)),
    };
    parsed.map_err(|why| match row_of(rtype) {
        Some(row) => format!("{why}; a value of type {} looks like `{}`", row.name, row.example),
        None => why,
    })
}

/// A value as text; the inverse of [`parse_value`].
pub fn show_value(data: &RData) -> String {
    match data {
        RData::A(a) => a.to_string(),
        RData::AAAA(aaaa) => aaaa.to_string(),
        RData::CNAME(CNAME(name)) => text::show(name),
        other => text::show_data(other.record_type().into(), &to_wire(other)),
    }
}

/// Shorthand for a row of the table.
const fn row(rtype: RecordType, name: &'static str, example: &'static str, private_zone: bool) -> TypeRow {
    TypeRow { rtype, name, example, private_zone }
}

fn parse_address<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{}` is not {what}", text::printable(text)))
}

/// Quoted strings are separate strings; other text is one string. Strings of more than 255 octets are split (RFC 1035
/// section 3.3).
fn parse_txt(text: &str) -> Result<RData, String> {
    let trimmed = text.trim();
    let strings = match trimmed.as_bytes().first() {
        Some(b'"') => text::strings(trimmed)?,
        // in parentheses over several lines, as in zone files; other text that starts like this is a string
        Some(b'(') => text::strings(trimmed)
            .ok()
            .filter(|strings| !strings.is_empty())
            .unwrap_or_else(|| vec![text.as_bytes().to_vec()]),
        _ => vec![text.as_bytes().to_vec()],
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for string in &strings {
        if string.is_empty() {
            parts.push(&[]);
        }
        parts.extend(string.chunks(255));
    }
    let octets: usize = parts.iter().map(|part| part.len() + 1).sum();
    if octets > 65_000 {
        return Err(format!("{octets} octets of text do not fit one record"));
    }
    Ok(RData::TXT(TXT::from_bytes(parts)))
}

/// Record data to uncompressed wire form.
pub fn to_wire(data: &RData) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    match data.emit(&mut encoder) {
        Ok(()) => bytes,
        Err(_) => Vec::new(), // encoding does not fail without a size limit
    }
}

/// Record data from uncompressed wire format. Data that the engine does not read remain opaque octets (RFC 3597 section
/// 3).
///
/// # Errors The decoder's error for invalid data of this type.
pub fn from_wire(rtype: RecordType, bytes: &[u8]) -> Result<RData, String> {
    let length = u16::try_from(bytes.len()).map_err(|_| "more than 65535 octets".to_string())?;
    if !is_looked_into(rtype) {
        let rdata = if bytes.is_empty() { NULL::new() } else { NULL::with(bytes.to_vec()) };
        return Ok(RData::Unknown { code: rtype, rdata });
    }
    let mut decoder = BinDecoder::new(bytes);
    RData::read(&mut decoder, rtype, Restrict::new(length))
        .map_err(|error| format!("not the data of a {} record: {error}", show_type(rtype)))
}

/// True for types whose data the engine reads: addresses, texts, and names that can be compressed.
fn is_looked_into(rtype: RecordType) -> bool {
    matches!(
        rtype,
        RecordType::A
            | RecordType::AAAA
            | RecordType::CNAME
            | RecordType::MX
            | RecordType::NS
            | RecordType::PTR
            | RecordType::SOA
            | RecordType::SRV
            | RecordType::TXT
    )
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
