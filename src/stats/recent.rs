//! The latest answers, while a page reads them. Out of the answers that the top lists look at, at most [`RATE`] a
//! second are kept, so that the cost of an answer does not depend on who reads.

use super::tap::{Answered, Client};
use super::zone_stats::StatKey;
use crate::engine::cache::Timestamp;
use crate::engine::catalog::Vpc;
use crate::engine::message::{HEADER, wire_length};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

/// Answers that are kept.
pub const ROWS: usize = 500;

/// Octets of their messages.
const OCTETS: usize = 256 << 10;

/// Of a longer message only the question is kept.
const LONGEST: usize = 4096;

/// Answers that are kept in a second.
pub const RATE: u64 = 200;

/// An answer.
#[derive(Debug)]
pub struct RecentAnswer {
    /// Its number; they grow.
    pub number: u64,
    /// When it was given.
    pub at: SystemTime,
    /// To whom.
    pub caller: Client,
    /// The message.
    pub reply: Box<[u8]>,
    /// What it is counted for.
    pub mark: StatKey,
    /// It came from the packet cache.
    pub fast: bool,
    /// How long it took.
    pub took: Duration,
    /// The client's VPC.
    pub vpc: Option<Arc<Vpc>>,
}

/// The latest answers.
#[derive(Debug, Default)]
pub struct RecentAnswers {
    /// Until when they are read, in milliseconds.
    until: AtomicU64,
    ring: Mutex<AnswerRing>,
}

#[derive(Debug, Default)]
struct AnswerRing {
    rows: VecDeque<Arc<RecentAnswer>>,
    octets: usize,
    /// The number of the last row.
    last: u64,
    /// Answers that there were, each of which a row stands for or none.
    seen: u64,
    /// Rows that may be taken at once, and when that was counted.
    may: u64,
    counted: Timestamp,
}

/// What a reader gets.
#[derive(Debug)]
pub struct RecentPage {
    /// The answers behind the number asked for, the oldest first.
    pub rows: Vec<Arc<RecentAnswer>>,
    /// The number to ask for next.
    pub last: u64,
    /// Answers that there were since the reading began.
    pub seen: u64,
}

impl RecentAnswers {
    /// True while they are read.
    pub fn is_read(&self, now: Timestamp) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }

    /// Takes an answer that stands for `weight` of them, if it is one of few. Never waits.
    pub fn offer(&self, weight: u32, now: Timestamp, caller: &Client, reply: &[u8], answered: &Answered<'_>) {
        let mut ring = match self.ring.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        ring.seen = ring.seen.saturating_add(weight.into());
        if !ring.may_take(now) {
            return;
        }
        ring.last += 1;
        let row = RecentAnswer {
            number: ring.last,
            at: SystemTime::now(),
            caller: *caller,
            reply: kept(reply),
            mark: answered.mark,
            fast: answered.fast,
            took: answered.took,
            vpc: answered.view.vpc.clone(),
        };
        ring.push(row);
    }

    /// Forgets all, unless a page reads them.
    pub fn end_if_unread(&self, now: Timestamp) {
        if !self.is_read(now) {
            self.end();
        }
    }

    /// Forgets all.
    pub fn end(&self) {
        if let Ok(mut ring) = self.ring.try_lock()
            && !ring.rows.is_empty()
        {
            (ring.rows, ring.octets) = (VecDeque::new(), 0);
        }
    }

    /// The answers behind a number; they are kept for this many milliseconds from now on.
    pub fn read(&self, after: u64, lease: u64, now: Timestamp) -> RecentPage {
        let mut ring = self.lock();
        if !self.is_read(now) {
            (ring.rows, ring.octets, ring.seen) = (VecDeque::new(), 0, 0);
        }
        self.until.store(now.0.saturating_add(lease), Ordering::Relaxed);
        let rows = ring.rows.iter().filter(|row| row.number > after).cloned().collect();
        RecentPage { rows, last: ring.last, seen: ring.seen }
    }

    fn lock(&self) -> MutexGuard<'_, AnswerRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AnswerRing {
    /// Counts one more, unless there were [`RATE`] in the last second.
    fn may_take(&mut self, now: Timestamp) -> bool {
        let elapsed = now.since(self.counted);
        let more = elapsed * RATE / 1000;
        if more > 0 {
            (self.may, self.counted) = ((self.may + more).min(RATE), now);
        }
        let takes = self.may > 0;
        self.may = self.may.saturating_sub(1);
        takes
    }

    fn push(&mut self, row: RecentAnswer) {
        self.octets += row.reply.len();
        self.rows.push_back(Arc::new(row));
        while self.rows.len() > ROWS || self.octets > OCTETS {
            let Some(oldest) = self.rows.pop_front() else { break };
            self.octets -= oldest.reply.len();
        }
    }
}

/// A message as it is kept: of a long one the header and the question, without the counts of what is left out.
fn kept(reply: &[u8]) -> Box<[u8]> {
    if reply.len() <= LONGEST {
        return reply.into();
    }
    let question = reply.get(HEADER..).and_then(wire_length).map_or(0, |length| length + 4);
    let mut short = reply.get(..HEADER + question).unwrap_or_default().to_vec();
    if let Some(counts) = short.get_mut(6..HEADER) {
        counts.fill(0);
    }
    short.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::catalog::{Catalog, CatalogSpec};
    use crate::engine::local::LocalNames;
    use crate::engine::rebinding::Rebinding;
    use crate::stats::tap::ClientTransport;

    fn offer(recent: &RecentAnswers, reply: &[u8], now: u64) {
        let catalog = Catalog::build(CatalogSpec {
            vpcs: Vec::new(),
            zones: Vec::new(),
            hosts: Vec::new(),
            rules: Vec::new(),
            local_names: LocalNames::NONE,
            rebinding: Rebinding::Allowed,
        })
        .unwrap();
        let peer = "127.0.0.9:4000".parse().unwrap();
        let caller = Client { peer, local: None, transport: ClientTransport::Udp };
        let view = catalog.view(peer.ip());
        let answered = Answered { mark: StatKey::default(), fast: true, took: Duration::ZERO, view };
        recent.offer(3, Timestamp(now), &caller, reply, &answered);
    }

    #[test]
    fn a_reader_gets_each_row_once_and_hears_of_all_answers() {
        let recent = RecentAnswers::default();
        assert_eq!(recent.read(0, 1000, Timestamp(10_000)).rows.len(), 0);
        offer(&recent, b"one", 10_000);
        let page = recent.read(0, 1000, Timestamp(10_100));
        assert_eq!((page.rows.len(), page.last, page.seen), (1, 1, 3));
        assert_eq!(recent.read(page.last, 1000, Timestamp(10_100)).rows.len(), 0);
        assert!(recent.is_read(Timestamp(11_099)) && !recent.is_read(Timestamp(11_100)));
        assert_eq!(recent.read(0, 1000, Timestamp(20_000)).rows.len(), 0, "old rows are gone");
    }

    #[test]
    fn rows_octets_and_rate_are_bounded() {
        let recent = RecentAnswers::default();
        recent.read(0, u64::MAX, Timestamp(0));
        (0..10_000).for_each(|_| offer(&recent, &[0; 100], 5000));
        assert_eq!(recent.read(0, u64::MAX, Timestamp(5000)).rows.len() as u64, RATE);
        (0..100).for_each(|second| (0..RATE).for_each(|_| offer(&recent, &[0; 4000], 6000 + second * 1000)));
        let page = recent.read(0, u64::MAX, Timestamp(0));
        assert_eq!(page.seen, 3 * (10_000 + 100 * RATE));
        assert!(
            page.rows.len() <= ROWS && page.rows.iter().map(|row| row.reply.len()).sum::<usize>() <= OCTETS
        );
        recent.end();
        assert_eq!(recent.lock().octets, 0);
        recent.read(0, 1000, Timestamp(1_000_000));
        recent.until.store(1_001_000, Ordering::Relaxed);
        offer(&recent, &[0; 100], 1_000_500);
        recent.end_if_unread(Timestamp(1_000_999));
        assert_eq!(recent.lock().octets, 100, "a page reads it");
        recent.end_if_unread(Timestamp(1_001_000));
        assert_eq!(recent.lock().octets, 0);
    }

    #[test]
    fn of_a_long_message_the_question_is_kept() {
        let mut long = b"\0\x01\x81\x80\0\x01\0\x09\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        long.resize(LONGEST + 1, 0);
        assert_eq!(&*kept(&long), b"\0\x01\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
    }
}
