//! Changes on their way into etcd: a transaction that is held against the head, or, where it is too large for one, a log
//! of parts that the head names. What is not known of an outcome is looked up.

use super::answer::{SharedToken, TokenStep};
use super::client::{EtcdClient, random, up_to};
use super::connection::EtcdError;
use super::head::{FleetHead, FleetKeys, FleetSchema, shown_digest};
use super::messages::{RangeRequest, TxnCondition, TxnRequest, TxnStep};
use super::row::{self, ROW_SCHEMA, RowChange};
use super::snapshot::FleetPosition;
use super::state::{FleetState, FleetStep};
use crate::account::{Account, Edit};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// Rows in one transaction: etcd takes 128 steps.
pub(super) const ROWS: usize = 100;

/// Octets in one transaction: etcd takes 1.5 MiB.
pub(super) const OCTETS: usize = 1 << 20;

/// How long a commit may take, with all tries and look-ups. A client of the API waits for it.
pub(super) const COMMIT: Duration = Duration::from_secs(15);

/// How long a change just after a start waits for the first rows.
const FIRST_ROWS: Duration = Duration::from_secs(3);

/// Seconds for which answers to changes with a `ClientToken`, and the last change of a writer, can be looked up: a day, and
/// the time after which a lease is made anew.
const LEASE: i64 = 24 * 3600 + LEASE_AGE.as_secs() as i64;
const LEASE_AGE: Duration = Duration::from_secs(1200);

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitFailure {
    /// Another node was first: decide anew.
    Outdated,
    /// etcd cannot be reached; nothing was changed.
    Away(String),
    /// etcd refuses it; nothing was changed.
    Refused(String),
    /// It may have been made.
    Unknown(String),
}

impl fmt::Display for CommitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outdated => f.write_str("another node was first"),
            Self::Away(why) | Self::Refused(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// The way of this node's changes.
#[derive(Debug)]
pub struct FleetWriter {
    pub(super) state: Arc<FleetState>,
    pub(super) client: Arc<EtcdClient>,
    pub(super) keys: FleetKeys,
    /// What this process is called as a writer.
    id: String,
    lease: Mutex<Option<(i64, Instant)>>,
    /// Answers kept in etcd so far.
    pub(super) tokens_kept: AtomicU64,
    pub(super) runtime: Handle,
}

/// The result of a transaction.
pub(super) enum TxnEnd {
    /// It was carried out, at this revision.
    Done(i64),
    /// The head is another.
    Lost,
}

impl FleetWriter {
    /// A writer; `node` is what the node is called.
    pub fn new(
        state: Arc<FleetState>,
        client: Arc<EtcdClient>,
        keys: FleetKeys,
        node: &str,
        runtime: Handle,
    ) -> Self {
        let id = format!("{node}-{:016x}", random());
        Self { state, client, keys, id, lease: Mutex::default(), tokens_kept: AtomicU64::new(0), runtime }
    }

    /// The account to decide on, with the revision of its head; nothing if there are no rows for a while.
    pub fn ground(&self) -> Option<(i64, Arc<Account>)> {
        self.state.wait_known(FIRST_ROWS);
        self.state.ground()
    }

    /// The account in force, swapped whole.
    pub fn account(&self) -> &Arc<arc_swap::ArcSwap<Account>> {
        self.state.account()
    }

    /// Waits for what another node has changed since `ground`.
    pub fn catch_up(&self, ground: i64) {
        self.state.count(|counts| counts.lost_races += 1);
        self.state.wait_beyond(ground, Duration::from_secs(2));
        std::thread::sleep(up_to(Duration::from_millis(20)));
    }

    /// What keeps changes from being made, in words.
    pub fn obstacle(&self) -> Option<&'static str> {
        self.state
            .held()
            .map(|_| "a removal of more than half of all rows waits: run `pvtzd fleet accept`, or undo it")
    }

    /// The revision in force.
    pub fn revision(&self) -> i64 {
        self.state.revision()
    }

    /// Waits until at least this revision is in force. False if it is not in this time.
    pub async fn reached(&self, revision: i64, within: Duration) -> bool {
        self.state.reached(revision, within).await
    }

    /// Makes edits durable in etcd and brings them into force here: all of them or none. The answers of those that have a
    /// token are kept in the same step. Not to be called from a task.
    ///
    /// # Errors
    /// [`CommitFailure`]
    pub fn commit(
        &self,
        ground: i64,
        edits: &[Edit],
        answers: &[(SharedToken, Map<String, Value>)],
    ) -> Result<(), CommitFailure> {
        self.runtime.block_on(async {
            self.commit_changes(ground, edits, self.token_steps(answers)).await?;
            self.bound_tokens(answers.len() as u64).await;
            Ok(())
        })
    }

    async fn commit_changes(
        &self,
        ground: i64,
        edits: &[Edit],
        tokens: Vec<TokenStep>,
    ) -> Result<(), CommitFailure> {
        let changes = row::changes(edits).map_err(|error| CommitFailure::Refused(error.to_string()))?;
        let (position, preview) = self.state.preview(&changes);
        if position.revision != ground {
            return Err(CommitFailure::Outdated);
        }
        let head = FleetHead {
            seq: position.head.seq + 1,
            writer: self.id.clone(),
            change: format!("{:016x}", random()),
            at: now(),
            rows: preview.rows,
            digest: shown_digest(preview.digest),
            redo: None,
        };
        let octets: usize = changes.iter().map(|change| change.octets() + self.keys.rows().len()).sum();
        let done = match changes.len() + tokens.len() <= ROWS && octets <= OCTETS {
            true => self.commit_at_once(ground, &head, changes, &tokens).await?,
            false => self.commit_in_parts(ground, &position.head, head, changes, &tokens).await?,
        };
        self.state.count(|counts| counts.commits += 1);
        let (revision, head, changes) = done;
        let position = FleetPosition { revision, watched: position.watched, head, ..position };
        self.state.apply(FleetStep { position, changes, accepted: true, compared: false, rewound: false });
        Ok(())
    }

    async fn commit_at_once(
        &self,
        ground: i64,
        head: &FleetHead,
        mut changes: Vec<RowChange>,
        tokens: &[TokenStep],
    ) -> Result<(i64, FleetHead, Vec<RowChange>), CommitFailure> {
        let mut then = self.steps(&changes);
        then.push(self.put_head(head)?);
        if ground == 0 {
            let schema = FleetSchema { min: ROW_SCHEMA, write: ROW_SCHEMA };
            then.push(put(self.keys.schema(), &schema, 0)?);
        }
        let conditions = vec![TxnCondition::ModifiedAt(self.keys.head().into(), ground)];
        let deadline = Instant::now() + COMMIT;
        match self.settle(conditions, (then, tokens), ground, &head.change, deadline).await? {
            TxnEnd::Lost => self.outdated().await,
            TxnEnd::Done(revision) => {
                changes.iter_mut().for_each(|change| change.modified = revision);
                Ok((revision, head.clone(), changes))
            }
        }
    }

    /// The head is another: a large change that was left in it is finished first.
    pub(super) async fn outdated<T>(&self) -> Result<T, CommitFailure> {
        if let Err(failure) = self.finish().await {
            tracing::warn!(%failure, "a large change of another writer is not finished yet");
        }
        Err(CommitFailure::Outdated)
    }

    /// Carries a transaction out once: what is not known of an attempt is looked up before the next.
    pub(super) async fn settle(
        &self,
        conditions: Vec<TxnCondition>,
        (then, tokens): (Vec<TxnStep>, &[TokenStep]),
        ground: i64,
        change: &str,
        deadline: Instant,
    ) -> Result<TxnEnd, CommitFailure> {
        let (head, mine) = (self.keys.head(), self.keys.writer(&self.id));
        let look = [head, mine.clone()].map(|key| TxnStep::Range(RangeRequest::of_key(key))).to_vec();
        let look = TxnRequest { then: look, ..TxnRequest::default() };
        let (mut sent, mut pause) = (false, Duration::from_millis(50));
        let mut fault = String::from("no answer in time");
        while Instant::now() < deadline {
            let lease = match self.lease().await {
                Ok(lease) => lease,
                Err(error) => {
                    fault = error.message;
                    wait(&mut pause).await;
                    continue;
                }
            };
            let mut then = then.clone();
            then.push(TxnStep::Put(mine.clone().into(), change.into(), lease));
            let kept = |(key, value): &TokenStep| TxnStep::Put(key.clone().into(), value.clone(), lease);
            then.extend(tokens.iter().map(kept));
            let request = TxnRequest { conditions: conditions.clone(), then, otherwise: look.then.clone() };
            let error = match self.client.txn(&request).await {
                Ok(answer) if answer.succeeded => return Ok(TxnEnd::Done(answer.header.revision)),
                Ok(answer) => {
                    if let Some(end) = ended(&answer.found, ground, change) {
                        return Ok(end);
                    }
                    // The head is as it was: another condition does not hold.
                    return Ok(TxnEnd::Lost);
                }
                Err(error) => error,
            };
            fault.clone_from(&error.message);
            if error.code == Some(5) {
                self.lock_lease().take(); // the lease has ended
            } else if error.uncertain {
                sent = true;
            } else if error.code.is_some_and(|code| code == 7 || code != 14 && !error.asks_for_login()) {
                return Err(if sent { CommitFailure::Unknown(fault) } else { CommitFailure::Refused(fault) });
            }
            if sent
                && let Ok(found) = self.client.read_txn(&look).await
                && let Some(end) = ended(&found.found, ground, change)
            {
                return Ok(end);
            }
            wait(&mut pause).await;
        }
        Err(if sent { CommitFailure::Unknown(fault) } else { CommitFailure::Away(fault) })
    }

    /// The lease of what can be looked up.
    async fn lease(&self) -> Result<i64, EtcdError> {
        let known = *self.lock_lease();
        if let Some((lease, made)) = known
            && made.elapsed() < LEASE_AGE
        {
            return Ok(lease);
        }
        let lease = self.client.grant_lease(LEASE).await?;
        *self.lock_lease() = Some((lease, Instant::now()));
        Ok(lease)
    }

    fn lock_lease(&self) -> std::sync::MutexGuard<'_, Option<(i64, Instant)>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn steps(&self, changes: &[RowChange]) -> Vec<TxnStep> {
        let step = |change: &RowChange| {
            let key = self.keys.row(&change.key).into_bytes();
            match &change.value {
                Some(value) => TxnStep::Put(key, value.clone(), 0),
                None => TxnStep::Delete(key, Vec::new()),
            }
        };
        changes.iter().map(step).collect()
    }

    pub(super) fn put_head(&self, head: &FleetHead) -> Result<TxnStep, CommitFailure> {
        put(self.keys.head(), head, 0)
    }

    /// A transaction that may be carried out twice; its revision, or nothing where a condition does not hold.
    pub(super) async fn repeat(
        &self,
        request: &TxnRequest,
        deadline: Instant,
    ) -> Result<Option<i64>, CommitFailure> {
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.client.txn(request).await {
                Ok(answer) => return Ok(answer.succeeded.then_some(answer.header.revision)),
                Err(error) => error,
            };
            let is_final = error.code.is_some_and(|code| code == 7 || code != 14 && !error.asks_for_login());
            let is_final = is_final && !error.uncertain;
            if is_final {
                return Err(CommitFailure::Refused(error.message));
            }
            if Instant::now() > deadline {
                return Err(CommitFailure::Away(error.message));
            }
            wait(&mut pause).await;
        }
    }
}

/// What head and last change say of a transaction that is held against the head at `ground`; nothing while it may still come.
fn ended(found: &[Vec<super::messages::EtcdRow>], ground: i64, change: &str) -> Option<TxnEnd> {
    let head = found.first().and_then(|rows| rows.first()).map_or(0, |row| row.modified);
    match found.get(1).and_then(|rows| rows.first()) {
        Some(last) if last.value == change.as_bytes() => Some(TxnEnd::Done(last.modified)),
        _ if head != ground => Some(TxnEnd::Lost),
        _ => None,
    }
}

pub(super) async fn wait(pause: &mut Duration) {
    tokio::time::sleep(up_to(*pause)).await;
    *pause = (*pause * 2).min(Duration::from_secs(1));
}

pub(super) fn put<T: serde::Serialize>(key: String, value: &T, lease: i64) -> Result<TxnStep, CommitFailure> {
    let value = serde_json::to_vec(value).map_err(|error| CommitFailure::Refused(error.to_string()))?;
    Ok(TxnStep::Put(key.into(), value, lease))
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
