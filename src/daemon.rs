//! The running server: what starts it, what changes it, what stops it.
//!
//! One task hears of everything that changes what is published: a reload, another resolv.conf, the answer of the
//! metadata service. Each builds the whole anew from what is known and swaps it in.

use crate::config::{self, Cache, Config, ConfigError, Instance, Servers};
use crate::engine::cache::Lifetimes;
use crate::engine::name::show;
use crate::host::metadata;
use crate::serve::errands;
use crate::serve::listen::Listener;
use crate::serve::tcp::{self, Connections, TcpBounds};
use crate::serve::udp;
use crate::state::answers::PreparedAnswers;
use crate::state::cache::AnswerCache;
use crate::state::clock::Clock;
use crate::state::limits::Limits;
use crate::state::publish::{self, Surroundings};
use crate::state::{Live, Published, snapshot};
use crate::upstream::system::{self, Paths};
use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long queries in flight may go on after the signal to stop: no client waits longer.
const DRAIN: Duration = Duration::from_millis(4200);

/// How often the metadata service is asked before it is given up; the pause doubles from a second.
const METADATA_TRIES: u32 = 8;

/// What the command line decides, once and for all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file; nothing for the built-in defaults.
    pub path: Option<PathBuf>,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where the metadata service is, if it is to be asked.
    pub metadata: Option<SocketAddr>,
    /// Where state is kept, if it is.
    pub state_dir: Option<PathBuf>,
}

/// The running server.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    config: Config,
    around: Surroundings,
    live: Arc<Live>,
    listening: Vec<SocketAddr>,
    serial: u32,
    signals: Signals,
    /// Where the answer of the metadata service comes.
    told: (mpsc::Sender<Instance>, mpsc::Receiver<Instance>),
    /// The metadata service is being asked, or was.
    asked: bool,
}

#[derive(Debug)]
struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Daemon {
    /// Begins to serve on sockets that are bound. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A thread or a signal handler cannot be had.
    pub fn start(config: Config, settings: Settings, listeners: Vec<Listener>) -> io::Result<Self> {
        let signals = Signals {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let listening: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
        let around =
            Surroundings { instance: Instance::default(), system: system_servers(&config, &listening) };
        let serial = next_serial(0);
        let published = publish::build(&config, &around, None, serial);
        let clock = Clock::start();
        // What is asked again and again is kept twice: as what upstreams said, and finished for the fast lane.
        let finished = config.cache.size / 3;
        let cache = AnswerCache::new(config.cache.size - finished, lifetimes(&config.cache));
        restore(&cache, settings.state_dir.as_deref(), &clock);
        let limits = Limits::new(config.server.max_in_flight);
        let live = Live::new(
            published,
            clock,
            cache,
            PreparedAnswers::new(finished),
            limits,
            config.cache.stale_answer_after,
        );
        let told = mpsc::channel(1);
        let daemon = Self { settings, config, around, live, listening, serial, signals, told, asked: false };
        daemon.serve(listeners)?;
        daemon.watch_for_loops(None);
        daemon.greet();
        Ok(daemon)
    }

    /// Serves until it is told to stop, then lets queries in flight end.
    pub async fn run(mut self) {
        self.ask_metadata();
        let mut resolv_conf = Paths::default().watch();
        let mut snapshots = tokio::time::interval(self.config.cache.snapshot_every);
        snapshots.tick().await; // the first tick is now
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.reload.recv() => self.reload(),
                Some(instance) = self.told.1.recv() => self.learn(instance),
                () = resolv_conf.changed() => self.look_at_system(),
                _ = snapshots.tick() => self.save().await,
            }
        }
        tracing::info!(in_flight = self.live.limits.in_flight(), "stopping");
        let drained = async {
            while self.live.limits.in_flight() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(DRAIN, drained).await; // what is not done by then waits for nobody any more
        self.save().await;
    }

    /// Starts threads and tasks for the listeners.
    fn serve(&self, listeners: Vec<Listener>) -> io::Result<()> {
        let bounds = TcpBounds {
            connections: self.config.server.max_tcp_connections,
            per_client: self.config.server.max_tcp_per_client,
            pipeline: self.config.server.tcp_pipeline,
            idle: self.config.server.tcp_idle,
        };
        let connections = Connections::default();
        let errands = errands::start(&self.live)?;
        for listener in listeners {
            for socket in listener.udp {
                udp::serve(socket, self.live.clone(), errands.clone(), Handle::current())?;
            }
            let tcp = tokio::net::TcpListener::from_std(listener.tcp)?;
            tokio::spawn(tcp::serve(tcp, self.live.clone(), bounds.clone(), connections.clone()));
        }
        Ok(())
    }

    /// Reads the configuration again. With a fault in it nothing changes.
    fn reload(&mut self) {
        let loaded = match &self.settings.path {
            Some(path) => config::load(path),
            None => Ok((Config::default(), Vec::new())),
        };
        let config = match loaded {
            Ok((config, warnings)) => {
                for warning in &warnings {
                    eprintln!("{warning}"); // as at start: the log would hold some back
                }
                config
            }
            Err(ConfigError::Io { source: error, .. }) => {
                tracing::error!(%error, "the configuration cannot be read; the former one stays in force");
                return;
            }
            Err(ConfigError::Faults(faults)) => {
                for fault in &faults {
                    eprintln!("{fault}"); // all of them: the log would hold some back
                }
                tracing::error!(
                    faults = faults.len(),
                    "the configuration is wrong; the former one stays in force"
                );
                return;
            }
        };
        self.tell_what_needs_a_restart(&config);
        self.config = config;
        self.around.system = system_servers(&self.config, &self.listening);
        self.publish();
        self.ask_metadata();
        tracing::info!(zones = self.live.published().catalog.zones().len(), "reloaded");
    }

    /// Settings that sockets and tables were made by.
    fn tell_what_needs_a_restart(&self, config: &Config) {
        let (new, old) = (&config.server, &self.config.server);
        let changed = [
            ("server.listen", new.listen != old.listen),
            ("server.max_in_flight", new.max_in_flight != old.max_in_flight),
            ("server.max_tcp_connections", new.max_tcp_connections != old.max_tcp_connections),
            ("server.max_tcp_per_client", new.max_tcp_per_client != old.max_tcp_per_client),
            ("server.tcp_pipeline", new.tcp_pipeline != old.tcp_pipeline),
            ("server.tcp_idle", new.tcp_idle != old.tcp_idle),
            ("server.state_dir", new.state_dir != old.state_dir),
            ("cache", config.cache != self.config.cache),
        ];
        for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "this change counts from the next start");
        }
    }

    /// The metadata service has told where we are.
    fn learn(&mut self, instance: Instance) {
        tracing::info!(
            region = instance.region.as_deref().unwrap_or("unknown"),
            vpc = instance.vpc_id.as_deref().unwrap_or("unknown"),
            "the metadata service answered"
        );
        for note in self.config.endpoint_notes(&instance) {
            tracing::warn!("{note}");
        }
        self.around.instance = instance;
        self.publish();
    }

    /// The system's resolver configuration has changed.
    fn look_at_system(&mut self) {
        if self.config.upstream.servers != Servers::System {
            return;
        }
        let servers = system_servers(&self.config, &self.listening);
        if servers != self.around.system {
            let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
            tracing::info!(servers = shown.join(", "), "the system's upstream servers have changed");
            self.around.system = servers;
            self.publish();
        }
    }

    /// Builds everything anew and swaps it in.
    fn publish(&mut self) {
        self.serial = next_serial(self.serial);
        let previous = self.live.published();
        self.live.publish(publish::build(&self.config, &self.around, Some(&previous), self.serial));
        self.watch_for_loops(Some(&previous));
    }

    /// Watches the groups that are new.
    fn watch_for_loops(&self, previous: Option<&Published>) {
        for (key, group) in &self.live.published().groups {
            let known = previous.and_then(|previous| previous.groups.get(key));
            if !known.is_some_and(|known| Arc::ptr_eq(known, group)) {
                let group: Weak<_> = Arc::downgrade(group);
                tokio::spawn(self.live.loops.clone().watch(group));
            }
        }
    }

    /// Asks the metadata service in the background, once it is needed; what it tells comes through the channel.
    fn ask_metadata(&mut self) {
        let needed = self.config.wants_metadata() && !self.asked;
        let Some(address) = self.settings.metadata.filter(|_| needed) else { return };
        self.asked = true;
        let tell = self.told.0.clone();
        tokio::spawn(async move {
            let mut pause = Duration::from_secs(1);
            for _ in 0..METADATA_TRIES {
                match metadata::instance(address).await {
                    Ok(instance) => {
                        let _ = tell.send(instance).await; // nobody listens when we are stopping
                        return;
                    }
                    Err(error) => tracing::debug!(%address, %error, "no metadata service"),
                }
                sleep(pause).await;
                pause *= 2;
            }
            tracing::info!(%address, "no metadata service: not an ECS instance, or it is switched off");
        });
    }

    /// Writes the snapshot of the cache, if state is kept.
    async fn save(&self) {
        let Some(directory) = self.settings.state_dir.clone() else { return };
        let live = self.live.clone();
        let written =
            tokio::task::spawn_blocking(move || snapshot::write(&live.cache, &directory, live.clock.now()));
        match written.await {
            Ok(Ok(entries)) => tracing::debug!(entries, "the cache was saved"),
            Ok(Err(error)) => tracing::warn!(%error, "the cache cannot be saved"),
            Err(error) => tracing::warn!(%error, "saving the cache failed"),
        }
    }

    /// Says what is served: a few lines for a person, log lines for a supervisor.
    fn greet(&self) {
        let published = self.live.published();
        let listening: Vec<String> = self.listening.iter().map(ToString::to_string).collect();
        let mut zones: Vec<String> =
            published.catalog.zones().iter().map(|(zone, _)| show(&zone.name)).collect();
        zones.dedup();
        let forwards = self.forwards();
        if !std::io::stderr().is_terminal() {
            tracing::info!(listen = listening.join(", "), zones = zones.len(), forwards, "ready");
            return;
        }
        let shown = zones.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if zones.len() > 3 { format!(" and {} more", zones.len() - 3) } else { String::new() };
        eprintln!("pvtzd {} listens on {} (UDP and TCP)", env!("CARGO_PKG_VERSION"), listening.join(", "));
        eprintln!("  answers   {}{more}", if zones.is_empty() { "no private zones" } else { &shown });
        eprintln!("  forwards  {forwards}");
        if let (Some(address), Some(name)) = (self.listening.first(), zones.first()) {
            eprintln!("  try       dig @{} -p {} {name}", address.ip(), address.port());
        }
    }

    /// Where what is not private goes, in a few words.
    fn forwards(&self) -> String {
        let servers: Vec<String> = match &self.config.upstream.servers {
            Servers::System => self.around.system.iter().map(ToString::to_string).collect(),
            Servers::Listed(servers) => servers.iter().map(ToString::to_string).collect(),
        };
        let rules = match self.config.forwards.len() {
            0 => String::new(),
            count => format!("; {count} forwarding rules"),
        };
        match servers.is_empty() {
            true => format!("nothing: no upstream server{rules}"),
            false => format!("the rest to {}{rules}", servers.join(", ")),
        }
    }
}

/// The system's upstream servers; what was left out is logged.
fn system_servers(config: &Config, listening: &[SocketAddr]) -> Vec<crate::upstream::ServerAddress> {
    if config.upstream.servers != Servers::System {
        return Vec::new();
    }
    let found = system::discover(&Paths::default(), listening);
    for note in &found.notes {
        tracing::warn!("{note}");
    }
    found.servers
}

/// Seconds since 1970, and more than before: what a SOA's serial should be.
fn next_serial(last: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as u32;
    now.max(last.wrapping_add(1))
}

/// How long answers are kept, as the configuration says.
pub fn lifetimes(cache: &Cache) -> Lifetimes {
    Lifetimes {
        min_ttl: cache.min_ttl,
        max_ttl: cache.max_ttl,
        negative_max_ttl: cache.negative_max_ttl,
        max_stale: cache.serve_stale.map_or(0, |stale| u32::try_from(stale.as_secs()).unwrap_or(u32::MAX)),
        stale_ttl: cache.stale_ttl,
        stale_retry_ms: u64::try_from(cache.stale_retry.as_millis()).unwrap_or(u64::MAX),
        prefetch: cache.prefetch,
    }
}

/// Takes the former run's cache in. An odd snapshot is removed: it can be of no use any more.
fn restore(cache: &AnswerCache, directory: Option<&std::path::Path>, clock: &Clock) {
    let Some(directory) = directory else { return };
    if let Err(error) = fs::create_dir_all(directory) {
        tracing::warn!(directory = %directory.display(), %error, "the state directory cannot be made");
        return;
    }
    match snapshot::read(cache, directory, clock.now()) {
        Ok(entries) => tracing::debug!(entries, "the cache was restored"),
        Err(error) => {
            tracing::warn!(%error, "the saved cache is not used");
            let _ = fs::remove_file(directory.join(snapshot::FILE)); // overwritten at the next save anyway
        }
    }
}
