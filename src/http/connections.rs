//! How many HTTP connections are open, and which one makes room when there are too many.
//!
//! A client that opens connections and says nothing must not keep others out: when all places are taken, the
//! connection that has been idle for longest loses its own. One whose request is being worked on keeps it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The places for connections, shared by all listeners of a server.
#[derive(Clone, Debug)]
pub struct HttpConnections {
    /// Who is there.
    table: Arc<Mutex<HttpTable>>,
    /// How many at most.
    most: usize,
}

/// Who is there.
#[derive(Debug, Default)]
struct HttpTable {
    /// Counts connections, and the times they became idle.
    ticks: u64,
    /// Every connection that has a place, by its number, with the tick since when it is idle.
    open: HashMap<u64, (Option<u64>, Arc<Notify>)>,
    /// The idle ones, in the order in which they became so.
    idle: BTreeMap<u64, u64>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct HttpPlace {
    /// The table it is in.
    table: Arc<Mutex<HttpTable>>,
    /// Its number.
    number: u64,
    /// Called when the place is taken away.
    taken: Arc<Notify>,
}

impl HttpConnections {
    /// A table for this many connections.
    pub fn new(most: usize) -> Self {
        Self { table: Arc::default(), most }
    }

    /// A place, idle at first; nothing when all are busy.
    pub fn admit(&self) -> Option<HttpPlace> {
        let mut table = locked(&self.table);
        if table.open.len() >= self.most {
            let (_, oldest) = table.idle.pop_first()?;
            if let Some((_, taken)) = table.open.remove(&oldest) {
                taken.notify_one();
            }
        }
        let number = table.tick();
        let taken = Arc::new(Notify::new());
        table.open.insert(number, (Some(number), taken.clone()));
        table.idle.insert(number, number);
        Some(HttpPlace { table: self.table.clone(), number, taken })
    }
}

impl HttpPlace {
    /// Marks the connection as busy until the guard is dropped. It fails for one that has lost its place.
    pub fn busy(self: &Arc<Self>) -> Option<BusyGuard> {
        let mut table = locked(&self.table);
        let (since, _) = table.open.get_mut(&self.number)?;
        let since = since.take();
        since.and_then(|since| table.idle.remove(&since));
        Some(BusyGuard(self.clone()))
    }

    /// Returns when the place was taken away.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Drop for HttpPlace {
    fn drop(&mut self) {
        let mut table = locked(&self.table);
        if let Some((Some(since), _)) = table.open.remove(&self.number) {
            table.idle.remove(&since);
        }
    }
}

/// A connection whose request is being worked on.
#[derive(Debug)]
pub struct BusyGuard(Arc<HttpPlace>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let mut table = locked(&self.0.table);
        let now = table.tick();
        if let Some((since, _)) = table.open.get_mut(&self.0.number) {
            *since = Some(now);
            table.idle.insert(now, self.0.number);
        }
    }
}

impl HttpTable {
    /// The next number.
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

/// The table; plain data that a panic elsewhere leaves whole.
fn locked(table: &Mutex<HttpTable>) -> MutexGuard<'_, HttpTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn is_taken(place: &HttpPlace) -> bool {
        place.taken().now_or_never().is_some()
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let connections = HttpConnections::new(2);
        let first = Arc::new(connections.admit().unwrap());
        let second = Arc::new(connections.admit().unwrap());
        drop(first.busy().unwrap()); // idle since a moment ago, the second for longer
        let third = Arc::new(connections.admit().unwrap());
        assert!(is_taken(&second) && !is_taken(&first) && !is_taken(&third));
        assert!(second.busy().is_none(), "it has lost its place");
    }

    #[test]
    fn busy_ones_keep_their_places() {
        let connections = HttpConnections::new(2);
        let places: Vec<_> = (0..2).map(|_| Arc::new(connections.admit().unwrap())).collect();
        let busy: Vec<_> = places.iter().map(|place| place.busy().unwrap()).collect();
        assert!(connections.admit().is_none());
        drop(busy);
        assert!(connections.admit().is_some());
    }

    #[test]
    fn places_are_given_back() {
        let connections = HttpConnections::new(1);
        for _ in 0..3 {
            let place = Arc::new(connections.admit().unwrap());
            let busy = place.busy().unwrap();
            assert!(connections.admit().is_none());
            drop((busy, place));
        }
        let table = locked(&connections.table);
        assert!(table.open.is_empty() && table.idle.is_empty(), "{table:?}");
    }
}
