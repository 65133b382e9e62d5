//! The address of one upstream server, as a person writes it in the configuration.

use crate::engine::sort;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::engine::catalog::GroupKey;
use nix::net::if_::if_nametoindex;
use ring::digest::{Context, SHA256};
use tokio_rustls::rustls::pki_types::ServerName;

/// The port of DNS over UDP and TCP.
pub const DNS_PORT: u16 = 53;
/// The port of DNS over TLS and over QUIC (RFC 7858 section 3.1, RFC 9250 section 4.1.1).
const TLS_PORT: u16 = 853;
/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;
/// The path of DNS over HTTPS where none is written: the one that nearly all servers have.
const HTTPS_PATH: &str = "/dns-query";

/// Octets of the longest name of an interface: IFNAMSIZ without the NUL.
const MAX_INTERFACE: usize = 15;

/// One upstream server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Where it listens; the unspecified address where only its name is known, see [`Self::is_named`].
    pub addr: SocketAddr,
    /// The interface that a link-local address is reached by: its name or number, as written.
    pub scope: Option<String>,
    /// What it is spoken to by.
    pub transport: Transport,
}

/// What a server is spoken to by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP, and TCP where that does not do.
    Plain,
    /// DNS over TLS; the certificate must be valid for this name or address.
    Tls(ServerName<'static>),
    /// DNS over HTTPS: the name, and the path.
    Https(ServerName<'static>, String),
    /// DNS over QUIC.
    Quic(ServerName<'static>),
}

impl ServerAddress {
    /// True when what is said can be read, and forged, on the way.
    pub fn is_plain(&self) -> bool {
        self.transport == Transport::Plain
    }

    /// What makes it this server and no other: address, transport, path, and the name in its certificate in lower
    /// case. The same text over restarts and builds.
    pub fn identity(&self) -> String {
        let (scheme, name, path) = match &self.transport {
            Transport::Plain => ("plain", None, ""),
            Transport::Tls(name) => ("tls", Some(name), ""),
            Transport::Https(name, path) => ("https", Some(name), path.as_str()),
            Transport::Quic(name) => ("quic", Some(name), ""),
        };
        let name = name.map(|name| name.to_str().to_ascii_lowercase()).unwrap_or_default();
        let scope = self.scope.as_ref().map(|scope| format!("%{scope}")).unwrap_or_default();
        format!("{scheme} {}{scope} {name} {path}", self.addr)
    }

    /// The key of a group of servers, whatever their order: 64 bits of SHA-256. `parts` tell it from other groups of
    /// the same servers.
    pub fn group_key(parts: &[&[u8]], servers: &[Self]) -> GroupKey {
        let identities: BTreeSet<String> = sort::set(servers.iter().map(Self::identity));
        let mut hash = Context::new(&SHA256);
        for part in parts.iter().copied().chain(identities.iter().map(String::as_bytes)) {
            hash.update(&(part.len() as u64).to_be_bytes()); // so that "ab", "c" is not "a", "bc"
            hash.update(part);
        }
        let mut key = [0; 8];
        key.iter_mut().zip(hash.finish().as_ref()).for_each(|(octet, hashed)| *octet = *hashed);
        GroupKey(u64::from_be_bytes(key)).unless(|_| false)
    }

    /// Where to connect to: with the number of its interface, which may be another at any time.
    ///
    /// # Errors
    /// There is no interface of that name.
    pub fn target(&self) -> io::Result<SocketAddr> {
        let (Some(scope), SocketAddr::V6(mut addr)) = (&self.scope, self.addr) else { return Ok(self.addr) };
        let number = scope.parse().or_else(|_| if_nametoindex(scope.as_str()));
        addr.set_scope_id(number.map_err(io::Error::from)?);
        Ok(addr.into())
    }

    /// True when its address is not known, but to be found by its name.
    pub fn is_named(&self) -> bool {
        self.addr.ip().is_unspecified()
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, scope: None, transport: Transport::Plain }
    }
}

impl From<IpAddr> for ServerAddress {
    fn from(ip: IpAddr) -> Self {
        SocketAddr::new(ip, DNS_PORT).into()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Plain => self.write_address(f, DNS_PORT),
            Transport::Tls(name) => self.write_url(f, "tls", TLS_PORT, name, ""),
            Transport::Quic(name) => self.write_url(f, "quic", TLS_PORT, name, ""),
            Transport::Https(name, path) => self.write_url(f, "https", HTTPS_PORT, name, path),
        }
    }
}

impl ServerAddress {
    /// Writes the address of an encrypted server.
    fn write_url(
        &self,
        f: &mut fmt::Formatter<'_>,
        scheme: &str,
        usual: u16,
        name: &ServerName<'static>,
        path: &str,
    ) -> fmt::Result {
        write!(f, "{scheme}://")?;
        if self.is_named() {
            f.write_str(&name.to_str())?;
            if self.addr.port() != usual {
                write!(f, ":{}", self.addr.port())?;
            }
            return f.write_str(path);
        }
        self.write_address(f, usual)?;
        f.write_str(path)?;
        match name {
            ServerName::IpAddress(_) => Ok(()),
            name => write!(f, "#{}", name.to_str()),
        }
    }

    /// Writes the address; the usual port is left out where that leaves no doubt.
    fn write_address(&self, f: &mut fmt::Formatter<'_>, usual: u16) -> fmt::Result {
        match (self.addr, &self.scope) {
            (SocketAddr::V4(addr), _) if addr.port() == usual => write!(f, "{}", addr.ip()),
            (addr, Some(scope)) => write!(f, "[{}%{scope}]:{}", addr.ip(), addr.port()),
            (addr, None) => write!(f, "{addr}"),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.split_once("://") {
            None => parse(text, DNS_PORT).map(|(addr, scope)| Self { scope, ..Self::from(addr) }),
            Some((scheme, rest)) => encrypted(&scheme.to_ascii_lowercase(), rest),
        };
        parsed.map_err(|problem| AddressError { text: text.to_owned(), problem })
    }
}

/// Reads what stands behind the scheme of an encrypted server: `IP[:PORT][/PATH][#NAME]` or `NAME[:PORT][/PATH]`.
fn encrypted(scheme: &str, rest: &str) -> Result<ServerAddress, &'static str> {
    let usual = match scheme {
        "tls" => TLS_PORT,
        "quic" => TLS_PORT,
        "https" => HTTPS_PORT,
        _ => {
            return Err(
                "the schemes are tls://, https:// and quic://; without one, like 10.1.0.53, it is plain DNS",
            );
        }
    };
    let (rest, name) = rest.split_once('#').map_or((rest, None), |(rest, name)| (rest, Some(name)));
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if scheme != "https" && !path.is_empty() {
        return Err("only https:// has a path; write tls://192.0.2.1#dns.example");
    }
    let ((addr, scope), host) = match parse(place, usual) {
        Ok(found) => (found, None),
        Err(problem) => named(place, usual).ok_or(problem).map(|(port, host)| {
            ((SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), None), Some(host))
        })?,
    };
    let name = match (name, host) {
        (None, Some(host)) => host,
        (None, None) => ServerName::from(addr.ip()), // certificates for addresses are rare, but they exist
        (Some(_), Some(_)) => {
            return Err("a name after a # requires an address: tls://192.0.2.1#dns.example");
        }
        (Some(name), None) => ServerName::try_from(name.to_owned())
            .map_err(|_| "after the # goes the name in the server's certificate, like dns.example")?,
    };
    let transport = match scheme {
        "tls" => Transport::Tls(name),
        "quic" => Transport::Quic(name),
        _ => {
            let path = path.strip_suffix("{?dns}").unwrap_or(path); // the form of RFC 8484 section 3
            if !path.bytes().all(|octet| octet.is_ascii_graphic()) {
                return Err("the path must be printable ASCII");
            }
            Transport::Https(name, if path.is_empty() { HTTPS_PATH } else { path }.to_owned())
        }
    };
    Ok(ServerAddress { addr, scope, transport })
}

/// The port and the name in `NAME[:PORT]`.
fn named(text: &str, usual: u16) -> Option<(u16, ServerName<'static>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (text, usual),
    };
    match ServerName::try_from(host.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Some((port, name)),
        _ => None,
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

impl AddressError {
    /// What is wrong, without the text.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an upstream server: {}", self.text, self.problem)
    }
}

impl std::error::Error for AddressError {}

/// Reads `IP`, `IP:PORT`, `[v6]` or `[v6]:PORT`; with this port where none is written. Behind a link-local address
/// may stand `%` and the interface (RFC 4007 section 11).
fn parse(text: &str, port: u16) -> Result<(SocketAddr, Option<String>), &'static str> {
    let Some((before, behind)) = text.split_once('%') else { return plain(text, port).map(|it| (it, None)) };
    let (scope, rest) = behind.split_at(behind.find(']').unwrap_or(behind.len()));
    let addr = plain(&format!("{before}{rest}"), port)?;
    match addr.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {}
        _ => return Err("only a link-local address, from fe80::/10, has an interface after a %"),
    }
    if !(1..=MAX_INTERFACE).contains(&scope.len()) || !scope.bytes().all(is_of_interface) {
        return Err("after the % goes the name of a network interface, like fe80::1%eth0");
    }
    Ok((addr, Some(scope.to_owned())))
}

/// True for an octet that the name of an interface may have.
fn is_of_interface(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'/' | b'%' | b'[' | b']' | b'"' | b'\\')
}

/// The same without an interface.
fn plain(text: &str, port: u16) -> Result<SocketAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let addr = if let Ok(addr) = text.parse::<SocketAddr>() {
        addr
    } else if let Ok(ip) = bare.parse::<IpAddr>() {
        SocketAddr::new(ip, port)
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
            ("tls://192.0.2.1#dns.example", "192.0.2.1:853", "tls://192.0.2.1#dns.example"),
            ("TLS://192.0.2.1:8853#dns.example", "192.0.2.1:8853", "tls://192.0.2.1:8853#dns.example"),
            ("tls://192.0.2.1", "192.0.2.1:853", "tls://192.0.2.1"),
            ("tls://dns.example", "0.0.0.0:853", "tls://dns.example"),
            ("tls://2001:db8::1#dns.example", "[2001:db8::1]:853", "tls://[2001:db8::1]:853#dns.example"),
        ];
        for (text, addr, shown) in rows {
            let parsed: ServerAddress = text.parse().unwrap();
            assert_eq!(parsed.addr.to_string(), addr, "{text}");
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<ServerAddress>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn a_link_local_address_has_the_interface_that_leads_to_it() {
        let rows = [
            ("fe80::1%lo", "[fe80::1%lo]:53", 53),
            ("[fe80::1%lo]", "[fe80::1%lo]:53", 53),
            ("[FE80::1%lo]:5353", "[fe80::1%lo]:5353", 5353),
            ("tls://[fe80::1%lo]:8853#dns.example", "tls://[fe80::1%lo]:8853#dns.example", 8853),
        ];
        let lo = if_nametoindex("lo").unwrap();
        for (text, shown, port) in rows {
            let parsed: ServerAddress = text.parse().unwrap();
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<ServerAddress>().unwrap(), parsed, "{text}");
            let SocketAddr::V6(target) = parsed.target().unwrap() else { panic!("{text}") };
            assert_eq!((target.scope_id(), target.port()), (lo, port), "{text}");
        }
        let numbered: ServerAddress = "fe80::1%77".parse().unwrap();
        assert!(matches!(numbered.target(), Ok(SocketAddr::V6(target)) if target.scope_id() == 77));
        let gone: ServerAddress = "fe80::1%no-such-link".parse().unwrap();
        assert!(gone.target().is_err(), "and may be there a moment later");
        assert_ne!(numbered.identity(), gone.identity());
    }

    #[test]
    fn addresses_of_doh_and_doq_parse_and_print() {
        let rows = [
            ("https://dns.example", "https://dns.example/dns-query"),
            ("https://dns.example/q{?dns}", "https://dns.example/q"),
            ("https://192.0.2.1/dns-query#dns.example", "https://192.0.2.1/dns-query#dns.example"),
            ("https://[2001:db8::1]:8443/q", "https://[2001:db8::1]:8443/q"),
            ("quic://192.0.2.1#dns.example", "quic://192.0.2.1#dns.example"),
            ("quic://dns.example:8853", "quic://dns.example:8853"),
        ];
        for (text, shown) in rows {
            let parsed: ServerAddress = text.parse().unwrap();
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<ServerAddress>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn a_group_s_key_is_what_it_is_for_and_who_its_servers_are() {
        let servers: Vec<ServerAddress> = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap()).into();
        let key = |parts: &[&[u8]]| ServerAddress::group_key(parts, &servers);
        assert_eq!(
            key(&[b"a"]),
            ServerAddress::group_key(&[b"a"], &[servers[1].clone(), servers[0].clone()])
        );
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"a"]), ServerAddress::group_key(&[b"a"], &servers[..1]));
    }

    #[test]
    fn a_bad_address_says_what_to_write() {
        let rows = [
            ("tls://dns.example#other.example", "requires an address"),
            ("tls://192.0.2.1/dns-query#dns.example", "only https:// has a path"),
            ("tls://192.0.2.1#", "after the #"),
            ("tls://192.0.2.1#dns example", "after the #"),
            ("tls://192.0.2.1:0#dns.example", "port 0"),
            ("tls://dns.example:0", "IP address"),
            ("udp://192.0.2.1", "the schemes are"),
            ("2001:db8::1%eth0", "link-local"),
            ("192.0.2.1%eth0", "link-local"),
            ("fe80::1%", "name of a network interface"),
            ("fe80::1%an-interface-name", "name of a network interface"),
            ("fe80::1%eth0/64", "name of a network interface"),
            ("[fe80::1%eth0]:0", "port 0"),
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
