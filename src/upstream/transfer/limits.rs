//! How much all secondary zones may do at a time: conversations with each primary and in all, and octets of zones that
//! are coming in. A primary that is slow takes nothing from the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Conversations with one primary at a time.
const OF_ONE: usize = 4;

/// Conversations at a time in all.
const IN_ALL: usize = 64;

/// Octets of memory of the records that are coming in, of all transfers; one alone may have more, if its zone may.
const OCTETS: usize = 256 << 20;

/// The limits.
#[derive(Debug)]
pub struct TransferLimits {
    all: Arc<Semaphore>,
    primaries: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    octets: AtomicUsize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(IN_ALL)),
            primaries: Mutex::default(),
            octets: AtomicUsize::new(0),
        }
    }
}

impl TransferLimits {
    /// The right to speak with a primary, once there is one left.
    pub async fn begin(&self, primary: IpAddr) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = {
            let mut primaries = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
            primaries.entry(primary).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE))).clone()
        };
        // first that of the primary: who waits for a slow one must not hold a place of all
        let own = own.acquire_owned().await.ok()?;
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some([own, all])
    }

    /// Room for the records of a transfer, none yet.
    pub fn room(&self) -> TransferRoom<'_> {
        TransferRoom { limits: self, held: 0 }
    }
}

/// The room that a transfer holds.
#[derive(Debug)]
pub struct TransferRoom<'l> {
    limits: &'l TransferLimits,
    held: usize,
}

impl TransferRoom<'_> {
    /// Takes more room; false where others have left none.
    pub fn grow_to(&mut self, octets: usize) -> bool {
        let more = octets.saturating_sub(self.held);
        let before = self.limits.octets.fetch_add(more, Ordering::Relaxed);
        let others = before.saturating_sub(self.held);
        self.held += more;
        others == 0 || before + more <= OCTETS
    }
}

impl Drop for TransferRoom<'_> {
    fn drop(&mut self) {
        self.limits.octets.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_primary_takes_nothing_from_the_others() {
        let limits = TransferLimits::default();
        let (slow, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held = Vec::new();
        for _ in 0..OF_ONE {
            held.push(limits.begin(slow).await);
        }
        let wait = std::time::Duration::from_secs(60);
        assert!(tokio::time::timeout(wait, limits.begin(slow)).await.is_err());
        assert!(tokio::time::timeout(wait, limits.begin(other)).await.is_ok());
        held.pop();
        assert!(tokio::time::timeout(wait, limits.begin(slow)).await.is_ok());
    }

    #[test]
    fn all_transfers_share_the_room() {
        let limits = TransferLimits::default();
        let (mut one, mut two) = (limits.room(), limits.room());
        assert!(one.grow_to(2 * OCTETS), "alone, it may have more");
        assert!(!two.grow_to(1), "beside it, no other");
        drop(one);
        assert!(two.grow_to(OCTETS));
        drop(two);
        assert_eq!(limits.octets.load(Ordering::Relaxed), 0);
    }
}
