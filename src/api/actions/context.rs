//! What an action stands on: a snapshot, and the words to look things up in it; what a writing action comes to.

use super::config_ids::ConfigIds;
use super::{ApiCaller, format};
use crate::account::row::Record;
use crate::account::row::{LogRow, ZoneRow};
use crate::account::{Account, Edit, MAX_LOG, ZoneEntry};
use crate::api::ApiError;
use crate::config::Host;
use crate::engine::cache::Timestamp;
use crate::engine::catalog::{Catalog, Vpc};
use crate::engine::zone::Zone;
use crate::resolve::shared::SharedState;
use crate::stats::counters::Counters;
use crate::stats::history::History;
use crate::stats::top::TopLists;
use crate::stats::zone_stats::ZoneStats;
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct ObservedCounts<'a> {
    /// Queries and answers.
    pub tallies: &'a Counters,
    /// What they are counted for.
    pub places: &'a ZoneStats,
    /// The last day by minute.
    pub history: &'a History,
    /// The top lists and their current time.
    pub top: (&'a TopLists, Timestamp),
}

impl<'a> From<&'a SharedState> for ObservedCounts<'a> {
    fn from(live: &'a SharedState) -> Self {
        Self {
            tallies: &live.tallies,
            places: &live.places,
            history: &live.history,
            top: (&live.top, live.clock.now()),
        }
    }
}

/// A snapshot to decide on.
pub struct ActionContext<'a> {
    /// What the API made.
    pub account: &'a Account,
    /// What is configured: VPCs, and the zones of the file.
    pub catalog: &'a Catalog,
    /// The zones and records of the file by their ids.
    pub config_ids: &'a ConfigIds,
    /// Hosts for host-name tasks.
    pub hosts: &'a [Host],
    /// The client.
    pub caller: &'a ApiCaller,
    /// The running server, for what was counted.
    pub counts: ObservedCounts<'a>,
}

/// What a writing action comes to.
#[derive(Debug, Default)]
pub struct ActionResult {
    /// What changes; nothing where it is so already.
    pub edits: Vec<Edit>,
    /// The answer once it is so.
    pub answer: Map<String, Value>,
}

impl ActionContext<'_> {
    /// Milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.caller.now
    }

    /// The zone of an id that may be changed.
    pub fn zone(&self, id: &str) -> Result<&Arc<ZoneEntry>, ApiError> {
        if !format::is_id(id) {
            return Err(ApiError::new("Zone.Invalid.Id", "Zone id is invalid."));
        }
        match self.account.zone(id) {
            Some(entry) => Ok(entry),
            None if self.config_ids.zone(self.catalog, id).is_some() => Err(read_only()),
            None => Err(ApiError::new("Zone.NotExists", "Zone is not exists")),
        }
    }

    /// The zone and the record of a record's id, to be changed.
    pub fn record(&self, id: u64) -> Result<(&Arc<ZoneEntry>, Record<'_>), ApiError> {
        let found = self.account.zone_of_record(id).and_then(|zone| Some((zone, zone.records.get(id)?)));
        found.ok_or_else(|| match self.config_ids.record(self.catalog, id) {
            Some(_) => read_only(),
            None => ApiError::new("Record.NotExists", "The specified record does not exist."),
        })
    }

    /// The zone of the file that has an id. What the API made is looked up first, and is found at once.
    pub fn fixed_zone(&self, id: &str) -> Option<(ZoneRow, &Zone)> {
        self.account.zone(id).is_none().then(|| self.config_ids.zone(self.catalog, id)).flatten()
    }

    /// The VPCs that there are: those of the configuration, and those that the API made and has not deleted.
    pub fn vpcs(&self) -> impl Iterator<Item = Vpc> {
        let is_configured = |vpc: &Vpc| self.catalog.configured_vpcs().any(|has| has.id == vpc.id);
        let made = self.account.catalog_vpcs().into_iter().filter(move |vpc| !is_configured(vpc));
        self.catalog.configured_vpcs().cloned().chain(made)
    }

    /// A VPC.
    pub fn vpc(&self, id: &str) -> Option<Vpc> {
        self.vpcs().find(|vpc| vpc.id == id)
    }

    /// An id that nothing has: 32 hex digits. `number` tells apart what one decision makes.
    pub fn new_id(&self, number: usize) -> String {
        let seed = [self.caller.entropy.as_slice(), &number.to_be_bytes()].concat();
        HEXLOWER.encode(&digest(&SHA256, &seed).as_ref()[..16])
    }

    /// The row of a zone after a change of it or of its records.
    pub fn touched(&self, row: &ZoneRow) -> ZoneRow {
        let seconds = (self.now() / 1000) as u32;
        let serial = seconds.max(row.serial.wrapping_add(1));
        ZoneRow { updated: self.now(), serial, ..row.clone() }
    }

    /// A line of the change log, and room for it.
    pub fn log(&self, entry: LogLine<'_>) -> Vec<Edit> {
        let id = self.account.next_log();
        let row = LogRow {
            id,
            at: self.now(),
            kind: entry.kind.into(),
            action: entry.action.into(),
            entity: entry.entity.into(),
            name: entry.name.into(),
            zone: entry.zone.into(),
            content: entry.content,
            access_key: self.caller.access_key.clone(),
            source: self.caller.source.to_string(),
        };
        let oldest = id.checked_sub(MAX_LOG).filter(|oldest| *oldest > 0);
        oldest.map(Edit::DropLog).into_iter().chain([Edit::Log(row)]).collect()
    }
}

/// What goes into the change log.
pub struct LogLine<'a> {
    /// `PV_ZONE` and so on.
    pub kind: &'a str,
    /// `add`, `update`, …
    pub action: &'a str,
    /// The id of what changed.
    pub entity: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The id of the zone concerned, or nothing.
    pub zone: &'a str,
    /// What changed, in words.
    pub content: String,
}

impl ActionResult {
    /// Nothing to do, and this answer.
    pub fn nothing(answer: Map<String, Value>) -> Self {
        Self { edits: Vec::new(), answer }
    }
}

/// A zone of the configuration file cannot be changed from here.
fn read_only() -> ApiError {
    ApiError::new(
        "Zone.ReadOnly",
        "The zone is written in the configuration file of pvtzd; change it there and reload.",
    )
    .with_status(403)
}
