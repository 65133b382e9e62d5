//! A node of the fleet, put together: what is read before anything is served, and what runs beside the server.

use super::client::{EtcdClient, up_to};
use super::connection::EtcdError;
use super::follower::{FinishRedo, Follower};
use super::head::{FleetKeys, NodeEntry};
use super::messages::{RangeRequest, TxnRequest, TxnStep};
use super::row::ROW_SCHEMA;
use super::snapshot::{SavedFleet, SnapshotFile};
use super::state::{FleetState, PublishRows};
use super::writer::FleetWriter;
use crate::account::Account;
use crate::base::task;
use crate::config::Fleet;
use crate::engine::zone::ZoneSemantics;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Seconds after which a node that says nothing is gone.
const PRESENCE: i64 = 60;

/// How often it says that it is there, about.
const PRESENCE_EVERY: Duration = Duration::from_secs(20);

/// How often the nodes are counted, by which the spread of what all of them do is chosen.
const COUNT_EVERY: Duration = Duration::from_secs(600);

/// How long rows wait to be written to the snapshot with others.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Between two tries to write it.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);

/// How often it is written though nothing has changed, for the revision alone.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(600);

/// What a node needs before it can begin.
pub struct PreparedFleet {
    fleet: Fleet,
    saved: SavedFleet,
    snapshot: Option<SnapshotFile>,
    reading: ZoneSemantics,
}

impl fmt::Debug for PreparedFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedFleet").field("prefix", &self.fleet.prefix).finish_non_exhaustive()
    }
}

impl PreparedFleet {
    /// Reads the snapshot of the state directory, if there is one.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn new(fleet: &Fleet, state_dir: Option<&Path>, reading: ZoneSemantics) -> io::Result<Self> {
        let (snapshot, mut saved) = match state_dir {
            Some(directory) => {
                let (file, saved, problem) = SnapshotFile::open(directory, &fleet.prefix)?;
                if let Some(problem) = problem {
                    tracing::error!(
                        problem,
                        "the snapshot of the fleet's rows cannot be used: they are read from etcd"
                    );
                }
                (Some(file), saved)
            }
            None => {
                tracing::warn!(
                    "without a state directory the fleet's rows are read from etcd at each start, and nothing private \
                     is answered until then: set state_dir in [server]"
                );
                (None, SavedFleet::default())
            }
        };
        saved.account.read_as(reading);
        Ok(Self { fleet: fleet.clone(), saved, snapshot, reading })
    }

    /// What the snapshot has.
    pub fn account(&self) -> &Account {
        &self.saved.account
    }

    /// True where there are rows to serve, be it none of an empty fleet.
    pub fn is_known(&self) -> bool {
        self.saved.position.cluster != 0
    }

    /// Begins to follow. `publish` has published [`PreparedFleet::account`]; `first` is told once there are rows. Must
    /// be called within a tokio runtime.
    pub fn begin(
        self,
        is_writer: bool,
        listen: Vec<String>,
        publish: PublishRows,
        first: Arc<Notify>,
    ) -> Arc<FleetNode> {
        let Self { fleet, saved, snapshot, reading } = self;
        let name = node_name(&fleet);
        let keys = FleetKeys::new(&fleet.prefix);
        let state = FleetState::new(saved, reading, fleet.hold_mass_removal, publish);
        let client = Arc::new(EtcdClient::new(fleet));
        let writer = is_writer.then(|| {
            let (state, client, keys) = (state.clone(), client.clone(), keys.clone());
            Arc::new(FleetWriter::new(state, client, keys, &name, Handle::current()))
        });
        let finish_redo = writer.clone().map(finish_redo);
        let follower = Follower {
            client: client.clone(),
            keys: keys.clone(),
            state: state.clone(),
            first,
            finish_redo,
            odd_head: AtomicI64::new(0),
            comparisons: AtomicU32::new(0),
        };
        task::spawn(follower.run());
        let node = Arc::new(FleetNode { state, writer, name, snapshot: Mutex::new(snapshot) });
        task::spawn(presence(node.clone(), client, keys, listen));
        if node.lock_snapshot().is_some() {
            task::spawn(keep_snapshot(node.clone()));
        }
        node
    }
}

/// The name of the node: as configured, or the host name.
pub fn node_name(fleet: &Fleet) -> String {
    let machine = || {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let name: String = name.trim().chars().filter(allowed).take(100).collect();
        if name.is_empty() { "node".into() } else { name }
    };
    fleet.node.clone().unwrap_or_else(machine)
}

/// Finishes what another writer has left, one attempt at a time.
fn finish_redo(writer: Arc<FleetWriter>) -> FinishRedo {
    let busy = Arc::new(AtomicBool::new(false));
    Box::new(move || {
        if busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (writer, busy) = (writer.clone(), busy.clone());
        task::spawn(async move {
            if let Err(failure) = writer.finish().await {
                tracing::warn!(%failure, "a large change of another node cannot be finished yet");
            }
            busy.store(false, Ordering::Release);
        });
    })
}

/// A node, running.
#[derive(Debug)]
pub struct FleetNode {
    /// The rows in force.
    pub state: Arc<FleetState>,
    /// The way of changes, on nodes with an API.
    pub writer: Option<Arc<FleetWriter>>,
    /// What it is called.
    pub name: String,
    snapshot: Mutex<Option<SnapshotFile>>,
}

impl FleetNode {
    /// Writes to the snapshot what it lacks; false if it cannot be written.
    pub fn save(&self) -> bool {
        let mut snapshot = self.lock_snapshot();
        let Some(file) = snapshot.as_mut() else { return true };
        let Some(unsaved) = self.state.take_unsaved() else { return true };
        let written = file.write(&unsaved.rows, &unsaved.position, unsaved.digest, unsaved.whole);
        let well = written.is_ok();
        self.state.saved(unsaved, written.err());
        well
    }

    fn lock_snapshot(&self) -> std::sync::MutexGuard<'_, Option<SnapshotFile>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the snapshot when rows have changed.
async fn keep_snapshot(node: Arc<FleetNode>) {
    loop {
        let _ = timeout(SNAPSHOT_EVERY, node.state.unsaved.notified()).await; // or the revision alone
        sleep(SNAPSHOT_PAUSE).await;
        loop {
            let writing = node.clone();
            let well = task::spawn_blocking(move || writing.save()).await;
            if well.unwrap_or(false) {
                break;
            }
            sleep(SNAPSHOT_RETRY / 2 + up_to(SNAPSHOT_RETRY)).await;
        }
    }
}

/// Says that the node is there.
async fn presence(node: Arc<FleetNode>, client: Arc<EtcdClient>, keys: FleetKeys, listen: Vec<String>) {
    let key = format!("{}{}", keys.nodes(), node.name).into_bytes();
    let mut lease: Option<i64> = None;
    let (mut told, mut counted) = (None, None::<Instant>);
    sleep(up_to(Duration::from_secs(2))).await;
    loop {
        let view = node.state.view();
        let entry = NodeEntry {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: view.position.revision,
            state: view.phase.name().into(),
            writer: node.writer.is_some(),
            schema: ROW_SCHEMA,
            bad_rows: view.bad.0,
            listen: listen.clone(),
            at: 0,
        };
        if let Err(error) = say(&client, &key, &entry, &mut lease, &mut told).await {
            tracing::debug!(%error, "the presence of this node cannot be written to etcd");
        } else if counted.is_none_or(|at| at.elapsed() > COUNT_EVERY) {
            counted = Some(Instant::now());
            let count = RangeRequest {
                limit: 1,
                keys_only: true,
                serializable: true,
                ..RangeRequest::of_prefix(keys.nodes())
            };
            if let Ok(found) = client.range(&count).await {
                node.state.set_nodes(found.count.max(1) as u64);
            }
        }
        sleep(PRESENCE_EVERY * 3 / 4 + up_to(PRESENCE_EVERY / 2)).await;
    }
}

async fn say(
    client: &EtcdClient,
    key: &[u8],
    entry: &NodeEntry,
    lease: &mut Option<i64>,
    told: &mut Option<NodeEntry>,
) -> Result<(), EtcdError> {
    let alive = match *lease {
        Some(id) => client.keep_lease(id).await?.then_some(id),
        None => None,
    };
    let is_new = alive.is_none();
    let id = match alive {
        Some(id) => id,
        None => client.grant_lease(PRESENCE).await?,
    };
    *lease = Some(id);
    if is_new || told.as_ref() != Some(entry) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let value = serde_json::to_vec(&NodeEntry { at, ..entry.clone() }).unwrap_or_default();
        let then = vec![TxnStep::Put(key.to_vec(), value, id)];
        client.txn(&TxnRequest { then, ..TxnRequest::default() }).await?;
        *told = Some(entry.clone());
    }
    Ok(())
}
