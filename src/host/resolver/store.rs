//! What a take changed, remembered on disk before anything changes: the only way back.
//!
//! Two files: `resolver.json`, everything that give-back needs, and `resolver-upstream.conf`, the former servers in
//! the form of resolv.conf, which the running pvtzd asks once resolv.conf names nobody but itself.

use super::finding::Manager;
use super::trouble::Trouble;
use super::{Names, Step};
use crate::upstream::system;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder. Not the daemon's own: what root writes back must not lie where a service without rights can write.
pub const DIRECTORY: &str = system::REMEMBERED_IN;

/// What give-back needs.
const RECORD: &str = "resolver.json";

/// The former servers, for the daemon.
const UPSTREAM: &str = system::REMEMBERED;

/// The version of the record's form.
const VERSION: u32 = 1;

/// What a take changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form.
    pub version: u32,
    /// When, in seconds since 1970.
    pub taken_at: u64,
    /// Who managed resolv.conf.
    pub manager: Manager,
    /// Where pvtzd answers.
    pub address: IpAddr,
    /// Which names come to it.
    pub scope: Names,
    /// The servers that were asked before.
    pub upstream: Vec<IpAddr>,
    /// What was to be done, in this order. After a crash only a part of it may have been.
    pub steps: Vec<Step>,
}

/// Where the record is kept.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// Held while somebody works on it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Store {
    /// A store in this folder, which need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The file of the record.
    pub fn path(&self) -> PathBuf {
        self.directory.join(RECORD)
    }

    /// Keeps others out until the lock is dropped.
    ///
    /// # Errors
    /// Somebody is at it, or the folder cannot be made.
    pub fn lock(&self) -> Result<Lock, Trouble> {
        let path = self.directory.join("lock");
        let make = || {
            fs::create_dir_all(&self.directory)?;
            // The daemon has no rights and reads what is in it, whatever the umask.
            fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))
        };
        if !self.directory.is_dir() {
            make().map_err(Trouble::io("make the folder", show(&self.directory)))?;
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(Trouble::io("write", show(&path)))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(Trouble::Busy),
            Err(fs::TryLockError::Error(error)) => Err(Trouble::io("lock", show(&path))(error)),
        }
    }

    /// What was remembered.
    ///
    /// # Errors
    /// It is there and cannot be read or understood.
    pub fn read(&self) -> Result<Option<Record>, Trouble> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Trouble::io("read", show(&path))(error)),
        };
        let odd = |problem: String| Trouble::Record { path: show(&path), problem };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| odd(error.to_string()))?;
        match record.version {
            VERSION => Ok(Some(record)),
            other => Err(odd(format!("it was written by another version of pvtzd (form {other})"))),
        }
    }

    /// Remembers, durably.
    ///
    /// # Errors
    /// It cannot be written; what was remembered before still is.
    pub fn write(&self, record: &Record) -> Result<(), Trouble> {
        let mut text = serde_json::to_string_pretty(record)
            .map_err(|error| Trouble::io("write", show(&self.path()))(io::Error::other(error)))?;
        text.push('\n');
        // The servers first: without a record they are read by nobody but a pvtzd that has none to ask.
        self.replace(UPSTREAM, &servers(&record.upstream))?;
        self.replace(RECORD, &text)
    }

    /// Forgets: all was given back.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self) -> Result<(), Trouble> {
        for name in [RECORD, UPSTREAM] {
            let path = self.directory.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Trouble::io("remove", show(&path))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folder, if nothing but our lock is in it. For the one who holds the lock.
    pub fn leave(&self, lock: Lock) {
        let _ = fs::remove_file(self.directory.join("lock"));
        drop(lock);
        let _ = fs::remove_dir(&self.directory);
    }

    /// Writes a file beside its place and renames it into it.
    fn replace(&self, name: &str, text: &str) -> Result<(), Trouble> {
        let (path, beside) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?; // the daemon has no rights and reads it
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&beside);
            Trouble::io("write", show(&path))(error)
        })
    }
}

/// The servers as a resolv.conf.
fn servers(upstream: &[IpAddr]) -> String {
    let lines: String = upstream.iter().map(|server| format!("nameserver {server}\n")).collect();
    format!("# The servers of this machine before `pvtzd resolver take`: pvtzd asks them.\n{lines}")
}

/// A path in a message.
fn show(path: &Path) -> String {
    path.display().to_string()
}
