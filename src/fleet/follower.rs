//! A node's side of the fleet: it asks where etcd stands, watches from there, and compares all rows where a watch cannot tell.
//! Whatever etcd does, the rows that are in force stay in force until newer ones are whole.

use super::client::{EtcdClient, up_to};
use super::connection::EtcdError;
use super::head::{AcceptedRemoval, FleetHead, FleetKeys, FleetSchema};
use super::machine::{FollowAction, FollowMachine};
use super::messages::{EtcdRow, RangeRequest, TxnRequest, TxnStep, end_of_prefix};
use super::row::{ROW_SCHEMA, RowChange};
use super::snapshot::FleetPosition;
use super::state::{FleetPhase, FleetState, FleetStep, StepResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// Between two tries: a random part of a time that doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Rows in a page of keys, and of values.
const KEYS: i64 = 2000;
const VALUES: i64 = 500;

/// Values that are read one by one rather than with all others.
const SINGLE: usize = 1000;

/// Reads in a transaction.
const READS: usize = 100;

/// How often the head is looked at while nothing comes, about.
const CHECK: Duration = Duration::from_secs(300);

/// How long rows may wait for a head.
const LOOSE: Duration = Duration::from_secs(2);

/// How long a large change may take before a node that takes changes finishes it.
const REDO: Duration = Duration::from_secs(5);

/// The spread of comparisons that all nodes make for the same reason.
const SPREAD: Duration = Duration::from_secs(2);

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
}

/// What a look at etcd found.
struct FirstLook {
    cluster: u64,
    revision: i64,
    head: Option<(i64, FleetHead)>,
    schema: Option<FleetSchema>,
    accepted: i64,
}

/// Why a session with etcd has ended.
enum SessionEnd {
    /// Begin again at once, on another member.
    Again(String),
    /// Begin again later.
    Later(FleetPhase, String),
}

impl From<EtcdError> for SessionEnd {
    fn from(error: EtcdError) -> Self {
        Self::Later(FleetPhase::Away, error.message)
    }
}

impl Follower {
    /// Follows, for as long as the process lives.
    pub async fn run(self) {
        let mut pause = BACKOFF.0;
        loop {
            let begun = Instant::now();
            let end = self.session().await;
            if begun.elapsed() > BACKOFF.1 {
                pause = BACKOFF.0;
            }
            let (phase, why) = match end {
                SessionEnd::Again(why) => (FleetPhase::Synchronising, why),
                SessionEnd::Later(phase, why) => (phase, why),
            };
            tracing::warn!(why, "the fleet's rows are not followed; what is there is served");
            self.state.set_phase(phase, Some(why));
            self.client.turn();
            sleep(up_to(pause)).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
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
                tracing::warn!("etcd has another history, as after a restored backup: all rows are compared");
                sleep(up_to(SPREAD)).await;
            }
            self.compare(is_other, false).await?;
        } else if self.state.snapshot_lacks() {
            self.compare(true, false).await?;
        }
        self.watch(&look).await
    }

    /// Where etcd stands, as a majority of its members knows.
    async fn look(&self) -> Result<FirstLook, EtcdError> {
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
        let mut machine = FollowMachine::new(self.keys.clone(), look.cluster, from.watched);
        let data = self.keys.data().into_bytes();
        let mut watch = self.client.watch(&data, &end_of_prefix(&data), from.watched + 1).await?;
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
                response = watch.next() => Some(response),
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
                    self.check(machine.watched()).await?;
                }
                continue;
            };
            for action in machine.take(response?) {
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
                        if self.apply(step).await == StepResult::Applied(false) {
                            tracing::warn!(
                                revision,
                                "the rows are not those of the head: all of them are compared"
                            );
                            // Not at once again where that has just been done: it may be the head that is odd.
                            let calm = (begun + 5 * SPREAD).saturating_duration_since(now);
                            let calm =
                                if self.state.view().counts.compared > 1 { calm } else { Duration::ZERO };
                            odd_at = odd_at.or(Some(now + calm + up_to(SPREAD)));
                        } else {
                            odd_at = None;
                        }
                    }
                    FollowAction::Compare { whole, why } => {
                        sleep(up_to(SPREAD)).await;
                        self.compare(whole, false).await?;
                        return Ok(SessionEnd::Again(why.into()));
                    }
                    FollowAction::Login(why) => {
                        self.client.forget_token();
                        return Ok(SessionEnd::Again(format!("etcd asks for a login {why}")));
                    }
                    FollowAction::Restart(why) => return Ok(SessionEnd::Again(why)),
                    FollowAction::Schema(schema) => self.check_schema(schema)?,
                    FollowAction::Accepted(revision) => {
                        accepted = accepted.max(revision);
                        if self.state.held().is_some_and(|held| held <= accepted) {
                            self.compare(false, true).await?;
                            return Ok(SessionEnd::Again("a removal was accepted".into()));
                        }
                    }
                    FollowAction::RedoBegun => redo_at = Some(now + REDO),
                }
            }
            if !machine.is_in_redo() {
                redo_at = None;
            }
            let is_loose = machine.has_loose_rows() && self.state.held().is_none();
            loose_at = is_loose.then(|| loose_at.unwrap_or(now + LOOSE));
            if loose_at.is_none() && !machine.is_in_redo() && self.state.held().is_none() {
                self.state.set_watched(machine.watched());
            }
            self.note_following(target);
        }
    }

    /// The node is up to date once it has the head that was there when it began.
    fn note_following(&self, target: i64) {
        let phase = match self.state.position().revision >= target || self.state.held().is_some() {
            true => FleetPhase::Following,
            false => FleetPhase::Synchronising,
        };
        self.state.set_phase(phase, None);
    }

    /// Looks at the head, from any member: a watch that has lost something shows.
    async fn check(&self, watched: i64) -> Result<(), SessionEnd> {
        let request = RangeRequest { serializable: true, ..RangeRequest::of_key(self.keys.head()) };
        let found = self.client.range(&request).await?;
        let position = self.state.position();
        let revision = found.rows.first().map_or(0, |row| row.modified);
        // One that is older is of a member that lags.
        if revision > position.revision && watched < revision && self.state.held().is_none() {
            sleep(2 * LOOSE).await;
            if self.state.position().revision < revision {
                return Err(SessionEnd::Again("the watch tells nothing of a newer head".into()));
            }
        }
        if revision == position.revision && !self.state.view().is_whole {
            self.compare(true, false).await?;
        }
        Ok(())
    }

    /// Brings a step into force, away from the tasks of others where it is long.
    async fn apply(&self, step: FleetStep) -> StepResult {
        let was_known = self.state.is_known();
        let result = if step.changes.len() > 200 {
            let state = self.state.clone();
            let done = tokio::task::spawn_blocking(move || state.apply(step)).await;
            done.unwrap_or(StepResult::Known) // a defect, which the log tells
        } else {
            self.state.apply(step)
        };
        if !was_known && self.state.is_known() {
            self.first.notify_one();
        }
        result
    }

    /// Compares all rows with those of etcd, and takes what differs. With `whole` all values are read.
    async fn compare(&self, whole: bool, accepted: bool) -> Result<(), SessionEnd> {
        self.state.set_phase(FleetPhase::Synchronising, None);
        self.state.count(|counts| counts.compared += 1);
        let mut whole = whole;
        for round in 0..10 {
            if round > 0 {
                sleep(Duration::from_millis(200) + up_to(2 * SPREAD)).await;
            }
            match self.compare_once(whole, accepted).await {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) if whole => {
                    tracing::warn!(
                        "the digest of the head is not that of the rows: were they changed by hand?"
                    );
                    return Ok(());
                }
                Ok(Some(false)) => whole = true,
                Ok(None) => {}
                Err(error) if error.is_compacted() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionEnd::Later(
            FleetPhase::Synchronising,
            "a large change is not finished by its writer".into(),
        ))
    }

    /// One comparison; whether the digest is that of the head then. Nothing while a large change is under way.
    async fn compare_once(&self, whole: bool, accepted: bool) -> Result<Option<bool>, EtcdError> {
        let before = self.state.position();
        let look = self.look().await?;
        let rewound = look.cluster != before.cluster || look.revision < before.watched.max(before.revision);
        if look.head.as_ref().is_some_and(|(_, head)| head.redo.is_some()) {
            if let Some(finish) = &self.finish_redo {
                finish();
            }
            return Ok(None);
        }
        let listed = self.list(look.revision).await?;
        let difference = self.state.difference(&listed, whole);
        let everything = difference.wanted.len() == listed.len();
        let mut changes = self.values(&difference.wanted, look.revision).await?;
        let gone = difference.gone.into_iter();
        changes.extend(gone.map(|key| RowChange { key, value: None, modified: look.revision }));
        if everything {
            self.state.begin_whole_snapshot();
        }
        let (revision, head) = look.head.unwrap_or_default();
        let asked = self.state.held().unwrap_or(if revision == 0 { look.revision } else { revision });
        let accepted = accepted || look.accepted >= asked;
        let position = FleetPosition { cluster: look.cluster, revision, watched: look.revision, head };
        match self.apply(FleetStep { position, changes, accepted, compared: true, rewound }).await {
            StepResult::Applied(well) => Ok(Some(well)),
            StepResult::Held => Ok(Some(true)),
            StepResult::Known => Ok(None),
        }
    }

    /// All keys of rows with the revision of their last change, at a revision.
    async fn list(&self, revision: i64) -> Result<BTreeMap<Box<str>, i64>, EtcdError> {
        let mut listed = BTreeMap::new();
        let keep = |row: EtcdRow, listed: &mut BTreeMap<Box<str>, i64>| {
            if let Some(key) = self.keys.row_of(&row.key) {
                listed.insert(key.into(), row.modified);
            }
        };
        let request = RangeRequest { keys_only: true, limit: KEYS, ..self.page(revision) };
        self.pages(request, |row| keep(row, &mut listed)).await?;
        Ok(listed)
    }

    /// The values of keys, at a revision.
    async fn values(&self, wanted: &[Box<str>], revision: i64) -> Result<Vec<RowChange>, EtcdError> {
        let mut changes = Vec::with_capacity(wanted.len());
        let mut keep = |row: EtcdRow| {
            if let Some(key) = self.keys.row_of(&row.key)
                && wanted.binary_search_by(|other| (**other).cmp(key)).is_ok()
            {
                let (key, value) = (key.into(), Some(row.value));
                changes.push(RowChange { key, value, modified: row.modified });
            }
        };
        if wanted.len() > SINGLE {
            self.pages(RangeRequest { limit: VALUES, ..self.page(revision) }, keep).await?;
            return Ok(changes);
        }
        for some in wanted.chunks(READS) {
            let read = |key: &str| {
                TxnStep::Range(RangeRequest { revision, ..RangeRequest::of_key(self.keys.row(key)) })
            };
            let request =
                TxnRequest { then: some.iter().map(|key| read(key)).collect(), ..TxnRequest::default() };
            let found = self.client.read_txn(&request).await?;
            found.found.into_iter().flatten().for_each(&mut keep);
        }
        Ok(changes)
    }

    fn page(&self, revision: i64) -> RangeRequest {
        RangeRequest { revision, serializable: true, ..RangeRequest::of_prefix(self.keys.rows()) }
    }

    /// All rows of a range, page by page.
    async fn pages(&self, mut request: RangeRequest, mut each: impl FnMut(EtcdRow)) -> Result<(), EtcdError> {
        loop {
            let page = match self.client.range(&request).await {
                // A member that lags does not have the revision yet.
                Err(error) if error.code == Some(11) && !error.is_compacted() && request.serializable => {
                    request.serializable = false;
                    continue;
                }
                page => page?,
            };
            let last = page.rows.last().map(|row| row.key.clone());
            page.rows.into_iter().for_each(&mut each);
            match (page.more, last) {
                (true, Some(last)) => request.key = [last.as_slice(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }
}
