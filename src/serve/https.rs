//! DNS over HTTPS (RFC 8484): the same questions and answers as over TCP, in other clothes. Here over HTTP/2; HTTP/3
//! has the same requests and responses.

use super::tcp::{self, Connections, HANDSHAKE_DEADLINE, MESSAGE_DEADLINE, Service};
use crate::engine::padding;
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::Message;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The media type of DNS messages.
const MESSAGE: &str = "application/dns-message";

/// The only path.
const PATH: &str = "/dns-query";

/// Octets of a request's headers; a message in the address is among them.
pub(super) const HEADERS: u32 = 16 << 10;

/// Octets of the longest body.
pub(super) const LONGEST: usize = u16::MAX as usize;

/// Serves HTTPS for the life of the process.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: Service,
    connections: Connections,
) {
    tcp::accept(listener, service, connections, |stream, peer, service| {
        let accepting = acceptor.accept(stream);
        async move { converse(timeout(HANDSHAKE_DEADLINE, accepting).await??, peer, service).await }
    })
    .await;
}

/// Answers requests until the client is done, or silent for too long.
async fn converse(stream: TlsStream<TcpStream>, peer: SocketAddr, service: Service) -> io::Result<()> {
    let idle = service.bounds.idle;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let pipeline = u32::try_from(service.bounds.pipeline).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(pipeline)
        .max_header_list_size(HEADERS)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                seen.fetch_add(1, Ordering::Relaxed);
                let service = service.clone();
                async move { Ok::<_, Infallible>(answer(request, peer, &service).await) }
            }),
        );
    let mut connection = pin!(connection);
    let mut before = 0;
    loop {
        tokio::select! {
            ended = &mut connection => return ended.map_err(io::Error::other),
            () = sleep(idle) => {
                let now = requests.load(Ordering::Relaxed);
                if now == before {
                    connection.as_mut().graceful_shutdown();
                    return timeout(idle, connection).await?.map_err(io::Error::other);
                }
                before = now;
            }
        }
    }
}

/// The response to a request as it comes over HTTP/2.
async fn answer(request: Request<Incoming>, peer: SocketAddr, service: &Service) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // Read even where nothing is made of it: a stream with octets unread is reset, and its client may miss the status.
    let body = match timeout(MESSAGE_DEADLINE, Limited::new(body, LONGEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    };
    respond(&head, body, peer, service).await.map(Full::from)
}

/// The response to a request whose body was read, or could not be.
pub(super) async fn respond(
    head: &Parts,
    body: Result<Bytes, StatusCode>,
    peer: SocketAddr,
    service: &Service,
) -> Response<Bytes> {
    let query = match body.and_then(|body| message(head, &body)) {
        Ok(query) => query,
        Err(status) => return status_only(status),
    };
    let Some(mut reply) = tcp::answer(service, &query, peer).await else {
        return status_only(StatusCode::BAD_REQUEST);
    };
    let fresh_for = Message::from_vec(&reply).map_or(0, |reply| lifetime(&reply));
    if padding::is_asked_for(&query) {
        padding::pad(&mut reply, 0);
    }
    let mut response = Response::new(Bytes::from(reply));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={fresh_for}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

/// How long caches on the way may keep an answer: its lowest TTL (RFC 8484 section 5.1).
fn lifetime(reply: &Message) -> u32 {
    reply.answers.iter().chain(&reply.authorities).map(|record| record.ttl).min().unwrap_or(0)
}

/// The message in a request, or what is wrong with it.
fn message(head: &Parts, body: &[u8]) -> Result<Vec<u8>, StatusCode> {
    if head.uri.path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match head.method {
        Method::GET => {
            let query = head.uri.query().unwrap_or_default();
            let coded = query.split('&').find_map(|part| part.strip_prefix("dns="));
            let coded = coded.ok_or(StatusCode::BAD_REQUEST)?;
            BASE64URL_NOPAD.decode(coded.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            (kind == Some(MESSAGE.as_bytes()))
                .then(|| body.to_vec())
                .ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// A response without a message.
fn status_only(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
