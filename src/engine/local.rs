//! Special-use names that are answered here instead of being asked in the world: `localhost`, `invalid`,
//! `onion`, `local` (RFC 6761, 7686, 6762) and the reverse zones of private addresses (RFC 6303).
//!
//! A private zone or a forwarding rule for such a name comes first; see `decide`.

use super::name::NameKey;
use super::zone::{self, Rrset};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{RData, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Which kinds of special-use names are answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalNames {
    /// `localhost` and below, and the reverse names of 127.0.0.1 and ::1.
    pub localhost: bool,
    /// `invalid` and below.
    pub invalid: bool,
    /// `onion` and below.
    pub onion: bool,
    /// `local` and below: multicast DNS.
    pub local: bool,
    /// The reverse zones of addresses that mean nothing in public (RFC 6303).
    pub reverse: bool,
}

impl Default for LocalNames {
    fn default() -> Self {
        Self { localhost: true, invalid: true, onion: true, local: true, reverse: true }
    }
}

impl LocalNames {
    /// None of them: everything is forwarded.
    pub const NONE: Self =
        Self { localhost: false, invalid: false, onion: false, local: false, reverse: false };

    /// The names of the kinds, as the configuration has them.
    pub const KINDS: [&str; 5] = ["localhost", "invalid", "onion", "local", "reverse"];

    /// Switches one kind on; false when there is no such kind.
    pub fn switch_on(&mut self, kind: &str) -> bool {
        match kind {
            "localhost" => self.localhost = true,
            "invalid" => self.invalid = true,
            "onion" => self.onion = true,
            "local" => self.local = true,
            "reverse" => self.reverse = true,
            _ => return false,
        }
        true
    }

    /// The local answer for a name, if it is one of ours.
    pub fn answer(&self, name: &NameKey, rtype: RecordType) -> Option<LocalAnswer> {
        let zone = name.suffixes().find_map(|suffix| self.zone_of(suffix))?;
        let at_apex = *name == zone;
        let values = match zone.wire() {
            b"\x09localhost\0" => {
                Some(vec![RData::A(A(Ipv4Addr::LOCALHOST)), RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))])
            }
            _ if self.localhost && is_loopback_reverse(name) => {
                Some(vec![RData::PTR(PTR(zone::localhost()))])
            }
            _ => None,
        };
        let outcome = match values {
            Some(values) => match values.into_iter().find(|value| value.record_type() == rtype) {
                Some(value) => LocalOutcome::Rrset(zone::synthesised(&value)),
                None => LocalOutcome::NoData,
            },
            None if at_apex && rtype == RecordType::SOA => {
                LocalOutcome::Rrset(zone::synthesised(&RData::SOA(zone::soa_data(1))))
            }
            // A reverse zone exists, and so do the names above 127.0.0.1's; RFC 6761's names do not exist at all.
            None if (at_apex && zone.wire().ends_with(b"\x04arpa\0")) || is_above_loopback_reverse(name) => {
                LocalOutcome::NoData
            }
            None => LocalOutcome::NxDomain,
        };
        Some(LocalAnswer { zone, outcome })
    }

    /// The local zone that a suffix is the apex of.
    fn zone_of(&self, suffix: &[u8]) -> Option<NameKey> {
        let ours = match suffix {
            b"\x09localhost\0" => self.localhost,
            b"\x07invalid\0" => self.invalid,
            b"\x05onion\0" => self.onion,
            b"\x05local\0" => self.local,
            _ => is_reverse_apex(suffix) && (self.reverse || (self.localhost && is_loopback_apex(suffix))),
        };
        ours.then(|| NameKey::of_suffix(suffix))
    }
}

/// A local answer.
#[derive(Clone, Debug)]
pub struct LocalAnswer {
    /// The special-use name that covers the question.
    pub zone: NameKey,
    /// What is answered.
    pub outcome: LocalOutcome,
}

/// What a local answer says.
#[derive(Clone, Debug)]
pub enum LocalOutcome {
    /// A synthesised RRset.
    Rrset(Rrset),
    /// The name exists, not with this type.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// Labels of an IPv4 or IPv6 reverse name, most significant first, or nothing for other names.
fn reverse_labels(wire: &[u8]) -> Option<(bool, Vec<&[u8]>)> {
    let v6 = wire.ends_with(b"\x03ip6\x04arpa\0");
    if !v6 && !wire.ends_with(b"\x07in-addr\x04arpa\0") {
        return None;
    }
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, tail) = tail.split_at_checked(usize::from(length))?;
        labels.push(label);
        rest = tail;
    }
    labels.truncate(labels.len().checked_sub(2)?);
    labels.reverse();
    Some((v6, labels))
}

/// True for the apex of a zone of RFC 6303 section 4.
fn is_reverse_apex(suffix: &[u8]) -> bool {
    let Some((v6, labels)) = reverse_labels(suffix) else { return false };
    if v6 {
        return is_all_nibbles(&labels)
            || matches!(
                labels.as_slice(),
                [b"f", b"d"]
                    | [b"f", b"e", b"8" | b"9" | b"a" | b"b"]
                    | [b"2", b"0", b"0", b"1", b"0", b"d", b"b", b"8"]
            );
    }
    match labels.as_slice() {
        [b"10"] | [b"0"] | [b"127"] => true,
        [b"172", second] => matches!(octet(second), Some(16..=31)),
        [b"192", b"168"] | [b"169", b"254"] => true,
        [b"192", b"0", b"2"] | [b"198", b"51", b"100"] | [b"203", b"0", b"113"] => true,
        [b"255", b"255", b"255", b"255"] => true,
        _ => false,
    }
}

/// True for the reverse names of `::` and `::1`.
fn is_all_nibbles(labels: &[&[u8]]) -> bool {
    labels.len() == 32 && labels[..31].iter().all(|label| *label == b"0") && matches!(labels[31], b"0" | b"1")
}

/// True for the zone that holds the reverse name of 127.0.0.1 or ::1.
fn is_loopback_apex(suffix: &[u8]) -> bool {
    match reverse_labels(suffix) {
        Some((false, labels)) => labels.as_slice() == [b"127".as_slice()],
        Some((true, labels)) => labels.last() == Some(&b"1".as_slice()),
        None => false,
    }
}

/// True for the reverse name of 127.0.0.1 or ::1.
fn is_loopback_reverse(name: &NameKey) -> bool {
    match reverse_labels(name.wire()) {
        Some((false, labels)) => labels.as_slice() == [b"127".as_slice(), b"0", b"0", b"1"],
        Some((true, labels)) => is_all_nibbles(&labels) && labels[31] == b"1",
        None => false,
    }
}

/// True for the names between 127.in-addr.arpa and the reverse name of 127.0.0.1.
fn is_above_loopback_reverse(name: &NameKey) -> bool {
    let between = reverse_labels(name.wire());
    matches!(between, Some((false, labels)) if matches!(labels.as_slice(), [b"127", b"0"] | [b"127", b"0", b"0"]))
}

/// A decimal octet without leading zeros.
fn octet(label: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(label).ok()?;
    text.parse().ok().filter(|value: &u8| value.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;

    fn check(name: &str, rtype: RecordType, expected: &str) {
        let answer = LocalNames::default().answer(&NameKey::of(&parse(name).unwrap()), rtype);
        let shown = match answer.map(|a| a.outcome) {
            None => "not ours".to_string(),
            Some(LocalOutcome::Rrset(set)) => set.to_string(),
            Some(LocalOutcome::NoData) => "nodata".into(),
            Some(LocalOutcome::NxDomain) => "nxdomain".into(),
        };
        assert!(shown.starts_with(expected), "{name} {rtype}: {shown}");
    }

    #[test]
    fn special_names_are_answered_as_their_rfcs_say() {
        let loopback6 = format!("1.{}ip6.arpa", "0.".repeat(31));
        for (name, rtype, expected) in [
            ("localhost", RecordType::A, "A 127.0.0.1"),
            ("Foo.LocalHost", RecordType::AAAA, "AAAA ::1"),
            ("localhost", RecordType::TXT, "nodata"),
            ("x.invalid", RecordType::A, "nxdomain"),
            ("abc.onion", RecordType::A, "nxdomain"),
            ("printer.local", RecordType::A, "nxdomain"),
            ("1.0.0.127.in-addr.arpa", RecordType::PTR, "PTR localhost"),
            (&loopback6, RecordType::PTR, "PTR localhost"),
            ("0.0.127.in-addr.arpa", RecordType::PTR, "nodata"),
            ("2.0.0.127.in-addr.arpa", RecordType::PTR, "nxdomain"),
            ("3.2.1.10.in-addr.arpa", RecordType::PTR, "nxdomain"),
            ("10.in-addr.arpa", RecordType::PTR, "nodata"),
            ("10.in-addr.arpa", RecordType::SOA, "SOA"),
            ("1.31.172.in-addr.arpa", RecordType::PTR, "nxdomain"),
            ("1.32.172.in-addr.arpa", RecordType::PTR, "not ours"),
            ("1.016.172.in-addr.arpa", RecordType::PTR, "not ours"),
            ("1.168.192.in-addr.arpa", RecordType::PTR, "nxdomain"),
            ("8.8.8.8.in-addr.arpa", RecordType::PTR, "not ours"),
            ("1.d.f.ip6.arpa", RecordType::PTR, "nxdomain"),
            ("0.8.b.d.0.1.0.0.2.ip6.arpa", RecordType::PTR, "nxdomain"),
            ("1.0.0.2.ip6.arpa", RecordType::PTR, "not ours"),
            ("notlocalhost", RecordType::A, "not ours"),
            ("example", RecordType::A, "not ours"),
        ] {
            check(name, rtype, expected);
        }
    }

    #[test]
    fn kinds_can_be_switched() {
        let mut names = LocalNames::NONE;
        let key = NameKey::of(&parse("1.0.0.10.in-addr.arpa").unwrap());
        assert!(names.answer(&key, RecordType::PTR).is_none());
        assert!(names.switch_on("reverse"));
        assert!(names.answer(&key, RecordType::PTR).is_some());
        assert!(!names.switch_on("nonsense"));
    }
}
