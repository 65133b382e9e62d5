//! The addresses that count as one client.

use std::net::{IpAddr, Ipv6Addr};

/// The key of a client for limits and counters: an IPv4 address, or the /64 of an IPv6 address, which usually belongs
/// to one host.
pub fn client_key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}
