//! Data files of the configuration, zone files and hosts files: the result of reading one, and its place among the
//! faults of the configuration. The running server reads them again, one at a time, when they change.

use super::fault::{Fault, Severity};
use super::reader::{ConfigReader, Span};
use crate::base::file::WatchedFile;
use crate::engine::catalog::Scope;
use crate::engine::hosts::{Hosts, HostsOptions};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Faults of one file that are told; the rest are counted.
pub(super) const TOLD: usize = 20;

/// The result of reading a file and its includes.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What is in it, or what is wrong.
    pub content: Result<T, LoadError>,
    /// What is left out of it.
    pub warnings: Vec<Fault>,
    /// What was read, as it was before it was read.
    pub files: Arc<[WatchedFile]>,
    /// Octets of all that was read.
    pub octets: u64,
}

/// Why there is nothing of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// It could not be read: a sentence with its path.
    Unreadable(String),
    /// It was read.
    Faults {
        /// The first faults, in the order of files and lines.
        told: Vec<Fault>,
        /// How many more there are.
        more: usize,
    },
}

impl fmt::Display for LoadError {
    /// One line: the first fault, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Faults { told, more } => {
                if let Some(first) = told.first() {
                    write!(f, "{}:{}: {}", first.file.display(), first.line, first.message)?;
                }
                match told.len().saturating_sub(1) + more {
                    0 => Ok(()),
                    1 => f.write_str(", and 1 more error"),
                    others => write!(f, ", and {others} more errors"),
                }
            }
        }
    }
}

impl<T> Loaded<T> {
    /// The content; what is wrong is noted as of a place of the configuration.
    pub(super) fn or_note(self, reader: &ConfigReader, at: &Span) -> (Option<T>, Arc<[WatchedFile]>) {
        let foreign = |fault: Fault| reader.foreign(at, Fault { key: at.path.to_string(), ..fault });
        self.warnings.into_iter().for_each(foreign);
        let content = match self.content {
            Ok(content) => Some(content),
            Err(LoadError::Unreadable(why)) => {
                reader.error(at, why, None);
                None
            }
            Err(LoadError::Faults { told, more }) => {
                told.into_iter().for_each(foreign);
                if more > 0 {
                    reader.error(at, format!("the file has {more} more errors"), None);
                }
                None
            }
        };
        (content, self.files)
    }
}

/// Characters of a line at fault that are kept.
pub(super) const MAX_EXCERPT: usize = 400;

/// A fault of a line.
pub(super) fn fault(severity: Severity, file: PathBuf, line: usize, message: String, excerpt: &str) -> Fault {
    let excerpt: String = excerpt.chars().take(MAX_EXCERPT).collect();
    let width = excerpt.chars().count();
    Fault { severity, file, line, column: 1, key: String::new(), message, hint: None, excerpt, width }
}

/// `[[zone]] file`, as far as it is read again when it changes. A copy is cheap: there may be many.
#[derive(Clone, Debug)]
pub struct ZoneFile {
    /// The place of the zone among the configured ones.
    pub zone: usize,
    /// The zone file.
    pub path: Arc<Path>,
    /// It and what it includes, as they were when they were read.
    pub files: Arc<[WatchedFile]>,
}

/// `[[hosts]]`
#[derive(Clone, Debug)]
pub struct HostsFile {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub options: HostsOptions,
    /// Who sees its names.
    pub scope: Scope,
    /// Its names.
    pub hosts: Arc<Hosts>,
    /// The file as it was when it was read.
    pub files: Arc<[WatchedFile]>,
}
