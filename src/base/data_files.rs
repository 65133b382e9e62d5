//! The state of watched files: zone files, hosts files, the configuration.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most files with a fault that are kept by name; further ones are only counted.
const MAX_NAMED_FAULTS: usize = 1000;

/// The state of watched files.
#[derive(Debug, Default)]
pub struct DataFiles {
    watched: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    /// By file and kind.
    faulty: Mutex<BTreeMap<(String, &'static str), String>>,
}

/// A file whose former content is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultyFile {
    /// `zone` or `hosts`.
    pub kind: String,
    /// The file.
    pub file: String,
    /// The error, with file and line.
    pub fault: String,
}

impl DataFiles {
    /// Records that a start or a reload has read all files, and how many are watched.
    pub fn begin(&self, watched: usize) {
        self.watched.store(watched as u64, Ordering::Relaxed);
        self.faulty().clear();
    }

    /// Sets the number of files that are watched.
    pub fn watch(&self, watched: usize) {
        self.watched.store(watched as u64, Ordering::Relaxed);
    }

    /// Records that a file was read again and is served.
    pub fn taken(&self, kind: &'static str, file: &Path) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.faulty().remove(&(file.display().to_string(), kind));
    }

    /// Records that a file was read again and has a fault. True if the fault is new.
    pub fn refused(&self, kind: &'static str, file: &Path, fault: impl Display) -> bool {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let (key, fault) = ((file.display().to_string(), kind), fault.to_string());
        let mut faulty = self.faulty();
        if faulty.len() >= MAX_NAMED_FAULTS && !faulty.contains_key(&key) {
            return true;
        }
        faulty.insert(key, fault.clone()).is_none_or(|former| former != fault)
    }

    /// The number of watched files, of files read again, and of those with a fault.
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.watched), read(&self.reads), read(&self.failures))
    }

    /// The files whose former content is served.
    pub fn read(&self) -> Vec<FaultyFile> {
        let faulty = self.faulty();
        let shown = faulty.iter().map(|((file, kind), fault)| FaultyFile {
            kind: (*kind).to_string(),
            file: file.clone(),
            fault: fault.clone(),
        });
        shown.collect()
    }

    fn faulty(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str), String>> {
        self.faulty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_until_the_file_is_taken() {
        let files = DataFiles::default();
        files.begin(2);
        let path = Path::new("/a");
        assert!(files.refused("zone", path, "line 1"));
        assert!(!files.refused("zone", path, "line 1"), "the same once more is no news");
        assert!(files.refused("zone", path, "line 2"));
        assert_eq!(files.read().len(), 1);
        assert_eq!(files.read()[0].fault, "line 2");
        files.taken("zone", path);
        assert_eq!((files.read().len(), files.counts()), (0, (2, 4, 3)));
        files.refused("hosts", path, "x");
        files.begin(1);
        assert!(files.read().is_empty(), "a reload has read all of them");
    }
}
