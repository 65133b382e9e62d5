//! The clock that all moments come from: it never goes back, and the wall clock cannot move it. It is tokio's, which is
//! the system's monotonic clock but in tests, where it can be moved; and since that clock stands still while the machine
//! sleeps, the time asleep is added: the distance of CLOCK_BOOTTIME from it, which [`Clock::watch`] looks at each second
//! and when the machine wakes up.

use crate::engine::cache::Timestamp;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// Where the clock starts: far enough from zero that entries of a snapshot can have been stored before it.
const START_MS: u64 = 1 << 42;

/// How often the distance of the clocks is looked at while the machine is awake.
const TICK: Duration = Duration::from_secs(1);

/// A sleep that is worth a word, and makes what was under way no measure of a server.
const LONG_SLEEP: Duration = Duration::from_secs(1);

/// When the machine woke up last.
static WOKE: Mutex<Option<Instant>> = Mutex::new(None);

/// Turns instants of the monotonic clock into moments. Copies share the time asleep.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// The distance of CLOCK_BOOTTIME from the monotonic clock at the start.
    distance: Duration,
    /// Milliseconds asleep since start.
    asleep: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: instant(), distance: distance().unwrap_or_default(), asleep: Arc::default() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.at(instant())
    }

    /// The moment of an instant.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let awake = instant.saturating_duration_since(self.started).as_millis() as u64;
        Timestamp(START_MS + awake + self.asleep.load(Ordering::Relaxed))
    }

    /// How long the clock has been running.
    pub fn uptime(&self) -> Duration {
        instant().saturating_duration_since(self.started)
    }

    /// The machine has slept for so long since the clock's start, all times together. The sleep that is new.
    pub fn slept(&self, total: Duration) -> Duration {
        let total = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        let before = self.asleep.fetch_max(total, Ordering::Relaxed);
        Duration::from_millis(total.saturating_sub(before))
    }

    /// Looks for time asleep for the life of the process.
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

/// Notes that the machine woke up now.
fn woke() {
    *WOKE.lock().unwrap_or_else(PoisonError::into_inner) = Some(instant());
}

/// When the machine woke up last, if it has slept since start.
pub fn last_wake() -> Option<Instant> {
    *WOKE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True when the machine has slept since then, so that what was under way then says nothing of whoever did not answer.
pub fn has_slept_since(then: Instant) -> bool {
    is_interrupted(then, last_wake())
}

/// True when the machine woke up after that instant.
pub fn is_interrupted(then: Instant, woke: Option<Instant>) -> bool {
    woke.is_some_and(|woke| woke >= then)
}

/// How far CLOCK_BOOTTIME is ahead of the monotonic clock: the time asleep since the machine was started.
fn distance() -> Option<Duration> {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let boottime = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Duration::from(boottime).saturating_sub(Duration::from(monotonic)))
}

/// A timer of CLOCK_BOOTTIME: what was due while the machine slept is due at once when it wakes up.
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

/// The instant, on the clock that moments are made of.
pub fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// An instant in milliseconds, as a number that an atomic can hold.
pub fn millis(instant: Instant) -> u64 {
    /// Before every instant that is asked for, those of a clock that a test moves as well.
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
