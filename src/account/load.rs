//! An account out of all of its rows, on all cores: a start waits for it.

use super::network::NetworkRow;
use super::packed::PackedRecord;
use super::row::{AuthorisationRow, EndpointRow, LineRow, LogRow, RuleRow, ZoneRow};
use super::{Account, Edit, RecordZone, ZoneEntry};
use crate::engine::ordered::Ordered;
use std::sync::Arc;
use std::thread;

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
    /// What the same rows come to as edits, sooner.
    pub fn load(rows: Rows) -> Self {
        let mut account = Self::default();
        let few = rows.rules.into_iter().map(Edit::Rule);
        let few = few.chain(rows.endpoints.into_iter().map(Edit::Endpoint));
        let few = few.chain(rows.lines.into_iter().map(Edit::Line));
        let few = few.chain(rows.authorisations.into_iter().map(Edit::Authorisation));
        let few = few.chain(rows.networks.into_iter().map(Edit::Network));
        account.apply(&few.collect::<Vec<_>>());

        let mut zones: Vec<_> =
            rows.zones.into_iter().zip(0..).map(|(row, number)| (row, number, Vec::new())).collect();
        account.next_number = zones.len() as u32; // as many as places that the records name
        let mut index = Vec::with_capacity(rows.records.len());
        for (place, record) in rows.records {
            let Some(zone) = zones.get_mut(place as usize) else { continue };
            index.push(RecordZone::new(record.id(), place));
            zone.2.push(record);
        }
        let reading = account.reading;
        let made = parallel(zones, |zones| {
            let entry =
                |(row, number, records)| Arc::new(ZoneEntry::of_records(row, number, records, reading));
            zones.into_iter().map(entry).collect::<Vec<_>>()
        });
        for entry in made.iter().flatten() {
            account.index_name(&entry.row, true);
        }
        let numbers = made.iter().flatten().map(|entry| (u64::from(entry.number), entry.id.clone()));
        account.numbers = numbers.collect();
        account.zones = made.into_iter().flatten().map(|entry| (entry.row.id.clone(), entry)).collect();
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

/// Does some work on shares of a list, each on a thread of its own; the results are in the order of the list.
fn parallel<T: Send, R: Send>(mut items: Vec<T>, work: impl Fn(Vec<T>) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = items.len().div_ceil(threads).max(LEAST);
    let work = &work;
    thread::scope(|scope| {
        let mut running = Vec::new();
        while items.len() > share {
            let some = items.split_off(items.len() - share);
            running.push(scope.spawn(move || work(some)));
        }
        let first = work(items);
        let join = |thread: thread::ScopedJoinHandle<'_, R>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(first).chain(running.into_iter().rev().map(join)).collect()
    })
}

/// Zones that are worth a thread.
const LEAST: usize = 500;
