//! Operator interfaces: bound before the first query is served, started and stopped with the daemon.

use super::dnstap::Dnstap;
use super::querylog::QueryLogWriter;
use super::socket::{self, Bound, Reload};
use super::{AdminView, http};
use crate::base::auxiliary;
use crate::base::auxiliary::RETRY;
use crate::base::task;
use crate::config::{self, ControlSocket, QueryLogFormat as Form};
use crate::http::browser::ServerNames;
use crate::resolve::shared::SharedState;
use crate::stats::tap::TapSink;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Bound operator interfaces. An address that is not available is retried later, without delaying DNS.
#[derive(Debug)]
pub struct BoundAdmin {
    listeners: Vec<(SocketAddr, Option<TcpListener>)>,
    server_names: Arc<ServerNames>,
    log: config::Log,
    socket: ControlSocket,
    watchers: Vec<Box<dyn TapSink>>,
}

impl BoundAdmin {
    /// Binds the configured interfaces.
    pub fn new(ops: &config::Admin, log: &config::Log) -> Self {
        let bind = |address: &SocketAddr| (*address, auxiliary::bind(*address).ok());
        Self {
            listeners: ops.listen.iter().map(bind).collect(),
            server_names: Arc::new(ServerNames::new(&ops.server_names).with_host_name()),
            log: log.clone(),
            socket: ops.socket.clone(),
            watchers: Vec::new(),
        }
    }

    /// Adds a tap.
    pub fn with_watcher(mut self, watcher: Box<dyn TapSink>) -> Self {
        self.watchers.push(watcher);
        self
    }

    /// Starts the services. Must be called within a tokio runtime.
    ///
    /// # Errors The runtime rejects a socket.
    pub fn open(self, subject: &Arc<AdminView>, reload: mpsc::Sender<Reload>) -> io::Result<AdminServer> {
        let mut all = watchers(&self.log, subject);
        all.extend(self.watchers);
        subject.live.watch.admit(all);
        let mut addresses = Vec::new();
        for (address, listener) in self.listeners {
            let (subject, names) = (subject.clone(), self.server_names.clone());
            let Some(listener) = listener else {
                task::spawn(async move {
                    let hint = "set listen in [ops] to another port";
                    let listener = subject.readiness.auxiliary.listen(METRICS, address, hint).await;
                    tracing::info!(listen = %address, "metrics and health are served");
                    http::serve(listener, subject, names).await;
                });
                continue;
            };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            subject.readiness.auxiliary.works(METRICS, address);
            addresses.push(listener.local_addr()?);
            task::spawn(http::serve(listener, subject, names));
        }
        let place = Arc::<Mutex<Option<socket::SocketFile>>>::default();
        match self.socket {
            ControlSocket::Off => {}
            ControlSocket::At(path) => match Bound::new(&path) {
                Ok(bound) => {
                    subject.readiness.auxiliary.works(SOCKET, path.display());
                    keep(&place, bound.serve(subject.clone(), reload));
                }
                Err(error) => {
                    let (subject, place) = (subject.clone(), place.clone());
                    task::spawn(async move { bind_later(&path, error, subject, reload, &place).await });
                }
            },
            ControlSocket::Usual => {
                let path = socket::usual();
                match Bound::new(&path) {
                    Ok(bound) => keep(&place, bound.serve(subject.clone(), reload)),
                    // usual if started by an ordinary user; `pvtzd status` then reports that there is no socket
                    Err(error) => tracing::debug!(socket = %path.display(), %error, "no control socket"),
                }
            }
        }
        Ok(AdminServer { addresses, place, live: subject.live.clone() })
    }
}

/// Names of services in metrics and status.
const METRICS: &str = "metrics";
const SOCKET: &str = "control_socket";

/// The query log and dnstap, as far as they are configured.
fn watchers(log: &config::Log, subject: &Arc<AdminView>) -> Vec<Box<dyn TapSink>> {
    let (octets, readiness) = (&subject.live.octets, &subject.readiness);
    let mut watchers: Vec<Box<dyn TapSink>> = Vec::new();
    let mut add = |name, started: io::Result<Box<dyn TapSink>>| match started {
        Ok(watcher) => watchers.push(watcher),
        Err(error) => {
            readiness.auxiliary.failed(name, "a thread", format_args!("cannot start a thread: {error}"))
        }
    };
    if log.queries != Form::Off {
        let started = QueryLogWriter::start(log, octets, readiness.clone());
        add("query_log", started.map(|log| Box::new(log) as Box<dyn TapSink>));
    }
    if let Some(socket) = &log.dnstap {
        let identity = log.identity.clone().unwrap_or_else(host_name);
        let started = Dnstap::start(socket, &identity, log.client, octets, readiness.clone());
        add("dnstap", started.map(|dnstap| Box::new(dnstap) as Box<dyn TapSink>));
    }
    watchers
}

/// Binds the control socket as soon as that can be done.
async fn bind_later(
    path: &Path,
    mut error: io::Error,
    subject: Arc<AdminView>,
    reload: mpsc::Sender<Reload>,
    place: &Mutex<Option<socket::SocketFile>>,
) {
    let bound = loop {
        let fault = format!("the control socket is not available: {error}");
        subject.readiness.auxiliary.failed(SOCKET, path.display(), fault);
        tokio::time::sleep(RETRY).await;
        match Bound::new(path) {
            Ok(bound) => break bound,
            Err(again) => error = again,
        }
    };
    subject.readiness.auxiliary.works(SOCKET, path.display());
    keep(place, bound.serve(subject, reload));
}

fn keep(place: &Mutex<Option<socket::SocketFile>>, bound: socket::SocketFile) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
}

/// Operations, open.
#[derive(Debug)]
pub struct AdminServer {
    /// The HTTP addresses.
    pub addresses: Vec<SocketAddr>,
    place: Arc<Mutex<Option<socket::SocketFile>>>,
    live: Arc<SharedState>,
}

impl AdminServer {
    /// The control socket, if there is one.
    pub fn socket(&self) -> Option<PathBuf> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|place| place.path.clone())
    }

    /// Reopens files after a reload.
    pub fn reopen(&self) {
        self.live.watch.watchers().iter().for_each(|watcher| watcher.reopen());
    }

    /// Writes pending messages of taps, and removes the control socket.
    pub fn end(self) {
        self.live.watch.watchers().iter().for_each(|watcher| watcher.end());
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The host name.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "pvtzd".into() } else { name.trim().into() }
}
