//! The form of clients' addresses in logs and statistics: whole, as a network, or none.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The prefix length of shown networks: as for rate limiting.
const V4_PREFIX: u8 = 24;
const V6_PREFIX: u8 = 56;

/// The shown form of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientForm {
    /// By address.
    #[default]
    Full,
    /// By network: 24 bits of IPv4, 56 of IPv6.
    Prefix,
    /// As a pseudonym, which changes with each start; not shown where only an address fits.
    Pseudonym,
    /// Not shown.
    None,
}

impl ClientForm {
    /// The address to show, if any.
    pub fn shown(self, client: IpAddr) -> Option<IpAddr> {
        match (self, client.to_canonical()) {
            (Self::Full, client) => Some(client),
            (Self::Prefix, client) => Some(network(client).addr()),
            (Self::Pseudonym | Self::None, _) => None,
        }
    }
}

/// The network of an address.
pub fn network(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(address) => IpNet::from(Ipv4Net::new_assert(address, V4_PREFIX)).trunc(),
        IpAddr::V6(address) => IpNet::from(Ipv6Net::new_assert(address, V6_PREFIX)).trunc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_shown_whole_shortened_or_not_at_all() {
        let shown = |form: ClientForm, ip: &str| form.shown(ip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(shown(ClientForm::Full, "::ffff:192.0.2.77").as_deref(), Some("192.0.2.77"));
        assert_eq!(shown(ClientForm::Prefix, "192.0.2.77").as_deref(), Some("192.0.2.0"));
        assert_eq!(shown(ClientForm::Prefix, "2001:db8:1:2::3").as_deref(), Some("2001:db8:1::"));
        assert_eq!(shown(ClientForm::None, "192.0.2.77"), None);
    }
}
