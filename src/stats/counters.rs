//! Counters of queries and answers: each serving thread counts in its own [`ThreadCounters`], with plain loads and
//! stores; readers sum them up. All counters are arrays: counting needs no map, lock or label.

use super::top::Sampler;
use super::zone_stats::{AnswerSource, CHUNK, CHUNKS, CacheResult, StatKey};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The types with a cell each, in the order of their cells; all others share the last cell.
pub const TYPES: [(u16, &str); 19] = [
    (1, "A"),
    (28, "AAAA"),
    (5, "CNAME"),
    (15, "MX"),
    (2, "NS"),
    (12, "PTR"),
    (6, "SOA"),
    (33, "SRV"),
    (16, "TXT"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (43, "DS"),
    (48, "DNSKEY"),
    (46, "RRSIG"),
    (257, "CAA"),
    (35, "NAPTR"),
    (255, "ANY"),
    (251, "IXFR"),
    (252, "AXFR"),
];

/// Cells for types.
pub const TYPE_CELLS: usize = TYPES.len() + 1;

/// Cells for response codes: 0 to 23, and one for all others.
pub const RCODES: usize = 25;

/// The cell of each type below 66, which is nearly all that is asked.
const CELL_OF: [u8; 66] = {
    let mut cells = [TYPES.len() as u8; 66];
    let mut at = 0;
    while at < TYPES.len() {
        if (TYPES[at].0 as usize) < cells.len() {
            cells[TYPES[at].0 as usize] = at as u8;
        }
        at += 1;
    }
    cells
};

/// The cell of a type.
fn type_cell(rtype: u16) -> usize {
    match CELL_OF.get(usize::from(rtype)) {
        Some(cell) => usize::from(*cell),
        None => TYPES.iter().position(|(number, _)| *number == rtype).unwrap_or(TYPES.len()),
    }
}

/// Upper bounds of the buckets of a histogram: a quarter of a millisecond, doubled 15 times, as in CoreDNS.
pub const BUCKETS: usize = 16;

/// The upper bound of a bucket in seconds.
pub fn bound(bucket: usize) -> f64 {
    0.000_25 * f64::from(1u32 << bucket)
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Durations {
    /// The count of each bucket, and of longer durations.
    cells: [AtomicU64; BUCKETS + 1],
    /// The sum in nanoseconds.
    nanos: AtomicU64,
}

impl Durations {
    /// Counts one duration, from any thread.
    pub fn observe(&self, duration: Duration) {
        self.cells[bucket(duration)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(duration), Ordering::Relaxed);
    }

    /// The current values.
    pub fn read(&self) -> Histogram {
        Histogram {
            cells: self.cells.each_ref().map(|cell| cell.load(Ordering::Relaxed)),
            nanos: self.nanos.load(Ordering::Relaxed),
        }
    }
}

/// The bucket that a duration falls into.
fn bucket(duration: Duration) -> usize {
    // in quarters of a millisecond, rounded up: up to 1 is the first bucket, up to 2 the second, up to 4 the third
    let quarters = nanos(duration).div_ceil(250_000).max(1);
    (quarters.next_power_of_two().trailing_zeros() as usize).min(BUCKETS)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The numbers of [`Durations`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The count of each bucket, and of longer durations; not cumulative.
    pub cells: [u64; BUCKETS + 1],
    /// The sum in nanoseconds.
    pub nanos: u64,
}

impl Histogram {
    /// Their number.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.cells.iter_mut().zip(other.cells).for_each(|(cell, more)| *cell += more);
        self.nanos += other.nanos;
    }
}

/// How a query arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOrigin(usize);

impl QueryOrigin {
    /// By the transport and the client's address.
    pub fn new(tcp: bool, client: IpAddr) -> Self {
        let v6 = matches!(client, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none());
        Self(usize::from(tcp) * 2 + usize::from(v6))
    }
}

/// The arrivals as labels, in the order of their cells: transport and address family.
pub const ARRIVALS: [(&str, &str); 4] = [("udp", "1"), ("udp", "2"), ("tcp", "1"), ("tcp", "2")];

/// The counters of one thread, or of all tasks.
#[derive(Debug)]
pub struct ThreadCounters {
    /// Its listening address; None for tasks.
    pub address: Option<SocketAddr>,
    /// Only one thread counts here, so that a load and a store are sufficient.
    alone: bool,
    requests: [[AtomicU64; ARRIVALS.len()]; TYPE_CELLS],
    rcodes: [AtomicU64; RCODES],
    durations: Durations,
    /// Batches sampled by the top lists.
    pub sampler: Sampler,
    /// Answers from the packet cache.
    known: AtomicU64,
    /// Answers by the result of the cache lookup.
    shares: [AtomicU64; CacheResult::ALL.len()],
    places: [OnceLock<Box<[[AtomicU64; OUTCOMES]; CHUNK]>>; CHUNKS],
}

/// What is told apart for a place: NOERROR, NXDOMAIN, SERVFAIL, the rest.
pub const OUTCOMES: usize = 4;

/// The words for them.
pub const OUTCOME_NAMES: [&str; OUTCOMES] = ["NOERROR", "NXDOMAIN", "SERVFAIL", "other"];

fn outcome(rcode: u8) -> usize {
    match rcode {
        0 => 0,
        3 => 1,
        2 => 2,
        _ => 3,
    }
}

impl ThreadCounters {
    fn new(address: Option<SocketAddr>, alone: bool) -> Self {
        Self {
            address,
            alone,
            requests: Default::default(),
            rcodes: Default::default(),
            durations: Durations::default(),
            sampler: Sampler::default(),
            known: AtomicU64::new(0),
            shares: Default::default(),
            places: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// Counts a query; type 0 stands for an unparsable question.
    pub fn asked(&self, rtype: u16, arrival: QueryOrigin) {
        self.bump(&self.requests[type_cell(rtype)][arrival.0], 1);
    }

    /// Counts an answer.
    pub fn answered(&self, rcode: u8, mark: StatKey) {
        self.bump(&self.rcodes[usize::from(rcode).min(RCODES - 1)], 1);
        let share = mark.share();
        if share != CacheResult::None {
            self.bump(&self.shares[share as usize], 1);
        }
        if mark.service() == AnswerSource::Other {
            return; // no private zone and no rule: nothing that is counted for itself
        }
        let place = usize::from(mark.place());
        if let Some(chunk) = self.places.get(place / CHUNK) {
            let empty = || Box::new([const { [const { AtomicU64::new(0) }; OUTCOMES] }; CHUNK]);
            self.bump(&chunk.get_or_init(empty)[place % CHUNK][outcome(rcode)], 1);
        }
    }

    /// Counts answers out of the packet cache.
    pub fn packet_hits(&self, answers: u64) {
        self.bump(&self.known, answers);
    }

    /// Counts answers and how long each took.
    pub fn observe(&self, duration: Duration, answers: u64) {
        self.bump(&self.durations.cells[bucket(duration)], answers);
        self.bump(&self.durations.nanos, nanos(duration).saturating_mul(answers));
    }

    fn bump(&self, cell: &AtomicU64, by: u64) {
        if self.alone {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        } else {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }
}

/// The counters of a server.
#[derive(Debug)]
pub struct Counters {
    all: Mutex<Vec<Arc<ThreadCounters>>>,
    /// The counters of tasks.
    pub tasks: Arc<ThreadCounters>,
}

impl Default for Counters {
    fn default() -> Self {
        let tasks = Arc::new(ThreadCounters::new(None, false));
        Self { all: Mutex::new(vec![tasks.clone()]), tasks }
    }
}

impl Counters {
    /// Counters for one thread that serves this address. No other thread may count in them.
    pub fn for_thread(&self, address: SocketAddr) -> Arc<ThreadCounters> {
        self.register(ThreadCounters::new(Some(address), true))
    }

    /// Counters for the tasks that serve this address.
    pub fn for_tasks(&self, address: SocketAddr) -> Arc<ThreadCounters> {
        self.register(ThreadCounters::new(Some(address), false))
    }

    fn register(&self, tally: ThreadCounters) -> Arc<ThreadCounters> {
        let tally = Arc::new(tally);
        self.lock().push(tally.clone());
        tally
    }

    /// The sum of all, but for places.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for tally in self.lock().iter() {
            let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
            if let Some(address) = tally.address {
                let place = sum.requests.iter().position(|(other, _)| *other == address);
                let place = place.unwrap_or_else(|| {
                    sum.requests.push((address, [[0; ARRIVALS.len()]; TYPE_CELLS]));
                    sum.requests.len() - 1
                });
                for (cells, more) in sum.requests[place].1.iter_mut().zip(&tally.requests) {
                    cells.iter_mut().zip(more).for_each(|(cell, more)| *cell += read(more));
                }
            }
            sum.rcodes.iter_mut().zip(&tally.rcodes).for_each(|(cell, more)| *cell += read(more));
            sum.shares.iter_mut().zip(&tally.shares).for_each(|(cell, more)| *cell += read(more));
            sum.durations.add(&tally.durations.read());
            sum.known += read(&tally.known);
        }
        sum
    }

    /// The answers of each place, by number, as far as there are any.
    pub fn places(&self) -> Vec<(u16, [u64; OUTCOMES])> {
        let tallies = self.lock();
        let mut found = Vec::new();
        for chunk in 0..CHUNKS {
            let filled: Vec<_> = tallies.iter().filter_map(|tally| tally.places[chunk].get()).collect();
            if filled.is_empty() {
                continue;
            }
            for at in 0..CHUNK {
                let mut counts = [0; OUTCOMES];
                for cells in &filled {
                    let more = cells[at].iter().map(|cell| cell.load(Ordering::Relaxed));
                    counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
                }
                if counts != [0; OUTCOMES] {
                    found.push(((chunk * CHUNK + at) as u16, counts));
                }
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ThreadCounters>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests of one listening address: by type, then by arrival.
type Requests = [[u64; ARRIVALS.len()]; TYPE_CELLS];

/// All tallies together.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Queries by listening address.
    pub requests: Vec<(SocketAddr, Requests)>,
    /// Answers by code.
    pub rcodes: [u64; RCODES],
    /// Answers by the cache's share, in the order of [`CacheResult::ALL`].
    pub shares: [u64; CacheResult::ALL.len()],
    /// Durations of answers.
    pub durations: Histogram,
    /// Answers from the packet cache.
    pub known: u64,
}

impl Sum {
    /// All queries.
    pub fn asked(&self) -> u64 {
        self.requests.iter().flat_map(|(_, types)| types.iter().flatten()).sum()
    }

    /// All answers.
    pub fn answered(&self) -> u64 {
        self.rcodes.iter().sum()
    }

    /// Answers that involved the cache.
    pub fn share(&self, share: CacheResult) -> u64 {
        self.shares[share as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_cell_and_the_rest_share_one() {
        for (cell, (number, name)) in TYPES.iter().enumerate() {
            assert_eq!(type_cell(*number), cell, "{name}");
        }
        for number in [0, 3, 66, 99, 65_535] {
            assert_eq!(type_cell(number), TYPES.len());
        }
    }

    #[test]
    fn buckets_hold_what_their_bound_says() {
        for at in 0..BUCKETS {
            let limit = Duration::from_nanos(250_000u64 << at);
            assert_eq!(bucket(limit), at);
            assert_eq!(bucket(limit + Duration::from_nanos(1)), (at + 1).min(BUCKETS));
            assert!((bound(at) - limit.as_secs_f64()).abs() < 1e-12);
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::from_secs(100))), (0, BUCKETS));
    }

    #[test]
    fn tallies_add_up() {
        let tallies = Counters::default();
        let address = "127.0.0.1:53".parse().unwrap();
        let (one, two) = (tallies.for_thread(address), tallies.for_tasks(address));
        let v4 = "127.0.0.1".parse().unwrap();
        one.asked(1, QueryOrigin::new(false, v4));
        two.asked(28, QueryOrigin::new(true, "::1".parse().unwrap()));
        let zone = StatKey::new(300, AnswerSource::Zone, CacheResult::Success);
        one.answered(0, zone);
        two.answered(3, zone);
        tallies.tasks.answered(2, StatKey::default());
        one.observe(Duration::from_millis(1), 3);
        one.packet_hits(1);
        let sum = tallies.sum();
        assert_eq!((sum.asked(), sum.answered(), sum.known), (2, 3, 1));
        assert_eq!((sum.requests.len(), sum.requests[0].1[0][0], sum.requests[0].1[1][3]), (1, 1, 1));
        assert_eq!((sum.rcodes[0], sum.rcodes[2], sum.rcodes[3]), (1, 1, 1));
        assert_eq!((sum.share(CacheResult::Success), sum.share(CacheResult::Denial)), (2, 0));
        assert_eq!((sum.durations.count(), sum.durations.cells[2], sum.durations.nanos), (3, 3, 3_000_000));
        assert_eq!(tallies.places(), [(300, [1, 1, 0, 0])]);
    }
}
