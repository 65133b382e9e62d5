//! The shared state: all data that a query reads or changes.
//!
//! The configuration is one immutable [`ActiveConfig`], replaced as a whole: a query uses one from start to end. State
//! that must survive a reload is separate: the cache, the queries in flight, the health of unchanged upstream groups.

use crate::base::address_set::AddressSet;
use crate::base::clock::Clock;
use crate::base::octets::Octets;
use crate::engine::answer::ExtendedError;
use crate::engine::cache::CacheKey;
use crate::engine::catalog::{Catalog, GroupKey};
use crate::engine::name::NameKey;
use crate::resolve::cache::AnswerCache;
use crate::resolve::cache_entry::CacheEntry;
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::packet_cache::PacketCache;
use crate::stats::counters::Counters;
use crate::stats::history::History;
use crate::stats::tap::QueryTap;
use crate::stats::top::TopLists;
use crate::stats::zone_stats::ZoneStats;
use crate::upstream::transfer::SecondaryZones;
use crate::upstream::udp_pool::InFlightKeys;
use crate::upstream::{Group, Inflight, LoopDetector};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A group's answer: entries along the chain, the query name first. Shared by all waiting queries.
pub type CachedChain = Arc<[(NameKey, Arc<CacheEntry>)]>;

/// The result of an exchange.
#[derive(Clone, Debug)]
pub enum FetchResult {
    /// The group answered.
    Answered(CachedChain),
    /// The group did not answer.
    Failed(ExtendedError),
}

/// The active configuration: zones, rules, upstream groups, allowed clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// The catalog of zones and rules.
    pub catalog: Catalog,
    /// The generation, a new number for each publication: cached packets of earlier generations are not served.
    pub generation: u32,
    /// The upstream groups.
    pub groups: HashMap<GroupKey, Arc<Group>>,
    /// The allowed clients.
    pub allow: AddressSet,
    /// The announced and maximum UDP payload size, in octets.
    pub udp_payload: u16,
    /// `version.bind` is answered.
    pub version_bind: bool,
}

impl ActiveConfig {
    /// True if a client is allowed.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.contains(client)
    }

    /// The counter of queries that wait for a group; None if there is only one group.
    pub fn waiting(&self, group: GroupKey) -> Option<&Arc<AtomicUsize>> {
        if self.groups.len() < 2 {
            return None;
        }
        Some(self.groups.get(&group)?.waiting())
    }
}

/// Counters of rare events; frequent ones are in [`Counters`].
#[derive(Debug, Default)]
pub struct EventCounters {
    /// Dropped packets.
    pub dropped: AtomicU64,
    /// Fresh answers from the cache.
    pub fresh: AtomicU64,
    /// Stale answers from the cache.
    pub stale: AtomicU64,
    /// Upstream queries.
    pub forwarded: AtomicU64,
    /// Failed queries.
    pub failed: AtomicU64,
    /// Queries refused because too many were in flight.
    pub overload: AtomicU64,
    /// TCP connections rejected because of a limit.
    pub tcp_rejected: AtomicU64,
    /// Answers that were refreshed before they expired.
    pub prefetched: AtomicU64,
    /// Queries whose group had no server that was up.
    pub broken: AtomicU64,
    /// Packets whose processing panicked: each is a defect in pvtzd.
    pub panics: AtomicU64,
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The live state. Shared by everything that serves.
#[derive(Debug)]
pub struct SharedState {
    published: ArcSwap<ActiveConfig>,
    /// The clock.
    pub clock: Clock,
    /// The answer cache.
    pub cache: AnswerCache,
    /// The packet cache.
    pub answers: PacketCache,
    /// Exchanges in flight.
    pub inflight: Arc<Inflight<CacheKey, FetchResult>>,
    /// Questions that a pool asks.
    pub asked: Arc<InFlightKeys>,
    /// The limits of queries in flight.
    pub limits: Limits,
    /// Pending octets.
    pub octets: Octets,
    /// Defences against spoofed addresses.
    pub guard: Guard,
    /// How long a client waits for a fresh answer if there is a stale one (the client response timer of RFC 8767).
    pub stale_after: Duration,
    /// Detects upstreams that forward to pvtzd.
    pub loops: Arc<LoopDetector>,
    /// Zones that other servers are primaries of.
    pub secondaries: SecondaryZones,
    /// Counters of rare events.
    pub counters: EventCounters,
    /// Counters of queries and answers.
    pub tallies: Counters,
    /// Statistics by zone and VPC.
    pub places: ZoneStats,
    /// Statistics of the last day, per minute.
    pub history: History,
    /// The top lists.
    pub top: TopLists,
    /// Taps for queries and answers.
    pub watch: QueryTap,
    turn: AtomicU64,
}

impl SharedState {
    /// The state at start.
    pub fn new(
        published: ActiveConfig,
        clock: Clock,
        cache: AnswerCache,
        answers: PacketCache,
        limits: Limits,
        guard: Guard,
        stale_after: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            published: ArcSwap::from_pointee(published),
            clock,
            cache,
            answers,
            inflight: Arc::new(Inflight::new()),
            asked: Arc::default(),
            limits,
            octets: Octets::default(),
            guard,
            stale_after,
            loops: Arc::default(),
            secondaries: SecondaryZones::default(),
            counters: EventCounters::default(),
            tallies: Counters::default(),
            places: ZoneStats::default(),
            history: History::default(),
            top: TopLists::default(),
            watch: QueryTap::default(),
            turn: AtomicU64::new(0),
        })
    }

    /// The active configuration. A query loads it once.
    pub fn published(&self) -> Arc<ActiveConfig> {
        self.published.load_full()
    }

    /// Replaces the active configuration; the next query uses it.
    pub fn publish(&self, published: ActiveConfig) {
        self.published.store(Arc::new(published));
    }

    /// The rotation number of this answer.
    pub fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}
