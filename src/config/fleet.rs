//! `[fleet]`: the etcd that zones made through the API are kept in, and what a sidecar does without it. Files with secrets
//! are not read here.

use super::reader::Span;
use super::section::Section;
use super::sections::{not_empty, path};
use super::value::Value;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Characters of a prefix or a node's name.
const LONGEST: usize = 200;

/// `[fleet]`: rows in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The members of etcd; at least one.
    pub endpoints: Vec<EtcdEndpoint>,
    /// What all keys begin with, without a final slash.
    pub prefix: String,
    /// The user, where etcd asks for a password.
    pub user: Option<String>,
    /// Where its password is.
    pub password_file: Option<PathBuf>,
    /// The client's certificate, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The certificates that members are held against; nothing for those of the system.
    pub ca: Option<PathBuf>,
    /// What this node is called; nothing for the machine's name.
    pub node: Option<String>,
    /// What is answered before any rows are known.
    pub before_first: BeforeFirst,
    /// A change that removes more than half of all rows waits until it is accepted.
    pub hold_mass_removal: bool,
}

/// What happens to queries while it is not known which names are private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BeforeFirst {
    /// They are not forwarded.
    #[default]
    Refuse,
    /// They are forwarded.
    Forward,
}

/// Where a member of etcd is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdEndpoint {
    /// Over TLS.
    pub encrypted: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for EtcdEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Reads the section.
pub(super) fn fleet(section: &mut Section) -> Option<Fleet> {
    let endpoints = section.require("endpoints", "[\"https://10.0.0.1:2379\"]", |value| {
        value.some("no endpoint of etcd", "leave [fleet] out for zones of this machine alone", endpoint)
    });
    let prefix = section.take("prefix", prefix).unwrap_or_else(|| "/pvtzd/default".into());
    let user = section.take_located("user", not_empty);
    let password_file = path(section, "password_file");
    let certificate = path(section, "certificate");
    let key = path(section, "key");
    let ca = path(section, "ca");
    let node = section.take("node", node);
    let before_first = section.take("before_first", |value| {
        value.one_of(&[("refuse", BeforeFirst::Refuse), ("forward", BeforeFirst::Forward)])
    });
    let hold_mass_removal = section.take("hold_mass_removal", Value::flag).unwrap_or(true);
    pair(section, ("user", user.is_some()), ("password_file", password_file.is_some()));
    pair(section, ("certificate", certificate.is_some()), ("key", key.is_some()));
    let endpoints: Vec<EtcdEndpoint> = endpoints?.value.into_iter().map(|item| item.value).collect();
    let plain = endpoints.iter().find(|endpoint| !endpoint.encrypted);
    if let (Some(plain), true) = (plain, user.is_some() || certificate.is_some()) {
        section.reader().warning(
            &section.at,
            format!("{plain} is not encrypted: password and rows can be read on the way"),
            "write https://, and the CA of etcd as ca = \"FILE\"".to_string(),
        );
    }
    Some(Fleet {
        endpoints,
        prefix,
        user: user.map(|user| user.value),
        password_file,
        certificate,
        key,
        ca,
        node,
        before_first: before_first.unwrap_or_default(),
        hold_mass_removal,
    })
}

/// Two keys that stand together.
fn pair(section: &Section, one: (&str, bool), other: (&str, bool)) {
    let (there, missing) = match (one, other) {
        ((there, true), (missing, false)) | ((missing, false), (there, true)) => (there, missing),
        _ => return,
    };
    // A file that is not there is a fault of its own.
    if section.has(missing) || !section.reader().is_whole() {
        return;
    }
    let at: &Span = &section.at;
    section.reader().error(
        at,
        format!("[fleet] has `{there}` without `{missing}`"),
        format!("add {missing} = \"…\", or leave both out"),
    );
}

/// `https://HOST:PORT`.
fn endpoint(value: &Value) -> Option<EtcdEndpoint> {
    let text = not_empty(value)?;
    let wrong = || {
        value.wrong(
            format!("`{text}` is not an endpoint of etcd"),
            "write \"https://10.0.0.1:2379\": a scheme, a name or an address, a port, nothing more"
                .to_string(),
        )
    };
    let (encrypted, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return wrong(),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => match port {
            "" => (host, None),
            port => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return wrong(),
            },
        },
        Some(_) => return wrong(),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if host.is_empty() || !(host.chars().all(is_name) || host.parse::<IpAddr>().is_ok()) {
        return wrong();
    }
    let port = match port.map(str::parse::<u16>) {
        None => 2379,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return wrong(),
    };
    Some(EtcdEndpoint { encrypted, host: host.into(), port })
}

/// `prefix`: what keys begin with.
fn prefix(value: &Value) -> Option<String> {
    let text = not_empty(value)?;
    let text = text.strip_suffix('/').unwrap_or(&text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    match text.starts_with('/') && text.len() > 1 && text.len() <= LONGEST && text.chars().all(allowed) {
        true => Some(text.into()),
        false => value.wrong(
            format!("`{text}` is not a prefix of keys"),
            "write \"/pvtzd/NAME\": a slash first, then letters, digits, -, _ and .; another for each fleet"
                .to_string(),
        ),
    }
}

/// `node`: a part of a key.
fn node(value: &Value) -> Option<String> {
    let text = not_empty(value)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.len() <= LONGEST && text.chars().all(allowed) {
        true => Some(text),
        false => value.wrong(
            format!("`{text}` is not a node's name"),
            "write letters, digits, -, _ and . alone; another for each node".to_string(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::config;
    use std::path::Path;

    fn parse(text: &str) -> Result<super::Fleet, String> {
        let parsed = config::parse(&format!("[fleet]\n{text}\n"), Path::new("f.toml"));
        parsed.map(|(config, _)| config.fleet.unwrap()).map_err(|faults| faults[0].to_string())
    }

    #[test]
    fn endpoints_are_urls_of_members() {
        for (text, shown) in [
            ("https://10.0.0.1:2379", "https://10.0.0.1:2379"),
            ("http://etcd-1.corp.example", "http://etcd-1.corp.example:2379"),
            ("https://[2001:db8::1]:1/", "https://[2001:db8::1]:1"),
            ("https://[::1]", "https://[::1]:2379"),
        ] {
            let fleet = parse(&format!("endpoints = [\"{text}\"]")).unwrap();
            assert_eq!(fleet.endpoints[0].to_string(), shown);
        }
        for text in [
            "10.0.0.1:2379",
            "https://",
            "https://a:0",
            "https://a:70000",
            "https://a/b",
            "ftp://a",
            "https://[1.2.3.4]",
            "https://u@a",
            "https://[::1]x",
        ] {
            let fault = parse(&format!("endpoints = [\"{text}\"]")).unwrap_err();
            assert!(fault.contains("is not an endpoint of etcd"), "{fault}");
        }
        assert!(parse("endpoints = []").unwrap_err().contains("no endpoint"));
        assert!(parse("").unwrap_err().contains("needs a `endpoints`"));
    }

    #[test]
    fn what_stands_together_is_asked_for_together() {
        let with = |text: &str| parse(&format!("endpoints = [\"https://a\"]\n{text}"));
        for text in ["user = \"a\"", "password_file = \"a\"", "certificate = \"a\"", "key = \"a\""] {
            assert!(with(text).unwrap_err().contains("without"), "{text}");
        }
        let fleet =
            with("user = \"a\"\npassword_file = \"p\"\nprefix = \"/x/y/\"\nbefore_first = \"forward\"")
                .unwrap();
        assert_eq!((fleet.prefix.as_str(), fleet.before_first), ("/x/y", super::BeforeFirst::Forward));
        assert!(fleet.hold_mass_removal);
        for text in ["prefix = \"x\"", "prefix = \"/\"", "prefix = \"/a b\"", "node = \"a/b\"", "node = \"\""]
        {
            assert!(with(text).is_err(), "{text}");
        }
    }
}
