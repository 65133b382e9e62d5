//! Addresses that are not of the public network (RFC 6890): the one table of them, with a column for each question that
//! is asked of it.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses, and what it is to those who ask.
#[derive(Clone, Copy, Debug)]
pub struct SpecialBlock {
    /// The block.
    pub net: IpNet,
    /// The document that sets it aside.
    pub reference: &'static str,
    /// A public name must not lead there where rebinding protection is on.
    pub rebinding: bool,
    /// An API name that leads there stays within the VPC, says the doctor.
    pub inside_vpc: bool,
}

/// All blocks that are told apart. 100.64.0.0/10 is no target of rebinding: inside a VPC the cloud's own services have
/// their addresses there, and the API names lead to them. No service of the cloud has a link-local address but the
/// metadata, which no API name leads to.
pub const TABLE: &[SpecialBlock] = &[
    //                                               rebinding  inside_vpc
    v4([0, 0, 0, 0], 8, "RFC 791", /*         */ true, false),
    v4([10, 0, 0, 0], 8, "RFC 1918", /*       */ true, true),
    v4([100, 64, 0, 0], 10, "RFC 6598", /*    */ false, true),
    v4([127, 0, 0, 0], 8, "RFC 1122", /*      */ true, true),
    v4([169, 254, 0, 0], 16, "RFC 3927", /*   */ true, false),
    v4([172, 16, 0, 0], 12, "RFC 1918", /*    */ true, true),
    v4([192, 168, 0, 0], 16, "RFC 1918", /*   */ true, true),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "RFC 4291", true, false),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "RFC 4291", true, true),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "RFC 4193", true, true),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "RFC 4291", true, false),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "RFC 3879", true, false),
];

const fn v4(
    [a, b, c, d]: [u8; 4],
    prefix: u8,
    reference: &'static str,
    rebinding: bool,
    inside_vpc: bool,
) -> SpecialBlock {
    let net = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix));
    SpecialBlock { net, reference, rebinding, inside_vpc }
}

const fn v6(
    [a, b, c, d, e, f, g, h]: [u16; 8],
    prefix: u8,
    reference: &'static str,
    rebinding: bool,
    inside_vpc: bool,
) -> SpecialBlock {
    let net = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix));
    SpecialBlock { net, reference, rebinding, inside_vpc }
}

/// The block that an address is in, as it is written: an IPv4 address within an IPv6 address is not looked for.
pub fn block_of(address: IpAddr) -> Option<&'static SpecialBlock> {
    TABLE.iter().find(|block| block.net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_its_own_answer() {
        let ask = |address: &str| {
            block_of(address.parse().unwrap())
                .map_or((false, false), |block| (block.rebinding, block.inside_vpc))
        };
        for (address, rebinding, inside_vpc) in [
            ("0.0.0.0", true, false),
            ("9.255.255.255", false, false),
            ("10.0.0.1", true, true),
            ("11.0.0.0", false, false),
            ("100.63.255.255", false, false),
            ("100.64.0.0", false, true),
            ("100.100.0.1", false, true),
            ("100.127.255.255", false, true),
            ("100.128.0.0", false, false),
            ("127.8.8.8", true, true),
            ("169.254.0.1", true, false),
            ("169.255.0.0", false, false),
            ("172.15.255.255", false, false),
            ("172.16.0.0", true, true),
            ("172.31.255.255", true, true),
            ("172.32.0.0", false, false),
            ("192.168.255.255", true, true),
            ("192.169.0.0", false, false),
            ("203.0.113.2", false, false),
            ("::", true, false),
            ("::1", true, true),
            ("::2", false, false),
            ("fbff::", false, false),
            ("fc00::", true, true),
            ("fdff:ffff::1", true, true),
            ("fe80::1", true, false),
            ("febf::1", true, false),
            ("fec0::1", true, false),
            ("ff02::1", false, false),
            ("2001:db8::1", false, false),
            ("::ffff:10.0.0.1", false, false),
        ] {
            assert_eq!(ask(address), (rebinding, inside_vpc), "{address}");
        }
    }

    #[test]
    fn no_two_blocks_overlap() {
        for (at, block) in TABLE.iter().enumerate() {
            for other in &TABLE[at + 1..] {
                assert!(!block.net.contains(&other.net) && !other.net.contains(&block.net), "{}", other.net);
            }
            assert!(block.reference.starts_with("RFC "));
        }
    }
}
