//! The life of a query, top to bottom.
//!
//! ```text
//! packet ─▶ Request::parse ─▶ screen ─▶ chain: decide ─▶ (cached ─▶ ask) ─▶ … ─▶ finish ─▶ packet
//! ```
//!
//! [`at_once`] answers what needs no waiting: zones, special names, what the cache holds. What has to wait for
//! an upstream goes through [`in_time`], the only place that awaits along the way.

use super::books;
use super::hear::{self, Cached, Purpose, Said};
use crate::base::octets::{Account, Reserved};
use crate::engine::answer::{Answer, ExtendedError};
use crate::engine::cache::{CacheKey, Moment, QueryFlags};
use crate::engine::catalog::GroupKey;
use crate::engine::chain::{Chain, Fetch, Step};
use crate::engine::lane::{LaneKey, Making, Prepared};
use crate::engine::name::NameKey;
use crate::engine::reply;
use crate::engine::request::{Admission, Question, Request};
use crate::engine::screen::{Screening, is_loop_probe, screen};
use crate::resolve::cache::Slot;
use crate::resolve::limits::Permit;
use crate::resolve::rate::Pace;
use crate::resolve::shared::{Live, Published, count};
use crate::stats::place::{Mark, Share};
use crate::stats::tally::Tally;
pub use crate::stats::watch::{Caller, Transport};
use hickory_proto::op::ResponseCode;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Every client gets an answer within this time: glibc asks the next server after 5 s.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(4);

/// A query that has to wait for an upstream.
#[derive(Debug)]
pub struct Waiting {
    request: Request,
    question: Question,
    caller: Caller,
    /// The number of the answer: a query has one, so that sets rotate evenly whether it waits or not.
    turn: u64,
    /// What was published when it came.
    generation: u32,
    /// What the cache's count of insertions was before it was looked into.
    pub(crate) insertions: u64,
    /// When it came.
    since: Instant,
    /// What it waits for first.
    pub(crate) needs: Needs,
    /// Its right to wait, once it has one.
    pub(crate) permit: Option<Permit>,
}

/// What an upstream group must say before a query can be answered.
#[derive(Debug)]
pub(crate) struct Needs {
    /// The question for the group.
    pub(crate) fetch: Fetch,
    /// There is an answer beyond its life, for the case that nothing comes.
    pub(crate) has_stale: bool,
    /// What the answer will be counted for.
    credit: Mark,
}

/// Who sent a packet, and when.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// Who sent it.
    pub caller: Caller,
    /// When its batch was received.
    pub at: std::time::Instant,
    /// The same as a moment.
    pub now: Moment,
}

/// What [`at_once`] makes of a packet.
#[derive(Debug)]
pub enum Outcome {
    /// Send this; it has been counted, but for the time it took.
    Reply(Vec<u8>, Mark),
    /// Send nothing.
    Drop,
    /// Hand it to [`in_time`].
    Wait(Box<Waiting>),
}

/// Answers a packet if that takes no waiting. Must be called within a tokio runtime.
///
/// A client that was too fast gets the little that [`Pace`] leaves it, unless its cookie proves that its address is its
/// own. `looked` says that the finished answers were searched already.
pub fn at_once(
    live: &Arc<Live>,
    tally: &Tally,
    packet: &[u8],
    came: Came,
    pace: Pace,
    looked: bool,
) -> Outcome {
    let Came { caller, at, now } = came;
    let (client, transport) = (caller.peer.ip(), caller.transport);
    let published = live.published();
    let (mut request, question) = match Request::parse(packet) {
        Admission::Drop => {
            count(&live.counters.dropped);
            return Outcome::Drop;
        }
        Admission::Reject(request, rcode) => (request, Err(rcode)),
        Admission::Accept(request, question) => (request, Ok(question)),
    };
    let proven = live.guard.check_cookie(&mut request, client);
    if pace != Pace::Within && !proven {
        return hold_back(&published, &request, pace);
    }
    let question = match question {
        Ok(question) => question,
        Err(rcode) => {
            let answer = Answer::code(about_cookie(&request, proven).unwrap_or(rcode), None);
            books::asked(tally, request.question.as_ref().map_or(0, |q| q.rtype.into()), &caller);
            tally.answered(u16::from(answer.rcode) as u8, Mark::default());
            return Outcome::Reply(finish(&published, &request, &answer, transport), Mark::default());
        }
    };
    books::asked(tally, question.rtype.into(), &caller);
    let screening = Screening { allowed: published.allows(client), version_bind: published.version_bind };
    let turn = live.turn();
    let insertions = live.cache.insertions();
    let answer = match screen(&question, screening).or_else(|| recognise_probe(live, &question)) {
        Some(answer) => Ok(answer),
        None => {
            if !looked
                && let Some((reply, mark)) = finished(live, &published, &request, &question, &caller, turn)
            {
                tally.known(1);
                tally.answered(reply.get(3).map_or(0, |flags| flags & 0x0f), mark);
                return Outcome::Reply(reply, mark);
            }
            resolve_at_once(live, &published, &request, &question, &caller, turn, now, None)
        }
    };
    match answer {
        Ok(answer) => {
            let reply = finish(&published, &request, &answer, transport);
            let mark = books::mark(live, published.catalog.view(client), &answer, false);
            prepare(live, &published, &request, &question, &caller, turn, &answer, &reply, mark);
            tally.answered(u16::from(answer.rcode) as u8, mark);
            Outcome::Reply(reply, mark)
        }
        Err(needs) => {
            let (since, generation, permit) = (at.into(), published.generation, None);
            Outcome::Wait(Box::new(Waiting {
                request,
                question,
                caller,
                turn,
                generation,
                insertions,
                since,
                needs,
                permit,
            }))
        }
    }
}

/// The code for a question about our cookie alone (RFC 7873 section 5.4); nothing for what is rejected for another reason.
fn about_cookie(request: &Request, proven: bool) -> Option<ResponseCode> {
    let cookie = request.edns?.cookie.filter(|_| request.opcode == 0 && request.question.is_none())?;
    match request.cookie_back {
        None => Some(ResponseCode::FormErr), // we give no cookies
        Some(_) if cookie.server.is_some() && !proven => Some(ResponseCode::BADCOOKIE),
        Some(_) => None,
    }
}

/// What a client gets that is too fast: a word to come over TCP, or nothing.
fn hold_back(published: &Published, request: &Request, pace: Pace) -> Outcome {
    if pace == Pace::Beyond {
        return Outcome::Drop;
    }
    let mut reply = finish(published, request, &Answer::code(ResponseCode::NoError, None), Transport::Udp);
    reply::cut(&mut reply);
    Outcome::Reply(reply, Mark::default())
}

/// What came for a query that waited.
#[derive(Debug)]
pub(crate) enum Brought<'b> {
    /// A group said this; it may be too short-lived for the cache.
    Said(GroupKey, &'b [(NameKey, Arc<Slot>)]),
    /// A group could not tell.
    Failed(&'b CacheKey, ExtendedError),
}

/// Answers a query that waited with what was brought; nothing when an upstream must be heard once more.
pub(crate) fn settle(
    live: &Arc<Live>,
    tally: &Tally,
    waiting: &Waiting,
    brought: &Brought<'_>,
    now: Instant,
) -> Option<Vec<u8>> {
    let Waiting { request, question, caller, turn, since, needs, .. } = waiting;
    let (client, transport) = (caller.peer.ip(), caller.transport);
    let published = live.published();
    let (reply, note) = match settle_simply(&published, waiting, brought) {
        Some((reply, rcode)) => (reply, (rcode, needs.credit)),
        None => {
            let (brought, moment) = (Some(brought), live.clock.at(now.into_std()));
            let answer =
                resolve_at_once(live, &published, request, question, caller, *turn, moment, brought).ok()?;
            let mark = books::mark(live, published.catalog.view(client), &answer, true);
            (finish(&published, request, &answer, transport), (u16::from(answer.rcode) as u8, mark))
        }
    };
    books::settled(live, &published, tally, caller, &reply, note, now.saturating_duration_since(*since));
    Some(reply)
}

/// The answer where nothing is left to decide, with its code: the first name of the chain was forwarded, and came
/// back as a set.
fn settle_simply(published: &Published, waiting: &Waiting, brought: &Brought<'_>) -> Option<(Vec<u8>, u8)> {
    let Brought::Said(group, [(name, slot)]) = brought else { return None };
    let fetch = &waiting.needs.fetch;
    let simple = waiting.generation == published.generation
        && published.catalog.allows_rebinding()
        && waiting.question.key == *name
        && fetch.group == *group
        && fetch.question.key == *name;
    let limit = limit(published, &waiting.request, waiting.caller.transport);
    let own = published.udp_payload;
    let reply = simple
        .then(|| reply::finish_entry(&waiting.request, &slot.entry, waiting.turn, limit, own))
        .flatten();
    Some((reply?, books::rcode_of(&slot.entry)))
}

impl Waiting {
    /// Who asks.
    pub(crate) fn client(&self) -> IpAddr {
        self.caller.peer.ip()
    }
}

/// Answers a query that has to wait, within [`CLIENT_DEADLINE`].
pub async fn in_time(live: &Arc<Live>, waiting: Waiting) -> Vec<u8> {
    compose(live, waiting, None).await.0
}

/// The same for a client whose answers may have to wait until it takes them: no answer is composed before its account
/// has room for the longest. With the octets that the answer is counted by.
pub(crate) async fn in_room(live: &Arc<Live>, waiting: Waiting, account: &Account) -> (Vec<u8>, Reserved) {
    let (mut reply, held) = compose(live, waiting, Some(account)).await;
    let mut held = match held {
        Some(held) => held,
        None => account.reserve(reply.len()).await,
    };
    reply.shrink_to_fit();
    held.shrink_to(reply.len());
    (reply, held)
}

/// Answers a query that has to wait.
async fn compose(
    live: &Arc<Live>,
    waiting: Waiting,
    account: Option<&Account>,
) -> (Vec<u8>, Option<Reserved>) {
    let mut held = None;
    let Waiting { request, question, caller, turn, since, mut permit, .. } = waiting;
    let (client, transport) = (caller.peer.ip(), caller.transport);
    let published = live.published();
    let deadline = since + CLIENT_DEADLINE;
    let mut chain = Chain::start(published.catalog.view(client), &question, flags(&request), turn)
        .within(limit(&published, &request, transport));
    // What came with an earlier hop's answer; a TTL of 0 keeps it out of the cache, but it is good for this query.
    let mut heard: Vec<(GroupKey, NameKey, Arc<Slot>)> = Vec::new();
    let mut purpose = Purpose::Repeat;
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
            chain.supply(&slot.entry, slot.entry.ttl, false);
            continue;
        }
        let now = live.clock.now();
        let stale = match use_cached(live, &published, client, &fetch, &mut chain, purpose, now) {
            Ok(()) => continue,
            Err(stale) => stale,
        };
        purpose = Purpose::Answer;
        held = None; // others may have the room meanwhile
        let said = hear::ask(live, &published, client, &fetch, stale, deadline, &mut permit).await;
        if let Some(account) = account {
            held = account.try_reserve(reply::TCP);
            if held.is_none() {
                permit = None; // who does not read its answers keeps nobody else waiting
                held = Some(account.reserve(reply::TCP).await);
            }
        }
        match said {
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
    drop(permit);
    let reply = finish(&published, &request, &answer, transport);
    let view = published.catalog.view(client);
    let note = (u16::from(answer.rcode) as u8, books::mark(live, view, &answer, true));
    books::settled(live, &published, &live.tallies.tasks, &caller, &reply, note, since.elapsed());
    (reply, held)
}

/// The answer as far as zones, special names and the cache have it.
///
/// # Errors
/// What an upstream must say first.
#[expect(
    clippy::result_large_err,
    clippy::too_many_arguments,
    reason = "the error is as usual as the other, and boxed with the rest of what waits; the arguments are of one query"
)]
fn resolve_at_once(
    live: &Arc<Live>,
    published: &Arc<Published>,
    request: &Request,
    question: &Question,
    caller: &Caller,
    turn: u64,
    now: Moment,
    brought: Option<&Brought<'_>>,
) -> Result<Answer, Needs> {
    let client = caller.peer.ip();
    let purpose = match (request.recursion_desired, brought) {
        (false, _) => Purpose::NoRecursion,
        (true, None) => Purpose::Answer,
        (true, Some(_)) => Purpose::Repeat,
    };
    let mut chain = Chain::start(published.catalog.view(client), question, flags(request), turn)
        .within(limit(published, request, caller.transport));
    loop {
        let fetch = match chain.step() {
            Step::Done(answer) => return Ok(answer),
            Step::Fetch(fetch) => fetch,
        };
        match brought {
            Some(Brought::Said(group, hops)) if *group == fetch.group => {
                if let Some((_, slot)) = hops.iter().find(|(name, _)| *name == fetch.question.key) {
                    chain.supply(&slot.entry, slot.entry.ttl, false);
                    continue;
                }
            }
            Some(Brought::Failed(key, error)) if *key == fetch.cache_key() => {
                chain.fail(hear::error_for(&fetch, error.clone()));
                continue;
            }
            _ => {}
        }
        match use_cached(live, published, client, &fetch, &mut chain, purpose, now) {
            Ok(()) => {}
            // Nothing is forwarded for a client that does not ask for recursion.
            Err(_) if !request.recursion_desired => chain.refuse_recursion(),
            Err(stale) => {
                let view = published.catalog.view(client);
                let credit = books::credit(live, view, chain.hops(), Share::Miss);
                return Err(Needs { fetch, has_stale: stale.is_some(), credit });
            }
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
    purpose: Purpose,
    now: Moment,
) -> Result<(), Option<Arc<Slot>>> {
    match hear::cached(live, published, client, fetch, now, purpose) {
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

/// The answer for a query that the fast lane does not take, out of the finished ones: with EDNS options, without RD.
/// (Without RD nothing is asked of upstreams; what is finished was asked for before.)
fn finished(
    live: &Live,
    published: &Published,
    request: &Request,
    question: &Question,
    caller: &Caller,
    turn: u64,
) -> Option<(Vec<u8>, Mark)> {
    let key = LaneKey::of(request, question, published.catalog.view(caller.peer.ip()).index)?;
    let prepared = live.answers.get(&key)?;
    let now = live.clock.now();
    if !prepared.holds(published.generation, now) {
        return None;
    }
    let limit = limit(published, request, caller.transport);
    let reply = reply::finish_prepared(request, &prepared, (now, turn), limit, published.udp_payload)?;
    Some((reply, Mark::from_bits(prepared.mark())))
}

/// Leaves an answer that came from zones or the cache for the fast lane. What an upstream had to be asked for
/// comes here when it is asked for again.
#[expect(clippy::too_many_arguments, reason = "all of them are known at one place only")]
fn prepare(
    live: &Arc<Live>,
    published: &Arc<Published>,
    request: &Request,
    question: &Question,
    caller: &Caller,
    turn: u64,
    answer: &Answer,
    reply: &[u8],
    mark: Mark,
) {
    if !request.recursion_desired || answer.holdings.is_none() {
        return;
    }
    let view = published.catalog.view(caller.peer.ip());
    let Some(key) = LaneKey::of(request, question, view.index) else { return };
    let limit = limit(published, request, caller.transport);
    let (generation, now, mark) = (published.generation, live.clock.now(), mark.bits());
    let making = Making { turn, limit, generation, now, mark };
    let is_cut = reply.get(2).is_some_and(|flags| flags & 2 != 0);
    let prepared = match (is_cut, answer.rotation) {
        (true, Some((_, count))) if count.saturating_mul(ROTATING) > live.answers.largest() => None,
        (true, Some(_)) => whole(live, published, request, question, caller, making)
            .and_then(|(message, answer)| Prepared::of(&key, &message, &answer, making)),
        _ => Prepared::of(&key, reply, answer, making),
    };
    if let Some(prepared) = prepared {
        live.answers.insert(&key, prepared);
    }
}

/// Octets of a rotating address in a finished answer, at least.
const ROTATING: usize = 16;

/// An answer with all its records, more than can be sent at once: any of them may come first. Nothing for one that is
/// too large to be kept.
fn whole(
    live: &Arc<Live>,
    published: &Arc<Published>,
    request: &Request,
    question: &Question,
    caller: &Caller,
    making: Making,
) -> Option<(Vec<u8>, Answer)> {
    let (client, largest) = (caller.peer.ip(), live.answers.largest());
    let mut chain =
        Chain::start(published.catalog.view(client), question, flags(request), making.turn).within(largest);
    loop {
        let fetch = match chain.step() {
            Step::Done(answer) if answer.left_out => return None,
            Step::Done(answer) => {
                let message = reply::finish(request, &answer, largest, published.udp_payload);
                return Some((message, answer));
            }
            Step::Fetch(fetch) => fetch,
        };
        use_cached(live, published, client, &fetch, &mut chain, Purpose::Repeat, making.now).ok()?;
    }
}

fn flags(request: &Request) -> QueryFlags {
    QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled }
}

fn finish(published: &Published, request: &Request, answer: &Answer, transport: Transport) -> Vec<u8> {
    reply::finish(request, answer, limit(published, request, transport), published.udp_payload)
}

fn limit(published: &Published, request: &Request, transport: Transport) -> usize {
    match transport {
        Transport::Udp => reply::udp_limit(request, published.udp_payload),
        Transport::Tcp => reply::TCP,
    }
}
