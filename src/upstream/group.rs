//! A group of upstream servers at run time.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::network::Network;
use super::server::Server;
use super::stream::Connector;
use super::{Failure, Reply, ServerAddress, Strategy, Trust, UpstreamQuery, exchange};

/// The options of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Its strategy.
    pub strategy: Strategy,
    /// Limit of queries in flight to one server. Beyond it the next server is queried.
    pub max_in_flight: usize,
    /// Timeout of an exchange: less than the 4 s within which every client gets its answer.
    pub deadline: Duration,
    /// The trusted CA certificates, if any server needs them.
    pub trust: Option<Arc<Trust>>,
    /// Plain servers that resolve the names of encrypted servers.
    pub bootstrap: Vec<ServerAddress>,
    /// The network of its servers.
    pub network: Network,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            max_in_flight: 1000,
            deadline: Duration::from_millis(3800),
            trust: None,
            bootstrap: Vec::new(),
            network: Network::Kernel,
        }
    }
}

/// A named group of servers with their state. A changed configuration makes a new group.
#[derive(Debug)]
pub struct Group {
    /// Its name in the configuration.
    name: String,
    /// Its servers, in the configured order.
    servers: Vec<Arc<Server>>,
    /// Its options.
    options: GroupOptions,
    /// Number of client queries that wait for it.
    waiting: Arc<AtomicUsize>,
}

impl Group {
    /// A group without state. A duplicate server is used once.
    pub fn new(name: String, servers: Vec<ServerAddress>, options: GroupOptions) -> Self {
        let mut distinct: Vec<ServerAddress> = Vec::with_capacity(servers.len());
        for server in servers {
            if !distinct.contains(&server) {
                distinct.push(server);
            }
        }
        let bootstrap =
            (!options.bootstrap.is_empty() && distinct.iter().any(ServerAddress::is_named)).then(|| {
                let plain = options.bootstrap.iter().filter(|server| server.is_plain()).cloned().collect();
                let own = GroupOptions { network: options.network.clone(), ..GroupOptions::default() };
                Arc::new(Self::new("bootstrap".to_owned(), plain, own))
            });
        let means = Connector { trust: options.trust.clone(), bootstrap, network: options.network.clone() };
        let live = |address| Arc::new(Server::with(means.clone(), address, options.max_in_flight));
        let servers = distinct.into_iter().map(live).collect();
        Self { name, servers, options, waiting: Arc::default() }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its options.
    pub fn options(&self) -> &GroupOptions {
        &self.options
    }

    /// The counter of client queries that wait for it.
    pub fn waiting(&self) -> &Arc<AtomicUsize> {
        &self.waiting
    }

    /// Its servers, in the configured order.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().map(AsRef::as_ref)
    }

    /// Its servers, for tasks that may outlive a borrow.
    pub(super) fn shared_servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The server for the UDP pool: the first, while all servers are up and their options are known. The pool supports
    /// plain DNS over kernel sockets only. In all other cases an exchange is used, which also probes servers that are
    /// down.
    pub fn all_up(&self) -> Option<&Arc<Server>> {
        let one_by_one = self.options.strategy == Strategy::Failover || self.servers.len() == 1;
        let usual = one_by_one && self.options.network == Network::Kernel;
        let first = self.servers.first().filter(|first| usual && first.address().is_plain())?;
        self.servers.iter().all(|server| server.is_steady()).then_some(first)
    }

    /// It has no servers: every exchange fails at once.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// It has servers, but none is up.
    pub fn is_broken(&self) -> bool {
        !self.servers.is_empty() && !self.servers.iter().any(|server| server.is_steady())
    }

    /// It has servers, and none of them has replied recently, nor to `. NS`.
    pub fn is_silent(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server.is_silent())
    }

    /// Probes its servers that are not up, if due, without waiting for the answer. An exchange does this itself.
    pub fn probe(&self, question: impl Fn() -> UpstreamQuery) {
        for server in &self.servers {
            exchange::probe(server, &question);
            exchange::check_silence(server);
        }
    }

    /// Time of the last answer of any of its servers: if it is later than a failure, a retry is useful.
    pub fn last_success(&self) -> Option<Instant> {
        self.servers().filter_map(Server::last_success).max()
    }

    /// Queries the servers until one gives a usable answer, none is left, or the deadline is reached. NXDOMAIN and
    /// NOERROR, with or without data, are answers. Dropping the future cancels everything, except a short probe of a
    /// server that is down.
    pub async fn exchange(&self, query: &UpstreamQuery) -> Result<Reply, Failure> {
        exchange::run(self, query).await
    }
}
