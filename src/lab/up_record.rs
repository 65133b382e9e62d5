//! The file that says which lab runs in the background: `pvtzd lab up` makes it, `pvtzd lab down` reads it.
//!
//! The lab has the file open and locked as long as it runs, since the kernel gives a lock up with the process that has
//! it: what a lab leaves behind that was killed is told from one that runs, and no number of a process is taken for
//! that of another.

use crate::base::file;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde_json::{Map, Value};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Octets of the longest record.
const MAX_RECORD: u64 = 1 << 20;

/// The file is opened and found to be another this often at most.
const TRIES: usize = 10;

/// How long to wait before a lock is tried again.
const POLL: Duration = Duration::from_millis(10);

/// The member that has the lab's process.
const PID: &str = "pid";

/// The record, with its lock: of a lab that is being started, or of one that has ended.
#[derive(Debug)]
pub struct UpRecord {
    path: PathBuf,
    file: File,
}

/// What was found at the place of the record.
#[derive(Debug)]
pub enum UpState {
    /// No lab runs.
    Free(UpRecord),
    /// A lab runs, or is being started.
    Running(RunningRecord),
    /// There is no file.
    Absent,
}

/// The record of a lab that runs.
#[derive(Debug)]
pub struct RunningRecord(UpRecord);

impl UpRecord {
    /// The record at a path; where none is there, it is made if `make` says so.
    ///
    /// # Errors
    /// The file cannot be opened or locked, or it is another's.
    pub fn open(path: &Path, make: bool) -> io::Result<UpState> {
        for _ in 0..TRIES {
            // Neither a pipe nor another's link: both could be put into a directory that others may write.
            let flags = O_NOFOLLOW | O_NONBLOCK;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(make).truncate(false).mode(0o600).custom_flags(flags);
            let file = match options.open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound && !make => return Ok(UpState::Absent),
                opened => opened?,
            };
            file::check_regular(&file.metadata()?)?;
            let record = Self { path: path.into(), file };
            match record.file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(UpState::Running(RunningRecord(record))),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A lab that ended just now has removed the file that was opened.
            if record.is_at_its_path() {
                record.read()?;
                return Ok(UpState::Free(record));
            }
        }
        Err(io::Error::other("it is replaced again and again"))
    }

    /// The file itself, for the lab: its lock lasts as long as any process has it open.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Writes what the lab said of itself, and its process.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, pid: u32, mut said: Map<String, Value>) -> io::Result<String> {
        said.insert(PID.into(), pid.into());
        let line = Value::Object(said).to_string();
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{line}\n").as_bytes())?;
        Ok(line)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What the file says; nothing where it is empty, as it is before the lab's process is known.
    fn read(&self) -> io::Result<Option<Map<String, Value>>> {
        let (mut text, mut file) = (Vec::new(), &self.file);
        file.seek(SeekFrom::Start(0))?;
        file.take(MAX_RECORD + 1).read_to_end(&mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(said)) if said.contains_key(PID) => Ok(Some(said)),
            _ => Err(io::Error::other("it is there, and no record of `pvtzd lab up`: remove it")),
        }
    }

    /// True while the path leads to this file.
    fn is_at_its_path(&self) -> bool {
        let found = (self.file.metadata(), fs::symlink_metadata(&self.path));
        matches!(found, (Ok(own), Ok(there)) if is_same(&own, &there))
    }
}

impl RunningRecord {
    /// The lab's process; nothing while it is being started.
    ///
    /// # Errors
    /// Another program has locked a file of its own at this place.
    pub fn pid(&self) -> io::Result<Option<i32>> {
        // It may be written at this moment.
        for _ in 0..TRIES {
            match self.0.read() {
                Ok(said) => return Ok(said.and_then(|said| said[PID].as_i64()?.try_into().ok())),
                Err(_) => std::thread::sleep(POLL),
            }
        }
        self.0.read().map(|_| None)
    }

    /// True if the process has the record open: it is no other that was given the number, and in no other namespace.
    pub fn is_held_by(&self, pid: i32) -> bool {
        let held = fs::metadata(format!("/proc/{pid}/fd/0"));
        matches!((self.0.file.metadata(), held), (Ok(own), Ok(held)) if pid > 0 && is_same(&own, &held))
    }

    /// Waits until no process has the lock, at most so long; the record is then ours.
    ///
    /// # Errors
    /// It lasted longer.
    pub fn wait(self, timeout: Duration) -> Result<UpRecord, Self> {
        let begun = Instant::now();
        loop {
            match self.0.file.try_lock() {
                Ok(()) => return Ok(self.0),
                Err(_) if begun.elapsed() < timeout => std::thread::sleep(POLL),
                Err(_) => return Err(self),
            }
        }
    }
}

/// True for two descriptions of one file.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    fn said() -> Map<String, Value> {
        json!({ "dns": "127.0.0.1:5335" }).as_object().unwrap().clone()
    }

    fn free(path: &Path) -> UpRecord {
        match UpRecord::open(path, true).unwrap() {
            UpState::Free(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_has_the_record_and_the_next_learns_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        assert!(matches!(UpRecord::open(&path, false).unwrap(), UpState::Absent));
        let mut first = free(&path);
        let UpState::Running(seen) = UpRecord::open(&path, true).unwrap() else { panic!() };
        assert_eq!(seen.pid().unwrap(), None, "it is being started");
        first.write(std::process::id(), said()).unwrap();
        assert_eq!(seen.pid().unwrap(), Some(std::process::id().cast_signed()));
        assert!(!seen.is_held_by(0) && !seen.is_held_by(1));
        let seen = seen.wait(Duration::ZERO).unwrap_err();
        first.remove().unwrap();
        assert!(seen.wait(Duration::ZERO).is_ok(), "the lock ends with its file");
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_lab_left_is_taken_over_and_files_of_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        free(&path).write(1, said()).unwrap();
        drop(free(&path));
        for text in ["mine", "{}", "[1]", "\0"] {
            fs::write(&path, text).unwrap();
            let why = UpRecord::open(&path, true).unwrap_err().to_string();
            assert!(why.contains("no record"), "{text:?}: {why}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "it stays as it is");
        }
    }

    #[test]
    fn pipes_directories_and_links_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, directory, link] = ["pipe", "directory", "link"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::create_dir(&directory).unwrap();
        symlink(folder.path().join("elsewhere"), &link).unwrap();
        for path in [&pipe, &directory, &link] {
            assert!(UpRecord::open(path, true).is_err(), "{path:?}");
            assert!(UpRecord::open(path, false).is_err(), "{path:?}");
        }
        assert!(!folder.path().join("elsewhere").exists());
    }
}
