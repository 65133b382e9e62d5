//! What status and metrics tell of secondary zones.

use super::AdminView;
use super::prometheus::MetricsPage;
use crate::engine::cache::Timestamp;
use crate::engine::name::show;
use crate::engine::zone::ZoneAvailability;
use crate::upstream::transfer::secondary::SecondaryZone;
use serde::{Deserialize, Serialize};

/// Zones that have series of their own.
const LABELLED: usize = 1000;

/// A secondary zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecondaryStatus {
    /// The zone.
    pub zone: String,
    /// The VPCs whose clients see it; empty for all clients.
    pub vpcs: Option<Vec<String>>,
    /// `ready`, `not_transferred` or `expired`.
    pub state: String,
    /// The serial of the copy.
    pub serial: Option<u32>,
    /// Records of the copy.
    pub records: usize,
    /// Records of the last full transfer that were left out because they are outside the zone.
    pub outside: usize,
    /// The primary that answered last.
    pub primary: Option<String>,
    /// Seconds since a primary confirmed the copy.
    pub confirmed_ago: Option<u64>,
    /// Seconds until the copy expires.
    pub expires_in: Option<u64>,
    /// Seconds until the next query to a primary.
    pub next_in: u64,
    /// The error of the last conversation; None after a success.
    pub fault: Option<String>,
    /// The error of writing the copy; None after a success.
    pub save_fault: Option<String>,
    /// Refreshes without a newer serial.
    pub current: u64,
    /// Full transfers.
    pub full: u64,
    /// Incremental transfers.
    pub incremental: u64,
    /// Failed refreshes.
    pub failed: u64,
    /// Accepted NOTIFY messages.
    pub notifies: u64,
}

/// All secondary zones.
pub(super) fn read(subject: &AdminView) -> Vec<SecondaryStatus> {
    let now = subject.live.clock.now();
    subject.live.secondaries.all().iter().map(|zone| status(zone, now)).collect()
}

fn status(zone: &SecondaryZone, now: Timestamp) -> SecondaryStatus {
    let (plan, state) = (zone.plan(), zone.state());
    let until = |then: Timestamp| then.since(now) / 1000;
    let counts = state.counts;
    SecondaryStatus {
        zone: show(&plan.apex.to_name()),
        vpcs: plan.vpcs.clone(),
        state: match (state.serial, state.availability) {
            (None, _) | (_, ZoneAvailability::NotTransferred) => "not_transferred",
            (_, ZoneAvailability::Expired) => "expired",
            (_, ZoneAvailability::Ready) => "ready",
        }
        .into(),
        serial: state.serial,
        records: state.records,
        outside: state.outside,
        primary: state.primary.map(|primary| primary.to_string()),
        confirmed_ago: state.confirmed.map(|then| now.since(then) / 1000),
        expires_in: state.expires.map(until),
        next_in: state.next.map_or(0, until),
        fault: state.fault,
        save_fault: state.save_fault,
        current: counts.current,
        full: counts.full,
        incremental: counts.incremental,
        failed: counts.failed,
        notifies: counts.notifies,
    }
}

/// The metrics.
pub(super) fn render(page: &mut MetricsPage, subject: &AdminView) {
    let zones: Vec<_> = read(subject).into_iter().take(LABELLED).collect();
    let labels: Vec<(&str, String)> = zones
        .iter()
        .map(|zone| (zone.zone.as_str(), zone.vpcs.as_ref().map(|vpcs| vpcs.join(" ")).unwrap_or_default()))
        .collect();
    let mut each = |metric, value: &dyn Fn(&SecondaryStatus) -> Option<u64>| {
        page.metric(metric);
        for (zone, (name, vpcs)) in zones.iter().zip(&labels) {
            if let Some(value) = value(zone) {
                page.count(&[("zone", name), ("vpcs", vpcs)], value);
            }
        }
    };
    each("pvtzd_secondary_up", &|zone| Some(u64::from(zone.state == "ready")));
    each("pvtzd_secondary_serial", &|zone| zone.serial.map(u64::from));
    each("pvtzd_secondary_expires_seconds", &|zone| zone.expires_in);
    page.metric("pvtzd_secondary_transfers_total");
    for (zone, (name, vpcs)) in zones.iter().zip(&labels) {
        for (result, count) in [
            ("current", zone.current),
            ("full", zone.full),
            ("incremental", zone.incremental),
            ("failed", zone.failed),
        ] {
            page.count(&[("zone", name), ("vpcs", vpcs), ("result", result)], count);
        }
    }
    let taken = zones.iter().map(|zone| zone.notifies).sum();
    page.metric("pvtzd_secondary_notifies_total");
    page.count(&[("result", "taken")], taken);
    page.count(&[("result", "refused")], subject.live.secondaries.refused());
}
