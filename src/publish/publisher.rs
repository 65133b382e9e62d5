//! The only publisher: for the daemon when the configuration or the environment changes, for the API when the account
//! changes. A lock serialises them, so that neither overwrites the other's change.

use super::build;
use super::build::Environment;
use crate::account::{Account, Dirty};
use crate::base::task;
use crate::config::{Config, ConfigDifference};
use crate::engine::catalog::Catalog;
use crate::engine::hosts::Hosts;
use crate::engine::zone::{Zone, ZoneSpec};
use crate::resolve::shared::{ActiveConfig, SharedState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// Publishes into a [`SharedState`].
#[derive(Debug)]
pub struct Publisher {
    live: Arc<SharedState>,
    /// Where the watch for loops runs.
    runtime: Handle,
    sources: Mutex<Sources>,
}

/// What the published is made of.
#[derive(Debug)]
struct Sources {
    config: Config,
    around: Environment,
    account: Account,
    serial: u32,
}

impl Publisher {
    /// Builds what is first published, by [`build::build`], and hands it to `live`.
    pub fn start(
        config: Config,
        around: Environment,
        account: Account,
        runtime: Handle,
        live: impl FnOnce(ActiveConfig) -> Arc<SharedState>,
    ) -> Arc<Self> {
        let serial = next_serial(0);
        let live = live(build::build(&config, &around, &account, None, serial));
        let sources = Mutex::new(Sources { config, around, account, serial });
        let publisher = Arc::new(Self { live, runtime, sources });
        publisher.watch_for_loops(None);
        publisher
    }

    /// What it publishes into.
    pub fn live(&self) -> &Arc<SharedState> {
        &self.live
    }

    /// The configuration that counts.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Another configuration or other surroundings.
    pub fn reconfigure(&self, config: &Config, around: &Environment) {
        let mut sources = self.lock();
        let difference = if sources.around == *around { config.difference(&sources.config) } else { None };
        sources.config = config.clone();
        sources.around = around.clone();
        match difference {
            // The certificates of upstream servers are read again by a reload.
            Some(difference) if !build::has_encrypted(config, &sources.account) => {
                self.replace(&mut sources, &difference)
            }
            _ => self.build(&mut sources),
        }
    }

    /// Builds the zones and takes the hosts files that differ, and swaps them in.
    fn replace(&self, sources: &mut Sources, difference: &ConfigDifference) {
        sources.serial = next_serial(sources.serial);
        let Sources { config, serial, .. } = sources;
        let zone = |place: usize| {
            let (spec, _) = config.zones.get(place)?;
            Some((place, Arc::new(Zone::build_leniently(ZoneSpec::clone(spec), *serial))))
        };
        let zones: Vec<_> = difference.zones.iter().filter_map(|place| zone(*place)).collect();
        let hosts = |place: &usize| Some((*place, config.hosts.get(*place)?.hosts.clone()));
        let hosts: Vec<_> = difference.hosts.iter().filter_map(hosts).collect();
        self.amend(sources, |catalog| {
            let mut all = true;
            for (place, zone) in zones {
                all &= catalog.replace_zone(place, zone);
            }
            for (place, hosts) in hosts {
                all &= catalog.replace_hosts(place, hosts);
            }
            all
        });
    }

    /// Another account; `dirty` is what differs from the one before.
    pub fn update(&self, account: &Account, dirty: &Dirty) {
        let mut sources = self.lock();
        let before = std::mem::replace(&mut sources.account, account.clone());
        if dirty.whole {
            self.build(&mut sources);
        } else if !dirty.zones.is_empty() {
            sources.serial = next_serial(sources.serial);
            let previous = self.live.published();
            self.live.publish(build::amend(&previous, &before, account, dirty, sources.serial));
        }
    }

    /// A zone file was read again, or a secondary zone has changed: `edit` is what differs. Only this zone is built, and
    /// swapped in.
    pub fn replace_zone(&self, place: usize, edit: impl FnOnce(&mut ZoneSpec)) {
        let mut sources = self.lock();
        sources.serial = next_serial(sources.serial);
        let serial = sources.serial;
        let Some((spec, _)) = sources.config.zones.get_mut(place) else { return };
        edit(Arc::make_mut(spec));
        let zone = Arc::new(Zone::build_leniently(ZoneSpec::clone(spec), serial));
        self.amend(&mut sources, |catalog| catalog.replace_zone(place, zone));
    }

    /// A hosts file was read again: only its names are swapped in.
    pub fn replace_hosts(&self, place: usize, hosts: Arc<Hosts>) {
        let mut sources = self.lock();
        sources.serial = next_serial(sources.serial);
        let Some(file) = sources.config.hosts.get_mut(place) else { return };
        file.hosts = hosts.clone();
        self.amend(&mut sources, |catalog| catalog.replace_hosts(place, hosts));
    }

    /// Publishes a catalog that differs in what `edit` does; where it does nothing, everything is built anew.
    fn amend(&self, sources: &mut Sources, edit: impl FnOnce(&mut Catalog) -> bool) {
        let mut amended = ActiveConfig { generation: sources.serial, ..(*self.live.published()).clone() };
        if edit(&mut amended.catalog) { self.live.publish(amended) } else { self.build(sources) }
    }

    /// Rebuilds and publishes everything.
    fn build(&self, sources: &mut Sources) {
        sources.serial = next_serial(sources.serial);
        let previous = self.live.published();
        let Sources { config, around, account, serial } = sources;
        self.live.publish(build::build(config, around, account, Some(&previous), *serial));
        self.watch_for_loops(Some(&previous));
    }

    /// Watches the groups that are new.
    fn watch_for_loops(&self, previous: Option<&ActiveConfig>) {
        for (key, group) in &self.live.published().groups {
            let known = previous.and_then(|previous| previous.groups.get(key));
            if !known.is_some_and(|known| Arc::ptr_eq(known, group)) {
                let group: Weak<_> = Arc::downgrade(group);
                self.runtime.spawn(task::boxed(self.live.loops.clone().watch(group)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        // Complete values are replaced: a panic elsewhere leaves no partial state.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970, and more than before: what a SOA's serial should be.
fn next_serial(last: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as u32;
    now.max(last.wrapping_add(1))
}
