//! A bounded way from who serves to a thread that writes. Who serves never waits: what does not fit is missed, and
//! counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Items that may wait.
const ROOM: usize = 8192;

/// How long the writer may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Note<T> {
    /// Write this.
    Item(T),
    /// Begin anew: open the file again.
    Renew,
    /// Write out what there is and end; then say so.
    End(SyncSender<()>),
}

/// The way in.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: SyncSender<Note<T>>,
    missed: Arc<AtomicU64>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts a thread that writes what comes; the writer has the count of what came to nothing, to add to it.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(
        name: &str,
        write: impl FnOnce(Receiver<Note<T>>, Arc<AtomicU64>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(ROOM);
        let missed = Arc::new(AtomicU64::new(0));
        let count = missed.clone();
        thread::Builder::new().name(name.into()).spawn(move || write(receiver, count))?;
        Ok(Self { sender, missed })
    }

    /// Hands an item over, if there is room.
    pub(super) fn offer(&self, item: T) {
        if self.sender.try_send(Note::Item(item)).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Items that came to nothing so far.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Has the writer begin anew. A full queue keeps that from it; then the next time will.
    pub(super) fn renew(&self) {
        let _ = self.sender.try_send(Note::Renew);
    }

    /// Has the writer end, and waits for it a moment.
    pub(super) fn end(&self) {
        let (done, ended) = sync_channel(1);
        if self.sender.try_send(Note::End(done)).is_ok() {
            let _ = ended.recv_timeout(PATIENCE); // it may hang on who reads; then the rest is lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_nobody_waits() {
        let (go, wait) = sync_channel::<()>(0);
        let queue = Queue::start("test", move |notes: Receiver<Note<usize>>, _| {
            let _ = wait.recv(); // until all was offered
            for note in notes {
                if let Note::End(done) = note {
                    let _ = done.send(());
                    return;
                }
            }
        })
        .unwrap();
        (0..ROOM + 10).for_each(|item| queue.offer(item));
        assert_eq!(queue.missed(), 10);
        go.send(()).unwrap();
        while queue.sender.try_send(Note::Renew).is_err() {
            thread::yield_now();
        }
        queue.end();
    }
}
