//! The messages of etcd's API v3 that are sent and read here (`rpc.proto`, stable since 2017). Of an answer only what is
//! used is read; unknown fields are passed over.

use super::protobuf::{ProtoFault, ProtoValue, ProtoWriter, fields};

/// Rows, events or members in one answer: a few octets of a message cost far more in memory. A page asks for fewer, and a
/// member sends a watch in parts of some 2 MiB.
const MOST: usize = 100_000;

/// Octets of a token, and characters of a text that is shown.
const LONGEST_TOKEN: usize = 16 << 10;
const LONGEST_TEXT: usize = 500;

/// The newest revision that is taken for one. A store that has a million changes a second reaches it in 140,000 years.
const LATEST: i64 = i64::MAX / 2;

/// A key with what is stored under it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdRow {
    /// The key.
    pub key: Vec<u8>,
    /// The value; empty where only keys were asked for.
    pub value: Vec<u8>,
    /// The revision of the last change.
    pub modified: i64,
    /// Changes since it was made.
    pub version: i64,
}

/// What every answer begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EtcdHeader {
    /// The cluster.
    pub cluster: u64,
    /// The member that answers.
    pub member: u64,
    /// The store's revision.
    pub revision: i64,
}

impl EtcdHeader {
    /// True for one that a member of etcd may have sent: an empty message has none, and must not count as an empty store.
    pub(super) fn is_valid(&self) -> bool {
        self.cluster != 0 && (1..=LATEST).contains(&self.revision)
    }
}

/// A request for keys.
#[derive(Clone, Debug, Default)]
pub struct RangeRequest {
    /// The first key.
    pub key: Vec<u8>,
    /// Beyond the last key; empty for one key.
    pub end: Vec<u8>,
    /// Rows at most; 0 for all.
    pub limit: i64,
    /// As of this revision; 0 for the newest.
    pub revision: i64,
    /// Any member may answer from what it has.
    pub serializable: bool,
    /// Without values.
    pub keys_only: bool,
    /// In the order in which they were made, not by key.
    pub oldest_first: bool,
}

impl RangeRequest {
    /// One key.
    pub fn of_key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// All keys that begin like this.
    pub fn of_prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let key = prefix.into();
        Self { end: end_of_prefix(&key), key, ..Self::default() }
    }

    fn write(&self) -> ProtoWriter {
        ProtoWriter::default()
            .bytes(1, &self.key)
            .bytes(2, &self.end)
            .int(3, self.limit)
            .int(4, self.revision)
            .int(5, i64::from(self.oldest_first))
            .int(6, if self.oldest_first { 2 } else { 0 })
            .flag(7, self.serializable)
            .flag(8, self.keys_only)
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        self.write().finish()
    }
}

/// The first key that does not begin like this.
pub fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // all keys from here on
}

/// Rows that were found.
#[derive(Clone, Debug, Default)]
pub struct RangeResponse {
    /// What every answer has.
    pub header: EtcdHeader,
    /// The rows, by key.
    pub rows: Vec<EtcdRow>,
    /// There are more.
    pub more: bool,
    /// How many there are, whatever the limit.
    pub count: i64,
}

/// A condition of a transaction.
#[derive(Clone, Debug)]
pub enum TxnCondition {
    /// The key was last changed at this revision; 0 for a key that is not there.
    ModifiedAt(Vec<u8>, i64),
    /// The key is there.
    Exists(Vec<u8>),
}

/// A step of a transaction.
#[derive(Clone, Debug)]
pub enum TxnStep {
    /// Reads.
    Range(RangeRequest),
    /// Writes a value; the last part is the lease, 0 for none.
    Put(Vec<u8>, Vec<u8>, i64),
    /// Removes the keys from the first to before the second; the one key where that is empty.
    Delete(Vec<u8>, Vec<u8>),
}

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct TxnRequest {
    /// What must be so.
    pub conditions: Vec<TxnCondition>,
    /// What is done then.
    pub then: Vec<TxnStep>,
    /// What is done else.
    pub otherwise: Vec<TxnStep>,
}

impl TxnRequest {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = ProtoWriter::default();
        for condition in &self.conditions {
            let compare = match condition {
                TxnCondition::ModifiedAt(key, revision) => {
                    ProtoWriter::default().int(2, 2).bytes(3, key).int(6, *revision)
                }
                // created later than 0
                TxnCondition::Exists(key) => ProtoWriter::default().int(1, 1).int(2, 1).bytes(3, key),
            };
            writer = writer.message(1, compare);
        }
        for (field, steps) in [(2, &self.then), (3, &self.otherwise)] {
            for step in steps {
                let step = match step {
                    TxnStep::Range(range) => ProtoWriter::default().message(1, range.write()),
                    TxnStep::Put(key, value, lease) => {
                        let put = ProtoWriter::default().bytes(1, key).bytes(2, value).int(3, *lease);
                        ProtoWriter::default().message(2, put)
                    }
                    TxnStep::Delete(key, end) => {
                        ProtoWriter::default().message(3, ProtoWriter::default().bytes(1, key).bytes(2, end))
                    }
                };
                writer = writer.message(field, step);
            }
        }
        writer.finish()
    }
}

/// The result of a transaction.
#[derive(Clone, Debug, Default)]
pub struct TxnResponse {
    /// What every answer has.
    pub header: EtcdHeader,
    /// All conditions held.
    pub succeeded: bool,
    /// What was read, a list for each step; empty for steps that write.
    pub found: Vec<Vec<EtcdRow>>,
}

/// An answer of a watch.
#[derive(Clone, Debug, Default)]
pub struct WatchResponse {
    /// What every answer has.
    pub header: EtcdHeader,
    /// The watch begins.
    pub created: bool,
    /// The watch has ended.
    pub canceled: bool,
    /// Where it is not 0: older revisions are gone.
    pub compact_revision: i64,
    /// Why it has ended.
    pub reason: String,
    /// More of the same comes.
    pub fragment: bool,
    /// What has changed.
    pub events: Vec<EtcdEvent>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdEvent {
    /// The key is gone.
    pub removed: bool,
    /// The key, and what is there now.
    pub row: EtcdRow,
}

/// How a member is.
#[derive(Clone, Debug, Default)]
pub struct MemberStatus {
    /// What every answer has.
    pub header: EtcdHeader,
    /// Its version.
    pub version: String,
    /// Octets of its database.
    pub size: i64,
    /// The leader's id; 0 where there is none.
    pub leader: u64,
    /// What it complains of, such as `NOSPACE`.
    pub errors: Vec<String>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default)]
pub struct EtcdMember {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// A watch from a revision on, all of a range.
pub(super) fn watch_request(key: &[u8], end: &[u8], from: i64) -> Vec<u8> {
    let create = ProtoWriter::default().bytes(1, key).bytes(2, end).int(3, from).flag(4, true).flag(8, true);
    ProtoWriter::default().message(1, create).finish()
}

/// A login.
pub(super) fn authenticate_request(user: &str, password: &str) -> Vec<u8> {
    ProtoWriter::default().bytes(1, user.as_bytes()).bytes(2, password.as_bytes()).finish()
}

/// A lease of this many seconds.
pub(super) fn lease_grant_request(seconds: i64) -> Vec<u8> {
    ProtoWriter::default().int(1, seconds).finish()
}

/// A lease lives on.
pub(super) fn lease_keep_alive_request(lease: i64) -> Vec<u8> {
    ProtoWriter::default().int(1, lease).finish()
}

/// A text for the log and for operators.
fn shown(value: ProtoValue<'_>) -> Result<String, ProtoFault> {
    let octets = value.bytes()?;
    let text = String::from_utf8_lossy(&octets[..octets.len().min(4 * LONGEST_TEXT)]);
    Ok(crate::engine::text::printable(&text).chars().take(LONGEST_TEXT).collect())
}

/// Adds one to a list, which is bounded.
fn push<T>(list: &mut Vec<T>, one: T) -> Result<(), ProtoFault> {
    if list.len() >= MOST {
        return Err(ProtoFault);
    }
    list.push(one);
    Ok(())
}

fn header(message: &[u8]) -> Result<EtcdHeader, ProtoFault> {
    let mut header = EtcdHeader::default();
    fields(message, |field, value| {
        match field {
            1 => header.cluster = value.int()? as u64,
            2 => header.member = value.int()? as u64,
            3 => header.revision = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(header)
}

fn row(message: &[u8]) -> Result<EtcdRow, ProtoFault> {
    let mut row = EtcdRow::default();
    fields(message, |field, value| {
        match field {
            1 => row.key = value.bytes()?.to_vec(),
            3 => row.modified = value.int()?,
            4 => row.version = value.int()?,
            5 => row.value = value.bytes()?.to_vec(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(row)
}

pub(super) fn range_response(message: &[u8]) -> Result<RangeResponse, ProtoFault> {
    let mut response = RangeResponse::default();
    fields(message, |field, value| {
        match field {
            1 => response.header = header(value.bytes()?)?,
            2 => push(&mut response.rows, row(value.bytes()?)?)?,
            3 => response.more = value.int()? != 0,
            4 => response.count = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(response)
}

pub(super) fn txn_response(message: &[u8]) -> Result<TxnResponse, ProtoFault> {
    let mut response = TxnResponse::default();
    let mut count = 0;
    fields(message, |field, value| {
        match field {
            1 => response.header = header(value.bytes()?)?,
            2 => response.succeeded = value.int()? != 0,
            3 => {
                let mut rows = Vec::new();
                fields(value.bytes()?, |field, value| {
                    if field == 1 {
                        rows = range_response(value.bytes()?)?.rows;
                    }
                    Ok(())
                })?;
                count += rows.len();
                if count > MOST {
                    return Err(ProtoFault);
                }
                push(&mut response.found, rows)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(response)
}

pub(super) fn watch_response(message: &[u8]) -> Result<WatchResponse, ProtoFault> {
    let mut response = WatchResponse::default();
    fields(message, |field, value| {
        match field {
            1 => response.header = header(value.bytes()?)?,
            3 => response.created = value.int()? != 0,
            4 => response.canceled = value.int()? != 0,
            5 => response.compact_revision = value.int()?,
            6 => response.reason = shown(value)?,
            7 => response.fragment = value.int()? != 0,
            11 => push(&mut response.events, event(value.bytes()?)?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(response)
}

/// An event of a kind that is not known is a fault, and the watch begins anew: it is not passed over.
fn event(message: &[u8]) -> Result<EtcdEvent, ProtoFault> {
    let mut event = EtcdEvent { removed: false, row: EtcdRow::default() };
    fields(message, |field, value| {
        match (field, value) {
            (1, ProtoValue::Number(kind @ 0..=1)) => event.removed = kind == 1,
            (1, _) => return Err(ProtoFault),
            (2, value) => event.row = row(value.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

pub(super) fn token(message: &[u8]) -> Result<String, ProtoFault> {
    let mut token = String::new();
    fields(message, |field, value| {
        if field == 2 {
            token = value.text()?;
            if token.len() > LONGEST_TOKEN {
                return Err(ProtoFault);
            }
        }
        Ok(())
    })?;
    Ok(token)
}

/// The id of a lease that was given or lives on, and the seconds it has; 0 seconds for one that is gone.
pub(super) fn lease(message: &[u8]) -> Result<(i64, i64), ProtoFault> {
    let mut lease = (0, 0);
    fields(message, |field, value| {
        match field {
            2 => lease.0 = value.int()?,
            3 => lease.1 = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(lease)
}

pub(super) fn member_status(message: &[u8]) -> Result<MemberStatus, ProtoFault> {
    let mut status = MemberStatus::default();
    fields(message, |field, value| {
        match field {
            1 => status.header = header(value.bytes()?)?,
            2 => status.version = shown(value)?,
            3 => status.size = value.int()?,
            4 => status.leader = value.int()? as u64,
            8 => push(&mut status.errors, shown(value)?)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(status)
}

pub(super) fn members(message: &[u8]) -> Result<Vec<EtcdMember>, ProtoFault> {
    let mut members = Vec::new();
    fields(message, |field, value| {
        if field != 2 {
            return Ok(());
        }
        let mut member = EtcdMember::default();
        fields(value.bytes()?, |field, value| {
            match field {
                1 => member.id = value.int()? as u64,
                2 => member.name = shown(value)?,
                4 => push(&mut member.client_urls, shown(value)?)?,
                _ => {}
            }
            Ok(())
        })?;
        push(&mut members, member)
    })?;
    Ok(members)
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
