//! The clock of all timestamps: it never goes back, and changes of the wall clock do not affect it. It is tokio's
//! clock: the system's monotonic clock, or in tests one that can be moved. That clock stops while the machine sleeps,
//! so the time asleep is added: the lead of CLOCK_BOOTTIME, which [`Clock::watch`] reads each second and when the
//! machine wakes.

use crate::engine::cache::Timestamp;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// The clock's first value: far enough from zero that entries of a snapshot can be older.
const START_MS: u64 = 1 << 42;

/// The interval at which the clocks are compared while the machine is awake.
const TICK: Duration = Duration::from_secs(1);

/// A sleep that is logged. Exchanges during it are no measure of a server.
const LONG_SLEEP: Duration = Duration::from_secs(1);

/// The last wake-up of the machine.
static WOKE: Mutex<Option<Instant>> = Mutex::new(None);

/// Converts instants of the monotonic clock to timestamps. Copies share the time asleep.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// The lead of CLOCK_BOOTTIME over the monotonic clock at the start.
    distance: Duration,
    /// Milliseconds asleep since start.
    asleep: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: instant(), distance: distance().unwrap_or_default(), asleep: Arc::default() }
    }

    /// The current timestamp.
    pub fn now(&self) -> Timestamp {
        self.at(instant())
    }

    /// The timestamp of an instant.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let awake = instant.saturating_duration_since(self.started).as_millis() as u64;
        Timestamp(START_MS + awake + self.asleep.load(Ordering::Relaxed))
    }

    /// The time since the start.
    pub fn uptime(&self) -> Duration {
        instant().saturating_duration_since(self.started)
    }

    /// Sets the total time asleep since the clock's start; returns the increase.
    pub fn slept(&self, total: Duration) -> Duration {
        let total = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        let before = self.asleep.fetch_max(total, Ordering::Relaxed);
        Duration::from_millis(total.saturating_sub(before))
    }

    /// Watches for time asleep until the process ends.
    pub async fn watch(self) {
        let timer = Timer::start();
        if let Err(error) = &timer {
            tracing::debug!(%error, "no timer that detects a resume; comparing the clocks each second");
        }
        loop {
            match &timer {
                Ok(timer) => timer.tick().await,
                Err(_) => tokio::time::sleep(TICK).await,
            }
            let Some(distance) = distance() else { continue };
            let slept = self.slept(distance.saturating_sub(self.distance));
            if slept >= LONG_SLEEP {
                woke();
                tracing::info!(
                    seconds = slept.as_secs(),
                    "the machine was suspended; cached answers have \
                                                           aged"
                );
            }
        }
    }
}

/// Records a wake-up of the machine.
fn woke() {
    *WOKE.lock().unwrap_or_else(PoisonError::into_inner) = Some(instant());
}

/// The last wake-up of the machine, if it has slept since the start.
pub fn last_wake() -> Option<Instant> {
    *WOKE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True if the machine has slept since then: a missing answer is then no failure of the server.
pub fn has_slept_since(then: Instant) -> bool {
    is_interrupted(then, last_wake())
}

/// True if the machine woke up after that instant.
pub fn is_interrupted(then: Instant, woke: Option<Instant>) -> bool {
    woke.is_some_and(|woke| woke >= then)
}

/// The lead of CLOCK_BOOTTIME over the monotonic clock: the time asleep since the machine started.
fn distance() -> Option<Duration> {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let boottime = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Duration::from(boottime).saturating_sub(Duration::from(monotonic)))
}

/// A timer of CLOCK_BOOTTIME: if it expires while the machine sleeps, it fires as soon as the machine wakes.
struct Timer(AsyncFd<Descriptor>);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    fn start() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, flags)?;
        timer.set(Expiration::Interval(TICK.into()), TimerSetTimeFlags::empty())?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe code; the timer is open for as long as it is registered"
        )]
        let timer = AsyncFd::new(Descriptor(timer))?;
        Ok(Self(timer))
    }

    async fn tick(&self) {
        match self.0.readable().await {
            Ok(mut ready) => {
                let _ = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)); // spurious or not, the clocks are compared
            }
            Err(_) => tokio::time::sleep(TICK).await,
        }
    }
}

/// The current instant of the clock on which timestamps are based.
pub fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// An instant in milliseconds, for an atomic.
pub fn millis(instant: Instant) -> u64 {
    /// Earlier than every instant, also those of a clock that a test moves.
    static ORIGIN: LazyLock<Instant> = LazyLock::new(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
    });
    instant.saturating_duration_since(*ORIGIN).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::{CacheData, CacheKey, Freshness, Outcome, QueryFlags, TtlPolicy};
    use crate::engine::catalog::GroupKey;
    use crate::engine::name::{NameKey, parse};
    use crate::resolve::cache::AnswerCache;
    use hickory_proto::rr::RecordType;

    #[tokio::test(start_paused = true)]
    async fn time_asleep_is_time() {
        let clock = Clock::start();
        let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
        let name = NameKey::of(&parse("www.test").unwrap());
        let key = CacheKey::new(GroupKey::DEFAULT, &name, RecordType::A, QueryFlags::default());
        let entry = CacheData::new(Outcome::Rrset, &name, &[], &[], 60, false, clock.now());
        cache.insert(key.clone(), entry, clock.now());
        let worth = |clock: &Clock| cache.get(&key, clock.now()).map(|(_, worth)| worth);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(worth(&clock), Some(Freshness::Fresh(50)));
        // copies share the sleep
        assert_eq!(clock.clone().slept(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(worth(&clock), Some(Freshness::Fresh(20)));
        assert_eq!(clock.slept(Duration::from_secs(30)), Duration::ZERO, "counted once");
        assert_eq!(clock.slept(Duration::from_secs(5)), Duration::ZERO, "never goes back");
        clock.slept(Duration::from_secs(3600));
        assert_eq!(worth(&clock), Some(Freshness::Stale));
        clock.slept(Duration::from_secs(3 * 86_400));
        assert_eq!(worth(&clock), None);
    }

    #[test]
    fn what_was_under_way_when_the_machine_slept_is_known() {
        let (before, woke) = (instant(), instant());
        assert!(is_interrupted(before, Some(woke)));
        assert!(!is_interrupted(woke + Duration::from_millis(1), Some(woke)));
        assert!(!is_interrupted(before, None));
    }

    #[tokio::test]
    async fn the_timer_ticks_and_the_clocks_can_be_compared() {
        assert!(distance().is_some());
        Timer::start().unwrap().tick().await;
    }
}
