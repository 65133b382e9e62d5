//! Questions that the relay asks for clients over UDP: sent out in batches, answered in batches.
//!
//! The relay fills the cache and the query is answered as if it had just come; so there is one way to an answer,
//! whoever fetched what it needs. Whatever does not go smoothly goes the long way, through
//! [`query::resolve`].

use super::datagram::{self, BATCH, ReplySource};
use crate::engine::cache::CacheKey;
use crate::engine::chain::Fetch;
use crate::engine::request::Question;
use crate::engine::response;
use crate::resolve::lookup;
use crate::resolve::query;
use crate::resolve::query::{Delivered, PendingQuery};
use crate::resolve::shared::{SharedState, count};
use crate::stats::counters::ThreadCounters;
use crate::upstream::Server;
use crate::upstream::udp_pool::{OnReply, PoolQuery, PoolReply, UdpPool};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

/// A client whose query has to wait.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its query.
    pub(super) waiting: Box<PendingQuery>,
    /// Who asks.
    pub(super) peer: SocketAddr,
    /// The address that was asked.
    pub(super) local: ReplySource,
}

/// The clients of one socket that wait, and the relay that asks for them. They belong to the socket's thread.
#[derive(Debug)]
pub(super) struct PendingQueries {
    relay: UdpPool<Incoming>,
    desk: Responder,
    /// Room for batches, each for one server; kept because it is dear to come by.
    batches: Vec<Vec<PoolQuery<Incoming>>>,
}

impl PendingQueries {
    /// No errands yet for the clients of a socket.
    pub(super) fn new(live: Arc<SharedState>, tally: Arc<ThreadCounters>, socket: Arc<UdpSocket>) -> Self {
        let asked = live.asked.clone();
        let desk = Responder { live, tally, socket, outbox: Vec::new() };
        Self { relay: UdpPool::new(asked), desk, batches: Vec::new() }
    }

    /// True while questions are open: then [`Self::turn`] waits, and no other code may.
    pub(super) fn are_open(&self) -> bool {
        self.relay.is_open()
    }

    /// Waits for replies and for clients, not for long, and answers those whose replies came. True when there are
    /// clients to receive.
    pub(super) fn turn(&mut self) -> bool {
        let has_clients = self.relay.turn(&self.desk.socket.clone(), &mut self.desk);
        self.desk.flush();
        has_clients
    }

    /// True while clients wait for the relay.
    pub(super) fn have_clients(&self) -> bool {
        self.relay.has_waiters()
    }

    /// Waits for replies alone, not for long, and answers those whose replies came.
    pub(super) fn turn_for_replies(&mut self) {
        self.relay.turn_for_replies(&mut self.desk);
        self.desk.flush();
    }

    /// Sends out for those who wait: by the relay where a question can go the usual way, else the long way.
    pub(super) fn send_out(&mut self, visitors: &mut Vec<Incoming>) {
        self.batches.iter_mut().for_each(Vec::clear); // a panic may have left something
        let desk = &self.desk;
        let published = desk.live.published();
        let mut servers: Vec<&Arc<Server>> = Vec::new();
        let mut last = None; // most queries of a batch are for one group
        for mut visitor in visitors.drain(..) {
            let missing = &mut visitor.waiting.missing;
            let group = match last {
                Some((key, group)) if key == missing.fetch.group => group,
                _ => published.groups.get(&missing.fetch.group),
            };
            last = Some((missing.fetch.group, group));
            // With an old answer at hand there is a shorter deadline to keep.
            let server = group.filter(|_| !missing.has_stale).and_then(|group| group.all_up());
            let Some(server) = server else {
                desk.fall_back_to_task(visitor);
                continue;
            };
            // A question that goes the long way after all takes its permit with it.
            let key = missing.fetch.take_key();
            let waiting = published.waiting(missing.fetch.group);
            let permit = desk.live.limits.begin(visitor.waiting.client(), waiting).ok();
            if permit.is_none() {
                desk.fall_back_to_task(visitor); // which knows what to say
                continue;
            }
            count(&desk.live.counters.forwarded);
            visitor.waiting.permit = permit;
            let errand = PoolQuery { key, waiter: visitor };
            let place = servers.iter().position(|other| Arc::ptr_eq(other, server)).unwrap_or_else(|| {
                servers.push(server);
                servers.len() - 1
            });
            if self.batches.len() == place {
                self.batches.push(Vec::with_capacity(BATCH));
            }
            self.batches[place].push(errand);
        }
        let now = Instant::now();
        // A question that an exchange asks is joined there, and what has come in the meantime is found there.
        let moment = desk.live.clock.at(now);
        for (server, batch) in servers.into_iter().zip(&mut self.batches) {
            let known = |key: &CacheKey, visitor: &Incoming| {
                desk.live.inflight.contains(key)
                    || (desk.live.cache.insertions() != visitor.waiting.insertions
                        && lookup::is_known(&desk.live, key, moment).is_some())
                    || lookup::pair_of(key).is_some_and(|pair| {
                        // NXDOMAIN for one type answers both
                        server.is_near()
                            && (desk.live.asked.contains(&pair) || desk.live.inflight.contains(&pair))
                    })
            };
            for refused in self.relay.ask(server, batch, &known, now) {
                desk.fall_back_to_task(refused);
            }
        }
    }
}

/// Takes what the relay brings.
#[derive(Debug)]
struct Responder {
    live: Arc<SharedState>,
    tally: Arc<ThreadCounters>,
    /// The socket of the clients.
    socket: Arc<UdpSocket>,
    /// Answers that wait for the others of their batch.
    outbox: Vec<(Vec<u8>, SocketAddr, ReplySource)>,
}

impl Responder {
    /// Answers a query by a task of its own.
    fn fall_back_to_task(&self, visitor: Incoming) {
        let (live, socket) = (self.live.clone(), self.socket.clone());
        tokio::spawn(async move {
            let Incoming { waiting, peer, local } = visitor;
            let reply = query::resolve(&live, *waiting).await;
            datagram::send(&socket, &reply, peer, local);
        });
    }

    /// Answers those who waited.
    fn settle(&mut self, waiters: &mut Vec<Incoming>, brought: &Delivered<'_>, now: Instant) {
        for visitor in waiters.drain(..) {
            match query::complete(&self.live, &self.tally, &visitor.waiting, brought, now.into()) {
                Some(reply) => self.outbox.push((reply, visitor.peer, visitor.local)),
                None => self.fall_back_to_task(visitor),
            }
        }
    }

    /// Sends the answers.
    fn flush(&mut self) {
        datagram::send_all(&self.socket, &self.outbox);
        self.outbox.clear();
    }
}

impl OnReply<Incoming> for Responder {
    fn take(
        &mut self,
        key: &CacheKey,
        reply: PoolReply<'_>,
        waiters: &mut Vec<Incoming>,
        came: Instant,
    ) -> bool {
        let live = self.live.clone();
        let now = live.clock.at(came);
        match reply {
            PoolReply::Unread(reply, question_end) => {
                // with DO there may be proofs, which only a full reading keeps
                if key.flags().dnssec_ok {
                    return false;
                }
                let Some(entry) =
                    response::parse_plain(reply, question_end, key.rtype(), &live.cache.lifetimes, now)
                else {
                    return false;
                };
                let Some(first) = waiters.first() else { return true };
                let name = first.waiting.missing.fetch.question.key.clone();
                let slot = live.cache.insert(key.clone(), entry, now);
                self.settle(waiters, &Delivered::Answered(key.group(), &[(name, slot)]), came);
            }
            PoolReply::Read(message) => {
                let Some(first) = waiters.first() else { return true };
                let published = live.published();
                let others =
                    published.groups.get(&key.group()).is_some_and(|group| group.servers().count() > 1);
                if others && response::is_referral(&message) {
                    return false; // another server may resolve for us
                }
                let view = published.catalog.view(first.waiting.client());
                let question = Question::new(key.name().to_name(), key.rtype());
                let fetch = Fetch::new(key.group(), question, key.flags());
                match lookup::cache_put(&live.cache, view, &fetch, &message, now) {
                    Ok(hops) => self.settle(waiters, &Delivered::Answered(key.group(), &hops), came),
                    Err(why) => self.settle(waiters, &Delivered::Failed(key, lookup::unusable(why)), came),
                }
            }
        }
        true
    }

    fn give_up(&mut self, waiter: Incoming) {
        self.fall_back_to_task(waiter);
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
