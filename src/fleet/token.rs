//! `ClientToken` in a fleet: the answer to a change is kept in etcd, written by the transaction that makes the change, so that
//! the same request at another node, or after a restart, gets the same answer and makes nothing twice.
//!
//! A token is looked up after the ground that is decided on was taken. One that was kept before is found; one that is
//! kept later has moved the head, and the decision is taken anew.

use super::answer::{SharedAnswer, SharedToken, TokenStep};
use super::messages::{RangeRequest, TxnRequest, TxnStep};
use super::writer::{CommitFailure, FleetWriter};
use serde_json::{Map, Value};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Answers that the fleet keeps. The oldest go; one node may be this many over before it looks.
const KEPT: i64 = 100_000;

/// Answers that a node keeps between two looks at how many there are.
const LOOK_EVERY: u64 = 1000;

/// Octets of an answer that is kept, and of all in one transaction. A longer one leaves a note that the change was made.
const OCTETS: (usize, usize) = (16 << 10, 256 << 10);

/// Keys in one transaction.
const KEYS: usize = 100;

/// How long a node waits until it has in force what was made at another.
const IN_FORCE: Duration = Duration::from_secs(2);

impl FleetWriter {
    /// The answers to changes that were made, in the order of their tokens. What they made is in force here. Not to be
    /// called from a task.
    ///
    /// # Errors
    /// etcd does not answer; or a change was made and is not in force here yet.
    pub fn kept_answers(&self, tokens: &[SharedToken]) -> Result<Vec<Option<SharedAnswer>>, CommitFailure> {
        let read = |token: &SharedToken| TxnStep::Range(RangeRequest::of_key(self.keys.tokens() + &token.0));
        let (mut answers, mut newest) = (Vec::with_capacity(tokens.len()), 0);
        for some in tokens.chunks(KEYS) {
            let head = TxnStep::Range(RangeRequest::of_key(self.keys.head()));
            let then = some.iter().map(read).chain([head]).collect();
            let found =
                self.runtime.block_on(self.client.read_txn(&TxnRequest { then, ..TxnRequest::default() }));
            let mut found = found.map_err(|error| CommitFailure::Away(error.message))?.found;
            found.resize(some.len() + 1, Vec::new());
            // Nothing newer than the head comes into force, whoever has touched the token since.
            let head = found.pop().and_then(|rows| Some(rows.first()?.modified)).unwrap_or(0);
            for rows in found {
                let answer = rows.first().map(|row| {
                    newest = newest.max(row.modified.min(head));
                    // What makes no sense here was kept by a newer version: the change was made all the same.
                    serde_json::from_slice(&row.value).unwrap_or(SharedAnswer { answer: None })
                });
                answers.push(answer);
            }
        }
        match self.state.wait_for(newest, IN_FORCE) {
            true => Ok(answers),
            false => Err(CommitFailure::Unknown("it is stored, and not in force on this node yet".into())),
        }
    }

    /// Answers as they are stored.
    pub(super) fn token_steps(&self, answers: &[(SharedToken, Map<String, Value>)]) -> Vec<TokenStep> {
        let mut octets = 0;
        let step = |(token, answer): &(SharedToken, Map<String, Value>)| {
            let value = |answer| serde_json::to_vec(&SharedAnswer { answer }).unwrap_or_default();
            let mut kept = value(Some(answer.clone()));
            if kept.len() > OCTETS.0 || octets + kept.len() > OCTETS.1 {
                kept = value(None);
            }
            octets += kept.len();
            (self.keys.tokens() + &token.0, kept)
        };
        answers.iter().map(step).collect()
    }

    /// Counts answers that were kept; after each thousand, the oldest beyond the limit go.
    pub(super) async fn bound_tokens(&self, more: u64) {
        let before = self.tokens_kept.fetch_add(more, Ordering::Relaxed);
        let is_due = before == 0 || before / LOOK_EVERY != (before + more) / LOOK_EVERY;
        if more > 0
            && is_due
            && let Err(error) = self.remove_oldest_tokens().await
        {
            tracing::warn!(%error, "the oldest answers to changes with a ClientToken are not removed from etcd yet");
        }
    }

    async fn remove_oldest_tokens(&self) -> Result<(), super::EtcdError> {
        loop {
            let request = RangeRequest {
                keys_only: true,
                oldest_first: true,
                limit: KEYS as i64,
                ..RangeRequest::of_prefix(self.keys.tokens())
            };
            let found = self.client.range(&request).await?;
            let excess = usize::try_from(found.count - KEPT).unwrap_or(0);
            let then: Vec<TxnStep> =
                found.rows.into_iter().take(excess).map(|row| TxnStep::Delete(row.key, Vec::new())).collect();
            if then.is_empty() {
                return Ok(());
            }
            self.client.txn(&TxnRequest { then, ..TxnRequest::default() }).await?;
        }
    }
}
