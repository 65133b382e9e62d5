//! DNS over QUIC (RFC 9250), with a stream for each query, and QUIC connections in general, which HTTP/3 uses too.
//! Early data (0-RTT), which could be replayed, are not accepted.

use super::connection_service::{
    self, ConnectionService, Guest, HANDSHAKE_DEADLINE, MESSAGE_DEADLINE, TcpBounds,
};
use super::https::{REQUEST, counted};
use crate::base::connections::Connections;
use crate::base::octets::{OF_CONNECTION, WRITE_DEADLINE};
use crate::engine::padding;
use futures_util::FutureExt;
use hyper::body::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, ReadExactError, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use std::io;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::Arc;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls;

/// The client violated the protocol (RFC 9250 section 4.3).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

/// The connection is closed for a new one, or because its client reads nothing (DOQ_EXCESSIVE_LOAD).
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Concurrent streams of a new connection. For each time the client has read this many answers, the limit grows by this
/// number, up to `tcp_pipeline`.
const STREAMS: usize = 16;

/// Flow control windows: of a stream, and of a connection. Streams that wait for room must not use up the window of
/// others.
const WINDOW: (u32, u32) = (4 << 10, STREAMS as u32 * (4 << 10));

/// Octets of answers in flight to a client: the longest message and its length prefix.
pub(super) const SEND_WINDOW: u64 = 66 << 10;

/// Maximum octets of a datagram.
const DATAGRAM: u16 = 1472;

/// Octets of a query that do not count.
const SHORT: usize = 2 << 10;

/// Limits for connections that wait to be accepted, and for the octets of their first datagrams.
const INCOMING: (usize, u64) = (256, 256 << 10);

/// An endpoint on a socket, with a limit of unidirectional client streams and of octets in flight. Must be called
/// within a tokio runtime.
///
/// # Errors The socket or the certificate is not usable.
pub(super) fn endpoint(
    socket: UdpSocket,
    config: Arc<rustls::ServerConfig>,
    bounds: &TcpBounds,
    (one_way_streams, send_window): (u32, u64),
) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(config).map_err(io::Error::other)?;
    let mut limits = TransportConfig::default();
    limits.max_concurrent_bidi_streams(streams(STREAMS.min(bounds.pipeline)));
    limits.max_concurrent_uni_streams(VarInt::from_u32(one_way_streams));
    limits.stream_receive_window(VarInt::from_u32(WINDOW.0));
    limits.receive_window(VarInt::from_u32(WINDOW.1));
    limits.send_window(send_window);
    limits.datagram_receive_buffer_size(None);
    limits.max_idle_timeout(IdleTimeout::try_from(bounds.idle).ok());
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(limits));
    config.max_incoming(INCOMING.0);
    config.incoming_buffer_size(INCOMING.1 / 4);
    config.incoming_buffer_size_total(INCOMING.1);
    let mut shared = EndpointConfig::default();
    shared.max_udp_payload_size(DATAGRAM).map_err(io::Error::other)?;
    Endpoint::new(shared, Some(config), socket, Arc::new(TokioRuntime))
}

fn streams(count: usize) -> VarInt {
    VarInt::try_from(count as u64).unwrap_or(VarInt::MAX)
}

/// Serves DNS over QUIC for the life of the process.
pub(super) async fn serve(endpoint: Endpoint, service: ConnectionService, connections: Connections) {
    accept(endpoint, service, connections, converse).await;
}

/// Accepts connections for the life of the process, within the limits.
pub(super) async fn accept<F>(
    endpoint: Endpoint,
    service: ConnectionService,
    connections: Connections,
    converse: fn(Connection, Guest) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(incoming) = endpoint.accept().await {
        let peer = incoming.remote_address();
        if !service.allows(peer) {
            incoming.ignore(); // the address may be spoofed
            continue;
        }
        // An unvalidated address may be spoofed: it is validated before the connection counts.
        if !incoming.remote_address_validated() {
            let _ = incoming.retry(); // fails only for validated addresses
            continue;
        }
        let Some(guest) = service.admit(peer, &connections, OF_CONNECTION) else {
            incoming.refuse();
            continue;
        };
        let client = guest.clone();
        let conversation = async move {
            if let Ok(Ok(connection)) = timeout(HANDSHAKE_DEADLINE, incoming).await {
                let _closing = Closing(connection.clone());
                tokio::select! {
                    () = converse(connection.clone(), guest.clone()) => {}
                    () = watch(&connection, &guest) => {}
                }
            }
            Ok(())
        };
        client.admitted(conversation).serve();
    }
}

/// Closes a connection when its task ends, independently of the tasks of its streams.
#[derive(Debug)]
struct Closing(Connection);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close(EXCESSIVE_LOAD, b""); // has no effect if it is already closed
    }
}

/// Returns when the connection has been idle for too long, or the client does not read its answers. Raises the stream
/// limit while it does.
async fn watch(connection: &Connection, guest: &Guest) {
    let bounds = &guest.service.bounds;
    let mut allowed = STREAMS;
    loop {
        sleep(guest.next_look()).await;
        if guest.account.stalled() >= bounds.idle.min(WRITE_DEADLINE) {
            return;
        }
        if guest.place.idle().is_some_and(|idle| idle >= bounds.idle) {
            connection.close(VarInt::from_u32(0), b"idle");
            return;
        }
        if allowed < bounds.pipeline && guest.place.taken() >= allowed {
            allowed = (allowed + STREAMS).min(bounds.pipeline);
            connection.set_max_concurrent_bi_streams(streams(allowed));
        }
    }
}

/// Answers streams until the connection ends.
async fn converse(connection: Connection, guest: Guest) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (connection, guest) = (connection.clone(), guest.clone());
        tokio::spawn(async move {
            // errors of a stream are not logged
            let _ = answer(connection, send, receive, &guest).await;
        });
    }
}

/// Answers the query of a stream.
async fn answer(
    connection: Connection,
    mut send: SendStream,
    mut receive: RecvStream,
    guest: &Guest,
) -> io::Result<()> {
    let mut reading = pin!(read(&mut receive, guest));
    let read = match reading.as_mut().now_or_never() {
        Some(read) => read,
        None => {
            let _held = guest.account.hold(REQUEST).ok_or(io::ErrorKind::OutOfMemory)?;
            timeout(MESSAGE_DEADLINE, reading).await?
        }
    };
    let query = match read {
        Ok(query) => query,
        Err(Unread::Lost) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(Unread::Wrong(why)) => {
            connection.close(PROTOCOL_ERROR, why.as_bytes());
            return Ok(());
        }
    };
    let asking = guest.place.asking();
    let Some((mut reply, held)) = connection_service::answer(guest, &query).await else {
        return Ok(()); // dropping the stream resets it
    };
    if padding::is_asked_for(&query) {
        padding::pad(&mut reply, 0);
    }
    let writing = guest.place.writing();
    drop(asking);
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let mut pieces = [Bytes::copy_from_slice(&length.to_be_bytes()), counted(reply, held)];
    let mut rest = pieces.as_mut_slice();
    while !rest.is_empty() {
        let written = timeout(WRITE_DEADLINE, send.write_chunks(rest)).await;
        let Ok(written) = written else {
            connection.close(EXCESSIVE_LOAD, b"the client does not read its answers");
            return Err(io::ErrorKind::TimedOut.into());
        };
        rest = &mut rest[written.map_err(io::Error::other)?.chunks..];
        guest.account.progress();
        writing.progress();
    }
    send.finish().map_err(io::Error::other)?;
    // Unacknowledged octets are still in memory.
    match timeout(WRITE_DEADLINE, send.stopped()).await {
        Ok(_) => guest.place.took(),
        Err(_) => connection.close(EXCESSIVE_LOAD, b"the client does not read its answers"),
    }
    Ok(())
}

/// Why there is no query.
#[derive(Debug)]
enum Unread {
    /// The client is gone, or there is no room.
    Lost,
    /// The stream is not one length-prefixed message.
    Wrong(&'static str),
}

impl From<ReadExactError> for Unread {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Wrong(
                "a stream must contain one message with a \
                                                             length prefix",
            ),
            ReadExactError::ReadError(_) => Self::Lost,
        }
    }
}

/// The message of a stream.
async fn read(receive: &mut RecvStream, guest: &Guest) -> Result<Vec<u8>, Unread> {
    let mut length = [0; 2];
    receive.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    let _held = match length {
        ..=SHORT => None,
        _ => Some(guest.account.hold(length).ok_or(Unread::Lost)?),
    };
    let mut query = vec![0; length];
    receive.read_exact(&mut query).await?;
    match receive.read(&mut [0]).await {
        Ok(None) => {}
        Ok(Some(_)) => return Err(Unread::Wrong("a stream must contain one message with a length prefix")),
        Err(_) => return Err(Unread::Lost),
    }
    if !query.starts_with(&[0, 0]) {
        return Err(Unread::Wrong("the message id must be 0"));
    }
    Ok(query)
}
