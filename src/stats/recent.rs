//! The latest answers, for those who read the live log. Each reader has its filter and its own few rows, so that a rare
//! name is found among many others. Out of the answers that the top lists sample, at most [`RATE`] a second are kept for
//! a reader: the cost of an answer does not depend on who reads.

use super::answer_filter::{AnswerFilter, FilteredAnswer};
use super::tap::Client;
use super::zone_stats::StatKey;
use crate::engine::cache::Timestamp;
use crate::engine::catalog::Vpc;
use crate::engine::message::{HEADER, wire_length};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

/// Readers at a time.
pub const READERS: usize = 4;

/// Answers that are kept for a reader.
pub const ROWS: usize = 500;

/// Octets of their messages.
const OCTETS: usize = 256 << 10;

/// Of a longer message only the question is kept.
const LONGEST: usize = 4096;

/// Answers that are kept for a reader in a second.
pub const RATE: u64 = 200;

/// How long answers are kept after a reading, in milliseconds.
pub const LEASE_MS: u64 = 15_000;

/// A reader that has not read for so long makes room for another one, in milliseconds.
const GONE_MS: u64 = 5_000;

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

/// An answer that was just given.
#[derive(Clone, Copy, Debug)]
pub struct OfferedAnswer<'o> {
    /// How many answers it stands for; 0 if it was not sampled.
    pub weight: u32,
    /// To whom.
    pub caller: &'o Client,
    /// The message.
    pub reply: &'o [u8],
    /// What it is counted for.
    pub mark: StatKey,
    /// It came from the packet cache.
    pub fast: bool,
}

/// The latest answers.
#[derive(Debug, Default)]
pub struct RecentAnswers {
    /// Until when they are read, in milliseconds.
    until: AtomicU64,
    /// Until when a reader has a filter.
    filtered: AtomicU64,
    readers: Mutex<LogReaders>,
}

#[derive(Debug, Default)]
struct LogReaders {
    /// At most [`READERS`].
    all: Vec<LogReader>,
    /// The number of the last row.
    last: u64,
    /// Readings that began.
    begun: u64,
}

/// A reader, from its first reading with a filter on.
#[derive(Debug)]
struct LogReader {
    /// What it calls itself.
    name: String,
    /// Its filter as it was asked for, and what that means.
    asked: String,
    filter: AnswerFilter,
    /// Its reading is the one of this number.
    began: u64,
    read: Timestamp,
    rows: VecDeque<Arc<RecentAnswer>>,
    octets: usize,
    /// Answers that there were, and those of them that the filter wants.
    seen: u64,
    matched: u64,
    /// Rows that may be taken at once, and when that was counted.
    may: u64,
    counted: Timestamp,
}

/// Who reads what.
#[derive(Clone, Copy, Debug)]
pub struct LogReading<'q> {
    /// What the reader calls itself.
    pub reader: &'q str,
    /// Its filter as it was asked for.
    pub asked: &'q str,
    /// The number of the last row that it has.
    pub after: u64,
    /// The reading that is gone on with, and none else: a request that waits must not begin again what the reader has
    /// left for another filter meanwhile.
    pub only: Option<u64>,
}

/// What a reader gets.
#[derive(Debug)]
pub struct RecentPage {
    /// The answers behind the number asked for, the oldest first.
    pub rows: Vec<Arc<RecentAnswer>>,
    /// Which reading this is: it is another one if the filter has changed, or nothing was read for long.
    pub began: u64,
    /// Answers that there were since the reading began; under load they are estimated.
    pub seen: u64,
    /// Those of them that the filter wants.
    pub matched: u64,
}

impl RecentAnswers {
    /// True while they are read.
    pub fn is_read(&self, now: Timestamp) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }

    /// True while a reader has a filter: then every answer that did not come from the packet cache is offered.
    pub fn is_filtered(&self, now: Timestamp) -> bool {
        now.0 < self.filtered.load(Ordering::Relaxed)
    }

    /// Takes an answer for those who want it. `rest` is called if it is kept. Never waits.
    pub fn offer(
        &self,
        offered: OfferedAnswer<'_>,
        now: Timestamp,
        rest: impl FnOnce() -> (Duration, Option<Arc<Vpc>>),
    ) {
        let mut readers = match self.readers.try_lock() {
            Ok(readers) => readers,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let number = readers.last + 1;
        let (mut row, mut rest) = (None, Some(rest));
        for reader in &mut readers.all {
            if !reader.wants(&offered, now) {
                continue;
            }
            if row.is_none() {
                let Some((took, vpc)) = rest.take().map(|rest| rest()) else { break };
                let OfferedAnswer { caller, reply, mark, fast, .. } = offered;
                let (at, caller, reply) = (SystemTime::now(), *caller, kept(reply));
                row = Some(Arc::new(RecentAnswer { number, at, caller, reply, mark, fast, took, vpc }));
            }
            row.iter().for_each(|row| reader.push(row.clone()));
        }
        if row.is_some() {
            readers.last = number;
        }
    }

    /// Forgets all, unless a page reads them.
    pub fn end_if_unread(&self, now: Timestamp) {
        if !self.is_read(now) {
            self.end();
        }
    }

    /// Forgets all.
    pub fn end(&self) {
        if let Ok(mut readers) = self.readers.try_lock() {
            readers.all = Vec::new();
        }
    }

    /// The answers behind a number; they are kept for [`LEASE_MS`] from now on. Nothing if there are as many readers as
    /// may be, or the reading to go on with is over. `filter` is called if the reader is new or asks for other answers than before.
    ///
    /// # Errors
    /// Those of `filter`.
    pub fn read<E>(
        &self,
        reading: LogReading<'_>,
        now: Timestamp,
        filter: impl FnOnce() -> Result<AnswerFilter, E>,
    ) -> Result<Option<RecentPage>, E> {
        let mut readers = self.lock();
        readers.all.retain(|reader| now.since(reader.read) < LEASE_MS);
        let is_same = |reader: &LogReader| match reading.only {
            Some(began) => reader.began == began,
            None => reader.name == reading.reader && reader.asked == reading.asked,
        };
        let place = match readers.all.iter().position(is_same) {
            Some(place) => place,
            None if reading.only.is_some() => return Ok(None),
            None => {
                let filter = filter()?;
                let Some(place) = readers.room_for(reading.reader, now) else { return Ok(None) };
                readers.begun += 1;
                let reader = LogReader::new(&reading, filter, readers.begun, now);
                match readers.all.get_mut(place) {
                    Some(former) => *former = reader,
                    None => readers.all.push(reader),
                }
                place
            }
        };
        let until = now.0.saturating_add(LEASE_MS);
        self.until.store(until, Ordering::Relaxed);
        let is_filtered = readers.all.iter().any(|reader| !reader.filter.is_empty());
        self.filtered.store(if is_filtered { until } else { 0 }, Ordering::Relaxed);
        let Some(reader) = readers.all.get_mut(place) else { return Ok(None) };
        reader.read = now;
        let rows = reader.rows.iter().filter(|row| row.number > reading.after).cloned().collect();
        let LogReader { began, seen, matched, .. } = *reader;
        Ok(Some(RecentPage { rows, began, seen, matched }))
    }

    fn lock(&self) -> MutexGuard<'_, LogReaders> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogReaders {
    /// The place of a reader with another filter, a free one, or that of one who seems to be gone.
    fn room_for(&self, name: &str, now: Timestamp) -> Option<usize> {
        let own = self.all.iter().position(|reader| reader.name == name);
        let free = (self.all.len() < READERS).then_some(self.all.len());
        let gone = || self.all.iter().position(|reader| now.since(reader.read) >= GONE_MS);
        own.or(free).or_else(gone)
    }
}

impl LogReader {
    /// A reader whose reading begins.
    fn new(reading: &LogReading<'_>, filter: AnswerFilter, began: u64, now: Timestamp) -> Self {
        Self {
            name: reading.reader.into(),
            asked: reading.asked.into(),
            filter,
            began,
            read: now,
            rows: VecDeque::new(),
            octets: 0,
            seen: 0,
            matched: 0,
            may: RATE,
            counted: now,
        }
    }

    /// Counts an answer; true if it is one of the few that are kept.
    fn wants(&mut self, offered: &OfferedAnswer<'_>, now: Timestamp) -> bool {
        let OfferedAnswer { weight, caller, reply, mark, fast } = *offered;
        self.seen = self.seen.saturating_add(weight.into());
        let every = self.filter.is_empty();
        let answer = FilteredAnswer { reply, client: caller.peer.ip(), mark, fast };
        if every && weight == 0 || !every && !self.filter.matches(&answer) {
            return false;
        }
        // With a filter only answers from the packet cache are sampled, and so only these stand for others.
        let stands_for = if every || fast { weight } else { 1 };
        self.matched = self.matched.saturating_add(stands_for.into());
        self.may_take(now)
    }

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

    fn push(&mut self, row: Arc<RecentAnswer>) {
        self.octets += row.reply.len();
        self.rows.push_back(row);
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
#[path = "recent_tests.rs"]
mod tests;
