//! The fleet in the running server: begun with it, and what follows once its rows are known.

use super::Daemon;
use crate::account::Account;
use crate::api::server::BoundApi;
use crate::base::task;
use crate::config::{BeforeFirst, Config};
use crate::fleet::{FleetNode, PreparedFleet};
use crate::publish::publisher::Publisher;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Notify;

/// The fleet of this node.
#[derive(Debug)]
pub(super) struct FleetLink {
    /// The node.
    pub(super) node: Arc<FleetNode>,
    /// Notified when rows are in force for the first time.
    pub(super) first: Arc<Notify>,
}

impl FleetLink {
    /// Begins to follow; rows are published by `publisher`.
    pub(super) fn begin(
        fleet: PreparedFleet,
        is_writer: bool,
        listening: &[SocketAddr],
        publisher: &Arc<Publisher>,
    ) -> Self {
        let (publisher, first) = (publisher.clone(), Arc::new(Notify::new()));
        let publish = Box::new(move |account: &_, dirty: &_| publisher.update(account, dirty));
        let listen = listening.iter().map(ToString::to_string).collect();
        Self { node: fleet.begin(is_writer, listen, publish, first.clone()), first }
    }

    /// Writes to the snapshot what it lacks.
    pub(super) async fn save(&self) {
        let node = self.node.clone();
        let _ = task::spawn_blocking(move || node.save()).await; // a panic there is logged
    }
}

/// Whether no rows are known, and whether queries are not forwarded because of it.
pub(super) fn unknown(fleet: Option<&PreparedFleet>, config: &Config) -> (bool, bool) {
    let is_unknown = fleet.is_some_and(|fleet| !fleet.is_known());
    let refuses = |fleet: &crate::config::Fleet| fleet.before_first == BeforeFirst::Refuse;
    (is_unknown, is_unknown && config.fleet.as_ref().is_some_and(refuses))
}

/// The account to begin with.
pub(super) fn account(fleet: Option<&PreparedFleet>, api: Option<&BoundApi>) -> Account {
    let own = || api.map(|api| api.account().clone());
    fleet.map(|fleet| fleet.account().clone()).or_else(own).unwrap_or_default()
}

/// Until the fleet's rows are known; for ever without a fleet.
pub(super) async fn known(first: Option<&Notify>) {
    match first {
        Some(first) => first.notified().await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// The fleet's rows are in force for the first time.
    pub(super) fn take_first_rows(&mut self) {
        if std::mem::take(&mut self.around.withheld) {
            self.publisher.reconfigure(&self.config, &self.around);
        }
        self.readiness.withhold(false);
        tracing::info!("the rows of the fleet are served");
    }
}
