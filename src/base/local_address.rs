//! Whether this machine has an address now: one that is listened on may come later, and go.

use nix::errno::Errno;
use std::io;
use std::net::{IpAddr, UdpSocket};

/// True if the address could come to this machine later: not its own in any case, and not one of many hosts.
pub fn may_come(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// True if no interface of this machine has the address.
pub fn is_absent(address: IpAddr) -> bool {
    may_come(address) && UdpSocket::bind((address, 0)).is_err_and(|error| is_not_here(&error))
}

/// True for the kernel's word that no interface has an address.
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
}
