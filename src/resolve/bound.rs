//! Answers that one entry of the cache alone makes: they are written for plain queries out of the entry, so that nothing
//! is kept twice. Other answers are kept as packets, in `packet_cache`.

use super::cache_entry::CacheEntry;
use super::shared::{ActiveConfig, SharedState};
use crate::engine::answer::{Answer, Source};
use crate::engine::cache::{CacheKey, Freshness, QueryFlags, Timestamp};
use crate::engine::plain_answer;
use crate::engine::request::Question;
use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey};

/// Notes that an answer is what one entry of the default upstreams says and nothing else, if it is; true then.
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
    // where inner addresses are taken out, it is not all that the entry says
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

/// What the answer of an entry of the default upstreams is counted for.
pub fn mark(slot: &CacheEntry) -> StatKey {
    StatKey::new(
        0,
        AnswerSource::Other,
        if slot.has_data() { CacheResult::Success } else { CacheResult::Denial },
    )
}
