//! The table of connections that every listener of streams has, and which connection is closed when places are short.
//!
//! The connection that is idle longest makes room for a new one (RFC 7766 section 6.2.3); one with a question or a
//! request under way keeps its place. Listeners of DNS bound each client, too: its own connection makes room when it has
//! enough, and among all connections that of the client that holds the most, if that is more than its share. A client is
//! an IPv4 address or an IPv6 /64; this machine is one client without a bound of its own, because many programs share it.

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

/// A connection whose peer has taken nothing for this long may be closed for a new one.
const STALLED: Duration = Duration::from_secs(1);

/// Connections that are examined to find one to close: up to the first number once one was found, else up to the second.
const LOOKS: (usize, usize) = (32, 256);

/// A client that holds more than this part of all places makes room before others do.
const SHARE: usize = 8;

/// The table; listeners that have a copy of it share the places.
#[derive(Clone, Debug)]
pub struct Connections {
    shared: Arc<SharedTable>,
}

#[derive(Debug)]
struct SharedTable {
    /// Octets of all connections.
    most: usize,
    /// Connections of one client that is not this machine. None: a client has no bound and no share of its own.
    per_client: Option<usize>,
    /// Octets of the connections that are open.
    octets: AtomicUsize,
    open: AtomicUsize,
    table: Mutex<ConnectionTable>,
}

/// Connections by when they were last used, as far as was looked, and by number.
type Seats = BTreeMap<(u64, u64), Arc<Seat>>;

/// The connections that have a place.
#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    /// All of them.
    all: Seats,
    /// Each client's.
    clients: HashMap<IpAddr, Seats>,
    /// The clients by how many connections they have.
    sizes: BTreeSet<(usize, IpAddr)>,
}

/// The two lists that a connection is in.
#[derive(Clone, Copy, Debug)]
enum ConnectionList {
    All,
    Client,
}

/// What the table knows of a connection.
#[derive(Debug)]
struct Seat {
    number: u64,
    client: IpAddr,
    /// Octets that the connection takes.
    octets: usize,
    /// Questions that are being answered.
    questions: AtomicU32,
    /// Answers of which octets wait to be sent.
    writing: AtomicU32,
    /// Answers that the client has taken.
    taken: AtomicUsize,
    /// When it was last used, in milliseconds.
    used: AtomicU64,
    /// The times that it is listed under in each [`ConnectionList`]; changed under the table's lock.
    listed: [AtomicU64; 2],
    closer: Closer,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    shared: Arc<SharedTable>,
    seat: Arc<Seat>,
}

/// A question that is being answered.
#[derive(Debug)]
pub struct Asking(Arc<Seat>);

/// An answer of which octets wait to be sent.
#[derive(Debug)]
pub struct Writing(Arc<Seat>);

impl Connections {
    /// Limits of TCP connections in all, and of connections of one client that is not this machine.
    /// Connections that take more memory take more places ([`OctetKind::connection`]).
    pub fn new(most: usize, per_client: usize) -> Self {
        Self::limited(OctetKind::Tcp, most, Some(per_client))
    }

    /// A limit of connections of a kind, without one for each client.
    pub fn of_kind(kind: OctetKind, most: usize) -> Self {
        Self::limited(kind, most, None)
    }

    fn limited(kind: OctetKind, most: usize, per_client: Option<usize>) -> Self {
        let most = most.saturating_mul(kind.connection());
        let (octets, open, table) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::default());
        Self { shared: Arc::new(SharedTable { most, per_client, octets, open, table }) }
    }

    /// A place for a connection of a kind; others may be closed for it. Nothing when all are in use.
    pub fn admit(&self, client: IpAddr, kind: OctetKind) -> Option<ConnectionPlace> {
        let shared = &self.shared;
        let client = match client_key(client) {
            local if local.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            other => other,
        };
        // One alone has a place, however many octets it takes.
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

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl SharedTable {
    /// Closes a connection; nothing when there is none to close.
    fn close(&self, table: &mut ConnectionTable, seat: Option<Arc<Seat>>) -> Option<()> {
        let seat = seat?;
        self.remove(table, &seat);
        seat.closer.close();
        Some(())
    }

    /// Takes a connection out of the table, if it is there.
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
    /// The connection has had a question answered, or its peer has taken octets.
    pub fn used(&self, at: Instant) {
        self.seat.used.store(millis(at), Ordering::Relaxed);
    }

    /// Questions are being answered, or octets wait to be sent.
    pub fn set_busy(&self, questions: usize, writing: bool) {
        self.seat.questions.store(questions as u32, Ordering::Relaxed);
        self.seat.writing.store(writing.into(), Ordering::Relaxed);
    }

    /// A question is being answered until the guard is dropped.
    pub fn asking(&self) -> Asking {
        self.seat.questions.fetch_add(1, Ordering::Relaxed);
        self.seat.used.store(now(), Ordering::Relaxed);
        Asking(self.seat.clone())
    }

    /// A request is being answered until the guard is dropped. Nothing for a connection that has lost its place: what a
    /// request changes must not be begun on a connection that is about to end.
    pub fn request(&self) -> Option<Asking> {
        let table = self.shared.table(); // no place is taken away meanwhile
        table.has(&self.seat).then(|| self.asking())
    }

    /// Octets of an answer wait to be sent until the guard is dropped.
    pub fn writing(&self) -> Writing {
        self.seat.writing.fetch_add(1, Ordering::Relaxed);
        Writing(self.seat.clone())
    }

    /// The client has taken an answer.
    pub fn took(&self) {
        self.seat.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers that the client has taken.
    pub fn taken(&self) -> usize {
        self.seat.taken.load(Ordering::Relaxed)
    }

    /// How long the connection has had no question; nothing while one is being answered or its answer sent.
    pub fn idle(&self) -> Option<Duration> {
        let idle = now().saturating_sub(self.seat.used.load(Ordering::Relaxed));
        let busy =
            self.seat.questions.load(Ordering::Relaxed) > 0 || self.seat.writing.load(Ordering::Relaxed) > 0;
        (!busy).then(|| Duration::from_millis(idle))
    }

    /// True when few connections are open, so that each may keep memory for its next questions.
    pub fn is_among_few(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed) <= 64
    }

    /// Returns when the connection was closed for another one.
    pub async fn closed(&self) {
        self.seat.closer.closed().await;
    }

    /// Has a task aborted when the connection is closed for another one.
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
    /// The client has taken some of them.
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
    /// What it is listed under.
    fn key(&self, list: ConnectionList) -> (u64, u64) {
        (self.listed[list as usize].load(Ordering::Relaxed), self.number)
    }

    /// True when the connection may be closed for another one.
    fn gives_way(&self, now: u64) -> bool {
        let unused = now.saturating_sub(self.used.load(Ordering::Relaxed));
        let writing = self.writing.load(Ordering::Relaxed) > 0;
        self.questions.load(Ordering::Relaxed) == 0 && (!writing || u128::from(unused) >= STALLED.as_millis())
    }
}

/// The connection of a list that is idle longest; nothing when none may be closed.
fn idle_longest(seats: Option<&mut Seats>, list: ConnectionList) -> Option<Arc<Seat>> {
    let (now, seats) = (now(), seats?);
    let mut longest: Option<(u64, Arc<Seat>)> = None;
    // The list is in the order of the last look: a connection that was used since is listed anew.
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

    /// True when it is there.
    fn has(&self, seat: &Seat) -> bool {
        self.all.contains_key(&seat.key(ConnectionList::All))
    }

    /// True when it was there.
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
