//! DNS over HTTPS (RFC 8484), with the answering path of TCP. This module serves HTTP/2; HTTP/3 uses the same requests
//! and responses.

use super::connection_service::{
    self, ConnectionService, Guest, HANDSHAKE_DEADLINE, MESSAGE_DEADLINE, TLS_BUFFER,
};
use super::tcp;
use crate::base::connections::{Connections, Writing};
use crate::base::octets::{OF_CONNECTION, Reserved, WRITE_DEADLINE};
use crate::engine::message::MAX_MESSAGE_BYTES;
use crate::engine::{padding, wire};
use data_encoding::BASE64URL_NOPAD;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The media type of DNS messages.
const MESSAGE: &str = "application/dns-message";

/// The only path.
const PATH: &str = "/dns-query";

/// Maximum octets of a request's headers, as counted by RFC 9113 section 6.5.2, including a message in the URI.
pub(super) const HEADERS: u32 = 2 << 10;

/// Concurrent requests on one connection. The HTTP/2 library cannot raise the limit later, so that it is a number that
/// is cheap for every connection; a client with more requests waits for a round trip.
const STREAMS: u32 = 16;

/// Octets that a request counts as while it waits for its body.
pub(super) const REQUEST: usize = 8 << 10;

/// Octets of a body that do not count.
const SHORT: usize = 4 << 10;

/// Flow control windows: of one body, and of the connection. Bodies that wait for room must not use up the window of
/// others.
const WINDOW: (u32, u32) = (4 << 10, STREAMS * (4 << 10));

/// Octets of a response that are passed to the connection at a time.
const PIECE: usize = 8 << 10;

/// Interval at which a connection is checked.
pub(super) const LOOK: Duration = Duration::from_millis(2500);

/// Serves HTTPS for the life of the process.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: ConnectionService,
    connections: Connections,
) {
    tcp::accept(listener, "https", service, connections, OF_CONNECTION, |stream, guest| {
        let accepting = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER)));
        async move { converse(timeout(HANDSHAKE_DEADLINE, accepting).await??, guest).await }
    })
    .await;
}

/// Answers requests until the connection ends or is idle for too long.
async fn converse(stream: TlsStream<TcpStream>, guest: Guest) -> io::Result<()> {
    let patience = guest.service.bounds.idle;
    let pipeline = u32::try_from(guest.service.bounds.pipeline).unwrap_or(u32::MAX);
    let answering = guest.clone();
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(pipeline.min(STREAMS))
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .max_send_buf_size(PIECE)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let guest = answering.clone();
                async move { Ok::<_, Infallible>(answer(request, &guest).await) }
            }),
        );
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            ended = &mut connection => return ended.map_err(io::Error::other),
            () = sleep(guest.next_look()) => {
                if guest.account.stalled() >= patience.min(WRITE_DEADLINE) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                if guest.place.idle().is_some_and(|idle| idle >= patience) {
                    connection.as_mut().graceful_shutdown();
                    return timeout(LOOK, connection).await?.map_err(io::Error::other);
                }
            }
        }
    }
}

impl Guest {
    /// The next check whether the client sends queries and reads its answers.
    pub(super) fn next_look(&self) -> Duration {
        let patience = self.service.bounds.idle;
        let left = self.place.idle().map_or(patience, |idle| patience.saturating_sub(idle));
        left.clamp(Duration::from_millis(1), LOOK)
    }
}

/// The response to an HTTP/2 request.
async fn answer(request: Request<Incoming>, guest: &Guest) -> Response<HttpsReply> {
    let (head, body) = request.into_parts();
    let wanted = WantedMessage::of(&head);
    drop(head); // frees its memory while the body arrives
    let body = if body.is_end_stream() { Ok(Vec::new()) } else { Box::pin(awaited(body, guest)).await };
    respond(wanted, body, guest).await
}

/// The body of a request, within [`MESSAGE_DEADLINE`]. It counts while it is incomplete.
async fn awaited(body: Incoming, guest: &Guest) -> Result<Vec<u8>, StatusCode> {
    let mut reading = pin!(read(body, guest));
    if let Some(body) = reading.as_mut().now_or_never() {
        return body;
    }
    let _held = guest.account.hold(REQUEST).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    timeout(MESSAGE_DEADLINE, reading).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// The body of a request. Read even if it is not used: a stream with unread octets is reset, and its client may miss
/// the status.
async fn read(mut body: Incoming, guest: &Guest) -> Result<Vec<u8>, StatusCode> {
    let mut octets = Vec::new();
    let mut held = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Some(data) = frame.data_ref() else { continue };
        let length = octets.len() + data.len();
        if length > MAX_MESSAGE_BYTES {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if length > SHORT && held.is_none() {
            held = Some(guest.account.reserve(MAX_MESSAGE_BYTES).await); // no further octets are read meanwhile
            octets.reserve_exact(MAX_MESSAGE_BYTES);
        }
        octets.extend_from_slice(data);
    }
    Ok(octets)
}

/// The request, according to its headers.
#[derive(Debug)]
pub(super) enum WantedMessage {
    /// A message in the URI.
    Answer(Vec<u8>),
    /// A message in the body.
    AnswerToBody,
    /// An invalid request.
    Refused(StatusCode),
}

impl WantedMessage {
    /// Parses the headers of a request.
    pub(super) fn of(head: &Parts) -> Self {
        if head.uri.path() != PATH {
            return Self::Refused(StatusCode::NOT_FOUND);
        }
        match head.method {
            Method::GET => {
                let query = head.uri.query().unwrap_or_default();
                let coded = query.split('&').find_map(|part| part.strip_prefix("dns="));
                match coded.map(|coded| BASE64URL_NOPAD.decode(coded.as_bytes())) {
                    Some(Ok(message)) => Self::Answer(message),
                    _ => Self::Refused(StatusCode::BAD_REQUEST),
                }
            }
            Method::POST => {
                let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
                if kind == Some(MESSAGE.as_bytes()) {
                    Self::AnswerToBody
                } else {
                    Self::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                }
            }
            _ => Self::Refused(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// The response to a request after its body.
pub(super) async fn respond(
    wanted: WantedMessage,
    body: Result<Vec<u8>, StatusCode>,
    guest: &Guest,
) -> Response<HttpsReply> {
    let query = match (wanted, body) {
        (_, Err(status)) | (WantedMessage::Refused(status), _) => return status_only(status),
        (WantedMessage::Answer(query), _) => query,
        (WantedMessage::AnswerToBody, Ok(query)) => query,
    };
    let asking = guest.place.asking();
    let Some((mut reply, held)) = connection_service::answer(guest, &query).await else {
        return status_only(StatusCode::BAD_REQUEST);
    };
    let fresh_for = lifetime(&reply);
    if padding::is_asked_for(&query) {
        padding::pad(&mut reply, 0);
    }
    let writing = guest.place.writing();
    drop(asking);
    let mut response = Response::new(HttpsReply { octets: counted(reply, held), writing: Some(writing) });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={fresh_for}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

/// Octets that count until all parts of them are dropped.
pub(super) fn counted(octets: Vec<u8>, held: Reserved) -> Bytes {
    struct Counted(Vec<u8>, #[expect(dead_code, reason = "given back when dropped")] Reserved);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Counted(octets, held))
}

/// The body of a response. It is sent in pieces, to detect whether the client reads it.
#[derive(Debug)]
pub(super) struct HttpsReply {
    /// The octets that are not passed to the connection yet.
    pub(super) octets: Bytes,
    /// Pieces that the connection is sending.
    writing: Option<Writing>,
}

impl HttpsReply {
    /// The next piece; records that the previous one was sent.
    pub(super) fn piece(&mut self) -> Option<Bytes> {
        if let Some(writing) = &self.writing {
            writing.progress();
        }
        let length = self.octets.len().min(PIECE);
        (length > 0).then(|| self.octets.split_to(length))
    }
}

impl Body for HttpsReply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.len() as u64)
    }
}

/// The lifetime of an answer in HTTP caches: its lowest TTL (RFC 8484 section 5.1).
fn lifetime(reply: &[u8]) -> u32 {
    let Some((_, places)) = wire::places(reply) else { return 0 };
    let count = |at: usize| usize::from(u16::from_be_bytes([reply[at], reply[at + 1]]));
    let ttl =
        |at: usize| reply.get(at..).and_then(|rest| rest.first_chunk()).map(|ttl| u32::from_be_bytes(*ttl));
    let counted = places.iter().take(count(6) + count(8)); // records of the answer and authority sections
    counted.filter_map(|place| ttl(place.ttl)).min().unwrap_or(0)
}

/// A response without a message.
fn status_only(status: StatusCode) -> Response<HttpsReply> {
    let mut response = Response::new(HttpsReply { octets: Bytes::new(), writing: None });
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, Message, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    #[test]
    fn an_answer_may_be_kept_for_its_lowest_ttl() {
        let name = Name::from_ascii("www.example.").unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(name.clone(), RecordType::A));
        message.set_edns(Edns::new());
        assert_eq!(lifetime(&message.to_vec().unwrap()), 0);
        let record = |ttl| Record::from_rdata(name.clone(), ttl, RData::A(A::new(192, 0, 2, 1)));
        message.answers.extend([record(60), record(30)]);
        assert_eq!(lifetime(&message.to_vec().unwrap()), 30, "the OPT record has none");
        message.authorities.push(record(7));
        assert_eq!(lifetime(&message.to_vec().unwrap()), 7);
        assert_eq!(lifetime(&[0; 3]), 0);
    }

    #[test]
    fn data_that_the_message_library_cannot_decode_have_a_lifetime_too() {
        let question = [1, b'x', 0];
        let mut reply = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        reply.extend(question);
        reply.extend([3, 0xe8, 0, 1]);
        reply.extend([0xc0, 12, 3, 0xe8, 0, 1, 0, 0, 0, 60, 0, 0]); // TYPE1000 without data
        assert_eq!(lifetime(&reply), 60);
        // CSYNC with flags that are not assigned
        let csync = [0xc0, 12, 0, 62, 0, 1, 0, 0, 0, 30, 0, 6, 0, 0, 0, 0, 0xff, 0xff];
        reply.extend(csync);
        reply[7] = 2;
        assert!(Message::from_vec(&reply).is_err(), "else this shows nothing");
        assert_eq!(lifetime(&reply), 30);
    }
}
