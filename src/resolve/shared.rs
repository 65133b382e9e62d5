//! What is live: everything that a query looks at or leaves behind.
//!
//! What changes with the configuration is one immutable [`ActiveConfig`], swapped whole: a query holds one from
//! start to end. What must survive a reload stands beside it: the cache, the queries in flight, the health of
//! upstream groups that mean the same as before.

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
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a group said: entries along the chain, the asked-for name first. Shared by all who waited.
pub type CachedChain = Arc<[(NameKey, Arc<CacheEntry>)]>;

/// What an exchange brought.
#[derive(Clone, Debug)]
pub enum FetchResult {
    /// The group answered.
    Answered(CachedChain),
    /// It did not.
    Failed(ExtendedError),
}

/// What a configuration means: where names are answered, who is asked, who may ask. A copy is cheap.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// Where names are answered.
    pub catalog: Catalog,
    /// Another number for each publication: finished answers of an earlier one are not served any more.
    pub generation: u32,
    /// The upstream groups.
    pub groups: HashMap<GroupKey, Arc<Group>>,
    /// Who may ask.
    pub allow: Vec<IpNet>,
    /// The UDP payload size that we announce and keep to, in octets.
    pub udp_payload: u16,
    /// `version.bind` is answered.
    pub version_bind: bool,
}

impl ActiveConfig {
    /// True when a client may ask.
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.allow.iter().any(|net| net.contains(&client))
    }

    /// Where the questions that wait for a group are counted; nowhere if there is no other one to leave room for.
    pub fn waiting(&self, group: GroupKey) -> Option<&Arc<AtomicUsize>> {
        if self.groups.len() < 2 {
            return None;
        }
        Some(self.groups.get(&group)?.waiting())
    }
}

/// Numbers that only grow, of what is not the rule; what is stands in the [`Counters`].
#[derive(Debug, Default)]
pub struct EventCounters {
    /// Packets that were not answered on purpose.
    pub dropped: AtomicU64,
    /// Answers out of the cache while they held.
    pub fresh: AtomicU64,
    /// Answers out of the cache beyond their life.
    pub stale: AtomicU64,
    /// Questions that an upstream was asked.
    pub forwarded: AtomicU64,
    /// Questions that failed.
    pub failed: AtomicU64,
    /// Questions turned away because too many were in flight.
    pub overload: AtomicU64,
    /// TCP connections turned away because too many were open.
    pub tcp_rejected: AtomicU64,
    /// Answers that were refreshed before they expired.
    pub prefetched: AtomicU64,
    /// Questions whose group had no server that was up.
    pub broken: AtomicU64,
    /// Packets whose handling ended in a panic: each is a defect of ours.
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
    /// All moments come from it.
    pub clock: Clock,
    /// What upstream groups said.
    pub cache: AnswerCache,
    /// Finished answers for the fast path.
    pub answers: PacketCache,
    /// Questions that an upstream is being asked.
    pub inflight: Arc<Inflight<CacheKey, FetchResult>>,
    /// Questions that a pool asks.
    pub asked: Arc<InFlightKeys>,
    /// How much may be going on at once.
    pub limits: Limits,
    /// Octets that wait to be sent.
    pub octets: Octets,
    /// What is held against forged addresses.
    pub guard: Guard,
    /// How long a client waits for a fresh answer while there is a stale one (RFC 8767's client response timer).
    pub stale_after: Duration,
    /// Tells when an upstream leads back to us.
    pub loops: Arc<LoopDetector>,
    /// Zones that other servers are primaries of.
    pub secondaries: SecondaryZones,
    /// Numbers of what is not the rule.
    pub counters: EventCounters,
    /// Numbers of queries and answers.
    pub tallies: Counters,
    /// What answers are counted for.
    pub places: ZoneStats,
    /// The numbers of the last day, by minute.
    pub history: History,
    /// The names, clients and so on that are answered most.
    pub top: TopLists,
    /// Who is shown queries and answers.
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

    /// What is published now. A query takes it once.
    pub fn published(&self) -> Arc<ActiveConfig> {
        self.published.load_full()
    }

    /// Publishes another configuration; the next query sees it.
    pub fn publish(&self, published: ActiveConfig) {
        self.published.store(Arc::new(published));
    }

    /// The number of this answer, for rotation.
    pub fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}
