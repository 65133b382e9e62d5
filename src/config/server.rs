//! `[server]`: where it listens, to whom, and what one client can take of it.

use super::ServerConfig;
use super::reader::{Span, Spanned};
use super::section::Section;
use super::sections;
use super::value::Value;
use crate::engine::local::LocalNames;
use std::net::SocketAddr;
use std::time::Duration;

/// The highest rate that a network can be limited to: what the limiter can count.
pub const MAX_RATE_PER_NETWORK: u32 = 1_000_000;

/// `[server]`, and its listen addresses with their places: for plain DNS, for encrypted streams, for QUIC.
pub(super) fn server(section: &mut Section) -> (ServerConfig, [Vec<Spanned<SocketAddr>>; 3]) {
    let default = ServerConfig::default();
    let listen = section
        .take("listen", |value| {
            value.some("nothing to listen on", "leave `listen` out for 127.0.0.1:5335", Value::listener)
        })
        .unwrap_or_else(|| {
            default.listen.iter().map(|&value| Spanned { value, at: Span::default() }).collect()
        });
    let allow = section.take("allow", |value| {
        value.some("no client may query", "leave `allow` out for the clients of this machine", Value::network)
    });
    let listen_tls =
        section.take("listen_tls", |value| value.list(|item| item.address(853))).unwrap_or_default();
    let listen_https =
        section.take("listen_https", |value| value.list(|item| item.address(443))).unwrap_or_default();
    let listen_quic =
        section.take("listen_quic", |value| value.list(|item| item.address(853))).unwrap_or_default();
    let listen_http3 = section.take("listen_http3", http3_listener).unwrap_or_default();
    let certificate = sections::path(section, "certificate");
    let key = sections::path(section, "key");
    let addresses = |items: &[Spanned<SocketAddr>]| items.iter().map(|item| item.value).collect::<Vec<_>>();
    if let Some(first) =
        listen_tls.iter().chain(&listen_https).chain(&listen_quic).chain(&listen_http3).next()
        && (certificate.is_none() || key.is_none())
    {
        let hint = "add certificate = \"FILE\" and key = \"FILE\", both PEM";
        section.reader().error(
            &first.at,
            "encrypted listeners need a certificate and its key",
            hint.to_string(),
        );
    }
    let limit = |value: &Value| Some(value.integer(1..=1_000_000)? as usize);
    let server = ServerConfig {
        listen: addresses(&listen),
        listen_tls: addresses(&listen_tls),
        listen_https: addresses(&listen_https),
        listen_quic: addresses(&listen_quic),
        listen_http3: addresses(&listen_http3),
        certificate,
        key,
        allow: allow.map_or(default.allow, sections::values),
        state_dir: section.take("state_dir", |value| match value.text()? {
            "" => value.wrong("an empty path", "leave `state_dir` out to keep no state".to_string()),
            path => Some(path.into()),
        }),
        local_names: section.take("local_names", local_names).unwrap_or(default.local_names),
        max_in_flight: section.take("max_in_flight", limit).unwrap_or(default.max_in_flight),
        max_tcp_connections: section
            .take("max_tcp_connections", limit)
            .unwrap_or(default.max_tcp_connections),
        max_tcp_per_client: section.take("max_tcp_per_client", limit).unwrap_or(default.max_tcp_per_client),
        tcp_pipeline: section.take("tcp_pipeline", limit).unwrap_or(default.tcp_pipeline),
        tcp_idle: section
            .take("tcp_idle", |value| value.duration(Duration::from_millis(100)..=Duration::from_secs(3600)))
            .unwrap_or(default.tcp_idle),
        udp_payload: section
            .take("udp_payload", |value| Some(value.integer(512..=4096)? as u16))
            .unwrap_or(default.udp_payload),
        watch_config: section.take("watch_config", Value::flag).unwrap_or(default.watch_config),
        version_bind: section.take("version_bind", Value::flag).unwrap_or(default.version_bind),
        cookies: section.take("cookies", Value::flag).unwrap_or(default.cookies),
        max_rate_per_network: section
            .take("max_rate_per_network", |value| {
                Some(value.integer(0..=u64::from(MAX_RATE_PER_NETWORK))? as u32)
            })
            .unwrap_or(default.max_rate_per_network),
    };
    let streams = listen_tls.into_iter().chain(listen_https).collect();
    (server, [listen, streams, listen_quic.into_iter().chain(listen_http3).collect()])
}

/// `listen_http3`, which is in builds with that feature only.
fn http3_listener(value: &Value) -> Option<Vec<Spanned<SocketAddr>>> {
    let listed = value.list(|item| item.address(443))?;
    if !listed.is_empty() && !cfg!(feature = "http3") {
        return value.wrong(
            "this build has no HTTP/3",
            "build with --features http3, or use `listen_https` or `listen_quic`".to_string(),
        );
    }
    Some(listed)
}

/// `local_names`: a list of kinds.
fn local_names(value: &Value) -> Option<LocalNames> {
    let kinds = value.list(|item| {
        let kind = item.text()?;
        match LocalNames::KINDS.contains(&kind) {
            true => Some(kind),
            false => item.unknown_word(kind, &LocalNames::KINDS),
        }
    })?;
    let mut names = LocalNames::NONE;
    for kind in kinds {
        names.switch_on(kind.value);
    }
    Some(names)
}
