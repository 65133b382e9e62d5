//! The metadata service of the instance that `pvtzd lab exec` plays: what it says, and its token mode.
//!
//! Versions `2016-01-01` and `latest`, with the same items.
//!
//! The plain mode answers any GET, as old images expect. A token (`PUT /latest/api/token`) is always to be had;
//! in the hardened mode nothing is answered without one.

pub mod items;
mod role;

pub use role::Role;

use crate::base::accept::{AdmittedConnection, accept};
use crate::base::connections::Connections;
use crate::base::octets::{OF_CONNECTION, OctetKind, Octets};
use crate::base::task;
use crate::host::metadata::SERVICE;
use crate::http::browser::{self, ServerNames};
use crate::http::server::{self, HeadBounds};
use crate::http::stream::WaitingOctets;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The versions.
const VERSIONS: [&str; 2] = ["2016-01-01", "latest"];

/// Where the name of the role is, and below it its credentials.
const ROLES: &str = "meta-data/ram/security-credentials";

/// Where the user data is.
const USER_DATA: &str = "user-data";

/// Where a token is to be had.
const TOKEN: &str = "/latest/api/token";

/// Seconds that a token may live at most, as documented.
const MAX_LIFE: u64 = 21_600;

/// Tokens that are remembered; more are not given out at a time.
const MAX_TOKENS: usize = 1000;

/// Connections at a time; the one that was idle for longest makes room.
const MAX_CONNECTIONS: usize = 64;

/// The bounds of a request's head.
const HEAD_BOUNDS: HeadBounds = HeadBounds { max_bytes: 16 << 10, timeout: Duration::from_secs(10) };

/// The instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceMetadata {
    /// Its region id.
    pub region: String,
    /// The id of its VPC.
    pub vpc: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Nothing is told without a token.
    pub hardened: bool,
    /// Its user data, if it has any.
    pub user_data: Option<Vec<u8>>,
}

/// The service.
#[derive(Debug)]
pub struct Metadata {
    items: items::Items,
    user_data: Option<Bytes>,
    role: Option<Role>,
    hardened: bool,
    /// Tokens and when they end.
    tokens: Mutex<BTreeMap<String, Instant>>,
}

/// Status and body of a response.
type MetadataAnswer = (StatusCode, Bytes);

impl Metadata {
    /// What the service says of an instance with this role.
    pub fn new(instance: &InstanceMetadata, role: Option<Role>) -> Self {
        let mut items = items::of(instance);
        // For their folders: what they say is asked elsewhere.
        items.extend(role.as_ref().map(|role| (format!("{ROLES}/{}", role.name), String::new())));
        items.extend(instance.user_data.as_ref().map(|_| (USER_DATA.to_string(), String::new())));
        Self {
            items,
            user_data: instance.user_data.clone().map(Bytes::from),
            role,
            hardened: instance.hardened,
            tokens: Mutex::default(),
        }
    }

    /// The response to a request, at this moment.
    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (path, headers) = (request.uri().path(), request.headers());
        let now = (Instant::now(), SystemTime::now());
        let (status, body) = match browser::check(headers, request.uri(), &ServerNames::default()) {
            Ok(()) => self.answer(request.method(), path, headers, now),
            Err(why) => (StatusCode::FORBIDDEN, Bytes::from(format!("{why}\n"))),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    }

    /// Answers a request at a moment, by the monotonic and the wall clock.
    fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        (now, wall): (Instant, SystemTime),
    ) -> MetadataAnswer {
        if path == TOKEN && *method == Method::PUT {
            return self.token(headers, now);
        }
        if *method != Method::GET && *method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
        }
        let token = headers.get("x-aliyun-ecs-metadata-token").and_then(|value| value.to_str().ok());
        let is_good = |token: &str| self.tokens().get(token).is_some_and(|end| now < *end);
        match token.filter(|token| !token.is_empty()) {
            Some(token) if !is_good(token) => {
                return (StatusCode::FORBIDDEN, Bytes::from("the token is not known\n"));
            }
            None if self.hardened => return (StatusCode::FORBIDDEN, Bytes::from("a token is needed\n")),
            _ => {}
        }
        self.at(path, wall).map_or((StatusCode::NOT_FOUND, Bytes::new()), |body| (StatusCode::OK, body))
    }

    /// What is at a path.
    fn at(&self, path: &str, wall: SystemTime) -> Option<Bytes> {
        let path = path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Bytes::from(VERSIONS.map(|version| format!("{version}/")).join("\n")));
        }
        let (version, path) = path.split_once('/').unwrap_or((path, ""));
        if !VERSIONS.contains(&version) {
            return None;
        }
        let role = || path.strip_prefix(ROLES)?.strip_prefix('/');
        match (path.trim_end_matches('/'), &self.role) {
            (USER_DATA, _) => self.user_data.clone(),
            (_, Some(known)) if role() == Some(&known.name) => known.tell(wall).map(Bytes::from),
            (path, _) => items::find(&self.items, path).map(Bytes::from),
        }
    }

    /// Gives a token out.
    fn token(&self, headers: &HeaderMap, now: Instant) -> MetadataAnswer {
        let seconds = headers.get("x-aliyun-ecs-metadata-token-ttl-seconds");
        let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let Some(seconds) = seconds.filter(|seconds| (1..=MAX_LIFE).contains(seconds)) else {
            return (StatusCode::BAD_REQUEST, Bytes::new());
        };
        let mut random = [0; 33];
        if getrandom::fill(&mut random).is_err() {
            return (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
        }
        let token = BASE64URL_NOPAD.encode(&random);
        let mut tokens = self.tokens();
        tokens.retain(|_, end| now < *end);
        if tokens.len() >= MAX_TOKENS {
            return (StatusCode::TOO_MANY_REQUESTS, Bytes::new());
        }
        tokens.insert(token.clone(), now + Duration::from_secs(seconds));
        (StatusCode::OK, Bytes::from(token))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to answer at an address, [`SERVICE`] on an instance; returns it with the port that port 0 became.
///
/// # Errors
/// The address is not available.
pub async fn serve(
    metadata: Metadata,
    address: Option<SocketAddr>,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address.unwrap_or(SERVICE)).await?;
    let address = listener.local_addr()?;
    let metadata = Arc::new(metadata);
    let connections = Connections::of_kind(OctetKind::Operations, MAX_CONNECTIONS);
    let octets = Octets::default();
    tasks.spawn(task::boxed(accept(listener, "metadata", move |stream, peer| {
        let place = Arc::new(connections.admit(peer.ip(), OctetKind::Operations)?);
        let waiting = WaitingOctets::new(&octets, OctetKind::Operations, OF_CONNECTION);
        let (metadata, served, account) = (metadata.clone(), place.clone(), waiting.account().clone());
        let conversation = task::boxed(async move {
            let respond = |request: Request<Incoming>| {
                waiting.head_is_whole();
                Box::pin(ready(metadata.respond(&request))) as _
            };
            server::converse(Box::new(stream), &served, &waiting, HEAD_BOUNDS, &respond).await;
        });
        Some(AdmittedConnection { place, account, conversation })
    })));
    Ok(address)
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
