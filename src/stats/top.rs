//! Top lists: the most frequent names, types, zones, clients and codes.
//!
//! A list is a Space-Saving sketch that is pruned in rounds: it holds between [`ENTRIES`] and twice as many keys, and a
//! count is too high by at most the list's `error`. Under load only some batches of packets are sampled and count for
//! all ([`Sampler`]), so that the lists hardly affect the cost of an answer. If the lists are off, the cost of a batch
//! is the check of one flag.

use super::recent::RecentAnswers;
use super::zone_stats::StatKey;
use crate::base::client_form::ClientForm;
use crate::engine::cache::Timestamp;
use crate::engine::message::{HEADER, wire_length};
use crate::engine::sort;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Keys that a list is pruned to; it has twice as many at most.
pub const ENTRIES: usize = 1000;

/// Batches that one thread counts completely before it samples; a quarter of this budget is restored each second.
const BURST: u64 = 1000;

/// Milliseconds between two sampled batches of a thread.
const PAUSE_MS: u64 = 4;

/// After this many milliseconds a batch is examined in any case.
const MAX_PAUSE_MS: u64 = 64;

/// At most one batch out of this many is examined.
const MAX_EVERY: u32 = 1 << 14;

/// Selects the sampled batches of one thread: all at a low rate, else one every `PAUSE_MS`.
#[derive(Debug)]
pub struct Sampler {
    /// Batches until the next sample.
    left: AtomicU32,
    /// One out of this many is.
    every: AtomicU32,
    /// Time of the last sample, in milliseconds.
    last: AtomicU64,
    /// Remaining budget of complete batches.
    burst: AtomicU64,
}

impl Default for Sampler {
    fn default() -> Self {
        let one = || AtomicU32::new(1);
        Self { left: one(), every: one(), last: AtomicU64::new(0), burst: AtomicU64::new(BURST) }
    }
}

impl Sampler {
    /// The weight of this batch; 0 if it is not sampled.
    pub fn weight(&self, now: Timestamp) -> u32 {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(1);
        let elapsed = now.0.saturating_sub(self.last.load(Ordering::Relaxed));
        if left > 0 && elapsed < MAX_PAUSE_MS {
            self.left.store(left, Ordering::Relaxed);
            return 0;
        }
        let every = self.every.load(Ordering::Relaxed);
        let weight = every.saturating_sub(left).max(1);
        let next = self.next(every, weight, elapsed);
        self.last.store(now.0, Ordering::Relaxed);
        self.every.store(next, Ordering::Relaxed);
        self.left.store(next, Ordering::Relaxed);
        weight
    }

    /// One out of how many is looked at next, after this number of batches and milliseconds.
    fn next(&self, every: u32, batches: u32, elapsed: u64) -> u32 {
        let batches = u64::from(batches);
        if every == 1 {
            let burst = (self.burst.load(Ordering::Relaxed) + elapsed / PAUSE_MS).min(BURST);
            self.burst.store(burst.saturating_sub(1), Ordering::Relaxed);
            return if burst > 1 { 1 } else { 2 };
        }
        if elapsed >= MAX_PAUSE_MS && batches * PAUSE_MS <= elapsed {
            self.burst.store(BURST, Ordering::Relaxed);
            return 1; // the load has ended
        }
        let next = if elapsed < PAUSE_MS { batches * 2 } else { batches * PAUSE_MS / elapsed };
        next.clamp(2, u64::from(MAX_EVERY)) as u32
    }
}

/// Counts of the most frequent keys.
#[derive(Debug)]
struct Sketch<K> {
    counts: HashMap<K, u64>,
    /// The maximum count of pruned keys, which is the initial count of a new key.
    floor: u64,
}

impl<K> Default for Sketch<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), floor: 0 }
    }
}

impl<K: Hash + Eq + Clone> Sketch<K> {
    fn add<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, by: u64, make: impl FnOnce(&Q) -> K)
    where
        K: Borrow<Q>,
    {
        if let Some(count) = self.counts.get_mut(key) {
            *count = count.saturating_add(by);
            return;
        }
        if self.counts.len() >= 2 * ENTRIES {
            self.prune();
        }
        self.counts.insert(make(key), self.floor.saturating_add(by));
    }

    /// Prunes to the most frequent keys.
    fn prune(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut limit, _) = counts.select_nth_unstable_by(ENTRIES, |a, b| b.cmp(a));
        self.counts.retain(|_, count| *count > limit);
        self.floor = limit;
    }

    fn list(&self, most: usize) -> TopList<K> {
        let mut rows: Vec<(K, u64)> = self.counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
        sort::by_key(&mut rows, |(_, count)| std::cmp::Reverse(*count));
        rows.truncate(most);
        TopList { rows, error: self.floor }
    }
}

/// Most frequent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopList<K> {
    /// Keys and counts.
    pub rows: Vec<(K, u64)>,
    /// Maximum error of a count.
    pub error: u64,
}

/// All lists.
#[derive(Debug, Default)]
struct Tables {
    /// Start of counting.
    since: Timestamp,
    /// How clients are listed.
    form: ClientForm,
    answers: u64,
    /// Names in wire form, in lower case.
    names: Sketch<Box<[u8]>>,
    types: Sketch<u16>,
    clients: Sketch<IpAddr>,
    /// Numbers of zones and rules.
    places: Sketch<u16>,
    codes: Sketch<u8>,
}

impl Tables {
    fn begin(&mut self, now: Timestamp) {
        *self = Self { since: now, form: self.form, ..Self::default() };
    }

    fn lists(&self, most: usize, now: Timestamp) -> Lists {
        Lists {
            elapsed: now.since(self.since),
            answers: self.answers,
            names: self.names.list(most),
            types: self.types.list(most),
            clients: self.clients.list(most),
            places: self.places.list(most),
            codes: self.codes.list(most),
        }
    }
}

/// The lists as they are read.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Duration of counting, in milliseconds.
    pub elapsed: u64,
    /// Answers that were counted.
    pub answers: u64,
    /// Names in wire form, in lower case.
    pub names: TopList<Box<[u8]>>,
    /// Types.
    pub types: TopList<u16>,
    /// Clients, in the form that is configured.
    pub clients: TopList<IpAddr>,
    /// Numbers of zones and rules.
    pub places: TopList<u16>,
    /// Response codes.
    pub codes: TopList<u8>,
}

/// The top lists of a server.
#[derive(Debug, Default)]
pub struct TopLists {
    /// Answers are sampled.
    on: AtomicBool,
    /// They count continuously.
    always: AtomicBool,
    /// End of sampling for a reader of the lists or of the latest answers, in milliseconds.
    until: AtomicU64,
    /// End of counting for a reader of the lists.
    counted_until: AtomicU64,
    tables: Mutex<Tables>,
    /// The latest of the answers that are looked at.
    pub recent: RecentAnswers,
}

impl TopLists {
    /// Applies the configuration. Drops addresses that must no longer be kept.
    pub fn configure(&self, always: bool, form: ClientForm, now: Timestamp) {
        let mut tables = self.lock();
        if always && !self.counts(now) {
            tables.begin(now);
        }
        if tables.form != form {
            (tables.form, tables.clients) = (form, Sketch::default());
        }
        self.always.store(always, Ordering::Relaxed);
        self.on.store(always || now.0 < self.until.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// True while answers are sampled: the lists count, or the latest answers are read.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Reads the lists, and extends counting by this number of milliseconds.
    pub fn read(&self, most: usize, lease: u64, clear: bool, now: Timestamp) -> Lists {
        let mut tables = self.lock();
        if clear || !self.counts(now) {
            tables.begin(now);
        }
        let until = now.0.saturating_add(lease);
        self.counted_until.store(until, Ordering::Relaxed);
        self.until.fetch_max(until, Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
        tables.lists(most, now)
    }

    /// Has answers sampled for this number of milliseconds from now on, at least; the lists need not count.
    pub fn lease(&self, lease: u64, now: Timestamp) {
        self.until.fetch_max(now.0.saturating_add(lease), Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    /// The lists without extending counting; None while they are off.
    pub fn peek(&self, most: usize, now: Timestamp) -> Option<Lists> {
        self.counts(now).then(|| self.lock().lists(most, now))
    }

    /// True while the lists count.
    fn counts(&self, now: Timestamp) -> bool {
        self.always.load(Ordering::Relaxed) || now.0 < self.counted_until.load(Ordering::Relaxed)
    }

    /// Counts the answer to a client for `weight` answers. Never waits: it is skipped while the lists are read.
    pub fn count(&self, weight: u32, client: IpAddr, mark: StatKey, reply: &[u8], now: Timestamp) {
        if !self.always.load(Ordering::Relaxed) && now.0 >= self.until.load(Ordering::Relaxed) {
            self.on.store(false, Ordering::Relaxed); // the reader is gone
            self.recent.end();
            return;
        }
        if !self.counts(now) {
            return; // the latest answers alone are read
        }
        let Some((name, rtype, code)) = question(reply) else { return };
        let mut tables = match self.tables.try_lock() {
            Ok(tables) => tables,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let by = u64::from(weight);
        let mut lower = [0; 255];
        let lower = &mut lower[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase(); // lengths of labels are below the letters
        tables.answers = tables.answers.saturating_add(by);
        tables.names.add(&*lower, by, |name| name.into());
        tables.types.add(&rtype, by, |rtype| *rtype);
        tables.codes.add(&code, by, |code| *code);
        tables.places.add(&mark.place(), by, |place| *place);
        if let Some(client) = tables.form.shown(client) {
            tables.clients.add(&client, by, |client| *client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name in wire form, type and code of a reply.
fn question(reply: &[u8]) -> Option<(&[u8], u16, u8)> {
    let (header, rest) = reply.split_first_chunk::<HEADER>()?;
    let length = wire_length(rest).filter(|_| header[5] == 1)?;
    let rtype = u16::from_be_bytes(*rest.get(length..)?.first_chunk()?);
    Some((&rest[..length], rtype, header[3] & 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(name: &str, rtype: u8) -> Vec<u8> {
        let mut packet = vec![0, 1, 0x81, 3, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            packet.push(label.len() as u8);
            packet.extend(label.as_bytes());
        }
        packet.extend([0, 0, rtype, 0, 1]);
        packet
    }

    fn count(lists: &TopLists, name: &str, client: &str, weight: u32, now: u64) {
        let mark = StatKey::default();
        lists.count(weight, client.parse().unwrap(), mark, &reply(name, 1), Timestamp(now));
    }

    #[test]
    fn what_comes_most_is_first_in_any_case_of_letters() {
        let lists = TopLists::default();
        lists.configure(true, ClientForm::Full, Timestamp(0));
        count(&lists, "a.test", "192.0.2.1", 1, 0);
        count(&lists, "B.test", "192.0.2.2", 3, 0);
        count(&lists, "b.TEST", "::ffff:192.0.2.2", 1, 0);
        let found = lists.read(1, 0, false, Timestamp(1000));
        assert_eq!(found.names.rows, [((*b"\x01b\x04test\0").into(), 4)]);
        assert_eq!(found.clients.rows, [("192.0.2.2".parse().unwrap(), 4)]);
        assert_eq!((found.answers, found.codes.rows[0], found.types.rows[0]), (5, (3, 5), (1, 5)));
        assert_eq!(found.elapsed, 1000);
    }

    /// A million names that come once each do not push out those that come often, and take no more room.
    #[test]
    fn memory_is_bounded_and_the_busy_stay() {
        let mut sketch = Sketch::<u64>::default();
        for number in 0..1_000_000_u64 {
            sketch.add(&(number + 10), 1, |key| *key);
            sketch.add(&(number % 5), 1, |key| *key);
            assert!(sketch.counts.len() <= 2 * ENTRIES);
        }
        let list = sketch.list(5);
        assert!(
            list.rows.iter().all(|(key, count)| *key < 5 && (200_000..=200_000 + list.error).contains(count))
        );
        assert!(list.error <= 2_000_000 / ENTRIES as u64, "{}", list.error);
    }

    #[test]
    fn they_count_while_they_are_read() {
        let lists = TopLists::default();
        count(&lists, "a", "::1", 1, 0);
        assert!(!lists.is_on() && lists.peek(9, Timestamp(0)).is_none());
        assert_eq!(lists.read(9, 1000, false, Timestamp(0)).answers, 0);
        count(&lists, "a", "::1", 1, 999);
        assert_eq!(lists.peek(9, Timestamp(999)).unwrap().answers, 1);
        count(&lists, "a", "::1", 1, 1000);
        assert!(!lists.is_on(), "the lease is over");
        assert_eq!(lists.read(9, 1000, false, Timestamp(5000)).answers, 0, "they begin anew");
    }

    /// Whatever the load, weights add up to the batches that came, and few are looked at.
    #[test]
    fn a_sample_stands_for_what_was_left_out() {
        let (sampler, batches) = (Sampler::default(), 2_000_000_u64);
        let (mut looked, mut sum) = (0_u64, 0_u64);
        for batch in 0..batches {
            let weight = sampler.weight(Timestamp(batch / 100)); // 100 a millisecond
            looked += u64::from(weight > 0);
            sum += u64::from(weight);
        }
        assert!(sum <= batches && batches - sum <= u64::from(MAX_EVERY), "{sum}");
        assert!((1000..batches / 100 / PAUSE_MS * 2 + BURST).contains(&looked), "{looked}");
        let later = batches / 100 + 1000;
        let weights: Vec<u32> = (0..100).map(|at| sampler.weight(Timestamp(later + at * 20))).collect();
        assert!(weights.ends_with(&[1; 90]), "each one, once the load has ended: {weights:?}");
    }

    #[test]
    fn a_burst_is_looked_at_whole() {
        let sampler = Sampler::default();
        assert!((0..BURST).all(|_| sampler.weight(Timestamp(0)) == 1));
        let sum: u32 = (0..100).map(|_| sampler.weight(Timestamp(0))).sum();
        assert!((50..=100).contains(&sum), "{sum}");
    }
}
