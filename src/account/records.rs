//! The records of a zone by id and by host record. A copy is cheap, and a change of a copy costs the same however many
//! records there are.

use super::row::RecordRow;
use super::value::DEFAULT_LINE;
use crate::engine::name;
use crate::engine::ordered::Ordered;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The records of a zone.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_id: Ordered<ById>,
    by_host: Ordered<ByHost>,
    /// Custom line -> how many enabled records it has.
    lines: BTreeMap<String, usize>,
}

/// A record, ordered by its id.
#[derive(Clone, Debug)]
struct ById(Arc<RecordRow>);

/// A record, ordered by its host record and then its id.
#[derive(Clone, Debug)]
struct ByHost {
    /// The host record as [`host`] has it, where that is not what the row has.
    host: Option<Arc<str>>,
    row: Arc<RecordRow>,
}

/// A host record in the form in which equal owners are equal text: lower case, A-labels.
pub fn host(rr: &str) -> Cow<'_, str> {
    let is_so_already = rr.bytes().all(|octet| octet.is_ascii() && !octet.is_ascii_uppercase());
    match rr {
        _ if is_so_already => Cow::Borrowed(rr),
        _ if rr.is_ascii() => Cow::Owned(rr.to_ascii_lowercase()),
        _ => match name::parse(rr) {
            Ok(name) => Cow::Owned(name::show(&name).to_ascii_lowercase()),
            Err(_) => Cow::Borrowed(rr), // parsed before it was stored
        },
    }
}

impl Records {
    /// All records of a zone at once.
    pub(super) fn of(mut rows: Vec<Arc<RecordRow>>) -> Self {
        // later rows take the place of earlier ones of the same id
        rows.reverse();
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        let mut lines = BTreeMap::new();
        for row in rows.iter().filter(|row| counts(row)) {
            *lines.entry(row.line.clone()).or_insert(0) += 1;
        }
        let mut by_host: Vec<ByHost> = rows.iter().cloned().map(ByHost::of).collect();
        by_host.sort_unstable();
        Self {
            by_id: Ordered::from_sorted(rows.into_iter().map(ById)),
            by_host: Ordered::from_sorted(by_host),
            lines,
        }
    }

    /// The record of an id.
    pub fn get(&self, id: u64) -> Option<&Arc<RecordRow>> {
        self.by_id.get_by(|other| other.0.id.cmp(&id)).map(|found| &found.0)
    }

    /// All records in the order of their ids, which is that in which they were made.
    pub fn values(&self) -> impl Iterator<Item = &Arc<RecordRow>> {
        self.by_id.iter().map(|found| &found.0)
    }

    /// The same without the first `count`, which cost nothing.
    pub fn skip(&self, count: usize) -> impl Iterator<Item = &Arc<RecordRow>> {
        self.by_id.skip(count).map(|found| &found.0)
    }

    /// The records of a host record, whatever its case, in the order of their ids.
    pub fn of_host<'r>(&'r self, rr: &str) -> impl Iterator<Item = &'r Arc<RecordRow>> + use<'r> {
        let host = host(rr).into_owned();
        let from = self.by_host.starting_at_by(|other| other.key().cmp(&(host.as_str(), 0)));
        from.take_while(move |other| other.key().0 == host).map(|found| &found.row)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Custom lines that have enabled records.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// Puts a record in; the former one of its id comes back.
    pub(super) fn insert(&mut self, row: Arc<RecordRow>) -> Option<Arc<RecordRow>> {
        let former = self.remove(row.id);
        if counts(&row) {
            *self.lines.entry(row.line.clone()).or_insert(0) += 1;
        }
        self.by_host.insert(ByHost::of(row.clone()));
        self.by_id.insert(ById(row));
        former
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Arc<RecordRow>> {
        let ById(former) = self.by_id.remove_by(|other| other.0.id.cmp(&id))?;
        let sought = ByHost::of(former.clone());
        self.by_host.remove_by(|other| other.cmp(&sought));
        if counts(&former)
            && let Some(count) = self.lines.get_mut(&former.line)
        {
            *count -= 1;
            if *count == 0 {
                self.lines.remove(&former.line);
            }
        }
        Some(former)
    }
}

/// Whether a record counts for a custom line.
fn counts(row: &RecordRow) -> bool {
    row.enabled && row.line != DEFAULT_LINE
}

impl ByHost {
    fn of(row: Arc<RecordRow>) -> Self {
        let host = match host(&row.rr) {
            Cow::Borrowed(_) => None,
            Cow::Owned(host) => Some(host.into()),
        };
        Self { host, row }
    }

    fn key(&self) -> (&str, u64) {
        (self.host.as_deref().unwrap_or(&self.row.rr), self.row.id)
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialEq for ByHost {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ByHost {}

impl PartialOrd for ByHost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByHost {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
