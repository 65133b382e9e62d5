//! Which requests the console answers, and what its answers tell the browser.

use crate::http::browser::{self, ServerNames};
use crate::http::pages::{PageRequest, PageResponse};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use std::net::{IpAddr, SocketAddr};

/// What a page may do: run the scripts, styles and requests of this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every answer.
const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("x-frame-options", "DENY"),
];

/// The hosts that a request may name. By DNS rebinding a page of another site has a name of its own with an address of
/// this machine, and then `Origin` and `Host` agree: only a list of names keeps it out.
#[derive(Clone, Debug)]
pub(super) struct ConsoleHosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl ConsoleHosts {
    /// `localhost`, the loopback addresses, those that are listened on, and names of the configuration.
    pub(super) fn new(listen: &[SocketAddr], names: &[String]) -> Self {
        let names = names.iter().map(|name| plain(name)).chain(["localhost".to_string()]);
        let addresses = listen.iter().map(|address| address.ip().to_canonical());
        Self { names: names.collect(), addresses: addresses.collect() }
    }

    /// True for a host that may be named, with or without a port.
    fn has(&self, host: &str) -> bool {
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let bare = match host.rsplit_once(':') {
            Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
            _ => host,
        };
        let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inner.unwrap_or(bare).parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) if inner.is_none() => false,
            Ok(address) => {
                let address = address.to_canonical();
                // A listener on all addresses is reached by any of them, and an address cannot be rebound.
                let everywhere = self.addresses.iter().any(IpAddr::is_unspecified);
                address.is_loopback() || everywhere || self.addresses.contains(&address)
            }
            Err(_) => self.names.contains(&plain(bare)),
        }
    }
}

/// Settles whether a request is answered at all.
///
/// # Errors
/// It is not: the status and why.
pub(super) fn check(request: &PageRequest, hosts: &ConsoleHosts) -> Result<(), (StatusCode, &'static str)> {
    if request.headers.contains_key(UPGRADE) {
        return Err((StatusCode::BAD_REQUEST, "the Upgrade header is not supported"));
    }
    let mut named = request.headers.get_all(HOST).iter();
    let (host, second) = (named.next().and_then(|host| host.to_str().ok()), named.next());
    let authority = request.uri.authority().map(|authority| authority.as_str());
    let good = second.is_none()
        && host.is_some_and(|host| hosts.has(host))
        && authority.is_none_or(|a| hosts.has(a));
    match good {
        true => Ok(()),
        false => Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this host is not served here: use 127.0.0.1 or localhost, or add the name to server_names in [control]",
        )),
    }
}

/// Settles whether what a page asks for comes from a page of this console, in the only form that is taken.
///
/// # Errors
/// It does not: the status and why.
pub(super) fn check_call(
    request: &PageRequest,
    hosts: &ConsoleHosts,
) -> Result<(), (StatusCode, &'static str)> {
    let served = ServerNames::new(&hosts.names);
    if browser::check(&request.headers, &request.uri, &served).is_err() {
        return Err((StatusCode::FORBIDDEN, "a browser sent this request for a page of another site"));
    }
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json")),
    }
}

/// An answer with the headers that every answer has.
pub(super) fn secured(mut response: PageResponse) -> PageResponse {
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A name in lower case, without the dot at its end.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_can_be_rebound_are_not_served() {
        let hosts = ConsoleHosts::new(&["127.0.0.1:5380".parse().unwrap()], &["Dns.Corp.Example.".into()]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:5380",
            "localhost:1",
            "LOCALHOST.",
            "LocalHost.:5380",
            "[::1]:5380",
            "dns.corp.example",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(hosts.has(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:5380",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "pvtz.aliyuncs.com",
            "pvtzd",
            "192.0.2.1",
            "::1",
            "",
            "127.0.0.1:x",
            "[::1].evil.example",
            "127.0.0.1@evil.example",
            "[::1",
            "[::1%25lo]",
            "[fe80::1%25eth0]:5380",
            "127.0.0.1.",
            "localhost..",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "0.0.0.0:5380",
        ] {
            assert!(!hosts.has(host), "{host}");
        }
        let hosts = ConsoleHosts::new(&["0.0.0.0:5380".parse().unwrap()], &[]);
        assert!(hosts.has("192.0.2.1:5380") && !hosts.has("evil.example"));
    }
}
