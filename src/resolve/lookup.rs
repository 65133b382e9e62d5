//! Looks up a name in the cache, queries the upstream group for a missing or expired entry, and serves a stale entry if
//! the group does not answer (RFC 8767).
//!
//! Decisions that depend on the time ([`cache_get`], [`cache_put`], [`cache_failure`]) take it as an argument, so that
//! the scenarios can use their own clock.

use crate::engine::answer::ExtendedError;
use crate::engine::cache::{CacheData, CacheKey, FailureCause, Freshness, QueryFlags, Timestamp};
use crate::engine::catalog::View;
use crate::engine::chain::Fetch;
use crate::engine::decide::{Decision, decide};
use crate::engine::name::NameKey;
use crate::engine::response;
use crate::engine::response::Unusable;
use crate::resolve::cache::AnswerCache;
use crate::resolve::cache_entry::CacheEntry;
use crate::resolve::limits::Permit;
pub use crate::resolve::shared::CachedChain;
use crate::resolve::shared::{ActiveConfig, FetchResult, SharedState, count};
use crate::upstream::{Failure, FailureKind, NotJoined, Server, UpstreamQuery};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Seconds for which a failing response code is cached for a name (at least 1 by RFC 9520, at most 300 by RFC 2308).
const FAILING_RCODE_TTL: u32 = 5;

/// Seconds for which silence is cached for a name: short, so that the recovery of an upstream is detected at once.
const UNREACHABLE_TTL: u32 = 1;

/// How long AAAA waits for the result of A.
const PAIR_PATIENCE: Duration = Duration::from_millis(25);

/// The result of a cache lookup.
#[derive(Debug)]
pub enum CacheAnswer {
    /// A fresh entry, with its remaining seconds.
    Use(Arc<CacheEntry>, u32),
    /// A stale entry, because the last refresh failed recently.
    UseStale(Arc<CacheEntry>),
    /// No usable entry; the stale entry, if any.
    Ask(Option<Arc<CacheEntry>>),
}

/// The purpose of a cache lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFor {
    /// To answer a query: counts a hit, and may start a refresh.
    Answer,
    /// To answer a query without RD: no upstream query, and no stale answer.
    NoRecursion,
    /// To continue a query after a fetch: its hits are counted already.
    Repeat,
}

/// Looks up the cache; starts the refresh of a popular entry that is about to expire.
pub fn lookup(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    client: IpAddr,
    fetch: &Fetch,
    now: Timestamp,
    purpose: LookupFor,
) -> CacheAnswer {
    let group = || published.groups.get(&fetch.group);
    let last_success = || group()?.last_success().map(|instant| live.clock.at(instant));
    let cached = cache_get(&live.cache, fetch, now, last_success);
    match &cached {
        _ if purpose == LookupFor::Repeat => {}
        CacheAnswer::UseStale(_) if purpose == LookupFor::NoRecursion => return CacheAnswer::Ask(None),
        CacheAnswer::Use(..) if purpose == LookupFor::NoRecursion => count(&live.counters.fresh),
        CacheAnswer::Use(slot, _) => {
            if slot.hit_wants_refresh(now, &live.cache.lifetimes) {
                count(&live.counters.prefetched);
                start_refresh(live, published, client, fetch, slot);
            }
            count(&live.counters.fresh);
        }
        CacheAnswer::UseStale(_) => {
            count(&live.counters.stale);
            if let Some(group) = group() {
                group.probe(|| outgoing(fetch)); // otherwise its recovery would not be detected
            }
        }
        CacheAnswer::Ask(Some(slot))
            if purpose == LookupFor::Answer && group().is_some_and(|g| g.is_silent()) =>
        {
            // Clients do not wait for a known failure.
            if slot.claim_refresh() {
                start_refresh(live, published, client, fetch, slot);
            }
            count(&live.counters.stale);
            return CacheAnswer::UseStale(slot.clone());
        }
        CacheAnswer::Ask(_) => {}
    }
    cached
}

/// The cache lookup for a fetch at a given time. A stale entry is used at once only if the last refresh failed recently
/// and the group has not answered any query since (`last_success`).
pub fn cache_get(
    cache: &AnswerCache,
    fetch: &Fetch,
    now: Timestamp,
    last_success: impl FnOnce() -> Option<Timestamp>,
) -> CacheAnswer {
    let last_good = || cache.retained.last_good(fetch.cache_key(), now);
    let is_retained = cache.retained.is_active();
    match cache.get(fetch.cache_key(), now) {
        Some((slot, Freshness::Fresh(_)))
            if is_retained
                && !slot.has_data()
                && (slot.is_failure() || slot.name() != fetch.cache_key().wire())
                && let Some(good) = last_good() =>
        {
            // a failure of a moment ago, or the denial of a name above
            if slot.is_failure() { CacheAnswer::UseStale(good) } else { CacheAnswer::Ask(Some(good)) }
        }
        Some((slot, Freshness::Fresh(ttl))) => CacheAnswer::Use(slot, ttl),
        Some((slot, Freshness::Stale)) => {
            let waits = slot.failed().is_some_and(|failed| {
                now.since(failed) < cache.lifetimes.stale_retry_ms
                    && last_success().is_none_or(|success| success <= failed)
            });
            if waits { CacheAnswer::UseStale(slot) } else { CacheAnswer::Ask(Some(slot)) }
        }
        Some((_, Freshness::Expired)) | None if is_retained => CacheAnswer::Ask(last_good()),
        Some((_, Freshness::Expired)) | None => CacheAnswer::Ask(None),
    }
}

/// Queries the group, shared with all identical queries, and waits until `deadline`; with a stale entry only for
/// [`SharedState::stale_after`]. A query without a permit gets one if available, and keeps it for the further names of
/// its chain.
///
/// # Errors No answer in time and no stale entry, with the reason.
pub async fn fetch(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    client: IpAddr,
    fetch: &Fetch,
    stale: Option<Arc<CacheEntry>>,
    deadline: Instant,
    permit: &mut Option<Permit>,
) -> Result<Fetched, ExtendedError> {
    let patience = match stale {
        Some(_) => deadline.min(Instant::now() + live.stale_after),
        None => deadline,
    };
    let waiting = published.waiting(fetch.group);
    let admitted = match permit {
        Some(permit) => permit.move_to(waiting),
        None => live.limits.begin(client, waiting).map(|new| *permit = Some(new)),
    };
    let failed = match admitted {
        Err(full) => {
            count(&live.counters.overload);
            ExtendedError::new(ExtendedError::OTHER, full.to_string())
        }
        Ok(()) => {
            let joined = join(live, published, client, fetch, FetchReason::Missing);
            match tokio::time::timeout_at(patience, joined).await {
                Ok(Ok(FetchResult::Answered(entries))) => return Ok(Fetched::Fresh(entries)),
                Ok(Ok(FetchResult::Failed(error))) => error,
                Ok(Err(not_joined)) => ExtendedError::new(ExtendedError::OTHER, not_joined.to_string()),
                Err(_) => {
                    ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, "no upstream answered in time")
                }
            }
        }
    };
    match stale {
        Some(slot) => {
            count(&live.counters.stale);
            Ok(Fetched::Stale(slot))
        }
        None => {
            count(&live.counters.failed);
            Err(error_for(fetch, failed))
        }
    }
}

/// The result of a fetch.
#[derive(Debug)]
pub enum Fetched {
    /// The group's answer.
    Fresh(CachedChain),
    /// A stale entry.
    Stale(Arc<CacheEntry>),
}

/// Prefixes the reason with the name.
pub(crate) fn error_for(fetch: &Fetch, error: ExtendedError) -> ExtendedError {
    let name = &fetch.question.key;
    ExtendedError { text: format!("{name}: {}", error.text).into(), ..error }
}

/// Refreshes an entry in the background, if its client may have one more query in flight. The caller has claimed the
/// refresh. An entry fetched with DO is refreshed with DO.
fn start_refresh(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    client: IpAddr,
    fetch: &Fetch,
    slot: &Arc<CacheEntry>,
) {
    let Ok(permit) = live.limits.begin(client, published.waiting(fetch.group)) else {
        slot.release_refresh(); // the next query may try again
        return;
    };
    let (live, published, slot) = (live.clone(), published.clone(), slot.clone());
    let flags = QueryFlags { dnssec_ok: slot.dnssec(), ..fetch.flags };
    let fetch = Fetch::new(fetch.group, fetch.question.clone(), flags);
    tokio::spawn(async move {
        let _permit = permit;
        let heard = join(&live, &published, client, &fetch, FetchReason::Refresh).await;
        if !matches!(heard, Ok(FetchResult::Answered(_))) {
            slot.release_refresh();
        }
    });
}

/// Asks a group for an answer that is about to expire; true where it answered.
pub(super) async fn refresh(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    client: IpAddr,
    fetch: &Fetch,
) -> bool {
    let joined = join(live, published, client, fetch, FetchReason::Refresh).await;
    matches!(joined, Ok(FetchResult::Answered(_)))
}

/// The reason for a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchReason {
    /// The cache has no entry, or only a stale one.
    Missing,
    /// The entry is about to expire.
    Refresh,
}

/// One exchange for all identical queries at the same time.
async fn join(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    client: IpAddr,
    fetch: &Fetch,
    reason: FetchReason,
) -> Result<FetchResult, NotJoined> {
    live.inflight
        .join(fetch.cache_key().clone(), || {
            let (live, published, fetch) = (live.clone(), published.clone(), fetch.clone());
            async move {
                // What a pool asks comes into the cache.
                live.asked.ended(fetch.cache_key()).await;
                if reason == FetchReason::Missing {
                    wait_for_pair(&live, &published, &fetch).await;
                }
                // Since the cache lookup, the answer to another query may have arrived.
                match is_known(&live, fetch.cache_key(), live.clock.now())
                    .filter(|_| reason == FetchReason::Missing)
                {
                    Some(slot) => FetchResult::Answered([(fetch.question.key.clone(), slot)].into()),
                    None => exchange(&live, &published, client, &fetch).await,
                }
            }
        })
        .await
}

/// Stub resolvers query A and AAAA at the same time, A first. If the server is near, AAAA waits for the result of A,
/// because NXDOMAIN applies to both. A never waits for AAAA.
async fn wait_for_pair(live: &SharedState, published: &ActiveConfig, fetch: &Fetch) {
    let Some(pair) = pair_of(fetch.cache_key()) else { return };
    let server = published.groups.get(&fetch.group).and_then(|group| group.servers().next());
    if server.is_some_and(Server::is_near) {
        let ended = async {
            live.asked.ended(&pair).await;
            live.inflight.ended(&pair).await;
        };
        let _ = tokio::time::timeout(PAIR_PATIENCE, ended).await;
    }
}

/// The A query that belongs to an AAAA query.
pub(crate) fn pair_of(key: &CacheKey) -> Option<CacheKey> {
    (key.rtype() == RecordType::AAAA).then(|| key.clone().with_type(RecordType::A))
}

/// The cache entry of a key, if it is fresh and not a failure.
pub(crate) fn is_known(live: &SharedState, key: &CacheKey, now: Timestamp) -> Option<Arc<CacheEntry>> {
    match live.cache.get(key, now) {
        Some((slot, Freshness::Fresh(_))) if !slot.is_failure() => Some(slot),
        _ => None,
    }
}

/// The upstream query of a fetch.
fn outgoing(fetch: &Fetch) -> UpstreamQuery {
    UpstreamQuery {
        name: fetch.question.key.to_name(),
        rtype: fetch.question.rtype,
        dnssec_ok: fetch.flags.dnssec_ok,
        checking_disabled: fetch.flags.checking_disabled,
    }
}

/// Queries the group and caches its answer.
async fn exchange(
    live: &SharedState,
    published: &ActiveConfig,
    client: IpAddr,
    fetch: &Fetch,
) -> FetchResult {
    count(&live.counters.forwarded);
    let Some(group) = published.groups.get(&fetch.group) else {
        return FetchResult::Failed(ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, NO_UPSTREAM));
    };
    if group.is_broken() {
        count(&live.counters.broken);
    }
    let reply = group.exchange(&outgoing(fetch)).await;
    let now = live.clock.now();
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => {
            cache_failure(&live.cache, fetch, failure.kind, now);
            return FetchResult::Failed(explain(&failure));
        }
    };
    match cache_put(&live.cache, published.catalog.view(client), fetch, &reply.message, now) {
        Ok(entries) => FetchResult::Answered(entries),
        Err(why) => FetchResult::Failed(unusable(why)),
    }
}

/// The error text for an unusable answer.
pub fn unusable(why: Unusable) -> ExtendedError {
    match why {
        Unusable::Referral => {
            let text = "the upstream server does not offer recursion: it answered with a referral";
            ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, text)
        }
        Unusable::Unrelated => {
            let text = "the upstream server answered with records of other names only";
            ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, text)
        }
        Unusable::TooManyRecords => {
            let text = "the upstream's answer has an RRset above max_rrset_records";
            ExtendedError::new(ExtendedError::OTHER, text)
        }
    }
}

/// The error text for the most common mistake in a lab.
const NO_UPSTREAM: &str = "no upstream is configured, so only private names are answered";

/// Caches the accepted part of a group's answer: an entry for each hop, the query name first.
///
/// # Errors The message is not an answer, which is cached as a failure.
pub fn cache_put(
    cache: &AnswerCache,
    view: &View,
    fetch: &Fetch,
    message: &Message,
    now: Timestamp,
) -> Result<CachedChain, Unusable> {
    let in_bailiwick = |target: &NameKey| same_group(decide(view, target, fetch.question.rtype), fetch);
    let entries = response::entries(message, &fetch.question, &cache.lifetimes, now, in_bailiwick)
        .inspect_err(|why| {
            let cause = match why {
                Unusable::Referral | Unusable::Unrelated => FailureCause::Unreachable,
                Unusable::TooManyRecords => FailureCause::TooManyRecords,
            };
            let failure = CacheData::failure(cause, FAILING_RCODE_TTL, now);
            cache.insert(fetch.cache_key().clone(), failure, now);
        })?;
    let kept = entries.into_iter().map(|(name, entry)| {
        let key = CacheKey::new(fetch.group, &name, fetch.question.rtype, fetch.flags);
        (name, cache.insert_reviewed(key, entry, now))
    });
    Ok(kept.collect())
}

/// Caches a failure of a group, except for local errors.
pub fn cache_failure(cache: &AnswerCache, fetch: &Fetch, kind: FailureKind, now: Timestamp) {
    let entry = match kind {
        FailureKind::Rcode(rcode) => CacheData::failure(FailureCause::Rcode(rcode), FAILING_RCODE_TTL, now),
        FailureKind::Referral => CacheData::failure(FailureCause::Unreachable, FAILING_RCODE_TTL, now),
        FailureKind::Timeout | FailureKind::Network | FailureKind::Tls => {
            CacheData::failure(FailureCause::Unreachable, UNREACHABLE_TTL, now)
        }
        FailureKind::NoServers | FailureKind::Overloaded | FailureKind::Looping => return,
    };
    cache.insert(fetch.cache_key().clone(), entry, now);
}

/// True if a name in a group's answer belongs to the same group.
fn same_group(decision: Decision<'_>, fetch: &Fetch) -> bool {
    matches!(decision, Decision::Forward { rule, .. } if rule.group == fetch.group)
}

/// The extended error (RFC 8914) of a failure.
fn explain(failure: &Failure) -> ExtendedError {
    match failure.kind {
        FailureKind::NoServers => ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, NO_UPSTREAM),
        kind => ExtendedError::new(kind.extended_error(), failure.to_string()),
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
