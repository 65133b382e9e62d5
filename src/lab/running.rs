//! A lab that runs: the sidecar, the world around it and the APIs, put together.

use super::apis::{self, ApiClients, Apis};
use super::ca::LabCa;
use super::credentials::Issuer;
use super::fake_dns;
use super::fake_dns::FakeDns;
use super::location;
use super::products::Backends;
use super::products::instances::LabInstance;
use super::sts::Sts;
use crate::account::{Account, Dirty};
use crate::admin::sd_notify::Supervisor;
use crate::admin::server;
use crate::api::actions::{AccountWriter, Persistence, PrivateZone};
use crate::api::console_access::{ConsoleAccess, ConsoleRole};
use crate::api::{AccessKey, Gateway, Keys, http};
use crate::base::address_set::AddressSet;
use crate::config::ControlSocket;
use crate::config::{Config, Host, Servers};
use crate::console::{Console, ConsoleParts, ConsoleSetting, LabApi};
use crate::daemon::{Daemon, DaemonSettings};
use crate::engine::catalog::Vpc;
use crate::engine::zone::ZoneSemantics;
use crate::http::browser::ServerNames;
use crate::http::pages::PageSlot;
use crate::server::listen;
use crate::server::listen::BindError;
use crate::stats::tap::TapSink;
use crate::store::{Store, StoreError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What a lab is made of.
#[derive(Debug)]
pub struct LabPlan {
    /// The sidecar's configuration; where it listens and whom it asks is the lab's business.
    pub config: Config,
    /// Where everything is.
    pub places: LabAddresses,
    /// The address that names inside a VPC lead to.
    pub inside: Ipv4Addr,
    /// Who may call the APIs.
    pub clients: ApiClients,
    /// The CA.
    pub authority: LabCa,
    /// The access key that the APIs accept.
    pub key: AccessKey,
    /// Where zones of the API are kept; without it they live as long as the lab.
    pub store: Option<PathBuf>,
    /// The address that public API names lead to, where the stub answers there too.
    pub public: Option<Ipv4Addr>,
    /// The instance that a command runs on; its private names resolve in its VPC.
    pub instance: Option<LabInstance>,
    /// What is shown each query and each answer.
    pub watcher: Option<Box<dyn TapSink>>,
    /// The console is served without encryption where other machines reach the API, too.
    pub console_beyond_loopback: bool,
}

/// Where the parts of a lab listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabAddresses {
    /// The sidecar: DNS over UDP and TCP.
    pub dns: SocketAddr,
    /// PrivateZone's API, plain HTTP.
    pub api: SocketAddr,
    /// The stub, plain HTTP.
    pub http: SocketAddr,
    /// The stub, HTTPS.
    pub https: SocketAddr,
    /// The world.
    pub world: SocketAddr,
}

/// Why a lab does not start.
#[derive(Debug)]
pub enum LabError {
    /// The sidecar's address is not available.
    Dns(BindError),
    /// Another address is not available.
    Place(&'static str, SocketAddr, io::Error),
    /// The store of the API's zones cannot be used.
    Store(StoreError),
    /// Something else of the system.
    System(io::Error),
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What that error advises has no meaning here.
            Self::Dns(BindError { address, protocol, cause, holder, .. }) => {
                write!(f, "cannot listen on {address} ({protocol}): {cause}")?;
                let holder = holder.as_deref().unwrap_or("another process");
                match cause.kind() {
                    io::ErrorKind::AddrInUse => {
                        write!(f, "\nhint: {holder} has the port; choose another by --dns, port 0 for any")
                    }
                    _ => Ok(()),
                }
            }
            Self::Place(option, address, cause) => {
                write!(
                    f,
                    "cannot listen on {address}: {cause}\nhint: choose another by {option}, port 0 for any"
                )
            }
            Self::Store(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LabError {}

/// A lab that runs until it is dropped, but for its DNS, which runs until the process ends.
#[derive(Debug)]
pub struct Lab {
    /// Where everything listens.
    pub places: LabAddresses,
    /// The CA.
    pub authority: LabCa,
    /// The access key.
    pub key: AccessKey,
    /// Who may use the console.
    pub console: Arc<ConsoleAccess>,
    /// It is beside the API. Where other machines reach the API, it is not, unless that was told; the stub's HTTPS has
    /// it in any case.
    pub console_is_plain: bool,
    daemon: Daemon,
    _tasks: JoinSet<()>,
}

impl Lab {
    /// Starts a lab. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`LabError`].
    pub async fn start(plan: LabPlan) -> Result<Self, LabError> {
        let LabPlan { mut config, mut places, inside, clients, authority, key, store, public, .. } = plan;
        let (instance, watcher) = (plan.instance, plan.watcher);
        let console_is_plain = plan.console_beyond_loopback || places.api.ip().to_canonical().is_loopback();
        let mut tasks = JoinSet::new();
        let place = |option, address| move |error| LabError::Place(option, address, error);
        places.world = fake_dns::serve(FakeDns::new(inside), places.world, &mut tasks)
            .await
            .map_err(place("--world", places.world))?;
        config.upstream.servers = Servers::Listed(vec![places.world.into()]);
        config.server.listen = vec![places.dns];
        // The API is ours, with our key; of its section only the hosts and the names count.
        let control = config.control.take();
        let (hosts, names) = control.map(|control| (control.hosts, control.server_names)).unwrap_or_default();
        let server_names = names.clone();
        let names = names.into_iter().chain(location::names().map(String::from));
        let names = ServerNames::new(names).with_host_name().with_api_names();

        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // The sidecar may wait for an address that no interface has yet; a lab that is ready answers.
        UdpSocket::bind((places.dns.ip(), 0)).map_err(place("--dns", places.dns))?;
        let listener = listen::bind(places.dns, threads).map_err(LabError::Dns)?;
        places.dns = listener.address;
        let settings = DaemonSettings {
            path: None,
            look_for: None,
            listen: vec![places.dns],
            metadata: None,
            state_dir: None,
            supervisor: Supervisor::default(),
            quiet: true,
        };
        config.ops.socket = ControlSocket::Off; // that place is the machine's own server's
        let mut operations = server::BoundAdmin::new(&config.ops, &config.log);
        if let Some(watcher) = watcher {
            operations = operations.with_watcher(watcher);
        }
        let client = config.log.client;
        let daemon = Daemon::start(config, settings, vec![listener], None, None, None, operations)
            .map_err(LabError::System)?;

        let writer = writer(&daemon, hosts, store)?;
        let sts = Sts { issuer: Arc::new(Issuer::new(&key)) };
        let console = Arc::new(ConsoleAccess::new(ConsoleRole::Full));
        let private_zone = PrivateZone::new(writer, Some(console.clone()));
        let apis = Apis(Backends { private_zone, sts, instance });
        let gateway = Arc::new(Gateway::new(Arc::new(apis), Keys::from_iter([key.clone()])));
        let octets = daemon.publisher().live().octets.clone();
        let limits =
            http::HttpLimits { octets, server_names: Arc::new(names), ..http::HttpLimits::default() };
        let pages = PageSlot::default();
        let https = Some(authority.tls.clone());
        if let Some(address) = public {
            for (port, tls) in [(80, None), (443, https.clone())] {
                let address = SocketAddr::from((address, port));
                let served = apis::serve(&gateway, &limits, &clients, address, tls, &mut tasks).await;
                served.map_err(place("--public", address))?;
            }
        }
        for (option, address, tls) in [
            ("--api", &mut places.api, None),
            ("--http", &mut places.http, None),
            ("--https", &mut places.https, https),
        ] {
            let has_console = option == "--https" || option == "--api" && console_is_plain;
            let pages = if has_console { pages.clone() } else { PageSlot::default() };
            let limits = http::HttpLimits { pages, ..limits.clone() };
            *address = apis::serve(&gateway, &limits, &clients, *address, tls, &mut tasks)
                .await
                .map_err(place(option, *address))?;
        }
        let roots = authority.roots().map_err(LabError::System)?;
        let lab = Some(LabApi { port: places.https.port(), roots, key: key.clone() });
        let api = vec![places.api];
        let mut listen = vec![places.https];
        match console_is_plain {
            true => listen.push(places.api),
            false => console.is_at_https(places.https.port()),
        }
        let setting = ConsoleSetting { api, listen, server_names, client, metadata: None, lab };
        let (view, publisher) = (daemon.view().clone(), daemon.publisher().clone());
        let parts = ConsoleParts { access: console.clone(), view, publisher, actions: gateway, setting };
        pages.put(Arc::new(Console::new(parts)));
        Ok(Self { places, authority, key, console, console_is_plain, daemon, _tasks: tasks })
    }

    /// The VPCs as they are now, those that the API made among them.
    pub fn vpcs(&self) -> Vec<Vpc> {
        self.daemon.publisher().live().published().catalog.vpcs().cloned().collect()
    }
}

/// The account behind the API, published: what was kept, or an empty one.
fn writer(daemon: &Daemon, hosts: Vec<Host>, store: Option<PathBuf>) -> Result<Arc<AccountWriter>, LabError> {
    let publisher = daemon.publisher().clone();
    let (account, keeping) = match store {
        None => (Account::default(), Persistence::InMemory),
        Some(directory) => {
            let opened = Store::open(&directory, ZoneSemantics::default()).map_err(LabError::Store)?;
            if let Some((aside, why)) = &opened.set_aside {
                eprintln!("the saved zones are damaged ({why}): renamed to {}", aside.display());
            }
            (opened.account, Persistence::Durable(opened.store))
        }
    };
    publisher.update(&account, &Dirty { whole: true, ..Dirty::default() });
    AccountWriter::start(account, hosts, keeping, publisher).map_err(LabError::System)
}

/// The VPC of clients on this machine and of others, and another one beside it.
pub fn vpcs(id: &str, region: &str, others: &[IpNet]) -> Vec<Vpc> {
    let loopback: [IpNet; 2] = [
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
    ];
    let clients = [&loopback, others].concat();
    let vpc = |id: &str, clients: Vec<IpNet>| Vpc { id: id.into(), region: Some(region.into()), clients };
    let other = if id == OTHER_VPC { "vpc-lab-other" } else { OTHER_VPC };
    vec![vpc(id, clients), vpc(other, vec![Ipv4Net::new_assert(OTHER_CLIENT, 16).trunc().into()])]
}

/// Clients that may ask its DNS may call its APIs.
pub fn clients(config: &Config) -> ApiClients {
    ApiClients(Some(AddressSet::from(&config.server.allow[..])))
}

/// The id of the other VPC.
const OTHER_VPC: &str = "vpc-other";

/// A client of the other VPC.
pub const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(127, 2, 0, 1);
