//! What a follower makes of the answers of its watch: pure, answers in, actions out. It groups changes by revision, holds
//! them back until the head of their change has come, and tells when a watch cannot be trusted any more.

use super::head::{AcceptedRemoval, FleetHead, FleetKeys, FleetSchema};
use super::messages::{EtcdEvent, WatchResponse};
use super::row::RowChange;
use std::collections::BTreeMap;

/// Octets of changes that wait for their head. Beyond, they are dropped and the rows compared once it has come.
const WAITING: usize = 8 << 20;

/// Octets that an event takes beside its key and value.
const EVENT: usize = 100;

/// Rows that are published together where a node lags behind its watch.
const TOGETHER: usize = 200;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowAction {
    /// A change is whole.
    Apply {
        /// The revision of its head.
        revision: i64,
        /// The head.
        head: FleetHead,
        /// The rows that it changes.
        changes: Vec<RowChange>,
    },
    /// The rows are to be compared with those of etcd; `whole` with all values.
    Compare {
        /// Revisions tell nothing.
        whole: bool,
        /// Why.
        why: &'static str,
    },
    /// The token has ended: log in, then watch anew.
    Login(String),
    /// Watch anew.
    Restart(String),
    /// Another schema.
    Schema(Option<FleetSchema>),
    /// Removals up to this revision are accepted.
    Accepted(i64),
    /// A large change is committed, and rows follow.
    RedoBegun,
}

/// The state of a watch.
#[derive(Debug)]
pub struct WatchState {
    keys: FleetKeys,
    cluster: u64,
    /// Events up to this revision are known.
    watched: i64,
    /// The newest revision that the member has told of.
    newest: i64,
    /// Events of revisions that are not whole yet.
    fragments: BTreeMap<i64, Vec<EtcdEvent>>,
    /// Rows whose head has not come.
    waiting: Vec<RowChange>,
    octets: usize,
    /// Too many waited: the rows are to be compared.
    dropped: bool,
    /// A large change is under way.
    redo: bool,
}

impl WatchState {
    /// A watch of this cluster that begins after a revision.
    pub fn new(keys: FleetKeys, cluster: u64, watched: i64) -> Self {
        Self {
            keys,
            cluster,
            watched,
            newest: 0,
            fragments: BTreeMap::new(),
            waiting: Vec::new(),
            octets: 0,
            dropped: false,
            redo: false,
        }
    }

    /// Events up to this revision are known.
    pub fn watched(&self) -> i64 {
        self.watched
    }

    /// True while rows wait for a head that no large change will bring: they were changed past the head.
    pub fn has_loose_rows(&self) -> bool {
        !self.redo && (self.dropped || !self.waiting.is_empty())
    }

    /// True while a large change is under way.
    pub fn is_in_redo(&self) -> bool {
        self.redo
    }

    /// What an answer comes to.
    pub fn take(&mut self, response: WatchResponse) -> Vec<FollowAction> {
        // Before `created`: a refused watch has both.
        if response.canceled || response.compact_revision != 0 {
            return vec![self.ended(&response)];
        }
        if response.header.cluster != self.cluster {
            return vec![FollowAction::Restart("another cluster answers".into())];
        }
        if response.created {
            return Vec::new(); // its revision may be that of a member that lags
        }
        let newest = response.header.revision;
        if !response.header.is_valid() || newest < self.newest {
            // A watch never goes back: one of the two revisions was wrong, and with it what is known.
            return vec![FollowAction::Restart(format!("the watch went back to revision {newest}"))];
        }
        self.newest = newest;
        for event in response.events {
            if event.row.modified > newest {
                return vec![FollowAction::Restart("the watch tells of a revision yet to come".into())];
            }
            // What is known already comes again from some versions of etcd.
            if event.row.modified <= self.watched {
                continue;
            }
            self.octets += EVENT + event.row.key.len() + event.row.value.len();
            self.fragments.entry(event.row.modified).or_default().push(event);
        }
        let mut actions = Vec::new();
        if response.fragment {
            if self.octets > 4 * WAITING {
                return vec![FollowAction::Restart("more in one revision than is taken".into())];
            }
            return actions;
        }
        for (revision, events) in std::mem::take(&mut self.fragments) {
            self.watched = revision;
            self.take_revision(revision, events, &mut actions);
        }
        self.watched = self.watched.max(newest);
        actions
    }

    fn ended(&self, response: &WatchResponse) -> FollowAction {
        if response.compact_revision != 0 {
            return FollowAction::Compare { whole: false, why: "the revisions since are compacted" };
        }
        let reason = &response.reason;
        let is_login = ["permission denied", "auth", "token"].iter().any(|word| reason.contains(word));
        // Between 3.4.25 and 3.5.x the reason is not named: a watch that ends before it began may be for the token.
        match is_login || (reason.is_empty() && response.created) {
            true => FollowAction::Login(reason.clone()),
            false => FollowAction::Restart(format!("etcd has ended the watch: {reason}")),
        }
    }

    fn take_revision(&mut self, revision: i64, events: Vec<EtcdEvent>, actions: &mut Vec<FollowAction>) {
        let (head_key, schema_key, accept_key) = (self.keys.head(), self.keys.schema(), self.keys.accept());
        let mut head = None;
        for event in events {
            let EtcdEvent { removed, row } = event;
            if let Some(key) = self.keys.row_of(&row.key) {
                let value = (!removed).then_some(row.value);
                let change = RowChange { key: key.into(), value, modified: row.modified };
                if self.octets > WAITING {
                    self.waiting = Vec::new();
                    self.dropped = true;
                }
                if !self.dropped {
                    self.waiting.push(change);
                }
            } else if row.key == head_key.as_bytes() {
                head = Some((!removed).then_some(row.value));
            } else if row.key == schema_key.as_bytes() {
                let schema = serde_json::from_slice(&row.value).ok().filter(|_| !removed);
                actions.push(FollowAction::Schema(schema));
            } else if row.key == accept_key.as_bytes() {
                let accepted = serde_json::from_slice::<AcceptedRemoval>(&row.value);
                actions.extend(accepted.map(|accepted| FollowAction::Accepted(accepted.revision)));
            }
        }
        let Some(head) = head else { return };
        let head = head.and_then(|value| serde_json::from_slice::<FleetHead>(&value).ok());
        let Some(head) = head else {
            self.clear();
            actions.push(FollowAction::Compare { whole: false, why: "the head is gone, or makes no sense" });
            return;
        };
        if head.redo.is_some() {
            self.redo = true;
            actions.push(FollowAction::RedoBegun);
            return;
        }
        self.redo = false;
        let (changes, dropped) = self.clear();
        if dropped {
            actions.push(FollowAction::Compare { whole: false, why: "a large change" });
            return;
        }
        follow_with(actions, FollowAction::Apply { revision, head, changes });
    }

    fn clear(&mut self) -> (Vec<RowChange>, bool) {
        self.octets = 0;
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.dropped))
    }
}

/// One more action after others. Changes that come together are published once.
pub(super) fn follow_with(actions: &mut Vec<FollowAction>, next: FollowAction) {
    match (actions.last_mut(), next) {
        (
            Some(FollowAction::Apply { revision: last, head: former, changes: before }),
            FollowAction::Apply { revision, head, changes },
        ) => {
            (*last, *former) = (revision, head);
            before.extend(changes);
        }
        (_, next) => actions.push(next),
    }
}

/// True while more answers may be taken before these actions are carried out.
pub(super) fn may_wait(actions: &[FollowAction]) -> bool {
    match actions {
        [] => true,
        [FollowAction::Apply { changes, .. }] => changes.len() < TOGETHER,
        _ => false,
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
