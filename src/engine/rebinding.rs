//! Protection against DNS rebinding, where a public name resolves to an internal address, so that a web page can access
//! machines of the internal network. Optional; it does not apply to configured names.
//!
//! `chain` exempts private zones, the targets of their CNAMEs, and forwarding rules, which serve internal addresses on
//! purpose. `special_address` defines the internal addresses.

use super::name::{self, NameKey};
use super::special_address::block_of;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// SvcParamKeys (RFC 9460 section 14.3.2).
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;

/// Whether answers of the default upstreams may contain internal addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rebinding {
    /// They may.
    #[default]
    Allowed,
    /// They may not, except for names at or below these.
    Barred(Arc<[NameKey]>),
}

impl Rebinding {
    /// True if there is no restriction.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }

    /// True if internal addresses are removed from the default upstreams' answers for a name.
    pub fn bars(&self, name: &NameKey) -> bool {
        match self {
            Self::Allowed => false,
            Self::Barred(exceptions) => !exceptions.iter().any(|exception| name.is_within(exception)),
        }
    }
}

/// True for data with an internal address, or with one in the hints of an HTTPS or SVCB record.
pub fn is_inner(rtype: RecordType, data: &[u8]) -> bool {
    match rtype {
        RecordType::A => data.first_chunk().is_some_and(|octets| is_inner_v4(Ipv4Addr::from(*octets))),
        RecordType::AAAA => data.first_chunk().is_some_and(|octets| is_inner_v6(Ipv6Addr::from(*octets))),
        RecordType::HTTPS | RecordType::SVCB => has_inner_hint(data),
        _ => false,
    }
}

/// Checks the parameters of an HTTPS or SVCB record (RFC 9460 section 2.2).
fn has_inner_hint(data: &[u8]) -> bool {
    let Some(length) = data.get(2..).and_then(name::wire_length) else { return false };
    let mut rest = &data[2 + length..];
    while let Some((&[a, b, c, d], tail)) = rest.split_first_chunk() {
        let (key, length) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let Some((value, others)) = tail.split_at_checked(length) else { return false };
        let inner = match key {
            IPV4HINT => value.as_chunks().0.iter().any(|octets| is_inner_v4(Ipv4Addr::from(*octets))),
            IPV6HINT => value.as_chunks().0.iter().any(|octets| is_inner_v6(Ipv6Addr::from(*octets))),
            _ => false,
        };
        if inner {
            return true;
        }
        rest = others;
    }
    false
}

fn is_inner_v4(address: Ipv4Addr) -> bool {
    is_inner_block(address.into())
}

fn is_inner_block(address: IpAddr) -> bool {
    block_of(address).is_some_and(|block| block.rebinding)
}

/// IPv4 addresses within IPv6 count as IPv4 addresses: mapped, compatible and translated ones (RFC 4291, RFC 6052, RFC
/// 8215), of 6to4 (RFC 3056), Teredo (RFC 4380) and ISATAP (RFC 5214).
fn is_inner_v6(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    let v4 = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    let (server, client) = (v4(4), Ipv4Addr::from_bits(!v4(12).to_bits()));
    match address.segments() {
        // :: and ::1 are 0.0.0.0/8
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => is_inner_v4(v4(12)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_inner_v4(v4(12)),
        // the local-use prefix has any length within 64:ff9b:1::/48; the bits after the address are 0
        [0x64, 0xff9b, 1, ..] => {
            let split = |places: [usize; 4]| Ipv4Addr::from(places.map(|at| octets[at]));
            let ends = |at: usize| octets[8] == 0 && octets[at..].iter().all(|octet| *octet == 0);
            is_inner_v4(v4(12)) && !ends(12)
                || [([6, 7, 9, 10], 11), ([7, 9, 10, 11], 12), ([9, 10, 11, 12], 13)]
                    .into_iter()
                    .any(|(places, end)| ends(end) && is_inner_v4(split(places)))
        }
        [0x2002, ..] => is_inner_v4(v4(2)),
        [0x2001, 0, ..] => is_inner_v4(server) || is_inner_v4(client),
        [.., 0 | 0x200, 0x5efe, _, _] => is_inner_v4(v4(12)) || is_inner_block(address.into()),
        _ => is_inner_block(address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;

    #[test]
    fn inner_addresses_are_known_in_every_dress() {
        for inner in [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.168.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "::192.168.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:ffff::192.168.0.1",
            "64:ff9b:1:c0a8:0:100::",
            "64:ff9b:1:12c0:a8:1::",
            "64:ff9b:1:1234:a:1::",
            "2002:a00:1::1",
            "2002:c0a8:1::",
            "2001:0:4136:e378:8000:63bf:f5ff:fffe",
            "2001:db8::5efe:10.0.0.1",
            "2001:db8::200:5efe:172.16.0.1",
            "::ffff:0:127.0.0.1",
            "fec0::1",
        ] {
            let (rtype, octets) = data(inner);
            assert!(is_inner(rtype, &octets), "{inner}");
        }
        for outer in [
            "100.100.0.1",
            "192.0.2.1",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
            "64:ff9b::808:808",
            "64:ff9b:1::808:808",
            "64:ff9b:1:ffff::8.8.8.8",
            "64:ff9b:1:808:8:800::",
            "2002:808:808::1",
            "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
            "2001:db8::5efe:8.8.8.8",
        ] {
            let (rtype, octets) = data(outer);
            assert!(!is_inner(rtype, &octets), "{outer}");
        }
    }

    #[test]
    fn the_hints_of_https_and_svcb_are_addresses_too() {
        let record = |parameters: &[u8]| [&[0, 1, 3, b'w', b'w', b'w', 0][..], parameters].concat();
        let alpn = [0, 1, 0, 3, 2, b'h', b'2'];
        let v4 = |last: [u8; 4]| [&alpn[..], &[0, 4, 0, 8, 8, 8, 8, 8], &last].concat();
        let v6 = |first: u8| [&alpn[..], &[0, 6, 0, 16, first], &[0; 14], &[1]].concat();
        for rtype in [RecordType::HTTPS, RecordType::SVCB] {
            assert!(is_inner(rtype, &record(&v4([10, 0, 0, 1]))));
            assert!(is_inner(rtype, &record(&v6(0xfd))));
            assert!(!is_inner(rtype, &record(&v4([192, 0, 2, 1]))));
            assert!(!is_inner(rtype, &record(&v6(0x20))));
            assert!(!is_inner(rtype, &record(&alpn)));
        }
        assert!(!is_inner(RecordType::TXT, &record(&v4([10, 0, 0, 1]))), "not an address");
        let whole = record(&v4([10, 0, 0, 1]));
        (0..whole.len()).for_each(|end| assert!(!is_inner(RecordType::HTTPS, &whole[..end]), "cut at {end}"));
    }

    #[test]
    fn exceptions_go_by_label() {
        let key = |name: &str| NameKey::of(&parse(name).unwrap());
        let barred = Rebinding::Barred([key("corp.example")].into());
        assert!(!barred.bars(&key("corp.example")) && !barred.bars(&key("a.corp.example")));
        assert!(barred.bars(&key("notcorp.example")) && barred.bars(&key("example")));
        assert!(!Rebinding::Allowed.bars(&key("example")));
    }

    fn data(address: &str) -> (RecordType, Vec<u8>) {
        match address.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => (RecordType::A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (RecordType::AAAA, v6.octets().to_vec()),
        }
    }
}
