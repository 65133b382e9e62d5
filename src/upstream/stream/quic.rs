//! DNS over QUIC to a server (RFC 9250): one connection, a stream for each question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, ConnectError, Connection, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::pki_types::ServerName;

use super::state::{ConnectionState, IDLE, StreamQuery, TIMEOUT, closed, watched};
use crate::upstream::tls::{HANDSHAKE_TIMEOUT, Trust};
use crate::upstream::{AttemptError, transport};

/// The name of DNS over QUIC among protocols (RFC 9250 section 4.1).
const DOQ: &[u8] = b"doq";
/// The longest message with its length before it.
const MAX_FRAME_BYTES: usize = 65_537;
/// No error (RFC 9250 section 4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// Connects, and sends queries as they arrive until one side closes the connection.
pub(super) async fn talk(
    server: SocketAddr,
    name: &ServerName<'static>,
    trust: &Trust,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    state: &Arc<ConnectionState>,
) -> AttemptError {
    let (endpoint, connection) = match connect(server, name, trust).await {
        Ok(connected) => connected,
        Err(outcome) => return outcome,
    };
    let mut idle_at = Instant::now() + IDLE;
    let ended = loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(question) = question else { break closed() };
                tokio::spawn(ask(connection.clone(), question, state.clone()));
                idle_at = Instant::now() + IDLE;
            }
            error = connection.closed() => break explain(&error),
            () = sleep_until(idle_at) => {
                if state.waiting.load(Ordering::Relaxed) == 0 {
                    break closed();
                }
                idle_at = Instant::now() + IDLE;
            }
        }
    };
    connection.close(NO_ERROR, b"");
    let _ = timeout(HANDSHAKE_TIMEOUT, endpoint.wait_idle()).await; // a courtesy
    ended
}

/// A connection, and the endpoint that it needs.
async fn connect(
    server: SocketAddr,
    name: &ServerName<'static>,
    trust: &Trust,
) -> Result<(Endpoint, Connection), AttemptError> {
    let crypto = QuicClientConfig::try_from(trust.config(Some(DOQ))?)
        .map_err(|error| AttemptError::Tls(error.to_string()))?;
    let mut limits = TransportConfig::default();
    limits.max_idle_timeout(IdleTimeout::try_from(IDLE + TIMEOUT).ok());
    limits.max_concurrent_bidi_streams(VarInt::from_u32(0)); // servers open none
    limits.max_concurrent_uni_streams(VarInt::from_u32(0));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(limits));
    let local = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let endpoint = Endpoint::client((local, 0).into()).map_err(|error| transport::classify(&error))?;
    let connecting = endpoint.connect_with(config, server, &name.to_str()).map_err(|error| match error {
        ConnectError::InvalidServerName(_) => AttemptError::Tls(error.to_string()),
        error => AttemptError::Local(error.to_string()),
    })?;
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(AttemptError::TimedOut),
    }
}

/// One question. Its id is 0 on the way (RFC 9250 section 4.2.1).
async fn ask(connection: Connection, question: StreamQuery, state: Arc<ConnectionState>) {
    let StreamQuery { mut message, reply } = question;
    let Some(id) = message.first_chunk::<2>().copied() else { return };
    message[..2].fill(0);
    let answer = watched(&state, exchange(connection, message)).await;
    let answer = answer.map(|mut answer| {
        if answer.len() >= 2 {
            answer[..2].copy_from_slice(&id);
        }
        answer
    });
    let _ = reply.send(answer); // who has gone misses nothing
}

/// One stream: the question and its answer, each behind its length.
async fn exchange(connection: Connection, message: Vec<u8>) -> Result<Vec<u8>, AttemptError> {
    let length = u16::try_from(message.len()).map_err(|error| AttemptError::Local(error.to_string()))?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| explain(&error))?;
    let broken = |error: &dyn std::fmt::Display| AttemptError::Network(format!("QUIC: {error}"));
    let framed = [&length.to_be_bytes(), message.as_slice()].concat();
    send.write_all(&framed).await.map_err(|error| broken(&error))?;
    send.finish().map_err(|error| broken(&error))?;
    let mut reply = receive.read_to_end(MAX_FRAME_BYTES).await.map_err(|error| broken(&error))?;
    match reply.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) {
        Some(length) if length + 2 == reply.len() => Ok(reply.split_off(2)),
        _ => Err(AttemptError::Garbled),
    }
}

/// What an error of a connection is to a person.
fn explain(error: &ConnectionError) -> AttemptError {
    match error {
        ConnectionError::TimedOut => AttemptError::TimedOut,
        ConnectionError::TransportError(error) if (0x100..0x200).contains(&u64::from(error.code)) => {
            AttemptError::Tls(error.reason.clone())
        }
        ConnectionError::LocallyClosed | ConnectionError::ApplicationClosed(_) => closed(),
        error => AttemptError::Network(format!("QUIC: {error}")),
    }
}
