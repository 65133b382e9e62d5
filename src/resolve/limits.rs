//! How much may be going on at once: questions that wait for an upstream, in all and for one client.
//!
//! Answers from zones and the cache need no permit, so that an overload by misses leaves them alone.
//!
//! At a limit the newest question is refused: one that has a permit keeps it until it is answered, over all hops of its
//! chain and on whatever way it is asked. A group of upstream servers may hold three times as many permits as are free,
//! where there are other groups: alone it gets three quarters of them, and however many groups are slow at a time, some
//! are left for the names of the others (dynamic thresholds, as switches share a buffer among their ports).

use crate::base::client_key::client_key;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A group may hold this many times the permits that are free.
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
    /// Clients of this machine are not counted apart: they may take all there is.
    by_client: Mutex<HashMap<IpAddr, usize, DefaultHashBuilder>>,
}

/// The right to wait for an upstream; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<PermitCounts>,
    /// A client that is counted.
    client: Option<IpAddr>,
    /// The count of the group that is asked, if it is counted.
    group: Option<Arc<AtomicUsize>>,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The client has as many as one client may.
    Client,
    /// The group has as many as one group may.
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
    /// At most `most` questions in flight, and from one client off this machine at most a quarter of them.
    pub fn new(most: usize) -> Self {
        let (all, by_client) = (AtomicUsize::new(0), Mutex::default());
        Self { shared: Arc::new(PermitCounts { most, most_per_client: (most / 4).max(1), all, by_client }) }
    }

    /// A permit for a question of this client to a group, whose permits are counted in `group`; nothing there if it
    /// is the only one.
    ///
    /// # Errors
    /// There is none left.
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
            return Err(Full::Client); // it has some, so that its place in the map is not a new one
        }
        *own += 1;
        permit.client = Some(client);
        Ok(permit)
    }

    /// How many questions are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.all.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// The question goes on to another group, or to the same.
    ///
    /// # Errors
    /// That group has as many permits as it may have. This one stays with the group that it is counted for.
    pub fn move_to(&mut self, group: Option<&Arc<AtomicUsize>>) -> Result<(), Full> {
        let is_same = match (&self.group, group) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        if is_same {
            return Ok(());
        }
        // its own permit is free for the group that it goes to
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

    /// Counts it for a group, in any case; an error when that has too many.
    fn enter(&mut self, group: Option<&Arc<AtomicUsize>>, free: usize) -> Result<(), Full> {
        let Some(group) = group else { return Ok(()) };
        let own = group.fetch_add(1, Ordering::Relaxed);
        self.group = Some(group.clone());
        if own < free.saturating_mul(GROUP_TIMES_FREE) { Ok(()) } else { Err(Full::Group) }
    }
}

/// One permit less for a group.
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
