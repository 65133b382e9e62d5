//! The context of a query: client, question and configuration.

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

/// Data that all steps of a query use.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryContext<'q> {
    /// The live state.
    pub(super) live: &'q Arc<SharedState>,
    /// The active configuration.
    pub(super) published: &'q Arc<ActiveConfig>,
    /// The query.
    pub(super) request: &'q Request,
    /// Its question.
    pub(super) question: &'q Question,
    /// The client.
    pub(super) caller: &'q Client,
    /// The rotation number of the answer.
    pub(super) turn: u64,
}

impl<'q> QueryContext<'q> {
    /// The context of a query with this rotation number.
    pub(super) fn new(
        live: &'q Arc<SharedState>,
        published: &'q Arc<ActiveConfig>,
        request: &'q Request,
        question: &'q Question,
        caller: &'q Client,
        turn: u64,
    ) -> Self {
        Self { live, published, request, question, caller, turn }
    }

    /// The client's address.
    pub(super) fn client(&self) -> IpAddr {
        self.caller.peer.ip()
    }

    /// The client's view.
    pub(super) fn view(&self) -> &'q View {
        self.published.catalog.view(self.client())
    }

    /// The flags that change its answer.
    pub(super) fn flags(&self) -> QueryFlags {
        let Request { checking_disabled, .. } = *self.request;
        QueryFlags { dnssec_ok: self.request.dnssec_ok(), checking_disabled }
    }

    /// The size limit of its answer.
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

    /// Supplies cached data to the chain.
    ///
    /// # Errors No usable entry: the stale entry, if any.
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

/// The message for a client, with or without a question.
pub(super) fn finish(
    published: &ActiveConfig,
    request: &Request,
    answer: &Answer,
    transport: ClientTransport,
) -> Vec<u8> {
    reply::finish(request, answer, limit(published, request, transport), published.udp_payload)
}

/// The size limit of an answer.
fn limit(published: &ActiveConfig, request: &Request, transport: ClientTransport) -> usize {
    match transport {
        ClientTransport::Udp => reply::udp_limit(request, published.udp_payload),
        ClientTransport::Tcp => reply::TCP,
    }
}
