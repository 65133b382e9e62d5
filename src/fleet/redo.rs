//! Changes that are too large for one transaction: written in parts beside the rows, committed by the head that names them,
//! then carried out. Whoever finds such a head finishes it.

use super::answer::TokenStep;
use super::client::random;
use super::head::{FleetHead, FleetSchema, RedoLog};
use super::messages::{RangeRequest, TxnCondition, TxnRequest, TxnStep, end_of_prefix};
use super::row::{ROW_SCHEMA, RowChange};
use super::writer::{COMMIT, CommitFailure, FleetWriter, OCTETS, ROWS, TxnEnd, now, put, wait};
use crate::base::task;
use std::time::{Duration, Instant};

/// Octets of a part of a large change.
const PART: usize = 512 << 10;

/// How long a large one may take.
const REDO: Duration = Duration::from_secs(300);

/// How long this node may take to have in force what it has committed.
const IN_FORCE: Duration = Duration::from_secs(20);

/// Parts that nothing names go after this long.
const ORPHAN: Duration = Duration::from_secs(3600);

impl FleetWriter {
    /// A change in parts: written beside the rows, committed by the head that names them, then carried out.
    pub(super) async fn commit_in_parts(
        &self,
        ground: i64,
        before: &FleetHead,
        after: FleetHead,
        changes: Vec<RowChange>,
        tokens: &[TokenStep],
    ) -> Result<(i64, FleetHead, Vec<RowChange>), CommitFailure> {
        let deadline = Instant::now() + REDO;
        self.remove_orphans(ground).await;
        let id = format!("{:013}-{:016x}", now(), random());
        let parts = parts(&changes)?;
        for (number, part) in parts.iter().enumerate() {
            self.put_part(&self.keys.redo(&id, number), part, deadline).await?;
        }
        let redo =
            RedoLog { id: id.clone(), parts: parts.len(), rows: after.rows, digest: after.digest.clone() };
        let (rows, digest) = (before.rows, before.digest.clone());
        let head = FleetHead { rows, digest, redo: Some(redo), ..after.clone() };
        let conditions = vec![
            TxnCondition::ModifiedAt(self.keys.head().into(), ground),
            TxnCondition::Exists(self.keys.redo(&id, 0).into()),
        ];
        let mut then = vec![self.put_head(&head)?];
        if ground == 0 {
            then.push(put(self.keys.schema(), &FleetSchema { min: ROW_SCHEMA, write: ROW_SCHEMA }, 0)?);
        }
        let committed =
            self.settle(conditions, (then, tokens), ground, &head.change, Instant::now() + COMMIT).await;
        let revision = match committed {
            Ok(TxnEnd::Done(revision)) => revision,
            Ok(TxnEnd::Lost) => {
                self.remove_parts(&id).await;
                return self.outdated().await;
            }
            // The parts stay where it may have been committed.
            Err(failure @ CommitFailure::Unknown(_)) => return Err(failure),
            Err(failure) => {
                self.remove_parts(&id).await;
                return Err(failure);
            }
        };
        // From here on it is made, whatever happens to this process.
        self.state.expect_own(&head.change);
        let mut stamps = Vec::with_capacity(changes.len());
        let done = self.roll_forward(revision, &head, deadline, &mut stamps).await.map_err(|failure| {
            CommitFailure::Unknown(format!("it is stored, and comes into force once etcd answers: {failure}"))
        })?;
        if let Some(revision) = done.filter(|_| stamps.len() == changes.len()) {
            let mut changes = changes;
            changes.iter_mut().zip(stamps).for_each(|(change, modified)| change.modified = modified);
            return Ok((revision, after, changes));
        }
        // Another node was through first: the watch brings what it has done.
        let (state, seq) = (self.state.clone(), head.seq);
        let waited = task::spawn_blocking(move || state.wait_for(revision + 1, IN_FORCE)).await;
        let position = self.state.position();
        match waited {
            Ok(true) if position.head.seq >= seq => Ok((position.revision, position.head, Vec::new())),
            _ => Err(CommitFailure::Unknown("it is stored, and not in force on this node yet".into())),
        }
    }

    async fn put_part(&self, key: &str, part: &[u8], deadline: Instant) -> Result<(), CommitFailure> {
        let then = vec![TxnStep::Put(key.into(), part.to_vec(), 0)];
        self.repeat(&TxnRequest { then, ..TxnRequest::default() }, deadline).await.map(|_| ())
    }

    /// Carries a committed change out: its rows in batches, then a head that names it no more. Any node may do so, several
    /// at once too; the first that is through ends it for all, and gets the revision. `stamps` gets that of each row.
    async fn roll_forward(
        &self,
        revision: i64,
        head: &FleetHead,
        deadline: Instant,
        stamps: &mut Vec<i64>,
    ) -> Result<Option<i64>, CommitFailure> {
        let Some(redo) = &head.redo else { return Ok(None) };
        let is_there = TxnCondition::ModifiedAt(self.keys.head().into(), revision);
        for number in 0..redo.parts {
            let request = RangeRequest::of_key(self.keys.redo(&redo.id, number));
            let mut pause = Duration::from_millis(50);
            let found = loop {
                match self.client.range(&request).await {
                    Ok(found) => break found,
                    Err(error) if Instant::now() > deadline => {
                        return Err(CommitFailure::Away(error.message));
                    }
                    Err(_) => wait(&mut pause).await,
                }
            };
            // The parts go with the head that names them: without them it is done.
            let Some(part) = found.rows.first() else { return Ok(None) };
            let changes: Vec<(String, Option<String>)> = serde_json::from_slice(&part.value)
                .map_err(|error| CommitFailure::Refused(error.to_string()))?;
            let change = |(key, value): (String, Option<String>)| RowChange {
                key: key.into(),
                value: value.map(String::into_bytes),
                modified: 0,
            };
            let changes: Vec<RowChange> = changes.into_iter().map(change).collect();
            for batch in batches(&changes) {
                let request = TxnRequest {
                    conditions: vec![is_there.clone()],
                    then: self.steps(batch),
                    otherwise: Vec::new(),
                };
                match self.repeat(&request, deadline).await? {
                    Some(revision) => stamps.extend(batch.iter().map(|_| revision)),
                    None => return Ok(None), // another node was through first
                }
            }
        }
        let (rows, digest) = (redo.rows, redo.digest.clone());
        let last = FleetHead { rows, digest, redo: None, ..head.clone() };
        let parts = format!("{}{}/", self.keys.redos(), redo.id);
        let end = end_of_prefix(parts.as_bytes());
        let then = vec![self.put_head(&last)?, TxnStep::Delete(parts.into(), end)];
        self.repeat(&TxnRequest { conditions: vec![is_there], then, otherwise: Vec::new() }, deadline).await
    }

    /// Finishes a large change that the head names, whoever has begun it.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn finish(&self) -> Result<(), CommitFailure> {
        let request = RangeRequest::of_key(self.keys.head());
        let found = self.client.range(&request).await.map_err(|error| CommitFailure::Away(error.message))?;
        let Some(row) = found.rows.first() else { return Ok(()) };
        let Ok(head) = serde_json::from_slice::<FleetHead>(&row.value) else { return Ok(()) };
        if head.redo.is_some() {
            self.roll_forward(row.modified, &head, Instant::now() + REDO, &mut Vec::new()).await?;
        }
        Ok(())
    }

    async fn remove_parts(&self, id: &str) {
        let parts = format!("{}{id}/", self.keys.redos());
        let end = end_of_prefix(parts.as_bytes());
        let then = vec![TxnStep::Delete(parts.into(), end)];
        // What stays goes as an orphan.
        let _ = self.client.txn(&TxnRequest { then, ..TxnRequest::default() }).await;
    }

    /// Removes parts whose writer ended before it committed them. The head is as it was, and names none.
    async fn remove_orphans(&self, ground: i64) {
        let request =
            RangeRequest { keys_only: true, limit: 1000, ..RangeRequest::of_prefix(self.keys.redos()) };
        let Ok(found) = self.client.range(&request).await else { return };
        let old = now().saturating_sub(ORPHAN.as_millis() as u64);
        let is_there = TxnCondition::ModifiedAt(self.keys.head().into(), ground);
        let redos = self.keys.redos();
        for row in found.rows {
            let made = row.key.strip_prefix(redos.as_bytes()).and_then(|rest| rest.get(..13));
            let made = made.and_then(|made| std::str::from_utf8(made).ok()?.parse::<u64>().ok());
            if made.is_some_and(|made| made < old) {
                let then = vec![TxnStep::Delete(row.key, Vec::new())];
                let conditions = vec![is_there.clone()];
                let _ = self.client.txn(&TxnRequest { conditions, then, ..TxnRequest::default() }).await;
            }
        }
    }
}

/// Changes as parts, each a list of keys and values in JSON.
fn parts(changes: &[RowChange]) -> Result<Vec<Vec<u8>>, CommitFailure> {
    let mut parts = Vec::new();
    let mut some: Vec<(&str, Option<&str>)> = Vec::new();
    let mut octets = 0;
    let written = |some: &[(&str, Option<&str>)]| {
        serde_json::to_vec(some).map_err(|error| CommitFailure::Refused(error.to_string()))
    };
    for change in changes {
        if octets + change.octets() > PART && !some.is_empty() {
            parts.push(written(&some)?);
            some.clear();
            octets = 0;
        }
        let value = change.value.as_deref().map(std::str::from_utf8).transpose();
        let value = value.map_err(|error| CommitFailure::Refused(error.to_string()))?;
        some.push((&change.key, value));
        octets += change.octets();
    }
    parts.push(written(&some)?);
    Ok(parts)
}

/// Changes that fit in one transaction each.
fn batches(changes: &[RowChange]) -> Vec<&[RowChange]> {
    let (mut batches, mut begin, mut octets) = (Vec::new(), 0, 0);
    for (place, change) in changes.iter().enumerate() {
        if place - begin >= ROWS || (octets + change.octets() > OCTETS && place > begin) {
            batches.push(&changes[begin..place]);
            (begin, octets) = (place, 0);
        }
        octets += change.octets();
    }
    batches.push(&changes[begin..]);
    batches
}

#[cfg(test)]
#[path = "redo_tests.rs"]
mod tests;
