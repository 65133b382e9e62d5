//! The system's own servers: those of resolv.conf, without those that would cause a forwarding loop.
//!
//! The caller logs the notes, and asks again when [`Watch`] says that a file has changed.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::base::file;
use crate::host::follow::FollowedSource;
use crate::host::resolv_conf;
use crate::upstream::ServerAddress;
use crate::upstream::address::DNS_PORT;

/// How often a watched file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Where the system says which servers it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The file that programs read.
    pub resolv_conf: PathBuf,
    /// The servers behind the stub of systemd-resolved.
    pub behind_stub: PathBuf,
    /// The files in which `pvtzd resolver take` saved the former servers. The first existing one is used.
    pub remembered: Vec<PathBuf>,
}

/// The file of remembered servers, in the folders where it may be.
pub const REMEMBERED: &str = "resolver-upstream.conf";

/// The folder where `pvtzd resolver` keeps what it remembers, unless it is told another one.
pub const REMEMBERED_IN: &str = "/var/lib/pvtzd-resolver";

impl Default for Paths {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            behind_stub: "/run/systemd/resolve/resolv.conf".into(),
            remembered: vec![Path::new(REMEMBERED_IN).join(REMEMBERED)],
        }
    }
}

impl Paths {
    /// The system's files, and a state directory that may have the saved servers.
    pub fn with_state(directory: Option<&Path>) -> Self {
        let mut paths = Self::default();
        paths.remembered.splice(0..0, directory.map(|directory| directory.join(REMEMBERED)));
        paths
    }

    /// A watch over all of the files.
    pub fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    /// The files with fixed paths.
    fn fixed(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.resolv_conf, &self.behind_stub].into_iter().chain(&self.remembered)
    }

    /// The source of the current network's servers, as saved by the take.
    fn sources(&self) -> Vec<FollowedSource> {
        let there = self.remembered.iter().find(|path| path.exists());
        let text = there.and_then(|path| file::read(path, resolv_conf::MAX_BYTES).ok()).unwrap_or_default();
        FollowedSource::named_in(&String::from_utf8_lossy(&text))
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemServers {
    /// The servers to query, in order.
    pub servers: Vec<ServerAddress>,
    /// Warnings for the log, one sentence each.
    pub notes: Vec<String>,
}

/// Finds the system's servers. `own` are the addresses we listen on: they are left out.
pub fn discover(paths: &Paths, own: &[SocketAddr]) -> SystemServers {
    let local = local_addresses();
    let mut found = SystemServers::default();
    let named = read(&paths.resolv_conf, &mut found.notes).unwrap_or_default();
    take(&named, &paths.resolv_conf, own, &local, &mut found);
    // Only the stub, only pvtzd, or no server: systemd-resolved may have the real ones.
    if found.servers.is_empty() && paths.behind_stub.exists() {
        let behind = read(&paths.behind_stub, &mut found.notes).unwrap_or_default();
        take(&behind, &paths.behind_stub, own, &local, &mut found);
    }
    // It names only pvtzd because of a take, which is no fault. The machine may be in another network since.
    if found.servers.is_empty() {
        for source in paths.sources() {
            let mut present = SystemServers::default();
            take(&source.servers(), &paths.resolv_conf, own, &local, &mut present);
            if !present.servers.is_empty() {
                return SystemServers { servers: present.servers, notes: Vec::new() };
            }
        }
    }
    if found.servers.is_empty()
        && let Some(path) = paths.remembered.iter().find(|path| path.exists())
    {
        let mut former = SystemServers::default();
        let named = read(path, &mut former.notes).unwrap_or_default();
        take(&named, path, own, &local, &mut former);
        if !former.servers.is_empty() {
            return former;
        }
        found.notes.extend(former.notes);
    }
    if found.servers.is_empty() {
        found.notes.push(format!("{} has no usable upstream server", paths.resolv_conf.display()));
    }
    found
}

/// Reads one file; what is wrong with it goes to `notes`.
fn read(path: &Path, notes: &mut Vec<String>) -> Option<Vec<ServerAddress>> {
    match file::read(path, resolv_conf::MAX_BYTES) {
        Ok(bytes) => {
            let parsed = resolv_conf::parse(&String::from_utf8_lossy(&bytes));
            notes.extend(parsed.warnings.iter().map(|warning| format!("{}: {warning}", path.display())));
            Some(parsed.servers)
        }
        Err(error) => {
            notes.push(format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

/// Takes over the servers that can be used; the others are noted.
fn take(
    named: &[ServerAddress],
    path: &Path,
    own: &[SocketAddr],
    local: &BTreeSet<IpAddr>,
    found: &mut SystemServers,
) {
    for server in named {
        let ip = server.addr.ip();
        let reason = if is_stub(ip) {
            "it is the stub of systemd-resolved"
        } else if is_own(ip, own, local) {
            "this server itself listens there"
        } else if found.servers.contains(server) {
            "it is listed twice"
        } else {
            found.servers.push(server.clone());
            continue;
        };
        found.notes.push(format!("{}: {ip} is ignored: {reason}", path.display()));
    }
}

/// The addresses of systemd-resolved's stub listeners.
fn is_stub(ip: IpAddr) -> bool {
    ip == IpAddr::from([127, 0, 0, 53]) || ip == IpAddr::from([127, 0, 0, 54])
}

/// Whether a query to `ip` would come to us.
fn is_own(ip: IpAddr, own: &[SocketAddr], local: &BTreeSet<IpAddr>) -> bool {
    own.iter().filter(|listen| listen.port() == DNS_PORT).any(|listen| {
        let covers = listen.is_ipv4() == ip.is_ipv4() || listen.is_ipv6();
        listen.ip() == ip
            || (listen.ip().is_unspecified() && covers && (ip.is_loopback() || local.contains(&ip)))
    })
}

/// Every address of this machine.
fn local_addresses() -> BTreeSet<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return BTreeSet::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect()
}

/// Looks at files every two seconds and tells when one has become another, was written, came or went.
#[derive(Debug)]
pub struct Watch {
    /// The files.
    paths: Paths,
    /// The last known state of those with fixed paths.
    fixed: Vec<Identity>,
    /// The sources saved by a take. Read again when one of the fixed files has changed.
    sources: Vec<FollowedSource>,
    /// The files of the sources, with their last known state.
    followed: Vec<(PathBuf, Identity)>,
    /// The interval of checks.
    ticks: tokio::time::Interval,
}

/// What makes a file the same file with the same contents, to all appearances.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    /// Its target, if it is a symbolic link.
    target: Option<PathBuf>,
    /// Device, inode, size and times of the file.
    file: Option<(u64, u64, u64, Option<SystemTime>)>,
}

impl Watch {
    /// A watch that begins with the current state of the files. Needs a tokio runtime.
    pub fn new(paths: Paths) -> Self {
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fixed = paths.fixed().map(|path| identity(path)).collect();
        let sources = paths.sources();
        let followed = followed(&sources);
        Self { paths, fixed, sources, followed, ticks }
    }

    /// Waits until one of the files has changed. May be dropped and called again.
    pub async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            if self.has_changed() {
                return;
            }
        }
    }

    /// Checks the files once.
    fn has_changed(&mut self) -> bool {
        let fixed: Vec<Identity> = self.paths.fixed().map(|path| identity(path)).collect();
        let fixed_changed = fixed != self.fixed;
        if fixed_changed {
            self.fixed = fixed;
            self.sources = self.paths.sources();
        }
        let now = followed(&self.sources);
        let changed = fixed_changed || now != self.followed;
        self.followed = now;
        changed
    }
}

/// The files of these sources and their identities.
fn followed(sources: &[FollowedSource]) -> Vec<(PathBuf, Identity)> {
    let files = sources.iter().flat_map(FollowedSource::files);
    files.map(|path| (path.clone(), identity(&path))).collect()
}

/// The identity of a file, by its metadata alone: a look every two seconds must cost nothing.
fn identity(path: &Path) -> Identity {
    let describe = |m: Metadata| (m.dev(), m.ino(), m.len(), m.modified().ok());
    Identity { target: std::fs::read_link(path).ok(), file: std::fs::metadata(path).ok().map(describe) }
}

#[cfg(test)]
#[path = "system_servers_tests.rs"]
mod tests;
