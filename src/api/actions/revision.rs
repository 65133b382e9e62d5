//! `PvtzdMinRevision`: a call waits until the node has this revision, which another node of the fleet returned in
//! `x-pvtzd-revision`. A client that writes at one node can then read its change at any other.

use crate::api::{ApiError, Params};
use crate::fleet::FleetWriter;
use std::sync::Arc;
use std::time::Duration;

/// The parameter.
const PARAMETER: &str = "PvtzdMinRevision";

/// How long a call waits. A node that follows has each revision within a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the revision that a call asks for, if it asks.
///
/// # Errors
/// `InvalidParameter` for what is no revision, or where there is no fleet; `ServiceUnavailable` if it does not come in time.
pub(super) async fn wait(fleet: Option<&Arc<FleetWriter>>, params: &Params) -> Result<(), ApiError> {
    let Some(wanted) = params.integer(PARAMETER, 0..=i64::MAX as u64)? else { return Ok(()) };
    let Some(fleet) = fleet else {
        let why = "this node has no [fleet], and so no revisions: leave it out";
        return Err(ApiError::invalid(PARAMETER, why));
    };
    if fleet.reached(wanted as i64, PATIENCE).await {
        return Ok(());
    }
    let seconds = PATIENCE.as_secs();
    let message = format!(
        "This node has revision {} of the fleet and did not get {wanted} within {seconds} s; try again, or ask another \
         node. Revisions are lower after etcd was restored from a backup.",
        fleet.revision()
    );
    Err(ApiError::new("ServiceUnavailable", message).with_status(503))
}
