//! The rows of this node in force: one place where the follower and the writer of changes meet. Whatever is applied here is
//! published before the lock is given back, so that the order of revisions is the order of what clients see.

use super::head::FleetHead;
use super::pace;
use super::replica::{NO_ZONE, Replica, ReplicaDifference, ReplicaPreview};
use super::row::RowChange;
use super::snapshot::{FleetPosition, LoadedRows, SavedFleet, SavedRow};
pub use super::view::{FleetCounts, FleetPhase, FleetView, HeldRemoval};
use crate::account::{Account, Dirty};
use crate::engine::zone::ZoneSemantics;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Octets of rows that wait to be written to the snapshot. Beyond, the snapshot is written as a whole later.
const UNSAVED: usize = 64 << 20;

/// Rows that a node takes: more are an error in etcd, and would take all memory.
pub(super) const MOST_ROWS: u64 = 5_000_000;

/// Has an account answer queries; the second part is what changed in it.
pub type PublishRows = Box<dyn Fn(&Account, &Dirty) + Send + Sync>;

/// What is applied at once.
#[derive(Clone, Debug)]
pub struct FleetStep {
    /// Where the node stands then.
    pub position: FleetPosition,
    /// What changes.
    pub changes: Vec<RowChange>,
    /// Removals are not held.
    pub accepted: bool,
    /// It counts whatever the revision: the rows were compared.
    pub compared: bool,
    /// The history is another: it counts though newer changes are in force.
    pub rewound: bool,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// It was in force already.
    Known,
    /// It is in force; false where the digest is not that of the head, or a zone came whose records are not in force.
    Applied(bool),
    /// It waits to be accepted.
    Held,
    /// There would be more rows than are taken.
    TooMany,
}

/// The rows in force.
pub struct FleetState {
    account: Arc<ArcSwap<Account>>,
    publish: PublishRows,
    hold: bool,
    reading: ZoneSemantics,
    inner: Mutex<FleetInner>,
    /// Wakes writers that wait for a revision.
    moved: Condvar,
    /// The same for tasks.
    moved_task: Notify,
    /// Wakes what writes the snapshot.
    pub(super) unsaved: Notify,
    /// Nodes of the fleet, as they were last counted.
    nodes: AtomicU64,
}

struct FleetInner {
    replica: Replica,
    position: FleetPosition,
    /// There are rows in force, be it none of an empty fleet.
    known: bool,
    phase: FleetPhase,
    /// Since when it is not certain that nothing is newer.
    behind_since: Option<Instant>,
    held: Option<HeldRemoval>,
    /// The number of the last large change that was asked of this node.
    own: Option<String>,
    /// The last failure.
    fault: Option<String>,
    /// The digest is that of the head.
    is_whole: bool,
    /// The rows in force may not be those of the head: they are to be compared.
    in_doubt: bool,
    counts: FleetCounts,
    unsaved: BTreeMap<Box<str>, SavedRow>,
    unsaved_octets: usize,
    /// Rows that were to be saved are lost: the next comparison reads all.
    snapshot_lacks: bool,
    save_whole: bool,
    snapshot_fault: Option<String>,
}

/// Rows that are shown by name.
const SHOWN: usize = 20;

impl fmt::Debug for FleetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetState")
    }
}

impl FleetState {
    /// The rows that were saved, which are published already.
    pub fn new(saved: SavedFleet, reading: ZoneSemantics, hold: bool, publish: PublishRows) -> Arc<Self> {
        let SavedFleet { replica, account, position } = saved;
        let is_whole = is_whole(&replica, &position);
        let inner = FleetInner {
            known: position.cluster != 0,
            is_whole,
            in_doubt: !is_whole,
            replica,
            position,
            phase: FleetPhase::Starting,
            behind_since: Some(Instant::now()),
            held: None,
            own: None,
            fault: None,
            counts: FleetCounts::default(),
            unsaved: BTreeMap::new(),
            unsaved_octets: 0,
            snapshot_lacks: false,
            save_whole: false,
            snapshot_fault: None,
        };
        Arc::new(Self {
            account: Arc::new(ArcSwap::from_pointee(account)),
            publish,
            hold,
            reading,
            inner: Mutex::new(inner),
            moved: Condvar::new(),
            moved_task: Notify::new(),
            nodes: AtomicU64::new(pace::UNCOUNTED),
            unsaved: Notify::new(),
        })
    }

    /// The account in force, swapped whole.
    pub fn account(&self) -> &Arc<ArcSwap<Account>> {
        &self.account
    }

    /// The account to decide on, with the revision of its head; nothing before there are rows.
    pub fn ground(&self) -> Option<(i64, Arc<Account>)> {
        let inner = self.lock();
        inner.known.then(|| (inner.position.revision, self.account.load_full()))
    }

    /// Where the node stands, and what changes would come to.
    pub(super) fn preview(&self, changes: &[RowChange]) -> (FleetPosition, ReplicaPreview) {
        let inner = self.lock();
        (inner.position.clone(), inner.replica.preview(changes))
    }

    /// How all keys differ from the rows.
    pub(super) fn difference(&self, listed: &BTreeMap<Box<str>, i64>, whole: bool) -> ReplicaDifference {
        let inner = self.lock();
        inner.replica.difference(listed, whole || inner.snapshot_lacks)
    }

    /// Where the node stands.
    pub fn position(&self) -> FleetPosition {
        self.lock().position.clone()
    }

    /// There are rows in force.
    pub fn is_known(&self) -> bool {
        self.lock().known
    }

    /// The rows in force may not be those of the head.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.lock().in_doubt
    }

    /// Waits until there are rows in force. False if there are none in this time.
    pub fn wait_known(&self, within: Duration) -> bool {
        let waited = self.moved.wait_timeout_while(self.lock(), within, |inner| !inner.known);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits until another head than that of `ground` is in force. False if none has come in this time.
    pub fn wait_beyond(&self, ground: i64, within: Duration) -> bool {
        let waiting = |inner: &mut FleetInner| inner.position.revision == ground;
        let waited = self.moved.wait_timeout_while(self.lock(), within, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits until a head of at least this revision is in force. False if none has come in this time.
    pub(super) fn wait_for(&self, revision: i64, within: Duration) -> bool {
        let waiting = |inner: &mut FleetInner| inner.position.revision < revision;
        let waited = self.moved.wait_timeout_while(self.lock(), within, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The same in a task, without a thread that waits.
    pub(super) async fn reached(&self, revision: i64, within: Duration) -> bool {
        let reached = async {
            loop {
                let moved = self.moved_task.notified();
                tokio::pin!(moved);
                moved.as_mut().enable(); // before the look, so that no change is missed
                if self.revision() >= revision {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(within, reached).await.is_ok()
    }

    /// The revision in force.
    pub(super) fn revision(&self) -> i64 {
        self.lock().position.revision
    }

    fn wake(&self) {
        self.moved.notify_all();
        self.moved_task.notify_waiters();
    }

    /// How many nodes the fleet has, about.
    pub(super) fn nodes(&self) -> u64 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// The nodes were counted.
    pub(super) fn set_nodes(&self, nodes: u64) {
        self.nodes.store(nodes, Ordering::Relaxed);
    }

    /// Brings a step into force: published, and handed to the snapshot.
    pub fn apply(&self, step: FleetStep) -> StepResult {
        let mut inner = self.lock();
        let FleetStep { position, changes, accepted, compared, rewound } = step;
        if !compared && position.revision <= inner.position.revision {
            return StepResult::Known;
        }
        // The writer of this node may have been faster than a comparison.
        if compared && !rewound && position.watched < inner.position.revision {
            return StepResult::Known;
        }
        let preview = inner.replica.preview(&changes);
        if preview.rows > MOST_ROWS && preview.rows > inner.replica.len() as u64 {
            return StepResult::TooMany;
        }
        // What was asked of this node is meant.
        let accepted = accepted || inner.own.as_ref() == Some(&position.head.change);
        // No writer removes the head: a store without one has lost its data.
        let is_wiped = position.revision == 0 && inner.position.revision != 0 && preview.removed > 0;
        if self.hold && !accepted && (is_wiped || inner.replica.is_mass_removal(&preview)) {
            let (removes, of) = (preview.removed, inner.replica.len());
            let held = HeldRemoval { revision: position.revision.max(position.watched), removes, of };
            if inner.held.as_ref() != Some(&held) {
                tracing::error!(
                    removes,
                    of,
                    revision = held.revision,
                    "a change in etcd removes more than half of all rows and is held: the rows before it are served; \
                     `pvtzd fleet accept` takes it"
                );
            }
            inner.held = Some(held);
            inner.phase = FleetPhase::Held;
            self.wake();
            return StepResult::Held;
        }
        inner.held = None;
        let mut account = Account::clone(&self.account.load());
        let dirty = match inner.replica.is_empty() && account.zone_count() == 0 {
            true => {
                let mut loaded = LoadedRows::default();
                for change in changes.iter().filter(|change| change.value.is_some()) {
                    inner.replica.stamp(change);
                    loaded.take(&mut inner.replica, change);
                }
                account = loaded.finish(&mut inner.replica);
                account.read_as(self.reading);
                Dirty { whole: true, ..Dirty::default() }
            }
            false => {
                let edits = inner.replica.apply(&changes);
                let edits = inner.replica.without_orphans(&account, edits);
                account.apply(&edits)
            }
        };
        let has_orphans = inner.replica.bad().values().any(|reason| reason == NO_ZONE)
            && changes.iter().any(|change| change.key.starts_with("zone/") && change.value.is_some());
        (self.publish)(&account, &dirty);
        self.account.store(Arc::new(account));
        inner.keep_for_snapshot(changes);
        inner.is_whole = is_whole(&inner.replica, &position);
        inner.position = position;
        inner.known = true;
        inner.counts.applied += 1;
        let well = inner.is_whole && !has_orphans;
        inner.in_doubt = !well;
        self.wake();
        self.unsaved.notify_one();
        StepResult::Applied(well)
    }

    /// How the node stands.
    pub fn view(&self) -> FleetView {
        let inner = self.lock();
        let bad = inner.replica.bad();
        let shown = bad.iter().take(SHOWN).map(|(key, reason)| (key.to_string(), reason.clone())).collect();
        FleetView {
            phase: inner.phase,
            position: inner.position.clone(),
            rows: inner.replica.len(),
            behind: inner.behind_since.map_or(Duration::ZERO, |since| since.elapsed()),
            known: inner.known,
            held: inner.held.clone(),
            fault: inner.fault.clone(),
            is_whole: inner.is_whole,
            bad: (bad.len(), shown),
            snapshot_fault: inner.snapshot_fault.clone(),
            counts: inner.counts,
        }
    }

    /// Notes how the node stands to etcd. A removal that is held stays so until it is taken or gone.
    pub(super) fn set_phase(&self, phase: FleetPhase, fault: Option<String>) {
        let mut inner = self.lock();
        if fault.is_some() {
            inner.counts.failures += 1;
        }
        inner.phase =
            if inner.held.is_some() && phase == FleetPhase::Following { FleetPhase::Held } else { phase };
        inner.fault = fault;
        match inner.phase {
            FleetPhase::Following => inner.behind_since = None,
            _ => {
                inner.behind_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// The revision of a removal that waits.
    pub(super) fn held(&self) -> Option<i64> {
        self.lock().held.as_ref().map(|held| held.revision)
    }

    /// A change that was asked of this node, by its number.
    pub(super) fn expect_own(&self, change: &str) {
        self.lock().own = Some(change.to_owned());
    }

    /// Counts something.
    pub(super) fn count(&self, count: impl FnOnce(&mut FleetCounts)) {
        count(&mut self.lock().counts);
    }

    /// Events up to this revision are known, none of them of rows.
    pub(super) fn set_watched(&self, watched: i64) {
        let mut inner = self.lock();
        inner.position.watched = inner.position.watched.max(watched);
    }

    /// What is to be written to the snapshot; nothing where it has all.
    pub(super) fn take_unsaved(&self) -> Option<UnsavedRows> {
        let mut inner = self.lock();
        if inner.unsaved.is_empty() && !inner.save_whole && !inner.known {
            return None;
        }
        inner.unsaved_octets = 0;
        Some(UnsavedRows {
            rows: std::mem::take(&mut inner.unsaved),
            position: inner.position.clone(),
            digest: inner.replica.digest(),
            whole: std::mem::take(&mut inner.save_whole),
        })
    }

    /// The snapshot was written, or not.
    pub(super) fn saved(&self, unsaved: UnsavedRows, fault: Option<String>) {
        let mut inner = self.lock();
        if let Some(fault) = &fault {
            if inner.snapshot_fault.is_none() {
                tracing::error!(
                    fault,
                    "the snapshot of the fleet's rows cannot be written; what is served is not touched"
                );
            }
            inner.save_whole |= unsaved.whole;
            for (key, row) in unsaved.rows {
                if !inner.unsaved.contains_key(&key) {
                    inner.unsaved_octets += key.len() + row.value.as_ref().map_or(0, Vec::len);
                    inner.unsaved.insert(key, row);
                }
            }
            inner.bound_unsaved();
        }
        inner.snapshot_fault = fault;
    }

    /// True where the snapshot lacks rows that are in force: all of them are to be read again.
    pub(super) fn snapshot_lacks(&self) -> bool {
        let inner = self.lock();
        inner.snapshot_lacks && inner.snapshot_fault.is_none()
    }

    /// All rows were read, and replace those of the snapshot.
    pub(super) fn begin_whole_snapshot(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.snapshot_lacks) {
            inner.save_whole = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, FleetInner> {
        // A defect while publishing leaves the former rows in force; the next comparison finds what is missing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows on their way to the snapshot.
pub(super) struct UnsavedRows {
    pub(super) rows: BTreeMap<Box<str>, SavedRow>,
    pub(super) position: FleetPosition,
    pub(super) digest: u64,
    pub(super) whole: bool,
}

impl FleetInner {
    fn keep_for_snapshot(&mut self, changes: Vec<RowChange>) {
        if self.snapshot_lacks {
            return;
        }
        for RowChange { key, value, modified } in changes {
            let good = self.replica.bad().get(&key).is_none_or(|reason| reason == NO_ZONE);
            self.unsaved_octets += key.len() + value.as_ref().map_or(0, Vec::len);
            self.unsaved.insert(key, SavedRow { value, modified, good });
        }
        self.bound_unsaved();
    }

    fn bound_unsaved(&mut self) {
        if self.unsaved_octets > UNSAVED && self.snapshot_fault.is_some() {
            (self.unsaved, self.unsaved_octets) = (BTreeMap::new(), 0);
            self.snapshot_lacks = true;
        }
    }
}

/// True for the rows that the head tells of.
fn is_whole(replica: &Replica, position: &FleetPosition) -> bool {
    let head = &position.head;
    position.revision == 0 || replica.digest() == digest_of(head) && replica.len() as u64 == head.rows
}

fn digest_of(head: &FleetHead) -> u64 {
    u64::from_str_radix(&head.digest, 16).unwrap_or(0)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
