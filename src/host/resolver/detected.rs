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
    /// What lies at the paths that plans read or write; what is not here is absent.
    pub files: BTreeMap<String, Content>,
    /// Of those that are links, where they lead; resolv.conf left out.
    pub targets: BTreeMap<String, String>,
    /// The folders of those paths that exist.
    pub directories: BTreeSet<String>,
    /// What programs read in resolv.conf, over all links; nothing if they read nothing.
    pub resolv_conf: Option<String>,
    /// Where resolv.conf ends, over all links.
    pub resolv_conf_target: String,
    /// What runs.
    pub running: BTreeSet<Program>,
    /// Immutable paths, which not even root may write (`chattr +i`).
    pub immutable: BTreeSet<String>,
    /// What systemd-resolved says of itself, if it does.
    pub links: Option<Links>,
    /// The version of systemd-resolved, if it runs and tells.
    pub systemd: Option<u32>,
    /// A program that makes containers, which take over resolv.conf.
    pub containers: Option<&'static str>,
    /// SELinux labels count here.
    pub selinux: bool,
    /// The program `resolvconf` of Debian's package of that name.
    pub debian_resolvconf: Option<String>,
    /// The program `resolvconf` of openresolv.
    pub openresolv: Option<String>,
    /// Where each running dhclient was told to keep its leases.
    pub lease_files: Vec<String>,
    /// The script that a running udhcpc was told to run.
    pub udhcpc_script: Option<String>,
    /// The servers that were asked until now, without ourselves.
    pub upstream: Vec<Nameserver>,
}

/// A program that has to do with resolv.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// systemd-resolved
    Resolved,
    /// systemd-networkd, which tells systemd-resolved what DHCP said
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
    /// systemd-resolved; programs ask its stub. What networkd or netplan know goes through it.
    Resolved,
    /// NetworkManager
    NetworkManager,
    /// dhclient, at each lease
    Dhclient,
    /// cloud-init, at each boot
    CloudInit,
    /// resolvconf as Debian has it
    Resolvconf,
    /// openresolv, whose command is `resolvconf` too
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
    /// None: a file.
    Plain,
}

impl Manager {
    /// Its name for people.
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
    /// What lies at a path.
    pub fn content(&self, path: &str) -> Content {
        self.files.get(path).cloned().unwrap_or(Content::Absent)
    }

    /// The text of the file at a path; empty if there is none.
    pub fn text(&self, path: &str) -> String {
        self.files.get(path).and_then(Content::text).unwrap_or_default()
    }

    /// The files whose paths begin so.
    pub fn files_below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, String)> + 'a {
        let below = self.files.iter().filter(move |(path, _)| path.starts_with(folder));
        below.filter_map(|(path, content)| Some((path.as_str(), content.text()?)))
    }

    /// True when programs that read resolv.conf ask systemd-resolved's stub alone.
    pub fn asks_stub(&self) -> bool {
        let servers = resolv_conf::parse(self.resolv_conf.as_deref().unwrap_or_default()).nameservers;
        !servers.is_empty() && servers.iter().all(|server| *server == STUB)
    }

    /// True when programs ask systemd-resolved through nsswitch, past resolv.conf.
    pub fn nss_resolve(&self) -> bool {
        let hosts = self.text("/etc/nsswitch.conf");
        hosts
            .lines()
            .filter_map(|line| line.trim().strip_prefix("hosts:"))
            .any(|services| services.split_whitespace().any(|word| word == "resolve"))
    }

    /// True when the configuration tells cloud-init to write resolv.conf. The last file counts.
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

    /// True when what lies at resolv.conf is a link that leads nowhere.
    pub fn dangles(&self) -> bool {
        matches!(self.content(RESOLV_CONF), Content::Link { .. }) && self.resolv_conf.is_none()
    }
}
