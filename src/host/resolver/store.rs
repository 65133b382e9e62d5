//! What a take changed, remembered on disk before anything changes: the only way back.
//!
//! Two files: `resolver.json`, everything that give-back needs, and `resolver-upstream.conf`, the former servers in
//! the form of resolv.conf, which the running pvtzd asks once resolv.conf names it alone.

use super::conf::Nameserver;
use super::detected::Manager;
use super::trouble::ResolverError;
use super::{HostStep, Names};
use crate::host::follow::FollowedSource;
use crate::host::system_servers;
use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder. Not the daemon's own: what root writes back must not lie where a service without rights can write.
pub const DIRECTORY: &str = system_servers::REMEMBERED_IN;

/// What give-back needs.
const RECORD: &str = "resolver.json";

/// The former servers, for the daemon.
const UPSTREAM: &str = system_servers::REMEMBERED;

/// Octets of the largest record: what was in a few files, as numbers where it is no text.
const LARGEST: u64 = 64 << 20;

/// Permission bits of the record: what was in files that only root reads may be in it.
const PRIVATE: u32 = 0o600;

/// Permission bits of what the daemon, which has no rights, reads.
const PUBLIC: u32 = 0o644;

/// The version of the record's form.
const VERSION: u32 = 1;

/// What a take changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnableRecord {
    /// The version of this form.
    pub version: u32,
    /// The time, in seconds since 1970.
    pub taken_at: u64,
    /// The manager of resolv.conf.
    pub manager: Manager,
    /// The address of pvtzd.
    pub address: IpAddr,
    /// The names directed to it.
    pub scope: Names,
    /// The former servers.
    pub upstream: Vec<Nameserver>,
    /// The files with the servers of later networks.
    #[serde(default)]
    pub follow: Vec<FollowedSource>,
    /// The steps, in order. After a crash only some of them may have been done.
    pub steps: Vec<HostStep>,
    /// All steps were done successfully.
    #[serde(default)]
    pub complete: bool,
}

/// Where the record is kept.
#[derive(Clone, Debug)]
pub struct RecordStore {
    directory: PathBuf,
}

/// Held while a command works on it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl RecordStore {
    /// A store in this folder, which need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The file of the record.
    pub fn path(&self) -> PathBuf {
        self.directory.join(RECORD)
    }

    /// Excludes other commands until the lock is dropped.
    ///
    /// # Errors
    /// Another command holds the lock, or the folder cannot be created.
    pub fn lock(&self) -> Result<Lock, ResolverError> {
        let path = self.directory.join("lock");
        let make = || {
            fs::create_dir_all(&self.directory)?;
            // The daemon has no privileges and must be able to read the folder, regardless of the umask.
            fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))
        };
        if !self.directory.is_dir() {
            make().map_err(ResolverError::io("make the folder", show(&self.directory)))?;
        }
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(PRIVATE).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let file = options.open(&path);
        let file = file.map_err(ResolverError::io("write", show(&path)))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(ResolverError::Busy),
            Err(fs::TryLockError::Error(error)) => Err(ResolverError::io("lock", show(&path))(error)),
        }
    }

    /// Reads the record. `give-back` writes to any path as root, so the file is accepted only if no user other than
    /// root or the caller can have written it.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or others may have written it.
    pub fn read(&self) -> Result<Option<EnableRecord>, ResolverError> {
        let path = self.path();
        let odd = |problem: String| ResolverError::Record { path: show(&path), problem };
        let options =
            File::options().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC).open(&path);
        let file = match options {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) if path.is_symlink() => return Err(odd("it is a symbolic link".into())),
            Err(error) => return Err(ResolverError::io("read", show(&path))(error)),
        };
        let found = file.metadata().map_err(ResolverError::io("read", show(&path)))?;
        if let Some(problem) = distrust(found.is_file(), found.uid(), found.mode(), caller()) {
            return Err(odd(problem));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(ResolverError::io("read", show(&path)))?;
        if bytes.len() as u64 > LARGEST {
            return Err(odd(format!("it has more than {LARGEST} octets")));
        }
        let record: EnableRecord = serde_json::from_slice(&bytes).map_err(|error| odd(error.to_string()))?;
        match record.version {
            VERSION => Ok(Some(record)),
            other => Err(odd(format!("it was written by another version of pvtzd (form {other})"))),
        }
    }

    /// Writes the record durably.
    ///
    /// # Errors
    /// It cannot be written; the former record is unchanged.
    pub fn write(&self, record: &EnableRecord) -> Result<(), ResolverError> {
        let mut text = serde_json::to_string_pretty(record)
            .map_err(|error| ResolverError::io("write", show(&self.path()))(io::Error::other(error)))?;
        text.push('\n');
        // The servers first: without a record they are read only by a pvtzd without servers.
        self.replace(UPSTREAM, &servers(record), PUBLIC)?;
        self.replace(RECORD, &text, PRIVATE)
    }

    /// Removes the record after a complete give-back.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self) -> Result<(), ResolverError> {
        for name in [RECORD, UPSTREAM] {
            let path = self.directory.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ResolverError::io("remove", show(&path))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folder, if it has only the lock file. The caller must hold the lock.
    pub fn leave(&self, lock: Lock) {
        let _ = fs::remove_file(self.directory.join("lock"));
        drop(lock);
        let _ = fs::remove_dir(&self.directory);
    }

    /// Writes a temporary file and renames it.
    fn replace(&self, name: &str, text: &str, mode: u32) -> Result<(), ResolverError> {
        let (path, beside) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let write = || {
            let _ = fs::remove_file(&beside); // left by a crash; a link there must not be followed
            let mut file = File::options().write(true).create_new(true).mode(PRIVATE).open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(mode))?; // regardless of the umask
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&beside);
            ResolverError::io("write", show(&path))(error)
        })
    }
}

/// Why a record is not believed; nothing if it is.
fn distrust(is_file: bool, owner: u32, mode: u32, caller: u32) -> Option<String> {
    if !is_file {
        Some("it is not a regular file".into())
    } else if owner != 0 && owner != caller {
        Some(format!("it belongs to user {owner}, not to root or to who runs this"))
    } else if mode & 0o022 != 0 {
        Some(format!("others may write it (mode {:04o})", mode & 0o7777))
    } else {
        None
    }
}

/// The effective user of this process; root where the kernel does not tell.
pub(super) fn caller() -> u32 {
    fs::metadata("/proc/self").map_or(0, |process| process.uid())
}

/// The servers as a resolv.conf, and where those of another network are found.
fn servers(record: &EnableRecord) -> String {
    let follow: String = record.follow.iter().map(|source| format!("{source}\n")).collect();
    let lines: String = record.upstream.iter().map(|server| format!("nameserver {server}\n")).collect();
    format!("# The servers of this machine before `pvtzd resolver take`: pvtzd asks them.\n{follow}{lines}")
}

/// A path in a message.
fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_or_the_caller_wrote_is_believed() {
        let rows = [
            (true, 0, 0o600, 5, None),
            (true, 5, 0o644, 5, None),
            (true, 0, 0o644, 0, None),
            (true, 5, 0o600, 0, Some("belongs to user 5")),
            (true, 6, 0o600, 5, Some("belongs to user 6")),
            (true, 0, 0o620, 0, Some("others may write it")),
            (true, 0, 0o602, 0, Some("mode 0602")),
            (false, 0, 0o600, 0, Some("not a regular file")),
        ];
        for (is_file, owner, mode, caller, expected) in rows {
            let why = distrust(is_file, owner, mode, caller);
            assert_eq!(why.is_some(), expected.is_some(), "{why:?}");
            assert!(why.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }
}
