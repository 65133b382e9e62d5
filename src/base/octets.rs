//! Pending octets and their limits.
//!
//! Each connection, and each log with a reader, has an [`OctetAccount`] of a [`OctetKind`]. Octets are reserved before
//! they are produced and released when their reservation is dropped. Each account has a limit, and all accounts of a
//! kind share a total. When the total is used up, the account whose peer has read nothing for the longest time is
//! ended.

use super::clock::{instant, millis};
use super::closer::Closer;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Limit of pending octets of one connection.
pub const OF_CONNECTION: usize = 256 << 10;

/// A peer that reads nothing for this long is disconnected.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// At the total limit, an account whose peer has read nothing for this long is ended.
const STALLED: Duration = Duration::from_millis(500);

/// Interval at which a waiting reservation looks for an account to end.
const LOOK: Duration = Duration::from_millis(100);

/// What octets wait for. A listener or log with a queue has a kind of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OctetKind {
    /// DNS over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS, by HTTP/2.
    Https,
    /// DNS over QUIC.
    Quic,
    /// DNS over HTTPS, by HTTP/3.
    Http3,
    /// The PrivateZone API.
    Api,
    /// Metrics, health and the control socket.
    Operations,
    /// The query log.
    QueryLog,
    /// The dnstap log.
    Dnstap,
    /// Queries and replies of the UDP pools.
    Relay,
}

impl OctetKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Tcp,
        Self::Tls,
        Self::Https,
        Self::Quic,
        Self::Http3,
        Self::Api,
        Self::Operations,
        Self::QueryLog,
        Self::Dnstap,
        Self::Relay,
    ];

    /// Octets that a connection of the kind takes beside what is counted, with the streams that a new one may have: what
    /// it counts as where places are given.
    pub const fn connection(self) -> usize {
        match self {
            Self::Tcp => 8 << 10,
            Self::Tls => 32 << 10,
            Self::Https | Self::Quic | Self::Http3 => 80 << 10,
            Self::Api | Self::Operations => 16 << 10,
            Self::QueryLog | Self::Dnstap | Self::Relay => 0,
        }
    }

    /// Octets beyond the total that may be there already when they are counted.
    pub const fn debt(self) -> usize {
        match self {
            Self::Tcp | Self::Tls | Self::Https | Self::Quic | Self::Http3 => self.total() / 2,
            Self::Api => 512 << 10,
            Self::Operations | Self::QueryLog | Self::Dnstap | Self::Relay => 0,
        }
    }

    /// Octets that may wait for all accounts of the kind.
    pub const fn total(self) -> usize {
        match self {
            Self::Tcp => 2 << 20,
            Self::Tls | Self::Https | Self::Quic | Self::Http3 => 1 << 20,
            Self::Api => 3 << 20,
            Self::Operations => 512 << 10,
            Self::QueryLog | Self::Dnstap | Self::Relay => 1 << 20,
        }
    }
}

/// The totals of all kinds. A copy is the same totals.
#[derive(Clone, Debug)]
pub struct Octets {
    totals: Arc<[Arc<Total>; OctetKind::ALL.len()]>,
}

impl Default for Octets {
    fn default() -> Self {
        Self::of(OctetKind::total, OctetKind::debt)
    }
}

/// The total of a kind.
#[derive(Debug)]
struct Total {
    most: usize,
    most_debt: usize,
    room: Arc<Semaphore>,
    /// Octets beyond the total; they were there before they could be counted.
    debt: AtomicUsize,
    /// The accounts by when their peers last took something, as far as was looked.
    accounts: Mutex<BTreeMap<(u64, u64), Arc<OctetState>>>,
    next: AtomicU64,
}

/// What an account and its reservations share.
#[derive(Debug)]
struct OctetState {
    number: u64,
    total: Arc<Total>,
    room: Arc<Semaphore>,
    held: AtomicUsize,
    /// When the peer last took something, in milliseconds.
    taken: AtomicU64,
    /// The time that the account is listed under; changed under the list's lock.
    listed: AtomicU64,
    closer: Closer,
}

/// The octets of one connection or log.
#[derive(Debug)]
pub struct OctetAccount {
    state: Arc<OctetState>,
}

/// Octets that are counted; they come back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    state: Arc<OctetState>,
    octets: usize,
    own: Option<OwnedSemaphorePermit>,
    total: Option<OwnedSemaphorePermit>,
    debt: bool,
}

impl Octets {
    /// Totals of other sizes; half as much again may be there when it is counted.
    pub fn with(total: impl Fn(OctetKind) -> usize) -> Self {
        Self::of(&total, |kind| total(kind) / 2)
    }

    fn of(total: impl Fn(OctetKind) -> usize, debt: impl Fn(OctetKind) -> usize) -> Self {
        let make = |kind| Arc::new(Total::new(total(kind), debt(kind)));
        Self { totals: Arc::new(OctetKind::ALL.map(make)) }
    }

    /// An account for a connection, with a bound of its own.
    pub fn account(&self, kind: OctetKind, most: usize) -> OctetAccount {
        OctetAccount::of(self.totals[kind as usize].clone(), most)
    }

    /// Octets of a kind that wait now.
    pub fn waiting(&self, kind: OctetKind) -> usize {
        let total = &self.totals[kind as usize];
        total.most - total.room.available_permits() + total.debt.load(Ordering::Relaxed)
    }
}

impl OctetAccount {
    /// An account with a total of its own, of this many octets.
    pub fn alone(most: usize) -> Self {
        Self::of(Arc::new(Total::new(most, 0)), most)
    }

    fn of(total: Arc<Total>, most: usize) -> Self {
        let number = total.next.fetch_add(1, Ordering::Relaxed);
        let now = now();
        let room = Arc::new(Semaphore::new(most.min(total.most)));
        let state = Arc::new(OctetState {
            number,
            total,
            room,
            held: AtomicUsize::new(0),
            taken: AtomicU64::new(now),
            listed: AtomicU64::new(now),
            closer: Closer::default(),
        });
        state.total.list().insert((now, number), state.clone());
        Self { state }
    }

    /// Reserves octets if the account and its kind have room for them.
    pub fn try_reserve(&self, octets: usize) -> Option<Reserved> {
        let permits = u32::try_from(octets).ok()?;
        let own = self.state.room.clone().try_acquire_many_owned(permits).ok()?;
        let total = self.state.total.room.clone().try_acquire_many_owned(permits).ok()?;
        Some(self.reserved(octets, Some(own), Some(total), false))
    }

    /// Reserves octets, and waits until there is room for them. More than the account can ever have are cut to that.
    pub async fn reserve(&self, octets: usize) -> Reserved {
        let OctetState { room, total, .. } = &*self.state;
        let octets = octets.min(OF_CONNECTION).min(total.most);
        let permits = u32::try_from(octets).unwrap_or(u32::MAX);
        let own = room.clone().acquire_many_owned(permits).await.ok();
        if let Ok(shared) = total.room.clone().try_acquire_many_owned(permits) {
            return self.reserved(octets, own, Some(shared), false);
        }
        let mut acquiring = std::pin::pin!(total.room.clone().acquire_many_owned(permits));
        loop {
            total.make_room(octets, self.state.number);
            tokio::select! {
                shared = &mut acquiring => return self.reserved(octets, own, shared.ok(), false),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Counts octets that are there already, or come without being asked for. Nothing when the account has no room for
    /// them, or they are too many for the kind: who sends them must be refused.
    pub fn hold(&self, octets: usize) -> Option<Reserved> {
        let permits = u32::try_from(octets).ok()?;
        let own = self.state.room.clone().try_acquire_many_owned(permits).ok()?;
        self.count(octets, Some(own))
    }

    /// The same for buffers that have a bound of their own beside that of the account.
    pub fn hold_beside(&self, octets: usize) -> Option<Reserved> {
        self.count(octets, None)
    }

    fn count(&self, octets: usize, own: Option<OwnedSemaphorePermit>) -> Option<Reserved> {
        let total = &self.state.total;
        let permits = u32::try_from(octets).ok()?;
        if let Ok(shared) = total.room.clone().try_acquire_many_owned(permits) {
            return Some(self.reserved(octets, own, Some(shared), false));
        }
        // Those that are ended give back as much in a moment.
        let debt = total.debt.fetch_add(octets, Ordering::Relaxed) + octets;
        if total.make_room(octets, self.state.number) < octets && debt > total.most_debt {
            total.debt.fetch_sub(octets, Ordering::Relaxed);
            return None;
        }
        Some(self.reserved(octets, own, None, true))
    }

    /// The peer has read octets.
    pub fn progress(&self) {
        self.state.taken.store(now(), Ordering::Relaxed);
    }

    /// Octets that are reserved.
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::Relaxed)
    }

    /// How long octets wait already of which the peer has taken nothing.
    pub fn stalled(&self) -> Duration {
        self.state.stalled(now())
    }

    /// Returns when the account was ended for others.
    pub async fn ended(&self) {
        self.state.closer.closed().await;
    }

    /// Has a task aborted when the account is ended.
    pub fn aborts(&self, task: AbortHandle) {
        self.state.closer.aborts(task);
    }

    fn reserved(
        &self,
        octets: usize,
        own: Option<OwnedSemaphorePermit>,
        total: Option<OwnedSemaphorePermit>,
        debt: bool,
    ) -> Reserved {
        if self.state.held.fetch_add(octets, Ordering::Relaxed) == 0 {
            self.progress();
        }
        Reserved { state: self.state.clone(), octets, own, total, debt }
    }
}

impl Drop for OctetAccount {
    fn drop(&mut self) {
        let mut accounts = self.state.total.list();
        accounts.remove(&(self.state.listed.load(Ordering::Relaxed), self.state.number));
    }
}

impl Reserved {
    /// How many they are.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Releases all but this many.
    pub fn shrink_to(&mut self, octets: usize) {
        let back = self.octets.saturating_sub(octets);
        drop(self.own.as_mut().and_then(|own| own.split(back)));
        drop(self.total.as_mut().and_then(|total| total.split(back)));
        self.give_back(back);
        self.octets -= back;
    }

    /// The peer has taken some of them.
    pub fn progress(&self) {
        self.state.taken.store(now(), Ordering::Relaxed);
    }

    fn give_back(&self, octets: usize) {
        self.state.held.fetch_sub(octets, Ordering::Relaxed);
        if self.debt {
            self.state.total.debt.fetch_sub(octets, Ordering::Relaxed);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back(self.octets);
    }
}

impl OctetState {
    fn stalled(&self, now: u64) -> Duration {
        match self.held.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(now.saturating_sub(self.taken.load(Ordering::Relaxed))),
        }
    }
}

impl Total {
    fn new(most: usize, most_debt: usize) -> Self {
        let (room, debt) = (Arc::new(Semaphore::new(most)), AtomicUsize::new(0));
        Self { most, most_debt, room, debt, accounts: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Ends stalled accounts, the longest stalled first, until this many octets will come back; how many will.
    fn make_room(&self, octets: usize, except: u64) -> usize {
        let mut accounts = self.list();
        let now = now();
        let mut freed = 0;
        // The list is in the order of the last look: an account that has moved since is listed anew.
        for _ in 0..accounts.len() {
            if freed >= octets {
                break;
            }
            let Some(((listed, number), account)) = accounts.pop_first() else { break };
            let stalled = account.stalled(now);
            if number != except && stalled >= STALLED {
                freed += account.held.load(Ordering::Relaxed);
                account.closer.close();
                continue;
            }
            let oldest = stalled.is_zero() || number == except;
            let since = if oldest { now } else { account.taken.load(Ordering::Relaxed) };
            account.listed.store(since, Ordering::Relaxed);
            accounts.insert((since, number), account);
            if listed >= now.saturating_sub(STALLED.as_millis() as u64) {
                break; // none behind it has been listed for long enough to be stalled
            }
        }
        freed
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Arc<OctetState>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    millis(instant())
}

#[cfg(test)]
#[path = "octets_tests.rs"]
mod tests;
