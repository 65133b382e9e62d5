//! A secondary zone at run time: when its primaries are asked, what is served of it, what is told of it.
//!
//! One task for each zone ([`SecondaryZone::run`]) goes by the timers of the SOA record and by NOTIFY. What it brings
//! is published through a channel, and kept in the state directory.

use super::copy::{ServedZone, ZoneCopy};
use super::limits::TransferLimits;
use super::saved;
use super::schedule::without_copy;
use super::session::{Primary, TransferError};
use crate::base::clock::Clock;
use crate::base::task::spawn_blocking;
use crate::engine::cache::Timestamp;
use crate::engine::name::NameKey;
use crate::engine::sort;
use crate::engine::zone::ZoneAvailability;
use crate::upstream::random;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// The least time between two conversations that a NOTIFY begins.
const NOTIFY_PAUSE: Duration = Duration::from_secs(1);

/// How many times as long as a change took to take over no other is asked for: a large zone that changes all the time
/// must not take a processor for itself.
const REST: u32 = 4;

/// The least time between two writes of the copy, and how many times as long as one took.
const SAVE_PAUSE: (Duration, u32) = (Duration::from_secs(10), 20);

/// The longest sleep: the clock goes on while the machine sleeps, and the runtime's timers do not.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A secondary zone as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondaryPlan {
    /// What tells it from others of its name: zone and VPCs.
    pub id: String,
    /// The zone.
    pub apex: NameKey,
    /// The VPCs whose clients see it; nothing for all clients.
    pub vpcs: Option<Vec<String>>,
    /// Whom to ask, in this order.
    pub primaries: Vec<Primary>,
    /// Why there is no primary to ask, if there is none: their key is not available.
    pub fault: Option<String>,
    /// Octets of memory that its records may take.
    pub max_size: usize,
}

/// What a zone needs of what is around it.
#[derive(Clone, Debug)]
pub struct SecondaryMeans {
    /// The clock of all moments.
    pub clock: Clock,
    /// What all zones share.
    pub limits: Arc<TransferLimits>,
    /// Where copies are kept, if they are.
    pub state_dir: Option<PathBuf>,
    /// Where changes are published.
    pub publish: mpsc::Sender<SecondaryUpdate>,
}

/// Another content of a zone.
#[derive(Debug)]
pub struct SecondaryUpdate {
    /// The zone.
    pub id: String,
    /// What is served.
    pub served: ServedZone,
}

/// Numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferCounts {
    /// Times that a primary had nothing newer.
    pub current: u64,
    /// Whole zones that came.
    pub full: u64,
    /// Incremental transfers that came.
    pub incremental: u64,
    /// Times that no primary told.
    pub failed: u64,
    /// NOTIFY messages that were taken.
    pub notifies: u64,
}

/// How a zone is doing.
#[derive(Clone, Debug, Default)]
pub struct SecondaryState {
    /// The serial of the copy; nothing without one.
    pub serial: Option<u32>,
    /// Whether the copy is served.
    pub availability: ZoneAvailability,
    /// Records of the copy.
    pub records: usize,
    /// Records of the last full transfer that were left out: they are not in the zone.
    pub outside: usize,
    /// When a primary last confirmed the copy.
    pub confirmed: Option<Timestamp>,
    /// When the copy expires.
    pub expires: Option<Timestamp>,
    /// When primaries are asked next.
    pub next: Option<Timestamp>,
    /// The primary that told last.
    pub primary: Option<SocketAddr>,
    /// What the last conversation failed with; nothing after one that did not.
    pub fault: Option<String>,
    /// Why the copy could not be written; nothing while it can.
    pub save_fault: Option<String>,
    /// Numbers.
    pub counts: TransferCounts,
}

/// A secondary zone.
#[derive(Debug)]
pub struct SecondaryZone {
    plan: SecondaryPlan,
    state: Mutex<SecondaryState>,
    /// A primary said that the zone has changed.
    wake: Notify,
    /// The task is to end.
    end: Notify,
    /// The primary that said so.
    notifier: Mutex<Option<IpAddr>>,
    stopping: AtomicBool,
}

/// What a conversation came to.
pub(super) enum Refreshed {
    /// The copy is as new as the primary's zone.
    Current,
    /// The copy is another one.
    Changed,
}

/// The copy's file, and when it has to be written.
struct Keeper {
    path: Option<PathBuf>,
    /// The file has an earlier copy.
    is_behind: bool,
    not_before: Instant,
}

impl SecondaryZone {
    /// A zone of which nothing is known but what a copy says.
    pub fn new(plan: SecondaryPlan, copy: Option<&ZoneCopy>, now: Timestamp) -> Arc<Self> {
        let zone = Self {
            plan,
            state: Mutex::default(),
            wake: Notify::new(),
            end: Notify::new(),
            notifier: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        zone.note(copy, now);
        Arc::new(zone)
    }

    /// How it is configured.
    pub fn plan(&self) -> &SecondaryPlan {
        &self.plan
    }

    /// How it is doing.
    pub fn state(&self) -> SecondaryState {
        self.lock().clone()
    }

    /// A primary says that the zone has changed.
    pub fn notify(&self, from: IpAddr) {
        self.lock().counts.notifies += 1;
        *self.notifier.lock().unwrap_or_else(PoisonError::into_inner) = Some(from.to_canonical());
        self.wake.notify_one();
    }

    /// Ends the task, which writes the copy before, if it has to.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    /// Keeps the copy new until it is told to stop; the copy.
    pub async fn run(self: Arc<Self>, means: SecondaryMeans, mut copy: Option<ZoneCopy>) -> Option<ZoneCopy> {
        let path = means.state_dir.as_ref().map(|state_dir| saved::path(state_dir, &self.plan.id));
        let mut keeper = Keeper { path, is_behind: false, not_before: Instant::now() };
        let clock = &means.clock;
        self.note(copy.as_ref(), clock.now());
        let (mut next, mut tries) = (clock.now(), 0u32);
        let mut not_before = clock.now();
        loop {
            self.lock().next = Some(next);
            let notified = self.sleep(clock, next, copy.as_ref(), &keeper).await;
            if self.stopping.load(Ordering::Relaxed) {
                self.save(&mut keeper, &mut copy, clock).await;
                return copy;
            }
            if keeper.is_behind && keeper.not_before <= Instant::now() {
                self.save(&mut keeper, &mut copy, clock).await;
            }
            self.expire(&means, copy.as_ref()).await;
            if notified {
                next = next.min(clock.now().max(not_before));
            }
            if clock.now() < next {
                continue;
            }
            let begun = Instant::now();
            let refreshed = tokio::select! {
                biased;
                () = self.end.notified() => None,
                result = self.refresh(&means, &mut copy, &mut keeper) => Some(result),
            };
            let Some(result) = refreshed else {
                self.save(&mut keeper, &mut copy, clock).await;
                return copy;
            };
            let now = clock.now();
            let taken = begun.elapsed().saturating_mul(REST).max(NOTIFY_PAUSE);
            let rest = if matches!(result, Ok(Refreshed::Changed)) { taken } else { NOTIFY_PAUSE };
            not_before = Timestamp(now.0 + rest.as_millis() as u64);
            tries = if result.is_ok() { 0 } else { tries.saturating_add(1) };
            next = match (&result, &copy) {
                (Ok(_), Some(copy)) => copy.timers().after_success(now, random::fraction()),
                (Err(()), Some(copy)) => copy.timers().after_failure(now, random::fraction()),
                (_, None) => without_copy(tries, now, random::fraction()),
            };
            next = next.max(not_before);
        }
    }

    /// Sleeps until something is to be done; true when a primary said that the zone has changed.
    async fn sleep(&self, clock: &Clock, next: Timestamp, copy: Option<&ZoneCopy>, keeper: &Keeper) -> bool {
        let now = clock.now();
        let expires = copy.map(ZoneCopy::expires).filter(|expires| *expires > now);
        let until = next.min(expires.unwrap_or(next));
        let mut pause = Duration::from_millis(until.since(now)).min(LONGEST_SLEEP);
        if keeper.is_behind {
            pause = pause.min(keeper.not_before.saturating_duration_since(Instant::now()));
        }
        tokio::select! {
            biased;
            () = self.end.notified() => false,
            () = self.wake.notified() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// Has the zone no longer served once its copy has expired.
    async fn expire(&self, means: &SecondaryMeans, copy: Option<&ZoneCopy>) {
        let Some(copy) = copy else { return };
        let now = means.clock.now();
        let is_served = self.lock().availability == ZoneAvailability::Ready;
        if is_served && now >= copy.expires() {
            tracing::error!(
                zone = %self.plan.apex,
                serial = copy.serial(),
                "no primary has confirmed the secondary zone in time: it has expired and is not served"
            );
            self.note(Some(copy), now);
            self.publish(means, copy.served(now)).await;
        }
    }

    /// Asks the primaries, one after another, until one tells.
    async fn refresh(
        &self,
        means: &SecondaryMeans,
        copy: &mut Option<ZoneCopy>,
        keeper: &mut Keeper,
    ) -> Result<Refreshed, ()> {
        let notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut order: Vec<&Primary> = self.plan.primaries.iter().collect();
        sort::by_key(&mut order, |primary| Some(primary.address.ip().to_canonical()) != notifier);
        let mut faults: Vec<String> = self.plan.fault.iter().cloned().collect();
        let mut behind = Vec::new();
        // Once the copy has expired, one that is behind it is better than none, if no other primary tells.
        for is_expired in [false, true] {
            let asked = if is_expired { std::mem::take(&mut behind) } else { order.clone() };
            for primary in asked {
                match self.ask(means, primary, copy, is_expired).await {
                    Ok(refreshed) => {
                        let now = means.clock.now();
                        self.lock().primary = Some(primary.address);
                        self.settle(means, copy, keeper, &refreshed, now).await;
                        return Ok(refreshed);
                    }
                    Err(TransferError::Behind(_))
                        if copy.as_ref().is_some_and(|copy| copy.expires() <= means.clock.now()) =>
                    {
                        behind.push(primary);
                    }
                    Err(error) => faults.push(format!("{}: {error}", primary.address)),
                }
            }
        }
        let fault = faults.join("; ");
        let is_news = {
            let mut state = self.lock();
            state.counts.failed += 1;
            state.fault.replace(fault.clone()).is_none_or(|former| former != fault)
        };
        if is_news {
            let served = if copy.is_some() {
                "the copy is served until it expires"
            } else {
                "there is no copy to serve"
            };
            tracing::warn!(zone = %self.plan.apex, "no primary has sent the secondary zone: {fault}; {served}");
        }
        Err(())
    }

    /// Takes over what a primary told.
    async fn settle(
        &self,
        means: &SecondaryMeans,
        copy: &mut Option<ZoneCopy>,
        keeper: &mut Keeper,
        refreshed: &Refreshed,
        now: Timestamp,
    ) {
        let was_served = self.lock().availability == ZoneAvailability::Ready;
        if let Some(copy) = copy.as_mut() {
            copy.confirmed = now;
        }
        let had_fault = self.lock().fault.take().is_some();
        self.note(copy.as_ref(), now);
        let changed = matches!(refreshed, Refreshed::Changed);
        if !changed {
            self.lock().counts.current += 1;
        }
        if let Some(copy) = copy.as_ref() {
            if changed || had_fault {
                let (serial, records) = (copy.serial(), self.lock().records);
                tracing::info!(zone = %self.plan.apex, serial, records, "the secondary zone is up to date");
            }
            if changed || !was_served {
                self.publish(means, copy.served(now)).await;
            }
        }
        keeper.is_behind |= changed;
        match keeper.is_behind {
            true if keeper.not_before <= Instant::now() => self.save(keeper, copy, &means.clock).await,
            true => {}
            false => self.confirm(keeper).await,
        }
    }

    /// Writes the copy, if the file has an earlier one.
    async fn save(&self, keeper: &mut Keeper, copy: &mut Option<ZoneCopy>, clock: &Clock) {
        let (Some(path), Some(copy)) = (keeper.path.clone().filter(|_| keeper.is_behind), copy.as_mut())
        else {
            return;
        };
        let Some(content) = copy.content.take() else { return };
        let (apex, age) = (self.plan.apex.clone(), clock.now().since(copy.confirmed) / 1000);
        let begun = Instant::now();
        let writing = spawn_blocking(move || {
            let written = saved::write(&path, &apex, &content, age);
            (content, written)
        });
        let Ok((content, written)) = writing.await else { return };
        copy.content = Some(content);
        let pause = begun.elapsed().saturating_mul(SAVE_PAUSE.1).max(SAVE_PAUSE.0);
        keeper.not_before = Instant::now() + pause;
        keeper.is_behind = written.is_err();
        self.note_save(written.err());
    }

    /// Writes into the file that a primary has confirmed the copy now.
    async fn confirm(&self, keeper: &mut Keeper) {
        let Some(path) = keeper.path.clone() else { return };
        // Without a file, as after a restart without a state directory, the copy is written.
        match spawn_blocking(move || saved::confirm(&path)).await {
            Ok(Ok(())) => self.note_save(None),
            _ => keeper.is_behind = true,
        }
    }

    /// Notes whether the copy could be written. The log tells it once.
    fn note_save(&self, error: Option<std::io::Error>) {
        let fault = error.map(|error| error.to_string());
        let former = std::mem::replace(&mut self.lock().save_fault, fault.clone());
        if let Some(fault) = fault.filter(|fault| former.as_ref() != Some(fault)) {
            tracing::warn!(zone = %self.plan.apex, "the copy of the secondary zone cannot be written: {fault}; pvtzd retries");
        }
    }

    async fn publish(&self, means: &SecondaryMeans, served: ServedZone) {
        let update = SecondaryUpdate { id: self.plan.id.clone(), served };
        let _ = means.publish.send(update).await; // the receiver is gone when the server is stopping
    }

    /// Notes what the copy is.
    fn note(&self, copy: Option<&ZoneCopy>, now: Timestamp) {
        let mut state = self.lock();
        let Some(copy) = copy else { return };
        state.serial = Some(copy.serial());
        state.availability = copy.served(now).availability;
        state.records = copy.content.as_ref().map_or(state.records, |content| content.len());
        state.confirmed = Some(copy.confirmed);
        state.expires = Some(copy.expires());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SecondaryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
