//! Common parts of all stream transports: access control, the context of a connection, and the answer to a single
//! message.
//!
//! Connections of clients outside `allow` are closed at once. All others count for the limits of
//! [`crate::base::connections`] and have an account of their pending octets ([`crate::base::octets`]).

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

/// Timeout for a message that has begun.
pub(super) const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);

/// Timeout for a TLS handshake.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Octets that a TLS session may buffer.
pub(super) const TLS_BUFFER: usize = 16 << 10;

/// The limits of TCP service.
#[derive(Clone, Debug)]
pub struct TcpBounds {
    /// Queries in flight on one connection.
    pub pipeline: usize,
    /// Idle timeout of a connection.
    pub idle: Duration,
}

/// The context of a connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionService {
    /// The shared server state.
    pub(super) live: Arc<SharedState>,
    /// The counters.
    pub(super) tally: Arc<ThreadCounters>,
    /// The kind of its pending octets.
    pub(super) kind: OctetKind,
    /// The limits.
    pub(super) bounds: TcpBounds,
    /// Pad answers to padded queries, to hide the length of encrypted answers.
    pub(super) padding: bool,
}

/// A client with a connection.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    /// Its address.
    pub(super) peer: SocketAddr,
    /// Its context.
    pub(super) service: ConnectionService,
    /// Its entry in the connection limits.
    pub(super) place: Arc<ConnectionPlace>,
    /// Its pending octets.
    pub(super) account: Arc<OctetAccount>,
}

impl ConnectionService {
    /// Accepts a client if it is allowed and within the limits; `octets` limits its account.
    pub(super) fn admit(&self, peer: SocketAddr, connections: &Connections, octets: usize) -> Option<Guest> {
        let place = connections.admit(peer.ip(), self.kind);
        if place.is_none() {
            count(&self.live.counters.tcp_rejected);
        }
        let place = Arc::new(place?);
        let account = Arc::new(self.live.octets.account(self.kind, octets));
        Some(Guest { peer, service: self.clone(), place, account })
    }

    /// Whether a client may connect; counts rejected clients.
    pub(super) fn allows(&self, peer: SocketAddr) -> bool {
        let allowed = self.live.published().allows(peer.ip());
        if !allowed {
            count(&self.live.counters.tcp_rejected);
        }
        allowed
    }
}

impl Guest {
    /// Runs the connection until it ends.
    pub(super) fn admitted(
        self,
        conversation: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> AdmittedConnection {
        let Self { place, account, .. } = self;
        // errors of a connection are not logged
        AdmittedConnection { place, account, conversation: Box::pin(async move { drop(conversation.await) }) }
    }
}

/// The counters of a listening address.
pub(super) fn tally_of(address: io::Result<SocketAddr>, live: &SharedState) -> Arc<ThreadCounters> {
    match address {
        Ok(address) => live.tallies.for_tasks(address),
        Err(_) => live.tallies.tasks.clone(),
    }
}

/// The answer to a single message, with its reserved octets; None for no answer.
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
            // Boxed, because most streams get their answer without it.
            Some(Box::pin(query::resolve_in_room(&service.live, *waiting, &guest.account)).await)
        }
    }
}
