//! One running computation per key, however many ask for its result.
//!
//! Identical questions in flight at once would be wasted work, and each of them a further chance for a forger
//! (L57, L97). The computation is a task of its own: a waiter that goes away takes nothing from the others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::SetOnce;

/// Who may wait for one computation.
const MAX_WAITERS: usize = 4096;

/// The computations under way.
#[derive(Debug)]
pub struct Inflight<K, V> {
    /// One for each key.
    running: Mutex<HashMap<K, Running<V>>>,
    /// Waiters one computation may have.
    max_waiters: usize,
}

/// A computation under way, and what each waiter for it holds.
#[derive(Clone, Debug)]
struct Running<V> {
    /// Where its result will appear; nothing when it was lost. Waiters are woken in the order in which they came.
    result: Arc<SetOnce<Option<V>>>,
    /// Held by the map and by each waiter, to count them.
    waiters: Arc<()>,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJoined {
    /// As many wait for this key as may.
    TooMany,
    /// The computation ended without a result: it panicked, or the runtime is stopping.
    Lost,
}

impl fmt::Display for NotJoined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many queries wait for the same answer",
            Self::Lost => "the computation was lost",
        })
    }
}

impl std::error::Error for NotJoined {}

impl<K, V> Default for Inflight<K, V> {
    fn default() -> Self {
        Self::with_max_waiters(MAX_WAITERS)
    }
}

impl<K, V> Inflight<K, V> {
    /// Nothing under way, with the usual bound on waiters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing under way, with a limit of waiters for one key.
    pub fn with_max_waiters(max_waiters: usize) -> Self {
        Self { running: Mutex::new(HashMap::new()), max_waiters }
    }

    /// Computations under way.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether a computation for `key` is under way.
    pub fn contains(&self, key: &K) -> bool
    where
        K: Hash + Eq,
    {
        self.lock().contains_key(key)
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The map.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Running<V>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Inflight<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits until no computation for `key` is under way.
    pub async fn ended(&self, key: &K) {
        let running = self.lock().get(key).map(|running| running.result.clone());
        if let Some(result) = running {
            result.wait().await;
        }
    }

    /// The result of the computation for `key`: of the one under way, or of the one `start` gives. `start` is
    /// called only when there is none.
    pub async fn join<F, Fut>(self: &Arc<Self>, key: K, start: F) -> Result<V, NotJoined>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = V> + Send + 'static,
    {
        let (running, begun) = match self.lock().entry(key.clone()) {
            Entry::Occupied(entry) => {
                if Arc::strong_count(&entry.get().waiters) > self.max_waiters {
                    return Err(NotJoined::TooMany);
                }
                (entry.get().clone(), None)
            }
            Entry::Vacant(entry) => {
                let result = Arc::new(SetOnce::new());
                let running = entry.insert(Running { result: result.clone(), waiters: Arc::new(()) });
                (running.clone(), Some(result))
            }
        };
        if let Some(result) = begun {
            let ticket = Ticket { inflight: Arc::clone(self), key, result, value: None };
            let work = start();
            tokio::spawn(async move { ticket.end(work.await) });
        }
        running.result.wait().await.clone().ok_or(NotJoined::Lost)
    }
}

/// Takes a computation off the list when it ends, however it ends, and then tells those who wait.
struct Ticket<K: Hash + Eq, V> {
    /// The list.
    inflight: Arc<Inflight<K, V>>,
    /// Its place there.
    key: K,
    /// Where the result goes.
    result: Arc<SetOnce<Option<V>>>,
    /// The result, if it has come to one.
    value: Option<V>,
}

impl<K: Hash + Eq, V> Ticket<K, V> {
    /// Ends with a result.
    fn end(mut self, value: V) {
        self.value = Some(value);
    }
}

impl<K: Hash + Eq, V> Drop for Ticket<K, V> {
    fn drop(&mut self) {
        self.inflight.lock().remove(&self.key); // who comes from here on begins anew
        let _ = self.result.set(self.value.take()); // set here alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn two_hundred_joins_make_one_call() {
        let inflight = Arc::new(Inflight::<&str, u32>::new());
        let calls = AtomicU32::new(0);
        let (open, gate) = oneshot::channel::<()>();
        let gate = Mutex::new(Some(gate));
        let joins = (0..200).map(|_| {
            inflight.join("name", || {
                calls.fetch_add(1, Ordering::Relaxed);
                let gate = gate.lock().unwrap().take().unwrap();
                async move {
                    gate.await.unwrap();
                    7
                }
            })
        });
        let release = async {
            assert_eq!(inflight.len(), 1);
            open.send(()).unwrap();
        };
        let (results, ()) = futures_util::future::join(join_all(joins), release).await;
        assert_eq!(results, vec![Ok(7); 200]);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(inflight.is_empty());
    }

    #[tokio::test]
    async fn different_keys_run_apart_and_a_finished_key_runs_again() {
        let inflight = Arc::new(Inflight::new());
        assert_eq!(inflight.join(1, || async { "one" }).await, Ok("one"));
        assert_eq!(inflight.join(2, || async { "two" }).await, Ok("two"));
        assert_eq!(inflight.join(1, || async { "again" }).await, Ok("again"));
    }

    #[tokio::test]
    async fn the_first_waiter_may_leave_without_harm() {
        let inflight = Arc::new(Inflight::new());
        let (open, gate) = oneshot::channel();
        let mut first = Box::pin(inflight.join("name", || async { gate.await.unwrap_or(0) }));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(inflight.join("name", || async { unreachable!("already under way") }));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        open.send(42).unwrap();
        assert_eq!(second.await, Ok(42));
    }

    #[tokio::test]
    async fn a_panic_releases_all_waiters() {
        let inflight = Arc::new(Inflight::<u8, u8>::new());
        let joins = (0..3).map(|_| inflight.join(1, || async { panic!("as the test wants") }));
        assert_eq!(join_all(joins).await, [Err(NotJoined::Lost); 3]);
        assert!(inflight.is_empty());
        assert_eq!(inflight.join(1, || async { 5 }).await, Ok(5));
    }

    #[tokio::test]
    async fn waiters_are_bounded_and_leaving_makes_room() {
        let inflight = Arc::new(Inflight::<u8, u8>::with_max_waiters(2));
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(inflight.join(1, pending))).collect();
        for waiter in &mut waiting {
            assert!(futures_util::poll!(waiter).is_pending());
        }
        assert_eq!(inflight.join(1, pending).await, Err(NotJoined::TooMany));
        waiting.pop();
        let mut third = Box::pin(inflight.join(1, pending));
        assert!(futures_util::poll!(&mut third).is_pending());
    }
}
