//! A node's side of the fleet: it asks where etcd stands, watches from there, and compares all rows where a watch
//! cannot tell. Whatever etcd does, the rows that are in force stay in force until newer ones are whole.

use super::client::{EtcdClient, WatchStream, up_to};
use super::connection::EtcdError;
use super::head::{AcceptedRemoval, FleetHead, FleetKeys, FleetSchema};
use super::messages::{RangeRequest, TxnRequest, TxnStep, WatchResponse, end_of_prefix};
use super::pace;
use super::row::ROW_SCHEMA;
use super::snapshot::FleetPosition;
use super::state::{FleetPhase, FleetState, FleetStep, MOST_ROWS, StepResult};
use super::watch::{FollowAction, WatchState, follow_with, may_wait};
use crate::base::task;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// A session this long was a good one: the next failure is a first one again.
const GOOD: Duration = Duration::from_secs(30);

/// Answers that are taken together at most.
const ANSWERS: usize = 64;

/// How often the head is looked at while nothing comes, about.
const CHECK: Duration = Duration::from_secs(300);

/// How long rows may wait for a head.
const LOOSE: Duration = Duration::from_secs(2);

/// How long a large change may take before a node that takes changes finishes it.
const REDO: Duration = Duration::from_secs(5);

/// How long rows that are not those of the head are left alone where they have just been compared.
const CALM: Duration = Duration::from_secs(10);

/// Finishes a large change whose writer has gone.
pub type FinishRedo = Box<dyn Fn() + Send + Sync>;

/// A follower.
pub struct Follower {
    /// The client.
    pub client: Arc<EtcdClient>,
    /// Where everything is.
    pub keys: FleetKeys,
    /// The rows.
    pub state: Arc<FleetState>,
    /// Told when rows are in force for the first time.
    pub first: Arc<Notify>,
    /// On nodes that take changes.
    pub finish_redo: Option<FinishRedo>,
    /// The revision of a head whose digest all rows of etcd do not have; 0 where there is none.
    pub odd_head: AtomicI64,
    /// Comparisons since a session was a good one.
    pub comparisons: AtomicU32,
}

/// What a look at etcd found.
#[derive(Default)]
pub(super) struct FirstLook {
    pub(super) cluster: u64,
    pub(super) revision: i64,
    pub(super) head: Option<(i64, FleetHead)>,
    schema: Option<FleetSchema>,
    pub(super) accepted: i64,
}

/// Why a session with etcd has ended.
pub(super) enum SessionEnd {
    /// Begin again at once, on another member.
    Again(String),
    /// Begin again later.
    Later(FleetPhase, String),
}

/// What a newer head in etcd says of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LostHead {
    /// Nothing: the head is known, or its large change is under way.
    None,
    /// The watch has not come so far.
    Late,
    /// The watch has passed it by.
    Lost,
}

/// What the head at `revision` says of a watch, with the head at `known` in force. One that is older is of a member
/// that lags.
fn lost(revision: i64, known: i64, watch: &WatchState) -> LostHead {
    match revision > known && !watch.is_in_redo() {
        false => LostHead::None,
        true if watch.watched() < revision => LostHead::Late,
        true => LostHead::Lost,
    }
}

/// True where the watch would begin after a head that is not in force.
fn has_missed(look: &FirstLook, before: &FleetPosition) -> bool {
    look.head.as_ref().is_some_and(|(revision, _)| (before.revision + 1..=before.watched).contains(revision))
}

impl From<EtcdError> for SessionEnd {
    fn from(error: EtcdError) -> Self {
        Self::Later(FleetPhase::Away, error.message)
    }
}

/// What an answer comes to, with those that wait behind it: a node that lags catches up in few steps. The second part is how
/// the watch has ended.
async fn take_waiting(
    watch: &mut WatchState,
    stream: &mut WatchStream,
    first: WatchResponse,
) -> (Vec<FollowAction>, Option<EtcdError>) {
    let mut actions = watch.take(first);
    for _ in 0..ANSWERS {
        if !may_wait(&actions) {
            break;
        }
        let more = tokio::select! {
            biased;
            more = stream.next() => more,
            () = std::future::ready(()) => break,
        };
        match more {
            Ok(more) => watch.take(more).into_iter().for_each(|action| follow_with(&mut actions, action)),
            Err(error) => return (actions, Some(error)),
        }
    }
    (actions, None)
}

impl Follower {
    /// Follows, for as long as the process lives.
    pub async fn run(self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let end = self.session().await;
            if begun.elapsed() > GOOD {
                failures = 0;
                self.comparisons.store(0, Ordering::Relaxed);
            }
            let (phase, why) = match end {
                SessionEnd::Again(why) => (FleetPhase::Synchronising, why),
                SessionEnd::Later(phase, why) => (phase, why),
            };
            tracing::warn!(why, "the fleet's rows cannot be followed; the known rows are served");
            self.state.set_phase(phase, Some(why));
            self.client.turn();
            sleep(up_to(pace::window(self.state.nodes(), pace::CONNECTIONS, failures))).await;
            failures += 1;
        }
    }

    /// A random time, so that comparisons which all nodes make for the same reason do not come at once.
    pub(super) fn spread(&self) -> Duration {
        let tries = self.comparisons.fetch_add(1, Ordering::Relaxed);
        up_to(pace::window(self.state.nodes(), pace::COMPARISONS, tries))
    }

    /// From a first look to the end of a watch.
    async fn session(&self) -> SessionEnd {
        match self.session_or_end().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn session_or_end(&self) -> Result<SessionEnd, SessionEnd> {
        let look = self.look().await?;
        self.check_schema(look.schema)?;
        let before = self.state.position();
        let is_other = before.cluster != 0
            && (before.cluster != look.cluster || look.revision < before.watched.max(before.revision));
        if before.cluster == 0 || is_other {
            if is_other {
                tracing::warn!(
                    "the history of etcd has changed, as after a restored backup: all rows are compared"
                );
                sleep(self.spread()).await;
            }
            self.compare(is_other, false).await?;
        } else if self.state.snapshot_lacks() {
            self.compare(true, false).await?;
        } else if self.state.held().is_some() {
            self.compare(false, false).await?; // what is held may have been undone meanwhile
        } else if has_missed(&look, &before) {
            tracing::warn!("the last watch has lost a change: all rows are compared");
            self.compare(false, false).await?;
        } else if self.is_in_doubt(&before) {
            self.compare(true, false).await?;
        }
        self.watch(&look).await
    }

    /// True where the rows may not be those of the head, and a comparison of all has not said that the head is odd.
    fn is_in_doubt(&self, position: &FleetPosition) -> bool {
        self.state.is_in_doubt() && self.odd_head.load(Ordering::Relaxed) != position.revision
    }

    /// Where etcd stands, as a majority of its members knows.
    pub(super) async fn look(&self) -> Result<FirstLook, EtcdError> {
        let keys = [self.keys.head(), self.keys.schema(), self.keys.accept()];
        let then = keys.into_iter().map(|key| TxnStep::Range(RangeRequest::of_key(key))).collect();
        let found = self.client.read_txn(&TxnRequest { then, ..TxnRequest::default() }).await?;
        let row = |place: usize| found.found.get(place).and_then(|rows| rows.first());
        let head = row(0).map(|row| (row.modified, serde_json::from_slice(&row.value).unwrap_or_default()));
        let schema = row(1).map(|row| {
            // What makes no sense is of a version that is not known.
            serde_json::from_slice(&row.value).unwrap_or(FleetSchema { min: u32::MAX, write: u32::MAX })
        });
        let accepted = row(2).and_then(|row| serde_json::from_slice::<AcceptedRemoval>(&row.value).ok());
        Ok(FirstLook {
            cluster: found.header.cluster,
            revision: found.header.revision,
            head,
            schema,
            accepted: accepted.unwrap_or_default().revision,
        })
    }

    fn check_schema(&self, schema: Option<FleetSchema>) -> Result<(), SessionEnd> {
        match schema {
            Some(schema) if schema.min > ROW_SCHEMA => Err(SessionEnd::Later(
                FleetPhase::Schema,
                format!(
                    "the rows in etcd have schema {}, this version knows up to {ROW_SCHEMA}: install a newer pvtzd here",
                    schema.min
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Watches from where the node stands.
    async fn watch(&self, look: &FirstLook) -> Result<SessionEnd, SessionEnd> {
        let from = self.state.position();
        let mut target = look.head.as_ref().map_or(0, |(revision, _)| *revision);
        let mut accepted = look.accepted;
        let mut watch = WatchState::new(self.keys.clone(), look.cluster, from.watched);
        let data = self.keys.data().into_bytes();
        let mut stream =
            self.client.watch(&data, &end_of_prefix(&data), from.watched.saturating_add(1)).await?;
        let mut check_at = Instant::now() + CHECK / 2 + up_to(CHECK);
        let (mut loose_at, mut redo_at, mut held_at, mut odd_at) = (None, None, None, None);
        let begun = Instant::now();
        self.note_following(target);
        loop {
            let never = Instant::now() + 10 * CHECK;
            let next = [Some(check_at), loose_at, redo_at, held_at, odd_at]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(never);
            let response = tokio::select! {
                response = stream.next() => Some(response),
                () = sleep_until(next) => None,
            };
            let now = Instant::now();
            let Some(response) = response else {
                if loose_at.is_some_and(|at| at <= now) {
                    tracing::warn!("rows were changed without their head: all rows are compared");
                    self.compare(false, false).await?;
                    return Ok(SessionEnd::Again("rows were changed without their head".into()));
                }
                if redo_at.is_some_and(|at| at <= now) {
                    redo_at = Some(now + REDO);
                    if let Some(finish) = &self.finish_redo {
                        finish();
                    }
                }
                if held_at.is_some_and(|at| at <= now) {
                    held_at = None;
                    self.compare(false, false).await?;
                    if self.state.held().is_none() {
                        return Ok(SessionEnd::Again("a held removal was undone".into()));
                    }
                }
                if odd_at.is_some_and(|at| at <= now) {
                    self.compare(true, false).await?;
                    return Ok(SessionEnd::Again("the rows were not those of the head".into()));
                }
                if check_at <= now {
                    check_at = now + CHECK / 2 + up_to(CHECK);
                    self.check(&watch).await?;
                }
                continue;
            };
            let (actions, ended) = take_waiting(&mut watch, &mut stream, response?).await;
            for action in actions {
                match action {
                    FollowAction::Apply { revision, head, changes } => {
                        target = target.max(revision);
                        if self.state.held().is_some() {
                            held_at = Some(now + LOOSE);
                            continue;
                        }
                        let position =
                            FleetPosition { cluster: look.cluster, revision, watched: revision, head };
                        let step = FleetStep {
                            position,
                            changes,
                            accepted: accepted >= revision,
                            compared: false,
                            rewound: false,
                        };
                        let result = self.apply(step).await;
                        if result == StepResult::TooMany {
                            let why = format!("there are more than {MOST_ROWS} rows in etcd");
                            return Err(SessionEnd::Later(FleetPhase::Synchronising, why));
                        }
                        if result == StepResult::Applied(false) {
                            tracing::warn!(
                                revision,
                                "the rows are not those of the head: all of them are compared"
                            );
                            // Not at once again where that has just been done: it may be the head that is odd.
                            let calm = (begun + CALM).saturating_duration_since(now);
                            let calm =
                                if self.state.view().counts.compared > 1 { calm } else { Duration::ZERO };
                            odd_at = odd_at.or_else(|| Some(now + calm + self.spread()));
                        } else {
                            odd_at = None;
                        }
                    }
                    FollowAction::Compare { whole, why } => {
                        sleep(self.spread()).await;
                        self.compare(whole, false).await?;
                        return Ok(SessionEnd::Again(why.into()));
                    }
                    FollowAction::Login(why) => {
                        self.client.forget_token();
                        return Ok(SessionEnd::Again(format!("etcd requires a new login {why}")));
                    }
                    FollowAction::Restart(why) => return Ok(SessionEnd::Again(why)),
                    FollowAction::Schema(schema) => self.check_schema(schema)?,
                    FollowAction::Accepted(revision) => {
                        accepted = accepted.max(revision);
                        if self.state.held().is_some_and(|held| held <= accepted) {
                            sleep(self.spread()).await;
                            self.compare(false, true).await?;
                            return Ok(SessionEnd::Again("a removal was accepted".into()));
                        }
                    }
                    FollowAction::RedoBegun => redo_at = Some(now + REDO),
                }
            }
            if !watch.is_in_redo() {
                redo_at = None;
            }
            let is_loose = watch.has_loose_rows() && self.state.held().is_none();
            loose_at = is_loose.then(|| loose_at.unwrap_or_else(|| now + LOOSE + self.spread()));
            if loose_at.is_none() && !watch.is_in_redo() && self.state.held().is_none() {
                self.state.set_watched(watch.watched());
            }
            self.note_following(target);
            if let Some(error) = ended {
                return Err(error.into());
            }
        }
    }

    /// The node is up to date once it has the head that was there when it began.
    fn note_following(&self, target: i64) {
        let phase = match self.state.revision() >= target || self.state.held().is_some() {
            true => FleetPhase::Following,
            false => FleetPhase::Synchronising,
        };
        self.state.set_phase(phase, None);
    }

    /// Looks at the head, from any member: a watch that has lost something shows.
    async fn check(&self, watch: &WatchState) -> Result<(), SessionEnd> {
        let request = RangeRequest { serializable: true, ..RangeRequest::of_key(self.keys.head()) };
        let found = self.client.range(&request).await?;
        let revision = found.rows.first().map_or(0, |row| row.modified);
        let position = self.state.position();
        match lost(revision, position.revision, watch) {
            _ if self.state.held().is_some() => {}
            LostHead::None if revision == position.revision && self.state.is_in_doubt() => {
                self.compare(true, false).await?;
            }
            LostHead::None => {}
            LostHead::Late => {
                sleep(2 * LOOSE).await;
                if self.state.position().revision < revision {
                    return Err(SessionEnd::Again("the watch did not report a newer head".into()));
                }
            }
            LostHead::Lost => {
                self.compare(false, false).await?;
                return Err(SessionEnd::Again("the watch has lost a change".into()));
            }
        }
        Ok(())
    }

    /// Brings a step into force, away from the tasks of others where it is long.
    pub(super) async fn apply(&self, step: FleetStep) -> StepResult {
        let was_known = self.state.is_known();
        let result = if step.changes.len() > 200 {
            let state = self.state.clone();
            let done = task::spawn_blocking(move || state.apply(step)).await;
            done.unwrap_or(StepResult::Known) // a defect, which the log tells
        } else {
            self.state.apply(step)
        };
        if !was_known && self.state.is_known() {
            self.first.notify_one();
        }
        result
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
