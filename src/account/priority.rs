//! The ordered targets of a forwarding rule (`PriorityForwardConfigs`): servers, their order and their protocols. The
//! product documents the fields, not their values.

use crate::engine::sort;
use crate::upstream::ServerAddress;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Addresses of one entry.
const MAX_ADDRESSES: usize = 6;

/// The values of `Protocol`, each with the scheme of a server's address.
const PROTOCOLS: [(&str, &str); 9] = [
    ("UDP", ""),
    ("DNS", ""),
    ("DO53", ""),
    ("DOT", "tls://"),
    ("TLS", "tls://"),
    ("DOH", "https://"),
    ("HTTPS", "https://"),
    ("DOQ", "quic://"),
    ("QUIC", "quic://"),
];

/// One entry: servers of one priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorityForward {
    /// `Protocol`, as it was sent.
    pub protocol: String,
    /// `EnableStatus`, as it was sent.
    pub status: String,
    /// `Priority`; the lowest is queried first.
    pub priority: u32,
    /// `AlidnsServiceAddresses`.
    pub alidns: Vec<String>,
    /// `CustomAddresses`.
    pub custom: Vec<String>,
}

impl PriorityForward {
    /// Checks an entry.
    ///
    /// # Errors
    /// The fault, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.scheme().is_none() {
            return Err(format!("`{}` is no protocol: write UDP, DOT, DOH or DOQ", self.protocol));
        }
        let known = ["ENABLE", "ENABLED", "ON", "TRUE", "DISABLE", "DISABLED", "OFF", "FALSE"];
        if !known.iter().any(|word| self.status.eq_ignore_ascii_case(word)) {
            return Err(format!("`{}` is no EnableStatus: write ENABLE or DISABLE", self.status));
        }
        let count = self.alidns.len() + self.custom.len();
        if count == 0 || count > MAX_ADDRESSES {
            return Err(format!("an entry has 1 to {MAX_ADDRESSES} addresses, found {count}"));
        }
        self.addresses().try_for_each(|text| self.server(text).map(|_| ()))
    }

    /// True if its servers are queried.
    fn is_enabled(&self) -> bool {
        ["ENABLE", "ENABLED", "ON", "TRUE"].iter().any(|word| self.status.eq_ignore_ascii_case(word))
    }

    fn scheme(&self) -> Option<&'static str> {
        let found = PROTOCOLS.iter().find(|(word, _)| self.protocol.eq_ignore_ascii_case(word));
        found.map(|(_, scheme)| *scheme)
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.custom.iter().chain(&self.alidns).map(String::as_str)
    }

    /// Parses a server's address with the scheme of the protocol.
    fn server(&self, text: &str) -> Result<ServerAddress, String> {
        let text = format!("{}{text}", self.scheme().unwrap_or_default());
        let server: ServerAddress = text.parse().map_err(|why| format!("{why}"))?;
        let ip = server.addr.ip();
        if server.is_named() || ip.is_multicast() || server.addr.port() == 0 {
            return Err(format!(
                "`{text}` has no address: write it with the server's name behind a #, 192.0.2.1#dns.example"
            ));
        }
        match is_vpc_resolver(ip) {
            true => {
                Err(format!("{ip} belongs to the VPC's own resolvers, which the product does not accept"))
            }
            false => Ok(server),
        }
    }
}

/// The servers of enabled entries, those of the lowest priority first.
pub fn ordered_servers(entries: &[PriorityForward]) -> Vec<ServerAddress> {
    let mut entries: Vec<&PriorityForward> = entries.iter().filter(|entry| entry.is_enabled()).collect();
    sort::by_key(&mut entries, |entry| entry.priority);
    let servers =
        entries.into_iter().flat_map(|entry| entry.addresses().filter_map(|text| entry.server(text).ok()));
    servers.collect()
}

/// 100.100.2.116 to .118 and .136 to .138: the product documents that they are not allowed as targets.
pub fn is_vpc_resolver(ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip.to_canonical() else { return false };
    let [a, b, c, d] = ip.octets();
    [a, b, c] == [100, 100, 2] && matches!(d, 116..=118 | 136..=138)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::row::RuleRow;

    fn entry(protocol: &str, status: &str, priority: u32, custom: &[&str]) -> PriorityForward {
        PriorityForward {
            protocol: protocol.into(),
            status: status.into(),
            priority,
            alidns: Vec::new(),
            custom: custom.iter().map(ToString::to_string).collect(),
        }
    }

    fn rule(priorities: Vec<PriorityForward>) -> RuleRow {
        RuleRow {
            id: "r".into(),
            name: "r".into(),
            zone: "corp.example".into(),
            endpoint: String::new(),
            targets: vec!["192.0.2.9:53".parse().unwrap()],
            priorities,
            bindings: Vec::new(),
            created: 0,
            updated: 0,
        }
    }

    #[test]
    fn enabled_entries_are_asked_by_priority() {
        let rule = |entries| rule(entries).servers().iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = entry("DOT", "ENABLE", 1, &["192.0.2.1#dns.example"]);
        let second = entry("udp", "enable", 2, &["192.0.2.2:5353", "192.0.2.3"]);
        let off = entry("UDP", "DISABLE", 0, &["192.0.2.4"]);
        assert_eq!(
            rule(vec![second.clone(), off.clone(), first]),
            ["tls://192.0.2.1#dns.example", "192.0.2.2:5353", "192.0.2.3"]
        );
        assert_eq!(rule(vec![off]), ["192.0.2.9"], "none is enabled");
        assert_eq!(rule(Vec::new()), ["192.0.2.9"]);
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (entry, expected) in [
            (entry("SMTP", "ENABLE", 1, &["192.0.2.1"]), "`SMTP` is no protocol"),
            (entry("UDP", "maybe", 1, &["192.0.2.1"]), "`maybe` is no EnableStatus"),
            (entry("UDP", "ENABLE", 1, &[]), "an entry has 1 to 6 addresses, found 0"),
            (entry("UDP", "ENABLE", 1, &["192.0.2.1"; 7]), "an entry has 1 to 6 addresses, found 7"),
            (entry("DOT", "ENABLE", 1, &["dns.example"]), "`tls://dns.example` has no address"),
            (
                entry("UDP", "ENABLE", 1, &["100.100.2.136"]),
                "100.100.2.136 belongs to the VPC's own resolvers",
            ),
        ] {
            let told = entry.check().unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
        assert!(entry("UDP", "ENABLE", 1, &["tls://192.0.2.1", "nonsense"]).check().is_err());
        assert_eq!(entry("DOH", "DISABLE", 1, &["192.0.2.1#dns.example"]).check(), Ok(()));
    }
}
