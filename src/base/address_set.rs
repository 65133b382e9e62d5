//! A set of addresses, from a list of networks: a look-up is a binary search, however many networks there are.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The addresses of networks. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// First and last address of each range, ascending; ranges neither overlap nor touch.
    v4: Arc<[(Ipv4Addr, Ipv4Addr)]>,
    /// The same of IPv6.
    v6: Arc<[(Ipv6Addr, Ipv6Addr)]>,
}

impl AddressSet {
    /// True for an address in one of the networks. An IPv4 address within IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => is_in(&self.v4, address),
            IpAddr::V6(address) => is_in(&self.v6, address),
        }
    }
}

impl From<&[IpNet]> for AddressSet {
    fn from(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network(), network.broadcast())),
                IpNet::V6(network) => v6.push((network.network(), network.broadcast())),
            }
        }
        Self {
            v4: merged(v4, |last| last.to_bits().checked_add(1).map(Ipv4Addr::from_bits)),
            v6: merged(v6, |last| last.to_bits().checked_add(1).map(Ipv6Addr::from_bits)),
        }
    }
}

/// True for an address in one of the ranges.
fn is_in<A: Ord + Copy>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

/// The ranges in order, those that overlap or touch put together. `next` gives the address after another.
fn merged<A: Ord + Copy>(mut ranges: Vec<(A, A)>, next: impl Fn(A) -> Option<A>) -> Arc<[(A, A)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        let joins = next(kept.1).is_none_or(|next| later.0 <= next);
        if joins {
            kept.1 = kept.1.max(later.1);
        }
        joins
    });
    ranges.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn networks_that_touch_are_one_range() {
        let set = AddressSet::from(
            &networks(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32", "::/0", "2001:db8::/32"])[..],
        );
        assert_eq!(set.v4[..], [(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 1, 255))]);
        assert_eq!(set.v6.len(), 1);
        for (address, expected) in [
            ("10.0.1.255", true),
            ("10.0.2.0", false),
            ("9.255.255.255", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:11.0.0.1", false),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!AddressSet::default().contains("127.0.0.1".parse().unwrap()));
        let all = AddressSet::from(&networks(&["0.0.0.0/0", "255.255.255.255/32"])[..]);
        assert!(all.contains("255.255.255.255".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn it_has_what_one_of_the_networks_has(
            nets in prop::collection::vec((any::<[u8; 2]>(), 8u8..=32), 0..12),
            addresses in prop::collection::vec(any::<[u8; 2]>(), 0..40),
        ) {
            let address = |[a, b]: [u8; 2]| Ipv4Addr::new(10, 0, a & 3, b);
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(octets, length)| IpNet::new(address(octets).into(), length).unwrap().trunc())
                .collect();
            let set = AddressSet::from(&nets[..]);
            for octets in addresses {
                let address = IpAddr::from(address(octets));
                prop_assert_eq!(set.contains(address), nets.iter().any(|net| net.contains(&address)));
            }
        }
    }
}
