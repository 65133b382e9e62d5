//! The parameters of SVCB and HTTPS records (RFC 9460 section 2.1 and appendix A).
//!
//! On the wire they are in the order of their keys, each once. Text has them in any order. What the RFC calls
//! malformed, or not consistent with itself, is refused as text and not shown as parameters.

use super::escape::{octets, printable, quoted};
use super::parts::{base64, number, shortened, split_string, v4, v6};
use super::tokens::Token;
use crate::engine::sort;
use data_encoding::BASE64;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;
/// Never a key (RFC 9460 section 14.3.2).
const INVALID: u16 = 65_535;

/// The keys that have names; each key's place is its number. `dohpath` is of RFC 9461, `ohttp` of RFC 9540.
const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];

/// The parameters in wire form.
///
/// # Errors
/// What is wrong with them.
pub(super) fn read(words: &[Token<'_>], is_alias: bool) -> Result<Vec<u8>, String> {
    let mut params: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for word in words {
        if is_alias {
            return Err(
                "with priority 0 the record is an alias, which has no parameters (RFC 9460 section 2.4.2)"
                    .into(),
            );
        }
        if word.is_quoted {
            return Err(format!(
                "`{}` stands between quotes; only a parameter's value can",
                shortened(word.text)
            ));
        }
        let (name, value) = match word.text.split_once('=') {
            Some((name, value)) => (name, value),
            None => (word.text, ""),
        };
        let value = value.strip_prefix('"').and_then(|inside| inside.strip_suffix('"')).unwrap_or(value);
        let key = key(name)?;
        let octets = octets(value)?;
        let value = match KEYS.contains(&name) {
            true => named_value(key, &octets).map_err(|why| format!("{name}: {why}"))?,
            false => octets, // keyN: what goes over the wire
        };
        if params.insert(key, value).is_some() {
            return Err(format!("{} occurs twice", show_key(key)));
        }
    }
    check(&params)?;
    let mut wire = Vec::new();
    for (key, value) in &params {
        let length = u16::try_from(value.len()).map_err(|_| format!("{} is too long", show_key(*key)))?;
        wire.extend(key.to_be_bytes());
        wire.extend(length.to_be_bytes());
        wire.extend(value);
    }
    Ok(wire)
}

/// The parameters as text; nothing where they are malformed.
pub(super) fn show(mut wire: &[u8]) -> Option<String> {
    let mut params = BTreeMap::new();
    while let Some((head, rest)) = wire.split_first_chunk::<4>() {
        let (key, length) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        let is_next = params.last_key_value().is_none_or(|(last, _)| *last < key);
        if !is_next || key == INVALID {
            return None;
        }
        params.insert(key, value.to_vec());
        wire = rest;
    }
    if !wire.is_empty() || check(&params).is_err() {
        return None;
    }
    let shown: Option<Vec<String>> = params.iter().map(|(key, value)| show_param(*key, value)).collect();
    Some(shown?.join(" "))
}

/// A key by its name, or as `keyN`.
fn key(name: &str) -> Result<u16, String> {
    if let Some(known) = KEYS.iter().position(|known| *known == name) {
        return Ok(known as u16);
    }
    let digits = name.strip_prefix("key").filter(|digits| *digits == "0" || !digits.starts_with('0'));
    let known = digits.and_then(|digits| number::<u16>(digits, "key").ok());
    known.filter(|key| *key != INVALID).ok_or_else(|| {
        format!(
            "`{}` is not a parameter; there are {}, and key0 to key65534",
            shortened(name),
            KEYS.join(", ")
        )
    })
}

fn show_key(key: u16) -> String {
    KEYS.get(usize::from(key)).map_or_else(|| format!("key{key}"), |name| (*name).to_string())
}

/// The wire form of a value, from the form that its key's definition gives it.
fn named_value(key: u16, value: &[u8]) -> Result<Vec<u8>, String> {
    if value.is_empty() {
        return check_value(key, value).map(|()| Vec::new());
    }
    let mut wire = Vec::new();
    match key {
        MANDATORY => {
            let mut keys = items(value)?.into_iter().map(self::key).collect::<Result<Vec<u16>, _>>()?;
            sort::ascending(&mut keys);
            wire.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        ALPN => {
            for id in escaped_items(value)? {
                let length = u8::try_from(id.len()).ok().filter(|length| *length > 0);
                wire.push(length.ok_or("a protocol has 1 to 255 octets")?);
                wire.extend(id);
            }
        }
        PORT => wire.extend(number::<u16>(text(value)?, "port")?.to_be_bytes()),
        IPV4HINT => {
            for item in items(value)? {
                wire.extend(v4(item)?.octets());
            }
        }
        IPV6HINT => {
            for item in items(value)? {
                wire.extend(v6(item)?.octets());
            }
        }
        ECH => wire = base64(text(value)?)?,
        _ => wire.extend(value), // what may not have a value is refused by `check`
    }
    Ok(wire)
}

/// Checks parameters in wire form, each and together.
fn check(params: &BTreeMap<u16, Vec<u8>>) -> Result<(), String> {
    for (&key, value) in params {
        check_value(key, value).map_err(|why| format!("{}: {why}", show_key(key)))?;
    }
    let Some(mandatory) = params.get(&MANDATORY) else {
        return consistent(params);
    };
    let keys: Vec<u16> = mandatory.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    for pair in keys.windows(2) {
        match pair[0].cmp(&pair[1]) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                return Err(format!("mandatory: {} occurs twice", show_key(pair[0])));
            }
            std::cmp::Ordering::Greater => return Err("mandatory: the keys are not in order".into()),
        }
    }
    if keys.contains(&MANDATORY) {
        return Err("mandatory: it cannot be in its own list".into());
    }
    match keys.iter().find(|key| !params.contains_key(key)) {
        Some(missing) => {
            Err(format!("mandatory: {} is in the list, and not in the record", show_key(*missing)))
        }
        None => consistent(params),
    }
}

/// Without a protocol of its own a record cannot do without the default one (RFC 9460 section 7.1.1).
fn consistent(params: &BTreeMap<u16, Vec<u8>>) -> Result<(), String> {
    match params.contains_key(&NO_DEFAULT_ALPN) && !params.contains_key(&ALPN) {
        true => Err("no-default-alpn: there must be an alpn as well".into()),
        false => Ok(()),
    }
}

/// Checks a value in wire form.
fn check_value(key: u16, value: &[u8]) -> Result<(), String> {
    let is_list_of = |size: usize| !value.is_empty() && value.len().is_multiple_of(size);
    match key {
        MANDATORY if !is_list_of(2) => Err("a list of keys must follow".into()),
        ALPN if protocols(value).is_none() => Err("a list of protocols must follow, like h2,h3".into()),
        NO_DEFAULT_ALPN | OHTTP if !value.is_empty() => Err("takes no value".into()),
        PORT if value.len() != 2 => Err("a number from 0 to 65535 must follow".into()),
        IPV4HINT if !is_list_of(4) => Err("a list of IPv4 addresses must follow".into()),
        IPV6HINT if !is_list_of(16) => Err("a list of IPv6 addresses must follow".into()),
        ECH if value.is_empty() => Err("a configuration in base64 must follow".into()),
        DOHPATH if !is_path(value) => {
            Err("a path with the variable `dns` must follow, like /dns-query{?dns} (RFC 9461 section 5)"
                .into())
        }
        INVALID => Err("is reserved".into()),
        _ => Ok(()),
    }
}

/// The protocols of an ALPN list in wire form.
fn protocols(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    while !value.is_empty() || ids.is_empty() {
        let (id, rest) = split_string(value).filter(|(id, _)| !id.is_empty())?;
        ids.push(id);
        value = rest;
    }
    Some(ids)
}

/// True for a relative URI template with the variable `dns`.
fn is_path(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let mut expressions = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let has_variable = expressions.any(|expression| {
        let names = expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        names.split(',').any(|name| name.trim_end_matches('*') == "dns")
    });
    text.starts_with('/') && has_variable
}

/// A parameter as text.
fn show_param(key: u16, value: &[u8]) -> Option<String> {
    let name = show_key(key);
    let joined = |items: Vec<String>| format!("{name}={}", items.join(","));
    Some(match key {
        MANDATORY => {
            joined(value.chunks(2).map(|pair| show_key(u16::from_be_bytes([pair[0], pair[1]]))).collect())
        }
        ALPN => {
            let mut list = Vec::new();
            for id in protocols(value)? {
                if !list.is_empty() {
                    list.push(b',');
                }
                for &octet in id {
                    list.extend(matches!(octet, b',' | b'\\').then_some(b'\\'));
                    list.push(octet);
                }
            }
            format!("{name}={}", quoted(&list))
        }
        PORT => format!("{name}={}", u16::from_be_bytes(*value.first_chunk()?)),
        IPV4HINT => joined(addresses::<4>(value, |octets| Ipv4Addr::from(octets).to_string())),
        IPV6HINT => joined(addresses::<16>(value, |octets| Ipv6Addr::from(octets).to_string())),
        ECH => format!("{name}={}", BASE64.encode(value)),
        _ if value.is_empty() => name,
        _ => format!("{name}={}", quoted(value)),
    })
}

fn addresses<const N: usize>(value: &[u8], show: fn([u8; N]) -> String) -> Vec<String> {
    value.chunks(N).filter_map(|octets| octets.try_into().ok()).map(show).collect()
}

/// A value that must be text.
fn text(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| "the value is not text".to_string())
}

/// The items of a list whose items need no escapes.
fn items(value: &[u8]) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = text(value)?.split(',').collect();
    match items.iter().any(|item| item.is_empty()) {
        true => Err(format!("`{}` has an empty item", printable(text(value)?))),
        false => Ok(items),
    }
}

/// The items of a list in which `\,` is a comma and `\\` a backslash (RFC 9460 appendix A.1).
fn escaped_items(value: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = Vec::new();
    let mut item = Vec::new();
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => items.push(std::mem::take(&mut item)),
            b'\\' => match octets.next() {
                Some(&escaped @ (b',' | b'\\')) => item.push(escaped),
                _ => return Err("in a list a backslash escapes a comma or a backslash".into()),
            },
            _ => item.push(octet),
        }
    }
    items.push(item);
    Ok(items)
}

#[cfg(test)]
#[path = "svcb_tests.rs"]
mod tests;
