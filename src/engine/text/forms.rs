//! The forms that a single type has for itself: the moments of signatures, LOC, APL and IPSECKEY.

use super::labels;
use super::parts::{base64, name, number, shortened, v4, v6};
use super::tokens::Token;
use crate::engine::name::wire_length;
use data_encoding::BASE64;
use hickory_proto::rr::Name;
use std::net::{Ipv4Addr, Ipv6Addr};

const DAY: u32 = 86_400;

/// YYYYMMDDHHmmSS of seconds since 1970 (RFC 4034 section 3.2).
pub(super) fn show_time(seconds: u32) -> String {
    let (mut days, time) = (seconds / DAY, seconds % DAY);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}", days + 1)
}

/// Seconds since 1970 of YYYYMMDDHHmmSS, or of a number.
pub(super) fn read_time(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{}` is not a moment of the form YYYYMMDDHHmmSS, until 2106", shortened(text));
    if text.len() != 14 {
        return number(text, "moment").map_err(|_| wrong());
    }
    let part = |from: usize, to: usize| text.get(from..to).and_then(|digits| number::<u32>(digits, "").ok());
    let parts = (part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    let (
        Some(year @ 1970..=2106),
        Some(month @ 1..=12),
        Some(day),
        Some(hour @ 0..=23),
        Some(minute @ 0..=59),
        Some(second @ 0..=59),
    ) = parts
    else {
        return Err(wrong());
    };
    if day == 0 || day > days_of_month(year, month) {
        return Err(wrong());
    }
    let years: u32 = (1970..year).map(days_of_year).sum();
    let months: u32 = (1..month).map(|month| days_of_month(year, month)).sum();
    let days = u64::from(years + months + day - 1);
    let seconds = days * u64::from(DAY) + u64::from(hour * 3600 + minute * 60 + second);
    u32::try_from(seconds).map_err(|_| wrong())
}

fn days_of_year(year: u32) -> u32 {
    365 + u32::from(days_of_month(year, 2) == 29)
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The equator and the meridian, in thousandths of a second of arc (RFC 1876 section 2).
const MIDDLE: i64 = 1 << 31;
/// The lowest altitude, in centimetres below the ellipsoid.
const LOWEST: i64 = 10_000_000;
/// Thousandths of a second in a degree.
const DEGREE: i64 = 3_600_000;

/// A place on earth.
pub(super) fn show_place(data: &[u8]) -> Option<String> {
    let &[0, size, horizontal, vertical, ref numbers @ ..] = data else { return None };
    let numbers: &[u8; 12] = numbers.try_into().ok()?;
    let number = |at: usize| {
        i64::from(u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]))
    };
    let (latitude, longitude, altitude) = (number(0) - MIDDLE, number(4) - MIDDLE, number(8) - LOWEST);
    if latitude.abs() > 90 * DEGREE || longitude.abs() > 180 * DEGREE {
        return None;
    }
    let angle = |value: i64, ahead: char, behind: char| {
        let side = if value < 0 { behind } else { ahead };
        let value = value.abs();
        let (minute, second, thousandth) = (value / 60_000 % 60, value / 1000 % 60, value % 1000);
        format!("{} {minute} {second}.{thousandth:03} {side}", value / DEGREE)
    };
    let sign = if altitude < 0 { "-" } else { "" };
    Some(format!(
        "{} {} {sign}{}.{:02}m {} {} {}",
        angle(latitude, 'N', 'S'),
        angle(longitude, 'E', 'W'),
        altitude.abs() / 100,
        altitude.abs() % 100,
        show_length(size)?,
        show_length(horizontal)?,
        show_length(vertical)?,
    ))
}

/// A length: a digit and the power of ten to multiply it with, in centimetres.
fn show_length(octet: u8) -> Option<String> {
    let (digit, power) = (u64::from(octet >> 4), u32::from(octet & 15));
    match (digit, power) {
        (10.., _) | (_, 10..) => None,
        (0, _) => Some("0.00m".into()),
        (_, 0..=1) => Some(format!("0.{:02}m", digit * 10_u64.pow(power))),
        _ => Some(format!("{}m", digit * 10_u64.pow(power - 2))),
    }
}

/// A place on earth in wire form.
pub(super) fn read_place(words: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let mut words: Vec<&str> = words.iter().map(|word| word.text).collect();
    words.reverse();
    let latitude = angle(&mut words, 90, "N", "S")?;
    let longitude = angle(&mut words, 180, "E", "W")?;
    let altitude = words.pop().ok_or("the altitude is missing")?;
    let altitude = centimetres(altitude)? + LOWEST;
    let altitude =
        u32::try_from(altitude).map_err(|_| "the altitude is from -100000 m to 42849672.95 m".to_string())?;
    let mut data = vec![0];
    for default in [0x12, 0x16, 0x13] {
        data.push(match words.pop() {
            Some(word) => length(word)?,
            None => default,
        });
    }
    if let Some(rest) = words.pop() {
        return Err(format!("`{}` behind the last precision", shortened(rest)));
    }
    data.extend(((latitude + MIDDLE) as u32).to_be_bytes());
    data.extend(((longitude + MIDDLE) as u32).to_be_bytes());
    data.extend(altitude.to_be_bytes());
    Ok(data)
}

/// Degrees, minutes and seconds up to the letter of the side.
fn angle(words: &mut Vec<&str>, most: i64, ahead: &str, behind: &str) -> Result<i64, String> {
    let (mut value, mut units) = (0_i64, [DEGREE, 60_000, 1].into_iter());
    loop {
        let word = words.pop().ok_or_else(|| format!("{ahead} or {behind} is missing"))?;
        if word.eq_ignore_ascii_case(ahead) || word.eq_ignore_ascii_case(behind) {
            let value = if word.eq_ignore_ascii_case(ahead) { value } else { -value };
            return match value {
                _ if value.abs() <= most * DEGREE => Ok(value),
                _ => Err(format!("more than {most} degrees")),
            };
        }
        let wrong = || format!("`{}` is not a number of degrees, minutes or seconds", shortened(word));
        let unit = units.next().ok_or_else(wrong)?;
        let (part, limit) = match unit {
            1 => (decimal(word, 3).ok_or_else(wrong)?, 60_000),
            _ => (
                number::<i64>(word, "number").map_err(|_| wrong())?,
                if unit == DEGREE { most + 1 } else { 60 },
            ),
        };
        if part >= limit {
            return Err(wrong());
        }
        value += part * unit;
    }
}

/// A decimal number times ten to the power of `places`, its digits beyond those not allowed.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 10 || fraction.len() > places {
        return None;
    }
    number(&format!("{whole}{fraction:0<places$}"), "").ok()
}

fn centimetres(text: &str) -> Result<i64, String> {
    let bare = text.strip_suffix(['m', 'M']).unwrap_or(text);
    let (sign, digits) = bare.strip_prefix('-').map_or((1, bare), |digits| (-1, digits));
    let value = decimal(digits, 2).map(|value| sign * value);
    value.ok_or_else(|| format!("`{}` is not a number of metres", shortened(text)))
}

/// The octet of a length.
fn length(text: &str) -> Result<u8, String> {
    let mut value = centimetres(text)?;
    let mut power = 0;
    while value >= 10 {
        (value, power) = (value / 10, power + 1);
    }
    match (value, power) {
        (0..=9, 0..=9) => Ok((value as u8) << 4 | power),
        _ => Err(format!("`{}` is not a length from 0 m to 90000000 m", shortened(text))),
    }
}

/// Address prefixes (RFC 3123).
pub(super) fn show_prefixes(mut data: &[u8]) -> Option<String> {
    let mut items = Vec::new();
    while !data.is_empty() {
        let (&[high, low, prefix, length], rest) = data.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if part.last() == Some(&0) {
            return None; // not to be sent, section 4
        }
        let (family, address) = match (high, low) {
            (0, 1) if prefix <= 32 => (1, Ipv4Addr::from(padded::<4>(part)?).to_string()),
            (0, 2) if prefix <= 128 => (2, Ipv6Addr::from(padded::<16>(part)?).to_string()),
            _ => return None,
        };
        let not = if length & 0x80 == 0 { "" } else { "!" };
        items.push(format!("{not}{family}:{address}/{prefix}"));
        data = rest;
    }
    Some(items.join(" "))
}

fn padded<const N: usize>(part: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    octets.get_mut(..part.len())?.copy_from_slice(part);
    Some(octets)
}

/// Address prefixes in wire form.
pub(super) fn read_prefixes(words: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    for word in words {
        let wrong =
            || format!("`{}` is not a prefix like 1:192.0.2.0/24 or !2:2001:db8::/32", shortened(word.text));
        let (not, text) = word.text.strip_prefix('!').map_or((0, word.text), |text| (0x80, text));
        let (family, text) = text.split_once(':').ok_or_else(wrong)?;
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let prefix: u8 = number(prefix, "prefix")?;
        let (family, octets) = match family {
            "1" if prefix <= 32 => (1, v4(address)?.octets().to_vec()),
            "2" if prefix <= 128 => (2, v6(address)?.octets().to_vec()),
            _ => return Err(wrong()),
        };
        let length = octets.iter().rposition(|&octet| octet != 0).map_or(0, |at| at + 1);
        data.extend([0, family, prefix, not | length as u8]);
        data.extend_from_slice(&octets[..length]);
    }
    Ok(data)
}

/// Kind of gateway, algorithm, gateway and key (RFC 4025).
pub(super) fn show_gateway(data: &[u8]) -> Option<String> {
    let (&[kind, algorithm], rest) = data.split_first_chunk()?;
    let (gateway, key) = match kind {
        0 => (".".to_string(), rest),
        1 => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*octets).to_string(), rest)
        }
        2 => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*octets).to_string(), rest)
        }
        3 => {
            let (name, rest) = rest.split_at(wire_length(rest)?);
            (labels::show_wire(name), rest)
        }
        _ => return None,
    };
    Some(format!("{kind} {algorithm} {gateway} {}", BASE64.encode(key)).trim_end().to_string())
}

/// Kind of gateway, algorithm, gateway and key in wire form.
pub(super) fn read_gateway(words: &[Token<'_>], origin: Option<&Name>) -> Result<Vec<u8>, String> {
    let [kind, algorithm, gateway, key @ ..] = words else {
        return Err("kind of gateway, algorithm and gateway must follow the precedence".into());
    };
    let mut data =
        vec![number::<u8>(kind.text, "kind of gateway")?, number::<u8>(algorithm.text, "algorithm")?];
    match (kind.text, gateway.text) {
        ("0", ".") => {}
        ("0", other) => return Err(format!("`{}` stands where kind 0 has `.`", shortened(other))),
        ("1", address) => data.extend(v4(address)?.octets()),
        ("2", address) => data.extend(v6(address)?.octets()),
        ("3", text) => name(&mut data, text, origin)?,
        (other, _) => return Err(format!("`{}` is not a kind of gateway", shortened(other))),
    }
    if !key.is_empty() {
        data.extend(base64(&key.iter().map(|word| word.text).collect::<String>())?);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_signatures_are_calendar_time() {
        for (seconds, text) in [
            (0, "19700101000000"),
            (951_782_400, "20000229000000"),
            (1_709_251_199, "20240229235959"),
            (4_102_444_800, "21000101000000"),
            (u32::MAX, "21060207062815"),
        ] {
            assert_eq!(show_time(seconds), text);
            assert_eq!(read_time(text), Ok(seconds));
            assert_eq!(read_time(&seconds.to_string()), Ok(seconds));
        }
        for bad in ["21060207062816", "20230229000000", "20241301000000", "2024010100000x", "-1", ""] {
            assert!(read_time(bad).is_err(), "{bad}");
        }
    }
}
