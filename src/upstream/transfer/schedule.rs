//! When a primary is asked again, and how long a copy is good: the timers of a SOA record (RFC 1034 section 4.3.5), within
//! bounds. Pure functions.

use super::content::SoaNumbers;
use crate::engine::cache::Timestamp;

/// The least and the most of the timers for refresh and retry, in seconds.
const PAUSES: (u64, u64) = (1, 14 * 86_400);

/// The least of the timer for expiry: below, no primary could be restarted.
const LEAST_EXPIRE: u64 = 1;

/// Milliseconds until a zone without a copy is tried again, at first and at most.
const FIRST_TRIES: (u64, u64) = (1000, 60_000);

/// The timers of a zone, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTimers {
    refresh: u64,
    retry: u64,
    expire: u64,
}

impl RefreshTimers {
    /// The timers of a SOA record.
    pub fn of(numbers: SoaNumbers) -> Self {
        let pause = |seconds: u32| u64::from(seconds).clamp(PAUSES.0, PAUSES.1) * 1000;
        let expire = u64::from(numbers.expire).max(LEAST_EXPIRE) * 1000;
        // A copy must not expire between two refreshes.
        let refresh = pause(numbers.refresh).min(expire / 2).max(PAUSES.0 * 1000);
        Self { refresh, retry: pause(numbers.retry).min(refresh), expire }
    }

    /// When to ask again after a primary has told; `chance` is from 0 to 1, so that not all ask at once.
    pub fn after_success(&self, now: Timestamp, chance: f64) -> Timestamp {
        later(now, self.refresh, chance)
    }

    /// When to ask again after none has told.
    pub fn after_failure(&self, now: Timestamp, chance: f64) -> Timestamp {
        later(now, self.retry, chance)
    }

    /// When a copy expires that a primary confirmed then.
    pub fn expires(&self, confirmed: Timestamp) -> Timestamp {
        Timestamp(confirmed.0.saturating_add(self.expire))
    }
}

/// When to ask again for a zone of which there is no copy, after a number of tries.
pub fn without_copy(tries: u32, now: Timestamp, chance: f64) -> Timestamp {
    let pause = FIRST_TRIES.0.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(FIRST_TRIES.1);
    later(now, pause, chance)
}

/// A pause later, or up to a quarter of it earlier.
fn later(now: Timestamp, pause: u64, chance: f64) -> Timestamp {
    let earlier = (pause as f64 / 4.0 * chance.clamp(0.0, 1.0)) as u64;
    Timestamp(now.0.saturating_add(pause - earlier.min(pause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn timers(refresh: u32, retry: u32, expire: u32) -> RefreshTimers {
        RefreshTimers::of(SoaNumbers { serial: 1, refresh, retry, expire })
    }

    #[test]
    fn the_timers_of_the_record_count() {
        let timers = timers(3600, 600, 86_400);
        assert_eq!(timers.after_success(NOW, 0.0).since(NOW), 3_600_000);
        assert_eq!(timers.after_success(NOW, 1.0).since(NOW), 2_700_000, "up to a quarter earlier");
        assert_eq!(timers.after_failure(NOW, 0.0).since(NOW), 600_000);
        assert_eq!(timers.expires(NOW).since(NOW), 86_400_000);
    }

    #[test]
    fn odd_timers_neither_spin_nor_wait_for_ever() {
        let zero = timers(0, 0, 0);
        assert_eq!(zero.after_success(NOW, 0.0).since(NOW), 1000);
        assert!(zero.after_failure(NOW, 1.0).since(NOW) >= 750);
        let most = timers(u32::MAX, u32::MAX, u32::MAX);
        assert_eq!(most.after_failure(NOW, 0.0).since(NOW), PAUSES.1 * 1000);
        let short = timers(86_400, 86_400, 60);
        assert_eq!(short.after_success(NOW, 0.0).since(NOW), 30_000, "before the copy expires");
        assert_eq!(short.after_failure(NOW, 0.0).since(NOW), 30_000);
    }

    #[test]
    fn a_zone_without_a_copy_is_tried_less_and_less_often() {
        let pauses = [1, 2, 3, 7, 40].map(|tries| without_copy(tries, NOW, 0.0).since(NOW) / 1000);
        assert_eq!(pauses, [1, 2, 4, 60, 60]);
    }
}
