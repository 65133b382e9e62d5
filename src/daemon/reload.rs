//! Reloads: the configuration, by a signal, over the control socket or after a change; zone files and hosts files,
//! independently. An error changes nothing.

use super::Daemon;
use super::data_files::{Change, WatchPlan};
use crate::base::file::WatchedFile;
use crate::config::data_file::{LoadError, Loaded};
use crate::config::{self, Config, ConfigError, Fault};
use crate::upstream::transfer::secondary::SecondaryUpdate;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Daemon {
    /// Reloads the configuration and reports the result to the service manager, with a status text.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        self.settings.supervisor.reloading();
        if let Some(station) = &self.station {
            station.reopen(); // in any case: a reload rotates log files
        }
        let reloaded = self.reread();
        self.readiness.reloaded(reloaded.is_ok());
        let status = match &reloaded {
            Ok(_) => self.status(),
            Err(_) => format!("the new configuration has errors and is not used; {}", self.status()),
        };
        self.settings.supervisor.ready(&status);
        reloaded
    }

    /// Loads the configuration. A file that existed before must exist: its removal does not select the built-in
    /// configuration.
    fn load(&mut self) -> Result<(Config, Vec<Fault>), ConfigError> {
        if let (None, Some(place)) = (&self.settings.path, &self.settings.look_for) {
            self.settings.path = config::find(place)?;
        }
        match &self.settings.path {
            Some(path) => config::load_again(path, &self.config),
            None => Ok((Config::default(), Vec::new())),
        }
    }

    /// Reloads the configuration. An error changes nothing.
    fn reread(&mut self) -> Result<String, String> {
        let file = self.settings.path.as_deref().map(WatchedFile::now);
        let config = match self.load() {
            Ok((config, warnings)) => {
                for warning in &warnings {
                    eprintln!("{warning}"); // as at start: the log would suppress some
                }
                config
            }
            Err(error @ ConfigError::Io { .. }) => {
                tracing::error!(%error, "cannot read the configuration; the former one stays in force");
                self.watch_files(file.into_iter().collect());
                return Err(format!("the former configuration stays in force: {error}"));
            }
            Err(ConfigError::Faults(faults)) => {
                for fault in &faults {
                    eprintln!("{fault}"); // all of them: the log would suppress some
                }
                tracing::error!(
                    faults = faults.len(),
                    "the configuration has errors; the former one stays in force"
                );
                // The error may be in a zone file: once it is corrected, the configuration is reloaded.
                let mut paths: Vec<PathBuf> = faults.iter().map(|fault| fault.file.clone()).collect();
                paths.dedup();
                paths.retain(|path| file.as_ref().is_none_or(|file| *file.path != **path));
                let others = paths.iter().map(|path| WatchedFile::now(path));
                self.watch_files(file.into_iter().chain(others).collect());
                let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "the configuration has errors, the former one stays in force\n{}",
                    told.join("\n")
                ));
            }
        };
        self.warn_what_needs_a_restart(&config);
        self.config = config;
        let copies = self.secondaries.fill(&mut self.config, self.live.clock.now());
        self.around.system = super::system_servers(&self.config, &self.settings, &self.listening);
        self.publisher.reconfigure(&self.config, &self.around);
        if let (Some(office), Some(control)) = (&self.office, &self.config.control) {
            office.reload(control);
        }
        self.live.top.configure(self.config.top.enabled, self.config.top.client, self.live.clock.now());
        self.live.cache.retained.configure(self.config.retain.clone());
        self.secondaries.run(&self.config, &self.live, copies);
        self.reload_certificate();
        self.ask_metadata();
        self.readiness.data_files.begin(0);
        self.watch_files(self.config.file.clone().into_iter().collect());
        let zones = self.live.published().catalog.zones().len();
        tracing::info!(zones, "reloaded");
        Ok(format!("reloaded: {zones} zones in the configuration"))
    }

    /// Watches the files of the configuration in force. `reread` are the files whose change reloads the configuration,
    /// if enabled.
    pub(super) fn watch_files(&mut self, reread: Vec<WatchedFile>) {
        let reread = if self.config.server.watch_config { reread } else { Vec::new() };
        let plan = WatchPlan::new(&self.config, reread);
        self.readiness.data_files.watch(plan.len());
        self.data_files.watch(plan);
    }

    /// Publishes a change of a secondary zone.
    pub(super) fn take_secondary(&mut self, update: SecondaryUpdate) {
        if let Some((place, served)) = self.secondaries.take(&mut self.config, update) {
            self.publisher.replace_zone(place, |zone| super::secondaries::serve(zone, served));
        }
    }

    /// Applies a changed file.
    pub(super) fn take_change(&mut self, change: Change) {
        match change {
            Change::Config => {
                tracing::info!("the configuration file has changed: reloading");
                let _ = self.reload(); // the result is logged
            }
            Change::Zone(place, loaded) => {
                let Some(file) = self.config.zone_files.iter_mut().find(|file| file.zone == place) else {
                    return;
                };
                file.files = loaded.files.clone();
                let path = file.path.clone();
                let Some((zone, _)) = self.config.zones.get(place) else { return };
                let before = zone.record_count();
                let Some(packed) = self.sound("zone", &path, loaded, before) else {
                    self.config.forget_file(); // a reload tells of it
                    return;
                };
                if let Some((zone, _)) = self.config.zones.get_mut(place) {
                    Arc::make_mut(zone).packed = Some(packed.clone());
                    let (records, name) = (zone.record_count(), crate::engine::name::show(&zone.apex));
                    let file = path.display();
                    tracing::info!(zone = name, %file, records, "the new content of the zone file is in force");
                }
                self.publisher.replace_zone(place, |zone| zone.packed = Some(packed));
            }
            Change::Hosts(place, loaded) => {
                let Some(file) = self.config.hosts.get_mut(place) else { return };
                file.files = loaded.files.clone();
                let (path, before) = (file.path.clone(), file.hosts.len());
                let Some(hosts) = self.sound("hosts", &path, loaded, before).map(Arc::new) else {
                    self.config.forget_file(); // a reload tells of it
                    return;
                };
                let names = hosts.len();
                tracing::info!(file = %path.display(), names, "the new content of the hosts file is in force");
                if let Some(file) = self.config.hosts.get_mut(place) {
                    file.hosts = hosts.clone();
                }
                self.publisher.replace_hosts(place, hosts);
            }
        }
    }

    /// The new content of a file; reports its errors. `before` is its former size.
    fn sound<T>(&self, kind: &'static str, path: &Path, loaded: Loaded<T>, before: usize) -> Option<T> {
        for warning in &loaded.warnings {
            eprintln!("{warning}");
        }
        let content = match loaded.content {
            // A file is empty between truncation and writing. A comment marks an intentionally empty file.
            Ok(_) if loaded.octets == 0 && before > 0 => {
                let why = format!(
                    "{} is empty; to empty it on purpose, write a comment into it, or reload",
                    path.display()
                );
                Err(LoadError::Unreadable(why))
            }
            content => content,
        };
        match content {
            Ok(content) => {
                self.readiness.data_files.taken(kind, path);
                Some(content)
            }
            Err(error) => {
                if self.readiness.data_files.refused(kind, path, &error) {
                    if let LoadError::Faults { told, .. } = &error {
                        told.iter().for_each(|fault| eprintln!("{fault}")); // the log would suppress some
                    }
                    tracing::error!(kind, "{error}; the former content stays in force");
                }
                None
            }
        }
    }
}
