//! The account on disk: one file of the state directory (redb).
//!
//! A list of edits is one transaction. A crash of process or machine after [`Store::commit`] has returned loses none of
//! it, a crash before leaves none of it. The file is read once, at start. A damaged file is renamed, with a log
//! message. For a file of a newer schema, or one that another process has open, the start fails and the file stays
//! unchanged.

mod migrate;
mod read;
mod rows;

use crate::account::{Account, Edit};
use crate::engine::zone::ZoneSemantics;
use read::RowError;
use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};
use rows::{META, SCHEMA_KEY};
use std::fmt;
use std::fs;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file in the state directory.
pub const FILE: &str = "account.redb";

/// The name of the thread that reads the file; it may panic over damaged content.
pub const READER: &str = "store-reader";

/// The schema that this version reads and writes. [`migrate_from`] migrates older ones.
const SCHEMA: u64 = 2;

/// The library's cache of the file, in octets: small, because the file is read once.
const CACHE: usize = 4 << 20;

/// An open store.
pub struct Store {
    path: PathBuf,
    held: Mutex<HeldStore>,
}

/// The file as it is held.
struct HeldStore {
    /// None after a failure, until the file is open again.
    database: Option<Database>,
    /// The number of the last committed change, which is in the file too.
    revision: u64,
    /// The sum of the rows after it.
    sum: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The result of opening a store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The account in it.
    pub account: Account,
    /// The new path of a damaged file, and the damage.
    pub set_aside: Option<(PathBuf, String)>,
}

/// Why a store cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has the file open.
    InUse(PathBuf),
    /// A newer version wrote the file.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: u64,
    },
    /// The system refuses access.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A write failed.
    Write(redb::Error),
    /// The file has a change that was reported as failed.
    Astray(PathBuf),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(
                    f,
                    "{} is in use by another process; give each its own state directory",
                    path.display()
                )
            }
            Self::Newer { path, schema } => write!(
                f,
                "{} has schema {schema}, this version supports up to {SCHEMA}; start the newer version, or move the file away",
                path.display()
            ),
            Self::Io { path, source } => write!(f, "{} cannot be opened: {source}", path.display()),
            Self::Write(error) => write!(f, "the store cannot be written: {error}"),
            Self::Astray(path) => write!(
                f,
                "{} contains a change that was reported as failed; restart pvtzd to apply it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Write(error) => Some(error),
            Self::InUse(_) | Self::Newer { .. } | Self::Astray(_) => None,
        }
    }
}

impl Store {
    /// Opens and reads the store of a state directory; creates it if there is none. Zones read undocumented cases in
    /// the given way.
    ///
    /// # Errors
    /// [`StoreError`]. A damaged file is not an error.
    pub fn open(directory: &Path, reading: ZoneSemantics) -> Result<Opened, StoreError> {
        let path = directory.join(FILE);
        let at = |source| StoreError::Io { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(at)?;
        match attempt(&path, reading) {
            Ok((store, account)) => Ok(Opened { store, account, set_aside: None }),
            Err(OpenFailure::Refused(error)) => Err(error),
            Err(OpenFailure::Damaged(why)) => {
                let aside = name_aside(&path);
                fs::rename(&path, &aside).map_err(at)?;
                match attempt(&path, reading) {
                    Ok((store, account)) => Ok(Opened { store, account, set_aside: Some((aside, why)) }),
                    Err(OpenFailure::Refused(error)) => Err(error),
                    Err(OpenFailure::Damaged(why)) => Err(at(io::Error::other(why))),
                }
            }
        }
    }

    /// Writes edits: all of them, durably, or none.
    ///
    /// # Errors
    /// The disk is full or fails; nothing was changed.
    pub fn commit(&self, edits: &[Edit]) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match held.database.take() {
            Some(database) => database,
            None => self.reopened(held.revision, held.revision)?.0,
        };
        let next = held.revision + 1;
        let written =
            std::panic::catch_unwind(AssertUnwindSafe(|| rows::write(&database, edits, next, held.sum)));
        let written = written.unwrap_or_else(|_| Err(redb::Error::Corrupted("the library panicked".into())));
        let error = match written {
            Ok(sum) => {
                *held = HeldStore { database: Some(database), revision: next, sum };
                return Ok(());
            }
            Err(error) => error,
        };
        // After a failure the library accepts nothing more, and only the file shows whether the change was committed.
        drop(database);
        if let Ok((database, revision, sum)) = self.reopened(held.revision, next) {
            *held = HeldStore { database: Some(database), revision, sum };
            if revision == next {
                return Ok(());
            }
        }
        Err(StoreError::Write(error))
    }

    /// Opens the file again. It must have one of these revisions, each with its sum of marks.
    fn reopened(&self, former: u64, next: u64) -> Result<(Database, u64, u64), StoreError> {
        let open = || -> Result<(Database, u64, u64), redb::Error> {
            let database = Database::builder().set_cache_size(CACHE).open(&self.path).map_err(flatten)?;
            let (revision, sum) = rows::revision_and_sum(&database)?;
            Ok((database, revision, sum))
        };
        let opened = std::panic::catch_unwind(AssertUnwindSafe(open));
        let opened = opened.unwrap_or_else(|_| Err(redb::Error::Corrupted("the library panicked".into())));
        match opened.map_err(StoreError::Write)? {
            opened @ (_, revision, _) if [former, next].contains(&revision) => Ok(opened),
            _ => Err(StoreError::Astray(self.path.clone())),
        }
    }
}

impl Drop for Store {
    /// Commits an empty change. The library keeps the state before the last change, and uses it if a page of the last
    /// one is damaged: an acknowledged change would be lost silently. After an empty change both states have the same
    /// rows.
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = held.database.take() {
            let again = || rows::write(&database, &[], held.revision, held.sum);
            let _ = std::panic::catch_unwind(AssertUnwindSafe(again)); // the file is valid without it
        }
    }
}

/// The reason why a file was not read.
enum OpenFailure {
    /// The file must stay unchanged.
    Refused(StoreError),
    /// The content is damaged.
    Damaged(String),
}

fn attempt(path: &Path, reading: ZoneSemantics) -> Result<(Store, Account), OpenFailure> {
    let refuse = |source| OpenFailure::Refused(StoreError::Io { path: path.into(), source });
    // A crash may leave an empty file in place of a full one: it is not a new store.
    if fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
        return Err(OpenFailure::Damaged("the file is empty".into()));
    }
    let path_of_file = path.to_path_buf();
    // The library checks its input, but arbitrary bytes may still fail an assertion in it. That panic ends this thread
    // only, and the panic hook recognises it by the name.
    let reader = thread::Builder::new().name(READER.into()).spawn(move || open_file(&path_of_file, reading));
    let read = reader.map_err(refuse)?.join();
    match read {
        Err(_) => Err(OpenFailure::Damaged("the storage library panicked while reading it".into())),
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(StoreReadError::Newer(schema))) => {
            Err(OpenFailure::Refused(StoreError::Newer { path: path.into(), schema }))
        }
        Ok(Err(StoreReadError::Invalid(why))) => Err(OpenFailure::Damaged(why)),
        Ok(Err(StoreReadError::Failed(error))) => match error {
            redb::Error::DatabaseAlreadyOpen => Err(OpenFailure::Refused(StoreError::InUse(path.into()))),
            redb::Error::Io(source) if !is_about_content(&source) => Err(refuse(source)),
            other => Err(OpenFailure::Damaged(other.to_string())),
        },
    }
}

/// An error while a file is read.
enum StoreReadError {
    Newer(u64),
    Invalid(String),
    Failed(redb::Error),
}

impl<E: Into<RowError>> From<E> for StoreReadError {
    fn from(error: E) -> Self {
        match error.into() {
            RowError::Storage(error) => Self::Failed(error),
            RowError::Row(why) => Self::Invalid(why),
        }
    }
}

fn open_file(path: &Path, reading: ZoneSemantics) -> Result<(Store, Account), StoreReadError> {
    let database = Database::builder().set_cache_size(CACHE).create(path).map_err(flatten)?;
    let schema = {
        let transaction = database.begin_read()?;
        match transaction.open_table(META) {
            Ok(table) => table.get(SCHEMA_KEY)?.map(|value| value.value()),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        }
    };
    match schema {
        None => rows::create(&database, SCHEMA)?,
        Some(schema) if schema > SCHEMA => return Err(StoreReadError::Newer(schema)),
        Some(schema) => migrate_from(&database, schema)?,
    }
    let (account, sum) = rows::read(&database, reading)?;
    let (revision, _) = rows::revision_and_sum(&database)?;
    let held = Mutex::new(HeldStore { database: Some(database), revision, sum });
    Ok((Store { path: path.into(), held }, account))
}

/// Migrates an older schema to [`SCHEMA`], one step at a time. No version wrote a number below 1.
fn migrate_from(database: &Database, schema: u64) -> Result<(), StoreReadError> {
    match schema {
        SCHEMA => Ok(()),
        1 => {
            tracing::info!("records of the store are packed, once");
            Ok(migrate::pack_records(database)?)
        }
        other => Err(StoreReadError::Invalid(format!("there never was a schema {other}"))),
    }
}

/// The system's error, which the library wraps in several ways.
fn flatten(error: DatabaseError) -> redb::Error {
    match error {
        DatabaseError::Storage(StorageError::Io(source)) => redb::Error::Io(source),
        other => other.into(),
    }
}

/// True for errors about the file's content, false for those of the system.
fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// An unused name in the folder of the file.
fn name_aside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = |suffix: u64| path.with_extension(format!("redb.damaged-{suffix}"));
    (now..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(now))
}

/// The table of a kind of row.
type StoreTable = TableDefinition<'static, &'static str, &'static [u8]>;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
