//! Operator interfaces of the running server.
//!
//! ```text
//!  /metrics /health /ready ─▶ http ─┬▶ metrics ─┐
//!  pvtzd status, flush, … ─▶ socket ─┴▶ status ──┴▶ Subject: the live state, read
//!  each query and answer ─▶ querylog, dnstap: a bounded queue each, written by a thread of its own
//! ```
//!
//! [`explain`] tells the path of a question. Nothing here is on the path of a query. A new metric: a row in
//! [`metrics::METRICS`], a line where it is written
//! there, a line in `docs/metrics.md`.

pub mod client_address;
pub mod dnstap;
pub mod explain;
pub mod fleet;
pub mod flush;
pub mod framestream;
pub mod http;
pub mod log;
pub mod metrics;
mod process;
mod prometheus;
pub mod querylog;
mod queue;
pub mod sd_notify;
pub mod secondary;
pub mod selfcheck;
pub mod server;
pub mod socket;
pub mod status;
pub mod top;
pub mod watchdog;

use crate::account::Account;
use crate::api::server::ApiView;
use crate::base::readiness::Readiness;
use crate::fleet::FleetNode;
use crate::resolve::shared::SharedState;
use selfcheck::SelfCheck;
use std::net::SocketAddr;
use std::sync::Arc;

/// The observed server.
#[derive(Debug)]
pub struct AdminView {
    /// The live state.
    pub live: Arc<SharedState>,
    /// The listen addresses.
    pub listening: Vec<SocketAddr>,
    /// The self-check.
    pub selfcheck: Arc<SelfCheck>,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// The PrivateZone API, if it is served.
    pub api: Option<ApiView>,
    /// The fleet, if the node is in one.
    pub fleet: Option<Arc<FleetNode>>,
}

impl AdminView {
    /// The account of the API: of this machine or of the fleet.
    pub fn account(&self) -> Option<Arc<Account>> {
        let fleet = self.fleet.as_ref().map(|node| node.state.account().load_full());
        fleet.or_else(|| self.api.as_ref().map(|api| api.writer.account()))
    }
}
