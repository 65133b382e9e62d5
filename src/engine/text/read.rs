//! Record data from text: the inverse of `print`. Names are absolute whether or not they end in a dot.

use super::forms;
use super::layout::{Field, layout};
use super::mnemonics;
use super::parts::{base64, hex, joined, name, number, push_string, seconds, shortened, v4, v6};
use super::print::is_well_formed;
use super::svcb;
use super::tokens::{Token, tokens};
use super::types::{mnemonic, parse as parse_type};
use crate::engine::sort;
use data_encoding::{BASE32HEX_NOPAD, HEXUPPER};
use hickory_proto::rr::Name;

/// Octets of the longest record data (RFC 1035 section 3.2.1).
const MAX_RDATA_BYTES: usize = 65_535;

/// True for types that have a text form of their own here.
pub fn has_text_form(code: u16) -> bool {
    layout(code).is_some()
}

/// Record data of a type from its text form, or from the generic one.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn read(code: u16, text: &str) -> Result<Vec<u8>, String> {
    read_in(code, text, None)
}

/// The same as in a zone file: names that do not end in a dot are relative to an origin, which is also `@`.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn read_below(code: u16, text: &str, origin: &Name) -> Result<Vec<u8>, String> {
    read_in(code, text, Some(origin))
}

fn read_in(code: u16, text: &str, origin: Option<&Name>) -> Result<Vec<u8>, String> {
    let tokens = tokens(text)?;
    if let Some((first, rest)) = tokens.split_first()
        && first.text == "\\#"
    {
        return generic(code, rest);
    }
    let fields = layout(code).ok_or_else(|| {
        format!("type {} has no text form here; write it as `\\# <octets> <hex>` (RFC 3597)", mnemonic(code))
    })?;
    let single: usize = fields.iter().filter_map(|field| field.words()).sum();
    let is_open = fields.iter().any(|field| field.words().is_none());
    if tokens.len() < single || (tokens.len() > single && !is_open) {
        let least = if is_open { "at least " } else { "" };
        return Err(format!("`{}` has {} fields instead of {least}{single}", shortened(text), tokens.len()));
    }
    let mut data = Vec::new();
    let mut rest = tokens.as_slice();
    for &field in fields {
        let (words, behind) = rest.split_at(field.words().unwrap_or(rest.len()));
        match words {
            [word] if field.words().is_some() => one(&mut data, field, *word, origin)?,
            words => many(&mut data, code, field, words, origin)?,
        }
        rest = behind;
    }
    match data.len() {
        0..=MAX_RDATA_BYTES => Ok(data),
        octets => Err(format!("{octets} octets do not fit one record")),
    }
}

/// `<octets> <hex>`, the words behind `\#`, of RFC 3597 section 5.
///
/// # Errors
/// The octets are not as many as is said, or not what the type says.
pub fn read_generic(code: u16, text: &str) -> Result<Vec<u8>, String> {
    generic(code, &tokens(text)?)
}

fn generic(code: u16, words: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let (length, words) = words.split_first().ok_or("the number of octets must follow \\#")?;
    let length: usize = number(length.text, "number of octets after \\#")?;
    let data = if words.is_empty() { Vec::new() } else { hex(words, "after \\#")? };
    if data.len() != length {
        return Err(format!("\\# announces {length} octets, {} follow", data.len()));
    }
    if length > MAX_RDATA_BYTES {
        return Err(format!("{length} octets do not fit one record"));
    }
    match !is_checked(code) || is_well_formed(code, &data) {
        true => Ok(data),
        false => Err(format!("these octets are not the data of a {} record", mnemonic(code))),
    }
}

/// True for types of which malformed data are not taken in the generic form either. Signatures and proofs are for who
/// validates: their octets are the affair of who wrote them.
fn is_checked(code: u16) -> bool {
    !matches!(code, 24 | 30 | 46 | 47 | 50)
}

/// The strings of a value that consists of quoted strings alone.
///
/// # Errors
/// What is wrong with them.
pub fn strings(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let tokens = tokens(text)?;
    if tokens.iter().any(|token| !token.is_quoted) {
        return Err("text beside the quoted strings".into());
    }
    tokens.iter().map(Token::octets).collect()
}

/// Appends a field of one word.
fn one(data: &mut Vec<u8>, field: Field, word: Token<'_>, origin: Option<&Name>) -> Result<(), String> {
    let text = word.text;
    match field {
        Field::U8(what) => data.push(number(text, what)?),
        Field::U16(what) => data.extend(number::<u16>(text, what)?.to_be_bytes()),
        Field::U32(what) => data.extend(number::<u32>(text, what)?.to_be_bytes()),
        Field::Period(what) => {
            let seconds = seconds(text).ok_or_else(|| format!("`{}` is not a {what}", shortened(text)))?;
            data.extend(seconds.to_be_bytes());
        }
        Field::Algorithm => match mnemonics::algorithm(text) {
            Some(algorithm) => data.push(algorithm),
            None => data.push(number(text, "number of an algorithm")?),
        },
        Field::CertificateType => match mnemonics::certificate_type(text) {
            Some(kind) => data.extend(kind.to_be_bytes()),
            None => data.extend(number::<u16>(text, "certificate type")?.to_be_bytes()),
        },
        Field::Time => data.extend(forms::read_time(text)?.to_be_bytes()),
        Field::Rtype => data.extend(rtype(text)?.to_be_bytes()),
        Field::V4 => data.extend(v4(text)?.octets()),
        Field::V6 => data.extend(v6(text)?.octets()),
        Field::Name => name(data, text, origin)?,
        Field::String => push_string(data, &word.octets()?)?,
        Field::Text => data.extend(word.octets()?),
        Field::Tag => {
            if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
                return Err(format!("`{}` is not a tag: letters and digits", shortened(text)));
            }
            push_string(data, text.as_bytes())?;
        }
        Field::Salt if text == "-" => data.push(0),
        Field::Salt => push_string(data, &hex(&[word], "of the salt")?)?,
        Field::Hash => {
            let hash = BASE32HEX_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
            let hash = hash.ok().filter(|hash| !hash.is_empty());
            push_string(data, &hash.ok_or_else(|| format!("`{}` is not base32hex", shortened(text)))?)?;
        }
        Field::Node => {
            let groups: Vec<&str> = text.split(':').collect();
            let group =
                |group: &&str| (1..=4).contains(&group.len()).then(|| u16::from_str_radix(group, 16).ok())?;
            let numbers: Option<Vec<u16>> = groups.iter().map(group).collect();
            let numbers = numbers.filter(|numbers| numbers.len() == 4);
            let numbers =
                numbers.ok_or_else(|| format!("`{}` is not four groups of hex digits", shortened(text)))?;
            data.extend(numbers.into_iter().flat_map(u16::to_be_bytes));
        }
        Field::Eui(length) => {
            let pairs: Vec<&str> = text.split('-').collect();
            let octets = HEXUPPER.decode(pairs.concat().to_ascii_uppercase().as_bytes()).ok();
            let octets = octets
                .filter(|octets| octets.len() == length && pairs.iter().all(|pair| pair.len() == 2))
                .ok_or_else(|| {
                    format!("`{}` is not {length} pairs of hex digits with dashes between", shortened(text))
                })?;
            data.extend(octets);
        }
        Field::Nsap => {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
            let digits = digits
                .ok_or_else(|| format!("`{}` does not begin with 0x", shortened(text)))?
                .replace('.', "");
            data.extend(hex(&[Token { text: &digits, is_quoted: false }], "of the address")?);
        }
        _ => {} // the fields that take all that is left
    }
    Ok(())
}

/// Appends a field of all words that are left.
fn many(
    data: &mut Vec<u8>,
    code: u16,
    field: Field,
    words: &[Token<'_>],
    origin: Option<&Name>,
) -> Result<(), String> {
    match field {
        Field::Strings => {
            if words.is_empty() {
                return Err("a string is missing".into());
            }
            for word in words {
                push_string(data, &word.octets()?)?;
            }
        }
        Field::Hex => data.extend(hex(words, "at the end")?),
        Field::Base64 => data.extend(base64(&joined(words))?),
        Field::Bitmap => bitmap(data, words)?,
        Field::Params => {
            let is_alias = data.starts_with(&[0, 0]);
            data.extend(svcb::read(words, is_alias)?);
        }
        Field::Place => data.extend(forms::read_place(words)?),
        Field::Prefixes => data.extend(forms::read_prefixes(words)?),
        Field::Gateway => data.extend(forms::read_gateway(words, origin)?),
        _ => return Err(format!("a field of {} is missing", mnemonic(code))),
    }
    Ok(())
}

fn bitmap(data: &mut Vec<u8>, words: &[Token<'_>]) -> Result<(), String> {
    let mut codes = words.iter().map(|word| rtype(word.text)).collect::<Result<Vec<u16>, _>>()?;
    sort::ascending(&mut codes);
    for window in codes.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0_u8; 32];
        window.iter().for_each(|code| bits[usize::from(code & 0xff) / 8] |= 0x80 >> (code % 8));
        let length = window.last().map_or(0, |code| usize::from(code & 0xff) / 8 + 1);
        data.push((window[0] >> 8) as u8);
        push_string(data, &bits[..length])?;
    }
    Ok(())
}

fn rtype(text: &str) -> Result<u16, String> {
    parse_type(text).ok_or_else(|| format!("`{}` is not a type of record", shortened(text)))
}
