//! The machine's resolver configuration: makes programs use pvtzd, and restores the former settings.
//!
//! ```text
//!  detect ─▶ Detected ─▶ plan ─▶ Plan ─▶ store (durable) ─▶ carry out ─▶ check, else back     take
//!            detected.rs pure: a file for each manager      machine.rs       verify.rs
//! ```
//!
//! Whoever writes resolv.conf is told, in its own way, to leave it alone or to ask us; writing over its file would
//! last until its next turn. What was there is remembered octet for octet before anything changes, and given back
//! only where what we wrote is still there. Nothing here runs without `pvtzd resolver`.

pub mod content;
pub mod detected;
pub mod enable;
pub mod machine;
pub mod store;

mod cloud_init;
mod conf;
mod detect;
mod dhclient;
mod dhcpcd;
pub mod diff;
mod manager;
mod network_manager;
mod others;
mod plain;
mod resolvconf;
mod resolvectl;
mod resolved;
mod status;
mod trouble;
mod udhcpc;
pub mod verify;

#[cfg(test)]
mod enable_tests;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod manager_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod status_tests;

pub use conf::{Nameserver, Routing, search_domains};
pub use detect::detect;
pub use status::{ResolverStatus, status, where_it_leads};
pub use trouble::{Refusal, ResolverError};

use crate::host::follow::FollowedSource;
use content::{Content, FileOctets};
use detected::{Detected, Manager};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where programs read whom to ask.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverTarget {
    /// The address of pvtzd, on port 53.
    pub address: IpAddr,
    /// The names to direct to pvtzd.
    pub scope: Names,
    /// The zones that pvtzd serves.
    pub zones: Vec<String>,
}

/// Which names are to come to pvtzd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// All.
    All,
    /// Those at or below these zones; others go to their former servers.
    Only(Vec<String>),
}

/// How to bring it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// The manager of resolv.conf.
    pub manager: Manager,
    /// The steps, in order.
    pub steps: Vec<HostStep>,
    /// The files with the servers of later networks.
    pub follow: Vec<FollowedSource>,
    /// Notes for the user, one sentence each.
    pub notes: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum HostStep {
    /// Create a folder.
    MakeDirectory {
        /// Its path.
        path: String,
    },
    /// Replace the content of a path.
    Edit(HostEdit),
    /// Run a command. A give-back runs the command that undoes it, else the same command again, which usually reloads a
    /// configuration.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
        /// The command that undoes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<Vec<String>>,
        /// All steps are undone if it fails.
        required: bool,
    },
}

/// What lies at a path, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEdit {
    /// The path.
    pub path: String,
    /// The former content.
    pub before: Content,
    /// The new content.
    pub after: Content,
    /// The part of it that pvtzd adds to a file of another program; only this part is removed if the file was changed.
    pub block: Option<FileOctets>,
}

/// How the wish comes true on a machine that is as was found.
///
/// # Errors
/// It cannot, or not safely: why, and what to do.
pub fn plan(finding: &Detected, wish: &ResolverTarget) -> Result<HostPlan, Refusal> {
    let manager = finding.manager();
    if let Names::Only(zones) = &wish.scope
        && (manager != Manager::Resolved || zones.is_empty())
    {
        return Err(match zones.is_empty() {
            true => Refusal::new("no zone is mapped: there are no names for pvtzd", "see `pvtzd check`"),
            false => Refusal::new(
                format!("{} can direct all names to one resolver, not some of them", manager.title()),
                "omit --only-mapped: pvtzd forwards all other names; or install systemd-resolved, which \
                 supports it",
            ),
        });
    }
    let mut draft = Draft { finding, steps: Vec::new(), follow: Vec::new(), notes: Vec::new() };
    match manager {
        Manager::Resolved => resolved::plan(&mut draft, wish)?,
        Manager::NetworkManager => network_manager::plan(&mut draft, wish),
        Manager::Dhclient => dhclient::plan(&mut draft, wish),
        Manager::CloudInit | Manager::Plain => plain::plan(&mut draft, wish),
        Manager::Resolvconf => resolvconf::plan_debian(&mut draft, wish)?,
        Manager::Openresolv => resolvconf::plan_openresolv(&mut draft, wish),
        Manager::Dhcpcd => dhcpcd::plan(&mut draft, wish),
        Manager::Udhcpc => udhcpc::plan(&mut draft, wish)?,
        Manager::Wsl | Manager::Pve | Manager::Connman | Manager::Netconfig => {
            return Err(others::refusal(manager, wish.address));
        }
    }
    cloud_init::plan(&mut draft);
    if wish.address.is_loopback()
        && let Some(program) = draft.finding.containers
        && wish.scope == Names::All
    {
        draft.note(in_containers(program, wish.address));
    }
    if finding.selinux {
        // A new file has the label of its folder, but confined programs may read resolv.conf only with its own label.
        draft.command(&["restorecon", RESOLV_CONF], false);
    }
    let Draft { steps, follow, notes, .. } = draft;
    for step in &steps {
        if let HostStep::Edit(HostEdit { path, .. }) = step
            && finding.immutable.contains(path)
        {
            return Err(Refusal::new(
                format!("{path} is immutable (chattr +i)"),
                format!("to change it, run `chattr -i {path}`, then try again"),
            ));
        }
    }
    Ok(HostPlan { manager, steps, follow, notes })
}

/// What a loopback address in resolv.conf does to containers.
fn in_containers(program: &str, address: IpAddr) -> String {
    format!(
        "{program} is present, and {address} in /etc/resolv.conf does not reach this machine from a \
         container: Docker gives containers public servers (8.8.8.8) instead, and CoreDNS under kubelet \
         forwards to itself. Let pvtzd \
         listen on an address that containers reach too, add their network to `allow`, and `pvtzd resolver take \
         --address ADDRESS`; or give it to Docker (`dns` in daemon.json) and to kubelet (`resolvConf`)"
    )
}

/// The beginning of the paths of files in which our hooks keep the servers of leases.
const KEPT: &str = "/run/pvtzd-";

/// The first of our lines in a file of another program.
const BEGIN: &str = "# begin pvtzd: `pvtzd resolver give-back` removes these lines\n";

/// The last of them.
const END: &str = "# end pvtzd\n";

/// A plan in the making.
struct Draft<'a> {
    /// The finding.
    finding: &'a Detected,
    /// The steps so far.
    steps: Vec<HostStep>,
    /// The files with the servers of later networks so far.
    follow: Vec<FollowedSource>,
    /// The notes so far.
    notes: Vec<String>,
}

impl Draft<'_> {
    /// Adds an edit, with the folders that it needs; does nothing if the content is the same.
    fn edit(&mut self, path: &str, after: Content) {
        self.edit_block(path, after, None);
    }

    /// The same; only `block` belongs to pvtzd.
    fn edit_block(&mut self, path: &str, after: Content, block: Option<&str>) {
        let before = self.finding.content(path);
        if before.is_same(&after) {
            return;
        }
        // A link stays; its target is changed.
        let target = self.finding.targets.get(path);
        let mut missing = Vec::new();
        let mut folder = if target.is_some() { "" } else { path };
        let path = target.map_or(path, String::as_str);
        while let Some((parent, _)) = folder.rsplit_once('/') {
            if parent.is_empty() || self.finding.directories.contains(parent) {
                break;
            }
            missing.push(parent.to_string());
            folder = parent;
        }
        self.steps.extend(missing.into_iter().rev().map(|path| HostStep::MakeDirectory { path }));
        let block = block.map(|text| FileOctets(text.as_bytes().to_vec()));
        self.steps.push(HostStep::Edit(HostEdit { path: path.to_string(), before, after, block }));
    }

    /// Adds a command.
    fn command(&mut self, words: &[&str], required: bool) {
        let words = words.iter().map(ToString::to_string).collect();
        self.steps.push(HostStep::Command { words, back: None, required });
    }

    /// Adds a command that must succeed, and the one that undoes it.
    fn command_and_back(&mut self, words: &[&str], back: &[&str]) {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        self.steps.push(HostStep::Command { words: owned(words), back: Some(owned(back)), required: true });
    }

    /// Adds pvtzd's lines to a file after its first `at` octets.
    fn insert(&mut self, path: &str, at: usize, lines: &str) {
        let former = self.finding.content(path);
        let octets = former.octets().unwrap_or_default();
        let (first, rest) = octets.split_at(at.min(octets.len()));
        let newline = if first.is_empty() || first.ends_with(b"\n") { "" } else { "\n" };
        let block = format!("{newline}{BEGIN}{lines}{END}");
        let after = former.with_octets([first, block.as_bytes(), rest].concat());
        self.edit_block(path, after, Some(&block));
    }

    /// Adds pvtzd's lines at the end of a file.
    fn append(&mut self, path: &str, lines: &str) {
        self.insert(path, usize::MAX, lines);
    }

    /// Adds a note for the user.
    fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Replaces resolv.conf, a file or a link, with one that lists only pvtzd.
    fn own_resolv_conf(&mut self, wish: &ResolverTarget) {
        let here = self.finding.content(RESOLV_CONF);
        let text = self.finding.resolv_conf.clone().unwrap_or_default();
        let after = here.with_octets(conf::lead_to(&text, wish.address).into_bytes());
        self.edit(RESOLV_CONF, after);
    }
}
