//! How much may be going on at once: questions that wait for an upstream, in all and for one client.
//!
//! Answers from zones and the cache need no permit, so that an overload by misses leaves them alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
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
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The right to wait for an upstream; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl Limits {
    /// At most `most` questions in flight, and from one client off this machine at most a quarter of them.
    pub fn new(most: usize) -> Self {
        let shared = Shared { most, most_per_client: (most / 4).max(1), counts: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// A permit for a question of this client, if there is one left.
    pub fn begin(&self, client: IpAddr) -> Option<Permit> {
        let client = party(client);
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        if counts.all >= self.shared.most || (!client.is_loopback() && own >= self.shared.most_per_client) {
            return None;
        }
        counts.all += 1;
        counts.by_client.insert(client, own + 1);
        drop(counts);
        Some(Permit { shared: self.shared.clone(), client })
    }

    /// How many questions are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that one IPv6 host usually has to itself.
fn party(client: IpAddr) -> IpAddr {
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
