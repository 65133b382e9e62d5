//! A query on its way to an answer: who asks what, and what it is answered by.

use super::cache_entry::CacheEntry;
use super::lookup::{self, CacheAnswer, LookupFor};
use super::shared::{ActiveConfig, SharedState};
use crate::engine::answer::Answer;
use crate::engine::cache::{QueryFlags, Timestamp};
use crate::engine::catalog::View;
use crate::engine::chain::{Chain, Fetch};
use crate::engine::reply;
use crate::engine::request::{Question, Request};
use crate::stats::tap::{Client, ClientTransport};
use std::net::IpAddr;
use std::sync::Arc;

/// What all steps of a query look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryContext<'q> {
    /// The live state.
    pub(super) live: &'q Arc<SharedState>,
    /// The configuration that answers it.
    pub(super) published: &'q Arc<ActiveConfig>,
    /// The query.
    pub(super) request: &'q Request,
    /// Its question.
    pub(super) question: &'q Question,
    /// Who asks.
    pub(super) caller: &'q Client,
    /// The number of the answer, by which sets rotate.
    pub(super) turn: u64,
}

impl<'q> QueryContext<'q> {
    /// The client's address.
    pub(super) fn client(&self) -> IpAddr {
        self.caller.peer.ip()
    }

    /// The view that the client has.
    pub(super) fn view(&self) -> &'q View {
        self.published.catalog.view(self.client())
    }

    /// The flags that change its answer.
    pub(super) fn flags(&self) -> QueryFlags {
        let Request { checking_disabled, .. } = *self.request;
        QueryFlags { dnssec_ok: self.request.dnssec_ok(), checking_disabled }
    }

    /// How large its answer may be.
    pub(super) fn limit(&self) -> usize {
        limit(self.published, self.request, self.caller.transport)
    }

    /// The chain of its answer, from the first name on, for a message of `limit` octets.
    pub(super) fn chain(&self, limit: usize) -> Chain<'q> {
        Chain::start(self.view(), self.question, self.flags(), self.turn).within(limit)
    }

    /// The message for the client.
    pub(super) fn finish(&self, answer: &Answer) -> Vec<u8> {
        finish(self.published, self.request, answer, self.caller.transport)
    }

    /// Tells the chain what the cache has.
    ///
    /// # Errors
    /// Nothing that may be used yet: what there is beyond its life.
    pub(super) fn use_cached(
        &self,
        fetch: &Fetch,
        chain: &mut Chain<'_>,
        purpose: LookupFor,
        now: Timestamp,
    ) -> Result<(), Option<Arc<CacheEntry>>> {
        match lookup::lookup(self.live, self.published, self.client(), fetch, now, purpose) {
            CacheAnswer::Use(slot, ttl) => chain.supply(&slot.entry(), ttl, false),
            CacheAnswer::UseStale(slot) => {
                chain.supply(&slot.entry(), self.live.cache.lifetimes.stale_ttl, true);
            }
            CacheAnswer::Ask(stale) => return Err(stale),
        }
        Ok(())
    }
}

/// The message for a client, whether it has a question or not.
pub(super) fn finish(
    published: &ActiveConfig,
    request: &Request,
    answer: &Answer,
    transport: ClientTransport,
) -> Vec<u8> {
    reply::finish(request, answer, limit(published, request, transport), published.udp_payload)
}

/// How large an answer may be.
fn limit(published: &ActiveConfig, request: &Request, transport: ClientTransport) -> usize {
    match transport {
        ClientTransport::Udp => reply::udp_limit(request, published.udp_payload),
        ClientTransport::Tcp => reply::TCP,
    }
}
