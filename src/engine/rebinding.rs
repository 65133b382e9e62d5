//! DNS rebinding: a name of somebody outside that leads to an address inside, so that a browser which trusts the
//! name talks to a machine that trusts its network. A switch; what is configured here is never meant by it.
//!
//! Private zones, what their CNAMEs lead to, and forwarding rules are spared by `chain`: inner addresses are what
//! they are for. 100.64.0.0/10 is no inner address here: inside a VPC the cloud's own services have theirs there.

use super::name::NameKey;
use hickory_proto::rr::RData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Whether the default upstreams may lead a name to an inner address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rebinding {
    /// They may.
    #[default]
    Allowed,
    /// They may not, but for names at or below these.
    Barred(Arc<[NameKey]>),
}

impl Rebinding {
    /// True when nothing is barred.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }

    /// True when inner addresses are taken out of what the default upstreams say of a name.
    pub fn bars(&self, name: &NameKey) -> bool {
        match self {
            Self::Allowed => false,
            Self::Barred(exceptions) => !exceptions.iter().any(|exception| name.is_within(exception)),
        }
    }
}

/// True for the address of a machine inside: loopback, private and link-local ones, and "this host".
pub fn is_inner(data: &RData) -> bool {
    match data {
        RData::A(a) => is_inner_v4(a.0),
        RData::AAAA(aaaa) => is_inner_v6(aaaa.0),
        _ => false,
    }
}

fn is_inner_v4(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
}

/// IPv4 addresses within IPv6 count as what they are: mapped, compatible and translated ones (RFC 6052).
fn is_inner_v6(address: Ipv6Addr) -> bool {
    let within = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    match within {
        Some(v4) => is_inner_v4(v4), // :: and ::1 are 0.0.0.0/8
        None => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;
    use std::net::IpAddr;

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
        ] {
            assert!(is_inner(&data(inner)), "{inner}");
        }
        for outer in
            ["100.100.0.1", "192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1", "64:ff9b::808:808"]
        {
            assert!(!is_inner(&data(outer)), "{outer}");
        }
    }

    #[test]
    fn exceptions_go_by_label() {
        let key = |name: &str| NameKey::of(&parse(name).unwrap());
        let barred = Rebinding::Barred([key("corp.example")].into());
        assert!(!barred.bars(&key("corp.example")) && !barred.bars(&key("a.corp.example")));
        assert!(barred.bars(&key("notcorp.example")) && barred.bars(&key("example")));
        assert!(!Rebinding::Allowed.bars(&key("example")));
    }

    fn data(address: &str) -> RData {
        address.parse::<IpAddr>().unwrap().into()
    }
}
