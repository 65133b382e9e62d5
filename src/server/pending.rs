//! Questions that the pool asks for clients over UDP: sent out in batches, answered in batches.
//!
//! The pool fills the cache and the query is answered as if it had just come; so there is one way to an answer,
//! whoever fetched what it needs. Whatever does not go smoothly takes the slow path, through
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
    /// The client.
    pub(super) peer: SocketAddr,
    /// The address that was asked.
    pub(super) local: ReplySource,
}

/// The clients of one socket that wait, and the pool that asks for them. They belong to the socket's thread.
#[derive(Debug)]
pub(super) struct PendingQueries {
    pool: UdpPool<Incoming>,
    responder: Responder,
    /// Room for batches, each for one server; kept because it is dear to come by.
    batches: Vec<Vec<PoolQuery<Incoming>>>,
}

impl PendingQueries {
    /// No queries yet for the clients of a socket.
    pub(super) fn new(live: Arc<SharedState>, tally: Arc<ThreadCounters>, socket: Arc<UdpSocket>) -> Self {
        let asked = live.asked.clone();
        let responder = Responder { live, tally, socket, outbox: Vec::new() };
        Self { pool: UdpPool::new(asked), responder, batches: Vec::new() }
    }

    /// True while questions are open: then [`Self::turn`] waits, and no other code may.
    pub(super) fn are_open(&self) -> bool {
        self.pool.is_open()
    }

    /// Waits for replies and for clients, not for long, and answers those whose replies came. True when there are
    /// clients to receive.
    pub(super) fn turn(&mut self) -> bool {
        let has_clients = self.pool.turn(&self.responder.socket.clone(), &mut self.responder);
        self.responder.flush();
        has_clients
    }

    /// True while clients wait for the pool.
    pub(super) fn have_clients(&self) -> bool {
        self.pool.has_waiters()
    }

    /// Waits for replies alone, not for long, and answers those whose replies came.
    pub(super) fn turn_for_replies(&mut self) {
        self.pool.turn_for_replies(&mut self.responder);
        self.responder.flush();
    }

    /// Sends out for those who wait: by the pool where a question can go the usual way, else by the slow path.
    pub(super) fn send_out(&mut self, incoming: &mut Vec<Incoming>) {
        self.batches.iter_mut().for_each(Vec::clear); // a panic may have left something
        let responder = &self.responder;
        let published = responder.live.published();
        let mut servers: Vec<&Arc<Server>> = Vec::new();
        let mut last = None; // most queries of a batch are for one group
        for mut client in incoming.drain(..) {
            let missing = &mut client.waiting.missing;
            let group = match last {
                Some((key, group)) if key == missing.fetch.group => group,
                _ => published.groups.get(&missing.fetch.group),
            };
            last = Some((missing.fetch.group, group));
            // With an old answer at hand there is a shorter deadline to keep.
            let server = group.filter(|_| !missing.has_stale).and_then(|group| group.all_up());
            let Some(server) = server else {
                responder.fall_back_to_task(client);
                continue;
            };
            // A question that takes the slow path after all takes its permit with it.
            let key = missing.fetch.take_key();
            let waiting = published.waiting(missing.fetch.group);
            let permit = responder.live.limits.begin(client.waiting.client(), waiting).ok();
            if permit.is_none() {
                responder.fall_back_to_task(client); // which knows what to say
                continue;
            }
            count(&responder.live.counters.forwarded);
            client.waiting.permit = permit;
            let pool_query = PoolQuery { key, waiter: client };
            let place = servers.iter().position(|other| Arc::ptr_eq(other, server)).unwrap_or_else(|| {
                servers.push(server);
                servers.len() - 1
            });
            if self.batches.len() == place {
                self.batches.push(Vec::with_capacity(BATCH));
            }
            self.batches[place].push(pool_query);
        }
        let now = Instant::now();
        // A question that an exchange asks is joined there, and what has come in the meantime is found there.
        let moment = responder.live.clock.at(now);
        for (server, batch) in servers.into_iter().zip(&mut self.batches) {
            let known = |key: &CacheKey, client: &Incoming| {
                responder.live.inflight.contains(key)
                    || (responder.live.cache.insertions() != client.waiting.insertions
                        && lookup::is_known(&responder.live, key, moment).is_some())
                    || lookup::pair_of(key).is_some_and(|pair| {
                        // NXDOMAIN for one type answers both
                        server.is_near()
                            && (responder.live.asked.contains(&pair)
                                || responder.live.inflight.contains(&pair))
                    })
            };
            for refused in self.pool.ask(server, batch, &known, now) {
                responder.fall_back_to_task(refused);
            }
        }
    }
}

/// Takes what the pool brings.
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
    fn fall_back_to_task(&self, client: Incoming) {
        let (live, socket) = (self.live.clone(), self.socket.clone());
        tokio::spawn(async move {
            let Incoming { waiting, peer, local } = client;
            let reply = query::resolve(&live, *waiting).await;
            datagram::send(&socket, &reply, peer, local);
        });
    }

    /// Answers those who waited.
    fn settle(&mut self, waiters: &mut Vec<Incoming>, brought: &Delivered<'_>, now: Instant) {
        for client in waiters.drain(..) {
            match query::complete(&self.live, &self.tally, &client.waiting, brought, now.into()) {
                Some(reply) => self.outbox.push((reply, client.peer, client.local)),
                None => self.fall_back_to_task(client),
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
