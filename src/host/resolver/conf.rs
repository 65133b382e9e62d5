//! The text of resolv.conf, rewritten so that it leads to pvtzd alone. Text in, text out.

use crate::host::resolv_conf;
use crate::upstream::ServerAddress;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What our resolv.conf begins with.
const HEADER: &str = "\
# pvtzd answers for this machine; `pvtzd resolver give-back` restores what was here.
";

/// The keywords of resolv.conf that are kept; `nameserver` is replaced.
const KEPT: [&str; 4] = ["domain", "search", "sortlist", "options"];

/// A server as a `nameserver` line names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nameserver {
    /// Its address.
    pub ip: IpAddr,
    /// The interface of a link-local address.
    pub scope: Option<String>,
}

impl Nameserver {
    /// The server on port 53.
    pub fn server(&self) -> ServerAddress {
        ServerAddress { scope: self.scope.clone(), ..ServerAddress::from(self.ip) }
    }
}

impl From<&ServerAddress> for Nameserver {
    fn from(server: &ServerAddress) -> Self {
        Self { ip: server.addr.ip(), scope: server.scope.clone() }
    }
}

impl TryFrom<String> for Nameserver {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut conf = resolv_conf::parse(&format!("nameserver {text}"));
        let is_one_word = !text.contains(|c: char| c.is_whitespace() || c == '#' || c == ';');
        match (conf.servers.pop(), conf.warnings.is_empty() && is_one_word) {
            (Some(server), true) => Ok(Self::from(&server)),
            _ => Err(format!("`{}` is not an address of a nameserver", text.escape_debug())),
        }
    }
}

impl From<Nameserver> for String {
    fn from(server: Nameserver) -> Self {
        server.to_string()
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{}%{scope}", self.ip),
            None => write!(f, "{}", self.ip),
        }
    }
}

/// The text with one nameserver, `address`, and without the option `rotate`. Lines with the other keywords of
/// resolv.conf stay as they are; what else was behind that path, comments included, is not copied: everybody may read
/// the new file, and a manager is known by its comment.
pub fn lead_to(text: &str, address: IpAddr) -> String {
    let mut lines = Vec::new();
    let mut place = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(word) if word.eq_ignore_ascii_case("nameserver") => {
                place.get_or_insert(lines.len());
            }
            // `rotate` has no effect with one server; with a second one every other query would bypass pvtzd.
            Some("options") if words.clone().any(|word| word == "rotate") => {
                let rest: Vec<&str> = words.filter(|word| *word != "rotate").collect();
                if !rest.is_empty() {
                    lines.push(format!("options {}", rest.join(" ")));
                }
            }
            Some(word) if KEPT.contains(&word) => lines.push(line.to_string()),
            _ => {}
        }
    }
    let place = place.unwrap_or(lines.len());
    lines.insert(place, format!("nameserver {address}"));
    format!("{HEADER}{}\n", lines.join("\n"))
}

/// The search domains of a resolv.conf, the root left out. The last line `search` or `domain` counts.
pub fn search_domains(text: &str) -> Vec<String> {
    let mut domains = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some("search" | "domain") = words.next() {
            domains = words.map(|domain| domain.trim_end_matches('.').to_string()).collect();
        }
    }
    domains.retain(|domain| !domain.is_empty());
    domains
}

/// Where a resolv.conf leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// To pvtzd only.
    Us,
    /// Mapped names to pvtzd, others to other servers.
    Mapped,
    /// To pvtzd and other servers: some queries bypass pvtzd.
    Both,
    /// To other servers.
    Elsewhere,
    /// To no server.
    // the value in JSON, which scripts use
    #[serde(rename = "nobody")]
    Nowhere,
}

/// Where a resolv.conf leads, as glibc reads it: three nameservers at most.
pub fn leads(text: &str, address: IpAddr) -> Routing {
    const MAXNS: usize = 3; // resolv.h
    let servers = resolv_conf::parse(text).nameservers;
    leads_among(&servers[..servers.len().min(MAXNS)], address)
}

/// The same for a list of servers.
pub fn leads_among(servers: &[IpAddr], address: IpAddr) -> Routing {
    match (servers.contains(&address), servers.iter().any(|server| *server != address)) {
        (true, false) => Routing::Us,
        (true, true) => Routing::Both,
        (false, true) => Routing::Elsewhere,
        (false, false) => Routing::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    #[test]
    fn what_users_rely_on_stays_and_the_servers_go() {
        let rows = [
            ("", "nameserver 127.0.0.1\n"),
            (
                "# mine\nsearch a.example b.example\nnameserver 100.100.2.136\nnameserver 100.100.2.138\noptions timeout:2 attempts:3 rotate ndots:1\n",
                "search a.example b.example\nnameserver 127.0.0.1\noptions timeout:2 attempts:3 ndots:1\n",
            ),
            ("options rotate\nnameserver 192.0.2.1", "nameserver 127.0.0.1\n"),
            (
                "options edns0  trust-ad\nsortlist 10.0.0.0",
                "options edns0  trust-ad\nsortlist 10.0.0.0\nnameserver 127.0.0.1\n",
            ),
            ("root:x:0:0\n<html>\nsearchx\n; hello\nsearch a\n\n", "search a\nnameserver 127.0.0.1\n"),
            ("domain x\r\nnameserver 192.0.2.1\r\n", "domain x\nnameserver 127.0.0.1\n"),
        ];
        for (text, expected) in rows {
            let changed = lead_to(text, us());
            assert_eq!(changed.strip_prefix(HEADER).unwrap(), expected, "{text:?}");
            assert_eq!(leads(&changed, us()), Routing::Us);
        }
    }

    #[test]
    fn a_server_is_remembered_with_its_interface() {
        for text in ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "fe80::1%2"] {
            let server = Nameserver::try_from(text.to_string()).unwrap();
            assert_eq!(String::from(server.clone()), text);
            assert_eq!(Nameserver::from(&server.server()), server);
        }
        let json = serde_json::to_string(&Nameserver::try_from("fe80::1%eth0".to_string()).unwrap()).unwrap();
        assert_eq!(json, "\"fe80::1%eth0\"");
        for text in
            ["", "x", "192.0.2.1:53", "192.0.2.1 192.0.2.2", "192.0.2.1\nnameserver 192.0.2.2", "192.0.2.1#"]
        {
            assert!(Nameserver::try_from(text.to_string()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_line_of_search_domains_counts() {
        for (text, expected) in [
            ("search a.example b.example.\nnameserver 192.0.2.1\n", &["a.example", "b.example"][..]),
            ("search a.example\ndomain c.example\n", &["c.example"]),
            ("search .\n", &[]),
            ("# search a.example\nsearchx b\n", &[]),
        ] {
            assert_eq!(search_domains(text), expected, "{text}");
        }
    }

    #[test]
    fn where_it_leads() {
        let rows = [
            ("nameserver 127.0.0.1", Routing::Us),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.1", Routing::Both),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 127.0.0.1",
                Routing::Elsewhere,
            ),
            ("nameserver 127.0.0.11", Routing::Elsewhere),
            ("search a", Routing::Nowhere),
        ];
        for (text, expected) in rows {
            assert_eq!(leads(text, us()), expected, "{text}");
        }
    }
}
