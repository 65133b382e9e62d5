//! The keys of `[[zone]]` and `[[zone.record]]`: from the file's words, ours or the product's, to a record.
//! Record names are relative to the zone, names inside values are absolute.

use super::reader::{Spanned, listed, shortened};
use super::section::Section;
use super::suggest;
use super::value::Value;
use crate::engine::name;
use crate::engine::record;
use crate::engine::zone::{MissingType, Wildcards, ZoneMode, ZoneSemantics};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use toml::de::DeValue;

/// TTL of a record that names none: the product's default.
pub(super) const DEFAULT_TTL: u32 = 60;
/// The TTLs that the product takes.
pub(super) const PRODUCT_TTLS: [u32; 6] = [5, 30, 60, 3600, 43_200, 86_400];
/// Types whose values can be weighted.
const WEIGHTED: [RecordType; 3] = [RecordType::A, RecordType::AAAA, RecordType::CNAME];

/// `on_missing_type` and `wildcards`.
pub(super) fn reading(section: &mut Section) -> ZoneSemantics {
    let missing_types = [("nodata", MissingType::NoData), ("forward", MissingType::Forward)];
    let on_missing_type = section.take("on_missing_type", |value| value.one_of(&missing_types));
    let wildcard_words = [("always", Wildcards::Always), ("off-with-proxy", Wildcards::OffWithProxy)];
    let wildcards = section.take("wildcards", |value| value.one_of(&wildcard_words));
    ZoneSemantics {
        on_missing_type: on_missing_type.unwrap_or_default(),
        wildcards: wildcards.unwrap_or_default(),
    }
}

/// `recursion_proxy`, or the product's word for it.
pub(super) fn zone_mode(section: &mut Section) -> ZoneMode {
    let proxy = section.take("recursion_proxy", |value| match value.flag()? {
        true => Some(ZoneMode::RecursionProxy),
        false => Some(ZoneMode::Override),
    });
    let both = section.has("recursion_proxy");
    let words = [("ZONE", ZoneMode::Override), ("RECORD", ZoneMode::RecursionProxy)];
    let pattern = section.take("proxy_pattern", |value| match both {
        true => value.wrong(
            "`recursion_proxy` and `proxy_pattern` are the same setting",
            "keep one: recursion_proxy = true is proxy_pattern = \"RECORD\"".to_string(),
        ),
        false => value.one_of(&words),
    });
    proxy.or(pattern).unwrap_or_default()
}

/// A record as it is written.
pub(super) struct WrittenRecord {
    /// Its owner.
    pub owner: Name,
    /// Seconds.
    pub ttl: u32,
    /// Its weight, if it has one.
    pub weight: Option<u8>,
    /// Its values.
    pub values: Vec<Spanned<RData>>,
    /// The values are written as a list.
    pub is_list: bool,
}

/// `[[zone.record]]`. None for a disabled one, which is also checked. `zone` is the apex as text.
pub(super) fn record(section: &mut Section, apex: &Name, zone: &str) -> Option<WrittenRecord> {
    let owner = record_name(section, apex, zone);
    let rtype = section.require("type", "\"A\"", record_type);
    let ttl = section.take("ttl", record_ttl);
    let enabled = section.take("enabled", Value::flag).unwrap_or(true);
    let rtype = rtype.map(|rtype| rtype.value);
    let weight = section.take("weight", |value| match rtype {
        Some(rtype) if !WEIGHTED.contains(&rtype) => value.wrong(
            format!("records of type {} have no weight", record::show_type(rtype)),
            "weights are for A, AAAA and CNAME".to_string(),
        ),
        _ => Some(value.integer(0..=100)? as u8),
    });
    let priority = section.take("priority", |value| match rtype {
        Some(rtype) if rtype != RecordType::MX => value.wrong(
            format!("records of type {} have no `priority`", record::show_type(rtype)),
            "it is for MX; an SRV value starts with its priority: \"10 5 5060 sip.example\"".to_string(),
        ),
        _ => value.integer(0..=65_535),
    });
    let example = rtype.and_then(record::row_of).map_or("192.0.2.1", |row| row.example);
    let mut is_list = false;
    let values = section.require("value", format_args!("\"{example}\""), |value| {
        let one = |item: &Value| record_value(item, rtype, priority);
        is_list = matches!(value.raw(), DeValue::Array(_));
        match is_list {
            true => value.some("no values", "write at least one, or leave the record out", one),
            false => Some(vec![Spanned { value: one(value)?, at: value.at.clone() }]),
        }
    });
    let (owner, values) = (owner?, values?.value);
    enabled.then(|| WrittenRecord { owner, ttl: ttl.unwrap_or(DEFAULT_TTL), weight, values, is_list })
}

/// `name`, or the product's word `rr`.
fn record_name(section: &mut Section, apex: &Name, zone: &str) -> Option<Name> {
    if !section.has("rr") {
        section.value("rr"); // known, even where it is absent
        return Some(section.require("name", "\"@\"", |value| relative_name(value, apex, zone))?.value);
    }
    section.take("name", |value| {
        value.wrong::<()>("`name` and `rr` are the same setting", "keep one of them".to_string())
    });
    section.take("rr", |value| relative_name(value, apex, zone))
}

/// A name below the zone's.
fn relative_name(value: &Value, apex: &Name, zone: &str) -> Option<Name> {
    let text = value.text()?;
    if text == "@" {
        return Some(apex.clone());
    }
    if text.is_empty() {
        return value.wrong("an empty name", "write \"@\" for the zone itself".to_string());
    }
    let relative = "record names are relative to the zone";
    if name::is_absolute(text) {
        let mut end = text.chars();
        end.next_back();
        let hint = match below(end.as_str(), zone) {
            Some(inside) => format!("{relative}: write \"{inside}\""),
            None => format!("{relative} `{zone}`, without a final dot"),
        };
        return value.wrong(format!("`{text}` is an absolute name"), hint);
    }
    if text.split('.').any(|label| label == "@") {
        let hint = "\"@\" alone is the apex; '\\@' is a label of this character";
        return value.wrong(format!("`{text}` contains @"), hint.to_string());
    }
    let owner = name::parse_below(text, apex).or_else(|why| value.wrong(why, None).ok_or(())).ok()?;
    if let Some(inside) = below(text, zone) {
        let message = format!("this is the record of `{text}.{zone}`: the zone's name is in it twice");
        value.warn(message, format!("{relative}: write \"{inside}\""));
    }
    Some(owner)
}

/// The relative form of a full name in a zone.
pub(super) fn below<'n>(full: &'n str, zone: &str) -> Option<&'n str> {
    if full.eq_ignore_ascii_case(zone) {
        return Some("@");
    }
    let split = full.len().checked_sub(zone.len() + 1)?;
    let tail = full.get(split..)?.strip_prefix('.')?;
    tail.eq_ignore_ascii_case(zone).then(|| &full[..split])
}

/// A type of record, by mnemonic.
pub(super) fn record_type(value: &Value) -> Option<RecordType> {
    let text = value.text()?;
    let names: Vec<&str> = record::TABLE.iter().map(|row| row.name).collect();
    match record::parse_type(text) {
        Some(RecordType::SOA) if value.at.path.has("record") => value
            .wrong("the server generates SOA records", "remove it: every zone has SOA and NS".to_string()),
        Some(rtype) if !record::is_meta(rtype) => {
            let known = record::row_of(rtype).is_some_and(|row| row.private_zone);
            if !known && value.at.path.has("record") {
                let rows = record::TABLE.iter().filter(|row| row.private_zone);
                let takes: Vec<&str> = rows.map(|row| row.name).collect();
                value.warn(
                    format!("PrivateZone does not support records of type {}", record::show_type(rtype)),
                    format!("pvtzd serves it; PrivateZone supports {}", listed(&takes)),
                );
            }
            Some(rtype)
        }
        _ => {
            let near = suggest::suggest(text, names.iter().copied());
            let near = near.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
            let hint = format!("{near}types are {}, or TYPEn of RFC 3597", listed(&names));
            value.wrong(format!("`{}` is not a type of record", shortened(text)), hint)
        }
    }
}

/// The TTL of a record.
fn record_ttl(value: &Value) -> Option<u32> {
    let ttl = value.ttl()?;
    if !PRODUCT_TTLS.contains(&ttl) {
        let takes: Vec<String> = PRODUCT_TTLS.iter().map(u32::to_string).collect();
        value.warn(
            format!("PrivateZone does not accept a TTL of {ttl}"),
            format!("it takes {}", takes.join(", ")),
        );
    }
    Some(ttl)
}

/// One value of a record. A value whose type is not known is only checked for being a string.
fn record_value(value: &Value, rtype: Option<RecordType>, priority: Option<u64>) -> Option<RData> {
    let text = value.text()?;
    let rtype = rtype?;
    let (shown, owned);
    let full = match priority {
        Some(priority) => {
            owned = format!("{priority} {text}");
            &owned
        }
        None => text,
    };
    let data = match record::parse_value(rtype, full) {
        Ok(data) => data,
        Err(why) => return value.wrong(shorten_lines(&why), value_hint(rtype, text, priority)),
    };
    if let RData::CNAME(target) = &data {
        if let Ok(ip) = text.parse::<IpAddr>() {
            let rtype = if ip.is_ipv4() { "A" } else { "AAAA" };
            let hint = format!("the value of a CNAME is a name; for an address write type = \"{rtype}\"");
            return value.wrong(format!("`{ip}` is an address"), hint);
        }
        if target.0.num_labels() == 1 && !text.ends_with('.') {
            shown = name::show(&target.0);
            value.warn(
                format!("names in values are absolute: this points to `{shown}.`, a top-level name"),
                format!("write the whole name, or \"{shown}.\" if this is intended"),
            );
        }
    }
    Some(data)
}

/// What was probably meant by a value that its type does not take.
fn value_hint(rtype: RecordType, text: &str, priority: Option<u64>) -> Option<String> {
    let trimmed = text.trim();
    let other = match rtype {
        RecordType::MX if priority.is_some() => {
            return Some("with `priority`, the value is only the mail server: \"mail.example\"".into());
        }
        RecordType::MX if name::parse(trimmed).is_ok() => {
            return Some(format!("write \"10 {trimmed}\", or add priority = 10"));
        }
        RecordType::A if trimmed.parse::<Ipv6Addr>().is_ok() => "AAAA",
        RecordType::AAAA if trimmed.parse::<Ipv4Addr>().is_ok() => "A",
        // An address with a slip in it is a name of digits only; `example` is a name.
        RecordType::A | RecordType::AAAA if looks_like_a_name(trimmed) => "CNAME",
        _ => return None,
    };
    Some(format!("for this value write type = \"{other}\""))
}

/// True for a domain name whose last label is not a number.
fn looks_like_a_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.starts_with(|c: char| c.is_ascii_alphabetic()) && name::parse(text).is_ok()
}

/// A long sentence about a long value, cut.
fn shorten_lines(why: &str) -> String {
    match why.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why.to_string(),
    }
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
