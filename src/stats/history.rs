//! The last day by minute and the day before it, for the statistics of the API. Limited to 2880 minutes, and to the
//! busiest places of each: at most [`MAX_BYTES`], usually a few KiB, since only what was answered is kept.

use super::counters::{Counters, OUTCOMES};
use super::zone_stats::OVERFLOW;
use crate::engine::sort;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Minutes of a day.
pub const DAY: usize = 24 * 60;

/// Minutes that are kept: a day, and the one that it is compared with.
pub const MINUTES: usize = 2 * DAY;

/// Octets of all minutes, with all places busy.
pub const MAX_BYTES: usize = MINUTES * (size_of::<Minute>() + 32 + PLACES * size_of::<PlaceCounts>());
const _: () = assert!(MAX_BYTES < 15 << 20);

/// Answers in a place, outcomes apart, in one minute; no minute has more of them than 32 bits count.
pub type PlaceCounts = (u16, [u32; OUTCOMES]);

/// Places that are kept for a minute; all others are summed up.
const PLACES: usize = 256;

/// What was answered in one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Minutes since 1970.
    pub at: u64,
    /// Answers by place, outcomes apart. Those of places beyond the busiest are under [`OVERFLOW`].
    pub places: Box<[PlaceCounts]>,
    /// All answers, outcomes apart, those of no place too.
    pub answers: [u64; OUTCOMES],
    /// How long answers took, in nanoseconds, and how many were timed.
    pub took: (u64, u64),
}

/// The minutes.
#[derive(Debug, Default)]
pub struct History {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    minutes: VecDeque<Arc<Minute>>,
    /// The numbers when the last minute ended.
    before: Totals,
}

/// Monotonic counters.
#[derive(Clone, Debug, Default)]
struct Totals {
    places: BTreeMap<u16, [u64; OUTCOMES]>,
    answers: [u64; OUTCOMES],
    took: (u64, u64),
}

impl History {
    /// Ends a minute; `at` is its number since 1970. Called once a minute.
    pub fn end_minute(&self, tallies: &Counters, at: u64) {
        let now = Totals::of(tallies);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.since(&ring.before, at);
        ring.before = now;
        // Minutes that lie ahead are from before the wall clock was put back.
        ring.minutes.retain(|minute| minute.at <= at && at < minute.at + MINUTES as u64);
        if minute.answers != [0; OUTCOMES] {
            ring.minutes.push_back(Arc::new(minute));
        }
        while ring.minutes.len() > MINUTES {
            ring.minutes.pop_front(); // the wall clock stands still
        }
    }

    /// All minutes with answers, the oldest first, the one that goes on at last under the number `at`.
    pub fn minutes(&self, tallies: &Counters, at: u64) -> Vec<Arc<Minute>> {
        let now = Totals::of(tallies);
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = (at + 1).saturating_sub(MINUTES as u64);
        let shown = ring.minutes.iter().filter(|minute| (oldest..=at).contains(&minute.at));
        let mut minutes: Vec<_> = shown.cloned().collect();
        let current = now.since(&ring.before, at);
        if current.answers != [0; OUTCOMES] {
            minutes.push(Arc::new(current));
        }
        minutes
    }
}

impl Totals {
    fn of(tallies: &Counters) -> Self {
        let sum = tallies.sum();
        let other = sum.rcodes.iter().enumerate().filter(|(rcode, _)| ![0, 2, 3].contains(rcode));
        let answers = [sum.rcodes[0], sum.rcodes[3], sum.rcodes[2], other.map(|(_, count)| count).sum()];
        let took = (sum.durations.nanos, sum.durations.count());
        Self { places: sort::map(tallies.places()), answers, took }
    }

    /// The difference since then. Threads continue to count, so that values may not have grown.
    fn since(&self, before: &Self, at: u64) -> Minute {
        let less = |now: [u64; OUTCOMES], then: [u64; OUTCOMES]| {
            std::array::from_fn(|at| now[at].saturating_sub(then[at]))
        };
        let nothing = [0; OUTCOMES];
        let mut places: Vec<(u16, [u64; OUTCOMES])> = Vec::new();
        for (place, now) in &self.places {
            let grown = less(*now, before.places.get(place).copied().unwrap_or(nothing));
            if grown != nothing {
                places.push((*place, grown));
            }
        }
        if places.len() > PLACES {
            sort::by_key(&mut places, |(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
            let mut rest = nothing;
            for (_, counts) in places.drain(PLACES - 1..) {
                rest.iter_mut().zip(counts).for_each(|(sum, more)| *sum += more);
            }
            places.push((OVERFLOW, rest));
        }
        let narrow = |counts: [u64; OUTCOMES]| counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Minute {
            at,
            places: places.into_iter().map(|(place, counts)| (place, narrow(counts))).collect(),
            answers: less(self.answers, before.answers),
            took: (self.took.0.saturating_sub(before.took.0), self.took.1.saturating_sub(before.took.1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey};

    #[test]
    fn a_minute_is_what_came_in_it() {
        let (tallies, history) = (Counters::default(), History::default());
        let mark = StatKey::new(7, AnswerSource::Zone, CacheResult::None);
        tallies.tasks.answered(0, mark);
        history.end_minute(&tallies, 100);
        tallies.tasks.answered(0, mark);
        tallies.tasks.answered(3, mark);
        tallies.tasks.answered(5, StatKey::default());
        let minutes = history.minutes(&tallies, 101);
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].at, minutes[0].answers), (100, [1, 0, 0, 0]));
        assert_eq!((minutes[1].at, minutes[1].answers), (101, [1, 1, 0, 1]));
        assert_eq!(*minutes[1].places, [(7, [1, 1, 0, 0])]);
    }

    #[test]
    fn two_days_are_kept_and_of_a_minute_the_busiest() {
        let (tallies, history) = (Counters::default(), History::default());
        for at in 0..5000 {
            tallies.tasks.answered(0, StatKey::default());
            history.end_minute(&tallies, at);
        }
        assert_eq!(history.minutes(&tallies, 5000).len(), MINUTES - 1);
        for place in 1..=1000 {
            tallies.tasks.answered(0, StatKey::new(place, AnswerSource::Zone, CacheResult::None));
        }
        tallies.tasks.answered(0, StatKey::new(1000, AnswerSource::Zone, CacheResult::None));
        let last = history.minutes(&tallies, 5001).pop().unwrap();
        assert_eq!((last.places.len(), last.places[0]), (PLACES, (1000, [2, 0, 0, 0])));
        assert_eq!(last.places[PLACES - 1], (OVERFLOW, [1000 - PLACES as u32 + 1, 0, 0, 0]));
    }

    #[test]
    fn a_clock_that_is_put_back_leaves_no_minutes_ahead_and_no_more_than_two_days() {
        let (tallies, history) = (Counters::default(), History::default());
        let minute = |at| {
            tallies.tasks.answered(0, StatKey::default());
            history.end_minute(&tallies, at);
            history.minutes(&tallies, at)
        };
        for at in 1_000_000..1_000_100 {
            minute(at);
        }
        assert_eq!(minute(100).len(), 1, "what was counted under the wrong time is not shown");
        (0..2 * MINUTES).for_each(|_| drop(minute(100)));
        assert!(minute(100).len() <= MINUTES + 1, "a clock that stands still");
        let kept = (101..8000).map(minute).last().unwrap();
        assert_eq!((kept.len(), kept[0].at), (MINUTES, 8000 - MINUTES as u64));
    }
}
