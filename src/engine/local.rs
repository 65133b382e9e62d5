//! Special-use names that are answered here instead of being asked in the world: `localhost`, `invalid`, `test`,
//! `onion`, `local` (RFC 6761, 7686, 6762), `resolver.arpa` (RFC 9462), `home.arpa` (RFC 8375), `service.arpa`
//! (RFC 9665), `ipv4only.arpa` (RFC 8880), and the reverse zones of private addresses (RFC 6303).
//!
//! A private zone or a forwarding rule for such a name comes first; see `decide`.

use super::name::NameKey;
use super::zone::{self, Rrset};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{RData, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};

const RESOLVER: &[u8] = b"\x08resolver\x04arpa\0";
const HOME: &[u8] = b"\x04home\x04arpa\0";
const SERVICE: &[u8] = b"\x07service\x04arpa\0";
const IPV4ONLY: &[u8] = b"\x08ipv4only\x04arpa\0";
/// The last octets of the addresses of `ipv4only.arpa`, in 192.0.0.0/24 (RFC 7050 section 8.2).
const IPV4ONLY_ADDRESSES: [u8; 2] = [170, 171];

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
    /// `resolver.arpa` and below: where clients look for the encrypted form of their resolver.
    pub resolver_arpa: bool,
    /// `home.arpa` and below: names of a home network.
    pub home_arpa: bool,
    /// `service.arpa` and below: services that register themselves.
    pub service_arpa: bool,
    /// `ipv4only.arpa`, and the reverse names of its addresses: where clients look for NAT64.
    pub ipv4only_arpa: bool,
    /// `test` and below.
    pub test: bool,
}

impl Default for LocalNames {
    fn default() -> Self {
        Self {
            localhost: true,
            invalid: true,
            onion: true,
            local: true,
            reverse: true,
            resolver_arpa: true,
            home_arpa: true,
            service_arpa: true,
            ipv4only_arpa: true,
            test: false, // networks use it for themselves; RFC 6761 section 6.2 would deny it
        }
    }
}

impl LocalNames {
    /// None of them: everything is forwarded.
    pub const NONE: Self = Self {
        localhost: false,
        invalid: false,
        onion: false,
        local: false,
        reverse: false,
        resolver_arpa: false,
        home_arpa: false,
        service_arpa: false,
        ipv4only_arpa: false,
        test: false,
    };

    /// The names of the kinds, as the configuration has them.
    pub const KINDS: [&str; 10] = [
        "localhost",
        "invalid",
        "onion",
        "local",
        "reverse",
        "resolver.arpa",
        "home.arpa",
        "service.arpa",
        "ipv4only.arpa",
        "test",
    ];

    /// Switches one kind on; false when there is no such kind.
    pub fn switch_on(&mut self, kind: &str) -> bool {
        match kind {
            "localhost" => self.localhost = true,
            "invalid" => self.invalid = true,
            "onion" => self.onion = true,
            "local" => self.local = true,
            "reverse" => self.reverse = true,
            "resolver.arpa" => self.resolver_arpa = true,
            "home.arpa" => self.home_arpa = true,
            "service.arpa" => self.service_arpa = true,
            "ipv4only.arpa" => self.ipv4only_arpa = true,
            "test" => self.test = true,
            _ => return false,
        }
        true
    }

    /// The local answer for a name, if it is one of ours.
    pub fn answer(&self, name: &NameKey, rtype: RecordType) -> Option<LocalAnswer> {
        let zone = name.suffixes().find_map(|suffix| self.zone_of(suffix))?;
        let at_apex = *name == zone;
        let is_delegated = matches!(zone.wire(), HOME | SERVICE);
        if is_delegated && at_apex && rtype == RecordType::DS {
            // The parent says that these zones are not signed: who validates needs its word (RFC 8375 section 4).
            return None;
        }
        if zone.wire() == RESOLVER {
            // For all types: the upstream's designation would lead clients past this server (RFC 9462 section 6.4).
            return Some(LocalAnswer { zone, outcome: LocalOutcome::NoData });
        }
        let values = match zone.wire() {
            b"\x09localhost\0" => {
                Some(vec![RData::A(A(Ipv4Addr::LOCALHOST)), RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))])
            }
            IPV4ONLY if at_apex && rtype == RecordType::A => {
                let [first, second] =
                    IPV4ONLY_ADDRESSES.map(|last| RData::A(A(Ipv4Addr::new(192, 0, 0, last))));
                let set = Rrset::unnamed(zone::NEGATIVE_TTL, RecordType::A, &[first, second]);
                return Some(LocalAnswer { zone, outcome: LocalOutcome::Rrset(set) });
            }
            _ if at_apex && self.ipv4only_arpa && is_ipv4only_reverse(name.wire()) => {
                Some(vec![RData::PTR(PTR(NameKey::of_suffix(IPV4ONLY).to_name()))])
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
            b"\x04test\0" => self.test,
            RESOLVER => self.resolver_arpa,
            HOME => self.home_arpa,
            SERVICE => self.service_arpa,
            IPV4ONLY => self.ipv4only_arpa,
            _ if is_ipv4only_reverse(suffix) => self.ipv4only_arpa,
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

/// True for the reverse names of the addresses of `ipv4only.arpa`; each is a zone of its own (RFC 8880 section 7.2).
fn is_ipv4only_reverse(wire: &[u8]) -> bool {
    matches!(
        wire,
        b"\x03170\x010\x010\x03192\x07in-addr\x04arpa\0" | b"\x03171\x010\x010\x03192\x07in-addr\x04arpa\0"
    )
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
            ("resolver.arpa", RecordType::A, "nodata"),
            ("resolver.arpa", RecordType::SOA, "nodata"),
            ("_dns.resolver.arpa", RecordType::SVCB, "nodata"),
            ("a.b.Resolver.ARPA", RecordType::ANY, "nodata"),
            ("home.arpa", RecordType::SOA, "SOA"),
            ("home.arpa", RecordType::A, "nodata"),
            ("home.arpa", RecordType::DS, "not ours"),
            ("printer.home.arpa", RecordType::A, "nxdomain"),
            ("printer.home.arpa", RecordType::DS, "nxdomain"),
            ("service.arpa", RecordType::DS, "not ours"),
            ("_ssh._tcp.default.service.arpa", RecordType::PTR, "nxdomain"),
            ("ipv4only.arpa", RecordType::A, "A 192.0.0.170, 192.0.0.171"),
            ("ipv4only.arpa", RecordType::AAAA, "nodata"),
            ("ipv4only.arpa", RecordType::SOA, "SOA"),
            ("x.ipv4only.arpa", RecordType::A, "nxdomain"),
            ("170.0.0.192.in-addr.arpa", RecordType::PTR, "PTR ipv4only.arpa"),
            ("171.0.0.192.in-addr.arpa", RecordType::PTR, "PTR ipv4only.arpa"),
            ("171.0.0.192.in-addr.arpa", RecordType::A, "nodata"),
            ("172.0.0.192.in-addr.arpa", RecordType::PTR, "not ours"),
            ("arpa", RecordType::A, "not ours"),
            ("www.test", RecordType::A, "not ours"),
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
        let test = NameKey::of(&parse("www.test").unwrap());
        assert!(LocalNames::default().answer(&test, RecordType::A).is_none());
        assert!(LocalNames::KINDS.iter().all(|kind| names.switch_on(kind)));
        assert_eq!(names, LocalNames { test: true, ..LocalNames::default() });
        assert!(matches!(
            names.answer(&test, RecordType::A),
            Some(LocalAnswer { outcome: LocalOutcome::NxDomain, .. })
        ));
    }
}
