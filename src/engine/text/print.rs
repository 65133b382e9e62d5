//! Record data as text. Data that are not what their type says have the generic form (RFC 3597 section 5), and so
//! have those of types that are not known here.

use super::escape::quoted;
use super::forms;
use super::labels;
use super::layout::{Field, layout};
use super::parts::split_string;
use super::svcb;
use super::types::mnemonic;
use crate::engine::name::wire_length;
use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXLOWER, HEXUPPER};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Record data in the form of their type.
pub fn show(code: u16, data: &[u8]) -> String {
    typed(code, data).unwrap_or_else(|| generic(data))
}

/// `\# <octets> <hex>`.
pub fn generic(data: &[u8]) -> String {
    format!("\\# {} {}", data.len(), HEXLOWER.encode(data)).trim_end().to_string()
}

/// True for data that are what their type says, or whose type says nothing here.
pub fn is_well_formed(code: u16, data: &[u8]) -> bool {
    layout(code).is_none() || typed(code, data).is_some()
}

/// Record data in the form of their type, all of them.
fn typed(code: u16, data: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut rest = data;
    for &field in layout(code)? {
        let before = out.len();
        if before > 0 {
            out.push(' ');
        }
        let start = out.len();
        rest = part(&mut out, field, rest)?;
        if out.len() == start {
            out.truncate(before); // a list of nothing
        }
    }
    rest.is_empty().then_some(out)
}

/// Appends a field; the octets behind it.
fn part<'d>(out: &mut String, field: Field, data: &'d [u8]) -> Option<&'d [u8]> {
    match field {
        Field::U8(_) | Field::Algorithm => {
            let (&[number], rest) = data.split_first_chunk()?;
            out.push_str(&number.to_string());
            Some(rest)
        }
        Field::U16(_) | Field::CertificateType => {
            let (number, rest) = data.split_first_chunk()?;
            out.push_str(&u16::from_be_bytes(*number).to_string());
            Some(rest)
        }
        Field::U32(_) | Field::Period(_) => {
            let (number, rest) = data.split_first_chunk()?;
            out.push_str(&u32::from_be_bytes(*number).to_string());
            Some(rest)
        }
        Field::Time => {
            let (seconds, rest) = data.split_first_chunk()?;
            out.push_str(&forms::show_time(u32::from_be_bytes(*seconds)));
            Some(rest)
        }
        Field::Rtype => {
            let (code, rest) = data.split_first_chunk()?;
            out.push_str(&mnemonic(u16::from_be_bytes(*code)));
            Some(rest)
        }
        Field::V4 => {
            let (octets, rest) = data.split_first_chunk::<4>()?;
            out.push_str(&Ipv4Addr::from(*octets).to_string());
            Some(rest)
        }
        Field::V6 => {
            let (octets, rest) = data.split_first_chunk::<16>()?;
            out.push_str(&Ipv6Addr::from(*octets).to_string());
            Some(rest)
        }
        Field::Name => {
            let (name, rest) = data.split_at(wire_length(data)?);
            out.push_str(&labels::show_wire(name));
            Some(rest)
        }
        Field::String => {
            let (string, rest) = split_string(data)?;
            out.push_str(&quoted(string));
            Some(rest)
        }
        Field::Strings => {
            let mut rest = data;
            let mut strings = Vec::new();
            while !rest.is_empty() || strings.is_empty() {
                let (string, behind) = split_string(rest)?;
                strings.push(quoted(string));
                rest = behind;
            }
            out.push_str(&strings.join(" "));
            Some(rest)
        }
        Field::Tag => {
            let (tag, rest) = split_string(data)?;
            let is_tag = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
            out.push_str(std::str::from_utf8(tag).ok().filter(|_| is_tag)?);
            Some(rest)
        }
        Field::Text => end(out, quoted(data)),
        Field::Hex => end(out, HEXUPPER.encode(some(data)?)),
        Field::Base64 => end(out, BASE64.encode(some(data)?)),
        Field::Nsap => end(out, format!("0x{}", HEXUPPER.encode(some(data)?))),
        Field::Salt => {
            let (salt, rest) = split_string(data)?;
            out.push_str(&if salt.is_empty() { "-".to_string() } else { HEXUPPER.encode(salt) });
            Some(rest)
        }
        Field::Hash => {
            let (hash, rest) = split_string(data)?;
            out.push_str(&BASE32HEX_NOPAD.encode(some(hash)?));
            Some(rest)
        }
        Field::Node => {
            let (octets, rest) = data.split_first_chunk::<8>()?;
            let groups: Vec<String> = octets
                .chunks(2)
                .map(|pair| format!("{:x}", u16::from_be_bytes([pair[0], pair[1]])))
                .collect();
            out.push_str(&groups.join(":"));
            Some(rest)
        }
        Field::Eui(length) => {
            let (octets, rest) = data.split_at_checked(length)?;
            let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            out.push_str(&pairs.join("-"));
            Some(rest)
        }
        Field::Bitmap => end(out, bitmap(data)?),
        Field::Params => end(out, svcb::show(data)?),
        Field::Place => end(out, forms::show_place(data)?),
        Field::Prefixes => end(out, forms::show_prefixes(data)?),
        Field::Gateway => end(out, forms::show_gateway(data)?),
    }
}

/// Appends the text of all that was left.
fn end(out: &mut String, text: String) -> Option<&'static [u8]> {
    out.push_str(&text);
    Some(&[])
}

/// Octets, if there are any.
fn some(data: &[u8]) -> Option<&[u8]> {
    (!data.is_empty()).then_some(data)
}

/// The types of a bitmap, if its windows are in order.
fn bitmap(mut data: &[u8]) -> Option<String> {
    let mut types = Vec::new();
    let mut last = None;
    while let Some((&window, rest)) = data.split_first() {
        let (bits, rest) = split_string(rest)?;
        if bits.is_empty() || bits.len() > 32 || last >= Some(window) {
            return None;
        }
        for code in 0..bits.len() * 8 {
            if bits[code / 8] & 0x80 >> (code % 8) != 0 {
                types.push(mnemonic(u16::from(window) << 8 | code as u16));
            }
        }
        (last, data) = (Some(window), rest);
    }
    Some(types.join(" "))
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
