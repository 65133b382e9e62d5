//! How much of our attention a client's address may take over UDP, where addresses can be forged: a server that
//! answers everybody at any rate is somebody's weapon against a third.
//!
//! A bucket of tokens for each network (/24 or /56), in a table of fixed size; networks that share a bucket share
//! its tokens. What is beyond is answered with TC every second time, so that an honest client comes over TCP, and
//! not at all else. Loopback cannot be forged from outside and is not limited.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets. Two busy networks share one with a probability of 1 in 4096.
const BUCKETS: usize = 4096;

/// Answers that a network may take at once, in seconds of its rate.
const BURST: u64 = 2;

/// The highest rate that can be limited to: the tokens of a bucket have 32 bits.
pub const MAX_RATE: u32 = 1_000_000;

/// What becomes of a query by its client's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is answered.
    Within,
    /// It is answered with nothing but TC.
    Slip,
    /// It is not answered.
    Beyond,
}

/// The limiter.
#[derive(Debug)]
pub struct Paces {
    /// Answers a second.
    rate: u64,
    /// Hides which networks share a bucket.
    seed: u64,
    /// Thousandths of tokens and milliseconds of the last look, in one word.
    buckets: Box<[AtomicU64]>,
    /// Queries that were not answered in full.
    held_back: AtomicU64,
}

impl Paces {
    /// A limiter for `rate` answers a second and network; none for 0.
    pub fn new(rate: u32, seed: u64) -> Option<Self> {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(u64::MAX)).collect();
        (rate > 0).then_some(Self {
            rate: u64::from(rate.min(MAX_RATE)),
            seed,
            buckets,
            held_back: AtomicU64::new(0),
        })
    }

    /// Takes a token for a query from `client` at `now`, in milliseconds.
    pub fn take(&self, client: IpAddr, now: u64) -> Pace {
        if client.is_loopback() {
            return Pace::Within;
        }
        let full = self.rate * BURST * 1000;
        let now = now & 0xffff_ffff;
        let mut within = true;
        let take = |word: u64| {
            // Never used: full.
            let (tokens, then) =
                if word == u64::MAX { (full, now) } else { (word >> 32, word & 0xffff_ffff) };
            let passed = now.wrapping_sub(then) & 0xffff_ffff;
            let tokens = tokens.saturating_add(passed.saturating_mul(self.rate)).min(full);
            within = tokens >= 1000;
            Some((if within { tokens - 1000 } else { tokens }) << 32 | now)
        };
        let bucket = &self.buckets[self.place(client)];
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take); // `take` never declines
        if within {
            return Pace::Within;
        }
        match self.held_back.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Pace::Slip,
            _ => Pace::Beyond,
        }
    }

    /// Queries that were not answered in full so far.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// The bucket of a client's network.
    fn place(&self, client: IpAddr) -> usize {
        let network = match client.to_canonical() {
            IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
            IpAddr::V6(ip) => (u128::from(ip) >> 72) as u64,
        };
        let mixed = (network ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 52) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(paces: &Paces, client: &str, now: u64, queries: usize) -> usize {
        let client = client.parse().unwrap();
        (0..queries).filter(|_| paces.take(client, now) == Pace::Within).count()
    }

    #[test]
    fn a_network_gets_its_rate_and_a_burst() {
        let paces = Paces::new(100, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", 5000, 1000), 200, "the burst");
        assert_eq!(answered(&paces, "192.0.2.200", 5000, 10), 0, "one network");
        assert_eq!(answered(&paces, "192.0.2.1", 5500, 1000), 50, "half a second's worth");
        assert_eq!(answered(&paces, "192.0.2.1", 500_000, 1000), 200, "never more than the burst");
        assert_eq!(answered(&paces, "198.51.100.1", 5500, 10), 10, "another network");
        assert_eq!(answered(&paces, "127.0.0.1", 5500, 1000), 1000, "loopback");
    }

    #[test]
    fn every_second_one_beyond_is_told_to_come_over_tcp() {
        let paces = Paces::new(1, 1).unwrap();
        let client = "2001:db8::1".parse().unwrap();
        let seen: Vec<Pace> = (0..6).map(|_| paces.take(client, 0)).collect();
        use Pace::{Beyond, Slip, Within};
        assert_eq!(seen, [Within, Within, Slip, Beyond, Slip, Beyond]);
        assert_eq!(paces.held_back(), 4);
    }

    #[test]
    fn the_clock_may_wrap() {
        let paces = Paces::new(100, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", u64::from(u32::MAX) - 10, 1000), 200);
        assert_eq!(answered(&paces, "192.0.2.1", u64::from(u32::MAX) + 90, 1000), 10);
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(Paces::new(0, 1).is_none());
    }
}
