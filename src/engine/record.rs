//! THE table of record types: how each is written by a person and what it becomes on the wire.
//!
//! Values are written as in zone files (RFC 1035 section 5.1), with two conveniences: names inside values are
//! absolute whether or not they end in a dot, and an unquoted TXT value is one string, taken whole.
//! Every type, known or not, may be written in the form of RFC 3597: `\# <octets> <hex>`.
//! A new type is a new row in [`TABLE`].

use super::name;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, BinEncoder, Restrict};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One row of the table.
#[derive(Debug)]
pub struct TypeRow {
    /// The type.
    pub rtype: RecordType,
    /// Its mnemonic.
    pub name: &'static str,
    /// A value as a person writes it, for messages.
    pub example: &'static str,
    /// True for the types that Alibaba Cloud PrivateZone takes.
    pub private_zone: bool,
    /// Text value to record data.
    parse: fn(&str) -> Result<RData, String>,
}

/// All types that a private zone can hold by mnemonic.
pub const TABLE: &[TypeRow] = &[
    row(RecordType::A, "A", "192.0.2.1", true, parse_a),
    row(RecordType::AAAA, "AAAA", "2001:db8::1", true, parse_aaaa),
    row(RecordType::CNAME, "CNAME", "target.example", true, |text| {
        Ok(RData::CNAME(CNAME(name::parse(text)?)))
    }),
    row(RecordType::TXT, "TXT", "any text, or \"one\" \"two\"", true, parse_txt),
    row(RecordType::MX, "MX", "10 mail.example", true, parse_mx),
    row(RecordType::PTR, "PTR", "host.example", true, |text| Ok(RData::PTR(PTR(name::parse(text)?)))),
    row(RecordType::SRV, "SRV", "10 5 5060 sip.example", true, parse_srv),
    row(RecordType::NS, "NS", "ns1.example", false, |text| Ok(RData::NS(NS(name::parse(text)?)))),
    row(RecordType::CAA, "CAA", "0 issue \"ca.example\"", false, |text| {
        parse_by_library(RecordType::CAA, text)
    }),
    row(RecordType::SVCB, "SVCB", "1 svc.example alpn=h2", false, |text| {
        parse_by_library(RecordType::SVCB, text)
    }),
    row(RecordType::HTTPS, "HTTPS", "1 . alpn=h2,h3", false, |text| {
        parse_by_library(RecordType::HTTPS, text)
    }),
];

/// Types that ask about the exchange itself and can be nobody's record (RFC 6895 section 3.1).
pub fn is_meta(rtype: RecordType) -> bool {
    let code = u16::from(rtype);
    code == 0 || code == 41 || (128..=255).contains(&code)
}

/// The row of a type, if it has one.
pub fn row_of(rtype: RecordType) -> Option<&'static TypeRow> {
    TABLE.iter().find(|row| row.rtype == rtype)
}

/// A type as people write it: a mnemonic in any case, or `TYPEn` (RFC 3597).
pub fn parse_type(text: &str) -> Option<RecordType> {
    let upper = text.trim().to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse::<u16>().ok().map(RecordType::from);
    }
    match RecordType::from_str(&upper) {
        Ok(RecordType::Unknown(_)) | Err(_) => None,
        Ok(rtype) => Some(rtype),
    }
}

/// The mnemonic, or `TYPEn`.
pub fn show_type(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(code) => format!("TYPE{code}"),
        known => known.to_string(),
    }
}

/// A value of the given type, from text.
///
/// # Errors
/// A sentence that says what is wrong and shows how a value of this type looks.
pub fn parse_value(rtype: RecordType, text: &str) -> Result<RData, String> {
    let trimmed = text.trim();
    if let Some(generic) = trimmed.strip_prefix("\\#") {
        return parse_generic(rtype, generic);
    }
    match row_of(rtype) {
        Some(row) => (row.parse)(if rtype == RecordType::TXT { text } else { trimmed })
            .map_err(|why| format!("{why}; a value of type {} looks like `{}`", row.name, row.example)),
        None if is_meta(rtype) => Err(format!("{} is not a type of record", show_type(rtype))),
        None => Err(format!(
            "type {} has no text form here; write it as `\\# <octets> <hex>` (RFC 3597)",
            show_type(rtype)
        )),
    }
}

/// A value as a person writes it; the inverse of [`parse_value`].
pub fn show_value(data: &RData) -> String {
    match data {
        RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => name::show(name),
        RData::MX(mx) => format!("{} {}", mx.preference, name::show(&mx.exchange)),
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name::show(&srv.target))
        }
        RData::TXT(txt) => txt.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        RData::A(a) => a.to_string(),
        RData::AAAA(aaaa) => aaaa.to_string(),
        other => {
            let bytes = to_wire(other);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            match row_of(other.record_type()) {
                Some(_) => other.to_string(),
                None => format!("\\# {} {hex}", bytes.len()).trim_end().to_string(),
            }
        }
    }
}

/// Shorthand for a row of the table.
const fn row(
    rtype: RecordType,
    name: &'static str,
    example: &'static str,
    private_zone: bool,
    parse: fn(&str) -> Result<RData, String>,
) -> TypeRow {
    TypeRow { rtype, name, example, private_zone, parse }
}

fn parse_a(text: &str) -> Result<RData, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| format!("`{text}` is not an IPv4 address"))?;
    Ok(RData::A(A(address)))
}

fn parse_aaaa(text: &str) -> Result<RData, String> {
    let address: Ipv6Addr = text.parse().map_err(|_| format!("`{text}` is not an IPv6 address"))?;
    Ok(RData::AAAA(AAAA(address)))
}

fn parse_mx(text: &str) -> Result<RData, String> {
    let [preference, exchange] = fields(text)?;
    Ok(RData::MX(MX::new(number(preference, "preference")?, name::parse(exchange)?)))
}

fn parse_srv(text: &str) -> Result<RData, String> {
    let [priority, weight, port, target] = fields(text)?;
    Ok(RData::SRV(SRV::new(
        number(priority, "priority")?,
        number(weight, "weight")?,
        number(port, "port")?,
        name::parse(target)?,
    )))
}

/// Quoted strings are taken one by one; anything else is one string, taken whole.
/// Strings of more than 255 octets are split (RFC 1035 section 3.3).
fn parse_txt(text: &str) -> Result<RData, String> {
    let strings = if text.trim_start().starts_with('"') {
        quoted_strings(text.trim())?
    } else {
        vec![text.as_bytes().to_vec()]
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

/// The strings of `"a b" "c"`, with the escapes `\"`, `\\` and `\DDD`.
fn quoted_strings(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut strings = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => continue,
            b'"' => {}
            _ => return Err("text beside the quoted strings".into()),
        }
        let mut string = Vec::new();
        loop {
            match bytes.next() {
                None => return Err("a quoted string without its closing quote".into()),
                Some(b'"') => break,
                Some(b'\\') => match bytes.next() {
                    None => return Err("a quoted string without its closing quote".into()),
                    Some(digit @ b'0'..=b'9') => {
                        let rest = (bytes.next(), bytes.next());
                        let (Some(tens @ b'0'..=b'9'), Some(ones @ b'0'..=b'9')) = rest else {
                            return Err("an escape that is not \\DDD".into());
                        };
                        let value = u16::from(digit - b'0') * 100
                            + u16::from(tens - b'0') * 10
                            + u16::from(ones - b'0');
                        string.push(u8::try_from(value).map_err(|_| format!("\\{value} is not an octet"))?);
                    }
                    Some(other) => string.push(other),
                },
                Some(other) => string.push(other),
            }
        }
        strings.push(string);
    }
    Ok(strings)
}

/// A string between quotes, with what needs it escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    match std::str::from_utf8(bytes) {
        Ok(utf8) if !utf8.chars().any(char::is_control) => {
            for c in utf8.chars() {
                if matches!(c, '"' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
        }
        _ => {
            for &byte in bytes {
                match byte {
                    b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
                    0x20..=0x7e => text.push(char::from(byte)),
                    _ => text.push_str(&format!("\\{byte:03}")),
                }
            }
        }
    }
    text.push('"');
    text
}

/// A type whose text form the message library reads; names in it are made absolute.
fn parse_by_library(rtype: RecordType, text: &str) -> Result<RData, String> {
    let data = RData::try_from_str(rtype, text).map_err(|error| format!("`{text}`: {error}"))?;
    // Through the wire once: what cannot be encoded must not wait for the first query to show.
    from_wire(rtype, &to_wire(&data)).map_err(|why| format!("`{text}`: {why}"))
}

/// `<octets> <hex>` of RFC 3597 section 5, after the `\#`.
fn parse_generic(rtype: RecordType, text: &str) -> Result<RData, String> {
    let mut words = text.split_whitespace();
    let length: usize = number(words.next().unwrap_or(""), "number of octets after \\#")?;
    let hex: String = words.collect();
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return Err("the hex digits after \\# must come in pairs".into());
    }
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    for at in (0..hex.len()).step_by(2) {
        let pair = &hex[at..at + 2];
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_| format!("`{pair}` is not hex"))?);
    }
    if bytes.len() != length {
        return Err(format!("\\# announces {length} octets, {} follow", bytes.len()));
    }
    if is_meta(rtype) {
        return Err(format!("{} is not a type of record", show_type(rtype)));
    }
    from_wire(rtype, &bytes)
}

/// Record data to uncompressed wire form.
pub fn to_wire(data: &RData) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(false);
    match data.emit(&mut encoder) {
        Ok(()) => bytes,
        Err(_) => Vec::new(), // nothing that was decoded or built fails to encode without a size limit
    }
}

/// Record data from uncompressed wire form.
///
/// # Errors
/// What the decoder says of bytes that are not of this type.
pub fn from_wire(rtype: RecordType, bytes: &[u8]) -> Result<RData, String> {
    let length = u16::try_from(bytes.len()).map_err(|_| "more than 65535 octets".to_string())?;
    if length == 0 && row_of(rtype).is_none() {
        return Ok(RData::Unknown { code: rtype, rdata: NULL::new() });
    }
    let mut decoder = BinDecoder::new(bytes);
    RData::read(&mut decoder, rtype, Restrict::new(length))
        .map(absolute)
        .map_err(|error| format!("not the data of a {} record: {error}", show_type(rtype)))
}

/// Names inside decoded data are absolute by nature; the library's text parser leaves them relative.
fn absolute(mut data: RData) -> RData {
    let fix = |name: &mut Name| name.set_fqdn(true);
    match &mut data {
        RData::SVCB(svcb) => fix(&mut svcb.target_name),
        RData::HTTPS(https) => fix(&mut https.0.target_name),
        _ => {}
    }
    data
}

/// Exactly `N` words.
fn fields<const N: usize>(text: &str) -> Result<[&str; N], String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = words.len();
    words.try_into().map_err(|_| format!("`{text}` has {count} fields instead of {N}"))
}

/// A number in the range of its field.
fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a {what}"))
}

/// The code as people write it; NODATA for success without data.
pub fn show_rcode(rcode: ResponseCode, empty: bool) -> String {
    match rcode {
        ResponseCode::NoError if empty => "NODATA".into(),
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rtype: &str, text: &str, shown: &str) {
        let rtype = parse_type(rtype).unwrap();
        let data = parse_value(rtype, text).unwrap();
        assert_eq!(show_value(&data), shown);
        assert_eq!(parse_value(rtype, &show_value(&data)).unwrap(), data, "{shown} does not read back");
        assert_eq!(from_wire(rtype, &to_wire(&data)).unwrap(), data, "{shown} does not survive the wire");
    }

    #[test]
    fn values_read_show_and_survive_the_wire() {
        check("A", "192.0.2.1", "192.0.2.1");
        check("aaaa", "2001:DB8::1", "2001:db8::1");
        check("CNAME", "Target.Example.", "Target.Example");
        check("MX", "10  mail.example", "10 mail.example");
        check("SRV", "1 2 5060 sip.example.", "1 2 5060 sip.example");
        check("PTR", "host.example", "host.example");
        check("NS", "ns1.example", "ns1.example");
        check("TXT", "v=spf1 -all; \"quoted\" inside", "\"v=spf1 -all; \\\"quoted\\\" inside\"");
        check("TXT", "\"one\" \"two \\\"x\\\" \\009\"", "\"one\" \"two \\\"x\\\" \\009\"");
        check("TXT", "", "\"\"");
        check("TYPE65534", "\\# 3 0a0B0c", "\\# 3 0a0b0c");
        check("TYPE65534", "\\# 0", "\\# 0");
        check("TYPE1", "\\# 4 c0000201", "192.0.2.1");
    }

    #[test]
    fn the_librarys_types_read_and_survive_the_wire() {
        for (rtype, text) in [
            ("CAA", "0 issue \"ca.example\""),
            ("HTTPS", "1 . alpn=h2,h3"),
            ("HTTPS", "0 pool.example"),
            ("SVCB", "1 svc.example port=8443 ipv4hint=192.0.2.1"),
        ] {
            let rtype = parse_type(rtype).unwrap();
            let data = parse_value(rtype, text).unwrap();
            assert_eq!(from_wire(rtype, &to_wire(&data)).unwrap(), data);
            assert_eq!(parse_value(rtype, &show_value(&data)).unwrap(), data, "{}", show_value(&data));
        }
    }

    #[test]
    fn a_long_text_is_split_at_255_octets() {
        let data = parse_value(RecordType::TXT, &"x".repeat(600)).unwrap();
        let RData::TXT(txt) = data else { panic!("not TXT") };
        assert_eq!(txt.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
    }

    #[test]
    fn bad_values_say_what_is_wrong_and_how_it_looks() {
        for (rtype, text, words) in [
            ("A", "1.2.3", "192.0.2.1"),
            ("A", "2001:db8::1", "IPv4"),
            ("AAAA", "1.2.3.4", "IPv6"),
            ("MX", "mail.example", "1 fields instead of 2"),
            ("MX", "70000 mail.example", "preference"),
            ("SRV", "1 2 3", "3 fields instead of 4"),
            ("CNAME", "a..b", "empty label"),
            ("CNAME", "two names", "which no name may"),
            ("TXT", "\"open", "closing quote"),
            ("TYPE65534", "\\# 3 0a0b", "announces 3"),
            ("TYPE65534", "\\# 1 zz", "not hex"),
            ("TYPE65534", "text", "RFC 3597"),
            ("TYPE1", "\\# 3 0a0b0c", "not the data"),
            ("ANY", "x", "not a type of record"),
        ] {
            let error = parse_value(parse_type(rtype).unwrap(), text).unwrap_err();
            assert!(error.contains(words), "{rtype} {text}: {error}");
        }
    }

    #[test]
    fn types_are_known_by_mnemonic_and_by_number() {
        assert_eq!(parse_type("https"), Some(RecordType::HTTPS));
        assert_eq!(parse_type("TYPE65"), Some(RecordType::HTTPS));
        assert_eq!(parse_type("NOPE"), None);
        assert_eq!(parse_type("TYPE70000"), None);
        assert_eq!(show_type(RecordType::Unknown(65534)), "TYPE65534");
    }
}
