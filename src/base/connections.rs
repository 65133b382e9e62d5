//! The table of connections of every stream listener, and the choice of the connection to close at the limit.
//!
//! A new connection replaces the one that is idle longest (RFC 7766 section 6.2.3); one with a query or request under
//! way keeps its place. Listeners of DNS also have a limit for each client. At that limit the client's own connection
//! is closed; at the limit of all, one of the client with the most connections, if it has more than its share. A client
//! is an IPv4 address or an IPv6 /64. This machine has no limit as a client, because many programs share it.

use super::client_key::client_key;
use super::clock::{instant, millis};
use super::closer::Closer;
use super::octets::OctetKind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// A connection whose peer has read nothing for this long may be closed for a new one.
const STALLED: Duration = Duration::from_secs(1);

/// The most connections examined to find one to close: the first number once one is found, else the second.
const LOOKS: (usize, usize) = (32, 256);

/// The share of a client: one with more than this part of all places loses a connection first.
const SHARE: usize = 8;

/// The table; listeners with a copy of it share the places.
#[derive(Clone, Debug)]
pub struct Connections {
    shared: Arc<SharedTable>,
}

#[derive(Debug)]
struct SharedTable {
    /// Octets of all connections.
    most: usize,
    /// The limit for one client other than this machine. None: no limit and no share.
    per_client: Option<usize>,
    /// Octets of the open connections.
    octets: AtomicUsize,
    open: AtomicUsize,
    table: Mutex<ConnectionTable>,
}

/// Connections by the last known time of use, and by number.
type Seats = BTreeMap<(u64, u64), Arc<Seat>>;

/// The connections with a place.
#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    /// All of them.
    all: Seats,
    /// By client.
    clients: HashMap<IpAddr, Seats>,
    /// The clients by their number of connections.
    sizes: BTreeSet<(usize, IpAddr)>,
}

/// The two lists of a connection.
#[derive(Clone, Copy, Debug)]
enum ConnectionList {
    All,
    Client,
}

/// The state of a connection.
#[derive(Debug)]
struct Seat {
    number: u64,
    client: IpAddr,
    /// Octets that the connection takes.
    octets: usize,
    /// Queries in progress.
    questions: AtomicU32,
    /// Answers with octets to send.
    writing: AtomicU32,
    /// Answers that the client has read.
    taken: AtomicUsize,
    /// The time of the last use, in milliseconds.
    used: AtomicU64,
    /// Its times in each [`ConnectionList`]; changed under the table's lock.
    listed: [AtomicU64; 2],
    closer: Closer,
}

/// A connection's place, released on drop.
#[derive(Debug)]
pub struct ConnectionPlace {
    shared: Arc<SharedTable>,
    seat: Arc<Seat>,
}

/// A query in progress.
#[derive(Debug)]
pub struct Asking(Arc<Seat>);

/// An answer with octets to send.
#[derive(Debug)]
pub struct Writing(Arc<Seat>);

impl Connections {
    /// Limits of TCP connections in all, and of connections of one client that is not this machine.
    /// Connections that take more memory take more places ([`OctetKind::connection`]).
    pub fn new(most: usize, per_client: usize) -> Self {
        Self::limited(OctetKind::Tcp, most, Some(per_client))
    }

    /// A limit for connections of a kind, without a limit for each client.
    pub fn of_kind(kind: OctetKind, most: usize) -> Self {
        Self::limited(kind, most, None)
    }

    fn limited(kind: OctetKind, most: usize, per_client: Option<usize>) -> Self {
        let most = most.saturating_mul(kind.connection());
        let (octets, open, table) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::default());
        Self { shared: Arc::new(SharedTable { most, per_client, octets, open, table }) }
    }

    /// A place for a connection of a kind; others may be closed for it. None if all are in use.
    pub fn admit(&self, client: IpAddr, kind: OctetKind) -> Option<ConnectionPlace> {
        let shared = &self.shared;
        let client = match client_key(client) {
            local if local.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            other => other,
        };
        // A single connection always has a place.
        let octets = kind.connection().min(shared.most);
        let mut table = shared.table();
        let own = table.clients.get(&client).map_or(0, BTreeMap::len);
        if shared.per_client.is_some_and(|most| own >= most) && !client.is_loopback() {
            let closed = idle_longest(table.clients.get_mut(&client), ConnectionList::Client);
            shared.close(&mut table, closed)?;
        }
        while shared.octets.load(Ordering::Relaxed) + octets > shared.most {
            let is_too_large = |(size, _): &&(usize, IpAddr)| *size > (table.all.len() / SHARE).max(1);
            let largest = table.sizes.last().filter(is_too_large).map(|(_, client)| *client);
            let closed = largest
                .filter(|_| shared.per_client.is_some())
                .and_then(|client| idle_longest(table.clients.get_mut(&client), ConnectionList::Client))
                .or_else(|| idle_longest(Some(&mut table.all), ConnectionList::All));
            shared.close(&mut table, closed)?;
        }
        table.next += 1;
        let now = now();
        let seat = Arc::new(Seat {
            number: table.next,
            client,
            octets,
            questions: AtomicU32::new(0),
            writing: AtomicU32::new(0),
            taken: AtomicUsize::new(0),
            used: AtomicU64::new(now),
            listed: [AtomicU64::new(now), AtomicU64::new(now)],
            closer: Closer::default(),
        });
        table.insert(now, seat.clone());
        shared.octets.fetch_add(octets, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionPlace { shared: shared.clone(), seat })
    }

    /// The number of open connections.
    pub fn count(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl SharedTable {
    /// Closes a connection; None if none may be closed.
    fn close(&self, table: &mut ConnectionTable, seat: Option<Arc<Seat>>) -> Option<()> {
        let seat = seat?;
        self.remove(table, &seat);
        seat.closer.close();
        Some(())
    }

    /// Removes a connection from the table, if it is there.
    fn remove(&self, table: &mut ConnectionTable, seat: &Seat) {
        if table.remove(seat) {
            self.octets.fetch_sub(seat.octets, Ordering::Relaxed);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPlace {
    /// Records a use: a query was answered, or the peer has read octets.
    pub fn used(&self, at: Instant) {
        self.seat.used.store(millis(at), Ordering::Relaxed);
    }

    /// True while queries are in progress or octets wait to be sent.
    pub fn set_busy(&self, questions: usize, writing: bool) {
        self.seat.questions.store(questions as u32, Ordering::Relaxed);
        self.seat.writing.store(writing.into(), Ordering::Relaxed);
    }

    /// A query is in progress until the guard is dropped.
    pub fn asking(&self) -> Asking {
        self.seat.questions.fetch_add(1, Ordering::Relaxed);
        self.seat.used.store(now(), Ordering::Relaxed);
        Asking(self.seat.clone())
    }

    /// A request is in progress until the guard is dropped. None if the connection has lost its place: a request must
    /// not begin a change on a connection that is about to end.
    pub fn request(&self) -> Option<Asking> {
        let table = self.shared.table(); // under the lock no place is removed
        table.has(&self.seat).then(|| self.asking())
    }

    /// Octets of an answer wait to be sent until the guard is dropped.
    pub fn writing(&self) -> Writing {
        self.seat.writing.fetch_add(1, Ordering::Relaxed);
        Writing(self.seat.clone())
    }

    /// Records that the client has read an answer.
    pub fn took(&self) {
        self.seat.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that the client has read.
    pub fn taken(&self) -> usize {
        self.seat.taken.load(Ordering::Relaxed)
    }

    /// The time without a query; None while one is in progress or its answer is being sent.
    pub fn idle(&self) -> Option<Duration> {
        let idle = now().saturating_sub(self.seat.used.load(Ordering::Relaxed));
        let busy =
            self.seat.questions.load(Ordering::Relaxed) > 0 || self.seat.writing.load(Ordering::Relaxed) > 0;
        (!busy).then(|| Duration::from_millis(idle))
    }

    /// True if few connections are open, so that each may keep memory for its next queries.
    pub fn is_among_few(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed) <= 64
    }

    /// Returns when the connection is closed for another one.
    pub async fn closed(&self) {
        self.seat.closer.closed().await;
    }

    /// Aborts the task when the connection is closed for another one.
    pub fn aborts(&self, task: AbortHandle) {
        self.seat.closer.aborts(task);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.shared.remove(&mut self.shared.table(), &self.seat);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.used.store(now(), Ordering::Relaxed);
        self.0.questions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writing {
    /// Records that the client has read some of them.
    pub fn progress(&self) {
        self.0.used.store(now(), Ordering::Relaxed);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.progress();
        self.0.writing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seat {
    /// Its key in the lists.
    fn key(&self, list: ConnectionList) -> (u64, u64) {
        (self.listed[list as usize].load(Ordering::Relaxed), self.number)
    }

    /// True if the connection may be closed for another one.
    fn gives_way(&self, now: u64) -> bool {
        let unused = now.saturating_sub(self.used.load(Ordering::Relaxed));
        let writing = self.writing.load(Ordering::Relaxed) > 0;
        self.questions.load(Ordering::Relaxed) == 0 && (!writing || u128::from(unused) >= STALLED.as_millis())
    }
}

/// The connection of a list that is idle longest; None if none may be closed.
fn idle_longest(seats: Option<&mut Seats>, list: ConnectionList) -> Option<Arc<Seat>> {
    let (now, seats) = (now(), seats?);
    let mut longest: Option<(u64, Arc<Seat>)> = None;
    // The list has the times of the last examination: a connection that was used since is sorted in again.
    for look in 0..LOOKS.1.min(seats.len()) {
        if look >= LOOKS.0 && longest.is_some() {
            break;
        }
        let Some(((listed, number), seat)) = seats.pop_first() else { break };
        let used = seat.used.load(Ordering::Relaxed);
        let gives_way = seat.gives_way(now);
        let since = if gives_way { used } else { now };
        seat.listed[list as usize].store(since, Ordering::Relaxed);
        seats.insert((since, number), seat.clone());
        if gives_way && longest.as_ref().is_none_or(|(other, _)| used < *other) {
            longest = Some((used, seat));
        }
        if gives_way && used <= listed {
            break; // all others were used later
        }
    }
    longest.map(|(_, seat)| seat)
}

impl ConnectionTable {
    fn insert(&mut self, listed: u64, seat: Arc<Seat>) {
        let client = seat.client;
        self.all.insert((listed, seat.number), seat.clone());
        let seats = self.clients.entry(client).or_default();
        self.sizes.remove(&(seats.len(), client));
        seats.insert((listed, seat.number), seat);
        self.sizes.insert((seats.len(), client));
    }

    /// True if it is there.
    fn has(&self, seat: &Seat) -> bool {
        self.all.contains_key(&seat.key(ConnectionList::All))
    }

    /// True if it was there.
    fn remove(&mut self, seat: &Seat) -> bool {
        if self.all.remove(&seat.key(ConnectionList::All)).is_none() {
            return false;
        }
        let Some(seats) = self.clients.get_mut(&seat.client) else { return true };
        self.sizes.remove(&(seats.len(), seat.client));
        seats.remove(&seat.key(ConnectionList::Client));
        if seats.is_empty() {
            self.clients.remove(&seat.client);
        } else {
            self.sizes.insert((seats.len(), seat.client));
        }
        true
    }
}

fn now() -> u64 {
    millis(instant())
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
