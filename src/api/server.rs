//! The running API: prepared before DNS is served, opened once a configuration is published.

use super::actions::{AccountWriter, Persistence, PrivateZone};
use super::calls::Calls;
use super::console_access::{ConsoleAccess, ConsoleRole};
use super::http::{self, HttpLimits};
use super::keys::KeyFault;
use super::{ActionPort, Gateway, Keys};
use crate::account::Account;
use crate::base::auxiliary;
use crate::base::readiness::Readiness;
use crate::base::task;
use crate::config::{self, ConsoleMode, Host};
use crate::fleet::FleetWriter;
use crate::http::browser::ServerNames;
use crate::http::pages::PageSlot;
use crate::publish::publisher::Publisher;
use crate::store::{self, Store, StoreError};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the API in metrics and status.
const NAME: &str = "api";

/// An API that is ready to start: sockets, keys, and the account from the store.
#[derive(Debug)]
pub struct BoundApi {
    listeners: Vec<(SocketAddr, Option<TcpListener>)>,
    keys: Keys,
    hosts: Vec<Host>,
    server_names: Arc<ServerNames>,
    account: Account,
    /// None in a fleet, whose account comes later.
    keeping: Option<Persistence>,
    console: Option<Arc<ConsoleAccess>>,
}

/// The reason why the API cannot start.
#[derive(Debug)]
pub enum PrepareError {
    /// Secrets that are not available.
    Keys(Vec<KeyFault>),
    /// The store cannot be used.
    Store(StoreError),
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&faults.join("\n"))
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PrepareError {}

impl BoundApi {
    /// Binds the sockets whose address is available, reads secrets and opens the store of the state directory, if there
    /// is one. A damaged store is renamed, with a log message.
    ///
    /// # Errors
    /// [`PrepareError`]
    pub fn new(control: &config::Api, state_dir: Option<&Path>) -> Result<Self, PrepareError> {
        let keys = load_keys(control).map_err(PrepareError::Keys)?;
        let bind = |address: &SocketAddr| (*address, auxiliary::bind(*address).ok());
        let listeners = control.listen.iter().map(bind).collect();
        let (mut account, keeping) = match state_dir {
            Some(directory) => {
                let opened = Store::open(directory, control.reading).map_err(PrepareError::Store)?;
                if let Some((aside, why)) = &opened.set_aside {
                    tell_of_damage(directory, aside, why);
                }
                (opened.account, Persistence::Durable(opened.store))
            }
            None => (Account::default(), Persistence::InMemory),
        };
        account.read_as(control.reading);
        let hosts = control.hosts.clone();
        let server_names = ServerNames::new(&control.server_names).with_host_name().with_api_names();
        let console = match control.console {
            ConsoleMode::Off => None,
            ConsoleMode::Read => Some(ConsoleRole::Read),
            ConsoleMode::On => Some(ConsoleRole::Full),
        };
        let console = console.map(|role| Arc::new(ConsoleAccess::new(role)));
        let (server_names, keeping) = (Arc::new(server_names), Some(keeping));
        Ok(Self { listeners, keys, hosts, server_names, account, keeping, console })
    }

    /// The same for a node of a fleet: no store is opened.
    ///
    /// # Errors
    /// [`PrepareError::Keys`]
    pub fn in_fleet(control: &config::Api, state_dir: Option<&Path>) -> Result<Self, PrepareError> {
        let of_machine = state_dir.map(|directory| directory.join(store::FILE)).filter(|file| file.exists());
        if let Some(file) = of_machine {
            tracing::warn!(
                file = %file.display(),
                "with [fleet] the zones in this file are not used: export them without [fleet] and import them"
            );
        }
        Self::new(control, None).map(|bound| Self { keeping: None, ..bound })
    }

    /// The account from the store.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Starts the API. `publisher` has published [`BoundApi::account`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A thread could not be started, or the runtime did not take a socket.
    pub fn open(
        self,
        publisher: Arc<Publisher>,
        readiness: &Arc<Readiness>,
        fleet: Option<Arc<FleetWriter>>,
    ) -> io::Result<ApiServer> {
        let keeping = self.keeping.or(fleet.map(Persistence::Fleet)).unwrap_or(Persistence::InMemory);
        let durable = !matches!(keeping, Persistence::InMemory);
        let octets = publisher.live().octets.clone();
        let writer = AccountWriter::start(self.account, self.hosts, keeping, publisher)?;
        let key = self.keys.first().map(|key| key.id.clone()).unwrap_or_default();
        let actions = PrivateZone::new(writer.clone(), self.console.clone());
        let gateway = Arc::new(Gateway::new(Arc::new(actions), self.keys));
        let limits = HttpLimits { octets, server_names: self.server_names, ..HttpLimits::default() };
        let pages = limits.pages.clone();
        let mut addresses = Vec::new();
        for (address, listener) in self.listeners {
            let (gateway, limits, readiness) = (gateway.clone(), limits.clone(), readiness.clone());
            let Some(listener) = listener else {
                task::spawn(async move {
                    let hint = "set listen in [control] to another port";
                    let listener = readiness.auxiliary.listen(NAME, address, hint).await;
                    tracing::info!(listen = %address, "the PrivateZone API is served");
                    http::serve(listener, gateway, limits, Box::new(http::plain)).await;
                });
                continue;
            };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            readiness.auxiliary.works(NAME, address);
            addresses.push(listener.local_addr()?);
            task::spawn(http::serve(listener, gateway, limits, Box::new(http::plain)));
        }
        Ok(ApiServer { gateway, writer, addresses, durable, key, pages, console: self.console })
    }
}

/// The API, open.
pub struct ApiServer {
    gateway: Arc<Gateway>,
    writer: Arc<AccountWriter>,
    /// The listen addresses.
    pub addresses: Vec<SocketAddr>,
    /// Changes are kept on disk.
    pub durable: bool,
    /// The first access key's id.
    pub key: String,
    /// The slot for pages on its listener.
    pub pages: PageSlot,
    /// Codes and sessions of the console, if it is served.
    pub console: Option<Arc<ConsoleAccess>>,
}

/// The state of the API, for observers.
#[derive(Debug)]
pub struct ApiView {
    /// Its account.
    pub writer: Arc<AccountWriter>,
    /// Counters by action.
    pub calls: Arc<Calls>,
    /// The listen addresses.
    pub addresses: Vec<SocketAddr>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Its actions, for callers in this process.
    pub fn actions(&self) -> Arc<dyn ActionPort> {
        self.gateway.clone()
    }

    /// Its state, for status and metrics.
    pub fn observed(&self) -> ApiView {
        let (writer, calls) = (self.writer.clone(), self.gateway.calls().clone());
        ApiView { writer, calls, addresses: self.addresses.clone() }
    }

    /// The current account.
    pub fn account(&self) -> Arc<Account> {
        self.writer.account()
    }

    /// Closes the store before the process ends.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Replaces keys and hosts after a reload. The former keys stay if a secret is not available.
    pub fn reload(&self, control: &config::Api) {
        match load_keys(control) {
            Ok(keys) => self.gateway.replace_keys(keys),
            Err(faults) => {
                for fault in faults {
                    tracing::error!("{fault}; the former access keys stay in force");
                }
            }
        }
        let (writer, hosts) = (self.writer.clone(), control.hosts.clone());
        task::spawn(async move { writer.set_hosts(hosts).await });
    }
}

/// The keys with their secrets; warnings go to the log.
fn load_keys(control: &config::Api) -> Result<Keys, Vec<KeyFault>> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let (keys, warnings) = Keys::load(&control.keys, credentials.as_deref())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(keys)
}

fn tell_of_damage(directory: &Path, aside: &Path, why: &str) {
    tracing::error!(
        why,
        set_aside = %aside.display(),
        "{} is damaged and was set aside; the zones made through the API are gone from the answers. \
         Put a backup in its place and restart, or make them again (`pvtzd import`)",
        directory.join(store::FILE).display()
    );
}
