//! Looking at the machine: files, links, what runs. Changes nothing.

use super::conf::Nameserver;
use super::content::Content;
use super::detected::{Detected, Program};
use super::machine::Machine;
use super::others;
use super::resolvectl::{self, Links};
use super::trouble::ResolverError;
use super::{RESOLV_CONF, dhclient, dhcpcd, resolvconf, store};
use crate::engine::sort;
use crate::host::system_servers;
use crate::host::system_servers::Paths;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files that plans read or write.
const FILES: [&str; 16] = [
    RESOLV_CONF,
    dhcpcd::HOOK,
    resolvconf::OPENRESOLV,
    resolvconf::SETTINGS,
    resolvconf::UNIT_DROP_IN,
    dhclient::HOOK_FILES[0],
    dhclient::HOOK_FILES[1],
    dhclient::SCRIPTS[0],
    dhclient::SCRIPTS[1],
    "/etc/nsswitch.conf",
    "/etc/systemd/resolved.conf",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/dhcp/dhclient.conf",
    "/etc/dhclient.conf",
    "/etc/dhcp/dhclient-enter-hooks.d/pvtzd",
    "/etc/cloud/cloud.cfg",
];

/// Folders of whose files plans read those that end so.
const FOLDERS: [(&str, &str); 9] = [
    ("/etc/systemd/dns-delegate.d", ".dns-delegate"),
    ("/etc/systemd/resolved.conf.d", ".conf"),
    ("/run/systemd/resolved.conf.d", ".conf"),
    ("/usr/lib/systemd/resolved.conf.d", ".conf"),
    ("/etc/NetworkManager/conf.d", ".conf"),
    ("/run/NetworkManager/conf.d", ".conf"),
    ("/usr/lib/NetworkManager/conf.d", ".conf"),
    ("/etc/cloud/cloud.cfg.d", ".cfg"),
    ("/etc/dhcp/dhclient-enter-hooks.d", "pvtzd"),
];

/// Folders that say what is installed, or that an edit may need.
const DIRECTORIES: [&str; 12] = [
    "/etc",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/systemd/system/pvtzd.service.d",
    "/etc/NetworkManager",
    "/etc/dhcp",
    "/etc/cloud",
    "/etc/udhcpc",
    "/run/systemd/system",
    "/usr/lib/systemd",
    dhclient::LEASES[0],
    dhclient::LEASES[1],
];

/// Where the program `resolvconf` may be.
const RESOLVCONF: [&str; 6] = [
    "/sbin/resolvconf",
    "/usr/sbin/resolvconf",
    "/bin/resolvconf",
    "/usr/bin/resolvconf",
    "/usr/local/sbin/resolvconf",
    "/run/current-system/sw/bin/resolvconf",
];

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

/// Octets of a command line that are read.
const MAX_COMMAND: u64 = 64 << 10;

/// The helper that a DHCP client runs instead of its script where NetworkManager has started it.
const OF_NETWORK_MANAGER: &str = "nm-dhcp-helper";

/// Looks at the machine. `own` is where pvtzd answers.
///
/// # Errors
/// A file that matters is there and cannot be read.
pub fn detect(machine: &Machine, own: IpAddr) -> Result<Detected, ResolverError> {
    let mut finding = Detected::default();
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
            // Links to drop-ins are followed; a link at resolv.conf is examined itself.
            Content::Link { .. } if path != RESOLV_CONF => {
                let target = machine.target(&path);
                let content = machine.content(&target).unwrap_or(Content::Absent);
                finding.targets.insert(path.clone(), target);
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
    processes(machine, &mut finding);
    if let Some(script) = finding.udhcpc_script.clone()
        && !finding.files.contains_key(&script)
        && let Ok(content @ Content::File { .. }) = machine.content(&machine.target(&script))
    {
        finding.files.insert(script, content);
    }
    find_resolvconf(machine, &mut finding);
    if finding.running.contains(&Program::Resolved) {
        finding.links = links(machine);
        let ran = machine.run(&["resolvectl", "--version"]).ok().filter(|ran| ran.success);
        finding.systemd = ran.and_then(|ran| resolvectl::version(&ran.stdout));
    }
    let in_etc = finding.files.keys().filter(|path| path.starts_with("/etc/"));
    finding.immutable = in_etc.filter(|path| is_immutable(machine, path)).cloned().collect();
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
fn upstream(machine: &Machine, own: IpAddr) -> Vec<Nameserver> {
    let paths = Paths {
        resolv_conf: machine.at(&machine.target(RESOLV_CONF)),
        behind_stub: machine.at("/run/systemd/resolve/resolv.conf"),
        remembered: Vec::new(),
    };
    let found = system_servers::discover(&paths, &[SocketAddr::new(own, 53)]);
    found.servers.iter().map(Nameserver::from).collect()
}

/// Which `resolvconf` is installed: both are shell scripts that name themselves. systemd's is a link to a program.
fn find_resolvconf(machine: &Machine, finding: &mut Detected) {
    for path in RESOLVCONF {
        let Ok(content) = machine.content(&machine.target(path)) else { continue };
        let text = content.text().unwrap_or_default();
        if text.contains("openresolv") {
            finding.openresolv.get_or_insert(path.to_string());
        } else if text.contains("Debian resolvconf") {
            finding.debian_resolvconf.get_or_insert(path.to_string());
        }
    }
}

/// Notes the DHCP clients that run and write this machine's resolv.conf. Their command lines name files that root will
/// write or pvtzd will read: those of other users than root and the caller do not count, whatever they call themselves.
fn processes(machine: &Machine, finding: &mut Detected) {
    let Ok(entries) = fs::read_dir(machine.at("/proc")) else { return };
    for entry in entries.flatten() {
        let folder = entry.path();
        if !fs::metadata(&folder).is_ok_and(|found| [0, store::caller()].contains(&found.uid())) {
            continue;
        }
        let Ok(comm) = fs::read_to_string(folder.join("comm")) else { continue };
        let words = command_line(&folder);
        let Some(program) = program(comm.trim(), &words) else { continue };
        if words.iter().any(|word| word.contains(OF_NETWORK_MANAGER)) || !is_ours(machine, &folder) {
            continue;
        }
        finding.running.insert(program);
        let behind = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            let path = words.get(at + 1)?;
            (path.starts_with('/') && !path.contains(char::is_control)).then(|| path.clone())
        };
        match program {
            Program::Dhclient => finding.lease_files.extend(behind("-lf")),
            Program::Udhcpc => {
                finding.udhcpc_script = finding.udhcpc_script.take().or(behind("-s")).or(behind("--script"));
            }
            _ => {}
        }
    }
    sort::ascending(&mut finding.lease_files);
    finding.lease_files.dedup();
}

/// The program of a process: by the kernel's name for it, or by the first word of its command line, behind `busybox`
/// by the second one.
fn program(comm: &str, words: &[String]) -> Option<Program> {
    let base = |index: usize| words.get(index).and_then(|word| word.rsplit('/').next()).unwrap_or_default();
    let mut names = vec![comm, base(0)];
    if names.contains(&"busybox") {
        names.push(base(1));
    }
    PROCESSES.iter().find(|(name, _)| names.contains(name)).map(|(_, program)| *program)
}

/// True for a process in this machine's network that sees this machine's resolv.conf: one of a container does neither.
/// The mount namespaces are not compared: a service may have a separate one and still the machine's /etc.
fn is_ours(machine: &Machine, process: &Path) -> bool {
    let network = |process: &Path| fs::read_link(process.join("ns/net")).ok();
    let identity = |path: &Path| fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let is_another = |path: &str| {
        let theirs = process.join("root").join(path.trim_start_matches('/'));
        differ(identity(&theirs), identity(&machine.at(path)))
    };
    // Processes that this user may not examine count as those of the machine.
    !differ(network(process), network(&machine.at("/proc/self")))
        && !is_another("/etc")
        && !is_another(RESOLV_CONF)
}

/// True when both are known and not the same.
fn differ<T: PartialEq>(one: Option<T>, two: Option<T>) -> bool {
    matches!((one, two), (Some(one), Some(two)) if one != two)
}

/// The command line of a process.
fn command_line(process: &Path) -> Vec<String> {
    let mut octets = Vec::new();
    let file = fs::File::open(process.join("cmdline"));
    if file.and_then(|file| file.take(MAX_COMMAND).read_to_end(&mut octets)).is_err() {
        return Vec::new();
    }
    octets.split(|octet| *octet == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
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
