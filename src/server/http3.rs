//! DNS over HTTP/3: the requests and responses of [`https`], on the connections of [`quic`].

use super::connection_service::{ConnectionService, Guest, MESSAGE_DEADLINE};
use super::http3_streams::{self, BidiStream};
use super::https::{self, HEADERS, WantedMessage};
use super::quic;
use crate::base::connections::Connections;
use crate::base::octets::WRITE_DEADLINE;
use crate::engine::message::MAX_MESSAGE_BYTES;
use h3::error::StreamError;
use h3::server::{self, RequestResolver};
use hyper::StatusCode;
use hyper::body::{Buf, Bytes};
use quinn::{Connection, Endpoint};
use std::io;
use tokio::time::timeout;

/// Streams that only the client writes to: one for control and two for compressed headers (RFC 9114 section 6.2), and
/// some of unknown types, which clients may open as grease.
pub(super) const ONE_WAY_STREAMS: u32 = 8;

/// Octets of responses in flight to a client. They are copies, which its account does not include.
pub(super) const SEND_WINDOW: u64 = 16 << 10;

/// The stream of a request.
type Http3Stream = server::RequestStream<BidiStream<Bytes>, Bytes>;

/// Serves HTTP/3 for the life of the process.
pub(super) async fn serve(endpoint: Endpoint, service: ConnectionService, connections: Connections) {
    quic::accept(endpoint, service, connections, converse).await;
}

/// Answers requests until the connection ends.
async fn converse(connection: Connection, guest: Guest) {
    let mut settings = server::builder();
    settings.max_field_section_size(HEADERS.into());
    let connection = http3_streams::CountedConnection::new(connection, guest.account.clone());
    let Ok(mut http) = settings.build(connection).await else { return };
    while let Ok(Some(request)) = http.accept().await {
        let guest = guest.clone();
        tokio::spawn(async move {
            // errors of a stream are not logged
            let _ = answer(request, &guest).await;
        });
    }
}

/// Answers a request. Dropping the stream resets it after an error.
async fn answer(
    request: RequestResolver<http3_streams::CountedConnection, Bytes>,
    guest: &Guest,
) -> io::Result<()> {
    let (request, mut stream) = timeout(MESSAGE_DEADLINE, request.resolve_request()).await?.map_err(lost)?;
    let (head, ()) = request.into_parts();
    let wanted = WantedMessage::of(&head);
    drop(head); // frees its memory while the body arrives
    let body = match timeout(MESSAGE_DEADLINE, read(&mut stream)).await {
        Ok(body) => body.map_err(lost)?,
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    };
    let (head, mut reply) = https::respond(wanted, body, guest).await.into_parts();
    timeout(WRITE_DEADLINE, stream.send_response(hyper::Response::from_parts(head, ())))
        .await?
        .map_err(lost)?;
    while let Some(piece) = reply.piece() {
        timeout(WRITE_DEADLINE, stream.send_data(piece)).await?.map_err(lost)?;
        guest.account.progress();
    }
    timeout(WRITE_DEADLINE, stream.finish()).await?.map_err(lost)?;
    guest.place.took();
    Ok(())
}

fn lost(error: StreamError) -> io::Error {
    io::Error::other(error)
}

/// The body of a request, unless it is too long. [`http3_streams`] counts its octets.
async fn read(stream: &mut Http3Stream) -> Result<Result<Vec<u8>, StatusCode>, StreamError> {
    let mut body = Vec::new();
    while let Some(mut part) = stream.recv_data().await? {
        if body.len() + part.remaining() > MAX_MESSAGE_BYTES {
            return Ok(Err(StatusCode::PAYLOAD_TOO_LARGE));
        }
        body.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    Ok(Ok(body))
}
