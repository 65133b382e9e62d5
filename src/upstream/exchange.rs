//! One query to a group: a staggered race.
//!
//! Queries the first server. If it fails, queries the next one at once; if it is slower than usual, queries the next
//! one too and accepts both replies. After all servers were queried, queries silent ones again with growing pauses,
//! because a packet may have been lost. A server that failed (a failing rcode, a network error) is not queried again.
//! The first usable answer ends the race.

use crate::base::task;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::response;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::health::ServerHealth;
use super::server::Server;
use super::transaction;
use super::transaction::Response;
use super::{Attempt, AttemptError, Failure, Group, Reply, Strategy, UpstreamQuery, policy, random};

/// Timeout of a probe of a server that is down: less than the interval of probes.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1100);
/// Timeout and number of tries of a check for silence: one datagram may be lost.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(550);
/// See there.
const SILENCE_TRIES: usize = 2;
/// After a failure of one server, how long to wait for others that are known to be down.
const LAST_RESORT_WAIT: Duration = Duration::from_millis(400);

/// Runs the race. See [`Group::exchange`].
pub(super) async fn run(group: &Group, query: &UpstreamQuery) -> Result<Reply, Failure> {
    let start = Instant::now();
    let strategy = group.options().strategy;
    let mut race = Race::new(group);
    race.probe_the_unhealthy(query);
    group.shared_servers().iter().for_each(check_silence);
    let mut deadline = start + group.options().deadline;
    let mut hedge_at = start;
    let mut running = FuturesUnordered::new();
    let burst = if strategy == Strategy::Parallel { race.order.len() } else { 1 };
    for _ in 0..burst {
        let Some((runner, permit)) = race.next(true) else { break };
        running.push(attempt(&group.shared_servers()[runner], runner, query, permit));
        hedge_at = start + race.pause_after(runner);
    }
    while !running.is_empty() {
        let next = tokio::select! {
            biased;
            Some((runner, result)) = running.next() => match result {
                Ok(heard) => {
                    return Ok(Reply {
                        message: heard.message,
                        server: group.shared_servers()[runner].address().clone(),
                        elapsed: start.elapsed(),
                        over_tcp: heard.over_tcp,
                    });
                }
                Err(outcome) => {
                    race.failed(runner, outcome);
                    let next = race.next(!running.is_empty());
                    if let Some(patience) = race.patience() {
                        deadline = deadline.min(Instant::now() + patience);
                    }
                    next
                }
            },
            () = tokio::time::sleep_until(deadline) => break,
            () = tokio::time::sleep_until(hedge_at), if race.may_go_on() => race.next(false),
        };
        if let Some((runner, permit)) = next {
            running.push(attempt(&group.shared_servers()[runner], runner, query, permit));
            hedge_at = Instant::now() + race.pause_after(runner);
        }
    }
    group.shared_servers().iter().for_each(check_silence);
    Err(race.failure())
}

/// One try at one server; reports the result to health and counters.
async fn attempt(
    server: &Server,
    runner: usize,
    query: &UpstreamQuery,
    _permit: SemaphorePermit<'_>,
) -> (usize, Result<Response, AttemptError>) {
    let this = server.begin();
    let result = match transaction::ask(server, query).await {
        Ok(heard) => match heard.message.metadata.response_code {
            ResponseCode::NoError if response::is_referral(&heard.message) => Err(AttemptError::Referral),
            _ if response::is_verdict(&heard.message) => Ok(heard),
            rcode => Err(AttemptError::Rcode(rcode)),
        },
        Err(outcome) => Err(outcome),
    };
    this.ended(result.as_ref().map(|_| ()));
    (runner, result)
}

/// The state of one race.
struct Race<'a> {
    /// The servers.
    group: &'a Group,
    /// The order of servers, as indices into the group's servers. The first round queries each once.
    order: Vec<usize>,
    /// Steps taken through `order`, round after round.
    step: usize,
    /// The state of each server in this race, by its index in the group.
    runners: Vec<Contender>,
    /// Tries left.
    tries_left: usize,
    /// Tries of servers that were queried before.
    retries: u32,
    /// The last failing rcode.
    last_rcode: Option<ResponseCode>,
}

/// One server in one race.
#[derive(Default)]
struct Contender {
    /// It was down when the race began.
    was_down: bool,
    /// Number of queries.
    tries: u32,
    /// Number of running queries.
    outstanding: u32,
    /// The result of the last completed try.
    outcome: Option<AttemptError>,
    /// Not to be queried again: it has failed.
    out: bool,
    /// Not to be queried again: its limit is reached. Replies to earlier queries are still accepted.
    full: bool,
}

impl Contender {
    /// Whether it may be queried (again).
    fn may_be_asked(&self) -> bool {
        !self.out && !self.full
    }
}

impl<'a> Race<'a> {
    /// The state at the start.
    fn new(group: &'a Group) -> Self {
        let views: Vec<_> = group.servers().map(Server::view).collect();
        let order = policy::order(group.options().strategy, &views, random::fraction());
        let runner = |view: &policy::ServerView| Contender {
            was_down: view.standing == ServerHealth::Down,
            outcome: view.looping.then_some(AttemptError::Looping),
            ..Contender::default()
        };
        let runners = views.iter().map(runner).collect();
        let tries_left = policy::max_tries(order.len());
        Self { group, order, step: 0, runners, tries_left, retries: 0, last_rcode: None }
    }

    /// Sends the query as a probe to servers that are not up and are due. The first server is queried in any case.
    fn probe_the_unhealthy(&self, query: &UpstreamQuery) {
        if self.group.options().strategy == Strategy::Parallel {
            return; // all are queried in any case
        }
        for &index in self.order.iter().skip(1) {
            let server = &self.group.shared_servers()[index];
            if server.view().standing != ServerHealth::Up {
                probe(server, || query.clone());
            }
        }
    }

    /// The next server and its permit; only one that was not queried before if `fresh` is set.
    fn next(&mut self, fresh: bool) -> Option<(usize, SemaphorePermit<'a>)> {
        let servers = self.group.shared_servers();
        while self.tries_left > 0 && !self.order.is_empty() {
            let candidates = self.order.len();
            let ahead = (0..candidates)
                .map(|offset| self.step + offset)
                .take_while(|&step| !fresh || step < candidates)
                .find(|&step| self.runners[self.order[step % candidates]].may_be_asked())?;
            self.step = ahead + 1;
            let index = self.order[ahead % candidates];
            let runner = &mut self.runners[index];
            let Some(permit) = servers[index].permit() else {
                runner.full = true;
                runner.outcome.get_or_insert(AttemptError::AtLimit);
                continue;
            };
            self.tries_left -= 1;
            self.retries += u32::from(runner.tries > 0);
            runner.tries += 1;
            runner.outstanding += 1;
            return Some((index, permit));
        }
        None
    }

    /// Whether a server is left.
    fn may_go_on(&self) -> bool {
        self.tries_left > 0 && self.order.iter().any(|&index| self.runners[index].may_be_asked())
    }

    /// How long to wait for this server before querying the next.
    fn pause_after(&self, index: usize) -> Duration {
        let rtt = self.group.shared_servers()[index].rtt();
        if self.step < self.order.len() {
            policy::hedge_delay(rtt)
        } else {
            policy::retry_delay(rtt, self.retries)
        }
    }

    /// A try has ended without an answer.
    fn failed(&mut self, index: usize, outcome: AttemptError) {
        let runner = &mut self.runners[index];
        runner.outstanding -= 1;
        // A TCP handshake that timed out is silence too: the server may be queried again.
        runner.out = outcome != AttemptError::TimedOut;
        if let AttemptError::Rcode(rcode) = outcome {
            self.last_rcode = Some(rcode);
        }
        runner.outcome = Some(outcome);
    }

    /// How long to wait for silent servers, if less than the deadline: not at all if each has failed in another try,
    /// and briefly if one has failed and the others were known to be down.
    fn patience(&self) -> Option<Duration> {
        let mut silent =
            self.runners.iter().filter(|runner| runner.outstanding > 0 && !runner.out).peekable();
        if silent.peek().is_none() {
            return Some(Duration::ZERO);
        }
        (self.last_rcode.is_some() && silent.all(|runner| runner.was_down)).then_some(LAST_RESORT_WAIT)
    }

    /// The error if no server answered.
    fn failure(self) -> Failure {
        let servers = self.group.servers().zip(self.runners);
        let attempts = servers.filter_map(|(server, runner)| {
            let outcome = if runner.outstanding > 0 && !matches!(runner.outcome, Some(AttemptError::Rcode(_)))
            {
                AttemptError::TimedOut
            } else {
                runner.outcome?
            };
            Some(Attempt { server: server.address().clone(), tries: runner.tries, outcome })
        });
        Failure::new(attempts.collect(), self.last_rcode)
    }
}

/// Sends the query to a server that is not up, if due, outside the race: it only detects whether the server has
/// recovered.
pub(super) fn probe(server: &Arc<Server>, query: impl FnOnce() -> UpstreamQuery) {
    let Some(probing) = server.take_probe() else { return };
    let query = query();
    task::spawn(async move {
        let server = probing.server();
        let Some(permit) = server.permit() else { return };
        // The try itself reports to the server's health.
        let _ = tokio::time::timeout(PROBE_TIMEOUT, attempt(server, 0, &query, permit)).await;
    });
}

/// Queries `. NS` of a server that is down, if due: a server without a reply is silent, and does not only wait for the
/// authoritative servers of other names. Any reply counts, with any code.
pub(super) fn check_silence(server: &Arc<Server>) {
    let Some(check) = server.take_silence_check() else { return };
    // Does not count for the limit, which unanswered queries may have reached: there is one check at a time.
    task::spawn(async move {
        let question = UpstreamQuery {
            name: Name::root(),
            rtype: RecordType::NS,
            dnssec_ok: false,
            checking_disabled: false,
        };
        let mut answered = false;
        for _ in 0..SILENCE_TRIES {
            let asked = tokio::time::timeout(SILENCE_TIMEOUT, transaction::ask(check.server(), &question));
            answered = match asked.await {
                Ok(Ok(_) | Err(AttemptError::Rcode(_))) => true,
                Ok(Err(AttemptError::Local(_))) => return check.ended(true), // nothing was sent
                Ok(Err(_)) | Err(_) => false,
            };
            if answered {
                break;
            }
        }
        check.ended(answered);
    });
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
