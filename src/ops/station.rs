//! Operations of the running server: prepared before anything is served, opened with the daemon, ended with it.

use super::dnstap::Dnstap;
use super::querylog::QueryLog;
use super::socket::{self, Bound, Reload};
use super::{Subject, http};
use crate::config::{self, ControlSocket, QueryLog as Form};
use crate::http::browser::ServerNames;
use crate::state::Live;
use crate::state::watch::Watcher;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What operations need before they can begin.
#[derive(Debug)]
pub struct Prepared {
    listeners: Vec<TcpListener>,
    server_names: Arc<ServerNames>,
    watchers: Vec<Box<dyn Watcher>>,
    socket: ControlSocket,
}

/// Why operations cannot begin.
#[derive(Debug)]
pub enum PrepareError {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The query log's file cannot be opened.
    QueryLog(PathBuf, io::Error),
    /// A thread cannot be had.
    Thread(io::Error),
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(
                f,
                "cannot listen on {address} for /metrics: {error}; set listen in [ops] to another port"
            ),
            Self::QueryLog(path, error) => write!(
                f,
                "cannot open the query log {}: {error}; set file in [log] to a place that can be written",
                path.display()
            ),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for PrepareError {}

impl Prepared {
    /// Binds and opens what the configuration names.
    ///
    /// # Errors
    /// [`PrepareError`]
    pub fn new(ops: &config::Ops, log: &config::Log) -> Result<Self, PrepareError> {
        let mut listeners = Vec::new();
        for address in &ops.listen {
            let at = |error| PrepareError::Listen(*address, error);
            let listener = TcpListener::bind(address).map_err(at)?;
            listener.set_nonblocking(true).map_err(at)?;
            listeners.push(listener);
        }
        let mut watchers: Vec<Box<dyn Watcher>> = Vec::new();
        if log.queries != Form::Off {
            let file = log.file.as_deref();
            let opened = QueryLog::start(log.queries, log.sample, file);
            let told =
                |error| PrepareError::QueryLog(file.unwrap_or(Path::new("on standard output")).into(), error);
            watchers.push(Box::new(opened.map_err(told)?));
        }
        if let Some(socket) = &log.dnstap {
            let identity = log.identity.clone().unwrap_or_else(host_name);
            watchers.push(Box::new(Dnstap::start(socket, &identity).map_err(PrepareError::Thread)?));
        }
        let server_names = Arc::new(ServerNames::new(&ops.server_names).with_host_name());
        Ok(Self { listeners, server_names, watchers, socket: ops.socket.clone() })
    }

    /// Begins. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A socket does not go into the runtime, or the control socket that the configuration names cannot be had.
    pub fn open(self, subject: &Arc<Subject>, reload: mpsc::Sender<Reload>) -> io::Result<Station> {
        subject.live.watch.admit(self.watchers);
        let mut addresses = Vec::new();
        for listener in self.listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            addresses.push(listener.local_addr()?);
            tokio::spawn(http::serve(listener, subject.clone(), self.server_names.clone()));
        }
        let bound = match &self.socket {
            ControlSocket::Off => None,
            ControlSocket::At(path) => Some(Bound::new(path).map_err(|error| {
                let text = format!("the control socket {} cannot be had: {error}", path.display());
                io::Error::new(error.kind(), text)
            })?),
            ControlSocket::Usual => {
                let path = socket::usual();
                let bound = Bound::new(&path);
                if let Err(error) = &bound {
                    // as for a plain run of a plain user; `pvtzd status` then says that there is none
                    tracing::debug!(socket = %path.display(), %error, "no control socket");
                }
                bound.ok()
            }
        };
        let place = bound.map(|bound| bound.serve(subject.clone(), reload));
        Ok(Station { addresses, place, live: subject.live.clone() })
    }
}

/// Operations, open.
#[derive(Debug)]
pub struct Station {
    /// Where HTTP is.
    pub addresses: Vec<SocketAddr>,
    place: Option<socket::Place>,
    live: Arc<Live>,
}

impl Station {
    /// The control socket, if there is one.
    pub fn socket(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.path.as_path())
    }

    /// After a reload: files are opened again.
    pub fn renew(&self) {
        self.live.watch.watchers().iter().for_each(|watcher| watcher.renew());
    }

    /// The end: what watchers still hold is written out, and the control socket is removed.
    pub fn end(self) {
        self.live.watch.watchers().iter().for_each(|watcher| watcher.end());
    }
}

/// The host's name, as the kernel has it.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "pvtzd".into() } else { name.trim().into() }
}
