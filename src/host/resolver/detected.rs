//! What was found on the machine, as far as its resolver is concerned. No look at the machine itself: that is
//! `detect.rs`. Who manages resolv.conf follows from it in `manager.rs`.

use super::RESOLV_CONF;
use super::conf::Nameserver;
use super::content::Content;
use super::resolvectl::Links;
use crate::host::resolv_conf;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Detected {
    /// The content of the paths that plans read or write; other paths are absent.
    pub files: BTreeMap<String, Content>,
    /// The targets of those that are links, without resolv.conf.
    pub targets: BTreeMap<String, String>,
    /// The folders of those paths that exist.
    pub directories: BTreeSet<String>,
    /// The text of resolv.conf with links followed; None if programs cannot read it.
    pub resolv_conf: Option<String>,
    /// The path of resolv.conf with all links followed.
    pub resolv_conf_target: String,
    /// The running services.
    pub running: BTreeSet<Program>,
    /// Immutable paths, which root may not write either (`chattr +i`).
    pub immutable: BTreeSet<String>,
    /// The state of systemd-resolved, if it is available.
    pub links: Option<Links>,
    /// The version of systemd-resolved, if it is available.
    pub systemd: Option<u32>,
    /// A container manager, which may write resolv.conf.
    pub containers: Option<&'static str>,
    /// SELinux is in use.
    pub selinux: bool,
    /// The program `resolvconf` of Debian's package of that name.
    pub debian_resolvconf: Option<String>,
    /// The program `resolvconf` of openresolv.
    pub openresolv: Option<String>,
    /// The lease file of each running dhclient.
    pub lease_files: Vec<String>,
    /// The script of a running udhcpc.
    pub udhcpc_script: Option<String>,
    /// The current servers without pvtzd.
    pub upstream: Vec<Nameserver>,
}

/// A program that has to do with resolv.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// systemd-resolved
    Resolved,
    /// systemd-networkd, which passes the servers of DHCP to systemd-resolved
    Networkd,
    /// NetworkManager
    NetworkManager,
    /// dhclient
    Dhclient,
    /// dhcpcd
    Dhcpcd,
    /// BusyBox's udhcpc
    Udhcpc,
}

/// Who writes resolv.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// systemd-resolved; programs query its stub. It also has the servers of networkd and netplan.
    Resolved,
    /// NetworkManager
    NetworkManager,
    /// dhclient, at each lease
    Dhclient,
    /// cloud-init, at each boot
    CloudInit,
    /// resolvconf of Debian
    Resolvconf,
    /// openresolv, which also has the command `resolvconf`
    Openresolv,
    /// dhcpcd, at each lease
    Dhcpcd,
    /// BusyBox's udhcpc, at each lease
    Udhcpc,
    /// The Windows Subsystem for Linux, at each start
    Wsl,
    /// Proxmox VE, at each start of the container
    Pve,
    /// ConnMan
    Connman,
    /// SUSE's netconfig
    Netconfig,
    /// None: an ordinary file.
    Plain,
}

impl Manager {
    /// Its display name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Resolved => "systemd-resolved",
            Self::NetworkManager => "NetworkManager",
            Self::Dhclient => "dhclient",
            Self::CloudInit => "cloud-init",
            Self::Resolvconf => "resolvconf",
            Self::Openresolv => "openresolv",
            Self::Dhcpcd => "dhcpcd",
            Self::Udhcpc => "udhcpc",
            Self::Wsl => "WSL",
            Self::Pve => "Proxmox VE",
            Self::Connman => "ConnMan",
            Self::Netconfig => "netconfig",
            Self::Plain => "a plain /etc/resolv.conf",
        }
    }
}

/// systemd-resolved's files.
pub const RESOLVED_RUN: &str = "/run/systemd/resolve/";

/// Where systemd-resolved's stub listens.
pub const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

impl Detected {
    /// The content of a path.
    pub fn content(&self, path: &str) -> Content {
        self.files.get(path).cloned().unwrap_or(Content::Absent)
    }

    /// The text of the file at a path; empty if there is none.
    pub fn text(&self, path: &str) -> String {
        self.files.get(path).and_then(Content::text).unwrap_or_default()
    }

    /// The files whose paths have this prefix.
    pub fn files_below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, String)> + 'a {
        let below = self.files.iter().filter(move |(path, _)| path.starts_with(folder));
        below.filter_map(|(path, content)| Some((path.as_str(), content.text()?)))
    }

    /// True if resolv.conf has only systemd-resolved's stub.
    pub fn asks_stub(&self) -> bool {
        let servers = resolv_conf::parse(self.resolv_conf.as_deref().unwrap_or_default()).nameservers;
        !servers.is_empty() && servers.iter().all(|server| *server == STUB)
    }

    /// True if programs query systemd-resolved by nsswitch, without resolv.conf.
    pub fn nss_resolve(&self) -> bool {
        let hosts = self.text("/etc/nsswitch.conf");
        hosts
            .lines()
            .filter_map(|line| line.trim().strip_prefix("hosts:"))
            .any(|services| services.split_whitespace().any(|word| word == "resolve"))
    }

    /// True if cloud-init is configured to write resolv.conf. The value of the last file is used.
    pub fn cloud_init_writes(&self) -> bool {
        let setting = |text: &str| {
            let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            let value =
                lines.find_map(|line| line.strip_prefix("manage_resolv_conf:"))?.trim().to_ascii_lowercase();
            Some(["true", "yes", "on", "1"].contains(&value.as_str()))
        };
        // "/etc/cloud/cloud.cfg" sorts before "/etc/cloud/cloud.cfg.d/…", as cloud-init reads them
        self.files_below("/etc/cloud/").filter_map(|(_, text)| setting(&text)).last().unwrap_or(false)
    }

    /// True if resolv.conf is a dangling link.
    pub fn dangles(&self) -> bool {
        matches!(self.content(RESOLV_CONF), Content::Link { .. }) && self.resolv_conf.is_none()
    }
}
