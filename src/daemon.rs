//! The running server: start, changes, stop.
//!
//! One task handles all events that change the active configuration: a reload, another resolv.conf, the answer of the
//! metadata service. Each event rebuilds the configuration and replaces it as a whole.

mod console;
mod data_files;
mod fleet;
mod messages;
mod reload;
pub mod secondaries;

use crate::admin::AdminView;
use crate::admin::sd_notify::Supervisor;
use crate::admin::selfcheck::SelfCheck;
use crate::admin::server;
use crate::admin::server::AdminServer;
use crate::admin::socket::Reload;
use crate::admin::watchdog;
use crate::api::server::{ApiServer, BoundApi};
use crate::base::clock::Clock;
use crate::base::connections::Connections;
use crate::base::readiness::Readiness;
use crate::base::task;
use crate::config::{Cache, Config, InstanceInfo, Servers};
use crate::engine::cache::TtlPolicy;
use crate::fleet::PreparedFleet;
use crate::host::metadata;
use crate::host::system_servers;
use crate::host::system_servers::Paths;
use crate::publish::build::Environment;
use crate::publish::publisher::Publisher;
use crate::resolve::cache::AnswerCache;
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::packet_cache::PacketCache;
use crate::resolve::retain_refresh;
use crate::resolve::shared::SharedState;
use crate::resolve::snapshot;
use crate::server::activation::HandedOver;
use crate::server::certificate::Certificate;
use crate::server::encrypted::{Encrypted, Protocol};
use crate::server::listen::Listener;
use crate::server::tcp;
use crate::server::tcp::TcpBounds;
use crate::server::udp;
use crate::upstream::ServerAddress;
use data_files::WatchedFiles;
use fleet::FleetLink;
use secondaries::Secondaries;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// Time for queries in flight after the signal to stop: no client waits longer.
const DRAIN: Duration = Duration::from_millis(4200);

/// The same if the sockets belong to the service manager: the next process starts only after this one ends.
const SHORT_DRAIN: Duration = Duration::from_millis(500);

/// Interval of checks of the certificate files.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(60);

/// Settings from the command line.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// The configuration file; None for the built-in defaults.
    pub path: Option<PathBuf>,
    /// The default path, checked at each reload while there is no file.
    pub look_for: Option<PathBuf>,
    /// Listen addresses.
    pub listen: Vec<SocketAddr>,
    /// Address of the metadata service, if enabled.
    pub metadata: Option<SocketAddr>,
    /// The state directory, if any.
    pub state_dir: Option<PathBuf>,
    /// The service manager that started the process, if any.
    pub supervisor: Supervisor,
    /// Suppresses the start-up messages: the lab prints its own.
    pub quiet: bool,
}

/// The running server.
#[derive(Debug)]
pub struct Daemon {
    settings: DaemonSettings,
    config: Config,
    around: Environment,
    live: Arc<SharedState>,
    publisher: Arc<Publisher>,
    /// The certificate of the encrypted listeners, if there are any.
    certificate: Option<Arc<Certificate>>,
    /// Their protocols and addresses.
    listening_encrypted: Vec<(Protocol, SocketAddr)>,
    /// The PrivateZone API, if it is configured.
    office: Option<ApiServer>,
    /// The fleet, if this node is in one.
    fleet: Option<FleetLink>,
    /// What is observed of it all.
    view: Arc<AdminView>,
    listening: Vec<SocketAddr>,
    /// The readers of the service manager's sockets.
    readers: HandedOver,
    signals: Signals,
    /// The channel of the metadata service's answer.
    told: (mpsc::Sender<InstanceInfo>, mpsc::Receiver<InstanceInfo>),
    /// The metadata service was queried or is being queried.
    asked: bool,
    /// The admin view.
    station: Option<AdminServer>,
    /// Readiness.
    readiness: Arc<Readiness>,
    /// The channel of the system's servers after a change of resolv.conf.
    looked: (mpsc::Sender<Vec<ServerAddress>>, mpsc::Receiver<Vec<ServerAddress>>),
    /// Reload requests from the control socket.
    reloads: (mpsc::Sender<Reload>, mpsc::Receiver<Reload>),
    /// Zone files, hosts files and the configuration, watched.
    data_files: WatchedFiles,
    /// Secondary zones.
    secondaries: Secondaries,
}

#[derive(Debug)]
struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Daemon {
    /// Starts serving on bound sockets, and the API if configured. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A thread or a signal handler could not be set up.
    pub fn start(
        config: Config,
        settings: DaemonSettings,
        listeners: Vec<Listener>,
        secured: Option<Encrypted>,
        api: Option<BoundApi>,
        fleet: Option<PreparedFleet>,
        operations: server::BoundAdmin,
    ) -> io::Result<Self> {
        let signals = Signals {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let listening: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
        let (is_unknown, withheld) = fleet::unknown(fleet.as_ref(), &config);
        let around = Environment {
            withheld,
            instance: InstanceInfo::default(),
            system: system_servers(&config, &settings, &listening),
            ..Environment::default()
        };
        let account = fleet::account(fleet.as_ref(), api.as_ref());
        let clock = Clock::start();
        task::spawn(clock.clone().watch());
        // Repeated queries are stored twice: in the answer cache and in the packet cache.
        let finished = config.cache.size / 3;
        let cache = AnswerCache::new(config.cache.size - finished, lifetimes(&config.cache));
        cache.retained.configure(config.retain.clone());
        restore(&cache, settings.state_dir.as_deref(), &clock);
        let mut config = config;
        let copies = secondaries::restore(&mut config, settings.state_dir.as_deref(), clock.now());
        let secondaries = Secondaries::new(settings.state_dir.clone());
        let limits = Limits::new(config.server.max_in_flight);
        let guard = Guard::new(config.server.cookies, config.server.max_rate_per_network)?;
        let stale_after = config.cache.stale_answer_after;
        let publisher =
            Publisher::start(config.clone(), around.clone(), account, Handle::current(), |published| {
                let answers = PacketCache::new(finished);
                SharedState::new(published, clock, cache, answers, limits, guard, stale_after)
            });
        let live = publisher.live().clone();
        live.top.configure(config.top.enabled, config.top.client, live.clock.now());
        let told = mpsc::channel(1);
        let readiness = Arc::<Readiness>::default();
        readiness.withhold(is_unknown);
        let fleet = fleet.map(|fleet| FleetLink::begin(fleet, api.is_some(), &listening, &publisher));
        let writer = fleet.as_ref().and_then(|fleet| fleet.node.writer.clone());
        let office = api.map(|api| api.open(publisher.clone(), &readiness, writer)).transpose()?;
        let listening_encrypted = secured.iter().flat_map(Encrypted::addresses).collect();
        let subject = Arc::new(AdminView {
            live: live.clone(),
            listening: listening.clone(),
            selfcheck: Arc::new(SelfCheck::new(listening.clone(), settings.supervisor.watchdog)),
            readiness: readiness.clone(),
            api: office.as_ref().map(ApiServer::observed),
            fleet: fleet.as_ref().map(|fleet| fleet.node.clone()),
        });
        let reloads = mpsc::channel(1);
        let station = Some(operations.open(&subject, reloads.0.clone())?);
        let mut daemon = Self {
            settings,
            config,
            around,
            live,
            publisher,
            certificate: None,
            listening_encrypted,
            office,
            fleet,
            view: subject.clone(),
            listening,
            readers: HandedOver::default(),
            signals,
            told,
            asked: false,
            station,
            readiness,
            looked: mpsc::channel(4),
            reloads,
            data_files: WatchedFiles::new(),
            secondaries,
        };
        daemon.secondaries.run(&daemon.config, &daemon.live, copies);
        daemon.serve(listeners, secured)?;
        daemon.open_console();
        daemon.readiness.begin();
        daemon.watch_files(daemon.config.file.clone().into_iter().collect());
        daemon.log_startup();
        daemon.warn_of_unserved_zones();
        daemon.settings.supervisor.ready(&daemon.status());
        task::spawn(retain_refresh::run(daemon.live.clone()));
        task::spawn(watchdog::watch(daemon.settings.supervisor.clone(), subject.selfcheck.clone()));
        Ok(daemon)
    }

    /// The publisher.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// What is observed of it.
    pub fn view(&self) -> &Arc<AdminView> {
        &self.view
    }

    /// Serves until the signal to stop, then waits for queries in flight.
    pub async fn run(mut self) {
        self.ask_metadata();
        let mut resolv_conf = Paths::with_state(self.settings.state_dir.as_deref()).watch();
        let mut snapshots = tokio::time::interval(self.config.cache.snapshot_every);
        snapshots.tick().await; // the first tick is now
        let first = self.fleet.as_ref().map(|fleet| fleet.first.clone());
        let mut certificates = tokio::time::interval(CERTIFICATE_CHECK);
        let mut minutes =
            tokio::time::interval_at(Instant::now() + rest_of_minute(), Duration::from_secs(60));
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.reload.recv() => {
                    let _ = self.reload(); // the result is logged
                }
                Some(tell) = self.reloads.1.recv() => {
                    let _ = tell.send(self.reload()); // the requester may be gone
                }
                _ = minutes.tick() => {
                    self.live.history.end_minute(&self.live.tallies, last_minute());
                    self.live.top.recent.end_if_unread(self.live.clock.now());
                }
                Some(instance) = self.told.1.recv() => self.on_metadata(instance),
                change = self.data_files.changed() => self.take_change(change),
                update = self.secondaries.updated() => self.take_secondary(update),
                () = resolv_conf.changed() => self.on_resolv_conf_change(),
                Some(servers) = self.looked.1.recv() => self.take_system(servers),
                () = fleet::known(first.as_deref()) => self.take_first_rows(),
                _ = snapshots.tick() => self.save().await,
                _ = certificates.tick() => self.look_at_certificate(),
            }
        }
        self.readiness.end();
        let in_flight = self.live.limits.in_flight();
        tracing::info!(in_flight, "stopping");
        self.settings.supervisor.stopping(&format!("stopping; {in_flight} queries in flight"));
        self.save().await; // while queries are still served: the disk may be slow
        self.secondaries.stop().await;
        self.readers.stop().await;
        if let Some(office) = &self.office {
            let _ = timeout(DRAIN, office.close()).await; // a hanging disk must not block the exit
        }
        if let Some(fleet) = &self.fleet {
            let _ = timeout(DRAIN, fleet.save()).await; // as above; etcd has the rows
        }
        let drained = async {
            // An answer leaves a moment after its query is counted as done.
            let mut quiet = 0;
            while quiet < 2 {
                sleep(Duration::from_millis(5)).await;
                quiet = if self.live.limits.in_flight() == 0 { quiet + 1 } else { 0 };
            }
        };
        let patience = if self.readers.threads.is_empty() { DRAIN } else { SHORT_DRAIN };
        let _ = timeout(patience, drained).await; // the rest is dropped
        if let Some(station) = self.station.take() {
            let _ = task::spawn_blocking(|| station.end()).await; // a panic there is logged
        }
    }

    /// Starts threads and tasks for the listeners.
    fn serve(&mut self, listeners: Vec<Listener>, secured: Option<Encrypted>) -> io::Result<()> {
        let server = &self.config.server;
        let bounds = TcpBounds { pipeline: server.tcp_pipeline, idle: server.tcp_idle };
        let connections = Connections::new(server.max_tcp_connections, server.max_tcp_per_client);
        for listener in listeners {
            let stop = listener.handed_over.then(|| self.readers.stop.clone());
            for socket in listener.udp {
                let (live, stop) = (self.live.clone(), stop.clone());
                let thread = udp::serve(socket, live, Handle::current(), stop)?;
                self.readers.threads.extend(Some(thread).filter(|_| listener.handed_over));
            }
            let Some(tcp) = listener.tcp else {
                tracing::warn!(address = %listener.address, "no TCP socket for this address: long answers \
                                                             are not available");
                continue;
            };
            let tcp = tokio::net::TcpListener::from_std(tcp)?;
            let accepting =
                task::spawn(tcp::serve(tcp, self.live.clone(), bounds.clone(), connections.clone()));
            self.readers.accepting.extend(Some(accepting).filter(|_| listener.handed_over));
        }
        self.certificate = secured.map(|it| it.serve(&self.live, &bounds, &connections)).transpose()?;
        Ok(())
    }

    /// Reloads the certificate from its configured paths.
    fn reload_certificate(&self) {
        let server = &self.config.server;
        let (Some(current), Some(certificate), Some(key)) =
            (&self.certificate, &server.certificate, &server.key)
        else {
            return;
        };
        if let Err(error) = current.reload(certificate, key) {
            tracing::error!(%error, "the former certificate stays in force");
        }
    }

    /// Reloads the certificate if its files have changed.
    fn look_at_certificate(&self) {
        let Some(certificate) = &self.certificate else { return };
        match certificate.reload_if_changed() {
            Ok(false) => {}
            Ok(true) => tracing::info!("loaded the new certificate"),
            Err(error) => tracing::error!(%error, "the former certificate stays in force"),
        }
    }

    /// The metadata service has answered.
    fn on_metadata(&mut self, instance: InstanceInfo) {
        tracing::info!(
            region = instance.region.as_deref().unwrap_or("unknown"),
            vpc = instance.vpc_id.as_deref().unwrap_or("unknown"),
            "the metadata service answered"
        );
        for note in self.config.endpoint_notes(&instance) {
            tracing::warn!("{note}");
        }
        self.around.instance = instance;
        self.publisher.reconfigure(&self.config, &self.around);
    }

    /// The system's resolver configuration has changed.
    fn on_resolv_conf_change(&mut self) {
        if self.config.upstream.servers != Servers::System {
            return;
        }
        // Outside the loop: a hanging file system must not delay a signal.
        let (config, settings) = (self.config.clone(), self.settings.clone());
        let (listening, tell) = (self.listening.clone(), self.looked.0.clone());
        task::spawn_blocking(move || {
            let servers = system_servers(&config, &settings, &listening);
            let _ = tell.blocking_send(servers); // the receiver is gone when the server is stopping
        });
    }

    /// The system's current servers.
    fn take_system(&mut self, servers: Vec<ServerAddress>) {
        if self.config.upstream.servers == Servers::System && servers != self.around.system {
            let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
            tracing::info!(servers = shown.join(", "), "the system's upstream servers have changed");
            self.around.system = servers;
            self.publisher.reconfigure(&self.config, &self.around);
        }
    }

    /// Queries the metadata service in the background, once needed; the answer arrives through the channel.
    fn ask_metadata(&mut self) {
        let needed = self.config.wants_metadata() && !self.asked;
        let Some(address) = self.settings.metadata.filter(|_| needed) else { return };
        self.asked = true;
        let tell = self.told.0.clone();
        task::spawn(async move {
            if let Some(instance) = metadata::find(address).await {
                let _ = tell.send(instance).await; // the receiver is gone when the server is stopping
            }
        });
    }

    /// Writes the snapshot of the cache, if state is kept.
    async fn save(&self) {
        let Some(directory) = self.settings.state_dir.clone() else { return };
        let live = self.live.clone();
        let written =
            task::spawn_blocking(move || snapshot::write(&live.cache, &directory, live.clock.now()));
        match written.await {
            Ok(Ok(entries)) => tracing::debug!(entries, "the cache was saved"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot save the cache"),
            Err(error) => tracing::warn!(%error, "saving the cache failed"),
        }
    }
}

/// Time until the wall clock's next minute.
fn rest_of_minute() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Duration::from_millis(60_000 - since.as_millis() as u64 % 60_000)
}

/// The number of the minute that has just ended; the clocks may differ a little.
fn last_minute() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    ((since.as_secs() + 30) / 60).saturating_sub(1)
}

/// The system's upstream servers; logs ignored entries.
fn system_servers(
    config: &Config,
    settings: &DaemonSettings,
    listening: &[SocketAddr],
) -> Vec<ServerAddress> {
    if config.upstream.servers != Servers::System {
        return Vec::new();
    }
    let found = system_servers::discover(&Paths::with_state(settings.state_dir.as_deref()), listening);
    for note in &found.notes {
        tracing::warn!("{note}");
    }
    found.servers
}

/// The configured TTL policy.
pub fn lifetimes(cache: &Cache) -> TtlPolicy {
    TtlPolicy {
        min_ttl: cache.min_ttl,
        max_ttl: cache.max_ttl,
        negative_max_ttl: cache.negative_max_ttl,
        max_stale: cache.serve_stale.map_or(0, |stale| u32::try_from(stale.as_secs()).unwrap_or(u32::MAX)),
        stale_ttl: cache.stale_ttl,
        stale_retry_ms: u64::try_from(cache.stale_retry.as_millis()).unwrap_or(u64::MAX),
        prefetch: cache.prefetch,
        max_rrset_records: cache.max_rrset_records.into(),
        nxdomain_cut: cache.nxdomain_cut,
    }
}

/// Loads the saved cache. Removes an invalid snapshot.
fn restore(cache: &AnswerCache, directory: Option<&std::path::Path>, clock: &Clock) {
    let Some(directory) = directory else { return };
    if let Err(error) = fs::create_dir_all(directory) {
        tracing::warn!(directory = %directory.display(), %error, "cannot create the state directory");
        return;
    }
    match snapshot::read(cache, directory, clock.now()) {
        Ok(entries) => tracing::debug!(entries, "the cache was restored"),
        Err(error) => {
            tracing::warn!(%error, "the saved cache is ignored");
            let _ = fs::remove_file(directory.join(snapshot::FILE)); // overwritten at the next save anyway
        }
    }
}
