//! The tables: one for each kind of row, a row as JSON under its id. JSON names its fields, so that a row can get
//! another without a migration, and a person with a broken file can still read what is in it. Records, of which there
//! may be a million, are packed: the id of the zone, then [`packed::push_body`].

use super::StoreTable;
use super::read::{RowError, RowShare, each_row, mark};
use crate::account::packed::{self, NewRecords, PackedRecord};
use crate::account::row::{LogRow, RecordRow, ZoneRow};
use crate::account::{Account, Edit, Rows};
use crate::engine::zone::ZoneSemantics;
use data_encoding::HEXLOWER;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

/// Numbers about the file itself.
pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// The schema's number in [`META`].
pub(super) const SCHEMA_KEY: &str = "schema";

/// The number of the last change in [`META`].
const REVISION_KEY: &str = "revision";
/// The sum of the marks of all rows in [`META`].
const SUM_KEY: &str = "sum";

const ZONES: StoreTable = TableDefinition::new("zones");
pub(super) const RECORDS: RecordTable = TableDefinition::new("packed records");
const RULES: StoreTable = TableDefinition::new("rules");
const ENDPOINTS: StoreTable = TableDefinition::new("endpoints");
const LINES: StoreTable = TableDefinition::new("lines");
const AUTHORISATIONS: StoreTable = TableDefinition::new("authorisations");
const NETWORKS: StoreTable = TableDefinition::new("networks");
const LOG: StoreTable = TableDefinition::new("log");

/// Records by their ids.
pub(super) type RecordTable = TableDefinition<'static, u64, &'static [u8]>;

/// The tables of rows that are JSON.
pub(super) const JSON_TABLES: [StoreTable; 7] =
    [ZONES, RULES, ENDPOINTS, LINES, AUTHORISATIONS, NETWORKS, LOG];

/// Ids of records that go are taken out as a run where no two are further apart than this.
const NEAR: u64 = 16;

/// A run of fewer records than this is taken out one by one.
const FEW: usize = 64;

/// Makes the tables of a new file.
pub(super) fn create(database: &Database, schema: u64) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    for table in JSON_TABLES {
        writing.open_table(table)?;
    }
    writing.open_table(RECORDS)?;
    writing.open_table(META)?.insert(SCHEMA_KEY, schema)?;
    writing.commit()?;
    Ok(())
}

/// Reads the whole account, and the sum of its rows.
pub(super) fn read(database: &Database, reading: ZoneSemantics) -> Result<(Account, u64), RowError> {
    let transaction = database.begin_read()?;
    let mut sum = 0;
    let mut zones: Vec<ZoneRow> = json_rows(&transaction, ZONES, &mut sum)?;
    zones.iter_mut().for_each(|row| row.bindings.shrink_to_fit()); // one each, as a rule, of which there may be many
    let stored = |row: &ZoneRow| {
        let mut id = Vec::with_capacity(1 + 16);
        push_zone(&row.id, &mut id);
        id
    };
    let places: HashMap<Vec<u8>, u32> = zones.iter().map(stored).zip(0..).collect();
    let record = |id: &[u8], row: &[u8], buffer: &mut Vec<u8>| {
        let id = id.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
        let senseless = || format!("row `{id}`: it is no record");
        let (zone, body) = split_zone(row).ok_or_else(senseless)?;
        let record = PackedRecord::of_body(id, body, buffer).ok_or_else(senseless)?;
        // a record without its zone is left out
        Ok(places.get(zone).map(|place| (*place, record)))
    };
    let open = transaction.open_table(RECORDS)?;
    let mut stored = open.iter()?;
    let next = |share: &mut RowShare| {
        let Some(row) = stored.next() else { return Ok(false) };
        let (id, row) = row?;
        share.push(&id.value().to_be_bytes(), row.value());
        Ok(true)
    };
    let records = each_row(RECORDS.name(), next, &mut sum, record)?;
    let rows = Rows {
        records,
        zones,
        rules: json_rows(&transaction, RULES, &mut sum)?,
        endpoints: json_rows(&transaction, ENDPOINTS, &mut sum)?,
        lines: json_rows(&transaction, LINES, &mut sum)?,
        authorisations: json_rows(&transaction, AUTHORISATIONS, &mut sum)?,
        networks: json_rows(&transaction, NETWORKS, &mut sum)?,
        log: json_rows::<LogRow>(&transaction, LOG, &mut sum)?.into_iter().map(Arc::new).collect(),
    };
    let (_, written) = revision_and_sum(database)?;
    match written == sum {
        true => Ok((Account::load(rows, reading), sum)),
        false => Err(RowError::Row("its rows do not match their checksum".into())),
    }
}

/// The rows of a table that are JSON.
fn json_rows<R: DeserializeOwned + Send>(
    reading: &ReadTransaction,
    table: StoreTable,
    sum: &mut u64,
) -> Result<Vec<R>, RowError> {
    let open = match reading.open_table(table) {
        Ok(open) => open,
        // A file that was made before there were such rows.
        Err(redb::TableError::TableDoesNotExist(_)) if table.name() == NETWORKS.name() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut stored = open.iter()?;
    let next = |share: &mut RowShare| {
        let Some(row) = stored.next() else { return Ok(false) };
        let (key, row) = row?;
        share.push(key.value().as_bytes(), row.value());
        Ok(true)
    };
    each_row(table.name(), next, sum, |key, row, _| {
        let senseless = |error| format!("row `{}`: {error}", String::from_utf8_lossy(key));
        serde_json::from_slice(row).map(Some).map_err(senseless)
    })
}

/// Appends the id of a zone: 32 hex digits are 16 octets behind a zero, any other has its length before it.
fn push_zone(id: &str, row: &mut Vec<u8>) {
    match HEXLOWER.decode(id.as_bytes()) {
        Ok(octets) if octets.len() == 16 => {
            row.push(0);
            row.extend(octets);
        }
        _ => {
            row.push(id.len().min(255) as u8);
            row.extend(id.as_bytes().iter().take(255));
        }
    }
}

/// The id of a zone, as [`push_zone`] wrote it, and what follows it.
fn split_zone(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match row.first()? {
        0 => 16,
        length => usize::from(*length),
    };
    row.split_at_checked(1 + length)
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
    let writer = RowWriter { writing: &writing, sum: &mut sum, buffer: Vec::new() };
    writer.write(edits)?;
    put_numbers(&writing, revision, sum)?;
    writing.commit()?;
    Ok(sum)
}

/// Puts the number of the last change and the sum of the rows after it into [`META`].
pub(super) fn put_numbers(writing: &WriteTransaction, revision: u64, sum: u64) -> Result<(), redb::Error> {
    let mut meta = writing.open_table(META)?;
    meta.insert(REVISION_KEY, revision)?;
    meta.insert(SUM_KEY, sum)?;
    Ok(())
}

/// A record as it is stored.
pub(super) fn pack(record: &RecordRow, row: &mut Vec<u8>) {
    row.clear();
    push_zone(&record.zone, row);
    packed::push_body(&record.view(), row);
}

/// A transaction under way.
struct RowWriter<'w> {
    writing: &'w WriteTransaction,
    sum: &'w mut u64,
    buffer: Vec<u8>,
}

/// The records of a transaction.
type OpenRecords<'w> = redb::Table<'w, u64, &'static [u8]>;

impl<'w> RowWriter<'w> {
    fn write(mut self, edits: &[Edit]) -> Result<(), redb::Error> {
        let mut records = None; // opened once: there may be a million
        for edit in edits {
            match edit {
                Edit::Zone(row) => self.put(ZONES, &row.id, row)?,
                Edit::DropZone(id) => self.drop_row(ZONES, id)?,
                Edit::Record(row) => self.put_record(&mut records, row)?,
                Edit::Records(new) => self.put_new(&mut records, new)?,
                Edit::DropRecord(id) => self.drop_records(&mut records, &[*id])?,
                Edit::DropRecords(ids) => self.drop_records(&mut records, ids)?,
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
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, row).map_err(|error| redb::Error::Io(error.into()))?;
        let mut open = self.writing.open_table(table)?;
        if let Some(former) = open.insert(key, self.buffer.as_slice())? {
            *self.sum = self.sum.wrapping_sub(mark(table.name(), key.as_bytes(), former.value()));
        }
        *self.sum = self.sum.wrapping_add(mark(table.name(), key.as_bytes(), &self.buffer));
        Ok(())
    }

    fn drop_row(&mut self, table: StoreTable, key: &str) -> Result<(), redb::Error> {
        if let Some(former) = self.writing.open_table(table)?.remove(key)? {
            *self.sum = self.sum.wrapping_sub(mark(table.name(), key.as_bytes(), former.value()));
        }
        Ok(())
    }

    fn put_record(
        &mut self,
        records: &mut Option<OpenRecords<'w>>,
        row: &RecordRow,
    ) -> Result<(), redb::Error> {
        pack(row, &mut self.buffer);
        if let Some(former) = opened(records, self.writing)?.insert(row.id, self.buffer.as_slice())? {
            *self.sum = self.sum.wrapping_sub(record_mark(row.id, former.value()));
        }
        *self.sum = self.sum.wrapping_add(record_mark(row.id, &self.buffer));
        Ok(())
    }

    /// Puts new records in. Their ids are greater than all others, but for a clock that was set back elsewhere, so that
    /// whole pages are written.
    fn put_new(
        &mut self,
        records: &mut Option<OpenRecords<'w>>,
        new: &NewRecords,
    ) -> Result<(), redb::Error> {
        let Some(first) = new.records.first() else { return Ok(()) };
        let open = opened(records, self.writing)?;
        let is_after = open.last()?.is_none_or(|(last, _)| last.value() < first.id());
        self.buffer.clear();
        push_zone(&new.zone, &mut self.buffer);
        let zone = self.buffer.len();
        if !is_after {
            for record in &new.records {
                self.buffer.truncate(zone);
                self.buffer.extend(record.body());
                if let Some(former) = open.insert(record.id(), self.buffer.as_slice())? {
                    *self.sum = self.sum.wrapping_sub(record_mark(record.id(), former.value()));
                }
                *self.sum = self.sum.wrapping_add(record_mark(record.id(), &self.buffer));
            }
            return Ok(());
        }
        let mut end = open.upper_bound_mut(Bound::<u64>::Unbounded)?;
        for record in &new.records {
            self.buffer.truncate(zone);
            self.buffer.extend(record.body());
            end.insert_before(record.id(), self.buffer.as_slice())?;
            *self.sum = self.sum.wrapping_add(record_mark(record.id(), &self.buffer));
        }
        end.close()?;
        Ok(())
    }

    /// Takes records out, in runs where their ids are close together: whole pages go then.
    fn drop_records(
        &mut self,
        records: &mut Option<OpenRecords<'w>>,
        ids: &[u64],
    ) -> Result<(), redb::Error> {
        let open = opened(records, self.writing)?;
        let sum = &mut *self.sum;
        let mut sorted = Vec::new();
        let ids = match ids.is_sorted() {
            true => ids,
            false => {
                sorted.extend(ids);
                sorted.sort_unstable();
                &sorted
            }
        };
        for run in ids.chunk_by(|one, two| two - one <= NEAR) {
            match run {
                [first, .., last] if run.len() >= FEW => {
                    let mut left = run.iter().peekable();
                    open.retain_in(*first..=*last, |id, row| {
                        while left.next_if(|left| **left < id).is_some() {}
                        let stays = left.peek() != Some(&&id);
                        if !stays {
                            *sum = sum.wrapping_sub(record_mark(id, row));
                        }
                        stays
                    })?;
                }
                _ => {
                    for id in run {
                        if let Some(former) = open.remove(id)? {
                            *sum = sum.wrapping_sub(record_mark(*id, former.value()));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// What stands for a record in the sum of all rows.
pub(super) fn record_mark(id: u64, row: &[u8]) -> u64 {
    mark(RECORDS.name(), &id.to_be_bytes(), row)
}

/// The table of records, opened if it is not open.
fn opened<'r, 'w>(
    records: &'r mut Option<OpenRecords<'w>>,
    writing: &'w WriteTransaction,
) -> Result<&'r mut OpenRecords<'w>, redb::Error> {
    match records {
        Some(open) => Ok(open),
        None => Ok(records.insert(writing.open_table(RECORDS)?)),
    }
}

/// A number as a key, so that the order of keys is that of numbers.
fn number(id: u64) -> String {
    format!("{id:020}")
}

fn authorisation(user: u64, kind: &str) -> String {
    format!("{user:020} {kind}")
}
