//! The keys of a fleet, and the small values beside the rows: the head, which every change replaces and so is what changes
//! are held against; the schema; what was accepted; who is there.

use serde::{Deserialize, Serialize};

/// Where everything is.
///
/// ```text
/// PREFIX/v1/data/head       what a change is held against; its revision is the rows' generation
/// PREFIX/v1/data/schema     what a reader must know
/// PREFIX/v1/data/accept     up to which revision removals were accepted
/// PREFIX/v1/data/row/…      the rows
/// PREFIX/v1/node/ID         a node that is there, with a lease
/// PREFIX/v1/redo/ID/N       the parts of a change that is too large for one transaction
/// PREFIX/v1/writer/ID       the last change of a writer, with a lease
/// PREFIX/v1/token/DIGEST    the answer to a change with a `ClientToken`, with a lease
/// ```
///
/// What followers watch is below `data/`, so that nothing else wakes them.
#[derive(Clone, Debug)]
pub struct FleetKeys {
    prefix: String,
}

impl FleetKeys {
    /// The keys below a prefix.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}/v1/") }
    }

    /// What all keys begin with.
    pub fn all(&self) -> &str {
        &self.prefix
    }

    /// What is watched.
    pub fn data(&self) -> String {
        format!("{}data/", self.prefix)
    }

    /// The head.
    pub fn head(&self) -> String {
        format!("{}data/head", self.prefix)
    }

    /// The schema.
    pub fn schema(&self) -> String {
        format!("{}data/schema", self.prefix)
    }

    /// What was accepted.
    pub fn accept(&self) -> String {
        format!("{}data/accept", self.prefix)
    }

    /// The rows.
    pub fn rows(&self) -> String {
        format!("{}data/row/", self.prefix)
    }

    /// One row.
    pub fn row(&self, key: &str) -> String {
        format!("{}data/row/{key}", self.prefix)
    }

    /// The key of a row without what is before it.
    pub fn row_of<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"data/row/")?;
        std::str::from_utf8(rest).ok()
    }

    /// The nodes.
    pub fn nodes(&self) -> String {
        format!("{}node/", self.prefix)
    }

    /// The parts of large changes.
    pub fn redos(&self) -> String {
        format!("{}redo/", self.prefix)
    }

    /// A part of a large change.
    pub fn redo(&self, id: &str, part: usize) -> String {
        format!("{}redo/{id}/{part:06}", self.prefix)
    }

    /// The last change of a writer.
    pub fn writer(&self, id: &str) -> String {
        format!("{}writer/{id}", self.prefix)
    }

    /// The answers to changes with a `ClientToken`.
    pub fn tokens(&self) -> String {
        format!("{}token/", self.prefix)
    }
}

/// The head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetHead {
    /// Changes so far.
    pub seq: u64,
    /// Who made the last.
    pub writer: String,
    /// Its number, which no other change has.
    pub change: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Rows there are.
    pub rows: u64,
    /// The sum of their marks, in hex.
    pub digest: String,
    /// A change that is committed and not yet in the rows. Rows and digest are those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo: Option<RedoLog>,
}

/// A change in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedoLog {
    /// Its id.
    pub id: String,
    /// How many parts it has.
    pub parts: usize,
    /// Rows there are after it.
    pub rows: u64,
    /// The digest after it.
    pub digest: String,
}

/// A digest as it is written.
pub fn shown_digest(digest: u64) -> String {
    format!("{digest:016x}")
}

/// What a reader must know to read the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSchema {
    /// The oldest schema that a reader must know.
    pub min: u32,
    /// The schema that is written.
    pub write: u32,
}

/// What an operator has accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedRemoval {
    /// Removals up to this revision are accepted.
    pub revision: i64,
}

/// A node that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Of pvtzd.
    pub version: String,
    /// The revision of the head that it serves.
    pub revision: i64,
    /// `following`, `held`, ….
    pub state: String,
    /// It takes changes.
    pub writer: bool,
    /// The newest schema that it reads.
    pub schema: u32,
    /// Rows that it cannot make sense of.
    pub bad_rows: usize,
    /// Where it answers.
    pub listen: Vec<String>,
    /// When it said so, in milliseconds since 1970.
    pub at: u64,
}
