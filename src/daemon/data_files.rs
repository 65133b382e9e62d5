//! Watched files: zone files with their includes, hosts files and, with `watch_config`, the configuration.
//!
//! A separate thread checks their metadata once a second and reads changed files, so that a slow disk or a long file
//! does not block other work; the daemon then replaces the content. Unlike inotify, this works on every file system
//! (network and FUSE mounts, and folders that a container shares with a virtual machine's host, send no events),
//! follows every link on the way without a watch for each folder, and cannot run into the kernel's limit of inotify
//! instances, which the containers of a node share.

use crate::base::file;
use crate::base::file::{FileState, WatchedFile};
use crate::config::data_file::{LoadError, Loaded};
use crate::config::{Config, hosts_file, zone_file};
use crate::engine::hosts::{Hosts, HostsOptions};
use crate::engine::sort;
use crate::engine::zone::PackedZone;
use hickory_proto::rr::Name;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

/// Interval of checks.
const PACE: Duration = Duration::from_secs(1);

/// Number of files of each check; more files are checked in turn.
const AT_A_TIME: usize = 1000;

/// How long a file must be unchanged before it is read, so that several writes cause one read.
const SETTLE: Duration = Duration::from_millis(200);

/// How often a file is given that time. One that is written continuously is then read anyway.
const SETTLE_TRIES: usize = 25;

/// How often a file is read anew that changed while it was read.
const READ_TRIES: usize = 3;

/// Retry interval of an unreadable file.
const RETRY: Duration = Duration::from_secs(10);

/// A change.
#[derive(Debug)]
pub(super) enum Change {
    /// The configuration.
    Config,
    /// A zone file: the zone's place among the configured ones, and what is in the file now.
    Zone(usize, Loaded<PackedZone>),
    /// A hosts file, by its place.
    Hosts(usize, Loaded<Hosts>),
}

/// What files are for.
#[derive(Clone, Debug)]
enum WatchTarget {
    Config,
    Zone { place: usize, path: Arc<Path>, apex: Name },
    Hosts { place: usize, path: PathBuf, options: HostsOptions },
}

/// A group of files that are read together.
#[derive(Clone, Debug)]
struct WatchedGroup {
    target: WatchTarget,
    files: Arc<[WatchedFile]>,
    /// Deadline for reading them.
    retry: Option<Instant>,
}

/// The plan: all watched files.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchPlan {
    /// The number of its configuration.
    round: u64,
    groups: Vec<WatchedGroup>,
}

impl WatchPlan {
    /// The files of a configuration; `reread` are those that have it read again, as they were when it was read.
    pub(super) fn new(config: &Config, reread: Vec<WatchedFile>) -> Self {
        let group =
            |target, files: &Arc<[WatchedFile]>| WatchedGroup { target, files: files.clone(), retry: None };
        let zones = config.zone_files.iter().filter_map(|file| {
            let apex = config.zones.get(file.zone)?.0.apex.clone();
            let target = WatchTarget::Zone { place: file.zone, path: file.path.clone(), apex };
            Some(group(target, &file.files))
        });
        let hosts = config.hosts.iter().enumerate().map(|(place, file)| {
            let target = WatchTarget::Hosts { place, path: file.path.clone(), options: file.options };
            group(target, &file.files)
        });
        let config = (!reread.is_empty()).then(|| group(WatchTarget::Config, &reread.into()));
        Self { round: 0, groups: config.into_iter().chain(zones).chain(hosts).collect() }
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.files.len()).sum()
    }

    /// Looks at the next files; the groups of those that have changed, or are to be tried again.
    fn look(&mut self, next: &mut usize, now: Instant) -> Vec<usize> {
        let mut changed = Vec::new();
        let mut looked = 0;
        for _ in 0..self.groups.len() {
            if looked >= AT_A_TIME {
                break;
            }
            *next = if *next + 1 < self.groups.len() { *next + 1 } else { 0 };
            let Some(group) = self.groups.get_mut(*next) else { break };
            looked += group.files.len().max(1);
            let is_due = group.retry.is_some_and(|when| when <= now);
            if is_due || group.files.iter().any(WatchedFile::has_changed) {
                group.retry = None;
                changed.push(*next);
            }
        }
        sort::ascending(&mut changed);
        changed
    }

    /// Waits until the files of these groups are unchanged for a while.
    fn settle(&self, groups: &[usize]) {
        let states = || -> Vec<Option<FileState>> {
            let files = groups.iter().filter_map(|&group| self.groups.get(group));
            files.flat_map(|group| &*group.files).map(|file| file::state(&file.path)).collect()
        };
        let mut before = states();
        for _ in 0..SETTLE_TRIES {
            thread::sleep(SETTLE);
            let now = states();
            if now == before {
                break;
            }
            before = now;
        }
    }

    /// Reads a group.
    fn read(&mut self, group: usize) -> Option<Change> {
        match self.groups.get(group)?.target.clone() {
            WatchTarget::Config => {
                let files = &mut self.groups.get_mut(group)?.files;
                *files = files.iter().map(|file| WatchedFile::now(&file.path)).collect();
                Some(Change::Config)
            }
            WatchTarget::Zone { place, path, apex } => {
                Some(Change::Zone(place, self.load(group, || zone_file::load(&path, &apex))))
            }
            WatchTarget::Hosts { place, path, options } => {
                Some(Change::Hosts(place, self.load(group, || hosts_file::load(&path, options))))
            }
        }
    }

    fn load<T>(&mut self, group: usize, load: impl Fn() -> Loaded<T>) -> Loaded<T> {
        let mut loaded = load();
        for _ in 1..READ_TRIES {
            if !loaded.files.iter().any(WatchedFile::has_changed) {
                break;
            }
            self.settle(&[group]);
            loaded = load();
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.files = loaded.files.clone();
            let is_unreadable = matches!(loaded.content, Err(LoadError::Unreadable(_)));
            group.retry = is_unreadable.then(|| Instant::now() + RETRY);
        }
        loaded
    }
}

/// A change with the number of its plan.
type Numbered = (u64, Change);

/// The daemon's side of the thread.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    /// There is none while there is nothing to watch.
    plans: Option<Sender<WatchPlan>>,
    round: u64,
    changes: (tokio::sync::mpsc::Sender<Numbered>, tokio::sync::mpsc::Receiver<Numbered>),
}

impl WatchedFiles {
    /// Nothing to watch yet.
    pub(super) fn new() -> Self {
        Self { plans: None, round: 0, changes: tokio::sync::mpsc::channel(1) }
    }

    /// Watches these files instead of the former ones.
    pub(super) fn watch(&mut self, plan: WatchPlan) {
        self.round += 1;
        let plan = WatchPlan { round: self.round, ..plan };
        if plan.groups.is_empty() && self.plans.is_none() {
            return;
        }
        let plans = match &self.plans {
            Some(plans) => plans,
            None => {
                let (plans, incoming) = std::sync::mpsc::channel();
                let changes = self.changes.0.clone();
                let thread = thread::Builder::new().name("data-files".into());
                if let Err(error) = thread.spawn(move || watch(&incoming, &changes)) {
                    tracing::error!(%error, "cannot start the thread that watches zone files and hosts files");
                    return;
                }
                self.plans.insert(plans)
            }
        };
        let _ = plans.send(plan); // the thread ends with us
    }

    /// The next change, of the files that are watched now.
    pub(super) async fn changed(&mut self) -> Change {
        loop {
            match self.changes.1.recv().await {
                Some((round, change)) if round == self.round => return change,
                Some(_) => {} // of a former configuration, which has been read anew since
                None => std::future::pending().await,
            }
        }
    }
}

/// The thread.
fn watch(plans: &Receiver<WatchPlan>, changes: &tokio::sync::mpsc::Sender<Numbered>) {
    let (mut plan, mut next) = (WatchPlan::default(), 0);
    loop {
        match plans.recv_timeout(PACE) {
            Ok(another) => {
                plan = another;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let changed = plan.look(&mut next, Instant::now());
        if changed.is_empty() {
            continue;
        }
        plan.settle(&changed);
        for group in changed {
            match plans.try_recv() {
                Ok(another) => {
                    plan = another; // it knows its files as they were when it was made
                    break;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            let Some(change) = plan.read(group) else { continue };
            if changes.blocking_send((plan.round, change)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "data_files_tests.rs"]
mod tests;
