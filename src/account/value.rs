//! Conversion of names and record values between the product's form and the engine's.

use crate::engine::name;
use crate::engine::record;
use crate::engine::text::printable;
use hickory_proto::rr::{Name, RData, RecordType};
use std::borrow::Cow;
use std::net::IpAddr;

/// The line of records that name none.
pub const DEFAULT_LINE: &str = "default";

/// The group of accelerated zones, with immediate changes, lines and weights. pvtzd serves all zones like this.
pub const FAST: &str = "FAST_ZONE";
/// The type of the users' zones.
pub const AUTH: &str = "AUTH_ZONE";

/// The preference of an MX record without one.
pub const DEFAULT_PREFERENCE: u16 = 10;

/// The field of a record that is not valid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueFault {
    /// The host record.
    Rr(String),
    /// The type.
    Type(String),
    /// The value.
    Value(String),
}

/// A host record in the form in which equal owners are equal text: lower case, A-labels.
pub fn host(rr: &str) -> Cow<'_, str> {
    let is_so_already = rr.bytes().all(|octet| octet.is_ascii() && !octet.is_ascii_uppercase());
    match rr {
        _ if is_so_already => Cow::Borrowed(rr),
        _ if rr.is_ascii() => Cow::Owned(rr.to_ascii_lowercase()),
        _ => match name::parse(rr) {
            Ok(name) => Cow::Owned(name::show(&name).to_ascii_lowercase()),
            Err(_) => Cow::Borrowed(rr), // parsed before it was stored
        },
    }
}

/// The full name of a host record in a zone.
///
/// # Errors
/// The host record is not valid: why.
pub fn owner(rr: &str, zone: &Name) -> Result<Name, ValueFault> {
    if rr == "@" {
        return Ok(zone.clone());
    }
    if rr.contains('@') {
        return Err(ValueFault::Rr("@ stands alone".into()));
    }
    if rr.is_empty() || rr.ends_with('.') {
        return Err(ValueFault::Rr("it is relative to the zone, and @ for the zone itself".into()));
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '*' | '.');
    if let Some(bad) = rr.chars().find(|c| !allowed(*c)) {
        return Err(ValueFault::Rr(format!("it must not contain {bad:?}")));
    }
    if rr.split('.').any(|label| label.starts_with('-')) {
        return Err(ValueFault::Rr("a label does not begin with -".into()));
    }
    if rr.split('.').enumerate().any(|(at, label)| label.contains('*') && (at > 0 || label != "*")) {
        return Err(ValueFault::Rr("* must be the whole first label".into()));
    }
    if name::is_plain(rr)
        && let Some(owner) = name::of_labels(rr.split('.').map(str::as_bytes).chain(zone.iter()))
    {
        return Ok(owner);
    }
    name::parse_below(rr, zone).map_err(ValueFault::Rr)
}

/// The record data of a type and a value. `priority` is that of an MX record.
///
/// # Errors
/// Type or value is not valid: why.
pub fn data(rtype: &str, value: &str, priority: Option<u16>) -> Result<RData, ValueFault> {
    let row = record::TABLE.iter().find(|row| row.private_zone && row.name.eq_ignore_ascii_case(rtype));
    let Some(row) = row else {
        return Err(ValueFault::Type("it must be one of A, AAAA, CNAME, TXT, MX, PTR, SRV".into()));
    };
    let bad = |why: String| ValueFault::Value(why);
    if row.rtype == RecordType::TXT && value.chars().count() > 512 {
        return Err(bad("a text has at most 512 characters".into()));
    }
    if row.rtype == RecordType::CNAME && value.trim().parse::<IpAddr>().is_ok() {
        return Err(bad("the value of a CNAME is a name, not an address".into()));
    }
    let name = match row.rtype {
        RecordType::CNAME | RecordType::PTR | RecordType::MX => Some(value.trim()),
        RecordType::SRV => value.split_whitespace().last(),
        _ => None,
    };
    if let Some(name) = name.filter(|name| !is_host_name(name)) {
        return Err(bad(format!("`{}` is not a name of letters, digits, - and _", printable(name))));
    }
    let text = match row.rtype {
        RecordType::MX => &format!("{} {value}", priority.unwrap_or(DEFAULT_PREFERENCE)),
        _ => value,
    };
    record::parse_value(row.rtype, text).map_err(bad)
}

/// Appends the name of a host record in wire form if the host record is plain ASCII, as most are; otherwise appends
/// nothing. `zone` is the name of the zone in wire form.
pub fn push_plain_owner(rr: &str, zone: &[u8], wire: &mut Vec<u8>) -> bool {
    let start = wire.len();
    let octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let mut labels = rr.as_bytes().split(|&octet| octet == b'.').filter(|_| rr != "@");
    let is_plain = labels.all(|label| {
        wire.push(label.len() as u8); // at most 63
        wire.extend(label);
        (1..=63).contains(&label.len()) && label[0] != b'-' && label.iter().copied().all(octet)
    });
    wire.extend(zone);
    if !is_plain || wire.len() - start > 255 {
        wire.truncate(start);
        return false;
    }
    true
}

/// Appends record data in wire form; appends nothing if the data is not valid.
pub fn push_data(rtype: &str, value: &str, priority: Option<u16>, wire: &mut Vec<u8>) -> Option<RecordType> {
    match (rtype, value.parse()) {
        ("A", Ok(IpAddr::V4(address))) => wire.extend(address.octets()),
        ("AAAA", Ok(IpAddr::V6(address))) => wire.extend(address.octets()),
        _ => {
            let data = data(rtype, value, priority).ok()?;
            wire.extend(record::to_wire(&data));
            return Some(data.record_type());
        }
    }
    Some(if rtype == "A" { RecordType::A } else { RecordType::AAAA })
}

/// True for names that the product accepts in values. Zone files may have others.
fn is_host_name(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '*');
    text == "." || text.split('.').all(|label| !label.starts_with('-') && label.chars().all(allowed))
}

/// Record data as type, value and priority: the inverse of [`data`].
pub fn show(data: &RData) -> (String, String, Option<u16>) {
    let rtype = record::show_type(data.record_type());
    match data {
        RData::MX(mx) => (rtype, name::show(&mx.exchange), Some(mx.preference)),
        RData::TXT(txt) if txt.txt_data.len() == 1 && std::str::from_utf8(&txt.txt_data[0]).is_ok() => {
            (rtype, String::from_utf8_lossy(&txt.txt_data[0]).into_owned(), None)
        }
        other => (rtype, record::show_value(other), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::NameKey;
    use proptest::prelude::*;

    #[test]
    fn host_records_are_relative() {
        let zone = name::parse("example.com").unwrap();
        for (rr, full) in [
            ("@", "example.com"),
            ("www", "www.example.com"),
            ("*", "*.example.com"),
            ("_sip._tcp", "_sip._tcp.example.com"),
            ("*.a", "*.a.example.com"),
            ("中文", "xn--fiq228c.example.com"),
        ] {
            assert_eq!(name::show(&owner(rr, &zone).unwrap()), full);
        }
        for bad in [
            "",
            "a.",
            "a@",
            "@.a",
            "a b",
            "a..b",
            "b.*",
            "a*",
            ".",
            "-a",
            "x.-a",
            "a+b",
            "a\\.b",
            &"a".repeat(64),
        ] {
            assert!(owner(bad, &zone).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_is_the_long_way(
            rr in "@|[a-zA-Z0-9_.*-]{0,12}|[a-z]{60,66}(\\.[a-z]{0,63}){0,4}",
            value in "10\\.0\\.[0-9]{1,3}\\.1|2001:db8::[0-9a-f]{0,5}|[a-z.]{0,9}",
            rtype in "A|AAAA|CNAME|MX|TXT",
        ) {
            let zone = name::parse("Example.com").unwrap();
            let mut wire = Vec::new();
            if push_plain_owner(&rr, NameKey::of(&zone).wire(), &mut wire) {
                prop_assert_eq!(NameKey::of_wire(&wire), NameKey::of(&owner(&rr, &zone).unwrap()));
            } else {
                prop_assert!(wire.is_empty());
            }
            let mut wire = Vec::new();
            let found = push_data(&rtype, &value, Some(5), &mut wire);
            let data = data(&rtype, &value, Some(5)).ok();
            prop_assert_eq!(found, data.as_ref().map(RData::record_type));
            prop_assert_eq!(wire, data.as_ref().map(record::to_wire).unwrap_or_default());
        }
    }

    #[test]
    fn values_are_the_products() {
        for (rtype, value, priority) in [
            ("A", "192.0.2.1", None),
            ("MX", "mail.example", Some(5)),
            ("TXT", "v=spf1 \"x\" -all", None),
            ("SRV", "1 2 3 target.example", None),
            ("CNAME", "a.example", None),
        ] {
            let data = data(rtype, value, priority).unwrap();
            assert_eq!(show(&data), (rtype.to_string(), value.to_string(), priority));
        }
        assert!(matches!(data("NS", "a.example", None), Err(ValueFault::Type(_))));
        assert!(matches!(data("CNAME", "192.0.2.1", None), Err(ValueFault::Value(_))));
        assert!(matches!(data("MX", "5 mail.example", Some(5)), Err(ValueFault::Value(_))));
        for value in ["a+b", "-a.example", "a\\.b", "a\\032b", "a/b", "a@b", "a..b", ""] {
            assert!(matches!(data("CNAME", value, None), Err(ValueFault::Value(_))), "{value}");
            assert!(
                matches!(data("SRV", &format!("1 2 3 {value}"), None), Err(ValueFault::Value(_))),
                "{value}"
            );
        }
        assert!(data("CNAME", "_a.例子.example.", None).is_ok());
    }
}
