//! TCP: pipelined queries, answered as they finish (RFC 7766), within bounds that protect the others.
//!
//! A connection has one task that reads and one that writes. Answers that are there at once go straight to the
//! writer; the rest become tasks, so many at most for a connection. Whoever is slow to send or to receive is
//! cut off after a while and costs nothing but its own connection.

use super::handle::{self, Outcome, Transport, Waiting};
use super::lane::Lane;
use crate::state::{Live, count};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

/// A message that has begun must be there whole within this time.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);

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

/// Accepts connections for the life of the process. `connections` is shared by all listeners.
pub async fn serve(listener: TcpListener, live: Arc<Live>, bounds: TcpBounds, connections: Connections) {
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
        let Some(held) = connections.admit(peer.ip(), &bounds) else {
            count(&live.counters.tcp_rejected);
            continue; // closed by being dropped
        };
        let (live, bounds) = (live.clone(), bounds.clone());
        tokio::spawn(async move {
            // how a connection ended is its client's affair
            let _ = converse(stream, peer, live, bounds).await;
            drop(held);
        });
    }
}

/// Reads queries until the client is done, and lets every answer out before the connection closes.
async fn converse(stream: TcpStream, peer: SocketAddr, live: Arc<Live>, bounds: TcpBounds) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (answers, outgoing) = mpsc::channel(bounds.pipeline.max(1));
    let writer = tokio::spawn(write_all(writer, outgoing, bounds.idle));
    let read = read_all(reader, peer, live, &bounds, answers).await;
    // The reader's sender is gone; the writer ends when the last waiting query has sent its answer.
    let written = writer.await.unwrap_or(Ok(()));
    read.and(written)
}

async fn read_all(
    mut reader: OwnedReadHalf,
    peer: SocketAddr,
    live: Arc<Live>,
    bounds: &TcpBounds,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let in_flight = Arc::new(Semaphore::new(bounds.pipeline.max(1)));
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut inbox = Inbox::default();
    // When a message that is not whole yet has to be.
    let mut due: Option<Instant> = None;
    loop {
        let mut replies = Vec::new();
        let waiting = inbox.answer(&live, peer, &mut replies);
        if !replies.is_empty() {
            answers.send(replies).await.map_err(|_| gone())?;
        }
        if let Some(waiting) = waiting {
            let Ok(permit) = in_flight.clone().acquire_owned().await else { return Ok(()) };
            let (live, answers) = (live.clone(), answers.clone());
            tokio::spawn(async move {
                let reply = handle::in_time(&live, *waiting).await;
                let mut framed = Vec::with_capacity(reply.len() + 2);
                frame(&mut framed, |framed| framed.extend_from_slice(&reply));
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

    /// Answers whole messages into `replies` until one has to wait; that one is handed back.
    fn answer(&mut self, live: &Arc<Live>, peer: SocketAddr, replies: &mut Vec<u8>) -> Option<Box<Waiting>> {
        let mut at = 0;
        let mut waiting = None;
        let mut lane = Lane::new(live);
        while let Some(packet) = next_message(&self.bytes[at..]) {
            at += 2 + packet.len();
            let known = frame(replies, |replies| lane.answer(packet, peer.ip(), Transport::Tcp, replies));
            if known {
                continue;
            }
            match handle::at_once(live, packet, peer.ip(), Transport::Tcp) {
                Outcome::Drop => {}
                Outcome::Reply(reply) => frame(replies, |replies| replies.extend_from_slice(&reply)),
                Outcome::Wait(query) => {
                    waiting = Some(query);
                    break;
                }
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
    mut writer: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    patience: Duration,
) -> io::Result<()> {
    while let Some(mut replies) = outgoing.recv().await {
        while replies.len() < WRITE_BUFFER {
            let Ok(more) = outgoing.try_recv() else { break };
            replies.extend(more);
        }
        timeout(patience, writer.write_all(&replies)).await??;
    }
    writer.shutdown().await
}

/// Appends a message with its length before it; nothing when `write` appended nothing. What `write` returned.
fn frame<T>(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = buffer.len();
    buffer.extend([0, 0]);
    let written = write(buffer);
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
    fn admit(&self, client: IpAddr, bounds: &TcpBounds) -> Option<Held> {
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
struct Held {
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
