//! Rows as etcd has them: a key `TABLE/ID` below the prefix, and a value of the number of its schema and the row as JSON.
//! What a reader cannot make sense of is an error of that row alone.

use crate::account::Edit;
use crate::account::network::NetworkRow;
use crate::account::row::{AuthorisationRow, EndpointRow, LineRow, LogRow, RecordRow, RuleRow, ZoneRow};
use crate::account::value::{self, ValueFault};
use hickory_proto::rr::Name;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The schema that is written, and the newest that is read.
pub const ROW_SCHEMA: u32 = 1;

/// A row to put, or the key of one that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// `TABLE/ID`.
    pub key: Box<str>,
    /// What is put; nothing for a row that goes.
    pub value: Option<Vec<u8>>,
    /// The revision of the change; 0 where it has none yet.
    pub modified: i64,
}

impl RowChange {
    /// Octets that it takes.
    pub fn octets(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// The key of a row in its table.
fn record_key(id: u64) -> String {
    format!("record/{id:020}")
}

fn log_key(id: u64) -> String {
    format!("log/{id:020}")
}

fn authorisation_key(user: u64, kind: &str) -> String {
    format!("authorisation/{user:020} {kind}")
}

/// What edits come to: one change for each key, the last one.
///
/// # Errors
/// A row cannot be written as JSON.
pub fn changes(edits: &[Edit]) -> Result<Vec<RowChange>, serde_json::Error> {
    let mut changes: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for edit in edits {
        let (key, value) = match edit {
            Edit::Zone(row) => (format!("zone/{}", row.id), Some(written(row)?)),
            Edit::DropZone(id) => (format!("zone/{id}"), None),
            Edit::Record(row) => (record_key(row.id), Some(written(row)?)),
            Edit::Records(new) => {
                for record in &new.records {
                    let row = record.view(&new.zone);
                    changes.insert(record_key(row.id), Some(written(&row)?));
                }
                continue;
            }
            Edit::DropRecord(id) => (record_key(*id), None),
            Edit::DropRecords(ids) => {
                changes.extend(ids.iter().map(|id| (record_key(*id), None)));
                continue;
            }
            Edit::Rule(row) => (format!("rule/{}", row.id), Some(written(row)?)),
            Edit::DropRule(id) => (format!("rule/{id}"), None),
            Edit::Endpoint(row) => (format!("endpoint/{}", row.id), Some(written(row)?)),
            Edit::DropEndpoint(id) => (format!("endpoint/{id}"), None),
            Edit::Line(row) => (format!("line/{}", row.id), Some(written(row)?)),
            Edit::DropLine(id) => (format!("line/{id}"), None),
            Edit::Authorisation(row) => (authorisation_key(row.user, &row.kind), Some(written(row)?)),
            Edit::DropAuthorisation(user, kind) => (authorisation_key(*user, kind), None),
            Edit::Network(row) => (format!("network/{}", row.common().id), Some(written(row)?)),
            Edit::DropNetwork(id) => (format!("network/{id}"), None),
            Edit::Log(row) => (log_key(row.id), Some(written(row)?)),
            Edit::DropLog(id) => (log_key(*id), None),
        };
        changes.insert(key, value);
    }
    let change = |(key, value): (String, _)| RowChange { key: key.into(), value, modified: 0 };
    Ok(changes.into_iter().map(change).collect())
}

fn written<T: Serialize>(row: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = format!("{ROW_SCHEMA} ").into_bytes();
    serde_json::to_writer(&mut value, row)?;
    Ok(value)
}

/// The edit that a change is.
///
/// # Errors
/// Why the row makes no sense here.
pub fn edit(change: &RowChange) -> Result<Edit, String> {
    let Some((table, id)) = change.key.split_once('/') else {
        return Err("its key is not TABLE/ID".into());
    };
    match &change.value {
        None => dropped(table, id),
        Some(value) => put(table, &change.key, value),
    }
}

fn dropped(table: &str, id: &str) -> Result<Edit, String> {
    let number = || id.parse::<u64>().map_err(|_| format!("`{id}` is not a number"));
    Ok(match table {
        "zone" => Edit::DropZone(id.into()),
        "record" => Edit::DropRecord(number()?),
        "rule" => Edit::DropRule(id.into()),
        "endpoint" => Edit::DropEndpoint(id.into()),
        "line" => Edit::DropLine(id.into()),
        "authorisation" => {
            let (user, kind) = id.split_once(' ').ok_or("its key is not USER KIND")?;
            let user = user.parse().map_err(|_| format!("`{user}` is not a number"))?;
            Edit::DropAuthorisation(user, kind.into())
        }
        "network" => Edit::DropNetwork(id.into()),
        "log" => Edit::DropLog(number()?),
        _ => return Err(format!("table `{table}` is not known to this version")),
    })
}

fn put(table: &str, key: &str, value: &[u8]) -> Result<Edit, String> {
    let json = json(value)?;
    let (own, edit) = match table {
        "zone" => {
            let row: ZoneRow = read(json)?;
            crate::engine::name::parse(&row.name).map_err(|fault| format!("name `{}`: {fault}", row.name))?;
            (format!("zone/{}", row.id), Edit::Zone(row))
        }
        "record" => {
            let row: RecordRow = read(json)?;
            check(&row)?;
            (record_key(row.id), Edit::Record(row))
        }
        "rule" => {
            let row: RuleRow = read(json)?;
            crate::engine::name::parse(&row.zone).map_err(|fault| format!("name `{}`: {fault}", row.zone))?;
            (format!("rule/{}", row.id), Edit::Rule(row))
        }
        "endpoint" => {
            let row: EndpointRow = read(json)?;
            (format!("endpoint/{}", row.id), Edit::Endpoint(row))
        }
        "line" => {
            let row: LineRow = read(json)?;
            (format!("line/{}", row.id), Edit::Line(row))
        }
        "authorisation" => {
            let row: AuthorisationRow = read(json)?;
            (authorisation_key(row.user, &row.kind), Edit::Authorisation(row))
        }
        "network" => {
            let row: NetworkRow = read(json)?;
            (format!("network/{}", row.common().id), Edit::Network(row))
        }
        "log" => {
            let row: LogRow = read(json)?;
            (log_key(row.id), Edit::Log(row))
        }
        _ => return Err(format!("table `{table}` is not known to this version")),
    };
    match own == key {
        true => Ok(edit),
        false => Err(format!("it says of itself that it is {own}")),
    }
}

/// The JSON of a value of a schema that is known.
fn json(value: &[u8]) -> Result<&[u8], String> {
    let end =
        value.iter().position(|octet| *octet == b' ').ok_or("it does not begin with a schema number")?;
    let schema = std::str::from_utf8(&value[..end]).ok().and_then(|text| text.parse::<u32>().ok());
    match schema {
        Some(schema) if schema > ROW_SCHEMA => {
            Err(format!("it has schema {schema}, this version knows up to {ROW_SCHEMA}"))
        }
        Some(1..) => Ok(&value[end + 1..]),
        _ => Err("it does not begin with a schema number".into()),
    }
}

/// What the API looks at before it takes a record: a value that is none must not take the place of one that is.
fn check(row: &RecordRow) -> Result<(), String> {
    let fault = |fault| match fault {
        ValueFault::Rr(why) => format!("host record `{}`: {why}", row.rr),
        ValueFault::Type(why) => format!("type `{}`: {why}", row.rtype),
        ValueFault::Value(why) => format!("value `{}`: {why}", row.value),
    };
    value::owner(&row.rr, &Name::root()).map_err(fault)?;
    value::data(&row.rtype, &row.value, row.priority).map_err(fault)?;
    Ok(())
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// The place of an edit among others that were made in one step: what goes, zones before their records, of which nothing is
/// left then; then networks and zones before what is in them.
pub fn rank(edit: &Edit) -> u8 {
    match edit {
        Edit::DropZone(_) => 0,
        Edit::DropRecord(_)
        | Edit::DropRecords(_)
        | Edit::DropRule(_)
        | Edit::DropEndpoint(_)
        | Edit::DropLine(_)
        | Edit::DropAuthorisation(..)
        | Edit::DropNetwork(_)
        | Edit::DropLog(_) => 1,
        Edit::Network(_) => 2,
        Edit::Zone(_) => 3,
        Edit::Record(_)
        | Edit::Records(_)
        | Edit::Rule(_)
        | Edit::Endpoint(_)
        | Edit::Line(_)
        | Edit::Authorisation(_)
        | Edit::Log(_) => 4,
    }
}

/// What stands for a row in the digest of all. The digest is the sum of these, so that it follows a change without a look
/// at the other rows, and has no order.
pub fn mark(key: &str, value: &[u8]) -> u64 {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [key.as_bytes(), b"\0", value] {
        hash.update(part);
    }
    hash.finish().as_ref().iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
