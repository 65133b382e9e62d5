//! Response rate limiting for UDP: a server without a limit can be abused to flood the spoofed address of a victim.
//!
//! A token bucket for each network (/24 or /56), in a table of fixed size; networks with the same bucket share its
//! tokens. Beyond the limit every second query gets TC, so that a real client retries over TCP, and the others are
//! dropped. Loopback addresses cannot be forged from outside and are exempt.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of buckets. Two busy networks share one with a probability of 1 in 4096.
const BUCKETS: usize = 4096;

/// Burst size of a network, in seconds of its rate.
const BURST: u64 = 2;

/// The highest rate: the tokens of a bucket have 32 bits.
pub const MAX_RATE: u32 = 1_000_000;

/// The verdict of the rate limiter on a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Within,
    /// It is answered with TC only.
    Slip,
    /// It is dropped.
    Drop,
}

/// The limiter.
#[derive(Debug)]
pub struct RateLimiter {
    /// Answers a second.
    rate: u64,
    /// Secret seed of the bucket index.
    seed: u64,
    /// For each bucket the time at which it is full again, in thousandths of a token since start of the clock. A
    /// single word is sufficient: a thread with an older clock reading finds fewer tokens, and cannot refill the
    /// bucket.
    buckets: Box<[AtomicU64]>,
    /// Number of limited queries.
    held_back: AtomicU64,
}

impl RateLimiter {
    /// A limiter for `rate` answers a second and network; none for 0.
    pub fn new(rate: u32, seed: u64) -> Option<Self> {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        (rate > 0).then_some(Self {
            rate: u64::from(rate.min(MAX_RATE)),
            seed,
            buckets,
            held_back: AtomicU64::new(0),
        })
    }

    /// Takes a token for a query from `client` at `now`, in milliseconds.
    pub fn take(&self, client: IpAddr, now: u64) -> Verdict {
        if client.is_loopback() {
            return Verdict::Within;
        }
        // The clock in thousandths of a token: `rate` of them per millisecond.
        let now = now.saturating_mul(self.rate);
        let latest = now.saturating_add((self.rate * BURST - 1) * 1000);
        let take = |full_at: u64| (full_at <= latest).then(|| full_at.max(now).saturating_add(1000));
        let bucket = &self.buckets[self.place(client)];
        let within = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if within {
            return Verdict::Within;
        }
        match self.held_back.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Verdict::Slip,
            _ => Verdict::Drop,
        }
    }

    /// Number of limited queries so far.
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

    fn answered(paces: &RateLimiter, client: &str, now: u64, queries: usize) -> usize {
        let client = client.parse().unwrap();
        (0..queries).filter(|_| paces.take(client, now) == Verdict::Within).count()
    }

    #[test]
    fn a_network_gets_its_rate_and_a_burst() {
        let paces = RateLimiter::new(100, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", 5000, 1000), 200, "the burst");
        assert_eq!(answered(&paces, "192.0.2.200", 5000, 10), 0, "one network");
        assert_eq!(answered(&paces, "192.0.2.1", 5500, 1000), 50, "half a second's worth");
        assert_eq!(answered(&paces, "192.0.2.1", 500_000, 1000), 200, "never more than the burst");
        assert_eq!(answered(&paces, "198.51.100.1", 5500, 10), 10, "another network");
        assert_eq!(answered(&paces, "127.0.0.1", 5500, 1000), 1000, "loopback");
    }

    #[test]
    fn every_second_one_beyond_is_told_to_come_over_tcp() {
        let paces = RateLimiter::new(1, 1).unwrap();
        let client = "2001:db8::1".parse().unwrap();
        let seen: Vec<Verdict> = (0..6).map(|_| paces.take(client, 0)).collect();
        use Verdict::{Drop, Slip, Within};
        assert_eq!(seen, [Within, Within, Slip, Drop, Slip, Drop]);
        assert_eq!(paces.held_back(), 4);
    }

    #[test]
    fn the_clock_may_wrap() {
        let paces = RateLimiter::new(100, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", u64::from(u32::MAX) - 10, 1000), 200);
        assert_eq!(answered(&paces, "192.0.2.1", u64::from(u32::MAX) + 90, 1000), 10);
    }

    #[test]
    fn an_earlier_moment_refills_nothing() {
        let paces = RateLimiter::new(100, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", 5000, 1000), 200);
        let interleaved = [4999, 5000, 4990, 5001, 4000, 0, 5002, 4999];
        let answers: usize = interleaved.iter().map(|now| answered(&paces, "192.0.2.1", *now, 100)).sum();
        assert_eq!(answers, 0, "less than a token's time has passed");
        assert_eq!(answered(&paces, "192.0.2.1", 5010, 100), 1);
        assert_eq!(answered(&paces, "192.0.2.1", 4000, 100), 0);
        assert_eq!(answered(&paces, "192.0.2.1", 5020, 100), 1, "the clock of the bucket did not go back");
    }

    #[test]
    fn a_bucket_that_was_left_alone_for_weeks_is_full() {
        const DAY: u64 = 86_400_000;
        for days in [20, 25, 30, 49, 50, 75, 400] {
            let paces = RateLimiter::new(100, 1).unwrap();
            assert_eq!(answered(&paces, "192.0.2.1", 5000, 1000), 200);
            assert_eq!(answered(&paces, "192.0.2.1", 5000 + days * DAY, 1000), 200, "after {days} days");
        }
    }

    #[test]
    fn two_threads_get_what_one_gets() {
        const RATE: u32 = 1000;
        let one = RateLimiter::new(RATE, 1).unwrap();
        let alone: usize = (1000..7000).map(|now| answered(&one, "192.0.2.1", now, 3)).sum();
        let two = RateLimiter::new(RATE, 1).unwrap();
        // each thread's clock jumps back and forth by a millisecond, as readings of two threads do
        let sender = |odd: u64| {
            let two = &two;
            move || {
                (1000..7000).map(|now| answered(two, "192.0.2.1", now - (now + odd) % 2, 3)).sum::<usize>()
            }
        };
        let together: usize = std::thread::scope(|scope| {
            let threads = [0, 1].map(|odd| scope.spawn(sender(odd)));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(alone, 8 * RATE as usize - 1);
        assert!(together <= alone + 1, "{together} answers where one sender gets {alone}");
        assert!(two.held_back() > 0);
    }

    #[test]
    fn the_highest_rate_is_exact() {
        assert_eq!(MAX_RATE, crate::config::MAX_RATE_PER_NETWORK);
        let paces = RateLimiter::new(MAX_RATE, 1).unwrap();
        assert_eq!(answered(&paces, "192.0.2.1", 5000, 3_000_000), 2_000_000);
        assert_eq!(answered(&paces, "192.0.2.1", 5001, 3000), 1000);
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(RateLimiter::new(0, 1).is_none());
    }
}
