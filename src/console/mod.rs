//! The console: pages at `/console/` of the API's listener, and what they ask.
//!
//! ```text
//!  a request ─▶ guard: Host, Origin, form ─┬▶ assets: the pages, parts of the program
//!                                          └▶ routes: session? ─▶ the API's own actions, or what operations read
//! ```
//!
//! A change goes through the action of the API that makes it, and so into the change log. Nothing here runs, and nothing
//! is kept but a few digests, until a page asks.

mod assets;
mod endpoint_check;
mod guard;
mod import;
mod live_log;
mod operations;
mod reply;
mod request;
mod routes;

use crate::admin::AdminView;
use crate::admin::client_address::ClientAddress;
use crate::api::console_access::ConsoleAccess;
use crate::api::{AccessKey, ActionPort};
use crate::base::client_form::ClientForm;
use crate::http::pages::{MakingPage, PageRequest, Pages};
use crate::publish::publisher::Publisher;
use crate::stats::recent::READERS;
use guard::ConsoleHosts;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::RootCertStore;

/// Where the pages are.
pub const PATH: &str = "/console/";

/// Requests of the live log that wait at a time: of each reader one, and one that its page has left.
const MAX_LOG_REQUESTS: usize = 2 * READERS;

/// What the console stands on.
pub struct ConsoleParts {
    /// Who may use it.
    pub access: Arc<ConsoleAccess>,
    /// The running server.
    pub view: Arc<AdminView>,
    /// What is published, and out of what.
    pub publisher: Arc<Publisher>,
    /// The API.
    pub actions: Arc<dyn ActionPort>,
    /// What is particular to this server.
    pub setting: ConsoleSetting,
}

/// What is particular to a server.
pub struct ConsoleSetting {
    /// Where the API listens.
    pub api: Vec<SocketAddr>,
    /// Where the console is served.
    pub listen: Vec<SocketAddr>,
    /// The hosts that requests may name, beside loopback addresses and the listen addresses.
    pub server_names: Vec<String>,
    /// How clients are shown in the live log.
    pub client: ClientForm,
    /// The metadata service, if it is asked.
    pub metadata: Option<SocketAddr>,
    /// Set in a lab.
    pub lab: Option<LabApi>,
}

/// Where API names lead in a lab.
#[derive(Clone)]
pub struct LabApi {
    /// The port of HTTPS.
    pub port: u16,
    /// Whose certificates are trusted.
    pub roots: RootCertStore,
    /// What requests are signed with.
    pub key: AccessKey,
}

/// The console.
pub struct Console {
    parts: ConsoleParts,
    hosts: ConsoleHosts,
    client: Arc<ClientAddress>,
    log_requests: Semaphore,
    /// Look-ups that take long run one at a time.
    slow: Arc<Semaphore>,
}

impl Console {
    /// The console of a server.
    pub fn new(parts: ConsoleParts) -> Self {
        let hosts = ConsoleHosts::new(&parts.setting.listen, &parts.setting.server_names);
        let client = Arc::new(ClientAddress::new(parts.setting.client));
        let (log_requests, slow) = (Semaphore::new(MAX_LOG_REQUESTS), Arc::new(Semaphore::new(1)));
        Self { parts, hosts, client, log_requests, slow }
    }
}

impl Pages for Console {
    fn has(&self, path: &str) -> bool {
        path.starts_with(PATH) || path == PATH.trim_end_matches('/')
    }

    fn long_body(&self, request: &PageRequest) -> Option<usize> {
        routes::long_body(self, request)
    }

    fn respond(&self, request: PageRequest) -> MakingPage<'_> {
        Box::pin(async move { guard::secured(routes::respond(self, request).await) })
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}
