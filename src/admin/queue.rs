//! A bounded queue from the threads that serve to a thread that writes a log. A thread that serves never waits: an item
//! for which there is no room is missed, and counted. The bound is in octets, and an item's memory is given back when
//! it was written.

use crate::base::octets::{OctetAccount, Reserved};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long the writer may take to end.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Octets that an item takes beside its own.
pub(super) const OVERHEAD: usize = 512;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum QueueItem<T> {
    /// Write this; dropping the second part releases its octets.
    Item(T, Reserved),
    /// Open the file again.
    Renew,
    /// Write the earlier items, then confirm. Later items need not be written.
    Drain(Sender<()>),
}

/// The way in.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: Sender<QueueItem<T>>,
    account: OctetAccount,
    missed: Arc<AtomicU64>,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the writing thread. The writer gets the counter of lost items, to add its own.
    ///
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(
        name: &str,
        account: OctetAccount,
        write: impl FnOnce(Receiver<QueueItem<T>>, Arc<AtomicU64>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let missed = Arc::new(AtomicU64::new(0));
        let count = missed.clone();
        thread::Builder::new().name(name.into()).spawn(move || write(receiver, count))?;
        Ok(Self { sender, account, missed })
    }

    /// Queues an item of this many octets, if there is room.
    pub(super) fn offer(&self, octets: usize, make: impl FnOnce() -> T) {
        let room = self.account.try_reserve(octets + OVERHEAD);
        let sent = room.is_some_and(|room| self.sender.send(QueueItem::Item(make(), room)).is_ok());
        if !sent {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lost items so far.
    pub(super) fn dropped(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Octets in the queue.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.account.held()
    }

    /// Queues an order to open the file again.
    pub(super) fn reopen(&self) {
        let _ = self.sender.send(QueueItem::Renew); // an ended writer has no file
    }

    /// Orders the writer to write all queued items, and waits for it with a timeout.
    pub(super) fn drain(&self) {
        let (done, drained) = channel();
        if self.sender.send(QueueItem::Drain(done)).is_ok() {
            let _ = drained.recv_timeout(TIMEOUT); // the writer may be blocked by its reader; then the rest is lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::octets::{OctetKind, Octets};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn what_does_not_fit_is_counted_and_a_request_to_begin_anew_is_kept() {
        let (go, wait) = sync_channel::<()>(0);
        let (told, renewed) = sync_channel(1);
        let octets = Octets::default();
        let room = OctetKind::QueryLog.total();
        let queue = Queue::start(
            "test",
            octets.account(OctetKind::QueryLog, room),
            move |notes: Receiver<QueueItem<usize>>, _| {
                let _ = wait.recv(); // until all was offered
                let mut items = 0;
                for note in notes {
                    match note {
                        QueueItem::Item(..) => items += 1,
                        QueueItem::Renew => told.send(items).unwrap(),
                        QueueItem::Drain(done) => {
                            let _ = done.send(());
                            return;
                        }
                    }
                }
            },
        )
        .unwrap();
        let each = 64 << 10;
        let fit = room / (each + OVERHEAD);
        (0..fit + 10).for_each(|item| queue.offer(each, || item));
        queue.reopen();
        assert_eq!(queue.dropped(), 10);
        assert!(octets.waiting(OctetKind::QueryLog) <= room);
        go.send(()).unwrap();
        assert_eq!(renewed.recv().unwrap(), fit);
        queue.drain();
        assert_eq!(octets.waiting(OctetKind::QueryLog), 0, "the room came back");
    }
}
