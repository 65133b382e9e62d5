//! `pvtzd status`: the state of the running server, once or live.

use super::socket::{SocketClient, read};
use super::{CommonArgs, StatusArgs, exit, shown, table};
use crate::admin::fleet::FleetStatus;
use crate::admin::secondary::SecondaryStatus;
use crate::admin::socket::SocketCommand;
use crate::admin::status::{Status, quantile};
use crate::base::print;
use crate::base::print::Output;
use crate::base::terminal::CLEAR;
use crate::engine::text::printable;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &StatusArgs) -> Result<u8, u8> {
    let mut line = SocketClient::open(common, args.socket.as_deref())?;
    let mut before: Option<Status> = None;
    loop {
        let value = line.call(&SocketCommand::Status)?;
        if common.json {
            match args.watch {
                true => println!("{}", shown::tame_json(&value.to_string())),
                false => shown::json(&value),
            }
        } else {
            let status: Status = read(value)?;
            let page = page(&status, before.as_ref());
            let clear = args.watch && std::io::stdout().is_terminal();
            print!("{}{page}", if clear { CLEAR } else { "" });
            before = Some(status);
        }
        if !args.watch {
            return Ok(exit::OK);
        }
        if print::flush() != Output::Open {
            return Ok(exit::OK); // the reader has ended
        }
        thread::sleep(Duration::from_secs_f64(args.every.max(0.1)));
    }
}

/// The page; rates are since `before`, else since start.
fn page(status: &Status, before: Option<&Status>) -> String {
    let mut out = String::new();
    // formatting into a string does not fail
    let mut line = |text: String| {
        let _ = writeln!(out, "{}", printable(&text));
    };
    let since = |now: u64, read: fn(&Status) -> u64| now.saturating_sub(before.map_or(0, read));
    let seconds = (status.uptime - before.map_or(0.0, |before| before.uptime)).max(0.001);
    let queries = &status.queries;
    let ready = if status.ready { "ready" } else { "not ready" };
    line(format!(
        "pvtzd {} {ready}, process {}, up {}, on {}",
        status.version,
        status.pid,
        duration(status.uptime),
        status.listen.join(", ")
    ));
    if !status.absent.is_empty() {
        line(format!(
            "ABSENT     no interface has {} yet: served once an interface has it",
            status.absent.join(", ")
        ));
    }
    let answered = since(queries.answered, |s| s.queries.answered);
    let fast = since(queries.fast, |s| s.queries.fast);
    line(format!(
        "queries    {} in all, {:.1}/s{}, {}% from the packet cache, {} waiting, {} dropped",
        queries.asked,
        since(queries.asked, |s| s.queries.asked) as f64 / seconds,
        if before.is_some() { "" } else { " since start" },
        percent(fast, answered),
        queries.waiting,
        queries.dropped,
    ));
    if queries.rate_limited > 0 {
        let now = since(queries.rate_limited, |s| s.queries.rate_limited) as f64 / seconds;
        line(format!("rate limit {} UDP queries limited, {now:.1}/s", queries.rate_limited));
    }
    let rcodes: Vec<String> = queries.rcodes.iter().map(|(name, count)| format!("{name} {count}")).collect();
    line(format!("answers    {}", if rcodes.is_empty() { "none yet".into() } else { rcodes.join(", ") }));
    let durations: Vec<u64> = match before {
        Some(before) => {
            let both = queries.durations.iter().zip(&before.queries.durations);
            both.map(|(now, then)| now.saturating_sub(*then)).collect()
        }
        None => queries.durations.clone(),
    };
    let within = |share| quantile(&durations, share).map_or("-".into(), |ms| format!("{ms} ms"));
    line(format!("latency    50% within {}, 99% within {}", within(0.5), within(0.99)));
    let cache = &status.cache;
    let (hits, misses) = (since(cache.hits, |s| s.cache.hits), since(cache.misses, |s| s.cache.misses));
    line(format!(
        "cache      {}% hits, {} entries, {} packets, {:.1} MiB, {} stale, {} evicted",
        percent(hits, hits + misses),
        cache.entries,
        cache.finished,
        cache.bytes as f64 / f64::from(1 << 20),
        cache.stale,
        cache.evictions,
    ));
    if let Some(api) = &status.api {
        line(format!(
            "api        {}, {} zones, {} requests, {} refused",
            api.listen.join(", "),
            api.zones,
            api.requests,
            api.refused
        ));
    }
    if let Some(fleet) = &status.fleet {
        fleet_lines(fleet).into_iter().for_each(&mut line);
    }
    let reload = if status.current {
        ""
    } else {
        "; THE LAST ONE FAILED: the file differs from the configuration in \
                             force"
    };
    line(format!("reloads    {}, {} failed{reload}", status.reloads, status.reloads_failed));
    let files = &status.data_files;
    if files.watched > 0 {
        line(format!(
            "files      {} watched, {} reloads, {} failed",
            files.watched, files.reads, files.failures
        ));
    }
    for file in &files.faulty {
        line(format!(
            "FAULTY     {} file {}: the former content is served: {}",
            file.kind, file.file, file.fault
        ));
    }
    if let Some(retained) = &status.retained {
        line(format!(
            "retained   {} names, {:.1} MiB, {} refreshed, {} denials held back, {} confirmed, {} served in place of a failure",
            retained.names,
            retained.bytes as f64 / f64::from(1 << 20),
            retained.refreshed,
            retained.held,
            retained.confirmed,
            retained.served,
        ));
        if !retained.denied.is_empty() {
            line(format!("DENIED     not believed yet: {}", retained.denied.join(", ")));
        }
    }
    for zone in &status.secondaries {
        let bad = |what: &str| {
            let fault = zone.fault.as_deref().unwrap_or("no primary was asked yet");
            format!("{what} secondary zone {}: {fault}", zone.zone)
        };
        match (zone.state.as_str(), &zone.fault) {
            ("ready", Some(_)) => line(bad("UNSURE    ")),
            ("ready", None) => {}
            ("expired", _) => line(bad("EXPIRED   ")),
            _ => line(bad("MISSING   ")),
        }
        if let Some(fault) = &zone.save_fault {
            line(format!("UNSAVED    secondary zone {}: its copy cannot be written: {fault}", zone.zone));
        }
    }
    for (watcher, missed) in status.missed.iter().filter(|(_, missed)| **missed > 0) {
        line(format!("lost       {missed} messages of {watcher}"));
    }
    for service in &status.auxiliary {
        if let Some(fault) = &service.fault {
            line(format!(
                "FAILING    {} at {}: {fault} ({} times)",
                service.service, service.at, service.failures
            ));
        }
    }
    if queries.panics > 0 {
        line(format!(
            "DEFECTS    {} packets failed because of a defect in pvtzd: please report it",
            queries.panics
        ));
    }
    if !status.upstreams.is_empty() {
        let rows: Vec<Vec<String>> = status
            .upstreams
            .iter()
            .map(|server| {
                let rtt = server.rtt_ms.map_or("-".into(), |rtt| format!("{rtt:.1} ms"));
                vec![
                    server.server.clone(),
                    server.group.clone(),
                    server.state.clone(),
                    rtt,
                    server.queries.to_string(),
                    server.failures.to_string(),
                    server.in_flight.to_string(),
                ]
            })
            .collect();
        let head = ["UPSTREAM", "GROUP", "STATE", "RTT", "QUERIES", "FAILED", "WAITING"];
        let _ = write!(out, "\n{}", table::text(&head, &rows));
    }
    if !status.secondaries.is_empty() {
        let rows: Vec<Vec<String>> = status.secondaries.iter().map(secondary).collect();
        let head = ["SECONDARY", "STATE", "SERIAL", "RECORDS", "PRIMARY", "CONFIRMED", "EXPIRES", "NEXT"];
        let _ = write!(out, "\n{}", table::text(&head, &rows));
    }
    if !status.busiest.is_empty() {
        let rows: Vec<Vec<String>> = status
            .busiest
            .iter()
            .map(|busy| vec![busy.zone.clone(), busy.vpc.clone(), busy.answers.to_string()])
            .collect();
        let title = format!("ZONE ({} in all)", status.zones);
        let _ = write!(out, "\n{}", table::text(&[&title, "VPC", "ANSWERS"], &rows));
    }
    out
}

/// The row of a secondary zone.
fn secondary(zone: &SecondaryStatus) -> Vec<String> {
    let within = |seconds: Option<u64>, form: fn(String) -> String| {
        seconds.map_or("-".into(), |seconds| form(duration(seconds as f64)))
    };
    let vpcs = zone.vpcs.as_ref().map(|vpcs| format!(" ({})", vpcs.join(", "))).unwrap_or_default();
    vec![
        format!("{}{vpcs}", zone.zone),
        zone.state.replace('_', " "),
        zone.serial.map_or("-".into(), |serial| serial.to_string()),
        zone.records.to_string(),
        zone.primary.clone().unwrap_or("-".into()),
        within(zone.confirmed_ago, |text| format!("{text} ago")),
        within(zone.expires_in, |text| format!("in {text}")),
        within(Some(zone.next_in), |text| format!("in {text}")),
    ]
}

/// How the node stands in its fleet.
fn fleet_lines(fleet: &FleetStatus) -> Vec<String> {
    let behind =
        if fleet.behind > 0.0 { format!(", behind {}", duration(fleet.behind)) } else { String::new() };
    let mut lines = vec![format!(
        "fleet      {} {}{behind}, revision {}, {} rows",
        fleet.node, fleet.state, fleet.revision, fleet.rows
    )];
    if !fleet.known {
        lines.push(
            "NO ROWS    etcd was never reached and there is no snapshot: private names are unknown".into(),
        );
    }
    if let Some(fault) = &fleet.fault {
        lines.push(format!("FAILING    etcd: {fault}"));
    }
    if let Some((removes, of)) = fleet.held {
        lines.push(format!(
            "HELD       a change removes {removes} of {of} rows: `pvtzd fleet accept` takes it"
        ));
    }
    if !fleet.whole {
        lines.push("DIGEST     the rows are not those of the head: were they changed by hand?".into());
    }
    for (key, fault) in &fleet.bad {
        lines.push(format!("BAD ROW    {key}: its last good value is served: {fault}"));
    }
    if let Some(fault) = &fleet.snapshot_fault {
        lines.push(format!("SNAPSHOT   cannot be written: {fault}"));
    }
    lines
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 { "-".into() } else { format!("{:.1}", part as f64 * 100.0 / all as f64) }
}

/// A time in the two largest units.
fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [(5.9, "5s"), (65.0, "1m5s"), (3700.0, "1h1m"), (100_000.0, "1d3h")] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!((percent(1, 0), percent(1, 3)), ("-".into(), "33.3".into()));
    }
}
