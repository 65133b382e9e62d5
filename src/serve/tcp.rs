//! TCP, and TLS over it: pipelined queries, answered as they finish (RFC 7766, RFC 7858), within bounds that protect
//! the others.
//!
//! A connection has one task that reads and one that writes. Answers that are there at once go straight to the
//! writer; the rest become tasks, so many at most for a connection. Whoever is slow to send or to receive is
//! cut off after a while and costs nothing but its own connection.

use super::handle::{self, Transport, Waiting};
use super::lane::{Lane, Served};
use crate::engine::padding;
use crate::state::tally::Tally;
use crate::state::{Live, count};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

/// A message that has begun must be there whole within this time.
pub(super) const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);

/// A TLS session must be there within this time.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Octets of answers that are gathered into one write.
const WRITE_BUFFER: usize = 16 << 10;

/// The bounds of TCP service.
#[derive(Clone, Debug)]
pub struct TcpBounds {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client address.
    pub per_client: usize,
    /// Queries in flight on one connection.
    pub pipeline: usize,
    /// A connection without a query for this long is closed; so is one that takes no answers.
    pub idle: Duration,
}

/// What a connection is served by.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// Who answers.
    pub(super) live: Arc<Live>,
    /// Where that is counted.
    pub(super) tally: Arc<Tally>,
    /// How much at most.
    pub(super) bounds: TcpBounds,
    /// Answers to padded queries are padded: where nobody can read them, their lengths should say little too.
    pub(super) padding: bool,
}

/// Serves plain TCP for the life of the process. `connections` is shared by all listeners.
pub async fn serve(listener: TcpListener, live: Arc<Live>, bounds: TcpBounds, connections: Connections) {
    let tally = tally_of(listener.local_addr(), &live);
    let service = Service { live, tally, bounds, padding: false };
    accept(listener, service, connections, |stream, peer, service| async move {
        let (reader, writer) = stream.into_split();
        converse(reader, writer, peer, service).await
    })
    .await;
}

/// Where what is served at an address is counted; a socket that listens has one.
pub(super) fn tally_of(address: io::Result<SocketAddr>, live: &Live) -> Arc<Tally> {
    match address {
        Ok(address) => live.tallies.for_tasks(address),
        Err(_) => live.tallies.tasks.clone(),
    }
}

/// The answer to one message that came by itself; nothing if it gets none.
#[cfg(feature = "encrypted")]
pub(super) async fn answer(service: &Service, query: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    let served =
        Lane::new(&service.live, &service.tally, Transport::Tcp).serve(query, peer, None, &mut reply);
    match served {
        Served::Answered => Some(reply),
        Served::Dropped => None,
        Served::Waits(waiting) => Some(handle::in_time(&service.live, *waiting).await),
    }
}

/// Serves TLS for the life of the process.
pub(super) async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: Service,
    connections: Connections,
) {
    accept(listener, service, connections, |stream, peer, service| {
        let accepting = acceptor.accept(stream);
        async move {
            let (reader, writer) = tokio::io::split(timeout(HANDSHAKE_DEADLINE, accepting).await??);
            converse(reader, writer, peer, service).await
        }
    })
    .await;
}

/// Accepts connections, as many as the bounds allow, and has each of them conversed with by a task of its own.
pub(super) async fn accept<F>(
    listener: TcpListener,
    service: Service,
    connections: Connections,
    converse: impl Fn(TcpStream, SocketAddr, Service) -> F,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // EMFILE and the like last: without a pause this would eat a core
                tracing::warn!(%error, "accepting a TCP connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(held) = connections.admit(peer.ip(), &service.bounds) else {
            count(&service.live.counters.tcp_rejected);
            continue; // closed by being dropped
        };
        if stream.set_nodelay(true).is_err() {
            continue; // gone already
        }
        let conversation = converse(stream, peer, service.clone());
        tokio::spawn(async move {
            // how a connection ended is its client's affair
            let _ = conversation.await;
            drop(held);
        });
    }
}

/// Reads queries until the client is done, and lets every answer out before the connection closes.
async fn converse(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    service: Service,
) -> io::Result<()> {
    let (answers, outgoing) = mpsc::channel(service.bounds.pipeline.max(1));
    let writer = tokio::spawn(write_all(writer, outgoing, service.bounds.idle));
    let read = read_all(reader, peer, service, answers).await;
    // The reader's sender is gone; the writer ends when the last waiting query has sent its answer.
    let written = writer.await.unwrap_or(Ok(()));
    read.and(written)
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    peer: SocketAddr,
    service: Service,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let Service { live, bounds, .. } = &service;
    let in_flight = Arc::new(Semaphore::new(bounds.pipeline.max(1)));
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut inbox = Inbox::default();
    // When a message that is not whole yet has to be.
    let mut due: Option<Instant> = None;
    loop {
        let mut replies = Vec::new();
        let waiting = inbox.answer(&service, peer, &mut replies);
        if !replies.is_empty() {
            answers.send(replies).await.map_err(|_| gone())?;
        }
        if let Some((waiting, padded)) = waiting {
            let Ok(permit) = in_flight.clone().acquire_owned().await else { return Ok(()) };
            let (live, answers) = (live.clone(), answers.clone());
            tokio::spawn(async move {
                let reply = handle::in_time(&live, *waiting).await;
                let mut framed = Vec::with_capacity(reply.len() + 2);
                frame(&mut framed, padded, |framed| framed.extend_from_slice(&reply));
                let _ = answers.send(framed).await; // a client that has gone misses nothing
                drop(permit);
            });
            continue;
        }
        if next_message(&inbox.bytes).is_some() {
            continue; // there was more than one write holds
        }
        let now = Instant::now();
        due = if inbox.is_empty() { None } else { due.or(Some(now + MESSAGE_DEADLINE)) };
        match timeout_at(due.unwrap_or(now + bounds.idle), reader.read_buf(&mut inbox.bytes)).await {
            Ok(Ok(0)) if inbox.is_empty() => return Ok(()),
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                read?;
                if next_message(&inbox.bytes).is_some() {
                    due = None;
                }
            }
            Err(_) if inbox.is_empty() => return Ok(()), // idle for long enough
            Err(elapsed) => return Err(elapsed.into()),
        }
    }
}

/// What has come of the stream and is not answered yet.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Answers whole messages into `replies` until one has to wait; that one is handed back, with whether its answer
    /// is to be padded.
    fn answer(
        &mut self,
        service: &Service,
        peer: SocketAddr,
        replies: &mut Vec<u8>,
    ) -> Option<(Box<Waiting>, bool)> {
        let mut at = 0;
        let mut waiting = None;
        let mut lane = Lane::new(&service.live, &service.tally, Transport::Tcp);
        while let Some(packet) = next_message(&self.bytes[at..]) {
            at += 2 + packet.len();
            let padded = service.padding && padding::is_asked_for(packet);
            let served = frame(replies, padded, |replies| lane.serve(packet, peer, None, replies));
            if let Served::Waits(query) = served {
                waiting = Some((query, padded));
                break;
            }
            if replies.len() >= WRITE_BUFFER {
                break; // let them out before there are more
            }
        }
        self.bytes.drain(..at);
        waiting
    }
}

/// The whole message at the front, if it is whole (RFC 1035 section 4.2.2).
fn next_message(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Writes answers as they come, as many with one call as have come.
async fn write_all(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    patience: Duration,
) -> io::Result<()> {
    while let Some(mut replies) = outgoing.recv().await {
        while replies.len() < WRITE_BUFFER {
            let Ok(more) = outgoing.try_recv() else { break };
            replies.extend(more);
        }
        let written = async {
            writer.write_all(&replies).await?;
            writer.flush().await // TLS may hold something back
        };
        timeout(patience, written).await??;
    }
    writer.shutdown().await
}

/// Appends a message with its length before it, padded if it should be; nothing when `write` appended nothing. What
/// `write` returned.
fn frame<T>(buffer: &mut Vec<u8>, padded: bool, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = buffer.len();
    buffer.extend([0, 0]);
    let written = write(buffer);
    if padded {
        padding::pad(buffer, start + 2);
    }
    match u16::try_from(buffer.len() - start - 2) {
        Ok(length) if length > 0 => buffer[start..start + 2].copy_from_slice(&length.to_be_bytes()),
        _ => buffer.truncate(start), // no message is longer than 65535 octets: `finish` sees to it
    }
    written
}

/// Counts connections, in all and by client.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    /// A place for one more connection of a client, if the bounds leave one.
    pub(super) fn admit(&self, client: IpAddr, bounds: &TcpBounds) -> Option<Held> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&client).copied().unwrap_or(0);
        if all >= bounds.connections || own >= bounds.per_client {
            return None;
        }
        open.insert(client, own + 1);
        Some(Held { connections: self.clone(), client })
    }

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

/// The place of a connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    connections: Connections,
    client: IpAddr,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_by_client() {
        let bounds = TcpBounds { connections: 3, per_client: 2, pipeline: 1, idle: Duration::from_secs(1) };
        let connections = Connections::default();
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held = (connections.admit(one, &bounds), connections.admit(one, &bounds));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(connections.admit(one, &bounds).is_none(), "this client has enough");
        let third = connections.admit(two, &bounds);
        assert!(third.is_some());
        assert!(connections.admit(two, &bounds).is_none(), "all are taken");
        drop(held);
        assert_eq!(connections.count(), 1);
    }
}
