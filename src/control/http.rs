//! The gateway over HTTP/1: sockets, deadlines and limits. What a request means is not looked at here.
//!
//! Whatever is refused here is refused in JSON, for clients that cannot read anything else. There are no CORS
//! headers, so a browser's page cannot read an answer; nor could it sign a request.

use super::gateway::Gateway;
use super::reply::{self, Reply};
use super::request::{Format, HttpRequest};
use super::{ApiError, Service};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use super::connections::{Connections, Place};

/// Octets of a request's head. Everything may be in the query; 150 VPCs take about 20 KiB there.
const HEAD: usize = 128 << 10;

/// Octets of a body beyond the limit that are read and thrown away, so that its sender gets to read the refusal
/// instead of a broken connection.
const THROWN_AWAY: usize = 64 << 20;

/// Octets of a body that every connection may have us hold. A longer one, an import, waits for one of
/// [`Limits::long_bodies`]: strangers come this far, since a signature counts only with the body that it covers.
const ORDINARY_BODY: usize = 256 << 10;

/// What a server allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; listeners that share it share the places.
    pub connections: Connections,
    /// How long a connection may be silent, and how long a request's head may take.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// A permit for each body beyond 256 KiB that is held at a time.
    pub long_bodies: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Connections::new(256),
            head: Duration::from_secs(30),
            body: Duration::from_secs(10),
            long_bodies: Arc::new(Semaphore::new(2)),
        }
    }
}

/// Accepts connections until it is dropped; they end with it. `wrap` is what lies between TCP and HTTP: TLS, or
/// for plain HTTP [`plain`].
pub async fn serve<S, W, F, T>(listener: TcpListener, gateway: Arc<Gateway<S>>, limits: Limits, wrap: W)
where
    S: Service,
    W: Fn(TcpStream) -> F,
    F: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // EMFILE and the like last: without a pause this would eat a core
                tracing::warn!(%error, "accepting a connection to the API failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = limits.connections.admit() else { continue }; // closed by being dropped
        let place = Arc::new(place);
        let _ = stream.set_nodelay(true); // slower without, no worse
        let (gateway, limits, wrapped) = (gateway.clone(), limits.clone(), wrap(stream));
        tasks.spawn(async move {
            let wrapped = tokio::select! {
                wrapped = timeout(limits.head, wrapped) => wrapped,
                () = place.taken() => return,
            };
            if let Ok(Ok(stream)) = wrapped {
                converse(stream, peer.ip(), gateway, &limits, place).await;
            }
        });
    }
}

/// Nothing between TCP and HTTP.
pub async fn plain(stream: TcpStream) -> io::Result<TcpStream> {
    Ok(stream)
}

/// Serves one connection to its end.
async fn converse<S: Service>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    gateway: Arc<Gateway<S>>,
    limits: &Limits,
    place: Arc<Place>,
) {
    let respond = service_fn(|request| {
        let (gateway, place) = (gateway.clone(), place.clone());
        async move {
            let busy = place.busy();
            let mut response = respond(request, peer, &gateway, limits).await;
            if busy.is_none() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), respond);
    tokio::select! {
        // How a connection ended is its client's affair.
        _ = connection => {}
        () = place.taken() => {}
    }
}

/// The response to one request.
async fn respond<S: Service>(
    request: Request<Incoming>,
    peer: IpAddr,
    gateway: &Gateway<S>,
    limits: &Limits,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let mut http = HttpRequest {
        method: head.method.as_str().into(),
        path: head.uri.path().into(),
        query: head.uri.query().unwrap_or_default().into(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
            .collect(),
        body: Vec::new(),
    };
    if ![Method::GET, Method::POST].contains(&head.method) {
        let error = ApiError::new("InvalidHttpMethod", "Only the methods GET and POST are supported.");
        let mut response = refused(error.with_status(405), &http);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        return response;
    }
    let waits_for_word = head.headers.contains_key(header::EXPECT);
    let patience = limits.body;
    let read = read_body(body, gateway.body_limit(), waits_for_word, &limits.long_bodies);
    let _held = match timeout(patience, read).await {
        Ok(Ok((body, permit))) => {
            http.body = body;
            permit
        }
        Ok(Err(error)) => return refused(error, &http),
        Err(_) => {
            let message = format!("The body did not come within {} seconds.", patience.as_secs_f32());
            return refused(ApiError::new("RequestTimeout", message).with_status(408), &http);
        }
    };
    finished(gateway.handle(&http, peer, SystemTime::now()).await)
}

/// The whole body, and the right to hold it if it is a long one. Of one that is too long nothing is kept.
async fn read_body(
    mut body: Incoming,
    limit: usize,
    waits_for_word: bool,
    long_bodies: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
    let too_long = || {
        let message = format!("The body is longer than {limit} octets.");
        Err(ApiError::new("RequestEntityTooLarge", message).with_status(413))
    };
    let announced = body.size_hint().lower();
    let keeps = announced <= limit as u64;
    if !keeps && waits_for_word {
        return too_long(); // "Expect: 100-continue": nothing of it was sent yet
    }
    let (mut kept, mut length, mut permit) = (Vec::new(), 0usize, None);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(ApiError::new("IncompleteBody", "The body ended before it was whole."));
        };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit && keeps {
            if length > ORDINARY_BODY && permit.is_none() {
                permit = long_bodies.clone().acquire_owned().await.ok();
            }
            kept.extend_from_slice(&data);
        } else {
            (kept, permit) = (Vec::new(), None);
        }
        if length > limit.saturating_add(THROWN_AWAY) {
            break;
        }
    }
    if length > limit { too_long() } else { Ok((kept, permit)) }
}

/// A refusal before the gateway. What is left of the request may be unread, so the connection ends.
fn refused(error: ApiError, http: &HttpRequest) -> Response<Full<Bytes>> {
    let host = http.header("host").unwrap_or_default();
    let mut response = finished(reply::refusal(Format::Json, &error, &host));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A reply as hyper has it.
fn finished(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Ok(id) = HeaderValue::from_str(&reply.request_id) {
        headers.insert("x-acs-request-id", id);
    }
    response
}
