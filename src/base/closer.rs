//! Closes a connection from another task: its task is aborted or notified.

use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Closes a connection, once.
#[derive(Debug, Default)]
pub struct Closer {
    /// Whether it was closed, and the task to abort.
    state: Mutex<(bool, Option<AbortHandle>)>,
    told: Notify,
}

impl Closer {
    /// Closes the connection.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(task) = state.1.take() {
            task.abort();
        }
        self.told.notify_one();
    }

    /// Aborts the task when the connection is closed; at once if it is closed already.
    pub fn aborts(&self, task: AbortHandle) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 { task.abort() } else { state.1 = Some(task) }
    }

    /// Returns when the connection is closed.
    pub async fn closed(&self) {
        self.told.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_task_is_aborted_before_and_after_it_is_known() {
        for early in [true, false] {
            let (closer, task) = (Closer::default(), tokio::spawn(pending::<()>()));
            if early {
                closer.close();
            }
            closer.aborts(task.abort_handle());
            if !early {
                closer.close();
            }
            assert!(task.await.unwrap_err().is_cancelled());
            closer.closed().await;
        }
    }
}
