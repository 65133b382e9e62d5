//! What was found on the machine, as far as its resolver is concerned, and who manages it. No look at the machine
//! itself: that is `look.rs`.

use super::RESOLV_CONF;
use super::conf::Nameserver;
use super::content::Content;
use super::resolvectl::Links;
use super::{network_manager, others};
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

/// The last folder of drop-ins that NetworkManager reads.
const NETWORK_MANAGER_ETC: &str = "/etc/NetworkManager/conf.d/";

/// The last value of a key in the section `[main]`.
fn last_in_main(text: &str, key: &str) -> Option<String> {
    let (mut section, mut found) = (String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_string();
        } else if let Some((name, value)) = line.split_once('=')
            && section == "main"
            && name.trim() == key
        {
            found = Some(value.trim().to_string());
        }
    }
    found
}

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

    /// Who writes resolv.conf.
    pub fn manager(&self) -> Manager {
        let text = self.resolv_conf.as_deref().unwrap_or_default();
        let target = self.resolv_conf_target.as_str();
        let says = |words: &str| {
            let comments = text.lines().filter(|line| line.starts_with(['#', ';']));
            comments.map(str::to_ascii_lowercase).any(|line| line.contains(words))
        };
        let runs = |program| self.running.contains(&program);
        if runs(Program::Resolved)
            && (self.asks_stub() || target.starts_with(RESOLVED_RUN) || self.nss_resolve())
        {
            return Manager::Resolved;
        }
        if let Some(manager) = others::manager(self) {
            return manager;
        }
        let network_manager =
            target.starts_with("/run/NetworkManager/") || says("generated by networkmanager");
        let is_there = runs(Program::NetworkManager) || self.directories.contains("/etc/NetworkManager");
        if (runs(Program::NetworkManager) && !self.network_manager_leaves_it())
            || (network_manager && is_there)
        {
            return Manager::NetworkManager;
        }
        let dhclient =
            self.directories.contains("/etc/dhcp") || self.files.contains_key("/etc/dhclient.conf");
        if runs(Program::Dhclient) || (says("dhclient") && dhclient) {
            return Manager::Dhclient;
        }
        match self.cloud_init_writes() || says("cloud-init") || says("manage-resolv-conf") {
            true if self.directories.contains("/etc/cloud") => Manager::CloudInit,
            _ => Manager::Plain,
        }
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

    /// True when NetworkManager's configuration tells it to leave resolv.conf alone. It reads /usr/lib, /run, its own
    /// file, then /etc, each folder by name; the last value of each key counts. A file of the same name in a later
    /// folder replaces the earlier one (NetworkManager.conf(5)). What a take has written there is left out.
    fn network_manager_leaves_it(&self) -> bool {
        let folders = ["/usr/lib/NetworkManager/conf.d/", "/run/NetworkManager/conf.d/", NETWORK_MANAGER_ETC];
        let mut texts = Vec::new();
        for (index, folder) in folders.iter().enumerate() {
            if *folder == NETWORK_MANAGER_ETC {
                texts.push(self.text("/etc/NetworkManager/NetworkManager.conf"));
            }
            let later = folders.get(index + 1..).unwrap_or_default();
            let is_replaced = |path: &str| {
                let name = path.rsplit('/').next().unwrap_or_default();
                later.iter().any(|folder| self.files.contains_key(&format!("{folder}{name}")))
            };
            let below = self.files_below(folder);
            let below = below.filter(|(path, _)| *path != network_manager::CONF && !is_replaced(path));
            texts.extend(below.map(|(_, text)| text));
        }
        let last = |key: &str| texts.iter().rev().find_map(|text| last_in_main(text, key));
        last("dns").as_deref() == Some("none") || last("rc-manager").as_deref() == Some("unmanaged")
    }

    /// True when what lies at resolv.conf is a link that leads nowhere.
    pub fn dangles(&self) -> bool {
        matches!(self.content(RESOLV_CONF), Content::Link { .. }) && self.resolv_conf.is_none()
    }
}
