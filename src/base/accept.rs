//! The accept loop of every listener of streams: DNS over TCP, TLS and HTTPS, the API, metrics, the control socket, and
//! the lab's servers. The listener's `admit` accepts or refuses a connection and serves it; the loop pauses when the
//! process has no descriptor left, and ends a connection when another one needs its place or its octets.

use super::connections::ConnectionPlace;
use super::octets::OctetAccount;
use super::task;
use super::task::BoxedFuture;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// The pause after an error. Errors such as EMFILE last: without a pause the loop would use a whole core.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that accepts streams.
pub trait StreamListener {
    /// A connection.
    type Stream;
    /// The address of the peer.
    type Peer;

    /// Waits for a connection. May be dropped and called again.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl StreamListener for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl StreamListener for UnixListener {
    type Stream = UnixStream;
    type Peer = unix::SocketAddr;

    async fn next(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        self.accept().await
    }
}

/// An accepted connection.
pub struct AdmittedConnection {
    /// Its place in the table of connections.
    pub place: Arc<ConnectionPlace>,
    /// The account of its pending octets.
    pub account: Arc<OctetAccount>,
    /// Serves it to its end.
    pub conversation: BoxedFuture<()>,
}

impl fmt::Debug for AdmittedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmittedConnection").field("place", &self.place).finish_non_exhaustive()
    }
}

impl AdmittedConnection {
    /// Serves the connection in its own task. The task ends when another connection needs its place or its octets.
    pub fn serve(self) {
        let (place, account) = (self.place.clone(), self.account.clone());
        ends_with(&place, &account, task::spawn(self.converse()).abort_handle());
    }

    /// The same in a task that also ends with `tasks`.
    fn serve_among(self, tasks: &mut JoinSet<()>) {
        let (place, account) = (self.place.clone(), self.account.clone());
        ends_with(&place, &account, tasks.spawn(self.converse()));
    }

    /// Releases place and account at the end of the conversation.
    async fn converse(self) {
        let Self { place, account, conversation } = self;
        conversation.await;
        drop((place, account));
    }
}

/// Aborts the task when another connection needs its place or its octets.
fn ends_with(place: &ConnectionPlace, account: &OctetAccount, task: AbortHandle) {
    place.aborts(task.clone());
    account.aborts(task);
}

/// Accepts connections until the future is dropped; they end with it. `name` is the listener's name in the log. `admit`
/// returns None to refuse a connection, which is then closed.
pub async fn accept<L: StreamListener>(
    listener: L,
    name: &'static str,
    admit: impl Fn(L::Stream, L::Peer) -> Option<AdmittedConnection> + Sync,
) {
    accept_by(&listener, name, &admit).await;
}

/// [`accept`] for whatever admits.
async fn accept_by<L: StreamListener>(
    listener: &L,
    name: &'static str,
    admit: &(dyn Fn(L::Stream, L::Peer) -> Option<AdmittedConnection> + Sync),
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue, // releases its memory
            accepted = listener.next() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(admitted) = admit(stream, peer) {
                    admitted.serve_among(&mut tasks);
                }
            }
            Err(error) => {
                tracing::warn!(%error, listener = name, "accepting a connection failed");
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::connections::Connections;
    use crate::base::octets::{OctetKind, Octets};
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::AsyncReadExt;

    /// Accepts into a table of `most` places; connections are served without end.
    fn listen(listener: TcpListener, most: usize) -> (tokio::task::JoinHandle<()>, Connections) {
        let (connections, octets) = (Connections::of_kind(OctetKind::Api, most), Octets::default());
        let table = connections.clone();
        let task = tokio::spawn(accept(listener, "test", move |stream, peer: SocketAddr| {
            Some(AdmittedConnection {
                place: Arc::new(table.admit(peer.ip(), OctetKind::Api)?),
                account: Arc::new(octets.account(OctetKind::Api, 1)),
                conversation: Box::pin(async move {
                    let _stream: TcpStream = stream;
                    pending().await
                }),
            })
        }));
        (task, connections)
    }

    #[tokio::test]
    async fn connections_make_room_for_others_and_end_with_the_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (task, connections) = listen(listener, 1);
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0, "closed for the second");
        assert_eq!(connections.count(), 1);
        task.abort();
        assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "closed with the listener");
        assert_eq!(connections.count(), 0);
    }

    /// A listener that fails three times.
    struct Failing(TcpListener, AtomicUsize);

    impl StreamListener for Failing {
        type Stream = TcpStream;
        type Peer = SocketAddr;

        async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
            match self.1.fetch_add(1, Ordering::Relaxed) {
                0..3 => Err(io::ErrorKind::OutOfMemory.into()),
                _ => self.0.accept().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_is_tried_again_after_a_pause() {
        let begin = tokio::time::Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tell, mut told) = tokio::sync::mpsc::channel::<()>(1);
        let failing = Failing(listener, AtomicUsize::new(0));
        let accepting = accept(failing, "test", move |_, _| {
            let _ = tell.try_send(());
            None
        });
        tokio::select! {
            () = accepting => {}
            told = told.recv() => assert!(told.is_some()),
        }
        assert_eq!(begin.elapsed(), PAUSE * 3);
    }
}
