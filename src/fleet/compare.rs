//! The comparison of a node's rows with those of etcd, where a watch cannot tell what has changed: keys and revisions
//! first, then the values that differ. What a member sends is bounded and must be in order.

use super::connection::EtcdError;
use super::follower::{Follower, SessionEnd};
use super::messages::{EtcdRow, RangeRequest, TxnRequest, TxnStep};
use super::row::RowChange;
use super::snapshot::FleetPosition;
use super::state::{FleetPhase, FleetStep, MOST_ROWS, StepResult};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// Rows in a page of keys, and of values.
const KEYS: i64 = 2000;
const VALUES: i64 = 500;

/// Values that are read one by one rather than with all others.
const SINGLE: usize = 1000;

/// Reads in a transaction.
const READS: usize = 100;

/// Octets of all values that are read at once.
const MOST_OCTETS: usize = 2 << 30;

impl Follower {
    /// Compares all rows with those of etcd, and takes what differs. With `whole` all values are read.
    pub(super) async fn compare(&self, whole: bool, accepted: bool) -> Result<(), SessionEnd> {
        self.state.set_phase(FleetPhase::Synchronising, None);
        self.state.count(|counts| counts.compared += 1);
        let mut whole = whole;
        for round in 0..10 {
            if round > 0 {
                sleep(Duration::from_millis(200) + self.spread()).await;
            }
            match self.compare_once(whole, accepted).await {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) if whole => {
                    tracing::warn!(
                        "the digest of the head is not that of the rows: were they changed by hand?"
                    );
                    self.odd_head.store(self.state.position().revision, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Some(false)) => whole = true,
                Ok(None) => {}
                Err(error) if error.is_compacted() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionEnd::Later(FleetPhase::Synchronising, "the writer has not finished a large change".into()))
    }

    /// One comparison; whether the digest is that of the head then. Nothing while a large change is under way.
    async fn compare_once(&self, whole: bool, accepted: bool) -> Result<Option<bool>, EtcdError> {
        let before = self.state.position();
        let look = self.look().await?;
        let rewound = look.cluster != before.cluster || look.revision < before.watched.max(before.revision);
        if look.head.as_ref().is_some_and(|(_, head)| head.redo.is_some()) {
            if let Some(finish) = &self.finish_redo {
                finish();
            }
            return Ok(None);
        }
        let listed = self.list(look.revision).await?;
        let difference = self.state.difference(&listed, whole);
        let everything = difference.wanted.len() == listed.len();
        let mut changes = self.values(&difference.wanted, look.revision).await?;
        let gone = difference.gone.into_iter();
        changes.extend(gone.map(|key| RowChange { key, value: None, modified: look.revision }));
        if everything {
            self.state.begin_whole_snapshot();
        }
        let (revision, head) = look.head.unwrap_or_default();
        let asked = self.state.held().unwrap_or(if revision == 0 { look.revision } else { revision });
        let accepted = accepted || look.accepted >= asked;
        let position = FleetPosition { cluster: look.cluster, revision, watched: look.revision, head };
        match self.apply(FleetStep { position, changes, accepted, compared: true, rewound }).await {
            StepResult::Applied(well) => Ok(Some(well)),
            StepResult::Held => Ok(Some(true)),
            StepResult::Known => Ok(None),
            StepResult::TooMany => {
                Err(EtcdError::lost(format!("there are more than {MOST_ROWS} rows in etcd")))
            }
        }
    }

    /// All keys of rows with the revision of their last change, at a revision.
    async fn list(&self, revision: i64) -> Result<BTreeMap<Box<str>, i64>, EtcdError> {
        let mut listed = BTreeMap::new();
        let keep = |row: EtcdRow, listed: &mut BTreeMap<Box<str>, i64>| {
            if let Some(key) = self.keys.row_of(&row.key) {
                listed.insert(key.into(), row.modified);
            }
        };
        let request = RangeRequest { keys_only: true, limit: KEYS, ..self.page(revision) };
        self.pages(request, |row| keep(row, &mut listed)).await?;
        Ok(listed)
    }

    /// The values of keys, at a revision.
    async fn values(&self, wanted: &[Box<str>], revision: i64) -> Result<Vec<RowChange>, EtcdError> {
        let mut changes = Vec::with_capacity(wanted.len());
        let mut keep = |row: EtcdRow| {
            if let Some(key) = self.keys.row_of(&row.key)
                && wanted.binary_search_by(|other| (**other).cmp(key)).is_ok()
            {
                let (key, value) = (key.into(), Some(row.value));
                changes.push(RowChange { key, value, modified: row.modified });
            }
        };
        if wanted.len() > SINGLE {
            self.pages(RangeRequest { limit: VALUES, ..self.page(revision) }, keep).await?;
            return Ok(changes);
        }
        for some in wanted.chunks(READS) {
            let read = |key: &str| {
                TxnStep::Range(RangeRequest { revision, ..RangeRequest::of_key(self.keys.row(key)) })
            };
            let request =
                TxnRequest { then: some.iter().map(|key| read(key)).collect(), ..TxnRequest::default() };
            let found = self.client.read_txn(&request).await?;
            found.found.into_iter().flatten().for_each(&mut keep);
        }
        Ok(changes)
    }

    fn page(&self, revision: i64) -> RangeRequest {
        RangeRequest { revision, serializable: true, ..RangeRequest::of_prefix(self.keys.rows()) }
    }

    /// All rows of a range, page by page.
    async fn pages(&self, mut request: RangeRequest, mut each: impl FnMut(EtcdRow)) -> Result<(), EtcdError> {
        let (mut count, mut octets) = (0, 0);
        loop {
            let page = match self.client.range(&request).await {
                // A member that lags does not have the revision yet.
                Err(error) if error.code == Some(11) && !error.is_compacted() && request.serializable => {
                    request.serializable = false;
                    continue;
                }
                page => page?,
            };
            let is_last = !page.more || page.rows.is_empty();
            for row in page.rows {
                if row.key < request.key || row.key >= request.end {
                    return Err(EtcdError::lost("the rows of a page are not in order"));
                }
                request.key.clone_from(&row.key);
                request.key.push(0); // the next one comes after it
                count += 1;
                octets += row.value.len();
                each(row);
            }
            if count > MOST_ROWS || octets > MOST_OCTETS {
                return Err(EtcdError::lost(format!("more than {MOST_ROWS} rows, or {MOST_OCTETS} octets")));
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
