//! How much may be going on at once: questions that wait for an upstream, in all and for one client.
//!
//! Answers from zones and the cache need no permit, so that an overload by misses leaves them alone.

use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hands out permits.
#[derive(Clone, Debug)]
pub struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    most_per_client: usize,
    all: AtomicUsize,
    /// Clients of this machine are not counted apart: they may take all there is.
    by_client: Mutex<HashMap<IpAddr, usize, DefaultHashBuilder>>,
}

/// The right to wait for an upstream; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    /// A client that is counted.
    client: Option<IpAddr>,
}

impl Limits {
    /// At most `most` questions in flight, and from one client off this machine at most a quarter of them.
    pub fn new(most: usize) -> Self {
        let (all, by_client) = (AtomicUsize::new(0), Mutex::default());
        Self { shared: Arc::new(Shared { most, most_per_client: (most / 4).max(1), all, by_client }) }
    }

    /// A permit for a question of this client, if there is one left.
    pub fn begin(&self, client: IpAddr) -> Option<Permit> {
        let shared = self.shared.clone();
        if shared.all.fetch_add(1, Ordering::Relaxed) >= shared.most {
            shared.all.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut permit = Permit { shared, client: None };
        let client = party(client);
        if client.is_loopback() {
            return Some(permit);
        }
        let mut by_client = self.shared.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_client.entry(client).or_insert(0);
        if *own >= self.shared.most_per_client {
            return None; // it has some, so that its place in the map is not a new one
        }
        *own += 1;
        permit.client = Some(client);
        Some(permit)
    }

    /// How many questions are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.all.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
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

/// The address that stands for a client where clients are counted: an IPv4 address, or the /64 that one IPv6 host
/// usually has to itself.
pub fn party(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_in_all_and_by_client_and_come_back() {
        let limits = Limits::new(8);
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let held: Vec<Permit> = std::iter::from_fn(|| limits.begin(far)).collect();
        assert_eq!(held.len(), 2, "a quarter for one client");
        let local: Vec<Permit> = std::iter::from_fn(|| limits.begin(here)).collect();
        assert_eq!(local.len(), 6, "this machine may take what is left");
        drop(held);
        assert_eq!(limits.in_flight(), 6);
        drop(local);
        assert_eq!(limits.in_flight(), 0);
        assert!(limits.begin(far).is_some());
    }

    #[test]
    fn the_addresses_of_one_64_are_one_client() {
        let limits = Limits::new(4);
        let _one = limits.begin("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limits.begin("2001:db8::2".parse().unwrap()).is_none());
        assert!(limits.begin("2001:db8:0:1::2".parse().unwrap()).is_some());
    }
}
