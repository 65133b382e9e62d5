//! Builds an account from all of its rows, on all cores: a start waits for it.

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
    /// The records, each with the index of its zone in the list of zones.
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
    /// The account of these rows: the same as by edits, but faster. Zones read undocumented cases in the given way.
    pub fn load(rows: Rows, reading: ZoneSemantics) -> Self {
        let mut account = Self { reading, ..Self::default() };
        let few = rows.rules.into_iter().map(Edit::Rule);
        let few = few.chain(rows.endpoints.into_iter().map(Edit::Endpoint));
        let few = few.chain(rows.lines.into_iter().map(Edit::Line));
        let few = few.chain(rows.authorisations.into_iter().map(Edit::Authorisation));
        let few = few.chain(rows.networks.into_iter().map(Edit::Network));
        account.apply(&few.collect::<Vec<_>>());

        let order = ByZone::of(&rows.records, rows.zones.len());
        account.next_number = rows.zones.len() as u32; // the records name zones by these numbers
        let zones: Vec<(ZoneRow, u32)> = rows.zones.into_iter().zip(0..).collect();
        let made = parallel::map(zones, SHARE, |(row, number)| {
            let records = order.of_zone(number).iter();
            let records = records.map(|place| rows.records[*place as usize].1.clone()).collect();
            Arc::new(ZoneEntry::of_records(row, number, records, reading))
        });
        let records = rows.records.iter().filter(|(place, _)| (*place as usize) < made.len());
        let mut index: Vec<_> = records.map(|(place, record)| RecordZone::new(record.id(), *place)).collect();
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

/// The indices of records in the order of their zones.
struct ByZone {
    places: Vec<u32>,
    /// Where those of each zone end.
    ends: Vec<u32>,
}

impl ByZone {
    fn of(records: &[(u32, PackedRecord)], zones: usize) -> Self {
        let mut ends = vec![0u32; zones];
        for (zone, _) in records {
            if let Some(count) = ends.get_mut(*zone as usize) {
                *count += 1;
            }
        }
        let mut begin = 0;
        for count in &mut ends {
            begin += std::mem::replace(count, begin); // the begin of each zone's records
        }
        let mut places = vec![0; begin as usize];
        for (place, (zone, _)) in (0..).zip(records) {
            if let Some(end) = ends.get_mut(*zone as usize) {
                places[*end as usize] = place;
                *end += 1;
            }
        }
        Self { places, ends }
    }

    fn of_zone(&self, zone: u32) -> &[u32] {
        let end = |zone: u32| self.ends.get(zone as usize).map_or(0, |end| *end as usize);
        &self.places[zone.checked_sub(1).map_or(0, end)..end(zone)]
    }
}

/// Zones that a thread takes at a time.
const SHARE: usize = 500;
