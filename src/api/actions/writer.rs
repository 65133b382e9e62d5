//! The one writer: decisions one after another, each on what the one before left; durable, then published, then
//! answered.
//!
//! Writers that come at once are decided one by one and committed together: one flush of the disk serves all.

use super::config_ids::ConfigIds;
use super::context::ObservedCounts;
use super::{ActionContext, ActionResult, ApiCaller, Decide, sync};
use crate::account::{Account, Dirty, Edit};
use crate::api::{ActionAnswer, ApiError};
use crate::config::Host;
use crate::fleet::{CommitFailure, FleetWriter, SharedAnswer, SharedToken};
use crate::publish::publisher::Publisher;
use crate::resolve::shared::SharedState;
use crate::store::Store;
use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use tokio::sync::oneshot;

/// Writers that may wait. More are told to come back.
const QUEUE: usize = 1024;

/// Decisions in one transaction: enough to share a flush, few enough that no caller waits long.
const BATCH: usize = 100;

/// Rows of one decision that are made and stored at the same time.
const MANY: usize = 1000;

/// Times that a batch is decided while other nodes of the fleet are first.
const FLEET_TRIES: usize = 12;

/// Whether changes survive.
#[derive(Debug)]
pub enum Persistence {
    /// In the store.
    Durable(Store),
    /// In the etcd of the fleet, whose state publishes as well.
    Fleet(Arc<FleetWriter>),
    /// Until the process ends.
    InMemory,
}

/// The account as it is now, and the way to change it.
#[derive(Debug)]
pub struct AccountWriter {
    account: Arc<ArcSwap<Account>>,
    hosts: Arc<ArcSwap<Vec<Host>>>,
    publisher: Arc<Publisher>,
    config_ids: Arc<ConfigIds>,
    fleet: Option<Arc<FleetWriter>>,
    orders: SyncSender<WriteRequest>,
}

/// What the thread is told.
enum WriteRequest {
    /// To take a decision.
    Change(Job),
    /// To close the store and end; it says when that is done.
    Close(oneshot::Sender<()>),
}

/// A writer that waits.
struct Job {
    decision: PendingDecision,
    reply: oneshot::Sender<ActionAnswer>,
}

/// A decision that waits.
struct PendingDecision {
    caller: ApiCaller,
    /// In a fleet: it is made once, at whichever node.
    token: Option<SharedToken>,
    decide: Decide,
}

impl AccountWriter {
    /// Starts the writer. `account` is what the publisher has published already.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        account: Account,
        hosts: Vec<Host>,
        keeping: Persistence,
        publisher: Arc<Publisher>,
    ) -> io::Result<Arc<Self>> {
        let publish: Publish = {
            let publisher = publisher.clone();
            Box::new(move |account, dirty| publisher.update(account, dirty))
        };
        Self::start_with(account, hosts, keeping, publisher, publish)
    }

    /// Starts the writer with another way to publish.
    fn start_with(
        account: Account,
        hosts: Vec<Host>,
        keeping: Persistence,
        publisher: Arc<Publisher>,
        publish: Publish,
    ) -> io::Result<Arc<Self>> {
        let (orders, queue) = sync_channel(QUEUE);
        let account = match &keeping {
            Persistence::Fleet(fleet) => fleet.account().clone(),
            _ => Arc::new(ArcSwap::from_pointee(account)),
        };
        let fleet = match &keeping {
            Persistence::Fleet(fleet) => Some(fleet.clone()),
            _ => None,
        };
        let hosts = Arc::new(ArcSwap::from_pointee(hosts));
        let config_ids = Arc::default();
        let handle = Arc::new(Self { account, hosts, publisher, config_ids, fleet, orders });
        let writer = WriterThread {
            account: handle.account.clone(),
            hosts: handle.hosts.clone(),
            keeping,
            publisher: handle.publisher.clone(),
            config_ids: handle.config_ids.clone(),
            publish,
            failed: false,
        };
        thread::Builder::new().name("ledger".into()).spawn(move || writer.run(&queue))?;
        Ok(handle)
    }

    /// Closes the store, in order. Changes that come later are refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.orders.try_send(WriteRequest::Close(done)).is_ok() {
            let _ = closed.await; // an error if the thread has ended already
        }
    }

    /// The account now.
    pub fn account(&self) -> Arc<Account> {
        self.account.load_full()
    }

    /// The hosts for host-name tasks.
    pub fn hosts(&self) -> Arc<Vec<Host>> {
        self.hosts.load_full()
    }

    /// Other hosts, after a reload: the zones with a task for host names follow.
    pub async fn set_hosts(&self, hosts: Vec<Host>) {
        if *self.hosts.load_full() == hosts {
            return;
        }
        self.hosts.store(Arc::new(hosts));
        match ApiCaller::ourselves() {
            Ok(caller) => {
                if let Err(error) = self.write(caller, |context| Ok(sync::refresh(context))).await {
                    tracing::error!(%error, "the zones with host names could not follow the configuration");
                }
            }
            Err(error) => tracing::error!(%error, "no random octets"),
        }
    }

    /// The zones and records of the file by their ids.
    pub fn config_ids(&self) -> &ConfigIds {
        &self.config_ids
    }

    /// The way of changes into the fleet, if there is one.
    pub fn fleet(&self) -> Option<&Arc<FleetWriter>> {
        self.fleet.as_ref()
    }

    /// What is published into.
    pub fn live(&self) -> &Arc<SharedState> {
        self.publisher.live()
    }

    /// Takes a decision and waits until it is durable and in force.
    ///
    /// # Errors
    /// What the decision says; `ServiceUnavailable` when too many wait or the disk fails.
    pub async fn write(
        &self,
        caller: ApiCaller,
        decide: impl Fn(&ActionContext) -> Result<ActionResult, ApiError> + Send + 'static,
    ) -> ActionAnswer {
        self.write_once(caller, None, decide).await
    }

    /// The same for a change with a token: in a fleet it is made once, and answered alike wherever it is sent again.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn write_once(
        &self,
        caller: ApiCaller,
        token: Option<SharedToken>,
        decide: impl Fn(&ActionContext) -> Result<ActionResult, ApiError> + Send + 'static,
    ) -> ActionAnswer {
        let (reply, answer) = oneshot::channel();
        let decision = PendingDecision { caller, token, decide: Box::new(decide) };
        let job = Job { decision, reply };
        match self.orders.try_send(WriteRequest::Change(job)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(unavailable("Too many changes are waiting; try again."));
            }
            Err(TrySendError::Disconnected(_)) => return Err(unavailable(ENDED)),
        }
        // The writer drops a reply only when it ends.
        answer.await.unwrap_or_else(|_| Err(unavailable(ENDED)))
    }
}

/// The thread behind a [`AccountWriter`].
struct WriterThread {
    account: Arc<ArcSwap<Account>>,
    hosts: Arc<ArcSwap<Vec<Host>>>,
    keeping: Persistence,
    publisher: Arc<Publisher>,
    config_ids: Arc<ConfigIds>,
    publish: Publish,
    /// A defect left it unknown what is stored or in force: changes are refused until the next start.
    failed: bool,
}

/// Has an account answer queries; the second part is what changed in it.
type Publish = Box<dyn Fn(&Account, &Dirty) + Send>;

/// Why changes are refused once the store is closed.
const ENDED: &str = "The writer of changes has ended; pvtzd is stopping, or must be restarted.";

/// Why changes are refused before the fleet's rows are known.
const NOT_YET: &str = "This node has not read the fleet's rows from etcd yet; try again.";

/// Why changes are refused where etcd does not answer.
const AWAY: &str = "The etcd of the fleet cannot be reached, and the change was not made; try again, or ask another \
                    node. The log of pvtzd tells why.";

/// Why a change is refused that etcd refuses.
const REFUSED: &str =
    "The etcd of the fleet refuses the change, and it was not made; the log of pvtzd tells why.";

/// What is said where it is not known whether a change was made.
const UNKNOWN: &str = "The etcd of the fleet did not answer in time, and it is not known whether the change was made; \
                       read before it is made again.";

/// Why changes are refused after a defect.
const FAILED: &str = "Changes are refused since an earlier one failed by a defect of pvtzd; the log of pvtzd tells \
                      which. Restart pvtzd.";

impl WriterThread {
    /// Works until the ledger is closed or gone.
    fn run(mut self, queue: &Receiver<WriteRequest>) {
        while let Ok(first) = queue.recv() {
            let (mut batch, mut closing) = (Vec::new(), None);
            for order in std::iter::once(first).chain(queue.try_iter()).take(BATCH) {
                match order {
                    WriteRequest::Change(job) => batch.push(job),
                    WriteRequest::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
            }
            self.settle(batch);
            if let Some(done) = closing {
                drop(self);
                let _ = done.send(()); // whoever waited may have gone
                return;
            }
        }
    }

    /// Decides, commits, publishes and answers a batch. A panic is a defect of pvtzd and must not end all changes for
    /// good: before the commit nothing was changed, after it the change is in force as far as it can be.
    fn settle(&mut self, batch: Vec<Job>) {
        let (jobs, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|Job { decision, reply }| (decision, reply)).unzip();
        let refuse = |error: ApiError| replies.iter().map(|_| Err(error.clone())).collect();
        if self.failed {
            let refused = refuse(unavailable(FAILED));
            return answer(replies, refused, &Ok(()));
        }
        if let Persistence::Fleet(fleet) = &self.keeping {
            let settled = caught("a change in the fleet", || self.settle_in_fleet(fleet, &jobs));
            let (answers, kept) = settled.unwrap_or_else(|| (refuse(ApiError::internal()), Ok(())));
            return answer(replies, answers, &kept);
        }
        let mut account = Account::clone(&self.account.load());
        let (mut edits, mut dirty, mut applied) = (Vec::new(), Dirty::default(), 0);
        let mut apply = |account: &mut Account, edits: &[Edit]| {
            let touched = account.apply(edits);
            dirty.zones.extend(touched.zones);
            dirty.whole |= touched.whole;
        };
        let decided = caught("making a change", || {
            let decided = jobs.into_iter().map(|PendingDecision { caller, decide, .. }| {
                apply(&mut account, &edits[applied..]); // those of the decision before
                applied = edits.len();
                let decision = caught("a decision", || self.decide(&account, &caller, &decide));
                let decision = decision.unwrap_or_else(|| Err(ApiError::internal()))?;
                edits.extend(decision.edits);
                Ok(decision.answer)
            });
            decided.collect::<Vec<ActionAnswer>>()
        });
        let Some(answers) = decided else {
            let refused = refuse(ApiError::internal());
            return answer(replies, refused, &Ok(()));
        };
        let keeping = &self.keeping;
        let keep = || caught("storing a change", || keep(keeping, &edits));
        let mut make = || caught("making a change", || apply(&mut account, &edits[applied..]));
        let (made, kept) = match edits[applied..].iter().map(Edit::rows).sum() {
            // a long one is made and stored at the same time
            MANY.. => thread::scope(|scope| {
                let keeping = scope.spawn(keep);
                (make(), keeping.join().ok().flatten())
            }),
            _ => match make() {
                Some(()) => (Some(()), keep()),
                None => {
                    let refused = refuse(ApiError::internal());
                    return answer(replies, refused, &Ok(()));
                }
            },
        };
        let kept = made.and(kept).unwrap_or_else(|| {
            self.failed = true; // what the file holds now, or what counts, is not known
            Err(unavailable(FAILED))
        });
        if kept.is_ok() && !edits.is_empty() {
            let publish = |dirty: &Dirty| caught("publishing a change", || (self.publish)(&account, dirty));
            if publish(&dirty).or_else(|| publish(&Dirty { whole: true, ..Dirty::default() })).is_none() {
                self.failed = true; // the change is durable and counts from the next start
            }
            self.account.store(Arc::new(account));
        }
        answer(replies, answers, &kept);
    }

    /// Decides and commits a batch in the fleet, anew as long as another node is first.
    fn settle_in_fleet(
        &self,
        fleet: &FleetWriter,
        jobs: &[PendingDecision],
    ) -> (Vec<ActionAnswer>, Result<(), ApiError>) {
        let refuse = |why| (jobs.iter().map(|_| Err(unavailable(why))).collect(), Ok(()));
        let tokens: Vec<SharedToken> = jobs.iter().filter_map(|job| job.token.clone()).collect();
        for _ in 0..FLEET_TRIES {
            let Some((ground, account)) = fleet.ground() else { return refuse(NOT_YET) };
            let mut account = Account::clone(&account);
            let known = match fleet.kept_answers(&tokens) {
                _ if tokens.is_empty() => Vec::new(),
                Ok(known) => known,
                Err(failure) => {
                    tracing::error!(%failure, "whether changes with a ClientToken were made is not known");
                    return refuse(why_not(&failure));
                }
            };
            let (mut edits, mut kept) = (Vec::new(), Vec::new());
            let answers = self.decide_all(jobs, known, &mut account, &mut edits, &mut kept);
            if edits.is_empty() {
                return (answers, Ok(()));
            }
            if let Some(why) = fleet.obstacle() {
                return (answers, Err(unavailable(why)));
            }
            let failure = match fleet.commit(ground, &edits, &kept) {
                Ok(()) => return (answers, Ok(())),
                Err(CommitFailure::Outdated) => {
                    fleet.catch_up(ground);
                    continue;
                }
                Err(failure) => failure,
            };
            tracing::error!(%failure, "a change through the API was not stored in etcd");
            return (answers, Err(unavailable(why_not(&failure))));
        }
        refuse("Too many other nodes of the fleet are making changes; try again.")
    }

    /// Decides one job after another, each on what the one before left. `known` has what was answered to the tokens
    /// before; `kept` gets what is answered to those that make something.
    fn decide_all(
        &self,
        jobs: &[PendingDecision],
        known: Vec<Option<SharedAnswer>>,
        account: &mut Account,
        edits: &mut Vec<Edit>,
        kept: &mut Vec<(SharedToken, Map<String, Value>)>,
    ) -> Vec<ActionAnswer> {
        let mut known = known.into_iter();
        let decided = jobs.iter().map(|PendingDecision { caller, token, decide }| {
            if let Some(before) = token.as_ref().and_then(|_| known.next()).flatten() {
                return before.answer.ok_or_else(too_long);
            }
            let decision = caught("a decision", || self.decide(account, caller, decide));
            let decision = decision.unwrap_or_else(|| Err(ApiError::internal()))?;
            account.apply(&decision.edits);
            if let Some(token) = token.as_ref().filter(|_| !decision.edits.is_empty()) {
                kept.push((token.clone(), decision.answer.clone()));
            }
            edits.extend(decision.edits);
            Ok(decision.answer)
        });
        decided.collect()
    }

    /// One decision.
    fn decide(
        &self,
        account: &Account,
        caller: &ApiCaller,
        decide: &Decide,
    ) -> Result<ActionResult, ApiError> {
        let (hosts, published) = (self.hosts.load(), self.publisher.live().published());
        let context = ActionContext {
            account,
            catalog: &published.catalog,
            config_ids: &self.config_ids,
            hosts: &hosts,
            caller,
            counts: ObservedCounts::from(&**self.publisher.live()),
        };
        decide(&context)
    }
}

/// Makes edits durable.
fn keep(keeping: &Persistence, edits: &[Edit]) -> Result<(), ApiError> {
    let Persistence::Durable(store) = keeping else { return Ok(()) };
    if edits.is_empty() {
        return Ok(());
    }
    store.commit(edits).map_err(|error| {
        tracing::error!(%error, "a change through the API was refused");
        unavailable("The change could not be stored and was not made; the log of pvtzd tells why.")
    })
}

/// Why a change was not made, as its client is told.
fn why_not(failure: &CommitFailure) -> &'static str {
    match failure {
        CommitFailure::Away(_) | CommitFailure::Outdated => AWAY,
        CommitFailure::Refused(_) => REFUSED,
        CommitFailure::Unknown(_) => UNKNOWN,
    }
}

/// The answer to a change that another node has made, where it is not kept.
fn too_long() -> ApiError {
    let message =
        "The change of this ClientToken was made, and its answer is too long to be kept: read what it made.";
    ApiError::new("ClientToken.AnswerNotKept", message).with_status(409)
}

fn unavailable(why: &'static str) -> ApiError {
    ApiError::new("ServiceUnavailable", why).with_status(503)
}

/// Answers those who wait. What was refused is refused whatever the disk does.
fn answer(
    replies: Vec<oneshot::Sender<ActionAnswer>>,
    answers: Vec<ActionAnswer>,
    kept: &Result<(), ApiError>,
) {
    for (reply, answer) in replies.into_iter().zip(answers) {
        let answer = answer.and_then(|answer| kept.clone().map(|()| answer));
        let _ = reply.send(answer); // the client may have gone; the change stands
    }
}

/// What a step returns; nothing when it panicked, which the log tells.
fn caught<T>(step: &str, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        tracing::error!("{step} through the API failed by a defect of pvtzd: please report it");
    }
    done.ok()
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
