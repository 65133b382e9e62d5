//! What is left of an answer for the packet cache.

use super::bound;
use super::lookup::LookupFor;
use super::query::{flags, limit, use_cached};
use super::shared::{ActiveConfig, SharedState};
use crate::engine::answer::Answer;
use crate::engine::cached_packet::{CachedPacket, PacketKey, PacketOrigin};
use crate::engine::chain::{Chain, Step};
use crate::engine::reply;
use crate::engine::request::{Question, Request};
use crate::stats::tap::Client;
use crate::stats::zone_stats::StatKey;
use std::sync::Arc;

/// Leaves an answer that came from zones or the cache for the packet cache. What an upstream had to be asked for
/// comes here when it is asked for again.
#[expect(clippy::too_many_arguments, reason = "all of them are known at one place only")]
pub(super) fn cache_packet(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    request: &Request,
    question: &Question,
    caller: &Client,
    turn: u64,
    answer: &Answer,
    reply: &[u8],
    mark: StatKey,
) {
    if !request.recursion_desired || answer.holdings.is_none() {
        return;
    }
    let view = published.catalog.view(caller.peer.ip());
    let Some(key) = PacketKey::of(request, question, view.index) else { return };
    let limit = limit(published, request, caller.transport);
    let (generation, now, mark) = (published.generation, live.clock.now(), mark.bits());
    if bound::bind(live, published, view.index, question, flags(request), answer, now) {
        return;
    }
    let making = PacketOrigin { turn, limit, generation, now, mark };
    let is_cut = reply.get(2).is_some_and(|flags| flags & 2 != 0);
    let prepared = match (is_cut, answer.rotation) {
        (true, Some((_, count))) if count.saturating_mul(ROTATING) > live.answers.largest() => None,
        (true, Some(_)) => whole(live, published, request, question, caller, making)
            .and_then(|(message, answer)| CachedPacket::of(&key, &message, &answer, making)),
        _ => CachedPacket::of(&key, reply, answer, making),
    };
    if let Some(prepared) = prepared {
        live.answers.insert(&key, prepared);
    }
}

/// Octets of a rotating address in a packet, at least.
const ROTATING: usize = 16;

/// An answer with all its records, more than can be sent at once: any of them may come first. Nothing for one that is
/// too large to be kept.
fn whole(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    request: &Request,
    question: &Question,
    caller: &Client,
    making: PacketOrigin,
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
        use_cached(live, published, client, &fetch, &mut chain, LookupFor::Repeat, making.now).ok()?;
    }
}
