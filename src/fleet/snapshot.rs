//! The rows in a file of the state directory, from which a start serves before etcd is asked. It may lag: it is a copy, and
//! what it lacks comes from etcd. Each write is one transaction, so that it is always some state that there was.

use super::head::FleetHead;
use super::replica::{NO_ZONE, Replica};
use super::row::{self, RowChange};
use crate::account::packed::PackedRecord;
use crate::account::{Account, Edit, Rows};
use crate::engine::zone::ZoneSemantics;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in the state directory.
pub const SNAPSHOT: &str = "fleet.redb";

/// The name of the thread that reads a file of unknown content.
pub const SNAPSHOT_READER: &str = "snapshot-reader";

/// The format of the file.
const FORMAT: u64 = 1;

/// Octets of the file that are kept in memory.
const CACHE: usize = 1 << 20;

/// Rows as they are in force: the revision of the last change, then the value.
const ROWS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("rows");
/// Newer values that make no sense.
const BAD: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("bad");
/// Texts about the whole.
const ABOUT: TableDefinition<'static, &'static str, &'static str> = TableDefinition::new("about");
/// Numbers about the whole.
const NUMBERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("numbers");

/// What a node knows, and where it stands.
#[derive(Clone, Debug, Default)]
pub struct SavedFleet {
    /// The rows' stamps.
    pub replica: Replica,
    /// The rows.
    pub account: Account,
    /// Where it stands.
    pub position: FleetPosition,
}

/// Where a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetPosition {
    /// The cluster; 0 before the first look.
    pub cluster: u64,
    /// The revision of the head in force; 0 where there is none.
    pub revision: i64,
    /// Events up to here are known.
    pub watched: i64,
    /// The head in force.
    pub head: FleetHead,
}

/// A row to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRow {
    /// The value; nothing for a row that is gone.
    pub value: Option<Vec<u8>>,
    /// The revision of its change.
    pub modified: i64,
    /// It makes sense.
    pub good: bool,
}

/// The file, open.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    prefix: String,
    database: Option<Database>,
    /// It could not be opened: whatever is in it is replaced by the first rows that are written.
    lacks_all: bool,
}

impl SnapshotFile {
    /// Opens the file of a state directory and reads it; makes it if there is none. One that makes no sense, or is of
    /// another fleet, is made anew: all that is in it is in etcd. One that cannot be opened at all is tried again with each
    /// write. The last part is why there are no rows.
    ///
    /// # Errors
    /// Another process uses the directory.
    pub fn open(directory: &Path, prefix: &str) -> io::Result<(Self, SavedFleet, Option<String>)> {
        let path = directory.join(SNAPSHOT);
        let mut file = Self { path, prefix: prefix.into(), database: None, lacks_all: true };
        let attempt = match fs::create_dir_all(directory) {
            Ok(()) => file.attempt(),
            Err(error) => Err(ReadFailure::System(error)),
        };
        let (attempt, problem) = match attempt {
            Err(ReadFailure::Senseless(why)) => {
                let again = fs::remove_file(&file.path).map_err(ReadFailure::System);
                (again.and_then(|()| file.attempt()), Some(why))
            }
            attempt => (attempt, None),
        };
        let failure = match attempt {
            Ok((database, saved)) => {
                (file.database, file.lacks_all) = (Some(database), false);
                return Ok((file, saved, problem));
            }
            Err(ReadFailure::InUse(error)) => return Err(error),
            Err(ReadFailure::System(error)) => error.to_string(),
            Err(ReadFailure::Senseless(why)) => why,
        };
        let problem = format!("{}: {failure}", file.path.display());
        Ok((file, SavedFleet::default(), Some(problem)))
    }

    fn attempt(&self) -> Result<(Database, SavedFleet), ReadFailure> {
        if fs::metadata(&self.path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
            return Err(ReadFailure::Senseless("the file is empty".into()));
        }
        let (path, prefix) = (self.path.clone(), self.prefix.clone());
        // The library may trip over arbitrary octets; on a thread of its own that is told by its name.
        let reader = std::thread::Builder::new().name(SNAPSHOT_READER.into());
        let reader = reader.spawn(move || read(&path, &prefix)).map_err(ReadFailure::System)?;
        reader.join().unwrap_or_else(|_| Err(ReadFailure::Senseless("reading it ended in a panic".into())))
    }

    /// Writes rows and the position that they make, in one step; with `whole` they replace all rows.
    ///
    /// # Errors
    /// The disk is full or fails; the file has what it had.
    pub fn write(
        &mut self,
        rows: &BTreeMap<Box<str>, SavedRow>,
        position: &FleetPosition,
        digest: u64,
        whole: bool,
    ) -> Result<(), String> {
        // After a failure the library takes nothing more.
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?,
        };
        let whole = whole || self.lacks_all;
        let work = || write(&database, &self.prefix, rows, position, digest, whole);
        let written = std::panic::catch_unwind(AssertUnwindSafe(work));
        match written.unwrap_or_else(|_| Err("the library panicked".into())) {
            Ok(()) => {
                (self.database, self.lacks_all) = (Some(database), false);
                Ok(())
            }
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

enum ReadFailure {
    /// Another process has it open.
    InUse(io::Error),
    System(io::Error),
    Senseless(String),
}

impl<E: Into<redb::Error>> From<E> for ReadFailure {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(error) if !is_senseless(&error) => Self::System(error),
            redb::Error::DatabaseAlreadyOpen => {
                Self::InUse(io::Error::other("another process uses this state directory"))
            }
            other => Self::Senseless(other.to_string()),
        }
    }
}

/// True for an error that tells of what is in the file, such as one that is shorter than its header says.
fn is_senseless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    // Opening a FIFO or a device may wait, or do something.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(redb::Error::Io(io::Error::other("it is not a regular file")));
    }
    Ok(Database::builder().set_cache_size(CACHE).create(path)?)
}

fn read(path: &Path, prefix: &str) -> Result<(Database, SavedFleet), ReadFailure> {
    let database = open(path)?;
    let reading = database.begin_read()?;
    let numbers = match reading.open_table(NUMBERS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok((database, SavedFleet::default())),
        Err(error) => return Err(error.into()),
    };
    let number = |key| Ok::<_, ReadFailure>(numbers.get(key)?.map_or(0, |value| value.value()));
    let format = number("format")?;
    if format != FORMAT {
        return Err(ReadFailure::Senseless(format!("it has format {format}, this version has {FORMAT}")));
    }
    let about = reading.open_table(ABOUT)?;
    let text = |key| Ok::<_, ReadFailure>(about.get(key)?.map(|value| value.value().to_owned()));
    let found = text("prefix")?.unwrap_or_default();
    if found != prefix {
        return Err(ReadFailure::Senseless(format!("it is of the fleet `{found}`")));
    }
    let head = text("head")?.and_then(|head| serde_json::from_slice(head.as_bytes()).ok());
    let position = FleetPosition {
        cluster: number("cluster")?,
        revision: number("revision")? as i64,
        watched: number("watched")? as i64,
        head: head.unwrap_or_default(),
    };
    let mut replica = Replica::default();
    let mut loaded = LoadedRows::default();
    for found in reading.open_table(ROWS)?.iter()? {
        let (key, value) = found?;
        let change = stored(key.value(), value.value())?;
        replica.stamp(&change);
        loaded.take(&mut replica, &change);
    }
    for found in reading.open_table(BAD)?.iter()? {
        let (key, value) = found?;
        let change = stored(key.value(), value.value())?;
        replica.stamp(&change);
        if let Err(why) = row::edit(&change) {
            replica.note_bad(change.key, &why);
        } else {
            // This version knows more than the one that wrote it.
            loaded.take(&mut replica, &change);
        }
    }
    if replica.digest() != number("digest")? {
        return Err(ReadFailure::Senseless("its rows are not those that were written".into()));
    }
    let account = loaded.finish(&mut replica);
    drop((numbers, about));
    drop(reading);
    Ok((database, SavedFleet { replica, account, position }))
}

fn stored(key: &str, value: &[u8]) -> Result<RowChange, ReadFailure> {
    let (modified, value) =
        value.split_first_chunk::<8>().ok_or_else(|| ReadFailure::Senseless("a row is cut".into()))?;
    let modified = i64::from_be_bytes(*modified);
    Ok(RowChange { key: key.into(), value: Some(value.to_vec()), modified })
}

fn write(
    database: &Database,
    prefix: &str,
    rows: &BTreeMap<Box<str>, SavedRow>,
    position: &FleetPosition,
    digest: u64,
    whole: bool,
) -> Result<(), String> {
    let work = || -> Result<(), redb::Error> {
        let writing = database.begin_write()?;
        if whole {
            writing.delete_table(ROWS)?;
            writing.delete_table(BAD)?;
        }
        let (mut good, mut bad) = (writing.open_table(ROWS)?, writing.open_table(BAD)?);
        for (key, row) in rows {
            match &row.value {
                None => {
                    good.remove(&**key)?;
                    bad.remove(&**key)?;
                }
                Some(value) => {
                    let value = [&row.modified.to_be_bytes(), value.as_slice()].concat();
                    if row.good {
                        bad.remove(&**key)?;
                        good.insert(&**key, value.as_slice())?;
                    } else {
                        bad.insert(&**key, value.as_slice())?; // the last good value stays beside it
                    }
                }
            }
        }
        drop((good, bad));
        let mut numbers = writing.open_table(NUMBERS)?;
        numbers.insert("format", FORMAT)?;
        numbers.insert("cluster", position.cluster)?;
        numbers.insert("revision", position.revision as u64)?;
        numbers.insert("watched", position.watched as u64)?;
        numbers.insert("digest", digest)?;
        drop(numbers);
        let head = serde_json::to_string(&position.head).map_err(|error| redb::Error::Io(error.into()))?;
        let mut about = writing.open_table(ABOUT)?;
        about.insert("prefix", prefix)?;
        about.insert("head", head.as_str())?;
        drop(about);
        writing.commit()?;
        Ok(())
    };
    work().map_err(|error| error.to_string())
}

/// Rows on their way to an account, which is made of all of them at once.
#[derive(Default)]
pub(super) struct LoadedRows {
    edits: BTreeMap<Box<str>, Edit>,
}

impl LoadedRows {
    /// One row. What makes no sense is noted.
    pub(super) fn take(&mut self, replica: &mut Replica, change: &RowChange) {
        match row::edit(change) {
            Ok(edit) => {
                self.edits.insert(change.key.clone(), edit);
            }
            Err(why) => replica.note_bad(change.key.clone(), &why),
        }
    }

    /// The account of them. Records without a zone are noted, and not in it.
    pub(super) fn finish(self, replica: &mut Replica) -> Account {
        let mut rows = Rows::default();
        let mut records = Vec::new();
        for (key, edit) in self.edits {
            match edit {
                Edit::Zone(row) => rows.zones.push(row),
                Edit::Record(row) => records.push((key, row)),
                Edit::Rule(row) => rows.rules.push(row),
                Edit::Endpoint(row) => rows.endpoints.push(row),
                Edit::Line(row) => rows.lines.push(row),
                Edit::Authorisation(row) => rows.authorisations.push(row),
                Edit::Network(row) => rows.networks.push(row),
                Edit::Log(row) => rows.log.push(Arc::new(row)),
                _ => {} // a value is none of these
            }
        }
        let places: HashMap<&str, u32> = rows.zones.iter().map(|row| row.id.as_str()).zip(0..).collect();
        let mut buffer = Vec::new();
        for (key, record) in records {
            match places.get(record.zone.as_str()) {
                Some(place) => rows.records.push((*place, PackedRecord::of(&record.view(), &mut buffer))),
                None => replica.note_bad(key, NO_ZONE),
            }
        }
        drop(places);
        Account::load(rows, ZoneSemantics::default())
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
