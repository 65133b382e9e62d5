//! What a connection's task shares with those who ask over it, whatever is spoken on the connection: its state, the
//! queries on their way to it, and how long it may be silent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::upstream::AttemptError;

/// A connection without questions is closed after this time: less than servers usually wait.
pub(super) const IDLE: Duration = Duration::from_secs(8);
/// One on which nothing came for so long, although something should, gets no new questions.
pub(super) const SUSPECT: Duration = Duration::from_millis(1500);
/// And after so long it is closed: no client waits any more.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    /// No new questions, please.
    pub(super) closing: AtomicBool,
    /// Replies have come.
    pub(super) answered: AtomicBool,
    /// Those who wait.
    pub(super) waiting: AtomicUsize,
    /// Why it ended.
    pub(super) ended: OnceLock<AttemptError>,
}

/// A question on its way to the task.
pub(super) struct StreamQuery {
    /// The message.
    pub(super) message: Vec<u8>,
    /// Who waits for its reply.
    pub(super) reply: oneshot::Sender<Result<Vec<u8>, AttemptError>>,
}

/// Waits for what a stream of its own brings. A connection on which that takes long gets no new questions.
pub(super) async fn watched<T>(
    state: &ConnectionState,
    exchange: impl Future<Output = Result<T, AttemptError>>,
) -> Result<T, AttemptError> {
    let mut exchange = std::pin::pin!(exchange);
    let ended = match timeout(SUSPECT, &mut exchange).await {
        Ok(ended) => ended,
        Err(_) => {
            state.closing.store(true, Ordering::Release);
            timeout(TIMEOUT - SUSPECT, exchange).await.unwrap_or(Err(AttemptError::TimedOut))
        }
    };
    if ended.is_ok() {
        state.answered.store(true, Ordering::Release);
    }
    ended
}

/// The connection is no more, and nothing says why.
pub(super) fn closed() -> AttemptError {
    AttemptError::Network("the server closed the connection".to_owned())
}
