//! Limits of queries that wait for an upstream, in total, for each client and for each group.
//!
//! Answers from zones and the cache need no permit, so that an overload of misses does not affect them.
//!
//! At a limit the newest query is refused: a query keeps its permit until it is answered, over all hops of its chain
//! and on each path. If there are several groups of upstream servers, a group may hold three times as many permits as
//! are free: a single slow group gets three quarters, and some permits always remain for other groups (dynamic
//! thresholds, as in shared switch buffers).

use crate::base::client_key::client_key;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A group may hold this many times the free permits.
const GROUP_TIMES_FREE: usize = 3;

/// Hands out permits.
#[derive(Clone, Debug)]
pub struct Limits {
    shared: Arc<PermitCounts>,
}

#[derive(Debug)]
struct PermitCounts {
    most: usize,
    most_per_client: usize,
    all: AtomicUsize,
    /// Clients on this machine have no separate limit.
    by_client: Mutex<HashMap<IpAddr, usize, DefaultHashBuilder>>,
}

/// The permit to wait for an upstream; released on drop.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<PermitCounts>,
    /// A client that is counted.
    client: Option<IpAddr>,
    /// The counter of the group, if it is limited.
    group: Option<Arc<AtomicUsize>>,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No permit is free.
    All,
    /// The client is at its limit.
    Client,
    /// The group is at its limit.
    Group,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "too many queries are waiting for an upstream",
            Self::Client => "too many queries of this client are waiting for an upstream",
            Self::Group => "too many queries are waiting for this group of upstream servers",
        })
    }
}

impl Limits {
    /// At most `most` queries in flight, and at most a quarter of them for one client on another machine.
    pub fn new(most: usize) -> Self {
        let (all, by_client) = (AtomicUsize::new(0), Mutex::default());
        Self { shared: Arc::new(PermitCounts { most, most_per_client: (most / 4).max(1), all, by_client }) }
    }

    /// A permit for a query of this client to a group; `group` counts the permits of the group, None if it is the only
    /// one.
    ///
    /// # Errors No permit is free.
    pub fn begin(&self, client: IpAddr, group: Option<&Arc<AtomicUsize>>) -> Result<Permit, Full> {
        let shared = self.shared.clone();
        let before = shared.all.fetch_add(1, Ordering::Relaxed);
        let mut permit = Permit { shared, client: None, group: None };
        let free = self.shared.most.saturating_sub(before);
        if free == 0 {
            return Err(Full::All);
        }
        permit.enter(group, free)?;
        let client = client_key(client);
        if client.is_loopback() {
            return Ok(permit);
        }
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_client.entry(client).or_insert(0);
        if *own >= self.shared.most_per_client {
            return Err(Full::Client); // its entry in the map exists already
        }
        *own += 1;
        permit.client = Some(client);
        Ok(permit)
    }

    /// Number of queries in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.all.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Moves the permit to the next group of the chain.
    ///
    /// # Errors That group is at its limit. The permit stays with its former group.
    pub fn move_to(&mut self, group: Option<&Arc<AtomicUsize>>) -> Result<(), Full> {
        let is_same = match (&self.group, group) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        if is_same {
            return Ok(());
        }
        // its own permit counts as free for the next group
        let free = (self.shared.most + 1).saturating_sub(self.shared.all.load(Ordering::Relaxed));
        let old = self.group.take();
        match self.enter(group, free) {
            Ok(()) => {
                old.iter().for_each(|old| leave(old));
                Ok(())
            }
            Err(full) => {
                self.group.iter().for_each(|group| leave(group));
                self.group = old;
                Err(full)
            }
        }
    }

    /// Counts it for a group in any case; an error if the group exceeds its limit.
    fn enter(&mut self, group: Option<&Arc<AtomicUsize>>, free: usize) -> Result<(), Full> {
        let Some(group) = group else { return Ok(()) };
        let own = group.fetch_add(1, Ordering::Relaxed);
        self.group = Some(group.clone());
        if own < free.saturating_mul(GROUP_TIMES_FREE) { Ok(()) } else { Err(Full::Group) }
    }
}

/// Releases a permit of a group.
fn leave(group: &AtomicUsize) {
    group.fetch_sub(1, Ordering::Relaxed);
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.group.iter().for_each(|group| leave(group));
        self.shared.all.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
