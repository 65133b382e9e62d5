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

/// The kind of a listener or log with pending octets.
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
    /// All kinds.
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

    /// Octets of memory of a connection of the kind, with the streams of a new one, beside its pending octets. The
    /// table of connections uses it as the size of a connection.
    pub const fn connection(self) -> usize {
        match self {
            Self::Tcp => 8 << 10,
            Self::Tls => 32 << 10,
            Self::Https | Self::Quic | Self::Http3 => 80 << 10,
            Self::Api | Self::Operations => 16 << 10,
            Self::QueryLog | Self::Dnstap | Self::Relay => 0,
        }
    }

    /// Octets above the total that may exist before they are counted.
    pub const fn debt(self) -> usize {
        match self {
            Self::Tcp | Self::Tls | Self::Https | Self::Quic | Self::Http3 => self.total() / 2,
            Self::Api => 512 << 10,
            Self::Operations | Self::QueryLog | Self::Dnstap | Self::Relay => 0,
        }
    }

    /// The most pending octets of all accounts of the kind.
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

/// The totals of all kinds. Copies share them.
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
    /// Octets above the total, which existed before they were counted.
    debt: AtomicUsize,
    /// The accounts by the last known time at which their peers read something.
    accounts: Mutex<BTreeMap<(u64, u64), Arc<OctetState>>>,
    next: AtomicU64,
}

/// The shared state of an account and its reservations.
#[derive(Debug)]
struct OctetState {
    number: u64,
    total: Arc<Total>,
    room: Arc<Semaphore>,
    held: AtomicUsize,
    /// The last time at which the peer read something, in milliseconds.
    taken: AtomicU64,
    /// The account's time in the list; changed under the list's lock.
    listed: AtomicU64,
    closer: Closer,
}

/// The account of one connection or log.
#[derive(Debug)]
pub struct OctetAccount {
    state: Arc<OctetState>,
}

/// Reserved octets, released on drop.
#[derive(Debug)]
pub struct Reserved {
    state: Arc<OctetState>,
    octets: usize,
    own: Option<OwnedSemaphorePermit>,
    total: Option<OwnedSemaphorePermit>,
    debt: bool,
}

impl Octets {
    /// Totals of other sizes; half as much again may exist before it is counted.
    pub fn with(total: impl Fn(OctetKind) -> usize) -> Self {
        Self::of(&total, |kind| total(kind) / 2)
    }

    fn of(total: impl Fn(OctetKind) -> usize, debt: impl Fn(OctetKind) -> usize) -> Self {
        let make = |kind| Arc::new(Total::new(total(kind), debt(kind)));
        Self { totals: Arc::new(OctetKind::ALL.map(make)) }
    }

    /// An account of a connection, with its own limit.
    pub fn account(&self, kind: OctetKind, most: usize) -> OctetAccount {
        OctetAccount::of(self.totals[kind as usize].clone(), most)
    }

    /// The pending octets of a kind.
    pub fn waiting(&self, kind: OctetKind) -> usize {
        let total = &self.totals[kind as usize];
        total.most - total.room.available_permits() + total.debt.load(Ordering::Relaxed)
    }
}

impl OctetAccount {
    /// An account with its own total, of this many octets.
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

    /// Reserves octets, and waits until there is room for them; at most as many as the account's limit.
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

    /// Counts octets that exist already, or arrive unsolicited. None if the account has no room for them, or they are
    /// too many for the kind: their sender must be refused.
    pub fn hold(&self, octets: usize) -> Option<Reserved> {
        let permits = u32::try_from(octets).ok()?;
        let own = self.state.room.clone().try_acquire_many_owned(permits).ok()?;
        self.count(octets, Some(own))
    }

    /// The same for buffers with a limit beside that of the account.
    pub fn hold_beside(&self, octets: usize) -> Option<Reserved> {
        self.count(octets, None)
    }

    fn count(&self, octets: usize, own: Option<OwnedSemaphorePermit>) -> Option<Reserved> {
        let total = &self.state.total;
        let permits = u32::try_from(octets).ok()?;
        if let Ok(shared) = total.room.clone().try_acquire_many_owned(permits) {
            return Some(self.reserved(octets, own, Some(shared), false));
        }
        // The accounts that are ended soon release as much.
        let debt = total.debt.fetch_add(octets, Ordering::Relaxed) + octets;
        if total.make_room(octets, self.state.number) < octets && debt > total.most_debt {
            total.debt.fetch_sub(octets, Ordering::Relaxed);
            return None;
        }
        Some(self.reserved(octets, own, None, true))
    }

    /// Records that the peer has read octets.
    pub fn progress(&self) {
        self.state.taken.store(now(), Ordering::Relaxed);
    }

    /// The reserved octets.
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::Relaxed)
    }

    /// The time for which the peer has read nothing of the pending octets.
    pub fn stalled(&self) -> Duration {
        self.state.stalled(now())
    }

    /// Returns when the account is ended for others.
    pub async fn ended(&self) {
        self.state.closer.closed().await;
    }

    /// Aborts the task when the account is ended.
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
    /// The number of octets.
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

    /// Records that the peer has read some of them.
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

    /// Ends stalled accounts, the longest stalled first, to release this many octets; returns how many are released.
    fn make_room(&self, octets: usize, except: u64) -> usize {
        let mut accounts = self.list();
        let now = now();
        let mut freed = 0;
        // The list has the times of the last examination: an account with progress since is sorted in again.
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
                break; // no later one is stalled
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
