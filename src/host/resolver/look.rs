//! Looking at the machine: files, links, what runs. Changes nothing.

use super::RESOLV_CONF;
use super::content::Content;
use super::finding::{Finding, Program};
use super::machine::Machine;
use super::others;
use super::resolvectl::{self, Links};
use super::trouble::Trouble;
use crate::host::resolv_conf;
use crate::host::resolv_conf::Paths;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Files that plans read or write.
const FILES: [&str; 8] = [
    RESOLV_CONF,
    "/etc/nsswitch.conf",
    "/etc/systemd/resolved.conf",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/dhcp/dhclient.conf",
    "/etc/dhclient.conf",
    "/etc/dhcp/dhclient-enter-hooks.d/pvtzd",
    "/etc/cloud/cloud.cfg",
];

/// Folders of whose files plans read those that end so.
const FOLDERS: [(&str, &str); 7] = [
    ("/etc/systemd/dns-delegate.d", ".dns-delegate"),
    ("/etc/systemd/resolved.conf.d", ".conf"),
    ("/run/systemd/resolved.conf.d", ".conf"),
    ("/usr/lib/systemd/resolved.conf.d", ".conf"),
    ("/etc/NetworkManager/conf.d", ".conf"),
    ("/etc/cloud/cloud.cfg.d", ".cfg"),
    ("/etc/dhcp/dhclient-enter-hooks.d", "pvtzd"),
];

/// Folders that say what is installed, or that an edit may need.
const DIRECTORIES: [&str; 6] =
    ["/etc", "/etc/systemd", "/etc/NetworkManager", "/etc/dhcp", "/etc/cloud", "/usr/lib/systemd"];

/// Programs that run as services.
const SERVICES: [(&str, Program); 3] = [
    ("systemd-resolved", Program::Resolved),
    ("systemd-networkd", Program::Networkd),
    ("NetworkManager", Program::NetworkManager),
];

/// Programs that make containers, and what shows that they are here.
const CONTAINERS: [(&str, &[&str]); 3] = [
    ("kubelet", &["/var/lib/kubelet", "/etc/kubernetes", "/etc/rancher"]),
    ("Docker", &["/etc/docker", "/run/docker.sock", "/var/run/docker.sock"]),
    ("containerd", &["/run/containerd/containerd.sock", "/etc/containerd"]),
];

/// Programs that are known by the names of their processes.
const PROCESSES: [(&str, Program); 3] =
    [("dhclient", Program::Dhclient), ("dhcpcd", Program::Dhcpcd), ("udhcpc", Program::Udhcpc)];

/// Looks at the machine. `own` is where pvtzd answers.
///
/// # Errors
/// A file that matters is there and cannot be read.
pub fn look(machine: &Machine, own: IpAddr) -> Result<Finding, Trouble> {
    let mut finding = Finding::default();
    let mut paths: Vec<String> = FILES.iter().chain(&others::FILES).map(ToString::to_string).collect();
    for (folder, ending) in FOLDERS {
        let Ok(entries) = fs::read_dir(machine.at(folder)) else { continue };
        finding.directories.insert(folder.to_string());
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        paths.extend(names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")));
    }
    for path in paths {
        match machine.content(&path)? {
            Content::Absent => {}
            // A drop-in that is a link counts by what it leads to; resolv.conf counts by itself.
            Content::Link { .. } if path != RESOLV_CONF => {
                let content = machine.content(&machine.target(&path)).unwrap_or(Content::Absent);
                finding.files.insert(path, content);
            }
            content => {
                finding.files.insert(path, content);
            }
        }
    }
    for path in DIRECTORIES {
        if machine.at(path).is_dir() {
            finding.directories.insert(path.to_string());
        }
    }
    finding.resolv_conf = machine.read(RESOLV_CONF)?;
    finding.resolv_conf_target = machine.target(RESOLV_CONF);
    for (service, program) in SERVICES {
        let is_active = machine.run(&["systemctl", "is-active", "--quiet", service]);
        if is_active.is_ok_and(|ran| ran.success) {
            finding.running.insert(program);
        }
    }
    for (name, program) in PROCESSES {
        if runs(machine, name) {
            finding.running.insert(program);
        }
    }
    if finding.running.contains(&Program::Resolved) {
        finding.links = links(machine);
        let ran = machine.run(&["resolvectl", "--version"]).ok().filter(|ran| ran.success);
        finding.systemd = ran.and_then(|ran| resolvectl::version(&ran.stdout));
    }
    finding.immutable = finding.files.keys().filter(|path| is_immutable(machine, path)).cloned().collect();
    let is_there = |(_, paths): &&(&str, &[&str])| paths.iter().any(|path| machine.at(path).exists());
    finding.containers = CONTAINERS.iter().find(is_there).map(|(program, _)| *program);
    finding.selinux = machine.at("/sys/fs/selinux/enforce").exists();
    finding.upstream = upstream(machine, own);
    Ok(finding)
}

/// What systemd-resolved says of itself, if it can be asked.
fn links(machine: &Machine) -> Option<Links> {
    let said = |word| machine.run(&["resolvectl", word]).ok().filter(|ran| ran.success).map(|ran| ran.stdout);
    Some(Links::parse(&said("dns")?, &said("domain")?))
}

/// The servers that the system asks, ourselves left out.
fn upstream(machine: &Machine, own: IpAddr) -> Vec<IpAddr> {
    let paths = Paths {
        resolv_conf: machine.at(&machine.target(RESOLV_CONF)),
        behind_stub: machine.at("/run/systemd/resolve/resolv.conf"),
        remembered: Vec::new(),
    };
    let found = resolv_conf::discover(&paths, &[SocketAddr::new(own, 53)]);
    found.servers.iter().map(|server| server.addr.ip()).collect()
}

/// True when a process of this name runs.
fn runs(machine: &Machine, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(machine.at("/proc")) else { return false };
    let comm = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    entries.flatten().filter_map(comm).any(|comm| comm.trim() == name)
}

/// True when a file has the attribute `i`. Only `lsattr` can tell without a call that has no safe form.
fn is_immutable(machine: &Machine, path: &str) -> bool {
    let at = machine.at(path);
    let Some(at) = at.to_str().filter(|_| !at.is_symlink()) else { return false };
    let ran = machine.run(&["lsattr", "-d", "--", at]);
    ran.is_ok_and(|ran| {
        ran.success && ran.stdout.split_whitespace().next().is_some_and(|flags| flags.contains('i'))
    })
}
