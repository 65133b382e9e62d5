//! The tables: one for each kind of row, a row as JSON under its id. JSON names its fields, so that a row can get
//! another without a migration, and a person with a broken file can still read what is in it.

use super::StoreTable;
use crate::account::packed::PackedRecord;
use crate::account::row::{LogRow, RecordFields, ZoneRow};
use crate::account::{Account, Edit, Rows};
use redb::TableHandle;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;

/// Numbers about the file itself.
pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// The schema's number in [`META`].
pub(super) const SCHEMA_KEY: &str = "schema";

/// The number of the last change in [`META`].
const REVISION_KEY: &str = "revision";
/// The sum of the marks of all rows in [`META`].
const SUM_KEY: &str = "sum";

const ZONES: StoreTable = TableDefinition::new("zones");
const RECORDS: StoreTable = TableDefinition::new("records");
const RULES: StoreTable = TableDefinition::new("rules");
const ENDPOINTS: StoreTable = TableDefinition::new("endpoints");
const LINES: StoreTable = TableDefinition::new("lines");
const AUTHORISATIONS: StoreTable = TableDefinition::new("authorisations");
const NETWORKS: StoreTable = TableDefinition::new("networks");
const LOG: StoreTable = TableDefinition::new("log");

/// Why rows cannot be read.
pub(super) enum RowError {
    /// The file.
    Storage(redb::Error),
    /// A row makes no sense.
    Row(String),
}

impl<E: Into<redb::Error>> From<E> for RowError {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

/// Makes the tables of a new file.
pub(super) fn create(database: &Database, schema: u64) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    for table in [ZONES, RECORDS, RULES, ENDPOINTS, LINES, AUTHORISATIONS, NETWORKS, LOG] {
        writing.open_table(table)?;
    }
    writing.open_table(META)?.insert(SCHEMA_KEY, schema)?;
    writing.commit()?;
    Ok(())
}

/// Reads the whole account, and the sum of its rows.
pub(super) fn read(database: &Database) -> Result<(Account, u64), RowError> {
    let reading = database.begin_read()?;
    let mut sum = 0;
    let zones: Vec<ZoneRow> = each(&reading, ZONES, &mut sum, from_json)?;
    let places: HashMap<&str, u32> = zones.iter().map(|row| row.id.as_str()).zip(0..).collect();
    let record =
        |value: &[u8], buffer: &mut Vec<u8>| -> Result<Option<(u32, PackedRecord)>, serde_json::Error> {
            let stored: StoredRecord = serde_json::from_slice(value)?;
            // a record without its zone is left out
            let place = places.get(stored.zone.as_ref());
            Ok(place.map(|place| (*place, PackedRecord::of(&stored.view(), buffer))))
        };
    let records = each(&reading, RECORDS, &mut sum, record)?;
    let rows = Rows {
        records,
        zones,
        rules: each(&reading, RULES, &mut sum, from_json)?,
        endpoints: each(&reading, ENDPOINTS, &mut sum, from_json)?,
        lines: each(&reading, LINES, &mut sum, from_json)?,
        authorisations: each(&reading, AUTHORISATIONS, &mut sum, from_json)?,
        networks: each(&reading, NETWORKS, &mut sum, from_json)?,
        log: each::<LogRow>(&reading, LOG, &mut sum, from_json)?.into_iter().map(Arc::new).collect(),
    };
    let (_, written) = revision_and_sum(database)?;
    match written == sum {
        true => Ok((Account::load(rows), sum)),
        false => Err(RowError::Row("its rows are not those that were written".into())),
    }
}

/// The number of the last change, 0 before the first, and the sum of the rows after it.
pub(super) fn revision_and_sum(database: &Database) -> Result<(u64, u64), redb::Error> {
    let table = database.begin_read()?.open_table(META)?;
    let number = |key| Ok::<_, redb::Error>(table.get(key)?.map_or(0, |value| value.value()));
    Ok((number(REVISION_KEY)?, number(SUM_KEY)?))
}

/// Writes edits in one durable transaction, with the number of this change. `sum` is that of the rows before; the
/// sum after is returned.
pub(super) fn write(
    database: &Database,
    edits: &[Edit],
    revision: u64,
    mut sum: u64,
) -> Result<u64, redb::Error> {
    let writing = database.begin_write()?;
    let writer = RowWriter { writing: &writing, sum: &mut sum };
    writer.write(edits)?;
    let mut meta = writing.open_table(META)?;
    meta.insert(REVISION_KEY, revision)?;
    meta.insert(SUM_KEY, sum)?;
    drop(meta);
    writing.commit()?;
    Ok(sum)
}

/// A transaction under way.
struct RowWriter<'w> {
    writing: &'w WriteTransaction,
    sum: &'w mut u64,
}

impl RowWriter<'_> {
    fn write(mut self, edits: &[Edit]) -> Result<(), redb::Error> {
        for edit in edits {
            match edit {
                Edit::Zone(row) => self.put(ZONES, &row.id, row)?,
                Edit::DropZone(id) => self.drop_row(ZONES, id)?,
                Edit::Record(row) => self.put(RECORDS, &number(row.id), row)?,
                Edit::DropRecord(id) => self.drop_row(RECORDS, &number(*id))?,
                Edit::DropRecords(ids) => {
                    for id in ids {
                        self.drop_row(RECORDS, &number(*id))?;
                    }
                }
                Edit::Rule(row) => self.put(RULES, &row.id, row)?,
                Edit::DropRule(id) => self.drop_row(RULES, id)?,
                Edit::Endpoint(row) => self.put(ENDPOINTS, &row.id, row)?,
                Edit::DropEndpoint(id) => self.drop_row(ENDPOINTS, id)?,
                Edit::Line(row) => self.put(LINES, &row.id, row)?,
                Edit::DropLine(id) => self.drop_row(LINES, id)?,
                Edit::Authorisation(row) => {
                    self.put(AUTHORISATIONS, &authorisation(row.user, &row.kind), row)?;
                }
                Edit::DropAuthorisation(user, kind) => {
                    self.drop_row(AUTHORISATIONS, &authorisation(*user, kind))?;
                }
                Edit::Network(row) => self.put(NETWORKS, &row.common().id, row)?,
                Edit::DropNetwork(id) => self.drop_row(NETWORKS, id)?,
                Edit::Log(row) => self.put(LOG, &number(row.id), row)?,
                Edit::DropLog(id) => self.drop_row(LOG, &number(*id))?,
            }
        }
        Ok(())
    }

    fn put<T: Serialize>(&mut self, table: StoreTable, key: &str, row: &T) -> Result<(), redb::Error> {
        let bytes = serde_json::to_vec(row).map_err(|error| redb::Error::Io(error.into()))?;
        let mut open = self.writing.open_table(table)?;
        if let Some(former) = open.insert(key, bytes.as_slice())? {
            *self.sum = self.sum.wrapping_sub(mark(table, key, former.value()));
        }
        *self.sum = self.sum.wrapping_add(mark(table, key, &bytes));
        Ok(())
    }

    fn drop_row(&mut self, table: StoreTable, key: &str) -> Result<(), redb::Error> {
        if let Some(former) = self.writing.open_table(table)?.remove(key)? {
            *self.sum = self.sum.wrapping_sub(mark(table, key, former.value()));
        }
        Ok(())
    }
}

/// Octets of rows that are made sense of together, on a thread of their own while the next are read.
const SHARE: usize = 2 << 20;

/// A row that is kept as it is.
fn from_json<T: DeserializeOwned>(value: &[u8], _: &mut Vec<u8>) -> Result<Option<T>, serde_json::Error> {
    serde_json::from_slice(value).map(Some)
}

/// A record as it is in the file.
type StoredRecord<'r> = RecordFields<StoredText<'r>>;

/// A text as it is in the file: borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct StoredText<'r>(#[serde(borrow)] Cow<'r, str>);

impl AsRef<str> for StoredText<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The rows of a table as `read` makes them, which has a buffer to use as it likes; their marks are added to `sum`.
fn each<R: Send>(
    reading: &ReadTransaction,
    table: StoreTable,
    sum: &mut u64,
    read: impl Fn(&[u8], &mut Vec<u8>) -> Result<Option<R>, serde_json::Error> + Sync,
) -> Result<Vec<R>, RowError> {
    let parse = |share: RowShare| {
        let (mut sum, mut buffer, mut rows) = (0u64, Vec::new(), Vec::with_capacity(share.ends.len()));
        for (key, value) in share.rows() {
            sum = sum.wrapping_add(mark(table, key, value));
            rows.extend(read(value, &mut buffer).map_err(|error| format!("row `{key}`: {error}"))?);
        }
        Ok::<_, String>((rows, sum))
    };
    let parse = &parse;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut rows = Vec::new();
    let mut take = |thread: thread::ScopedJoinHandle<'_, Result<(Vec<R>, u64), String>>| {
        let panicked = |_| Err("reading them ended in a panic".to_string());
        let (some, marks) = thread.join().unwrap_or_else(panicked).map_err(RowError::Row)?;
        rows.extend(some);
        *sum = sum.wrapping_add(marks);
        Ok::<_, RowError>(())
    };
    let open = match reading.open_table(table) {
        Ok(open) => open,
        // A file that was made before there were such rows.
        Err(redb::TableError::TableDoesNotExist(_)) if table.name() == NETWORKS.name() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    thread::scope(|scope| {
        let (mut running, mut share) = (VecDeque::new(), RowShare::default());
        for row in open.iter()? {
            let (key, value) = row?;
            share.push(key.value(), value.value());
            if share.values.len() >= SHARE {
                let share = std::mem::take(&mut share);
                running.push_back(scope.spawn(move || parse(share)));
                // a file is read sooner than it is made sense of, and need not be in memory as a whole
                if running.len() > threads
                    && let Some(first) = running.pop_front()
                {
                    take(first)?;
                }
            }
        }
        running.push_back(scope.spawn(move || parse(share)));
        running.into_iter().try_for_each(take)
    })?;
    Ok(rows)
}

/// Rows as they are in the file, on their way to where they are made sense of.
#[derive(Default)]
struct RowShare {
    keys: String,
    values: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl RowShare {
    fn push(&mut self, key: &str, value: &[u8]) {
        self.keys.push_str(key);
        self.values.extend_from_slice(value);
        self.ends.push((self.keys.len(), self.values.len()));
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut begin = (0, 0);
        self.ends.iter().map(move |&(key, value)| {
            let row = (&self.keys[begin.0..key], &self.values[begin.1..value]);
            begin = (key, value);
            row
        })
    }
}

/// What stands for a row in the sum of all: whatever bit of it flips, and wherever it gets lost, the sum is another.
/// The library verifies the pages that it reads after a crash alone.
fn mark(table: StoreTable, key: &str, value: &[u8]) -> u64 {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [table.name().as_bytes(), b"\0", key.as_bytes(), b"\0", value] {
        hash.update(part);
    }
    let digest = hash.finish();
    digest.as_ref().iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// A number as a key, so that the order of keys is that of numbers.
fn number(id: u64) -> String {
    format!("{id:020}")
}

fn authorisation(user: u64, kind: &str) -> String {
    format!("{user:020} {kind}")
}
