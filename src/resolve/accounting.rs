//! Accounting of answers: counters, statistics and taps.

use crate::engine::answer::{Answer, ExtendedError, Hop, Source};
use crate::engine::cache::{CacheDataOf, Outcome};
use crate::engine::catalog::View;
use crate::resolve::shared::{ActiveConfig, SharedState};
use crate::stats::counters::{QueryOrigin, ThreadCounters};
use crate::stats::recent::OfferedAnswer;
use crate::stats::tap::{Answered, Client, ClientTransport};
use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey};
use hickory_proto::op::ResponseCode;
use std::time::Duration;

/// The statistics key of a composed answer. `record_query` means that an upstream was queried for it.
pub(crate) fn classify(live: &SharedState, view: &View, answer: &Answer, asked: bool) -> StatKey {
    let forwarded = answer.hops.iter().any(|hop| matches!(hop.source, Source::Forwarded { .. }));
    let error = answer.error.as_ref().map(|error| error.code);
    let share = match (forwarded, error) {
        (false, _) => CacheResult::None,
        (true, Some(ExtendedError::STALE_ANSWER | ExtendedError::STALE_NXDOMAIN)) => CacheResult::Stale,
        (true, Some(ExtendedError::NOT_AUTHORITATIVE)) => CacheResult::Miss,
        (true, _) if asked => CacheResult::Miss,
        (true, _) if answer.rcode == ResponseCode::NoError && !answer.answers.is_empty() => {
            CacheResult::Success
        }
        (true, _) => CacheResult::Denial,
    };
    attribute(live, view, &answer.hops, share)
}

/// The statistics key of an answer: the zone or rule of the first name.
pub(crate) fn attribute(live: &SharedState, view: &View, hops: &[Hop], share: CacheResult) -> StatKey {
    let vpc = || view.vpc.as_ref().map(|vpc| vpc.id.as_str());
    match hops.first().map(|hop| &hop.source) {
        Some(Source::Zone(apex) | Source::Forwarded { through: Some(apex), .. }) => {
            StatKey::new(live.places.number(false, apex, vpc()), AnswerSource::Zone, share)
        }
        Some(Source::Forwarded { rule: Some(suffix), .. }) => {
            StatKey::new(live.places.number(true, suffix, vpc()), AnswerSource::Rule, share)
        }
        Some(Source::Local(_) | Source::Hosts) => StatKey::new(0, AnswerSource::Local, share),
        _ => StatKey::new(0, AnswerSource::Other, share),
    }
}

/// The code of a packed outcome.
pub(crate) fn rcode_of(entry: &CacheDataOf<'_>) -> u8 {
    match entry.outcome {
        Outcome::NxDomain => 3,
        Outcome::YxDomain => 6,
        Outcome::Failure(_) => 2,
        _ => 0,
    }
}

/// Counts a received query.
pub(crate) fn record_query(tally: &ThreadCounters, rtype: u16, caller: &Client) {
    tally.asked(rtype, QueryOrigin::new(caller.transport == ClientTransport::Tcp, caller.peer.ip()));
}

/// Counts the answer to a query that waited.
pub(crate) fn record_answer(
    live: &SharedState,
    published: &ActiveConfig,
    tally: &ThreadCounters,
    caller: &Client,
    reply: &[u8],
    note: (u8, StatKey),
    took: Duration,
) {
    let (rcode, mark) = note;
    tally.answered(rcode, mark);
    tally.observe(took, 1);
    if live.top.is_on() {
        let now = live.clock.now();
        let weight = tally.sampler.weight(now);
        if weight > 0 {
            live.top.count(weight, caller.peer.ip(), mark, reply, now);
        }
        let recent = &live.top.recent;
        if weight > 0 && recent.is_read(now) || recent.is_filtered(now) {
            let offered = OfferedAnswer { weight, caller, reply, mark, fast: false };
            recent.offer(offered, now, || (took, published.catalog.view(caller.peer.ip()).vpc.clone()));
        }
    }
    if live.watch.is_on() {
        let view = published.catalog.view(caller.peer.ip());
        live.watch.answer(caller, reply, Answered { mark, fast: false, took, view });
    }
}
