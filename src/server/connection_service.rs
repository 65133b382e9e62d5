//! What all stream transports share: who is let in, what serves a connection, and the answer to one message that came by
//! itself.
//!
//! Clients outside `allow` are closed at once. The others have a place ([`crate::base::connections`]) and an account of the
//! octets that wait for them ([`crate::base::octets`]).

use crate::base::accept::AdmittedConnection;
use crate::base::connections::{ConnectionPlace, Connections};
use crate::base::octets::{OctetAccount, OctetKind, Reserved};
use crate::engine::message::MAX_MESSAGE_BYTES;
use crate::resolve::fast_path::{FastPath, Served};
use crate::resolve::query::{self, ClientTransport};
use crate::resolve::shared::{SharedState, count};
use crate::stats::counters::ThreadCounters;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A message that has begun must be there whole within this time.
pub(super) const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);

/// A TLS session must be there within this time.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Octets that a TLS session holds back of what it is given.
pub(super) const TLS_BUFFER: usize = 16 << 10;

/// The bounds of TCP service.
#[derive(Clone, Debug)]
pub struct TcpBounds {
    /// Queries in flight on one connection.
    pub pipeline: usize,
    /// A connection without a query for this long is closed.
    pub idle: Duration,
}

/// What a connection is served by.
#[derive(Clone, Debug)]
pub(super) struct ConnectionService {
    /// Who answers.
    pub(super) live: Arc<SharedState>,
    /// Where that is counted.
    pub(super) tally: Arc<ThreadCounters>,
    /// What its waiting octets are counted as.
    pub(super) kind: OctetKind,
    /// How much at most.
    pub(super) bounds: TcpBounds,
    /// Answers to padded queries are padded: their lengths should say little where their content is encrypted.
    pub(super) padding: bool,
}

/// A client with a connection.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    /// Its address.
    pub(super) peer: SocketAddr,
    /// What serves it.
    pub(super) service: ConnectionService,
    /// Its place among all connections.
    pub(super) place: Arc<ConnectionPlace>,
    /// Its waiting octets.
    pub(super) account: Arc<OctetAccount>,
}

impl ConnectionService {
    /// Lets a client in if it is allowed and there is a place; its account is bounded by `octets`.
    pub(super) fn admit(&self, peer: SocketAddr, connections: &Connections, octets: usize) -> Option<Guest> {
        let place = connections.admit(peer.ip(), self.kind);
        if place.is_none() {
            count(&self.live.counters.tcp_rejected);
        }
        let place = Arc::new(place?);
        let account = Arc::new(self.live.octets.account(self.kind, octets));
        Some(Guest { peer, service: self.clone(), place, account })
    }

    /// True when a client may connect; others are counted.
    pub(super) fn allows(&self, peer: SocketAddr) -> bool {
        let allowed = self.live.published().allows(peer.ip());
        if !allowed {
            count(&self.live.counters.tcp_rejected);
        }
        allowed
    }
}

impl Guest {
    /// The client with what serves its connection to its end.
    pub(super) fn admitted(
        self,
        conversation: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> AdmittedConnection<impl Future<Output = ()> + Send + 'static> {
        let Self { place, account, .. } = self;
        // how a connection ended is its client's affair
        AdmittedConnection { place, account, conversation: async move { drop(conversation.await) } }
    }
}

/// Where what is served at an address is counted; a socket that listens has one.
pub(super) fn tally_of(address: io::Result<SocketAddr>, live: &SharedState) -> Arc<ThreadCounters> {
    match address {
        Ok(address) => live.tallies.for_tasks(address),
        Err(_) => live.tallies.tasks.clone(),
    }
}

/// The answer to one message that came by itself, with the octets it is counted by; nothing if it gets none.
pub(super) async fn answer(guest: &Guest, query: &[u8]) -> Option<(Vec<u8>, Reserved)> {
    let service = &guest.service;
    let mut held = guest.account.reserve(MAX_MESSAGE_BYTES).await;
    let mut reply = Vec::new();
    let served = FastPath::new(&service.live, &service.tally, ClientTransport::Tcp)
        .serve(query, guest.peer, None, &mut reply);
    match served {
        Served::Answered => {
            reply.shrink_to_fit();
            held.shrink_to(reply.len());
            Some((reply, held))
        }
        Served::Dropped => None,
        Served::Waits(waiting) => {
            drop(held);
            // Boxed, so that the many streams whose answers are at hand need no room for it.
            Some(Box::pin(query::resolve_in_room(&service.live, *waiting, &guest.account)).await)
        }
    }
}
