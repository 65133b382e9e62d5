//! The path of a query, from the packet to its answer.
//!
//! ```text
//! packet ─▶ Request::parse ─▶ screen ─▶ chain: decide ─▶ (cached ─▶ ask) ─▶ … ─▶ finish ─▶ packet
//! ```
//!
//! [`answer_now`] answers queries that need no upstream: from zones, special-use names and the cache. Queries that need
//! an upstream go through [`resolve`], the only function here that awaits.

use super::accounting;
use super::cache_packet::cache_packet;
use super::lookup;
use super::lookup::{Fetched, LookupFor};
use super::query_context::{QueryContext, finish};
use crate::base::octets::{OctetAccount, Reserved};
use crate::engine::answer::{Answer, ExtendedError};
use crate::engine::cache::{CacheKey, Timestamp};
use crate::engine::cached_packet::PacketKey;
use crate::engine::catalog::GroupKey;
use crate::engine::chain::{Fetch, Step};
use crate::engine::name::NameKey;
use crate::engine::precheck::{Precheck, is_loop_probe, precheck};
use crate::engine::reply;
use crate::engine::request::{Admission, Question, Request};
use crate::resolve::cache_entry::CacheEntry;
use crate::resolve::limits::Permit;
use crate::resolve::rrl::Verdict;
use crate::resolve::shared::{ActiveConfig, SharedState, count};
use crate::stats::counters::ThreadCounters;
pub use crate::stats::tap::{Client, ClientTransport};
use crate::stats::zone_stats::{CacheResult, StatKey};
use crate::upstream::transfer::notify::is_notify;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Every client gets an answer within this time: glibc queries the next server after 5 s.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(4);

/// A query that waits for an upstream.
#[derive(Debug)]
pub struct PendingQuery {
    request: Request,
    question: Question,
    caller: Client,
    /// The number of the answer, assigned once, so that sets rotate evenly whether the query waits or not.
    turn: u64,
    /// The active configuration at its arrival.
    generation: u32,
    /// The cache's insertion count before the lookup.
    pub(crate) insertions: u64,
    /// When it came.
    since: Instant,
    /// The first fetch that it waits for.
    pub(crate) missing: Missing,
    /// Its permit, once it has one.
    pub(crate) permit: Option<Permit>,
}

/// A fetch from an upstream group that a query needs.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The question for the group.
    pub(crate) fetch: Fetch,
    /// There is a stale answer in case the fetch fails.
    pub(crate) has_stale: bool,
    /// The statistics key of the answer.
    credit: StatKey,
}

/// The sender and the time of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Who sent it.
    pub caller: Client,
    /// When its batch was received.
    pub at: std::time::Instant,
    /// The same as an instant.
    pub now: Timestamp,
}

/// The result of [`answer_now`].
#[derive(Debug)]
pub enum Immediate {
    /// Send this; it is counted, except for its duration.
    Reply(Vec<u8>, StatKey),
    /// Send nothing.
    Drop,
    /// Hand it to [`resolve`].
    Wait(Box<PendingQuery>),
}

/// Answers a packet if no upstream query is needed. Must be called within a tokio runtime.
///
/// A rate-limited client gets the answer of its [`Verdict`], unless its cookie proves its address. `looked` means that
/// the packet cache was searched already.
pub fn answer_now(
    live: &Arc<SharedState>,
    tally: &ThreadCounters,
    packet: &[u8],
    came: Received,
    pace: Verdict,
    looked: bool,
) -> Immediate {
    let Received { caller, at, now } = came;
    let (client, transport) = (caller.peer.ip(), caller.transport);
    let published = live.published();
    let (mut request, question) = match Request::parse(packet) {
        Admission::Drop => {
            count(&live.counters.dropped);
            return Immediate::Drop;
        }
        Admission::Reject(request, rcode) => (request, Err(rcode)),
        Admission::Accept(request, question) => (request, Ok(question)),
    };
    let proven = live.guard.check_cookie(&mut request, client);
    if pace != Verdict::Within && !proven {
        return rate_limited(&published, &request, pace);
    }
    let question = match question {
        Ok(question) => question,
        Err(_) if is_notify(packet) && live.secondaries.any() => {
            accounting::record_query(tally, RecordType::SOA.into(), &caller);
            let Some((reply, rcode)) = live.secondaries.notify(packet, client) else {
                return Immediate::Drop;
            };
            tally.answered(u16::from(rcode) as u8, StatKey::default());
            return Immediate::Reply(reply, StatKey::default());
        }
        Err(rcode) => {
            let answer = Answer::code(about_cookie(&request, proven).unwrap_or(rcode), None);
            accounting::record_query(tally, request.question.as_ref().map_or(0, |q| q.rtype.into()), &caller);
            tally.answered(u16::from(answer.rcode) as u8, StatKey::default());
            return Immediate::Reply(finish(&published, &request, &answer, transport), StatKey::default());
        }
    };
    accounting::record_query(tally, question.rtype.into(), &caller);
    let screening = Precheck { allowed: published.allows(client), version_bind: published.version_bind };
    let turn = live.turn();
    let insertions = live.cache.insertions();
    let query = QueryContext::new(live, &published, &request, &question, &caller, turn);
    let answer = match precheck(&question, screening).or_else(|| recognise_probe(live, &question)) {
        Some(answer) => Ok(answer),
        None => {
            if !looked && let Some((reply, mark)) = from_packet_cache(&query) {
                tally.packet_hits(1);
                tally.answered(reply.get(3).map_or(0, |flags| flags & 0x0f), mark);
                return Immediate::Reply(reply, mark);
            }
            resolve_now(&query, now, None)
        }
    };
    match answer {
        Ok(answer) => {
            let reply = query.finish(&answer);
            let mark = accounting::classify(live, query.view(), &answer, false);
            cache_packet(&query, &answer, &reply, mark);
            tally.answered(u16::from(answer.rcode) as u8, mark);
            Immediate::Reply(reply, mark)
        }
        Err(missing) => {
            let (since, generation, permit) = (at.into(), published.generation, None);
            Immediate::Wait(Box::new(PendingQuery {
                request,
                question,
                caller,
                turn,
                generation,
                insertions,
                since,
                missing,
                permit,
            }))
        }
    }
}

/// The response code for a query for a cookie only (RFC 7873 section 5.4); None if it is rejected for another reason.
fn about_cookie(request: &Request, proven: bool) -> Option<ResponseCode> {
    let cookie = request.edns?.cookie.filter(|_| request.opcode == 0 && request.question.is_none())?;
    match request.cookie_back {
        None => Some(ResponseCode::FormErr), // cookies are disabled
        Some(_) if cookie.server.is_some() && !proven => Some(ResponseCode::BADCOOKIE),
        Some(_) => None,
    }
}

/// The answer to a rate-limited client: TC only, or nothing.
fn rate_limited(published: &ActiveConfig, request: &Request, pace: Verdict) -> Immediate {
    if pace == Verdict::Drop {
        return Immediate::Drop;
    }
    let mut reply =
        finish(published, request, &Answer::code(ResponseCode::NoError, None), ClientTransport::Udp);
    reply::cut(&mut reply);
    Immediate::Reply(reply, StatKey::default())
}

/// The result of a fetch for a waiting query.
#[derive(Debug)]
pub(crate) enum Delivered<'b> {
    /// The group's answer, which may be too short-lived for the cache.
    Answered(GroupKey, &'b [(NameKey, Arc<CacheEntry>)]),
    /// The group failed.
    Failed(&'b CacheKey, ExtendedError),
}

/// Answers a waiting query with a fetched result; None if another fetch is needed.
pub(crate) fn complete(
    live: &Arc<SharedState>,
    tally: &ThreadCounters,
    waiting: &PendingQuery,
    brought: &Delivered<'_>,
    now: Instant,
) -> Option<Vec<u8>> {
    let PendingQuery { request, question, caller, turn, since, missing, .. } = waiting;
    let published = live.published();
    let query = QueryContext::new(live, &published, request, question, caller, *turn);
    let (reply, note) = match complete_from_wire(&query, waiting, brought) {
        Some((reply, rcode)) => (reply, (rcode, missing.credit)),
        None => {
            let (brought, moment) = (Some(brought), live.clock.at(now.into_std()));
            let answer = resolve_now(&query, moment, brought).ok()?;
            let mark = accounting::classify(live, query.view(), &answer, true);
            (query.finish(&answer), (u16::from(answer.rcode) as u8, mark))
        }
    };
    accounting::record_answer(
        live,
        &published,
        tally,
        caller,
        &reply,
        note,
        now.saturating_duration_since(*since),
    );
    Some(reply)
}

/// The answer, with its code, if no decision is left: the first name of the chain was forwarded and answered by a set.
fn complete_from_wire(
    query: &QueryContext<'_>,
    waiting: &PendingQuery,
    brought: &Delivered<'_>,
) -> Option<(Vec<u8>, u8)> {
    let Delivered::Answered(group, [(name, slot)]) = brought else { return None };
    let (fetch, published) = (&waiting.missing.fetch, query.published);
    let simple = waiting.generation == published.generation
        && published.catalog.allows_rebinding()
        && query.question.key == *name
        && fetch.group == *group
        && fetch.question.key == *name;
    if !simple {
        return None;
    }
    let entry = slot.entry();
    let reply = reply::finish_entry(query.request, &entry, query.turn, query.limit(), published.udp_payload)?;
    Some((reply, accounting::rcode_of(&entry)))
}

impl PendingQuery {
    /// The client.
    pub(crate) fn client(&self) -> IpAddr {
        self.caller.peer.ip()
    }
}

/// Answers a query that needs an upstream, within [`CLIENT_DEADLINE`].
pub async fn resolve(live: &Arc<SharedState>, waiting: PendingQuery) -> Vec<u8> {
    compose(live, waiting, None).await.0
}

/// The same for a stream client: no answer is composed before its account has room for the longest answer. Returns the
/// reserved octets of the answer.
pub(crate) async fn resolve_in_room(
    live: &Arc<SharedState>,
    waiting: PendingQuery,
    account: &OctetAccount,
) -> (Vec<u8>, Reserved) {
    let (mut reply, held) = compose(live, waiting, Some(account)).await;
    let mut held = match held {
        Some(held) => held,
        None => account.reserve(reply.len()).await,
    };
    reply.shrink_to_fit();
    held.shrink_to(reply.len());
    (reply, held)
}

/// Answers a query that needs an upstream.
async fn compose(
    live: &Arc<SharedState>,
    waiting: PendingQuery,
    account: Option<&OctetAccount>,
) -> (Vec<u8>, Option<Reserved>) {
    let mut held = None;
    let PendingQuery { request, question, caller, turn, since, mut permit, .. } = waiting;
    let published = live.published();
    let query = QueryContext::new(live, &published, &request, &question, &caller, turn);
    let deadline = since + CLIENT_DEADLINE;
    let mut chain = query.chain(query.limit());
    // Data from an earlier hop's answer; with a TTL of 0 they are not cached, but used for this query.
    let mut heard: Vec<(GroupKey, NameKey, Arc<CacheEntry>)> = Vec::new();
    let mut purpose = LookupFor::Repeat;
    let answer = loop {
        let fetch = match chain.step() {
            Step::Done(answer) => break answer,
            Step::Fetch(fetch) => fetch,
        };
        if held.is_none()
            && let Some(account) = account
        {
            held = Some(account.reserve(reply::TCP).await);
        }
        if let Some(slot) = take(&mut heard, &fetch) {
            chain.supply(&slot.entry(), slot.ttl(), false);
            continue;
        }
        let now = live.clock.now();
        let stale = match query.use_cached(&fetch, &mut chain, purpose, now) {
            Ok(()) => continue,
            Err(stale) => stale,
        };
        purpose = LookupFor::Answer;
        held = None; // releases the room while waiting
        let said =
            lookup::fetch(live, &published, query.client(), &fetch, stale, deadline, &mut permit).await;
        if let Some(account) = account {
            held = account.try_reserve(reply::TCP);
            if held.is_none() {
                permit = None; // a client that does not read its answers must not keep the permit
                held = Some(account.reserve(reply::TCP).await);
            }
        }
        match said {
            Ok(Fetched::Fresh(entries)) => {
                heard.extend(entries.iter().map(|(name, slot)| (fetch.group, name.clone(), slot.clone())));
                match take(&mut heard, &fetch) {
                    Some(slot) => chain.supply(&slot.entry(), slot.ttl(), false),
                    None => chain.fail(ExtendedError::new(
                        ExtendedError::OTHER,
                        "upstream response has no record for the query name",
                    )),
                }
            }
            Ok(Fetched::Stale(slot)) => chain.supply(&slot.entry(), live.cache.lifetimes.stale_ttl, true),
            Err(error) => chain.fail(error),
        }
    };
    drop(permit);
    let reply = query.finish(&answer);
    let note = (u16::from(answer.rcode) as u8, accounting::classify(live, query.view(), &answer, true));
    accounting::record_answer(live, &published, &live.tallies.tasks, &caller, &reply, note, since.elapsed());
    (reply, held)
}

/// The answer from zones, special-use names and the cache.
///
/// # Errors The fetch that is needed first.
#[expect(
    clippy::result_large_err,
    reason = "the error is as usual as the other, and boxed with the rest of what waits"
)]
fn resolve_now(
    query: &QueryContext<'_>,
    now: Timestamp,
    brought: Option<&Delivered<'_>>,
) -> Result<Answer, Missing> {
    let recursion_desired = query.request.recursion_desired;
    let purpose = match (recursion_desired, brought) {
        (false, _) => LookupFor::NoRecursion,
        (true, None) => LookupFor::Answer,
        (true, Some(_)) => LookupFor::Repeat,
    };
    let mut chain = query.chain(query.limit());
    loop {
        let fetch = match chain.step() {
            Step::Done(answer) => return Ok(answer),
            Step::Fetch(fetch) => fetch,
        };
        match brought {
            Some(Delivered::Answered(group, hops)) if *group == fetch.group => {
                if let Some((_, slot)) = hops.iter().find(|(name, _)| *name == fetch.question.key) {
                    chain.supply(&slot.entry(), slot.ttl(), false);
                    continue;
                }
            }
            Some(Delivered::Failed(key, error)) if *key == fetch.cache_key() => {
                chain.fail(lookup::error_for(&fetch, error.clone()));
                continue;
            }
            _ => {}
        }
        match query.use_cached(&fetch, &mut chain, purpose, now) {
            Ok(()) => {}
            // Queries without RD are not forwarded.
            Err(_) if !recursion_desired => chain.refuse_recursion(),
            Err(stale) => {
                let credit = accounting::attribute(query.live, query.view(), chain.hops(), CacheResult::Miss);
                return Err(Missing { fetch, has_stale: stale.is_some(), credit });
            }
        }
    }
}

/// Returns the result for a fetch from an earlier answer.
fn take(heard: &mut Vec<(GroupKey, NameKey, Arc<CacheEntry>)>, fetch: &Fetch) -> Option<Arc<CacheEntry>> {
    let place =
        heard.iter().position(|(group, name, _)| *group == fetch.group && *name == fetch.question.key)?;
    Some(heard.swap_remove(place).2)
}

/// A loop probe that returned: its upstream forwards to pvtzd.
fn recognise_probe(live: &SharedState, question: &Question) -> Option<Answer> {
    (is_loop_probe(&question.key) && live.loops.seen(&question.name)).then(|| {
        let text = "forwarding loop detected: this query originated from this server";
        Answer::code(ResponseCode::Refused, Some(ExtendedError::new(ExtendedError::OTHER, text)))
    })
}

/// The answer for a query that the fast path does not take, out of the finished ones: with EDNS options, without RD.
/// (Without RD nothing is asked of upstreams; what is finished was asked for before.)
fn from_packet_cache(query: &QueryContext<'_>) -> Option<(Vec<u8>, StatKey)> {
    let QueryContext { live, published, request, question, turn, .. } = *query;
    let key = PacketKey::of(request, question, query.view().index)?;
    let prepared = live.answers.get(&key)?;
    let now = live.clock.now();
    if !prepared.is_valid(published.generation, now) {
        return None;
    }
    let reply =
        reply::finish_prepared(request, &prepared, (now, turn), query.limit(), published.udp_payload)?;
    Some((reply, StatKey::from_bits(prepared.mark())))
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
