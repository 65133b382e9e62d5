//! Listen addresses: the address to reach them, and whether this machine has them now. Addresses of a machine may come
//! and go.

use nix::errno::Errno;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address at which this machine reaches a server that listens on `listen`.
pub fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

/// True if this machine may get the address later: neither loopback nor unspecified nor multicast.
pub fn may_come(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// True if no interface of this machine has the address.
pub fn is_absent(address: IpAddr) -> bool {
    may_come(address) && UdpSocket::bind((address, 0)).is_err_and(|error| is_not_here(&error))
}

/// True for the kernel's error that no interface has an address.
pub fn is_not_here(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_interface_has_is_absent() {
        for (address, absent) in [
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("192.0.2.77", true),
            ("224.0.0.1", false),
        ] {
            assert_eq!(is_absent(address.parse().unwrap()), absent, "{address}");
        }
    }

    #[test]
    fn a_socket_that_listens_everywhere_is_asked_on_loopback() {
        let shown = |text: &str| reached_at(text.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:53"), "127.0.0.1:53");
        assert_eq!(shown("[::]:53"), "[::1]:53");
        assert_eq!(shown("192.0.2.1:53"), "192.0.2.1:53");
    }
}
