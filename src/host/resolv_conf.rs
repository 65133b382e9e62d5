//! The servers the system itself uses: what resolv.conf names, without what would lead back to us.
//!
//! Parsing is strict where glibc is silent: a line that does not do what its author meant is reported (L58).
//! The caller logs the notes, and asks again when [`Watch`] says that a file has changed.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::base::file;
use crate::upstream::ServerAddress;
use crate::upstream::address::DNS_PORT;

/// Octets of the largest resolv.conf that is read. One that names three servers has a few hundred.
const LARGEST: u64 = 64 << 10;

/// How often a watched file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Where the system says which servers it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// What programs read.
    pub resolv_conf: PathBuf,
    /// The servers behind the stub of systemd-resolved.
    pub behind_stub: PathBuf,
    /// What `pvtzd resolver take` remembered: the servers before resolv.conf was made to lead to us. The first that
    /// is there counts.
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
    /// The system's files, and a state directory that may be where the former servers were remembered.
    pub fn with_state(directory: Option<&Path>) -> Self {
        let mut paths = Self::default();
        paths.remembered.splice(0..0, directory.map(|directory| directory.join(REMEMBERED)));
        paths
    }

    /// A watch over all of the files.
    pub fn watch(&self) -> Watch {
        let files = [&self.resolv_conf, &self.behind_stub].into_iter().chain(&self.remembered);
        Watch::new(files.cloned().collect())
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemServers {
    /// The servers to ask, in order.
    pub servers: Vec<ServerAddress>,
    /// What was left out or looks wrong, each a sentence for the log.
    pub notes: Vec<String>,
}

/// What one resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Its nameservers, in order.
    pub nameservers: Vec<IpAddr>,
    /// The same, with the interfaces that lead to link-local ones.
    pub servers: Vec<ServerAddress>,
    /// Lines that do not do what their author meant.
    pub warnings: Vec<String>,
}

/// Finds the system's servers. `own` are the addresses we listen on: they are left out.
pub fn discover(paths: &Paths, own: &[SocketAddr]) -> SystemServers {
    let local = local_addresses();
    let mut found = SystemServers::default();
    let named = read(&paths.resolv_conf, &mut found.notes).unwrap_or_default();
    take(&named, &paths.resolv_conf, own, &local, &mut found);
    // Only the stub, only ourselves, or nothing: systemd-resolved may know the real ones.
    if found.servers.is_empty() && paths.behind_stub.exists() {
        let behind = read(&paths.behind_stub, &mut found.notes).unwrap_or_default();
        take(&behind, &paths.behind_stub, own, &local, &mut found);
    }
    // It leads to us alone because somebody took it over: that was remembered, and is no fault.
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
        found
            .notes
            .push(format!("{} names no upstream server that can be used", paths.resolv_conf.display()));
    }
    found
}

/// Reads one file; what is wrong with it goes to `notes`.
fn read(path: &Path, notes: &mut Vec<String>) -> Option<Vec<ServerAddress>> {
    match file::read(path, LARGEST) {
        Ok(bytes) => {
            let parsed = parse(&String::from_utf8_lossy(&bytes));
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
            "it is named twice"
        } else {
            found.servers.push(server.clone());
            continue;
        };
        found.notes.push(format!("{}: {ip} is left out: {reason}", path.display()));
    }
}

/// Parses resolv.conf. Only `nameserver` lines matter here.
pub fn parse(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for (index, line) in text.lines().enumerate() {
        let mut warn = |problem: String| conf.warnings.push(format!("line {}: {problem}", index + 1));
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {}
            Some(keyword) if keyword.eq_ignore_ascii_case("nameserver") => {
                warn(format!("`{keyword}` is read as nothing; write `nameserver`"));
                continue;
            }
            _ => continue,
        }
        let Some(address) = words.next() else {
            warn("`nameserver` without an address".to_owned());
            continue;
        };
        if words.next().is_some() {
            warn(format!("several words after `nameserver`; only {address} counts, write one line for each"));
        }
        let server = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => ServerAddress::from(IpAddr::from([127, 0, 0, 1])),
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => {
                ServerAddress::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
            }
            Ok(ip) if ip.is_multicast() => {
                warn(format!("{address} is left out: it is not one host"));
                continue;
            }
            Ok(ip) => ServerAddress::from(ip),
            Err(_) => match address.parse::<ServerAddress>() {
                Ok(scoped) if scoped.scope.is_some() && !address.contains(['[', '/']) => scoped,
                Err(error) if address.contains('%') => {
                    warn(format!("{address} is left out: {}", error.problem()));
                    continue;
                }
                _ => {
                    warn(format!("{address} is left out: it is not an IP address"));
                    continue;
                }
            },
        };
        conf.nameservers.push(server.addr.ip());
        conf.servers.push(server);
    }
    conf
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
    paths: Vec<PathBuf>,
    /// What they were when last looked at.
    seen: Vec<Identity>,
    /// The pace.
    ticks: tokio::time::Interval,
}

/// What makes a file the same file with the same contents, to all appearances.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    /// Where it points, if it is a symbolic link.
    target: Option<PathBuf>,
    /// Device, inode, size and times of what is there.
    file: Option<(u64, u64, u64, Option<SystemTime>)>,
}

impl Watch {
    /// A watch that knows the files as they are now. Needs a tokio runtime.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = paths.iter().map(|path| identity(path)).collect();
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { paths, seen, ticks }
    }

    /// Waits until one of the files is no longer what it was. May be dropped and called again.
    pub async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            let now: Vec<Identity> = self.paths.iter().map(|path| identity(path)).collect();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

/// The identity of a file, by its metadata alone: a look every two seconds must cost nothing.
fn identity(path: &Path) -> Identity {
    let describe = |m: Metadata| (m.dev(), m.ino(), m.len(), m.modified().ok());
    Identity { target: std::fs::read_link(path).ok(), file: std::fs::metadata(path).ok().map(describe) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with an /etc/resolv.conf and, if not empty, one behind the stub.
    fn folder(resolv_conf: &str, behind_stub: &str) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            resolv_conf: dir.path().join("resolv.conf"),
            behind_stub: dir.path().join("resolved.conf"),
            remembered: vec![dir.path().join(REMEMBERED)],
        };
        fs::write(&paths.resolv_conf, resolv_conf).unwrap();
        if !behind_stub.is_empty() {
            fs::write(&paths.behind_stub, behind_stub).unwrap();
        }
        (dir, paths)
    }

    /// The servers found, as text.
    fn found(resolv_conf: &str, behind_stub: &str, own: &[&str]) -> (Vec<String>, String) {
        let (_dir, paths) = folder(resolv_conf, behind_stub);
        let own: Vec<SocketAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        let found = discover(&paths, &own);
        (found.servers.iter().map(ToString::to_string).collect(), found.notes.join("\n"))
    }

    #[test]
    fn resolv_conf_lines() {
        let rows: [(&str, &[&str], &str); 14] = [
            ("nameserver 192.0.2.1\nnameserver 2001:db8::1", &["192.0.2.1", "[2001:db8::1]:53"], ""),
            ("  nameserver\t192.0.2.1   # the first", &["192.0.2.1"], ""),
            ("# nameserver 192.0.2.1\n; nameserver 192.0.2.2", &[], ""),
            ("search example.com\noptions edns0 ndots:5\ndomain x\nsortlist y", &[], ""),
            ("nameserver 192.0.2.1 192.0.2.2", &["192.0.2.1"], "line 1: several words"),
            ("nameserver 192.0.2.1,192.0.2.2", &[], "not an IP address"),
            ("\nnameserver dns.example", &[], "line 2: dns.example is left out"),
            ("nameserver 192.0.2.1:53", &[], "not an IP address"),
            ("nameserver", &[], "without an address"),
            ("nameserver fe80::1%eth0", &["[fe80::1%eth0]:53"], ""),
            ("nameserver 192.0.2.1%eth0", &[], "link-local"),
            ("NameServer 192.0.2.1", &[], "write `nameserver`"),
            ("nameserver 0.0.0.0\nnameserver ::", &["127.0.0.1", "[::1]:53"], ""),
            ("nameserver 224.0.0.251\r\nnameserver 192.0.2.9\r\n", &["192.0.2.9"], "not one host"),
        ];
        for (text, servers, warning) in rows {
            let parsed = parse(text);
            let shown: Vec<String> = parsed.servers.iter().map(ToString::to_string).collect();
            assert_eq!(shown, servers, "{text:?}");
            assert_eq!(parsed.warnings.is_empty(), warning.is_empty(), "{text:?}: {:?}", parsed.warnings);
            assert!(parsed.warnings.join("\n").contains(warning), "{text:?}: {:?}", parsed.warnings);
        }
    }

    #[test]
    fn the_servers_behind_the_stub_are_used() {
        let (servers, notes) = found("nameserver 127.0.0.53", "nameserver 192.0.2.1", &[]);
        assert_eq!(servers, ["192.0.2.1"]);
        assert!(notes.contains("127.0.0.53 is left out: it is the stub"), "{notes}");
        let (servers, _) = found("nameserver 127.0.0.54\nnameserver 192.0.2.7", "nameserver 192.0.2.1", &[]);
        assert_eq!(servers, ["192.0.2.7"]);
    }

    #[test]
    fn our_own_addresses_and_repetitions_are_left_out() {
        let conf = "nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver 192.0.2.1";
        let (servers, notes) = found(conf, "", &["127.0.0.1:53"]);
        assert_eq!(servers, ["192.0.2.1"]);
        assert!(notes.contains("itself listens") && notes.contains("named twice"), "{notes}");
        for wildcard in ["0.0.0.0:53", "[::]:53"] {
            assert_eq!(found(conf, "", &[wildcard]).0, ["192.0.2.1"], "{wildcard}");
        }
        assert_eq!(found(conf, "", &["127.0.0.1:5335"]).0, ["127.0.0.1", "192.0.2.1"]);
    }

    #[test]
    fn nothing_usable_is_said_and_no_error() {
        let (servers, notes) = found("", "", &[]);
        assert!(servers.is_empty() && notes.contains("names no upstream server"), "{notes}");
        let missing = Paths {
            resolv_conf: "/nonexistent/a".into(),
            behind_stub: "/nonexistent/b".into(),
            remembered: vec!["/nonexistent/c".into()],
        };
        let found = discover(&missing, &[]);
        assert!(found.servers.is_empty() && found.notes[0].contains("cannot read /nonexistent/a"));
    }

    #[test]
    fn what_is_no_file_or_without_end_is_said_and_not_waited_for() {
        let (dir, paths) = folder("nameserver 192.0.2.1", "");
        fs::remove_file(&paths.resolv_conf).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&paths.resolv_conf).status().unwrap().success());
        let notes = |paths: &Paths| discover(paths, &[]).notes.join("\n");
        assert!(notes(&paths).contains("not a regular file"));
        let endless = Paths { resolv_conf: "/dev/zero".into(), ..paths.clone() };
        assert!(notes(&endless).contains("not a regular file"));
        let large = Paths { resolv_conf: dir.path().join("large"), ..paths };
        fs::write(&large.resolv_conf, "nameserver 192.0.2.1\n".repeat(4000)).unwrap();
        assert!(notes(&large).contains("larger than 65536 octets"));
    }

    #[test]
    fn what_a_take_remembered_is_asked_once_nobody_else_is_left() {
        let (dir, paths) = folder("nameserver 127.0.0.1", "");
        fs::write(dir.path().join(REMEMBERED), "nameserver 192.0.2.5\nnameserver 127.0.0.1\n").unwrap();
        let own = ["127.0.0.1:53".parse().unwrap()];
        let shown = |own: &[SocketAddr]| -> Vec<String> {
            discover(&paths, own).servers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(&own), ["192.0.2.5"]);
        assert!(!discover(&paths, &own).notes.iter().any(|note| note.contains("resolv.conf: 127.0.0.1")));
        fs::write(&paths.resolv_conf, "nameserver 192.0.2.6").unwrap();
        assert_eq!(shown(&own), ["192.0.2.6"], "somebody named another one since");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_any_kind_is_noticed_and_quiet_is_not() {
        let (dir, paths) = folder("nameserver 192.0.2.1", "");
        let mut watch = paths.watch();
        let quiet = Duration::from_secs(60);
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
        fs::write(&paths.resolv_conf, "nameserver 192.0.2.11").unwrap();
        watch.changed().await;
        let replacement = dir.path().join("new");
        fs::write(&replacement, "nameserver 192.0.2.12").unwrap();
        fs::rename(&replacement, &paths.resolv_conf).unwrap();
        watch.changed().await;
        fs::remove_file(&paths.resolv_conf).unwrap();
        watch.changed().await;
        std::os::unix::fs::symlink(&paths.behind_stub, &paths.resolv_conf).unwrap();
        watch.changed().await;
        fs::write(&paths.behind_stub, "nameserver 192.0.2.1").unwrap();
        watch.changed().await;
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    }
}
