//! What the running server says of itself over its control socket: files whose former content it serves, services beside
//! DNS that do not work, addresses that have not come yet.

use super::Check;
use crate::admin::fleet::FleetStatus;
use crate::admin::status::Status;

/// What is shown of the server's state; nothing was asked where there is no control socket to ask.
pub(super) fn state(status: Option<&Status>) -> Vec<Check> {
    let Some(status) = status else {
        return vec![Check::skip(
            STEP,
            "no access to the control socket: pvtzd is not running, or the socket belongs to another user",
        )];
    };
    let mut checks = Vec::new();
    if !status.current {
        checks.push(Check::fail(
            STEP,
            "the last reload failed: the file differs from the configuration in force",
            "`pvtzd check` reports all errors; correct them and run `pvtzd reload`",
        ));
    }
    for file in &status.data_files.faulty {
        checks.push(Check::fail(
            STEP,
            format!("{} file {}: the former content is served: {}", file.kind, file.file, file.fault),
            "correct the file: pvtzd reloads it when it changes",
        ));
    }
    for zone in &status.secondaries {
        let fault = zone.fault.as_deref().unwrap_or("no primary was asked yet");
        let advice = "see that the primaries are up, that they allow the transfer, and that both sides have the same TSIG \
                      key and time";
        match zone.state.as_str() {
            "ready" => {
                if let (Some(fault), Some(left)) = (&zone.fault, zone.expires_in) {
                    let found =
                        format!("secondary zone {}: {fault}; its copy expires in {left} s", zone.zone);
                    checks.push(Check::warn(STEP, found, advice));
                }
            }
            "expired" => {
                let found = format!("secondary zone {} has expired and is not served: {fault}", zone.zone);
                checks.push(Check::fail(STEP, found, advice));
            }
            _ => {
                let found = format!("secondary zone {} has not been transferred: {fault}", zone.zone);
                checks.push(Check::fail(STEP, found, advice));
            }
        }
        if let Some(fault) = &zone.save_fault {
            let found = format!("the copy of secondary zone {} cannot be written: {fault}", zone.zone);
            checks.push(Check::warn(
                STEP,
                found,
                "without it the zone is not served after a restart with primaries down",
            ));
        }
    }
    for service in &status.auxiliary {
        if let Some(fault) = &service.fault {
            let found = format!("{} at {}: {fault}", service.service, service.at);
            let advice = "pvtzd retries every 5 s, and DNS is not affected";
            checks.push(Check::warn(STEP, found, advice));
        }
    }
    checks.extend(status.fleet.iter().flat_map(fleet));
    for address in &status.absent {
        checks.push(Check::warn(
            STEP,
            format!("no interface has the address of {address} yet"),
            "it is served as soon as an interface has it; if the address is wrong, change `[server] \
             listen` and restart",
        ));
    }
    if checks.is_empty() {
        let files = status.data_files.watched;
        let found = format!("files ({files} watched), services and addresses are as configured");
        checks.push(Check::pass(STEP, found));
    }
    checks
}

/// How the node stands in its fleet, where that is not well.
fn fleet(fleet: &FleetStatus) -> Vec<Check> {
    let mut checks = Vec::new();
    if !fleet.known {
        let advice = "it is tried again and again; see the endpoints, certificates and users in [fleet]";
        checks.push(Check::fail(
            STEP,
            "etcd was never reached and there is no snapshot: private names are unknown",
            advice,
        ));
    } else if fleet.behind > 60.0 {
        let found = format!("the fleet's rows are {:.0} s old: {}", fleet.behind, fleet.state);
        let fault = fleet.fault.clone().unwrap_or_else(|| "`pvtzd fleet status` tells more".into());
        checks.push(Check::warn(STEP, found, fault));
    }
    if let Some((removes, of)) = fleet.held {
        let found = format!("a change of the fleet removes {removes} of {of} rows and is held");
        checks.push(Check::warn(STEP, found, "`pvtzd fleet accept` takes it; or undo it in etcd"));
    }
    for (key, fault) in &fleet.bad {
        let found = format!("row {key} makes no sense here: {fault}");
        checks.push(Check::warn(
            STEP,
            found,
            "its last good value is served; mend the row, or install a newer pvtzd",
        ));
    }
    if let Some(fault) = &fleet.snapshot_fault {
        checks.push(Check::warn(
            STEP,
            format!("the fleet's snapshot: {fault}"),
            "a start without etcd would serve old rows",
        ));
    }
    checks
}

/// The step.
const STEP: &str = "state";
