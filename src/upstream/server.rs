//! The state of one upstream server: health, options, load, counters.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::capabilities::{Capabilities, QueryOptions};
use super::health::{Health, Rtt, ServerHealth};
use super::network::Network;
use super::policy::{ServerView, hedge_delay};
use super::stream::{Connector, Streams};
use super::{AttemptError, ServerAddress, now, random};
use crate::base::clock::has_slept_since;
use crate::stats::counters::{Durations, Histogram};

/// Maximum usual round trip to a near server.
const NEAR: Duration = Duration::from_millis(10);

/// One server of a group.
#[derive(Debug)]
pub struct Server {
    /// Its address.
    address: ServerAddress,
    /// The state that changes with each reply. Locked for a few instructions at a time.
    state: Mutex<ServerState>,
    /// Permits for queries in flight.
    permits: Semaphore,
    /// Number of permits.
    max_in_flight: usize,
    /// Connections to it.
    streams: Streams,
    /// Its network.
    network: Network,
    /// Open queries of pools: at most the number of permits.
    pooled: AtomicUsize,
    /// Not used because of a forwarding loop.
    looping: AtomicBool,
    /// A probe is in flight.
    probing: AtomicBool,
    /// Its counters.
    counters: ServerCounters,
    /// Histogram of its reply times.
    durations: Durations,
}

/// The locked part of a server.
#[derive(Debug)]
struct ServerState {
    /// Availability and speed.
    health: Health,
    /// Query options.
    memory: Capabilities,
}

/// Declares the counters once, as atomics and as the plain numbers of a snapshot.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a server since it was configured.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ServerCounts { $($(#[$doc])* pub $name: u64,)* }

        /// [`ServerCounts`], shared.
        #[derive(Debug, Default)]
        pub(super) struct ServerCounters { $($(#[$doc])* pub(super) $name: Counter,)* }

        impl ServerCounters {
            /// The current values.
            fn read(&self) -> ServerCounts {
                ServerCounts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Tries: a query to this server, with any number of packets.
    queries,
    /// Usable answers (NOERROR, NXDOMAIN).
    successes,
    /// Tries that timed out.
    timeouts,
    /// Tries ended by an error of the network.
    network_errors,
    /// Tries without a valid TLS session.
    tls_errors,
    /// Tries that failed on this machine.
    local_errors,
    /// Replies with a failing rcode.
    bad_rcodes,
    /// Tries ended by a malformed reply.
    garbled,
    /// Datagrams from the server's address that match no query.
    mismatches,
    /// Queries that switched from UDP to TCP.
    tcp_fallbacks,
    /// Queries not sent because its limit was reached.
    at_limit,
}

/// A counter.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn bump(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A snapshot of a server for status and metrics.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// Its address.
    pub address: ServerAddress,
    /// Its availability.
    pub standing: ServerHealth,
    /// Not used because of a forwarding loop.
    pub looping: bool,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// Queries in flight.
    pub in_flight: usize,
    /// Time of its last answer.
    pub last_success: Option<Instant>,
    /// Its counters.
    pub counts: ServerCounts,
    /// Histogram of its reply times.
    pub durations: Histogram,
}

impl Server {
    /// A plain server without state.
    #[cfg(test)]
    pub(super) fn new(address: ServerAddress, max_in_flight: usize) -> Self {
        Self::with(Connector::default(), address, max_in_flight)
    }

    /// A server without state.
    pub(super) fn with(means: Connector, address: ServerAddress, max_in_flight: usize) -> Self {
        let memory = Capabilities::new(random::bytes().ok());
        let max_in_flight = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            network: means.network.clone(),
            streams: Streams::new(&address, means),
            address,
            state: Mutex::new(ServerState { health: Health::default(), memory }),
            permits: Semaphore::new(max_in_flight),
            max_in_flight,
            pooled: AtomicUsize::new(0),
            looping: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            counters: ServerCounters::default(),
            durations: Durations::default(),
        }
    }

    /// Its address.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether it is not used because of a forwarding loop.
    pub fn is_looping(&self) -> bool {
        self.looping.load(Ordering::Relaxed)
    }

    /// Marks it as in a forwarding loop or not; returns whether that is a change.
    pub fn set_looping(&self, looping: bool) -> bool {
        self.looping.swap(looping, Ordering::Relaxed) != looping
    }

    /// Time of its last answer.
    pub fn last_success(&self) -> Option<Instant> {
        self.state().health.last_answer()
    }

    /// A snapshot.
    pub fn snapshot(&self) -> ServerSnapshot {
        let state = self.state();
        ServerSnapshot {
            address: self.address.clone(),
            standing: state.health.standing(),
            looping: self.is_looping(),
            srtt: state.health.rtt().map(|rtt| rtt.srtt),
            in_flight: self.max_in_flight - self.permits.available_permits(),
            last_success: state.health.last_answer(),
            counts: self.counters.read(),
            durations: self.durations.read(),
        }
    }

    /// Data for the order of servers.
    pub(super) fn view(&self) -> ServerView {
        let state = self.state();
        ServerView { standing: state.health.standing(), rtt: state.health.rtt(), looping: self.is_looping() }
    }

    /// How fast it replies.
    pub(super) fn rtt(&self) -> Option<Rtt> {
        self.state().health.rtt()
    }

    /// True while it answers, or may answer, so fast that a query can wait for the answer to another one.
    pub fn is_near(&self) -> bool {
        self.rtt().is_none_or(|rtt| rtt.srtt <= NEAR)
    }

    /// A permit for one query, if its limit allows.
    pub(super) fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.permits.try_acquire().ok();
        if permit.is_none() {
            self.counters.at_limit.bump();
        }
        permit
    }

    /// Counts a pool query, if the limit allows; [`Self::release_pooled`] releases it.
    pub(super) fn admit_pooled(&self) -> bool {
        let admitted = self.pooled.fetch_add(1, Ordering::Relaxed) < self.max_in_flight;
        if !admitted {
            self.release_pooled(1);
        }
        admitted
    }

    /// Releases pool queries that are no longer open.
    pub(super) fn release_pooled(&self, questions: usize) {
        self.pooled.fetch_sub(questions, Ordering::Relaxed);
    }

    /// A reply came over UDP now, after `sample`; `usable` says whether its code was NOERROR or NXDOMAIN. `lesson` is
    /// what it shows about the server's options.
    pub(super) fn replied_in(
        &self,
        sample: Duration,
        usable: bool,
        now: Instant,
        lesson: impl FnOnce(&mut Capabilities),
    ) {
        let counters = &self.counters;
        if usable { &counters.successes } else { &counters.bad_rcodes }.bump();
        self.durations.observe(sample);
        let mut state = self.state();
        state.health.measured(sample);
        state.health.replied(usable, now);
        lesson(&mut state.memory);
    }

    /// A query sent at that time got no reply in the usual time.
    pub(super) fn missed_since(&self, sent: Instant) {
        self.counters.timeouts.bump();
        if !has_slept_since(sent) {
            self.state().health.missed(sent, now());
        }
    }

    /// It is up, and not in a forwarding loop.
    pub(super) fn is_steady(&self) -> bool {
        !self.is_looping() && self.state().health.standing() == ServerHealth::Up
    }

    /// It was recently found silent.
    pub(super) fn is_silent(&self) -> bool {
        self.state().health.is_silent(now())
    }

    /// The counters.
    pub(super) fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Its current query options.
    pub(super) fn query_options(&self) -> QueryOptions {
        let options = self.state().memory.query_options(now());
        if self.address.is_plain() { options } else { options.encrypted() }
    }

    /// Its network.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Its connections.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Records a lesson about its options.
    pub(super) fn learn(&self, lesson: impl FnOnce(&mut Capabilities)) {
        lesson(&mut self.state().memory);
    }

    /// A reply arrived over UDP, or over an open connection, after `sample`.
    pub(super) fn measured(&self, sample: Duration) {
        self.state().health.measured(sample);
    }

    /// A permit for a check for silence, if it is down and the check is due.
    pub(super) fn take_silence_check(self: &Arc<Self>) -> Option<SilenceCheck> {
        let started = now();
        let due = self.state().health.take_silence_check(started);
        due.then(|| SilenceCheck { server: Arc::clone(self), started })
    }

    /// A permit for a probe, if it is not up and the probe is due.
    pub(super) fn take_probe(self: &Arc<Self>) -> Option<Probing> {
        let due = self.state().health.take_probe(now(), random::fraction());
        (due && !self.probing.swap(true, Ordering::Relaxed)).then(|| Probing(Arc::clone(self)))
    }

    /// Begins a try. [`ServerAttempt::ended`] or dropping the guard records its result.
    pub(super) fn begin(&self) -> ServerAttempt<'_> {
        self.counters.queries.bump();
        ServerAttempt { server: self, started: now(), open: true }
    }

    /// The changing part.
    fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running check for silence.
pub(super) struct SilenceCheck {
    /// The server.
    server: Arc<Server>,
    /// Its start.
    started: Instant,
}

impl SilenceCheck {
    /// The server.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Records whether the server replied.
    pub(super) fn ended(self, answered: bool) {
        self.server.state().health.checked(self.started, answered, now());
    }
}

/// A running probe; at most one for each server.
pub(super) struct Probing(Arc<Server>);

impl Probing {
    /// The server.
    pub(super) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Relaxed);
    }
}

/// A running try. If it is dropped without a result (timeout, or another server was faster), it counts as a miss if the
/// server had more than its usual time.
pub(super) struct ServerAttempt<'a> {
    /// The server.
    server: &'a Server,
    /// Its start.
    started: Instant,
    /// No result so far.
    open: bool,
}

impl ServerAttempt<'_> {
    /// Records the result: `Ok` for an answer.
    pub(super) fn ended(mut self, result: Result<(), &AttemptError>) {
        self.open = false;
        let counters = &self.server.counters;
        if matches!(result, Ok(()) | Err(AttemptError::Rcode(_) | AttemptError::Referral)) {
            self.server.durations.observe(now().saturating_duration_since(self.started));
        }
        let mut state = self.server.state();
        match result {
            Ok(()) => {
                counters.successes.bump();
                state.health.replied(true, now());
            }
            Err(AttemptError::Rcode(_) | AttemptError::Referral) => {
                counters.bad_rcodes.bump();
                state.health.replied(false, now());
            }
            Err(AttemptError::Network(_) | AttemptError::Http(_)) => {
                counters.network_errors.bump();
                state.health.missed(self.started, now());
            }
            Err(AttemptError::Tls(_)) => {
                counters.tls_errors.bump();
                state.health.missed(self.started, now());
            }
            Err(AttemptError::Garbled) => {
                counters.garbled.bump();
                state.health.missed(self.started, now());
            }
            Err(AttemptError::TimedOut) => {
                counters.timeouts.bump();
                // queries that were in flight during a suspend do not count for the server
                if !has_slept_since(self.started) {
                    state.health.missed(self.started, now());
                }
            }
            // Local errors do not count for the server.
            Err(AttemptError::Local(_)) => counters.local_errors.bump(),
            Err(AttemptError::AtLimit | AttemptError::Looping) => {}
        }
    }
}

impl Drop for ServerAttempt<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let now = now();
        let mut state = self.server.state();
        let late = now.saturating_duration_since(self.started) >= hedge_delay(state.health.rtt());
        if late && !has_slept_since(self.started) {
            self.server.counters.timeouts.bump();
            state.health.missed(self.started, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(max_in_flight: usize) -> Server {
        Server::new("192.0.2.1".parse().unwrap(), max_in_flight)
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_given_up_early_is_no_miss_and_given_up_late_it_is_one() {
        let server = server(1);
        let early = server.begin();
        tokio::time::advance(Duration::from_millis(20)).await;
        drop(early);
        assert_eq!(server.snapshot().counts.timeouts, 0);
        for _ in 0..3 {
            let late = server.begin();
            tokio::time::advance(Duration::from_millis(900)).await;
            drop(late);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(server.snapshot().counts.timeouts, 3);
        assert_eq!(server.snapshot().standing, ServerHealth::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time() {
        let server = Arc::new(server(1));
        for _ in 0..3 {
            server.begin().ended(Err(&AttemptError::Network(String::new())));
        }
        assert!(server.take_probe().is_none());
        tokio::time::advance(Duration::from_millis(250)).await;
        let probing = server.take_probe();
        assert!(probing.is_some());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(server.take_probe().is_none());
        drop(probing);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(server.take_probe().is_some());
    }

    #[test]
    fn the_limit_holds_and_is_counted() {
        let server = server(2);
        let held = (server.permit(), server.permit());
        assert!(held.0.is_some() && held.1.is_some());
        assert!(server.permit().is_none());
        assert_eq!((server.snapshot().in_flight, server.snapshot().counts.at_limit), (2, 1));
        drop(held);
        assert!(server.permit().is_some());
    }

    #[test]
    fn our_own_trouble_is_not_held_against_the_server() {
        let server = server(1);
        for _ in 0..10 {
            server.begin().ended(Err(&AttemptError::Local("too many open files".to_owned())));
        }
        assert_eq!(server.snapshot().standing, ServerHealth::Up);
        assert_eq!(server.snapshot().counts.local_errors, 10);
    }
}
