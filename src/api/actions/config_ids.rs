//! The zones and records of the configuration file by their ids, which are made of what they are. The index is made when an
//! id is first looked for, and again once the file has other zones: an id that is not there costs the same however many
//! there are.

use super::config_zones;
use crate::account::row::{RecordRow, ZoneRow};
use crate::engine::catalog::{Catalog, Scope};
use crate::engine::zone::Zone;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// The zones of a catalog, with who sees them.
type Zones = [(Arc<Zone>, Scope)];

/// Finds zones and records of the file.
#[derive(Debug, Default)]
pub struct ConfigIds(Mutex<Option<Arc<IdIndex>>>);

/// The index of one file.
#[derive(Debug)]
struct IdIndex {
    /// What it is made of. Not kept by the index: after a reload the former zones are to go.
    of: Weak<Zones>,
    /// Id -> place in the catalog.
    zones: HashMap<String, usize>,
    /// Id, place of the zone in the catalog and of the record in the zone, in order.
    records: OnceLock<Vec<(u64, u32, u32)>>,
}

impl ConfigIds {
    /// The zone of an id.
    pub fn zone<'c>(&self, catalog: &'c Catalog, id: &str) -> Option<(ZoneRow, &'c Zone)> {
        let place = *self.index(catalog).zones.get(id)?;
        config_zones::at(catalog, place)
    }

    /// The record of an id, with its zone.
    pub fn record(&self, catalog: &Catalog, id: u64) -> Option<(ZoneRow, RecordRow)> {
        let index = self.index(catalog);
        let records = index.records.get_or_init(|| records(catalog));
        let (_, place, at) = *records.get(records.partition_point(|record| record.0 < id))?;
        let (row, zone) = config_zones::at(catalog, place as usize)?;
        let record = config_zones::records(&row, zone, at as usize).next();
        record.filter(|record| record.id == id).map(|record| (row, record))
    }

    fn index(&self, catalog: &Catalog) -> Arc<IdIndex> {
        let zones = catalog.shared_zones();
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) =
            index.as_ref().filter(|index| std::ptr::addr_eq(index.of.as_ptr(), Arc::as_ptr(zones)))
        {
            return index.clone();
        }
        let mut places = HashMap::new();
        for (place, id) in config_zones::ids(catalog) {
            places.entry(id).or_insert(place);
        }
        let made = IdIndex { of: Arc::downgrade(zones), zones: places, records: OnceLock::new() };
        index.insert(Arc::new(made)).clone()
    }
}

/// All records of the file, by their ids.
fn records(catalog: &Catalog) -> Vec<(u64, u32, u32)> {
    let mut found = Vec::new();
    for (place, _) in config_zones::ids(catalog) {
        if let Some((row, zone)) = config_zones::at(catalog, place) {
            let records = config_zones::records(&row, zone, 0).zip(0..);
            found.extend(records.map(|(record, at)| (record.id, place as u32, at)));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, InstanceInfo};
    use std::path::Path;

    fn catalog(zones: u32) -> Catalog {
        let zone = |number: u32| {
            format!(
                "[[zone]]\nname = \"z{number}.example\"\n\
                 [[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = [\"10.0.0.1\", \"10.0.0.2\"]\n\
                 [[zone.record]]\nname = \"@\"\ntype = \"MX\"\nvalue = \"5 mx{number}.example\"\n"
            )
        };
        let text: String = (0..zones).map(zone).collect();
        let text = format!("[upstream]\nservers = []\n{text}");
        config::parse(&text, Path::new("test.toml")).unwrap().0.catalog(&InstanceInfo::default(), 1)
    }

    /// Where the index is, and where that of the records; 0 for one that was not made.
    fn made(ids: &ConfigIds) -> Option<[usize; 2]> {
        let index = ids.0.lock().unwrap();
        index.as_ref().map(|index| {
            let records = index.records.get().map_or(0, |records| records.as_ptr().addr());
            [Arc::as_ptr(index).addr(), records]
        })
    }

    #[test]
    fn all_zones_and_records_are_found_by_their_ids() {
        let (catalog, ids) = (catalog(20), ConfigIds::default());
        let mut records = 0;
        for (row, zone) in config_zones::zones(&catalog) {
            assert_eq!(ids.zone(&catalog, &row.id).unwrap().0, row);
            for record in config_zones::records(&row, zone, 0) {
                assert_eq!(ids.record(&catalog, record.id), Some((row.clone(), record)));
                records += 1;
            }
        }
        assert_eq!(records, 60);
    }

    #[test]
    fn ids_that_are_not_there_read_the_file_once() {
        let (first, ids) = (catalog(20), ConfigIds::default());
        assert!(made(&ids).is_none(), "before an id is looked for, nothing is made");
        assert!(ids.record(&first, 1).is_none());
        let index = made(&ids);
        assert!(index.is_some_and(|[_, records]| records != 0));
        for id in 0..1000 {
            assert!(ids.zone(&first, &format!("{id:032x}")).is_none());
            assert!(ids.record(&first, id).is_none());
            assert!(ids.record(&first, u64::MAX - id).is_none());
        }
        assert_eq!(made(&ids), index);
        let second = catalog(21);
        let (last, _) = config_zones::zones(&second).last().unwrap();
        assert!(ids.zone(&first, &last.id).is_none() && ids.zone(&second, &last.id).is_some());
        assert_ne!(made(&ids), index);
    }
}
