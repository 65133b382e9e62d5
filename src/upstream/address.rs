//! The address of one upstream server, as a person writes it in the configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The port of DNS over UDP and TCP.
pub(super) const DNS_PORT: u16 = 53;

/// One upstream server. Plain DNS only so far; a field for the transport will stand beside the address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Where it listens, UDP and TCP.
    pub addr: SocketAddr,
}

impl From<SocketAddr> for ServerAddress {
    fn from(addr: SocketAddr) -> Self {
        Self { addr }
    }
}

impl From<IpAddr> for ServerAddress {
    fn from(ip: IpAddr) -> Self {
        Self { addr: SocketAddr::new(ip, DNS_PORT) }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            SocketAddr::V4(addr) if addr.port() == DNS_PORT => write!(f, "{}", addr.ip()),
            addr => write!(f, "{addr}"),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let addr = parse(text).map_err(|problem| AddressError { text: text.to_owned(), problem })?;
        Ok(Self { addr })
    }
}

/// A text that is no upstream address, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    /// What was written.
    text: String,
    /// What is wrong with it, and what to write.
    problem: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an upstream server: {}", self.text, self.problem)
    }
}

impl std::error::Error for AddressError {}

/// Reads `IP`, `IP:PORT`, `[v6]` or `[v6]:PORT`.
fn parse(text: &str) -> Result<SocketAddr, &'static str> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(match scheme.to_ascii_lowercase().as_str() {
            "tls" | "https" | "quic" | "h3" => "encrypted upstreams are not built in yet",
            _ => "write an address without a scheme, like 10.1.0.53 or 10.1.0.53:5353",
        });
    }
    if text.contains('%') {
        return Err("addresses with a scope (%interface) are not supported");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let addr = if let Ok(addr) = text.parse::<SocketAddr>() {
        addr
    } else if let Ok(ip) = bare.parse::<IpAddr>() {
        SocketAddr::new(ip, DNS_PORT)
    } else {
        return Err(diagnose(text));
    };
    if addr.port() == 0 {
        return Err("port 0 cannot be asked");
    }
    if addr.ip().is_unspecified() || addr.ip().is_multicast() {
        return Err("this is not the address of one host");
    }
    Ok(addr)
}

/// Says why a text that parses as no address does not.
fn diagnose(text: &str) -> &'static str {
    if let Some((host, _)) = text.split_once(['#', '@'])
        && host.parse::<IpAddr>().is_ok()
    {
        return "write the port after a colon, like 10.1.0.53:5353 or [2001:db8::1]:5353";
    }
    if let Some((host, _)) = text.rsplit_once(':')
        && host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    {
        return "the port must be a number from 1 to 65535";
    }
    "write an IP address, like 10.1.0.53, 10.1.0.53:5353 or [2001:db8::1]:5353 (a name would itself need resolving)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_as_a_person_writes_them() {
        let rows = [
            ("10.1.0.53", "10.1.0.53:53", "10.1.0.53"),
            ("10.1.0.53:53", "10.1.0.53:53", "10.1.0.53"),
            ("10.1.0.53:5353", "10.1.0.53:5353", "10.1.0.53:5353"),
            ("::1", "[::1]:53", "[::1]:53"),
            ("[::1]", "[::1]:53", "[::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ];
        for (text, addr, shown) in rows {
            let parsed: ServerAddress = text.parse().unwrap();
            assert_eq!(parsed.addr.to_string(), addr, "{text}");
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<ServerAddress>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn a_bad_address_says_what_to_write() {
        let rows = [
            ("tls://192.0.2.1#dns.example", "encrypted upstreams are not built in yet"),
            ("https://dns.example/dns-query", "encrypted upstreams are not built in yet"),
            ("QUIC://192.0.2.1", "encrypted upstreams are not built in yet"),
            ("udp://192.0.2.1", "without a scheme"),
            ("fe80::1%eth0", "scope"),
            ("dns.example", "IP address"),
            ("", "IP address"),
            ("192.0.2.1#5353", "after a colon"),
            ("192.0.2.1:99999", "1 to 65535"),
            ("[::1]:dns", "1 to 65535"),
            ("192.0.2.1:0", "port 0"),
            ("0.0.0.0", "one host"),
            ("[ff02::1]:53", "one host"),
            ("192.0.2.1 192.0.2.2", "IP address"),
        ];
        for (text, expected) in rows {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.starts_with(&format!("`{text}`")), "{error}");
        }
    }
}
