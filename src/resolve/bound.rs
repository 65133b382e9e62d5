//! Answers from a single cache entry: the fast path writes them from the entry, so that no data are stored twice. Other
//! answers are stored as packets, in `packet_cache`.

use super::cache_entry::CacheEntry;
use super::shared::{ActiveConfig, SharedState};
use crate::engine::answer::{Answer, Source};
use crate::engine::cache::{CacheKey, Freshness, QueryFlags, Timestamp};
use crate::engine::plain_answer;
use crate::engine::request::Question;
use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey};

/// Binds the entry if an answer is exactly one entry of the default upstreams; returns whether it is.
pub fn bind(
    live: &SharedState,
    published: &ActiveConfig,
    view: u32,
    question: &Question,
    flags: QueryFlags,
    answer: &Answer,
    now: Timestamp,
) -> bool {
    let [hop] = &answer.hops[..] else { return false };
    let Source::Forwarded { rule: None, through: None, group } = hop.source else { return false };
    // with rebind protection the answer may omit records of the entry
    let as_said = published.catalog.allows_rebinding() && answer.error.is_none() && !question.name.is_root();
    if !as_said || group != published.catalog.default_group() {
        return false;
    }
    let key = CacheKey::new(group, &question.key, question.rtype, flags);
    let Some((slot, Freshness::Fresh(_))) = live.cache.get(&key, now) else { return false };
    let entry = slot.entry();
    let same_code = u8::from(slot.is_nxdomain()) * 3 == answer.rcode.low() && answer.rcode.high() == 0;
    let whole = plain_answer::records(&entry, question.rtype) == Some(answer.answers.len());
    if !(same_code && whole) {
        return false;
    }
    live.cache.bind(&slot, published.generation, view);
    true
}

/// The statistics key of an answer from the default upstreams.
pub fn mark(slot: &CacheEntry) -> StatKey {
    StatKey::new(
        0,
        AnswerSource::Other,
        if slot.has_data() { CacheResult::Success } else { CacheResult::Denial },
    )
}
