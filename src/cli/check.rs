//! `pvtzd check`: all errors of the configuration, and its expected answers.

use super::run::service_state_dir;
use super::{CommonArgs, exit, shown, tell_config_error};
use crate::base::clock::Clock;
use crate::base::terminal;
use crate::config::{self, Config, ConfigError, Expect, Expected, Fault, InstanceInfo, Severity};
use crate::daemon::secondaries;
use crate::engine::chain::{DryRun, DryRunEnd, dry_run};
use crate::engine::name::show;
use crate::engine::rcode::show_rcode;
use crate::engine::record::{show_type, show_value};
use crate::engine::request::Question;
use crate::engine::zone::ZoneAvailability;
use crate::host::unit::Unit;
use hickory_proto::op::ResponseCode;
use serde::Serialize;
use std::path::Path;

/// What `--json` prints.
#[derive(Serialize)]
struct CheckReport<'a> {
    /// The file; nothing for the built-in defaults.
    file: Option<String>,
    ok: bool,
    faults: &'a [Fault],
    expectations: Vec<ExpectationResult>,
    /// Problems that affect only the service.
    service: Vec<String>,
}

/// The result of an `[[expect]]` entry.
#[derive(Serialize)]
struct ExpectationResult {
    line: usize,
    query: String,
    #[serde(rename = "type")]
    rtype: String,
    client: String,
    met: bool,
    expected: String,
    found: String,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs) -> u8 {
    let path = match common.path() {
        Ok(path) => path,
        Err(error) => {
            tell_config_error(&error);
            return exit::CONFIG;
        }
    };
    let file = path.as_ref().map(|path| path.display().to_string());
    let (mut config, faults) = match common.load_from(path.as_deref()) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(ConfigError::Faults(faults)) => (None, faults),
        Err(error) => {
            tell_config_error(&error);
            return exit::CONFIG;
        }
    };
    let mut service = config.as_ref().map(|config| of_service(path.as_deref(), config)).unwrap_or_default();
    if let Some(config) = config.as_mut().filter(|config| !config.expects.is_empty()) {
        service.extend(with_copies(config));
    }
    let expectations = config.as_ref().map(meet).unwrap_or_default();
    let all_met = expectations.iter().all(|outcome| outcome.met);
    if common.json {
        let ok = config.is_some() && all_met;
        shown::json(&CheckReport { file, ok, faults: &faults, expectations, service });
    } else {
        for doubt in &service {
            eprintln!("warning: {doubt}\n");
        }
        print(file.as_deref(), config.as_ref(), &faults, &expectations);
    }
    match (config, all_met) {
        (None, _) => exit::CONFIG,
        (Some(_), false) => exit::FINDINGS,
        (Some(_), true) => exit::OK,
    }
}

/// Problems of the service, for its own configuration if its unit is installed.
fn of_service(path: Option<&Path>, config: &Config) -> Vec<String> {
    let path = path.filter(|path| *path == Path::new(config::SYSTEM));
    let unit = path.and_then(|_| Unit::installed(Path::new("/")));
    path.zip(unit).map(|(path, unit)| unit.doubts(path, config)).unwrap_or_default()
}

/// Gives secondary zones their saved copies, for the expectations; which of them have none.
fn with_copies(config: &mut Config) -> Vec<String> {
    let state_dir = config.server.state_dir.clone().or_else(service_state_dir);
    secondaries::restore(config, state_dir.as_deref(), Clock::start().now());
    let place = state_dir.map_or("no state_dir is set".to_string(), |place| place.display().to_string());
    let zones = config.secondaries.iter().filter_map(|secondary| config.zones.get(secondary.zone));
    let without = zones.filter(|(zone, _)| zone.availability == ZoneAvailability::NotTransferred);
    let told = without.map(|(zone, _)| {
        let zone = show(&zone.apex);
        format!("secondary zone {zone} has no saved copy ({place}): expectations for its names find SERVFAIL")
    });
    told.collect()
}

/// Runs the expectations on the engine, without a query.
fn meet(config: &Config) -> Vec<ExpectationResult> {
    let catalog = config.catalog(&InstanceInfo::default(), 1);
    let check = |expect: &Expect| {
        let view = catalog.view(expect.client);
        let outline = dry_run(view, &Question::new(expect.query.clone(), expect.rtype));
        ExpectationResult {
            line: expect.line,
            query: show(&expect.query),
            rtype: show_type(expect.rtype),
            client: expect.client.to_string(),
            met: is_met(&expect.answer, &outline),
            expected: describe_expected(&expect.answer),
            found: describe_found(&outline),
        }
    };
    config.expects.iter().map(check).collect()
}

fn is_met(expected: &Expected, outline: &DryRun) -> bool {
    let answered = |code| matches!(outline.end, DryRunEnd::Answered(rcode) if rcode == code);
    match expected {
        Expected::Values(values) => {
            values.iter().all(|value| outline.records.iter().any(|record| record.data == *value))
        }
        Expected::NxDomain => answered(ResponseCode::NXDomain),
        Expected::NoData => answered(ResponseCode::NoError) && outline.records.is_empty(),
        Expected::Forward => matches!(outline.end, DryRunEnd::Forwarded(_)),
    }
}

fn describe_expected(expected: &Expected) -> String {
    match expected {
        Expected::Values(values) => values.iter().map(show_value).collect::<Vec<_>>().join(", "),
        Expected::NxDomain => "NXDOMAIN".into(),
        Expected::NoData => "NODATA".into(),
        Expected::Forward => "FORWARD".into(),
    }
}

fn describe_found(outline: &DryRun) -> String {
    let mut words: Vec<String> = outline.records.iter().map(|record| show_value(&record.data)).collect();
    words.push(match &outline.end {
        DryRunEnd::Answered(rcode) => show_rcode(*rcode, outline.records.is_empty()),
        DryRunEnd::Forwarded(fetch) => format!("FORWARD of {}", show(&fetch.question.name)),
    });
    words.join(", ")
}

fn print(file: Option<&str>, config: Option<&Config>, faults: &[Fault], expectations: &[ExpectationResult]) {
    for fault in faults {
        eprintln!("{}\n", fault.render(terminal::is_styled(&std::io::stderr())));
    }
    for outcome in expectations.iter().filter(|outcome| !outcome.met) {
        let ExpectationResult { line, query, rtype, client, expected, found, .. } = outcome;
        eprintln!("expectation not met, line {line}: {query} {rtype} for client {client}");
        eprintln!("  expected {expected}\n  found    {found}\n");
    }
    let named = file.unwrap_or("the built-in configuration (no file)");
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
    let warnings = faults.len() - errors;
    let met = expectations.iter().filter(|outcome| outcome.met).count();
    match config {
        Some(config) => {
            let zones = config.catalog(&InstanceInfo::default(), 1).zones().len();
            let rules = config.forwards.len();
            println!(
                "{named}: {zones} zones, {rules} forwarding rules, {warnings} warnings, {met} of {} expectations met",
                expectations.len()
            );
        }
        None => println!("{named}: {errors} errors, {warnings} warnings"),
    }
}
