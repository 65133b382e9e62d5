//! What `resolvectl dns` and `resolvectl domain` print, read. Text in, values out.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// What systemd-resolved says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Its own servers (`DNS=`), without those with a port.
    pub servers: Vec<IpAddr>,
    /// Its own domains (`Domains=`).
    pub domains: Vec<String>,
    /// Servers and domains by interface.
    pub links: BTreeMap<String, (Vec<IpAddr>, Vec<String>)>,
    /// Servers and domains by delegate (systemd 258 and later).
    pub delegates: BTreeMap<String, (Vec<IpAddr>, Vec<String>)>,
}

impl Links {
    /// Parses the output of both commands.
    pub fn parse(dns: &str, domain: &str) -> Self {
        let mut found = Self::default();
        for (link, words) in rows(dns) {
            let servers: Vec<IpAddr> = words.iter().filter_map(|word| server(word)).collect();
            match link {
                Of::Global => found.servers.extend(servers),
                Of::Link(link) => found.links.entry(link).or_default().0.extend(servers),
                Of::Delegate(name) => found.delegates.entry(name).or_default().0.extend(servers),
            }
        }
        for (link, words) in rows(domain) {
            match link {
                Of::Global => found.domains.extend(words),
                Of::Link(link) => found.links.entry(link).or_default().1.extend(words),
                Of::Delegate(name) => found.delegates.entry(name).or_default().1.extend(words),
            }
        }
        found
    }

    /// The interfaces with a routing domain for all names.
    pub fn claiming_all(&self) -> Vec<&str> {
        let all = self.links.iter().filter(|(_, (_, domains))| domains.iter().any(|domain| domain == "~."));
        all.map(|(name, _)| name.as_str()).collect()
    }
}

/// The version in the output of `resolvectl --version`, such as `systemd 257 (257.9-1~deb13u1)`.
pub fn version(text: &str) -> Option<u32> {
    let word = text.split_whitespace().nth(1)?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a line is about.
enum Of {
    /// systemd-resolved itself.
    Global,
    /// An interface.
    Link(String),
    /// A delegate.
    Delegate(String),
}

/// The lines, those that begin with space joined to the one before.
fn rows(text: &str) -> Vec<(Of, Vec<String>)> {
    let mut rows: Vec<(Of, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let (title, rest) = match line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))) {
            Some(("Global", rest)) => (Some(Of::Global), rest),
            Some((title, rest)) if title.starts_with("Link ") => {
                let name = title.split_once('(').and_then(|(_, name)| name.strip_suffix(')'));
                (name.map(|name| Of::Link(name.to_string())), rest)
            }
            Some((title, rest)) if title.starts_with("Delegate ") => {
                (title.split_once(' ').map(|(_, name)| Of::Delegate(name.to_string())), rest)
            }
            _ => (None, line),
        };
        if let Some(title) = title {
            rows.push((title, Vec::new()));
        }
        if let Some((_, words)) = rows.last_mut() {
            words.extend(rest.split_whitespace().map(str::to_string));
        }
    }
    rows
}

/// `192.0.2.1`, `192.0.2.1#name` or `fe80::1%2`.
fn server(word: &str) -> Option<IpAddr> {
    word.split(['#', '%']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_read() {
        let dns = "Global: 127.0.0.1\nLink 2 (eth0): 100.100.2.136 100.100.2.138#x\n               2001:db8::1\nLink 3 (tun0):\n";
        let domain = "Global: ~.\nLink 2 (eth0): corp.example\nLink 3 (tun0): ~. vpn.example\n";
        let links = Links::parse(dns, domain);
        assert_eq!(links.servers, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(links.domains, ["~."]);
        assert_eq!(links.links["eth0"].0.len(), 3);
        assert_eq!(links.links["eth0"].1, ["corp.example"]);
        assert_eq!(links.claiming_all(), ["tun0"]);
        assert_eq!(Links::parse("", "garbage\n"), Links::default());
        let links = Links::parse(
            "Link 2 (eth0): 192.0.2.1\nDelegate pvtzd: 127.0.0.1\n",
            "Delegate pvtzd: ~a.example\n",
        );
        assert_eq!(links.links["eth0"].0, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(links.delegates["pvtzd"], (vec!["127.0.0.1".parse().unwrap()], vec!["~a.example".into()]));
        for (text, expected) in [
            ("systemd 257 (257.9-1~deb13u1)\n+PAM", Some(257)),
            ("systemd 258~rc1 (258~rc1)", Some(258)),
            ("systemd", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
