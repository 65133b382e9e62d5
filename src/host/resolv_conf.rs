//! The form of resolv.conf: its nameservers.
//!
//! Parsing is strict where glibc is silent: a line that does not do what its author meant is reported (L58).

use crate::upstream::ServerAddress;
use std::net::{IpAddr, Ipv6Addr};

/// Octets of the largest resolv.conf that is read. One that names three servers has a few hundred.
pub(crate) const MAX_BYTES: u64 = 64 << 10;

/// What one resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Its nameservers, in order.
    pub nameservers: Vec<IpAddr>,
    /// The same, with the interfaces of link-local ones.
    pub servers: Vec<ServerAddress>,
    /// Warnings about lines without the intended effect.
    pub warnings: Vec<String>,
}

/// Parses resolv.conf. Only `nameserver` lines matter here.
pub fn parse(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for (index, line) in text.lines().enumerate() {
        let mut warn = |problem: String| conf.warnings.push(format!("line {}: {problem}", index + 1));
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {}
            Some(keyword) if keyword.eq_ignore_ascii_case("nameserver") => {
                warn(format!("`{keyword}` is ignored; write `nameserver`"));
                continue;
            }
            _ => continue,
        }
        let Some(address) = words.next() else {
            warn("`nameserver` without an address".to_owned());
            continue;
        };
        if words.next().is_some() {
            warn(format!(
                "several words after `nameserver`; only {address} is used, write one line for each"
            ));
        }
        let server = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => ServerAddress::from(IpAddr::from([127, 0, 0, 1])),
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => ServerAddress::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            Ok(ip) if ip.is_multicast() => {
                warn(format!("{address} is ignored: it is not a unicast address"));
                continue;
            }
            Ok(ip) => ServerAddress::from(ip),
            Err(_) => match address.parse::<ServerAddress>() {
                Ok(scoped) if scoped.scope.is_some() && !address.contains(['[', '/']) => scoped,
                Err(error) if address.contains('%') => {
                    warn(format!("{address} is ignored: {}", error.problem()));
                    continue;
                }
                _ => {
                    warn(format!("{address} is ignored: it is not an IP address"));
                    continue;
                }
            },
        };
        conf.nameservers.push(server.addr.ip());
        conf.servers.push(server);
    }
    conf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_lines() {
        let rows: [(&str, &[&str], &str); 14] = [
            ("nameserver 192.0.2.1\nnameserver 2001:db8::1", &["192.0.2.1", "[2001:db8::1]:53"], ""),
            ("  nameserver\t192.0.2.1   # the first", &["192.0.2.1"], ""),
            ("# nameserver 192.0.2.1\n; nameserver 192.0.2.2", &[], ""),
            ("search example.com\noptions edns0 ndots:5\ndomain x\nsortlist y", &[], ""),
            ("nameserver 192.0.2.1 192.0.2.2", &["192.0.2.1"], "line 1: several words"),
            ("nameserver 192.0.2.1,192.0.2.2", &[], "not an IP address"),
            ("\nnameserver dns.example", &[], "line 2: dns.example is ignored"),
            ("nameserver 192.0.2.1:53", &[], "not an IP address"),
            ("nameserver", &[], "without an address"),
            ("nameserver fe80::1%eth0", &["[fe80::1%eth0]:53"], ""),
            ("nameserver 192.0.2.1%eth0", &[], "link-local"),
            ("NameServer 192.0.2.1", &[], "write `nameserver`"),
            ("nameserver 0.0.0.0\nnameserver ::", &["127.0.0.1", "[::1]:53"], ""),
            ("nameserver 224.0.0.251\r\nnameserver 192.0.2.9\r\n", &["192.0.2.9"], "not a unicast address"),
        ];
        for (text, servers, warning) in rows {
            let parsed = parse(text);
            let shown: Vec<String> = parsed.servers.iter().map(ToString::to_string).collect();
            assert_eq!(shown, servers, "{text:?}");
            assert_eq!(parsed.warnings.is_empty(), warning.is_empty(), "{text:?}: {:?}", parsed.warnings);
            assert!(parsed.warnings.join("\n").contains(warning), "{text:?}: {:?}", parsed.warnings);
        }
    }
}
