//! One HTTP/2 connection to one member of etcd, and gRPC over it: a call with one answer, or a stream of answers. What a
//! member may send at once is bounded, and so is each wait.

use super::tls::FleetTls;
use crate::base::http2::{self, KeepAlive, RequestBody, RequestSender};
use crate::base::stream::BoxedStream;
use crate::base::task;
use crate::config::{EtcdEndpoint, Fleet};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, StatusCode};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long connecting may take, with TLS and HTTP/2.
const CONNECT: Duration = Duration::from_secs(3);

/// A member cuts off who asks oftener than every 5 s.
const KEEP_ALIVE: KeepAlive =
    KeepAlive { every: Duration::from_secs(10), timeout: Duration::from_secs(5), window: 1 << 20 };

/// Octets of an answer. A page of rows has far less.
const LARGEST: usize = 64 << 20;

/// Octets of an answer of a stream. A member sends a watch in parts of some 2 MiB, or as large as the largest request that
/// it takes.
const LARGEST_OF_STREAM: usize = 16 << 20;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdError {
    /// The gRPC status; nothing where there was no answer.
    pub code: Option<u16>,
    /// In words.
    pub message: String,
    /// It may have been carried out all the same.
    pub uncertain: bool,
}

impl EtcdError {
    /// The request did not leave.
    pub(super) fn unsent(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), uncertain: false }
    }

    /// The request was sent, and its result is unknown.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), uncertain: true }
    }

    /// True where a login helps: the token has ended, or the users have changed since.
    pub fn asks_for_login(&self) -> bool {
        let message = &self.message;
        match self.code {
            Some(16) => true,
            Some(3) => message.contains("auth store is old") || message.contains("user name is empty"),
            Some(7) => true, // a token of a user that was removed and made again; a second refusal is real
            _ => message.contains("permission denied") || message.contains("invalid auth token"),
        }
    }

    /// True where a member says that revisions are gone.
    pub(super) fn is_compacted(&self) -> bool {
        self.code == Some(11) && self.message.contains("compacted")
    }
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EtcdError {}

/// A connection.
#[derive(Clone)]
pub(super) struct EtcdConnection {
    sender: RequestSender,
    authority: String,
    encrypted: bool,
}

impl EtcdConnection {
    /// Connects to a member.
    pub(super) async fn open(
        endpoint: &EtcdEndpoint,
        fleet: &Fleet,
        tls: &Mutex<FleetTls>,
    ) -> Result<Self, EtcdError> {
        let unsent = |error: &dyn fmt::Display| EtcdError::unsent(format!("{endpoint}: {error}"));
        let work = async {
            let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
            let stream = stream.map_err(|error| unsent(&error))?;
            stream.set_nodelay(true).map_err(|error| unsent(&error))?;
            let authority = match endpoint.host.contains(':') {
                true => format!("[{}]:{}", endpoint.host, endpoint.port),
                false => format!("{}:{}", endpoint.host, endpoint.port),
            };
            let encrypted = endpoint.encrypted;
            let sender = if encrypted {
                let config = tls.lock().unwrap_or_else(PoisonError::into_inner).config(fleet);
                let config = config.map_err(|fault| unsent(&fault))?;
                let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| unsent(&error))?;
                let session = TlsConnector::from(config).connect(name, stream).await;
                handshake(Box::new(session.map_err(|error| unsent(&error))?)).await
            } else {
                handshake(Box::new(stream)).await
            };
            Ok(Self { sender: sender.map_err(|error| unsent(&error))?, authority, encrypted })
        };
        timeout(CONNECT, work).await.unwrap_or_else(|_| Err(unsent(&"connecting took too long")))
    }

    /// True when it takes no more calls.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One call with one answer.
    pub(super) async fn call(
        &mut self,
        path: &str,
        token: Option<&str>,
        message: &[u8],
        within: Duration,
    ) -> Result<Bytes, EtcdError> {
        let work = async {
            let mut stream = self.stream(path, token, message, false).await?;
            let first = stream.next().await?;
            let Some(first) = first else {
                return Err(EtcdError::lost("the answer is empty"));
            };
            Ok(first)
        };
        timeout(within, work).await.unwrap_or_else(|_| Err(EtcdError::lost("no answer in time")))
    }

    /// A call with any number of answers.
    pub(super) async fn stream(
        &mut self,
        path: &str,
        token: Option<&str>,
        message: &[u8],
        stays_open: bool,
    ) -> Result<EtcdStream, EtcdError> {
        let mut framed = Vec::with_capacity(message.len() + 5);
        framed.push(0);
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(message);
        let scheme = if self.encrypted { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("token", token);
        }
        if stays_open {
            // The stream ends when its member has lost the leader, so that another is tried.
            request = request.header("hasleader", "true");
        }
        let body = match stays_open {
            true => RequestBody::without_end(framed),
            false => RequestBody::new(framed),
        };
        let request = request.body(body).map_err(|error| EtcdError::unsent(error.to_string()))?;
        self.sender.ready().await.map_err(|error| EtcdError::unsent(error.to_string()))?;
        let response = self.sender.send_request(request).await;
        let response = response.map_err(|error| EtcdError::lost(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(EtcdError::lost(format!("HTTP status {}", response.status())));
        }
        if let Some(error) = refused(response.headers()) {
            return Err(error);
        }
        let largest = if stays_open { LARGEST_OF_STREAM } else { LARGEST };
        Ok(EtcdStream { body: response.into_body(), buffer: Vec::new(), largest })
    }
}

async fn handshake(stream: BoxedStream) -> hyper::Result<RequestSender> {
    let (sender, connection) = http2::handshake(stream, Some(KEEP_ALIVE)).await?;
    task::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to etcd has ended");
        }
    });
    Ok(sender)
}

/// The answers of a call.
pub(super) struct EtcdStream {
    body: Incoming,
    buffer: Vec<u8>,
    /// Octets of an answer.
    largest: usize,
}

impl EtcdStream {
    /// The next answer; nothing when there is none any more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, EtcdError> {
        loop {
            if let Some(&[kind, a, b, c, d]) = self.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if kind != 0 || length > self.largest {
                    return Err(EtcdError::lost(format!("an answer of {length} octets, or compressed")));
                }
                if self.buffer.len() >= 5 + length {
                    let rest = self.buffer.split_off(5 + length);
                    let message = std::mem::replace(&mut self.buffer, rest);
                    return Ok(Some(Bytes::from(message).slice(5..)));
                }
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(EtcdError::lost("the answer was cut")),
                Some(Err(error)) => return Err(EtcdError::lost(error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        if let Some(error) = frame.trailers_ref().and_then(refused) {
                            return Err(error);
                        }
                    }
                },
            }
        }
    }
}

/// What the status of a call says, where that is a failure. Of those that it may mean, only some tell that nothing was
/// done.
fn refused(headers: &HeaderMap) -> Option<EtcdError> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = text("grpc-status")?.parse::<u16>().unwrap_or(2);
    if code == 0 {
        return None;
    }
    let message = decoded(&text("grpc-message").unwrap_or_default());
    // Cancelled, unknown, deadline, aborted, internal, unavailable, data loss; or `request timed out`.
    let uncertain = matches!(code, 1 | 2 | 4 | 10 | 13 | 14 | 15);
    Some(EtcdError { code: Some(code), message, uncertain })
}

/// A message without its percent signs.
fn decoded(text: &str) -> String {
    let mut octets = text.as_bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some((octet, rest)) = octets.split_first() {
        let hex = rest.get(..2).filter(|_| *octet == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                plain.push(value);
                octets = &rest[2..];
            }
            None => {
                plain.push(*octet);
                octets = rest;
            }
        }
    }
    let text = String::from_utf8_lossy(&plain).into_owned();
    crate::engine::text::printable(&text).chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_something_may_have_been_done() {
        let with = |code: &str, message: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.parse().unwrap());
            headers.insert("grpc-message", message.parse().unwrap());
            refused(&headers)
        };
        assert_eq!(with("0", ""), None);
        assert_eq!(refused(&HeaderMap::new()), None);
        let old = with("3", "etcdserver: revision of auth store is old").unwrap();
        assert!(old.asks_for_login() && !old.uncertain);
        let lost = with("14", "etcdserver: request timed out%2C%41").unwrap();
        assert!(lost.uncertain && !lost.asks_for_login());
        assert!(lost.message.ends_with("out,A"), "{}", lost.message);
        assert!(with("16", "etcdserver: invalid auth token").unwrap().asks_for_login());
        assert!(with("11", "etcdserver: mvcc: required revision has been compacted").unwrap().is_compacted());
        assert_eq!(decoded("100%"), "100%");
    }
}
