//! A group of upstream servers: what the configuration names, alive.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::network::Network;
use super::server::Server;
use super::stream::Connector;
use super::{Failure, Reply, ServerAddress, Strategy, Trust, UpstreamQuery, exchange};

/// How a group behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How its servers share the work.
    pub strategy: Strategy,
    /// Queries that may be under way to one server. Beyond, the next server is asked.
    pub max_in_flight: usize,
    /// The time one exchange may take: under the 4 s within which every client has its answer.
    pub deadline: Duration,
    /// Whose certificates count, if any of the servers needs one.
    pub trust: Option<Arc<Trust>>,
    /// Who is asked for the addresses of servers that are known by name: plain servers.
    pub bootstrap: Vec<ServerAddress>,
    /// The network that its servers are in.
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

/// A named group of servers with what is known of them. A changed configuration makes a new group.
#[derive(Debug)]
pub struct Group {
    /// What the configuration calls it.
    name: String,
    /// Its servers, in the order written.
    servers: Vec<Arc<Server>>,
    /// How it behaves.
    options: GroupOptions,
    /// The clients' questions that wait for it.
    waiting: Arc<AtomicUsize>,
}

impl Group {
    /// A group nothing is known of yet. A server named twice is one server.
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

    /// What the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it behaves.
    pub fn options(&self) -> &GroupOptions {
        &self.options
    }

    /// The count of the clients' questions that wait for it.
    pub fn waiting(&self) -> &Arc<AtomicUsize> {
        &self.waiting
    }

    /// Its servers, in the order written.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().map(AsRef::as_ref)
    }

    /// Its servers, for tasks that may outlive a borrow.
    pub(super) fn shared_servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The server that the pool may ask: the first, while all are well and there is nothing to find out. The pool
    /// speaks plain DNS only, by the kernel's sockets.
    /// Otherwise an exchange decides, which also probes those that are not.
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

    /// It has servers, and none of them can be relied on.
    pub fn is_broken(&self) -> bool {
        !self.servers.is_empty() && !self.servers.iter().any(|server| server.is_steady())
    }

    /// It has servers, and none of them replies, to what every server knows either, as is known from not long ago.
    pub fn is_silent(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server.is_silent())
    }

    /// Asks those of its servers that are not up whether they are back, if it is time to, by a question whose answer
    /// is not awaited. An exchange does so by itself.
    pub fn probe(&self, question: impl Fn() -> UpstreamQuery) {
        for server in &self.servers {
            exchange::probe(server, &question);
            exchange::check_silence(server);
        }
    }

    /// When any of its servers last gave an answer: later than a failure, it says that asking again is worth it.
    pub fn last_success(&self) -> Option<Instant> {
        self.servers().filter_map(Server::last_success).max()
    }

    /// Asks the servers until one gives a usable answer, none is left, or the deadline comes. NXDOMAIN and
    /// NOERROR, with data or without, are answers. Dropping the future ends everything it began, but for a
    /// short probe of a server that is down.
    pub async fn exchange(&self, query: &UpstreamQuery) -> Result<Reply, Failure> {
        exchange::run(self, query).await
    }
}
