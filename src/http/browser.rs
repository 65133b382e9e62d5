//! Refuses requests that a browser sent for a page of another site.
//!
//! A page can have its visitor's browser send requests to this machine, and by DNS rebinding (its own name, with an
//! address of this machine) read the answers. Such a request names a foreign host in `Host`, in `Origin`, or says
//! `cross-site` in `Sec-Fetch-Site`. An IP address in `Host` cannot be rebound, nor a name without a dot: no site on
//! the Internet has one, but a container beside this one or a machine of this network has.

use crate::config::endpoints;
use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::Uri;
use std::net::{IpAddr, Ipv6Addr};

/// The header with a browser's relation of page and target.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hosts that requests may name, beside IP addresses and names without a dot such as `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    names: Vec<String>,
    api_names: bool,
}

impl ServerNames {
    /// The names of the configuration.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| plain(name.as_ref())).filter(|name| !name.is_empty());
        Self { names: names.collect(), api_names: false }
    }

    /// Adds the names of Alibaba Cloud's APIs, which DNS may resolve to this machine.
    pub fn with_api_names(self) -> Self {
        Self { api_names: true, ..self }
    }

    /// Adds the name of this machine.
    pub fn with_host_name(mut self) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.names.extend(Some(plain(name.trim())).filter(|name| !name.is_empty()));
        self
    }

    /// True for an accepted host.
    fn has(&self, host: &str) -> bool {
        is_address(host)
            || !plain(host).contains('.')
            || self.names.contains(&plain(host))
            || self.api_names && endpoints::is_api_name(&plain(host))
    }
}

/// Checks the headers of a request.
///
/// # Errors
/// The request must be refused; the reason, in one sentence.
pub fn check(headers: &HeaderMap, target: &Uri, served: &ServerNames) -> Result<(), &'static str> {
    const HOST_REFUSED: &str = "The Host of this request is not accepted: use an IP address or localhost, or add \
                                the name to server_names in the configuration.";
    const PAGE_REFUSED: &str = "A browser sent this request for a page of another site.";
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None, // HTTP/1.0: not a browser
        (Some(host), None) => Some(host.to_str().map_err(|_| HOST_REFUSED)?),
        (Some(_), Some(_)) => return Err("This request has more than one Host."),
    };
    let authority = target.authority().map(|authority| authority.as_str());
    for named in host.into_iter().chain(authority) {
        let (name, _) = parts(named).ok_or(HOST_REFUSED)?;
        if !served.has(name) {
            return Err(HOST_REFUSED);
        }
    }
    for origin in headers.get_all(ORIGIN) {
        let own = authority.or(host).and_then(parts).map(|(name, port)| (plain(name), port));
        let origin = origin.to_str().ok().and_then(origin_parts);
        let is_own = own.zip(origin).is_some_and(|((name, port), (scheme_port, origin, origin_port))| {
            name == origin && port.unwrap_or(scheme_port) == origin_port.unwrap_or(scheme_port)
        });
        if !is_own {
            return Err(PAGE_REFUSED);
        }
    }
    let sites = headers.get_all(FETCH_SITE).iter();
    match sites.map(|site| site.as_bytes()).all(|site| site == b"same-origin" || site == b"none") {
        true => Ok(()),
        false => Err(PAGE_REFUSED),
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parts(text: &str) -> Option<(&str, Option<u16>)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (name, rest) = text.split_at(end);
    let port = match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    (!name.is_empty()).then_some((name, port))
}

/// The scheme's default port, host and port of an origin; None for `null` and other schemes.
fn origin_parts(text: &str) -> Option<(u16, String, Option<u16>)> {
    let (usual, rest) = match text.split_once("://")? {
        ("http", rest) => (80, rest),
        ("https", rest) => (443, rest),
        _ => return None,
    };
    let (name, port) = parts(rest)?;
    Some((usual, plain(name), port))
}

/// True for an IPv4 address, or an IPv6 address in brackets.
fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.split('%').next().is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()),
        None => host.parse::<IpAddr>().is_ok(),
    }
}

/// A name in lower case, without the dot at its end.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> ServerNames {
        ServerNames::new(["Metrics.Corp.Example."])
    }

    /// Whether a request with these headers is answered.
    fn passes(served: &ServerNames, target: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        check(&map, &target.parse().unwrap(), served).is_ok()
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_served() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9153",
            "192.0.2.1:80",
            "[::1]:5380",
            "[fe80::1%25eth0]:80",
            "localhost",
            "LOCALHOST.:9153",
            "metrics.corp.example:9153",
            "pvtzd",
        ] {
            assert!(passes(&served(), "/", &[("host", host)]), "{host}");
        }
        assert!(passes(&served(), "/", &[]), "HTTP/1.0");
    }

    #[test]
    fn other_hosts_are_refused() {
        for host in [
            "evil.example",
            "evil.example:9153",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80@evil.example",
            "127.0.0.1:9153.evil.example",
            "[::1].evil.example",
            "[::1",
            "::1",
            "",
            "xmetrics.corp.example",
            "corp.example",
            "pvtz.aliyuncs.com",
            "127.0.0.1:99999",
            "127.0.0.1, evil.example",
        ] {
            // "::1" parses as an empty name before a port
            assert!(!passes(&served(), "/", &[("host", host)]), "{host}");
        }
        assert!(!passes(&served(), "/", &[("host", "127.0.0.1"), ("host", "evil.example")]));
        assert!(!passes(&served(), "http://evil.example/metrics", &[("host", "127.0.0.1")]));
        assert!(passes(&served(), "http://127.0.0.1:1/metrics", &[("host", "127.0.0.1:1")]));
    }

    #[test]
    fn the_api_has_the_names_that_lead_to_it() {
        let api = served().with_api_names();
        for host in
            ["pvtz.aliyuncs.com", "ecs.cn-hangzhou.aliyuncs.com:443", "ECS-VPC.cn-beijing.aliyuncs.com."]
        {
            assert!(passes(&api, "/", &[("host", host)]), "{host}");
        }
        for host in
            ["evil.aliyuncs.com", "evil.oss-cn-hangzhou.aliyuncs.com", "aliyuncs.com", "xpvtz.aliyuncs.com"]
        {
            assert!(!passes(&api, "/", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:9153");
        for (name, value, passed) in [
            ("origin", "http://127.0.0.1:9153", true),
            ("origin", "http://127.0.0.1:3000", false),
            ("origin", "http://evil.example", false),
            ("origin", "https://127.0.0.1", false),
            ("origin", "null", false),
            ("origin", "", false),
            ("origin", "file://", false),
            ("sec-fetch-site", "cross-site", false),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "anything", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
        ] {
            assert_eq!(passes(&served(), "/", &[host, (name, value)]), passed, "{name}: {value}");
        }
        assert!(passes(&served(), "/", &[("host", "localhost"), ("origin", "http://localhost:80")]));
        let both = [host, ("origin", "http://127.0.0.1:9153"), ("origin", "http://evil.example")];
        assert!(!passes(&served(), "/", &both));
    }
}
