//! Questions over TCP, TLS, HTTPS and QUIC: connections to one server, kept open and shared (RFC 7766, RFC 7858,
//! RFC 8484, RFC 9250).
//!
//! A question goes over a connection that is there, behind the others that wait on it; the server may answer in any
//! order. A kept connection that turns out to be dead costs a new one and nothing else.

mod connection;
mod endpoint;
mod http;
mod quic;
mod state;
mod target;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use self::connection::KeptConnection;
use self::endpoint::Endpoint;
use self::target::StreamTarget;
use super::network::Network;
use super::tls::Trust;
use super::{AttemptError, Group, ServerAddress};
use crate::base::clock::last_wake;

/// Questions that wait on one connection before another is opened: servers limit how many they work on.
const PIPELINE: usize = 100;
/// Connections to one server; beyond, the pipelines grow.
const CONNECTIONS: usize = 8;
/// Connections that one question may go over: the kept one, the next that others share, and one of its own, for a
/// server that closes after each answer.
const TRIES: usize = 3;

/// What leads to a server beside its address.
#[derive(Clone, Debug, Default)]
pub(super) struct Connector {
    /// Who says what its certificate is worth.
    pub(super) trust: Option<Arc<Trust>>,
    /// Who knows the address of its name.
    pub(super) bootstrap: Option<Arc<Group>>,
    /// Its network.
    pub(super) network: Network,
}

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Streams {
    /// Where they lead.
    target: StreamTarget,
    /// Those that are open, or being opened.
    open: Mutex<Vec<Arc<KeptConnection>>>,
}

/// A reply, framing taken off.
pub(super) struct Arrived {
    /// The message, with the id of the question.
    pub(super) reply: Vec<u8>,
    /// The connection was in use before, so that the time taken is that of the question alone.
    pub(super) kept: bool,
}

impl Streams {
    /// No connection yet.
    pub(super) fn new(address: &ServerAddress, means: Connector) -> Self {
        let place = Endpoint::new(address, means.bootstrap);
        let Connector { trust, network, .. } = means;
        let target = StreamTarget { place, transport: address.transport.clone(), trust, network };
        Self { target, open: Mutex::default() }
    }

    /// Sends a message and waits for its reply. There is no clock but for connecting: the caller stops waiting by
    /// dropping the future, and the connection lives on.
    pub(super) async fn ask(&self, message: &[u8]) -> Result<Arrived, AttemptError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let connection = if tries < TRIES {
                self.shared(last_wake())
            } else {
                KeptConnection::open(self.target.clone())
            };
            let kept = connection.has_answered();
            match connection.ask(message).await {
                Ok(reply) => return Ok(Arrived { reply, kept }),
                // It served, and was closed before it came to this question: RFC 7766 section 6.2.4.
                Err(AttemptError::Network(_) | AttemptError::Tls(_))
                    if tries < TRIES && connection.has_answered() => {}
                Err(outcome) => return Err(outcome),
            }
        }
    }

    /// A connection to share: the least busy, or a new one. Connections that take no new questions are let go: they
    /// close when the last who waits on them has gone.
    fn shared(&self, last_wake: Option<Instant>) -> Arc<KeptConnection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| connection.is_usable(last_wake));
        let least = open.iter().min_by_key(|connection| connection.waiting());
        match least {
            Some(least) if least.waiting() < PIPELINE || open.len() >= CONNECTIONS => least.clone(),
            _ => {
                let connection = KeptConnection::open(self.target.clone());
                open.push(connection.clone());
                connection
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::instant;
    use std::time::Duration;

    #[tokio::test]
    async fn a_connection_that_slept_takes_no_new_question_and_is_closed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ServerAddress::from(listener.local_addr().unwrap());
        let streams = Streams::new(&address, Connector::default());
        let before = streams.shared(None);
        let (mut peer, _) = listener.accept().await.unwrap();
        assert!(Arc::ptr_eq(&before, &streams.shared(None)), "it is kept");
        let woke = instant();
        tokio::time::pause();
        tokio::time::advance(Duration::from_millis(1)).await;
        let after = streams.shared(Some(woke));
        assert!(!Arc::ptr_eq(&before, &after));
        assert!(Arc::ptr_eq(&after, &streams.shared(Some(woke))), "one sleep costs one connection");
        tokio::time::resume();
        drop(before);
        let mut octets = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut octets).await.unwrap();
        assert!(octets.is_empty(), "closed, and nothing was asked over it");
    }
}
