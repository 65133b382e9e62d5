//! DNS over QUIC (RFC 9250): a stream for each question; and the connections of QUIC, which HTTP/3 uses too. Early data
//! (0-RTT), which could be replayed, is not taken.

use super::tcp::{self, Connections, HANDSHAKE_DEADLINE, MESSAGE_DEADLINE, Service, TcpBounds};
use crate::engine::padding;
use crate::state::count;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, RecvStream, SendStream, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_rustls::rustls;

/// The longest message with its length before it.
const LONGEST: usize = 65_537;

/// The client has not kept to the protocol (RFC 9250 section 4.3).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

/// An endpoint on a socket, for connections on which the client may open so many streams that only it writes to. Must
/// be called within a tokio runtime.
///
/// # Errors
/// The socket or the certificate is not fit for it.
pub(super) fn endpoint(
    socket: UdpSocket,
    config: Arc<rustls::ServerConfig>,
    bounds: &TcpBounds,
    one_way_streams: u32,
) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(config).map_err(io::Error::other)?;
    let mut limits = TransportConfig::default();
    let streams = VarInt::try_from(bounds.pipeline as u64).unwrap_or(VarInt::MAX);
    limits.max_concurrent_bidi_streams(streams);
    limits.max_concurrent_uni_streams(VarInt::from_u32(one_way_streams));
    limits.stream_receive_window(VarInt::from_u32(LONGEST as u32));
    limits.max_idle_timeout(IdleTimeout::try_from(bounds.idle).ok());
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(limits));
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// Serves DNS over QUIC for the life of the process.
pub(super) async fn serve(endpoint: Endpoint, service: Service, connections: Connections) {
    accept(endpoint, service, connections, converse).await;
}

/// Takes connections for the life of the process, as many as there may be, each for a conversation.
pub(super) async fn accept<F>(
    endpoint: Endpoint,
    service: Service,
    connections: Connections,
    converse: fn(Connection, Service) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(incoming) = endpoint.accept().await {
        // An address that was not proven may be somebody else's: it costs a round trip to have a place in the bounds.
        if !incoming.remote_address_validated() {
            let _ = incoming.retry(); // fails for validated ones alone
            continue;
        }
        let Some(held) = connections.admit(incoming.remote_address().ip(), &service.bounds) else {
            count(&service.live.counters.tcp_rejected);
            incoming.refuse();
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            if let Ok(Ok(connection)) = timeout(HANDSHAKE_DEADLINE, incoming).await {
                converse(connection, service).await;
            }
            drop(held);
        });
    }
}

/// Answers streams until the client is done.
async fn converse(connection: Connection, service: Service) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (connection, service) = (connection.clone(), service.clone());
        tokio::spawn(async move {
            // how a stream ended is its client's affair
            let _ = timeout(service.bounds.idle, answer(connection, send, receive, &service)).await;
        });
    }
}

/// Answers the question of a stream.
async fn answer(
    connection: Connection,
    mut send: SendStream,
    mut receive: RecvStream,
    service: &Service,
) -> io::Result<()> {
    let stream = timeout(MESSAGE_DEADLINE, receive.read_to_end(LONGEST)).await?.map_err(io::Error::other)?;
    let whole = stream.split_first_chunk::<2>();
    let Some((_, query)) =
        whole.filter(|(length, rest)| usize::from(u16::from_be_bytes(**length)) == rest.len())
    else {
        connection.close(PROTOCOL_ERROR, b"one message in a stream, behind its length");
        return Ok(());
    };
    if !query.starts_with(&[0, 0]) {
        connection.close(PROTOCOL_ERROR, b"the message id must be 0");
        return Ok(());
    }
    let Some(mut reply) = tcp::answer(service, query, connection.remote_address()).await else {
        return Ok(()); // the stream is reset by being dropped
    };
    if padding::is_asked_for(query) {
        padding::pad(&mut reply, 0);
    }
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    send.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat()).await?;
    send.finish().map_err(io::Error::other)
}
