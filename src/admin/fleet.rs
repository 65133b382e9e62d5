//! How the node stands in its fleet: for `pvtzd status`, and as metrics.

use super::AdminView;
use super::prometheus::MetricsPage;
use crate::fleet::FleetPhase;
use serde::{Deserialize, Serialize};

/// The fleet as this node sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The name of the node.
    pub node: String,
    /// `following`, `away`, `held`, ….
    pub state: String,
    /// The revision of the head that is served.
    pub revision: i64,
    /// The number of rows.
    pub rows: usize,
    /// Seconds since the rows were last known to be the newest.
    pub behind: f64,
    /// The node has rows to serve, from a snapshot or from etcd.
    pub known: bool,
    /// The last failure, while it lasts.
    pub fault: Option<String>,
    /// The digest of the rows equals that of the head.
    pub whole: bool,
    /// The number of rows to remove, and of all rows, while a removal waits to be accepted.
    pub held: Option<(usize, usize)>,
    /// Rows whose last good value is served.
    pub bad_rows: usize,
    /// The first of them: key and fault.
    pub bad: Vec<(String, String)>,
    /// The error of the snapshot file, if it cannot be written.
    pub snapshot_fault: Option<String>,
    /// Changes applied.
    pub applied: u64,
    /// Comparisons of all rows.
    pub compared: u64,
    /// Failed or ended connections.
    pub failures: u64,
    /// Changes committed by this node.
    pub commits: u64,
    /// Commits repeated after a conflict.
    pub lost_races: u64,
}

/// Reads it; nothing without a fleet.
pub(super) fn status(subject: &AdminView) -> Option<FleetStatus> {
    let node = subject.fleet.as_ref()?;
    let view = node.state.view();
    Some(FleetStatus {
        node: node.name.clone(),
        state: view.phase.name().into(),
        revision: view.position.revision,
        rows: view.rows,
        behind: view.behind.as_secs_f64(),
        known: view.known,
        fault: view.fault,
        whole: view.is_whole,
        held: view.held.map(|held| (held.removes, held.of)),
        bad_rows: view.bad.0,
        bad: view.bad.1,
        snapshot_fault: view.snapshot_fault,
        applied: view.counts.applied,
        compared: view.counts.compared,
        failures: view.counts.failures,
        commits: view.counts.commits,
        lost_races: view.counts.lost_races,
    })
}

/// Writes the metrics; without a fleet they have no samples.
pub(super) fn metrics(page: &mut MetricsPage, subject: &AdminView) {
    let fleet = status(subject);
    let fleet = fleet.as_ref();
    let count = |page: &mut MetricsPage, name: &'static str, value: Option<u64>| {
        page.metric(name);
        if let Some(value) = value {
            page.count(&[], value);
        }
    };
    count(page, "pvtzd_fleet_revision", fleet.map(|fleet| fleet.revision.max(0) as u64));
    page.metric("pvtzd_fleet_behind_seconds");
    if let Some(fleet) = fleet {
        page.sample(&[], fleet.behind);
    }
    page.metric("pvtzd_fleet_state");
    for phase in FleetPhase::ALL {
        if let Some(fleet) = fleet {
            page.count(&[("state", phase.name())], u64::from(fleet.state == phase.name()));
        }
    }
    count(page, "pvtzd_fleet_rows", fleet.map(|fleet| fleet.rows as u64));
    count(page, "pvtzd_fleet_bad_rows", fleet.map(|fleet| fleet.bad_rows as u64));
    count(page, "pvtzd_fleet_digest_matches", fleet.map(|fleet| u64::from(fleet.whole)));
    count(page, "pvtzd_fleet_snapshot_up", fleet.map(|fleet| u64::from(fleet.snapshot_fault.is_none())));
    count(page, "pvtzd_fleet_applied_total", fleet.map(|fleet| fleet.applied));
    count(page, "pvtzd_fleet_compared_total", fleet.map(|fleet| fleet.compared));
    count(page, "pvtzd_fleet_failures_total", fleet.map(|fleet| fleet.failures));
    count(page, "pvtzd_fleet_commits_total", fleet.map(|fleet| fleet.commits));
    count(page, "pvtzd_fleet_lost_races_total", fleet.map(|fleet| fleet.lost_races));
}
