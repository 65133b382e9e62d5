//! What `resolvectl dns` and `resolvectl domain` print, read. Text in, values out.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// What systemd-resolved says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Its own servers (`DNS=`), without those on a port of their own.
    pub servers: Vec<IpAddr>,
    /// Its own domains (`Domains=`).
    pub domains: Vec<String>,
    /// By the name of the interface: servers and domains.
    pub links: BTreeMap<String, (Vec<IpAddr>, Vec<String>)>,
}

impl Links {
    /// Reads the output of both commands.
    pub fn parse(dns: &str, domain: &str) -> Self {
        let mut found = Self::default();
        for (link, words) in rows(dns) {
            let servers: Vec<IpAddr> = words.iter().filter_map(|word| server(word)).collect();
            match link {
                None => found.servers.extend(servers),
                Some(link) => found.links.entry(link).or_default().0.extend(servers),
            }
        }
        for (link, words) in rows(domain) {
            match link {
                None => found.domains.extend(words),
                Some(link) => found.links.entry(link).or_default().1.extend(words),
            }
        }
        found
    }

    /// The interfaces that claim every name for their own servers.
    pub fn claiming_all(&self) -> Vec<&str> {
        let all = self.links.iter().filter(|(_, (_, domains))| domains.iter().any(|domain| domain == "~."));
        all.map(|(name, _)| name.as_str()).collect()
    }
}

/// The lines, those that begin with space joined to the one before: the interface (nothing for `Global`), words.
fn rows(text: &str) -> Vec<(Option<String>, Vec<String>)> {
    let mut rows: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let (title, rest) = match line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))) {
            Some((title, rest)) if title == "Global" || title.starts_with("Link ") => (Some(title), rest),
            _ => (None, line),
        };
        if let Some(title) = title {
            let link = title.split_once('(').and_then(|(_, name)| name.strip_suffix(')')).map(str::to_string);
            rows.push((link, Vec::new()));
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
    }
}
