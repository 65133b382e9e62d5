//! Secondary zones of the running server: their saved copies at a start, a task for each, and what they bring.

use crate::api::keys::read_secret;
use crate::base::clock::Clock;
use crate::base::task;
use crate::config::{Config, Secondary, TsigSource};
use crate::engine::cache::Timestamp;
use crate::engine::catalog::Scope;
use crate::engine::name::NameKey;
use crate::engine::zone::ZoneSpec;
use crate::resolve::shared::SharedState;
use crate::upstream::transfer::copy::{ServedZone, ZoneCopy};
use crate::upstream::transfer::limits::TransferLimits;
use crate::upstream::transfer::saved;
use crate::upstream::transfer::secondary::{SecondaryMeans, SecondaryPlan, SecondaryUpdate, SecondaryZone};
use crate::upstream::transfer::{Primary, TsigKey};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long tasks may take to write their copies at the end.
const LAST_SAVE: Duration = Duration::from_secs(3);

/// Copies of secondary zones, by the ids of the zones.
pub type ZoneCopies = HashMap<String, ZoneCopy>;

/// A zone and its task.
#[derive(Debug)]
struct RunningZone {
    zone: Arc<SecondaryZone>,
    task: JoinHandle<Option<ZoneCopy>>,
}

/// The daemon's side of the tasks.
#[derive(Debug)]
pub(super) struct Secondaries {
    running: Vec<RunningZone>,
    /// What is served of each, for a configuration that was read again.
    served: HashMap<String, ServedZone>,
    limits: Arc<TransferLimits>,
    state_dir: Option<PathBuf>,
    updates: (mpsc::Sender<SecondaryUpdate>, mpsc::Receiver<SecondaryUpdate>),
}

/// Reads the saved copies of the secondary zones, and puts them into the configuration.
pub fn restore(config: &mut Config, state_dir: Option<&Path>, now: Timestamp) -> ZoneCopies {
    let mut copies = ZoneCopies::new();
    for secondary in &config.secondaries {
        if let Some((spec, scope)) = config.zones.get_mut(secondary.zone) {
            restore_zone(Arc::make_mut(spec), scope, state_dir, now, &mut copies);
        }
    }
    copies
}

/// Reads the saved copy of a zone, if there is one.
fn restore_zone(
    spec: &mut ZoneSpec,
    scope: &Scope,
    state_dir: Option<&Path>,
    now: Timestamp,
    copies: &mut ZoneCopies,
) {
    let Some(state_dir) = state_dir else { return };
    let (id, apex) = (id_of(spec, scope), NameKey::of(&spec.apex));
    let path = saved::path(state_dir, &id);
    match saved::read(&path, &apex) {
        Ok(None) => {}
        Ok(Some(copy)) => {
            let copy = ZoneCopy::new(copy.content, &apex, copy.age, now);
            serve(spec, copy.served(now));
            copies.insert(id, copy);
        }
        Err(error) => {
            let file = path.display();
            tracing::warn!(zone = %apex, %file, %error, "the saved copy of the secondary zone is not used");
        }
    }
}

impl Secondaries {
    /// No zones yet; copies are kept in the state directory.
    pub(super) fn new(state_dir: Option<PathBuf>) -> Self {
        let (running, served) = (Vec::new(), HashMap::new());
        Self { running, served, limits: Arc::default(), state_dir, updates: mpsc::channel(16) }
    }

    /// Puts what is served of each zone into a configuration that was read again; the saved copies of zones that are new.
    pub(super) fn fill(&self, config: &mut Config, now: Timestamp) -> ZoneCopies {
        let mut copies = ZoneCopies::new();
        for secondary in &config.secondaries {
            let Some((spec, scope)) = config.zones.get_mut(secondary.zone) else { continue };
            let id = id_of(spec, scope);
            match self.served.get(&id) {
                Some(served) => serve(Arc::make_mut(spec), served.clone()),
                None if self.running.iter().any(|running| running.zone.plan().id == id) => {}
                None => restore_zone(Arc::make_mut(spec), scope, self.state_dir.as_deref(), now, &mut copies),
            }
        }
        copies
    }

    /// Runs the zones of a configuration. A zone that is as it was goes on; what is known of one that changed is handed
    /// to its successor.
    pub(super) fn run(&mut self, config: &Config, live: &SharedState, mut copies: ZoneCopies) {
        let now = live.clock.now();
        let mut former: HashMap<String, RunningZone> =
            self.running.drain(..).map(|running| (running.zone.plan().id.clone(), running)).collect();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        for secondary in &config.secondaries {
            let Some((spec, scope)) = config.zones.get(secondary.zone) else { continue };
            let plan = plan(secondary, spec, scope, credentials.as_deref());
            let before = former.remove(&plan.id);
            let running = match before {
                Some(before) if *before.zone.plan() == plan => before,
                before => {
                    let copy = copies.remove(&plan.id);
                    if let Some(copy) = &copy {
                        self.served.insert(plan.id.clone(), copy.served(now));
                    }
                    self.begin(SecondaryZone::new(plan, copy.as_ref(), now), copy, before, &live.clock)
                }
            };
            self.running.push(running);
        }
        for (id, gone) in former {
            gone.zone.stop();
            self.served.remove(&id);
        }
        live.secondaries.replace(self.running.iter().map(|running| running.zone.clone()).collect());
    }

    /// Starts the task of a zone, which first waits for that of its predecessor.
    fn begin(
        &self,
        zone: Arc<SecondaryZone>,
        copy: Option<ZoneCopy>,
        before: Option<RunningZone>,
        clock: &Clock,
    ) -> RunningZone {
        let means = SecondaryMeans {
            clock: clock.clone(),
            limits: self.limits.clone(),
            state_dir: self.state_dir.clone(),
            publish: self.updates.0.clone(),
        };
        let running = zone.clone();
        let task = task::spawn(async move {
            let copy = match before {
                Some(before) => {
                    before.zone.stop();
                    before.task.await.ok().flatten()
                }
                None => copy,
            };
            running.run(means, copy).await
        });
        RunningZone { zone, task }
    }

    /// The next change of a zone.
    pub(super) async fn updated(&mut self) -> SecondaryUpdate {
        match self.updates.1.recv().await {
            Some(update) => update,
            None => std::future::pending().await, // never: we hold a sender
        }
    }

    /// Takes a change over into the configuration; the place of the zone and what is served now.
    pub(super) fn take(
        &mut self,
        config: &mut Config,
        update: SecondaryUpdate,
    ) -> Option<(usize, ServedZone)> {
        let SecondaryUpdate { id, served } = update;
        for secondary in &config.secondaries {
            let (spec, scope) = config.zones.get_mut(secondary.zone)?;
            if id_of(spec, scope) == id {
                serve(Arc::make_mut(spec), served.clone());
                self.served.insert(id, served.clone());
                return Some((secondary.zone, served));
            }
        }
        None // a zone that is no more
    }

    /// Has the tasks write their copies, and end.
    pub(super) async fn stop(&mut self) {
        self.updates.1.close();
        self.running.iter().for_each(|running| running.zone.stop());
        let ended = async {
            for running in self.running.drain(..) {
                let _ = running.task.await; // a panic there is logged
            }
        };
        let _ = timeout(LAST_SAVE, ended).await; // a hanging disk must not block the exit
    }
}

/// What tells a secondary zone from others of its name.
fn id_of(spec: &ZoneSpec, scope: &Scope) -> String {
    let apex = NameKey::of(&spec.apex);
    match scope {
        Scope::Everyone => apex.to_string(),
        Scope::Vpcs(ids) => format!("{apex} {}", ids.join(" ")),
    }
}

/// Has a zone serve this.
pub(super) fn serve(spec: &mut ZoneSpec, served: ServedZone) {
    spec.packed = served.packed;
    spec.availability = served.availability;
}

/// How a zone is to be run.
fn plan(secondary: &Secondary, spec: &ZoneSpec, scope: &Scope, credentials: Option<&Path>) -> SecondaryPlan {
    let key = secondary.key.as_ref().map(|source| key(source, credentials)).transpose();
    let (primaries, fault) = match key {
        Ok(key) => {
            let key = key.map(Arc::new);
            let primary = |address: &_| Primary { address: *address, key: key.clone() };
            (secondary.primaries.iter().map(primary).collect(), None)
        }
        Err(fault) => (Vec::new(), Some(fault)),
    };
    SecondaryPlan {
        id: id_of(spec, scope),
        apex: NameKey::of(&spec.apex),
        vpcs: match scope {
            Scope::Everyone => None,
            Scope::Vpcs(ids) => Some(ids.clone()),
        },
        primaries,
        fault,
        max_size: secondary.max_size,
    }
}

/// The key of a source.
fn key(source: &TsigSource, credentials: Option<&Path>) -> Result<TsigKey, String> {
    let name = &source.name;
    let mut warnings = Vec::new();
    let secret = read_secret(&source.secret, credentials, &mut warnings)
        .map_err(|why| format!("the secret of TSIG key {name} is not available: {why}"))?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let secret = data_encoding::BASE64
        .decode(secret.as_bytes())
        .map_err(|_| format!("the secret of TSIG key {name} is not base64"))?;
    Ok(TsigKey::new(name.clone(), source.algorithm, &secret))
}
