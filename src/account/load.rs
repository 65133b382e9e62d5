//! An account out of all of its rows, on all cores: a start waits for it.

use super::network::NetworkRow;
use super::packed::PackedRecord;
use super::row::{AuthorisationRow, EndpointRow, LineRow, LogRow, RuleRow, ZoneRow};
use super::{Account, Edit, NewestZone, RecordZone, ZoneEntry};
use crate::base::parallel;
use crate::engine::ordered::Ordered;
use crate::engine::zone::ZoneSemantics;
use std::sync::Arc;

/// All rows of an account.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The zones.
    pub zones: Vec<ZoneRow>,
    /// The records, each with the place of its zone among the zones.
    pub records: Vec<(u32, PackedRecord)>,
    /// The forwarding rules.
    pub rules: Vec<RuleRow>,
    /// The endpoints.
    pub endpoints: Vec<EndpointRow>,
    /// The custom lines.
    pub lines: Vec<LineRow>,
    /// The authorisations.
    pub authorisations: Vec<AuthorisationRow>,
    /// The VPCs, vSwitches and security groups.
    pub networks: Vec<NetworkRow>,
    /// The log.
    pub log: Vec<Arc<LogRow>>,
}

impl Account {
    /// What the same rows come to as edits, sooner. Zones read what is not documented in a way.
    pub fn load(rows: Rows, reading: ZoneSemantics) -> Self {
        let mut account = Self { reading, ..Self::default() };
        let few = rows.rules.into_iter().map(Edit::Rule);
        let few = few.chain(rows.endpoints.into_iter().map(Edit::Endpoint));
        let few = few.chain(rows.lines.into_iter().map(Edit::Line));
        let few = few.chain(rows.authorisations.into_iter().map(Edit::Authorisation));
        let few = few.chain(rows.networks.into_iter().map(Edit::Network));
        account.apply(&few.collect::<Vec<_>>());

        let mut counts = vec![0; rows.zones.len()];
        for (place, _) in &rows.records {
            if let Some(count) = counts.get_mut(*place as usize) {
                *count += 1;
            }
        }
        account.next_number = rows.zones.len() as u32; // as many as places that the records name
        let zones = rows.zones.into_iter().zip(0..).zip(counts);
        let mut zones: Vec<_> =
            zones.map(|((row, number), count)| (row, number, Vec::with_capacity(count))).collect();
        let mut index = Vec::with_capacity(rows.records.len());
        for (place, record) in rows.records {
            let Some(zone) = zones.get_mut(place as usize) else { continue };
            index.push(RecordZone::new(record.id(), place));
            zone.2.push(record);
        }
        let made = parallel::map(zones, SHARE, |(row, number, records)| {
            Arc::new(ZoneEntry::of_records(row, number, records, reading))
        });
        for entry in &made {
            account.index(entry);
        }
        let mut newest: Vec<_> = made.iter().map(|entry| NewestZone::of(entry)).collect();
        newest.sort_unstable();
        account.newest = Ordered::from_sorted(newest);
        account.zones = made.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        index.sort_unstable();
        index.dedup();
        account.last_record = index.last().map_or(0, |last| last.record());
        account.records = Ordered::from_sorted(index);
        let numbers = || rows.log.iter().map(|row| row.id);
        account.log_span = numbers().min().zip(numbers().max());
        account.log = rows.log.into_iter().map(|row| (row.id, row)).collect();
        account
    }
}

/// Zones that are worth a turn of a thread.
const SHARE: usize = 500;
