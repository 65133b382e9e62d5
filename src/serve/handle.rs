//! The life of a query, top to bottom.
//!
//! ```text
//! packet ─▶ Request::parse ─▶ screen ─▶ chain: decide ─▶ (cached ─▶ ask) ─▶ … ─▶ finish ─▶ packet
//! ```
//!
//! [`at_once`] answers what needs no waiting: zones, special names, what the cache holds. What has to wait for
//! an upstream goes through [`in_time`], the only place that awaits along the way.

use super::hear::{self, Cached, Said};
use crate::engine::answer::{Answer, ExtendedError};
use crate::engine::cache::QueryFlags;
use crate::engine::catalog::GroupKey;
use crate::engine::chain::{Chain, Fetch, Step};
use crate::engine::lane::{LaneKey, Prepared};
use crate::engine::name::NameKey;
use crate::engine::reply;
use crate::engine::request::{Admission, Question, Request};
use crate::engine::screen::{Screening, is_loop_probe, screen};
use crate::state::cache::Slot;
use crate::state::{Live, Published, count};
use hickory_proto::op::ResponseCode;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Every client gets an answer within this time: glibc asks the next server after 5 s.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(4);

/// What carries a query, since it bounds the answer's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A message in a stream.
    Tcp,
}

/// A query that has to wait for an upstream.
#[derive(Debug)]
pub struct Waiting {
    request: Request,
    question: Question,
    client: IpAddr,
    transport: Transport,
    /// The number of the answer: a query has one, so that sets rotate evenly whether it waits or not.
    turn: u64,
    /// When it came.
    since: Instant,
    /// What it waits for first.
    pub(super) needs: Needs,
}

/// What an upstream group must say before a query can be answered.
#[derive(Debug)]
pub(super) struct Needs {
    /// The question for the group.
    pub(super) fetch: Fetch,
    /// There is an answer beyond its life, for the case that nothing comes.
    pub(super) has_stale: bool,
}

/// What [`at_once`] makes of a packet.
#[derive(Debug)]
pub enum Outcome {
    /// Send this.
    Reply(Vec<u8>),
    /// Send nothing.
    Drop,
    /// Hand it to [`in_time`].
    Wait(Box<Waiting>),
}

/// Answers a packet if that takes no waiting. Must be called within a tokio runtime.
pub fn at_once(live: &Arc<Live>, packet: &[u8], client: IpAddr, transport: Transport) -> Outcome {
    count(&live.counters.received);
    let published = live.published();
    let (request, question) = match Request::parse(packet) {
        Admission::Drop => {
            count(&live.counters.dropped);
            return Outcome::Drop;
        }
        Admission::Reject(request, rcode) => {
            let answer = Answer::code(rcode, None);
            return Outcome::Reply(finish(&published, &request, &answer, transport));
        }
        Admission::Accept(request, question) => (request, question),
    };
    let screening = Screening { allowed: published.allows(client), version_bind: published.version_bind };
    let turn = live.turn();
    let answer = match screen(&question, screening).or_else(|| recognise_probe(live, &question)) {
        Some(answer) => Ok(answer),
        None => resolve_at_once(live, &published, &request, &question, client, turn),
    };
    match answer {
        Ok(answer) => {
            let reply = finish(&published, &request, &answer, transport);
            prepare(live, &published, &request, &question, client, &answer, &reply, turn);
            Outcome::Reply(reply)
        }
        Err(needs) => {
            let since = Instant::now();
            Outcome::Wait(Box::new(Waiting { request, question, client, transport, turn, since, needs }))
        }
    }
}

/// Answers a query whose wait may be over; nothing when an upstream must be heard once more.
pub(super) fn settle(live: &Arc<Live>, waiting: &Waiting) -> Option<Vec<u8>> {
    let Waiting { request, question, client, transport, turn, .. } = waiting;
    let published = live.published();
    let answer = resolve_at_once(live, &published, request, question, *client, *turn).ok()?;
    Some(finish(&published, request, &answer, *transport))
}

impl Waiting {
    /// Who asks.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }
}

/// Answers a query that has to wait, within [`CLIENT_DEADLINE`].
pub async fn in_time(live: &Arc<Live>, waiting: Waiting) -> Vec<u8> {
    let Waiting { request, question, client, transport, turn, since, .. } = waiting;
    let published = live.published();
    let deadline = since + CLIENT_DEADLINE;
    let mut chain = Chain::start(published.catalog.view(client), &question, flags(&request), turn);
    // What came with an earlier hop's answer; a TTL of 0 keeps it out of the cache, but it is good for this query.
    let mut heard: Vec<(GroupKey, NameKey, Arc<Slot>)> = Vec::new();
    let answer = loop {
        let fetch = match chain.step() {
            Step::Done(answer) => break answer,
            Step::Fetch(fetch) => fetch,
        };
        if let Some(slot) = take(&mut heard, &fetch) {
            chain.supply(&slot.entry, slot.entry.ttl, false);
            continue;
        }
        let stale = match use_cached(live, &published, client, &fetch, &mut chain) {
            Ok(()) => continue,
            Err(stale) => stale,
        };
        match hear::ask(live, &published, client, &fetch, stale, deadline).await {
            Ok(Said::Fresh(entries)) => {
                heard.extend(entries.iter().map(|(name, slot)| (fetch.group, name.clone(), slot.clone())));
                match take(&mut heard, &fetch) {
                    Some(slot) => chain.supply(&slot.entry, slot.entry.ttl, false),
                    None => {
                        chain.fail(ExtendedError::new(ExtendedError::OTHER, "an answer without a beginning"))
                    }
                }
            }
            Ok(Said::Stale(slot)) => chain.supply(&slot.entry, live.cache.lifetimes.stale_ttl, true),
            Err(error) => chain.fail(error),
        }
    };
    finish(&published, &request, &answer, transport)
}

/// The answer as far as zones, special names and the cache have it.
///
/// # Errors
/// What an upstream must say first.
fn resolve_at_once(
    live: &Arc<Live>,
    published: &Arc<Published>,
    request: &Request,
    question: &Question,
    client: IpAddr,
    turn: u64,
) -> Result<Answer, Needs> {
    let mut chain = Chain::start(published.catalog.view(client), question, flags(request), turn);
    loop {
        match chain.step() {
            Step::Done(answer) => return Ok(answer),
            Step::Fetch(fetch) => match use_cached(live, published, client, &fetch, &mut chain) {
                Ok(()) => {}
                // Nothing is forwarded for a client that does not ask for recursion, stale or not.
                Err(_) if !request.recursion_desired => chain.refuse_recursion(),
                Err(stale) => return Err(Needs { fetch, has_stale: stale.is_some() }),
            },
        }
    }
}

/// Tells the chain what the cache has.
///
/// # Errors
/// Nothing that may be used yet: what there is beyond its life.
fn use_cached(
    live: &Arc<Live>,
    published: &Arc<Published>,
    client: IpAddr,
    fetch: &Fetch,
    chain: &mut Chain<'_>,
) -> Result<(), Option<Arc<Slot>>> {
    match hear::cached(live, published, client, fetch, live.clock.now()) {
        Cached::Use(slot, ttl) => chain.supply(&slot.entry, ttl, false),
        Cached::UseStale(slot) => chain.supply(&slot.entry, live.cache.lifetimes.stale_ttl, true),
        Cached::Ask(stale) => return Err(stale),
    }
    Ok(())
}

/// Takes what an earlier answer already said of a fetch.
fn take(heard: &mut Vec<(GroupKey, NameKey, Arc<Slot>)>, fetch: &Fetch) -> Option<Arc<Slot>> {
    let place =
        heard.iter().position(|(group, name, _)| *group == fetch.group && *name == fetch.question.key)?;
    Some(heard.swap_remove(place).2)
}

/// A probe of ours that came back: its upstream leads to us.
fn recognise_probe(live: &Live, question: &Question) -> Option<Answer> {
    (is_loop_probe(&question.key) && live.loops.seen(&question.name)).then(|| {
        let text = "this question was asked by this very server: its upstream leads back to it";
        Answer::code(ResponseCode::Refused, Some(ExtendedError::new(ExtendedError::OTHER, text)))
    })
}

/// Leaves an answer that came from zones or the cache for the fast lane. What an upstream had to be asked for
/// comes here when it is asked for again.
#[expect(clippy::too_many_arguments, reason = "all of them are known at one place only")]
fn prepare(
    live: &Live,
    published: &Published,
    request: &Request,
    question: &Question,
    client: IpAddr,
    answer: &Answer,
    reply: &[u8],
    turn: u64,
) {
    let Some(key) = LaneKey::of(request, question, published.catalog.view(client).index) else { return };
    let now = live.clock.now();
    if live.answers.get(&key).is_some_and(|prepared| prepared.holds(published.generation, now)) {
        return; // this client's query was of a form that the lane does not take
    }
    if let Some(prepared) = Prepared::of(&key, reply, answer, turn, published.generation, now) {
        live.answers.insert(&key, prepared);
    }
}

fn flags(request: &Request) -> QueryFlags {
    QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled }
}

fn finish(published: &Published, request: &Request, answer: &Answer, transport: Transport) -> Vec<u8> {
    let limit = match transport {
        Transport::Udp => reply::udp_limit(request, published.udp_payload),
        Transport::Tcp => reply::TCP,
    };
    reply::finish(request, answer, limit, published.udp_payload)
}
