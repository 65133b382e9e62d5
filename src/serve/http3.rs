//! DNS over HTTP/3: the requests and responses of [`https`], on the connections of [`quic`].

use super::https::{self, HEADERS, LONGEST};
use super::quic;
use super::tcp::{Connections, MESSAGE_DEADLINE, Service};
use h3::error::StreamError;
use h3::server::{self, RequestResolver};
use hyper::StatusCode;
use hyper::body::{Buf, Bytes};
use quinn::{Connection, Endpoint};
use std::net::SocketAddr;
use tokio::time::timeout;

/// Streams that only the client writes to: one for control and two for compressed headers (RFC 9114 section 6.2), and
/// some of kinds that nobody knows, as clients open to see whether that does harm.
pub(super) const ONE_WAY_STREAMS: u32 = 8;

/// A request's stream.
type Stream = server::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// Serves HTTP/3 for the life of the process.
pub(super) async fn serve(endpoint: Endpoint, service: Service, connections: Connections) {
    quic::accept(endpoint, service, connections, converse).await;
}

/// Answers requests until the client is done.
async fn converse(connection: Connection, service: Service) {
    let peer = connection.remote_address();
    let mut settings = server::builder();
    settings.max_field_section_size(HEADERS.into());
    let Ok(mut http) = settings.build(h3_quinn::Connection::new(connection)).await else { return };
    while let Ok(Some(request)) = http.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            // how a stream ended is its client's affair
            let _ = timeout(service.bounds.idle, answer(request, peer, &service)).await;
        });
    }
}

/// Answers a request.
async fn answer(
    request: RequestResolver<h3_quinn::Connection, Bytes>,
    peer: SocketAddr,
    service: &Service,
) -> Result<(), StreamError> {
    let (request, mut stream) = request.resolve_request().await?;
    let (head, ()) = request.into_parts();
    let body = match timeout(MESSAGE_DEADLINE, read(&mut stream)).await {
        Ok(body) => body?,
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    };
    let (head, body) = https::respond(&head, body, peer, service).await.into_parts();
    stream.send_response(hyper::Response::from_parts(head, ())).await?;
    if !body.is_empty() {
        stream.send_data(body).await?;
    }
    stream.finish().await
}

/// The body of a request, unless it is too long.
async fn read(stream: &mut Stream) -> Result<Result<Bytes, StatusCode>, StreamError> {
    let mut body = Vec::new();
    while let Some(mut part) = stream.recv_data().await? {
        if body.len() + part.remaining() > LONGEST {
            return Ok(Err(StatusCode::PAYLOAD_TOO_LARGE));
        }
        body.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    Ok(Ok(body.into()))
}
