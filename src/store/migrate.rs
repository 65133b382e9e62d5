//! Migrates older files to the schema of this version, one step at a time, each in its own transaction.

use super::read::{RowError, mark};
use super::rows::{self, JSON_TABLES, RECORDS};
use super::{META, SCHEMA_KEY, StoreTable};
use crate::account::row::RecordRow;
use redb::{Database, ReadableTable, TableDefinition, TableHandle, WriteTransaction};

/// Records as schema 1 had them: JSON under their ids as 20 digits.
const JSON_RECORDS: StoreTable = TableDefinition::new("records");

/// Packs the records of schema 1, and computes the sum of all rows again: its marks were SHA-256.
pub(super) fn pack_records(database: &Database) -> Result<(), RowError> {
    let (revision, written) = rows::revision_and_sum(database)?;
    let writing = database.begin_write()?;
    let (mut before, mut after) = (0u64, 0u64);
    for table in JSON_TABLES {
        let open = writing.open_table(table)?;
        for row in open.iter()? {
            let (key, row) = row?;
            let (key, row) = (key.value().as_bytes(), row.value());
            before = before.wrapping_add(sha256_mark(table.name(), key, row));
            after = after.wrapping_add(mark(table.name(), key, row));
        }
    }
    let packed = move_records(&writing, &mut before)?;
    if before != written {
        return Err(RowError::Row("its rows do not match their checksum".into()));
    }
    writing.delete_table(JSON_RECORDS)?;
    rows::put_numbers(&writing, revision, after.wrapping_add(packed))?;
    writing.open_table(META)?.insert(SCHEMA_KEY, 2)?;
    writing.commit()?;
    Ok(())
}

/// Copies the records. Returns the sum of the copies' marks, and adds that of the originals to `before`.
fn move_records(writing: &WriteTransaction, before: &mut u64) -> Result<u64, RowError> {
    let (from, mut to) = (writing.open_table(JSON_RECORDS)?, writing.open_table(RECORDS)?);
    let (mut after, mut packed) = (0u64, Vec::new());
    for row in from.iter()? {
        let (key, row) = row?;
        let (key, row) = (key.value(), row.value());
        *before = before.wrapping_add(sha256_mark(JSON_RECORDS.name(), key.as_bytes(), row));
        let record: RecordRow =
            serde_json::from_slice(row).map_err(|error| RowError::Row(format!("row `{key}`: {error}")))?;
        rows::pack(&record, &mut packed);
        to.insert(record.id, packed.as_slice())?;
        after = after.wrapping_add(rows::record_mark(record.id, &packed));
    }
    Ok(after)
}

/// The mark of a row in schema 1.
fn sha256_mark(table: &str, key: &[u8], row: &[u8]) -> u64 {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [table.as_bytes(), b"\0", key, b"\0", row] {
        hash.update(part);
    }
    let digest = hash.finish();
    digest.as_ref().iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}
