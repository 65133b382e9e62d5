//! Refreshes retained answers before they expire, and asks for listed names that have none yet. A task of its own, beside
//! all queries: a few questions at a time, each no more often than every few seconds.

use super::lookup;
use super::retained::DueAnswer;
use super::shared::{ActiveConfig, SharedState};
use crate::base::task;
use crate::engine::cache::{Freshness, QueryFlags, Timestamp};
use crate::engine::chain::{Chain, Fetch, Step};
use crate::engine::decide::{Decision, decide};
use crate::engine::name::NameKey;
use crate::engine::request::Question;
use hickory_proto::rr::RecordType;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Interval of checks for due refreshes.
const TICK: Duration = Duration::from_secs(1);

/// Questions at a time.
const IN_FLIGHT: usize = 32;

/// Answers that are refreshed, and listed names that are looked at, in one tick.
const IN_A_TICK: usize = 100;

/// How long a listed name is left alone after it was asked for, in milliseconds.
const VISIT_PAUSE: u64 = 10_000;

/// Views whose names are refreshed.
const MOST_VIEWS: usize = 256;

/// Refreshes for the life of the process.
pub async fn run(live: Arc<SharedState>) {
    let seats = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut listed = ListedNames::default();
    loop {
        tokio::time::sleep(TICK).await;
        if live.cache.retained.is_active() {
            tick(&live, &seats, &mut listed);
        }
    }
}

/// Listed names, and when they were asked for.
#[derive(Debug, Default)]
struct ListedNames {
    visited: HashMap<(NameKey, u16, IpAddr), Timestamp>,
    /// Where the next tick goes on.
    next: usize,
}

/// Starts what is due.
fn tick(live: &Arc<SharedState>, seats: &Arc<Semaphore>, listed: &mut ListedNames) {
    let (published, now) = (live.published(), live.clock.now());
    let clients = viewpoints(&published);
    let room = seats.available_permits().min(IN_A_TICK);
    for due in live.cache.retained.due(now, room) {
        let Some(client) = clients.iter().copied().find(|client| leads_to_group(&published, *client, &due))
        else {
            continue; // no client would be led there any more
        };
        let flags = QueryFlags { dnssec_ok: due.dnssec, ..due.key.flags() };
        let question = Question::new(due.key.name().to_name(), due.rtype);
        start(live, &published, seats, client, Fetch::new(due.key.group(), question, flags));
    }
    let rules = live.cache.retained.rules();
    let all: Vec<(&NameKey, RecordType, IpAddr)> = rules
        .rules
        .iter()
        .filter(|rule| !rule.is_subtree)
        .flat_map(|rule| rule.types.iter().map(move |rtype| (&rule.name, *rtype)))
        .flat_map(|(name, rtype)| clients.iter().map(move |client| (name, rtype, *client)))
        .collect();
    for step in 0..all.len().min(IN_A_TICK) {
        let (name, rtype, client) = all[(listed.next + step) % all.len()];
        let key = (name.clone(), u16::from(rtype), client);
        if listed.visited.get(&key).is_some_and(|visited| now.since(*visited) < VISIT_PAUSE) {
            continue;
        }
        if let Some(fetch) = missing(live, &published, client, name, rtype, now)
            && seats.available_permits() > 0
        {
            listed.visited.insert(key, now);
            start(live, &published, seats, client, fetch);
        }
    }
    listed.next = (listed.next + IN_A_TICK) % all.len().max(1);
    listed.visited.retain(|_, visited| now.since(*visited) < VISIT_PAUSE);
}

/// Asks a group in the background.
fn start(
    live: &Arc<SharedState>,
    published: &Arc<ActiveConfig>,
    seats: &Arc<Semaphore>,
    client: IpAddr,
    fetch: Fetch,
) {
    let Ok(seat) = seats.clone().try_acquire_owned() else { return };
    let (live, published) = (live.clone(), published.clone());
    task::spawn(async move {
        let _seat = seat;
        if lookup::refresh(&live, &published, client, &fetch).await {
            live.cache.retained.note_refreshed();
        }
    });
}

/// What has to be asked for a name to be answered out of the cache; nothing where it can be, or is not forwarded.
fn missing(
    live: &SharedState,
    published: &ActiveConfig,
    client: IpAddr,
    name: &NameKey,
    rtype: RecordType,
    now: Timestamp,
) -> Option<Fetch> {
    let question = Question::new(name.to_name(), rtype);
    let mut chain = Chain::start(published.catalog.view(client), &question, QueryFlags::default(), 0);
    loop {
        let Step::Fetch(fetch) = chain.step() else { return None };
        match live.cache.get(fetch.cache_key(), now) {
            Some((entry, Freshness::Fresh(ttl))) => chain.supply(&entry.entry(), ttl, false),
            _ => return Some(fetch),
        }
    }
}

/// True where a client's question for a name is asked of the group that the answer is of.
fn leads_to_group(published: &ActiveConfig, client: IpAddr, due: &DueAnswer) -> bool {
    let decision = decide(published.catalog.view(client), &due.key.name(), due.rtype);
    matches!(decision, Decision::Forward { rule, .. } if rule.group == due.key.group())
}

/// An address of a client in each view.
fn viewpoints(published: &ActiveConfig) -> Vec<IpAddr> {
    let outside = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
        Ipv4Addr::new(192, 0, 2, 1).into(),
        Ipv4Addr::new(198, 51, 100, 1).into(),
    ];
    let inside = published.catalog.vpcs().flat_map(|vpc| vpc.clients.iter().take(4)).map(|net| net.network());
    let mut seen = HashSet::new();
    let of_its_own = |client: &IpAddr| seen.insert(published.catalog.view(*client).index);
    outside.into_iter().chain(inside).filter(of_its_own).take(MOST_VIEWS).collect()
}
