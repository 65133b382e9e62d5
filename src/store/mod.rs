//! What must survive: the account, durable in one file of the state directory (redb).
//!
//! A list of edits is one transaction: after [`Store::commit`] has returned, a crash of process or machine loses
//! none of it, and before, it leaves none of it. The file is read once, at start. A file that is damaged is set
//! aside under another name and said so; one of a newer schema, or that another process holds, is left alone and
//! the start fails.

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

/// The name of the thread that reads a file of unknown content, and may panic over it.
pub const READER: &str = "store-reader";

/// The schema that this version reads and writes. An older one is brought up to it by [`migrate_from`].
const SCHEMA: u64 = 2;

/// Octets of the file that are kept in memory: it is written often and read once.
const CACHE: usize = 4 << 20;

/// An open store.
pub struct Store {
    path: PathBuf,
    held: Mutex<HeldStore>,
}

/// The file as it is held.
struct HeldStore {
    /// Nothing after a failure, until the file can be opened again.
    database: Option<Database>,
    /// The number of the last change that was committed, which is in the file too.
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
    /// What it held.
    pub account: Account,
    /// Where a damaged file was put, and what was wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
}

/// Why a store cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has it open.
    InUse(PathBuf),
    /// It was written by a newer version.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        schema: u64,
    },
    /// The system does not let us.
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A write failed.
    Write(redb::Error),
    /// A change that was reported as failed turned out to be in the file.
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
    /// Opens the store of a state directory and reads it; makes it if there is none. Zones read what is not documented in
    /// a way.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged file is none.
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
        // After a failure the library takes nothing more; and whether the change was still committed, only the
        // file can tell.
        drop(database);
        if let Ok((database, revision, sum)) = self.reopened(held.revision, next) {
            *held = HeldStore { database: Some(database), revision, sum };
            if revision == next {
                return Ok(());
            }
        }
        Err(StoreError::Write(error))
    }

    /// Opens the file anew, which must have one of these revisions; the other parts are its marks.
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
    /// The library keeps the state before the last change as well, and takes that where a page of the last one is
    /// damaged: an acknowledged change would be gone without a word. After one more change, of nothing, both have
    /// the same rows.
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = held.database.take() {
            let again = || rows::write(&database, &[], held.revision, held.sum);
            let _ = std::panic::catch_unwind(AssertUnwindSafe(again)); // without it the file is as good as it was
        }
    }
}

/// Why a file could not be read.
enum OpenFailure {
    /// It is not ours to touch.
    Refused(StoreError),
    /// What is in it makes no sense.
    Damaged(String),
}

fn attempt(path: &Path, reading: ZoneSemantics) -> Result<(Store, Account), OpenFailure> {
    let refuse = |source| OpenFailure::Refused(StoreError::Io { path: path.into(), source });
    // An empty file is what a crash may leave of a full one: it is not taken for a new store.
    if fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
        return Err(OpenFailure::Damaged("the file is empty".into()));
    }
    let path_of_file = path.to_path_buf();
    // The library checks what it reads, but a file of arbitrary bytes may still trip an assertion in it. On a thread
    // of its own this ends that thread, whose name tells that it is no defect of ours.
    let reader = thread::Builder::new().name(READER.into()).spawn(move || open_file(&path_of_file, reading));
    let read = reader.map_err(refuse)?.join();
    match read {
        Err(_) => Err(OpenFailure::Damaged("the storage library panicked while reading it".into())),
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(StoreReader::Newer(schema))) => {
            Err(OpenFailure::Refused(StoreError::Newer { path: path.into(), schema }))
        }
        Ok(Err(StoreReader::Senseless(why))) => Err(OpenFailure::Damaged(why)),
        Ok(Err(StoreReader::Failed(error))) => match error {
            redb::Error::DatabaseAlreadyOpen => Err(OpenFailure::Refused(StoreError::InUse(path.into()))),
            redb::Error::Io(source) if !is_about_content(&source) => Err(refuse(source)),
            other => Err(OpenFailure::Damaged(other.to_string())),
        },
    }
}

/// What can go wrong while a file is read.
enum StoreReader {
    Newer(u64),
    Senseless(String),
    Failed(redb::Error),
}

impl<E: Into<RowError>> From<E> for StoreReader {
    fn from(error: E) -> Self {
        match error.into() {
            RowError::Storage(error) => Self::Failed(error),
            RowError::Row(why) => Self::Senseless(why),
        }
    }
}

fn open_file(path: &Path, reading: ZoneSemantics) -> Result<(Store, Account), StoreReader> {
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
        Some(schema) if schema > SCHEMA => return Err(StoreReader::Newer(schema)),
        Some(schema) => migrate_from(&database, schema)?,
    }
    let (account, sum) = rows::read(&database, reading)?;
    let (revision, _) = rows::revision_and_sum(&database)?;
    let held = Mutex::new(HeldStore { database: Some(database), revision, sum });
    Ok((Store { path: path.into(), held }, account))
}

/// Brings an older schema up to [`SCHEMA`], one step at a time. A number below 1 was never written.
fn migrate_from(database: &Database, schema: u64) -> Result<(), StoreReader> {
    match schema {
        SCHEMA => Ok(()),
        1 => {
            tracing::info!("records of the store are packed, once");
            Ok(migrate::pack_records(database)?)
        }
        other => Err(StoreReader::Senseless(format!("there never was a schema {other}"))),
    }
}

/// The library wraps what the system says in several ways.
fn flatten(error: DatabaseError) -> redb::Error {
    match error {
        DatabaseError::Storage(StorageError::Io(source)) => redb::Error::Io(source),
        other => other.into(),
    }
}

/// True for errors that tell of what is in the file rather than of the system.
fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// A name beside the file that is not taken.
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
