//! One upstream server as it is known right now: health, options, load, counters.

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

/// The usual round trip to a near server, at most.
const NEAR: Duration = Duration::from_millis(10);

/// One server of a group.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    address: ServerAddress,
    /// What changes with each reply. Held for a few instructions at a time.
    state: Mutex<ServerState>,
    /// One permit for each query that may be under way.
    permits: Semaphore,
    /// How many permits there are.
    max_in_flight: usize,
    /// Connections to it.
    streams: Streams,
    /// The network it is in.
    network: Network,
    /// Questions that pools have open: as many as there are permits, at most.
    pooled: AtomicUsize,
    /// Not used because of a forwarding loop.
    looping: AtomicBool,
    /// A probe is under way.
    probing: AtomicBool,
    /// What happened so far.
    counters: ServerCounters,
    /// How long its replies took.
    durations: Durations,
}

/// The part of a server that is behind its lock.
#[derive(Debug)]
struct ServerState {
    /// Is it up, how fast?
    health: Health,
    /// How does it want to be asked?
    memory: Capabilities,
}

/// Declares the counters once, as atomics and as the plain numbers of a snapshot.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened with a server since it was configured.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ServerCounts { $($(#[$doc])* pub $name: u64,)* }

        /// [`ServerCounts`], shared.
        #[derive(Debug, Default)]
        pub(super) struct ServerCounters { $($(#[$doc])* pub(super) $name: Counter,)* }

        impl ServerCounters {
            /// The numbers now.
            fn read(&self) -> ServerCounts {
                ServerCounts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Tries: a question put to this server, however many packets it took.
    queries,
    /// Usable answers (NOERROR, NXDOMAIN).
    successes,
    /// Tries that got no reply in the time they had.
    timeouts,
    /// Tries ended by an error of the network.
    network_errors,
    /// Tries that ended because no trusted TLS session came about.
    tls_errors,
    /// Tries that this machine could not send.
    local_errors,
    /// Replies with a failing rcode.
    bad_rcodes,
    /// Tries ended by a reply that cannot be read.
    garbled,
    /// Datagrams that came from the server's address but answer nothing we asked.
    mismatches,
    /// Questions that moved from UDP to TCP.
    tcp_fallbacks,
    /// Times the server was passed over because its limit was reached.
    at_limit,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn bump(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server as status pages and metrics show it.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// Where it is.
    pub address: ServerAddress,
    /// Can it be relied on?
    pub standing: ServerHealth,
    /// Not used because of a forwarding loop.
    pub looping: bool,
    /// Smoothed round-trip time, once known.
    pub srtt: Option<Duration>,
    /// Queries under way.
    pub in_flight: usize,
    /// When it last gave an answer.
    pub last_success: Option<Instant>,
    /// What happened so far.
    pub counts: ServerCounts,
    /// How long its replies took.
    pub durations: Histogram,
}

impl Server {
    /// A plain server nothing is known of yet.
    #[cfg(test)]
    pub(super) fn new(address: ServerAddress, max_in_flight: usize) -> Self {
        Self::with(Connector::default(), address, max_in_flight)
    }

    /// A server nothing is known of yet.
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

    /// Where it is.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether it is not used because of a forwarding loop.
    pub fn is_looping(&self) -> bool {
        self.looping.load(Ordering::Relaxed)
    }

    /// Sets it aside, or takes it back; says whether that is news.
    pub fn set_looping(&self, looping: bool) -> bool {
        self.looping.swap(looping, Ordering::Relaxed) != looping
    }

    /// When it last gave an answer.
    pub fn last_success(&self) -> Option<Instant> {
        self.state().health.last_answer()
    }

    /// Everything worth showing.
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

    /// What the order of asking depends on.
    pub(super) fn view(&self) -> ServerView {
        let state = self.state();
        ServerView { standing: state.health.standing(), rtt: state.health.rtt(), looping: self.is_looping() }
    }

    /// How fast it replies.
    pub(super) fn rtt(&self) -> Option<Rtt> {
        self.state().health.rtt()
    }

    /// True while it answers so soon, or may, that waiting for one answer before the next question is hardly noticed.
    pub fn is_near(&self) -> bool {
        self.rtt().is_none_or(|rtt| rtt.srtt <= NEAR)
    }

    /// The right to send it one query, if its limit allows.
    pub(super) fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.permits.try_acquire().ok();
        if permit.is_none() {
            self.counters.at_limit.bump();
        }
        permit
    }

    /// One more question of a pool, if the limit allows; [`Self::release_pooled`] takes it back.
    pub(super) fn admit_pooled(&self) -> bool {
        let admitted = self.pooled.fetch_add(1, Ordering::Relaxed) < self.max_in_flight;
        if !admitted {
            self.release_pooled(1);
        }
        admitted
    }

    /// Releases questions of a pool that are no longer open.
    pub(super) fn release_pooled(&self, questions: usize) {
        self.pooled.fetch_sub(questions, Ordering::Relaxed);
    }

    /// A reply came over UDP now, after `sample`; `usable` says whether its code was NOERROR or NXDOMAIN. `lesson` is
    /// what it says of how the server wants to be asked.
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

    /// A query sent then got no reply in the usual time.
    pub(super) fn missed_since(&self, sent: Instant) {
        self.counters.timeouts.bump();
        if !has_slept_since(sent) {
            self.state().health.missed(sent, now());
        }
    }

    /// It is up, and not set aside.
    pub(super) fn is_steady(&self) -> bool {
        !self.is_looping() && self.state().health.standing() == ServerHealth::Up
    }

    /// It was found silent not long ago.
    pub(super) fn is_silent(&self) -> bool {
        self.state().health.is_silent(now())
    }

    /// The counters.
    pub(super) fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// How to ask it now.
    pub(super) fn query_options(&self) -> QueryOptions {
        let options = self.state().memory.query_options(now());
        if self.address.is_plain() { options } else { options.encrypted() }
    }

    /// The network that it is in.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The connections to it.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Notes something learned of its options.
    pub(super) fn learn(&self, lesson: impl FnOnce(&mut Capabilities)) {
        lesson(&mut self.state().memory);
    }

    /// A reply came over UDP, or over a connection that was open, after `sample`.
    pub(super) fn measured(&self, sample: Duration) {
        self.state().health.measured(sample);
    }

    /// The right to ask it now what every server knows, when it is down and the time has come.
    pub(super) fn take_silence_check(self: &Arc<Self>) -> Option<SilenceCheck> {
        let started = now();
        let due = self.state().health.take_silence_check(started);
        due.then(|| SilenceCheck { server: Arc::clone(self), started })
    }

    /// The right to probe it now, when it is not up and the time has come.
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

/// A question under way that every server knows the answer to.
pub(super) struct SilenceCheck {
    /// Who is asked.
    server: Arc<Server>,
    /// Since when.
    started: Instant,
}

impl SilenceCheck {
    /// Who is asked.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Notes whether the server said anything.
    pub(super) fn ended(self, answered: bool) {
        self.server.state().health.checked(self.started, answered, now());
    }
}

/// A probe under way; there is one a server at most.
pub(super) struct Probing(Arc<Server>);

impl Probing {
    /// Who is probed.
    pub(super) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Relaxed);
    }
}

/// A try under way. Dropped without a result (the time is up, or another server was faster), it counts as a
/// miss if the server had had longer than it usually needs.
pub(super) struct ServerAttempt<'a> {
    /// Whom it asks.
    server: &'a Server,
    /// Since when.
    started: Instant,
    /// No result so far.
    open: bool,
}

impl ServerAttempt<'_> {
    /// Notes the result: `Ok` for an answer.
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
                // what was under way when the machine fell asleep is no measure of the server
                if !has_slept_since(self.started) {
                    state.health.missed(self.started, now());
                }
            }
            // Our own trouble says nothing of the server.
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
