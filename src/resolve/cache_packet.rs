//! Stores answers in the packet cache.

use super::bound;
use super::lookup::LookupFor;
use super::query_context::QueryContext;
use crate::engine::answer::Answer;
use crate::engine::cached_packet::{CachedPacket, PacketKey, PacketOrigin};
use crate::engine::chain::Step;
use crate::engine::reply;
use crate::stats::zone_stats::StatKey;

/// Stores an answer from zones or the cache in the packet cache. A forwarded answer is stored when it is queried again.
pub(super) fn cache_packet(query: &QueryContext<'_>, answer: &Answer, reply: &[u8], mark: StatKey) {
    let QueryContext { live, published, request, question, turn, .. } = *query;
    if !request.recursion_desired || answer.holdings.is_none() {
        return;
    }
    let view = query.view();
    let Some(key) = PacketKey::of(request, question, view.index) else { return };
    let (generation, now, mark) = (published.generation, live.clock.now(), mark.bits());
    if bound::bind(live, published, view.index, question, query.flags(), answer, now) {
        return;
    }
    let making = PacketOrigin { turn, limit: query.limit(), generation, now, mark };
    let is_cut = reply.get(2).is_some_and(|flags| flags & 2 != 0);
    let prepared = match (is_cut, answer.rotation) {
        (true, Some((_, count))) if count.saturating_mul(ROTATING) > live.answers.largest() => None,
        (true, Some(_)) => whole(query, making)
            .and_then(|(message, answer)| CachedPacket::of(&key, &message, &answer, making)),
        _ => CachedPacket::of(&key, reply, answer, making),
    };
    if let Some(prepared) = prepared {
        live.answers.insert(&key, prepared);
    }
}

/// Minimum octets of a rotating address in a packet.
const ROTATING: usize = 16;

/// An answer with all its records, more than fit into one message: each may come first. None if it is too large to be
/// stored.
fn whole(query: &QueryContext<'_>, making: PacketOrigin) -> Option<(Vec<u8>, Answer)> {
    let largest = query.live.answers.largest();
    let mut chain = query.chain(largest);
    loop {
        let fetch = match chain.step() {
            Step::Done(answer) if answer.left_out => return None,
            Step::Done(answer) => {
                let message = reply::finish(query.request, &answer, largest, query.published.udp_payload);
                return Some((message, answer));
            }
            Step::Fetch(fetch) => fetch,
        };
        query.use_cached(&fetch, &mut chain, LookupFor::Repeat, making.now).ok()?;
    }
}
