//! `pvtzd run`: from the configuration to a running server, and what happens to it until it stops.

use super::{Common, RunArgs, exit, is_colour_wanted, tell_config_error};
use crate::config::{Config, ConfigError};
use crate::daemon::{Daemon, Settings};
use crate::host::metadata;
use crate::ops::log;
use crate::serve::listen;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Descriptors that are enough for every limit in the configuration at its default.
const DESCRIPTORS: u64 = 65_536;

/// Where the metadata service is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataChoice {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for MetadataChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| "write ADDRESS:PORT or off".into()),
        }
    }
}

/// Carries the command out.
pub(super) fn run(common: &Common, args: &RunArgs) -> u8 {
    if log::set_up(&args.log).is_err() {
        eprintln!("error: logs were set up twice");
        return exit::SYSTEM;
    }
    // A panic in a task is caught by its runtime; it must not pass unseen.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a defect of pvtzd: please report it")));
    let path = common.path();
    let (config, warnings) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            tell_config_error(&error, path.as_deref());
            if let (ConfigError::Faults(faults), Some(path)) = (&error, &path) {
                eprintln!("error: {}: {} faults; not started", path.display(), faults.len());
            }
            return exit::CONFIG;
        }
    };
    for warning in &warnings {
        eprintln!("{}", warning.render(is_colour_wanted()));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("async").build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return exit::SYSTEM;
        }
    };
    allow_descriptors();
    let settings = settings(path, args, &config);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut listeners = Vec::new();
    for address in &settings.listen {
        match listen::bind(*address, threads) {
            Ok(listener) => listeners.push(listener),
            // Where IPv6 is switched off, `[::1]` beside `127.0.0.1` must not keep the service down.
            Err(error) if error.is_for_want_of_ipv6() && settings.listen.len() > 1 => {
                tracing::warn!(%address, "IPv6 is switched off on this machine: not listening there");
            }
            Err(error) => {
                eprintln!("error: {error}");
                return exit::BIND;
            }
        }
    }
    if listeners.is_empty() {
        eprintln!("error: no listen address can be had: IPv6 is switched off on this machine");
        return exit::BIND;
    }
    let code = runtime.block_on(async {
        match Daemon::start(config, settings, listeners) {
            Ok(daemon) => {
                daemon.run().await;
                exit::OK
            }
            Err(error) => {
                eprintln!("error: {error}");
                exit::SYSTEM
            }
        }
    });
    // Threads that wait for datagrams end with the process; so do tasks of connections.
    runtime.shutdown_background();
    code
}

/// Raises the number of descriptors that may be open to what the system allows: each question that waits for an
/// upstream may have a socket, and the usual soft limit of 1024 is soon reached.
fn allow_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(DESCRIPTORS);
        if soft < wanted { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// What the command line and the environment decide.
fn settings(path: Option<PathBuf>, args: &RunArgs, config: &Config) -> Settings {
    let listen = if args.listen.is_empty() { config.server.listen.clone() } else { args.listen.clone() };
    let disabled =
        std::env::var_os("ALIBABA_CLOUD_ECS_METADATA_DISABLED").is_some_and(|value| value == "true");
    let metadata = match args.metadata {
        Some(MetadataChoice::Off) => None,
        Some(MetadataChoice::At(address)) => Some(address),
        None => Some(metadata::SERVICE).filter(|_| !disabled),
    };
    let given = args.state_dir.clone().or_else(|| config.server.state_dir.clone());
    Settings { path, listen, metadata, state_dir: given.or_else(service_state_dir) }
}

/// The directory that systemd made for us (`StateDirectory=`); the first, if there are several.
fn service_state_dir() -> Option<PathBuf> {
    let value: OsString = std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty())?;
    let first = value.to_str().and_then(|text| text.split(':').next()).map(PathBuf::from);
    Some(first.unwrap_or_else(|| PathBuf::from(value)))
}
