//! Which addresses are one client where clients are counted.

use std::net::{IpAddr, Ipv6Addr};

/// The address that stands for a client where clients are counted: an IPv4 address, or the /64 that one IPv6 host
/// usually has to itself.
pub fn client_key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}
