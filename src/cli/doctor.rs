//! `pvtzd doctor`: checks each step and prints remedies.

use super::{CommonArgs, exit, shown, socket, tell_config_error};
use crate::base::terminal::{self, Style};
use crate::config::{Config, ConfigError};
use crate::engine::text::printable;
use crate::host::doctor::{self, Check, CheckOutcome, DoctorSettings};
use crate::host::metadata::MetadataChoice;
use crate::host::resolver::store;
use clap::Args;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of `doctor`.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Addresses that pvtzd listens on, if not the configured ones; may be repeated
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// The instance metadata service: an address, or "off" [default: 100.100.100.200:80]
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    metadata: Option<MetadataChoice>,
    /// Directory in which `resolver take` saved the former state
    #[arg(long, value_name = "DIR", default_value = store::DIRECTORY)]
    state_dir: PathBuf,
    /// Resolvers of the VPC
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    vpc_resolver: Vec<SocketAddr>,
    /// Port of the API
    #[arg(long, value_name = "PORT", default_value_t = 443, hide = true)]
    api_port: u16,
}

/// What `--json` prints.
#[derive(Serialize)]
struct DoctorReport {
    ok: bool,
    checks: Vec<Check>,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &DoctorArgs) -> u8 {
    let (config, warnings) = match common.load() {
        Ok((config, warnings)) => (config, warnings.len()),
        Err(error) => return unusable(common, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return exit::SYSTEM;
        }
    };
    let settings = settings(args, &config);
    let mut checks = Vec::new();
    runtime.block_on(doctor::examine(config, warnings, settings, |check| {
        if !common.json {
            print(&check);
        }
        checks.push(check);
    }));
    // Does not wait for commands that hang.
    runtime.shutdown_background();
    let failed = checks.iter().filter(|check| check.outcome == CheckOutcome::Fail).count();
    if common.json {
        shown::json(&DoctorReport { ok: failed == 0, checks });
    } else {
        let of = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        println!(
            "\n{} passed, {} warnings, {failed} failed, {} skipped",
            of(CheckOutcome::Pass),
            of(CheckOutcome::Warn),
            of(CheckOutcome::Skip)
        );
    }
    if failed == 0 { exit::OK } else { exit::FINDINGS }
}

/// The settings of the checks, from the command line and the configuration.
fn settings(args: &DoctorArgs, config: &Config) -> DoctorSettings {
    let or = |given: &[SocketAddr], default: &[SocketAddr]| {
        if given.is_empty() { default.to_vec() } else { given.to_vec() }
    };
    DoctorSettings {
        listen: or(&args.listen, &config.server.listen),
        metadata: MetadataChoice::or_default(args.metadata),
        vpc_resolvers: or(&args.vpc_resolver, &doctor::VPC_RESOLVERS),
        store: args.state_dir.clone(),
        api_port: args.api_port,
        status: socket::status_if_running(config),
    }
}

/// Without a configuration nothing else can be checked.
fn unusable(common: &CommonArgs, error: &ConfigError) -> u8 {
    let found = match error {
        ConfigError::Io { .. } => error.to_string(),
        ConfigError::Faults(faults) => format!("{} faults", faults.len()),
    };
    let check = doctor::without_configuration(found);
    if common.json {
        shown::json(&DoctorReport { ok: false, checks: vec![check] });
    } else {
        tell_config_error(error);
        print(&check);
    }
    exit::FINDINGS
}

/// One line for the result, one for the remedy.
fn print(check: &Check) {
    let (word, style) = match check.outcome {
        CheckOutcome::Pass => ("pass", Style::Green),
        CheckOutcome::Warn => ("warn", Style::Yellow),
        CheckOutcome::Fail => ("FAIL", Style::Red),
        CheckOutcome::Skip => ("skip", Style::Faint),
    };
    let word = style.paint(terminal::is_styled(&io::stdout()), word);
    println!("{word}  {:<13} {}", check.step, printable(&check.found));
    if let Some(advice) = &check.advice {
        println!("      {:<13} -> {}", "", printable(advice));
    }
}
