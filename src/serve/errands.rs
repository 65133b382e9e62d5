//! Questions that the relay asks for clients over UDP: sent out in batches, answered on the relay's thread.
//!
//! The relay fills the cache and the query is answered as if it had just come; so there is one way to an answer,
//! whoever fetched what it needs. Whatever does not go smoothly goes the long way, through
//! [`handle::in_time`].

use super::datagram::{self, Local};
use super::handle::{self, Brought, Waiting};
use super::hear;
use crate::engine::cache::CacheKey;
use crate::engine::chain::Fetch;
use crate::engine::reading::{self, NotUsable};
use crate::engine::request::Question;
use crate::state::limits::Permit;
use crate::state::{Live, count};
use crate::upstream::Server;
use crate::upstream::relay::{Clerk, Errand, Relay, Replied};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// The relay of the clients over UDP.
pub type Errands = Relay<Client>;

/// A client whose query has to wait.
#[derive(Debug)]
pub struct Visitor {
    /// Its query.
    pub waiting: Box<Waiting>,
    /// The socket that it came by.
    pub socket: Arc<UdpSocket>,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address that was asked.
    pub(super) local: Local,
}

/// A client that waits for the relay.
#[derive(Debug)]
pub struct Client {
    visitor: Visitor,
    /// Counts the query among those in flight.
    _permit: Permit,
}

/// Starts the relay.
///
/// # Errors
/// Its thread cannot be had.
pub fn start(live: &Arc<Live>) -> io::Result<Arc<Errands>> {
    Relay::start(Desk { live: live.clone(), outbox: Mutex::default() })
}

/// Sends out for those who wait: by the relay where a question can go the usual way, else the long way.
pub(super) fn send_out(errands: &Errands, live: &Arc<Live>, visitors: &mut Vec<Visitor>) {
    let published = live.published();
    let mut batches: Vec<(Arc<Server>, Vec<Errand<Client>>)> = Vec::new();
    for visitor in visitors.drain(..) {
        let needs = &visitor.waiting.needs;
        let group = published.groups.get(&needs.fetch.group);
        let key = needs.fetch.cache_key();
        // With an old answer at hand there is a shorter deadline to keep; what is being asked is joined.
        let usual = !needs.has_stale && !live.inflight.contains(&key);
        let server = group.filter(|_| usual).and_then(|group| group.steady());
        let Some(server) = server else {
            go_the_long_way(live, visitor);
            continue;
        };
        let Some(permit) = live.limits.begin(visitor.waiting.client()) else {
            go_the_long_way(live, visitor); // which knows what to say
            continue;
        };
        count(&live.counters.forwarded);
        let (name, rtype) = (needs.fetch.question.key.clone(), needs.fetch.question.rtype);
        let errand = Errand {
            key,
            name,
            rtype,
            flags: needs.fetch.flags,
            waiter: Client { visitor, _permit: permit },
        };
        match batches.iter_mut().find(|(other, _)| Arc::ptr_eq(other, server)) {
            Some((_, batch)) => batch.push(errand),
            None => batches.push((server.clone(), vec![errand])),
        }
    }
    for (server, batch) in batches {
        for refused in errands.ask(&server, batch) {
            go_the_long_way(live, refused.visitor);
        }
    }
}

/// Answers a query by a task of its own.
fn go_the_long_way(live: &Arc<Live>, visitor: Visitor) {
    let live = live.clone();
    tokio::spawn(async move {
        let Visitor { waiting, socket, peer, local } = visitor;
        let reply = handle::in_time(&live, *waiting).await;
        datagram::send(&socket, &reply, peer, local);
    });
}

/// Takes what the relay brings.
struct Desk {
    live: Arc<Live>,
    /// Answers that wait for the others of their batch.
    outbox: Mutex<Vec<(Visitor, Vec<u8>)>>,
}

impl Desk {
    /// Answers those who waited.
    fn settle(&self, waiters: &mut Vec<Client>, brought: &Brought<'_>) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        for client in waiters.drain(..) {
            match handle::settle(&self.live, &client.visitor.waiting, brought) {
                Some(reply) => outbox.push((client.visitor, reply)),
                None => go_the_long_way(&self.live, client.visitor),
            }
        }
    }
}

impl Clerk<Client> for Desk {
    fn is_known(&self, key: &CacheKey) -> bool {
        hear::is_known(&self.live, key).is_some()
    }

    fn take(&self, key: &CacheKey, reply: Replied<'_>, waiters: &mut Vec<Client>) -> bool {
        let live = &self.live;
        let now = live.clock.now();
        match reply {
            Replied::Unread(reply, question_end) => {
                // with DO there may be proofs, which only a full reading keeps
                if key.flags().dnssec_ok {
                    return false;
                }
                let Some(entry) =
                    reading::plain(reply, question_end, key.rtype(), &live.cache.lifetimes, now)
                else {
                    return false;
                };
                let slot = live.cache.insert(key.clone(), entry, now);
                self.settle(waiters, &Brought::Said(key.group(), &[(key.name(), slot)]));
            }
            Replied::Read(message) => {
                let Some(first) = waiters.first() else { return true };
                let published = live.published();
                let others =
                    published.groups.get(&key.group()).is_some_and(|group| group.servers().count() > 1);
                if others && reading::is_referral(&message) {
                    return false; // another server may resolve for us
                }
                let view = published.catalog.view(first.visitor.waiting.client());
                let question = Question::new(key.name().to_name(), key.rtype());
                let fetch = Fetch { group: key.group(), question, flags: key.flags() };
                match hear::keep(&live.cache, view, &fetch, &message, now) {
                    Ok(hops) => self.settle(waiters, &Brought::Said(key.group(), &hops)),
                    Err(NotUsable::Referral) => self.settle(waiters, &Brought::Failed(key, hear::referral())),
                }
            }
        }
        true
    }

    fn give_up(&self, waiter: Client) {
        go_the_long_way(&self.live, waiter.visitor);
    }

    fn flush(&self) {
        let outbox = std::mem::take(&mut *self.outbox.lock().unwrap_or_else(PoisonError::into_inner));
        datagram::send_all(
            outbox.iter().map(|(visitor, reply)| (&visitor.socket, reply, visitor.peer, visitor.local)),
        );
    }
}
