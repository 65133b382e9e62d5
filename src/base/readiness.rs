//! Readiness of the process, and the results of reloads.

use super::auxiliary::Auxiliary;
use crate::base::data_files::DataFiles;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The readiness of the process.
#[derive(Debug, Default)]
pub struct Readiness {
    /// The auxiliary services.
    pub auxiliary: Auxiliary,
    /// Zone files and hosts files.
    pub data_files: DataFiles,
    ready: AtomicBool,
    /// The zones to serve are not known yet.
    withheld: AtomicBool,
    reloads: AtomicU64,
    failed: AtomicU64,
    last_failed: AtomicBool,
    /// The time, in seconds since 1970, at which a configuration last came into force.
    changed: AtomicU64,
}

impl Readiness {
    /// Listeners are bound and the catalog is loaded.
    pub fn begin(&self) {
        self.changed.store(now(), Ordering::Relaxed);
        self.ready.store(true, Ordering::Release);
    }

    /// The process stops: it should get no new queries.
    pub fn end(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// True between [`Self::begin`] and [`Self::end`], unless withheld.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.withheld.load(Ordering::Acquire)
    }

    /// Sets whether the zones to serve are still unknown, which makes the process not ready.
    pub fn withhold(&self, withheld: bool) {
        self.withheld.store(withheld, Ordering::Release);
    }

    /// Records the result of a reload.
    pub fn reloaded(&self, well: bool) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(!well, Ordering::Relaxed);
        if well {
            self.changed.store(now(), Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of reloads, and of failed ones.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// False after a failed reload: the file differs from the configuration in force.
    pub fn is_current(&self) -> bool {
        !self.last_failed.load(Ordering::Relaxed)
    }

    /// The time, in seconds since 1970, at which a configuration last came into force.
    pub fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_reload_shows_until_one_works() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready() && readiness.is_current());
        readiness.begin();
        readiness.reloaded(false);
        assert!(readiness.is_ready() && !readiness.is_current());
        readiness.reloaded(true);
        assert!(readiness.is_current() && readiness.changed() > 0);
        assert_eq!(readiness.reloads(), (2, 1));
        readiness.withhold(true);
        assert!(!readiness.is_ready());
        readiness.withhold(false);
        assert!(readiness.is_ready());
        readiness.end();
        assert!(!readiness.is_ready());
    }
}
