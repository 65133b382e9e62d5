//! TCP connections, plain and with TLS.

pub use super::connection_service::TcpBounds;
use super::connection_service::{ConnectionService, Guest, HANDSHAKE_DEADLINE, TLS_BUFFER, tally_of};
use super::pipeline;
use crate::base::accept;
use crate::base::connections::Connections;
use crate::base::octets::OctetKind;
use crate::resolve::shared::SharedState;
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Serves plain TCP for the life of the process. `connections` is shared by all listeners.
pub async fn serve(
    listener: TcpListener,
    live: Arc<SharedState>,
    bounds: TcpBounds,
    connections: Connections,
) {
    let tally = tally_of(listener.local_addr(), &live);
    let service = ConnectionService { live, tally, kind: OctetKind::Tcp, bounds, padding: false };
    accept(listener, "tcp", service, connections, pipeline::OF_TASKS, pipeline::converse).await;
}

/// Serves TLS for the life of the process.
pub(super) async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: ConnectionService,
    connections: Connections,
) {
    accept(listener, "tls", service, connections, pipeline::OF_TASKS, |stream, guest| {
        let accepting = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER)));
        async move {
            let stream = timeout(HANDSHAKE_DEADLINE, accepting).await??;
            pipeline::converse(stream, guest).await
        }
    })
    .await;
}

/// Accepts connections within the limits, and serves each in a separate task; `octets` limits its account.
pub(super) async fn accept<F>(
    listener: TcpListener,
    name: &'static str,
    service: ConnectionService,
    connections: Connections,
    octets: usize,
    converse: impl Fn(TcpStream, Guest) -> F + Sync,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    accept::accept(listener, name, |stream, peer| {
        if !service.allows(peer) {
            return None; // dropping it closes it
        }
        let guest = service.admit(peer, &connections, octets)?;
        stream.set_nodelay(true).ok()?; // the peer is gone
        let conversation = converse(stream, guest.clone());
        Some(guest.admitted(conversation))
    })
    .await;
}
