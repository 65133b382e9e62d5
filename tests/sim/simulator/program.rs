//! The program as it runs, but for its sockets.

use pvtzd::account::Account;
use pvtzd::base::clock::Clock;
use pvtzd::config::Config;
use pvtzd::daemon::lifetimes;
use pvtzd::publish::build;
use pvtzd::publish::build::Environment;
use pvtzd::resolve::cache::AnswerCache;
use pvtzd::resolve::fast_path::{FastPath, Served};
use pvtzd::resolve::guard::Guard;
use pvtzd::resolve::limits::Limits;
use pvtzd::resolve::packet_cache::PacketCache;
use pvtzd::resolve::query;
use pvtzd::resolve::query::ClientTransport;
use pvtzd::resolve::shared::{ActiveConfig, SharedState};
use pvtzd::upstream::network::Network;
use std::net::SocketAddr;
use std::sync::Arc;

/// Starts with a configuration, in a network.
pub fn start(config: &Config, network: &Network) -> Arc<SharedState> {
    let finished = config.cache.size / 3;
    let cache = AnswerCache::new(config.cache.size - finished, lifetimes(&config.cache));
    cache.retained.configure(config.retain.clone());
    SharedState::new(
        published(config, network, None, 1),
        Clock::start(),
        cache,
        PacketCache::new(finished),
        Limits::new(config.server.max_in_flight),
        // Cookies for clients are made with the wall clock's help.
        Guard::default(),
        config.cache.stale_answer_after,
    )
}

/// What is published of a configuration; `previous` is what was before.
pub fn published(
    config: &Config,
    network: &Network,
    previous: Option<&ActiveConfig>,
    serial: u32,
) -> ActiveConfig {
    let around = Environment { network: network.clone(), ..Environment::default() };
    build::build(config, &around, &Account::default(), previous, serial)
}

/// Answers a packet, by whichever lane; nothing where none is to be sent.
pub async fn answer(
    live: &Arc<SharedState>,
    packet: &[u8],
    client: SocketAddr,
    transport: ClientTransport,
) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let served = FastPath::new(live, &live.tallies.tasks, transport).serve(packet, client, None, &mut answer);
    match served {
        Served::Answered => Some(answer),
        Served::Dropped => None,
        Served::Waits(waiting) => Some(query::resolve(live, *waiting).await),
    }
}
