//! The health of a server: passive scoring from the replies to real queries. Pure: `now` is an argument.
//!
//! Any reply proves that a server is alive. Several missing replies or network errors in a row mark it down; failing
//! rcodes in a row rank it behind servers that answer. A server that is not up is still tried last, and gets a real
//! query from time to time as a probe, so that its recovery is detected.

use std::time::{Duration, Instant};

/// Misses in a row that mark a server down.
const MISSES_TO_DOWN: u32 = 3;
/// Failing rcodes in a row that mark a server failing.
const BAD_RCODES_TO_FAILING: u32 = 5;
/// The first interval between probes.
const PROBE_FIRST: Duration = Duration::from_millis(250);
/// The longest interval: the recovery of a server must be detected within 2 s.
const PROBE_LONGEST: Duration = Duration::from_millis(1500);

/// Interval of checks for silence of a server that is down.
const SILENCE_CHECK: Duration = PROBE_LONGEST;

/// A server that was found silent counts as silent for this long without another query.
const SILENCE_IS_NEWS: Duration = Duration::from_secs(60);

/// Availability of a server, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerHealth {
    /// Answers, or was never queried.
    Up,
    /// Replies, but with failing rcodes only.
    Failing,
    /// Does not reply.
    Down,
}

/// Smoothed round-trip time, as RFC 6298 section 2 computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rtt {
    /// Smoothed.
    pub(super) srtt: Duration,
    /// Its variation.
    pub(super) rttvar: Duration,
}

impl Rtt {
    /// The state after the first sample.
    fn first(sample: Duration) -> Self {
        Self { srtt: sample, rttvar: sample / 2 }
    }

    /// The state after another sample.
    fn then(self, sample: Duration) -> Self {
        Self {
            rttvar: (self.rttvar * 3 + self.srtt.abs_diff(sample)) / 4,
            srtt: (self.srtt * 7 + sample) / 8,
        }
    }
}

/// The health of one server.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// How fast it replies.
    rtt: Option<Rtt>,
    /// Misses since the last reply.
    misses: u32,
    /// Failing rcodes since the last answer.
    bad_rcodes: u32,
    /// Time of the last reply.
    last_reply: Option<Instant>,
    /// Time of the last answer.
    last_answer: Option<Instant>,
    /// Time of the last miss.
    last_miss: Option<Instant>,
    /// Time of the next probe, and the interval after it.
    probe: Option<(Instant, Duration)>,
    /// Time of the last check for silence.
    checked: Option<Instant>,
    /// Time of the last failed check, if there was no reply since.
    silent: Option<Instant>,
}

impl Health {
    /// Its availability.
    pub(super) fn standing(&self) -> ServerHealth {
        if self.misses >= MISSES_TO_DOWN {
            ServerHealth::Down
        } else if self.bad_rcodes >= BAD_RCODES_TO_FAILING {
            ServerHealth::Failing
        } else {
            ServerHealth::Up
        }
    }

    /// It is down, and recently failed a check for silence. Without the check, it may be down only because the
    /// authoritative servers of the queried names are silent.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let news = |found| now.saturating_duration_since(found) < SILENCE_IS_NEWS;
        self.standing() == ServerHealth::Down && self.silent.is_some_and(news)
    }

    /// Whether a check for silence is due.
    pub(super) fn take_silence_check(&mut self, now: Instant) -> bool {
        let recently = |at| now.saturating_duration_since(at) < SILENCE_CHECK;
        let is_due = self.standing() == ServerHealth::Down && !self.checked.is_some_and(recently);
        if is_due {
            self.checked = Some(now);
        }
        is_due
    }

    /// Records the result of a check for silence that began at `started`.
    pub(super) fn checked(&mut self, started: Instant, answered: bool, now: Instant) {
        let answered = answered || self.last_reply.is_some_and(|at| at >= started);
        self.silent = (!answered).then_some(now);
    }

    /// Its reply time, if known.
    pub(super) fn rtt(&self) -> Option<Rtt> {
        self.rtt
    }

    /// When it last gave an answer (NOERROR or NXDOMAIN).
    pub(super) fn last_answer(&self) -> Option<Instant> {
        self.last_answer
    }

    /// A reply arrived over UDP after `sample`.
    pub(super) fn measured(&mut self, sample: Duration) {
        self.rtt = Some(self.rtt.map_or(Rtt::first(sample), |rtt| rtt.then(sample)));
    }

    /// A valid reply arrived; `usable` means that its rcode was NOERROR or NXDOMAIN.
    pub(super) fn replied(&mut self, usable: bool, now: Instant) {
        self.last_reply = Some(now);
        self.silent = None;
        self.misses = 0;
        if usable {
            self.last_answer = Some(now);
            self.bad_rcodes = 0;
        } else {
            self.bad_rcodes = self.bad_rcodes.saturating_add(1);
        }
        self.schedule(now);
    }

    /// A query sent at `started` got no reply by `now`, or a network error.
    pub(super) fn missed(&mut self, started: Instant, now: Instant) {
        let waited = now.saturating_duration_since(started);
        if self.rtt.is_some_and(|rtt| waited > rtt.srtt) {
            self.measured(waited); // it would have taken at least this long
        }
        // A later reply shows that the server is alive, and overlapping misses are one event.
        let overlaps = |at: Option<Instant>| at.is_some_and(|at| at >= started);
        if overlaps(self.last_reply) || (overlaps(self.last_miss) && waited > Duration::ZERO) {
            return;
        }
        self.last_miss = Some(now);
        self.misses = self.misses.saturating_add(1);
        self.schedule(now);
    }

    /// Schedules the first probe if the server is no longer up, and none if it is up.
    fn schedule(&mut self, now: Instant) {
        if self.standing() == ServerHealth::Up {
            self.probe = None;
        } else if self.probe.is_none() {
            self.probe = Some((now + PROBE_FIRST, PROBE_FIRST * 2));
        }
    }

    /// Whether a probe is due; if so, schedules the next one. `chance` in 0..1 is the jitter, so that many instances do
    /// not probe a weak server at the same time.
    pub(super) fn take_probe(&mut self, now: Instant, chance: f64) -> bool {
        match self.probe {
            Some((due, interval)) if now >= due => {
                let wait = interval.mul_f64(0.8 + 0.2 * chance);
                self.probe = Some((now + wait, (interval * 2).min(PROBE_LONGEST)));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A server that missed three queries in a row, one after the other, the last at the returned moment.
    fn down() -> (Health, Instant) {
        let mut health = Health::default();
        let mut now = Instant::now();
        for _ in 0..MISSES_TO_DOWN {
            assert_eq!(health.standing(), ServerHealth::Up);
            let started = now + MS;
            now = started + 400 * MS;
            health.missed(started, now);
        }
        assert_eq!(health.standing(), ServerHealth::Down);
        (health, now)
    }

    #[test]
    fn misses_in_a_row_mark_down_and_any_reply_marks_up() {
        for usable in [true, false] {
            let (mut health, now) = down();
            health.replied(usable, now);
            assert_eq!(health.standing(), ServerHealth::Up);
        }
    }

    #[test]
    fn a_reply_between_keeps_a_server_up() {
        let mut health = Health::default();
        let start = Instant::now();
        for i in 0..20 {
            let now = start + i * 1000 * MS;
            health.missed(now, now + 400 * MS);
            health.replied(true, now + 500 * MS);
        }
        assert_eq!(health.standing(), ServerHealth::Up);
    }

    #[test]
    fn a_lost_burst_is_one_miss() {
        let mut health = Health::default();
        let start = Instant::now();
        for i in 0..100 {
            health.missed(start + i * MS, start + (400 + i) * MS);
        }
        assert_eq!(health.standing(), ServerHealth::Up);
    }

    #[test]
    fn a_miss_older_than_the_last_reply_is_no_news() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.replied(true, start + 10 * MS);
        for _ in 0..10 {
            health.missed(start, start + 400 * MS);
        }
        assert_eq!(health.standing(), ServerHealth::Up);
    }

    #[test]
    fn refused_connections_mark_down_at_once_they_repeat() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..3).for_each(|_| health.missed(now, now));
        assert_eq!(health.standing(), ServerHealth::Down);
    }

    #[test]
    fn down_is_silent_once_it_does_not_answer_what_every_server_knows() {
        let (mut health, now) = down();
        assert!(!health.is_silent(now), "that may be the names' doing");
        assert!(health.take_silence_check(now) && !health.take_silence_check(now + 100 * MS));
        health.checked(now, true, now + 20 * MS);
        assert_eq!((health.is_silent(now + 20 * MS), health.standing()), (false, ServerHealth::Down));
        let again = now + SILENCE_CHECK;
        assert!(health.take_silence_check(again));
        let found = again + 1100 * MS;
        health.checked(again, false, found);
        assert!(health.is_silent(found + 59_999 * MS), "until then it is news");
        assert!(!health.is_silent(found + 60_000 * MS));
        health.replied(false, found);
        assert!(!health.is_silent(found));
        assert!(!health.take_silence_check(found + 60_000 * MS), "it is not down");
    }

    #[test]
    fn a_reply_to_anything_else_meanwhile_is_no_silence() {
        let (mut health, now) = down();
        health.replied(true, now + 10 * MS);
        (0..3).for_each(|_| health.missed(now + 20 * MS, now + 20 * MS));
        assert_eq!(health.standing(), ServerHealth::Down);
        health.checked(now, false, now + 1100 * MS);
        assert!(!health.is_silent(now + 1100 * MS));
    }

    #[test]
    fn failing_rcodes_rank_behind_and_one_answer_restores() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..4).for_each(|_| health.replied(false, now));
        assert_eq!(health.standing(), ServerHealth::Up);
        health.replied(false, now);
        assert_eq!(health.standing(), ServerHealth::Failing);
        assert_eq!(health.last_answer(), None);
        health.replied(true, now);
        assert_eq!(health.standing(), ServerHealth::Up);
        assert_eq!(health.last_answer(), Some(now));
    }

    #[test]
    fn probes_back_off_but_never_beyond_the_promise() {
        let (mut health, start) = down();
        let mut probes = vec![];
        for step in 0..2000 {
            let now = start + step * 5 * MS;
            if health.take_probe(now, 1.0) {
                probes.push(now - start);
            }
        }
        assert_eq!(probes[0], 250 * MS);
        assert_eq!(probes[1], 750 * MS);
        assert_eq!(probes[2], 1750 * MS);
        assert!(probes.windows(2).all(|pair| pair[1] - pair[0] <= PROBE_LONGEST));
        assert!(probes.len() >= 7);
    }

    #[test]
    fn a_server_that_is_up_is_not_probed() {
        let (mut health, now) = down();
        health.replied(true, now);
        assert!(!health.take_probe(now + 10_000 * MS, 0.0));
    }

    #[test]
    fn round_trips_are_smoothed_and_silence_counts_as_slow() {
        let mut health = Health::default();
        assert_eq!(health.rtt(), None);
        (0..50).for_each(|_| health.measured(10 * MS));
        let steady = health.rtt().unwrap();
        assert!(steady.srtt == 10 * MS && steady.rttvar < MS);
        let now = Instant::now();
        health.missed(now, now + 400 * MS);
        assert!(health.rtt().unwrap().srtt > 50 * MS);
        health.missed(now, now + 20 * MS); // no slower than is known: says nothing
        assert!(health.rtt().unwrap().srtt > 50 * MS);
    }
}
