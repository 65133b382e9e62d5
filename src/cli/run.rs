//! `pvtzd run`: starts the server and runs it until it stops.

use super::{CommonArgs, RunArgs, exit, tell_config_error};
use crate::admin::sd_notify::Supervisor;
use crate::admin::{log, server};
use crate::api::server::{BoundApi, PrepareError};
use crate::base::terminal;
use crate::config::{self, Config, ConfigError};
use crate::daemon::{Daemon, DaemonSettings};
use crate::fleet::PreparedFleet;
use crate::host::metadata::MetadataChoice;
use crate::server::activation;
use crate::server::encrypted::{Encrypted, EncryptedError};
use crate::server::listen;
use crate::server::listen::Listener;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Sufficient file descriptors for the default limits of the configuration.
const DESCRIPTORS: u64 = 65_536;

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &RunArgs) -> u8 {
    if log::set_up(&args.log).is_err() {
        eprintln!("error: logging was initialised twice");
        return exit::SYSTEM;
    }
    // The runtime catches a panic in a task; it must be logged.
    std::panic::set_hook(Box::new(|panic| match std::thread::current().name() {
        Some(crate::store::READER | crate::fleet::snapshot::SNAPSHOT_READER) => {
            tracing::debug!(%panic, "the store's file is invalid")
        }
        _ => tracing::error!(%panic, "a defect of pvtzd: please report it"),
    }));
    let loaded = common.path().and_then(|path| {
        let loaded = common.load_from(path.as_deref());
        loaded.map(|(config, warnings)| (path, config, warnings))
    });
    let (path, config, warnings) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            tell_config_error(&error);
            if let ConfigError::Faults(faults) = &error {
                let file = faults.first().map(|fault| fault.file.display().to_string()).unwrap_or_default();
                eprintln!("error: {file}: {} faults; not started", faults.len());
            }
            return exit::CONFIG;
        }
    };
    for warning in &warnings {
        eprintln!("{}", warning.render(terminal::is_styled(&std::io::stderr())));
    }
    // Before there are threads: taking sockets over changes the environment.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let handed_over = match activation::take(threads) {
        Ok(listeners) => listeners,
        Err(error) => {
            eprintln!("error: {error}");
            return exit::BIND;
        }
    };
    let supervisor = Supervisor::from_environment().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot notify the service manager: is $NOTIFY_SOCKET valid?");
        Supervisor::default()
    });
    // One for each processor that serves, one for each that does the rest, and some for files.
    if let Err(error) = try_threads(2 * threads + 2) {
        eprintln!("error: cannot start threads: {error}");
        eprintln!("hint: the thread limit is reached: TasksMax= of the unit, or `ulimit -u`");
        return exit::SYSTEM;
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
    let settings = settings(path, args, &config, supervisor);
    let listeners = if handed_over.is_empty() {
        match bind(&settings.listen, threads) {
            Ok(listeners) => listeners,
            Err(code) => return code,
        }
    } else {
        tell_whose_sockets(&handed_over, &settings.listen);
        handed_over
    };
    let secured = match Encrypted::prepare(&config.server) {
        Ok(secured) => secured,
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                EncryptedError::Bind(_) => exit::BIND,
                EncryptedError::Certificate(_) => exit::CONFIG,
            };
        }
    };
    let api = match config.control.as_ref().map(|control| match &config.fleet {
        Some(_) => BoundApi::in_fleet(control, settings.state_dir.as_deref()),
        None => BoundApi::new(control, settings.state_dir.as_deref()),
    }) {
        None => None,
        Some(Ok(api)) => Some(api),
        Some(Err(error)) => {
            eprintln!("error: {error}");
            return match error {
                PrepareError::Keys(_) => exit::CONFIG,
                PrepareError::Store(_) => exit::SYSTEM,
            };
        }
    };
    let reading = config.control.as_ref().map(|control| control.reading).unwrap_or_default();
    let prepare = |fleet| PreparedFleet::new(fleet, settings.state_dir.as_deref(), reading);
    let fleet = match config.fleet.as_ref().map(prepare).transpose() {
        Ok(fleet) => fleet,
        Err(error) => {
            eprintln!("error: the snapshot of the fleet cannot be opened: {error}");
            return exit::SYSTEM;
        }
    };
    let operations = server::BoundAdmin::new(&config.ops, &config.log);
    let code = runtime.block_on(async {
        match Daemon::start(config, settings, listeners, secured, api, fleet, operations) {
            Ok(daemon) => {
                daemon.run().await;
                exit::OK
            }
            Err(error) => {
                eprintln!("error: cannot start to serve: {error}");
                exit::SYSTEM
            }
        }
    });
    // Threads that wait for datagrams end with the process; so do tasks of connections.
    runtime.shutdown_background();
    code
}

/// Starts this many threads at once, for a moment. The runtime panics, and hangs, where it cannot have those that it needs.
fn try_threads(count: usize) -> std::io::Result<()> {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
    let mut threads = Vec::new();
    let tried = (0..count).try_for_each(|_| {
        let ended = ended.clone();
        let wait = move || drop(ended.lock().map(|ended| ended.recv()));
        threads.push(std::thread::Builder::new().stack_size(16 << 10).spawn(wait)?);
        Ok(())
    });
    drop(end);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    tried
}

/// Binds the addresses, with a UDP socket of each for each thread; prints errors.
fn bind(addresses: &[SocketAddr], threads: usize) -> Result<Vec<Listener>, u8> {
    let mut listeners = Vec::new();
    for address in addresses {
        match listen::bind(*address, threads) {
            Ok(listener) => listeners.push(listener),
            // If IPv6 is disabled, `[::1]` beside `127.0.0.1` must not prevent the start.
            Err(error) if error.is_for_want_of_ipv6() && addresses.len() > 1 => {
                tracing::warn!(%address, "IPv6 is disabled on this machine: not listening on this address");
            }
            Err(error) => {
                eprintln!("error: {error}");
                return Err(exit::BIND);
            }
        }
    }
    if listeners.is_empty() {
        eprintln!("error: no listen address is available: IPv6 is disabled on this machine");
        return Err(exit::BIND);
    }
    Ok(listeners)
}

/// Logs that the service manager's sockets are served, as a warning if they differ from the configured addresses.
fn tell_whose_sockets(handed_over: &[Listener], asked_for: &[SocketAddr]) {
    let missed: Vec<String> = missed(handed_over, asked_for).map(ToString::to_string).collect();
    if missed.is_empty() || asked_for == Config::default().server.listen {
        tracing::info!("listening on the sockets of the service manager");
        return;
    }
    tracing::warn!(
        not_served = missed.join(", "),
        "listening on the sockets of the service manager, not on the configured addresses: change them \
         with `systemctl edit pvtzd.socket`, or use the configured ones after `systemctl mask --now \
         pvtzd.socket`"
    );
}

/// Addresses of the configuration that are not served. One of loopback's is as good as another on the same port.
fn missed<'a>(
    handed_over: &'a [Listener],
    asked_for: &'a [SocketAddr],
) -> impl Iterator<Item = &'a SocketAddr> {
    asked_for.iter().filter(|wanted| {
        !handed_over.iter().map(|listener| listener.address).any(|served| {
            let same_machine = served.ip().is_loopback() && wanted.ip().is_loopback();
            served.port() == wanted.port() && (same_machine || served.ip() == wanted.ip())
        })
    })
}

/// Raises the number of descriptors that may be open to what the system allows: each question that waits for an
/// upstream may have a socket, and the usual soft limit of 1024 is soon reached.
fn allow_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(DESCRIPTORS);
        if soft < wanted { setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Settings of the command line and the environment.
fn settings(
    path: Option<PathBuf>,
    args: &RunArgs,
    config: &Config,
    supervisor: Supervisor,
) -> DaemonSettings {
    let listen = if args.listen.is_empty() { config.server.listen.clone() } else { args.listen.clone() };
    let metadata = MetadataChoice::or_default(args.metadata);
    let given = args.state_dir.clone().or_else(|| config.server.state_dir.clone());
    let state_dir = given.or_else(service_state_dir);
    let look_for = Some(PathBuf::from(config::SYSTEM));
    DaemonSettings { path, look_for, listen, metadata, state_dir, supervisor, quiet: false }
}

/// The directory that systemd made for us (`StateDirectory=`); the first, if there are several.
pub(super) fn service_state_dir() -> Option<PathBuf> {
    let value: OsString = std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty())?;
    let first = value.to_str().and_then(|text| text.split(':').next()).map(PathBuf::from);
    Some(first.unwrap_or_else(|| PathBuf::from(value)))
}
