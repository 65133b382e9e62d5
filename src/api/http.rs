//! The gateway over HTTP/1: sockets, deadlines and limits. What a request means is not looked at here.
//!
//! Whatever is refused here is refused in JSON, for clients that cannot read anything else. Requests that a browser
//! sent for another site's page are refused, and there are no CORS headers.
//!
//! Strangers have at most `ORDINARY_BODY` octets read, as far as there is room for them in the account of all
//! connections. A longer body is a document whose digest was signed, and is read once the signature was found good.

use super::ApiError;
use super::gateway::Gateway;
use super::reply::{self, ApiReply};
use super::request::{AnswerFormat, HttpRequest};
use crate::base::accept::{AdmittedConnection, accept};
use crate::base::connections::{ConnectionPlace, Connections};
use crate::base::octets::{OF_CONNECTION, OctetKind, Octets, Reserved};
use crate::base::stream::BoxedStream;
use crate::base::task::{self, BoxedFuture};
use crate::http::browser::{self, ServerNames};
use crate::http::pages::{PageBody, PageRequest, PageSlot, Pages};
use crate::http::server::{self, HeadBounds};
use crate::http::stream::WaitingOctets;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Octets of a request's head. Everything may be in the query; 150 VPCs take about 20 KiB there.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Octets of a body beyond the limit that are read and thrown away, so that its sender gets to read the refusal
/// instead of a broken connection.
const THROWN_AWAY: usize = 64 << 20;

/// Octets of a body that are read before its signature is verified. A longer one must be a JSON document that is
/// signed by its digest.
const ORDINARY_BODY: usize = 256 << 10;

/// Octets of a request or an answer that every connection may have: whoever asks for little waits for no room.
pub const FREE: usize = 16 << 10;

/// A body is counted in steps of this many octets.
const STEP: usize = 16 << 10;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;

/// Octets that may wait on a connection: a request as it is read, or an answer as it is written.
const WAITING: usize = OF_CONNECTION + 2 * MAX_HEAD_BYTES;

/// Refusals of a page's body.
const BODY_IS_LATE: (StatusCode, &str) = (StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n");
const BODY_IS_LONG: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n");

/// How long a long document waits for others to be imported.
const TURN: Duration = Duration::from_secs(60);

/// What a server allows.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at a time; listeners that share it share the places.
    pub connections: Connections,
    /// How long a connection may be silent, and how long a request's head may take.
    pub head: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// A permit for each document or answer beyond 256 KiB that is held at a time.
    pub long_bodies: Arc<Semaphore>,
    /// Octets that wait, those of others among them.
    pub octets: Octets,
    /// The hosts that requests may name.
    pub server_names: Arc<ServerNames>,
    /// Pages beside the API.
    pub pages: PageSlot,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: Connections::of_kind(OctetKind::Api, MAX_CONNECTIONS),
            head: Duration::from_secs(30),
            body: Duration::from_secs(10),
            long_bodies: Arc::new(Semaphore::new(2)),
            octets: Octets::default(),
            server_names: Arc::new(ServerNames::default().with_api_names()),
            pages: PageSlot::default(),
        }
    }
}

/// What lies between TCP and HTTP.
pub type StreamWrap = Box<dyn Fn(TcpStream) -> BoxedFuture<io::Result<BoxedStream>> + Send + Sync>;

/// Accepts connections until it is dropped; they end with it. `wrap` is what lies between TCP and HTTP: TLS, or
/// for plain HTTP [`plain`].
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, limits: HttpLimits, wrap: StreamWrap) {
    accept(listener, "api", |stream, peer| {
        let place = Arc::new(limits.connections.admit(peer.ip(), OctetKind::Api)?);
        let _ = stream.set_nodelay(true); // slower without, no worse
        let (gateway, limits, wrapped) = (gateway.clone(), limits.clone(), wrap(stream));
        let waiting = WaitingOctets::new(&limits.octets, OctetKind::Api, WAITING);
        let (served, account) = (place.clone(), waiting.account().clone());
        let conversation = task::boxed(async move {
            if let Ok(Ok(stream)) = timeout(limits.head, wrapped).await {
                converse(stream, peer.ip(), &gateway, &limits, &served, &waiting).await;
            }
        });
        Some(AdmittedConnection { place, account, conversation })
    })
    .await;
}

/// Nothing between TCP and HTTP.
pub fn plain(stream: TcpStream) -> BoxedFuture<io::Result<BoxedStream>> {
    Box::pin(ready(Ok(Box::new(stream) as BoxedStream)))
}

/// Serves one connection to its end.
async fn converse(
    stream: BoxedStream,
    peer: IpAddr,
    gateway: &Gateway,
    limits: &HttpLimits,
    place: &ConnectionPlace,
    waiting: &Arc<WaitingOctets>,
) {
    let exchange = ApiExchange { peer, gateway, limits, waiting };
    let bounds = HeadBounds { max_bytes: MAX_HEAD_BYTES, timeout: limits.head };
    server::converse(stream, place, waiting, bounds, &|request| Box::pin(exchange.respond(request))).await;
}

/// A request and its response.
struct ApiExchange<'e> {
    peer: IpAddr,
    gateway: &'e Gateway,
    limits: &'e HttpLimits,
    waiting: &'e WaitingOctets,
}

impl ApiExchange<'_> {
    /// The response to a request.
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(pages) = self.limits.pages.of(request.uri().path()) {
            return self.page(pages, request).await;
        }
        let (head, body) = request.into_parts();
        let foreign = browser::check(&head.headers, &head.uri, &self.limits.server_names);
        let target = head.uri.query().unwrap_or_default();
        let values = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let head_size = target.len() + values.sum::<usize>();
        let mut room = Vec::new();
        if head_size > FREE {
            room.push(self.waiting.account().reserve(head_size).await);
        }
        let mut http = HttpRequest {
            method: head.method.as_str().into(),
            path: head.uri.path().chars().take(2).collect(), // one path is served
            query: target.into(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
                .collect(),
            ..HttpRequest::default()
        };
        let waits_for_word = head.headers.contains_key(header::EXPECT);
        drop(head);
        self.waiting.head_is_whole();
        if let Err(why) = foreign {
            return self.refused(ApiError::new("Forbidden.Host", why).with_status(403), &http, room).await;
        }
        if !["GET", "POST"].contains(&http.method.as_str()) {
            let error = ApiError::new("InvalidHttpMethod", "Only the methods GET and POST are supported.");
            let mut response = self.refused(error.with_status(405), &http, room).await;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            return response;
        }
        let mut reader = BodyReader { body, kept: Vec::new() };
        let ordinary = ORDINARY_BODY.min(self.gateway.body_limit());
        let announced = reader.body.size_hint().lower();
        let read = self.ordinary(&mut reader, &mut room, ordinary, FREE.saturating_sub(head_size));
        match timeout(self.limits.body, read).await {
            Err(_) => return self.refused(self.too_slow(), &http, room).await,
            Ok(Err(error)) => return self.refused(error, &http, room).await,
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return self.long(http, reader, announced, waits_for_word, room).await,
        }
        http.body = reader.kept;
        let reply = self.gateway.handle(&http, self.peer, SystemTime::now()).await;
        drop((http, room));
        self.finished(reply).await
    }

    /// Reads a body of at most `most` octets, as far as there is room; false for a longer one. `counted` of its octets
    /// are counted already.
    async fn ordinary(
        &self,
        reader: &mut BodyReader,
        room: &mut Vec<Reserved>,
        most: usize,
        mut counted: usize,
    ) -> Result<bool, ApiError> {
        if reader.body.size_hint().lower() > most as u64 {
            return Ok(false);
        }
        let account = self.waiting.account();
        while let Some(data) = reader.next().await? {
            if reader.kept.len() + data.len() > most {
                reader.kept.extend_from_slice(&data); // at most a buffer more
                return Ok(false);
            }
            account.progress();
            // In steps: a body may come octet by octet.
            if reader.kept.len() + data.len() > counted {
                let step = data.len().max(STEP);
                room.push(account.reserve(step).await);
                reader.kept.reserve_exact(step);
                counted += step;
            }
            reader.kept.extend_from_slice(&data);
        }
        Ok(true)
    }

    /// A page beside the API. Its body is bounded as that of a request without a signature.
    async fn page(&self, pages: &Arc<dyn Pages>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let values = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let head_size = values.sum::<usize>() + head.uri.query().unwrap_or_default().len();
        let mut room = Vec::new();
        if head_size > FREE {
            room.push(self.waiting.account().reserve(head_size).await);
        }
        self.waiting.head_is_whole();
        let mut reader = BodyReader { body, kept: Vec::new() };
        let read = self.ordinary(&mut reader, &mut room, ORDINARY_BODY, FREE.saturating_sub(head_size));
        let read = timeout(self.limits.body, read).await;
        let (method, uri, headers) = (head.method, head.uri, head.headers);
        let mut request = PageRequest { method, uri, headers, body: Vec::new(), peer: self.peer };
        let (refusal, permit) = match read {
            Err(_) => (Some(BODY_IS_LATE), None),
            Ok(Err(_)) => (Some((StatusCode::BAD_REQUEST, "the body is incomplete\n")), None),
            Ok(Ok(true)) => (None, None),
            Ok(Ok(false)) => match pages.long_body(&request) {
                Some(most) => self.long_page(&mut reader, most).await,
                None => (Some(BODY_IS_LONG), None),
            },
        };
        if let Some((status, why)) = refusal {
            let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
            *response.status_mut() = status;
            return closing(response);
        }
        request.body = reader.kept;
        let made = pages.respond(request);
        let (head, body) = made.await.into_parts();
        drop((room, permit));
        let body = match body {
            PageBody::Static(octets) => Bytes::from_static(octets),
            PageBody::Made(octets) => self.counted(octets).await,
        };
        Response::from_parts(head, Full::new(body))
    }

    /// Reads on in a long body of a page, of `most` octets in all, in its turn: why it is refused, or the permit for
    /// it.
    async fn long_page(
        &self,
        reader: &mut BodyReader,
        most: usize,
    ) -> (Option<(StatusCode, &'static str)>, Option<OwnedSemaphorePermit>) {
        if reader.body.size_hint().lower() > most as u64 {
            return (Some(BODY_IS_LONG), None);
        }
        let Ok(Ok(permit)) = timeout(TURN, self.limits.long_bodies.clone().acquire_owned()).await else {
            return (
                Some((StatusCode::SERVICE_UNAVAILABLE, "other long documents are being imported\n")),
                None,
            );
        };
        let read = async {
            while let Some(data) = reader.next().await? {
                reader.kept.extend_from_slice(&data);
                if reader.kept.len() > most {
                    return Ok(false);
                }
            }
            Ok::<_, ApiError>(true)
        };
        match timeout(self.limits.body, read).await {
            Err(_) => (Some(BODY_IS_LATE), None),
            Ok(Err(_)) => (Some((StatusCode::BAD_REQUEST, "the body is incomplete\n")), None),
            Ok(Ok(false)) => (Some(BODY_IS_LONG), None),
            Ok(Ok(true)) => (None, Some(permit)),
        }
    }

    /// The response to a request with a body that is too long to be read before its signature is verified.
    async fn long(
        &self,
        mut http: HttpRequest,
        mut reader: BodyReader,
        announced: u64,
        waits_for_word: bool,
        room: Vec<Reserved>,
    ) -> Response<Full<Bytes>> {
        let limit = self.gateway.body_limit();
        let error = if !http.has_document() {
            let message = format!(
                "A body of more than {} octets must be one JSON document, with the other parameters in the query.",
                ORDINARY_BODY.min(limit)
            );
            Some(ApiError::new("RequestEntityTooLarge", message).with_status(413))
        } else {
            (announced > limit as u64).then(|| too_long(limit))
        };
        let admitted = match error {
            Some(error) => {
                Err(reply::refusal(AnswerFormat::Json, &error, &http.header("host").unwrap_or_default()))
            }
            None => {
                http.body_follows = true;
                self.gateway.admit(&http, self.peer, SystemTime::now())
            }
        };
        drop(http);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(reply) => {
                reader.kept = Vec::new();
                drop(room);
                if !waits_for_word {
                    let _ = timeout(self.limits.body, reader.throw_away()).await; // enough was done for its sender
                }
                return closing(self.finished(reply).await);
            }
        };
        let Ok(Ok(permit)) = timeout(TURN, self.limits.long_bodies.clone().acquire_owned()).await else {
            let error =
                ApiError::new("ServiceUnavailable", "Other long documents are being imported; try again.");
            let reply = self.gateway.give_up(admitted, &error.with_status(503));
            drop(room);
            return closing(self.finished(reply).await);
        };
        let read = async {
            while let Some(data) = reader.next().await? {
                if reader.kept.len() + data.len() > limit {
                    reader.kept = Vec::new();
                    reader.throw_away().await;
                    return Err(too_long(limit));
                }
                reader.kept.extend_from_slice(&data);
            }
            Ok(())
        };
        let read = timeout(self.limits.body, read).await.unwrap_or_else(|_| Err(self.too_slow()));
        drop(room);
        let reply = match read {
            Ok(()) => self.gateway.finish(admitted, reader.kept).await,
            Err(error) => {
                let reply = self.gateway.give_up(admitted, &error);
                return closing(self.finished(reply).await);
            }
        };
        drop(permit);
        self.finished(reply).await
    }

    /// A refusal before the gateway. What is left of the request may be unread, so the connection ends.
    async fn refused(
        &self,
        error: ApiError,
        http: &HttpRequest,
        room: Vec<Reserved>,
    ) -> Response<Full<Bytes>> {
        let host = http.header("host").unwrap_or_default();
        let reply = reply::refusal(AnswerFormat::Json, &error, &host);
        drop(room);
        closing(self.finished(reply).await)
    }

    /// A body that does not come.
    fn too_slow(&self) -> ApiError {
        let message = format!("The body did not come within {} seconds.", self.limits.body.as_secs_f32());
        ApiError::new("RequestTimeout", message).with_status(408)
    }

    /// The octets of an answer, counted until the last of them is written.
    async fn counted(&self, body: Vec<u8>) -> Bytes {
        let room = match body.len() > FREE {
            true => Some(self.waiting.account().reserve(body.len()).await),
            false => None,
        };
        let long = match body.len() > OF_CONNECTION {
            true => self.limits.long_bodies.clone().acquire_owned().await.ok(),
            false => None,
        };
        WaitingOctets::answer(body, (room, long))
    }

    /// A reply as hyper has it.
    async fn finished(&self, reply: ApiReply) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.counted(reply.body).await));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        if let Ok(id) = HeaderValue::from_str(&reply.request_id) {
            headers.insert("x-acs-request-id", id);
        }
        if let Some(revision) = reply.revision {
            headers.insert("x-pvtzd-revision", HeaderValue::from(revision));
        }
        response
    }
}

/// A body and what was kept of it.
struct BodyReader {
    body: Incoming,
    kept: Vec<u8>,
}

impl BodyReader {
    /// The octets that come next; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.body.frame().await {
            let Ok(frame) = frame else {
                return Err(ApiError::new("IncompleteBody", "The body is incomplete."));
            };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads on, and keeps nothing.
    async fn throw_away(&mut self) {
        let mut length = 0;
        while let Ok(Some(data)) = self.next().await {
            length += data.len();
            if length > THROWN_AWAY {
                return;
            }
        }
    }
}

/// A body beyond what the service takes.
fn too_long(limit: usize) -> ApiError {
    let message = format!("The body is longer than {limit} octets.");
    ApiError::new("RequestEntityTooLarge", message).with_status(413)
}

/// The same response, after which the connection ends.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
