//! Tests of the store: what was written is read, and what is odd is set aside.

use super::*;
use crate::account::packed::{NewRecords, PackedRecord};
use crate::account::tests::{edit, record, shown, zone};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn opened(directory: &Path) -> Opened {
    let opened = Store::open(directory, ZoneSemantics::default()).unwrap();
    assert!(opened.set_aside.is_none(), "{:?}", opened.set_aside);
    opened
}

/// A file with a zone and a record in it, closed.
fn sample(directory: &Path) -> Vec<Edit> {
    let edits = vec![Edit::Zone(zone(1, &[0])), Edit::Record(record(5, 1, 0, 7, "default", true))];
    opened(directory).store.commit(&edits).unwrap();
    edits
}

/// Edits that a decision can come to: none of something that is not there.
fn sensible(edits: Vec<Edit>) -> Vec<Edit> {
    let mut zones = BTreeSet::new();
    let keep = |edit: &Edit| match edit {
        Edit::Zone(row) => {
            zones.insert(row.id.clone());
            true
        }
        Edit::Record(row) => zones.contains(&row.zone),
        Edit::Records(new) => zones.contains(&new.zone),
        // the records of a zone are dropped before it, and numbers of the log come in order
        Edit::DropZone(_) | Edit::Log(_) | Edit::DropLog(_) => false,
        _ => true,
    };
    edits.into_iter().filter(keep).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_reads_back(steps in proptest::collection::vec(proptest::collection::vec(edit(), 1..8), 1..6)) {
        let folder = folder();
        let mut account = Account::default();
        let edits = sensible(steps.concat());
        for some in edits.chunks(5) {
            let store = opened(folder.path()).store;
            store.commit(some).unwrap();
            account.apply(some);
            drop(store);
            prop_assert_eq!(shown(&opened(folder.path()).account), shown(&account));
        }
    }
}

#[test]
fn a_zone_goes_with_its_records() {
    let folder = folder();
    sample(folder.path());
    let gone = [Edit::DropRecord(5), Edit::DropZone(zone(1, &[]).id)];
    opened(folder.path()).store.commit(&gone).unwrap();
    assert_eq!(shown(&opened(folder.path()).account), shown(&Account::default()));
}

#[test]
fn many_new_records_and_runs_of_them_that_go() {
    let (folder, mut account) = (folder(), Account::default());
    let new = |ids: &[u64]| {
        let row = |id: &u64| record(*id, 1, (*id % 200) as u8, 7, "default", true);
        let records = ids.iter().map(|id| PackedRecord::of(&row(id).view(), &mut Vec::new()));
        Edit::Records(NewRecords { zone: zone(1, &[]).id, records: records.collect() })
    };
    let ids = |range: std::ops::Range<u64>, step: usize| range.step_by(step).collect::<Vec<u64>>();
    let mut edits = vec![vec![Edit::Zone(zone(1, &[0])), new(&ids(1000..9000, 1))]];
    edits.push(vec![new(&ids(20_000..30_000, 40))]);
    edits.push(vec![new(&ids(5..900, 3)), new(&ids(8990..9100, 1))]); // a clock was set back; some are there
    edits.push(vec![Edit::DropRecords(ids(1500..4000, 1)), Edit::DropRecords(ids(20_000..25_000, 400))]);
    edits.push(vec![Edit::DropRecords(ids(4001..9050, 2)), Edit::DropRecords(vec![7, 5, 8])]);
    edits.push(vec![Edit::DropRecords(ids(0..40_000, 5))]);
    edits.push(vec![Edit::DropZone(zone(1, &[]).id), Edit::DropRecords(ids(0..40_000, 1))]);
    for some in edits {
        opened(folder.path()).store.commit(&some).unwrap();
        account.apply(&some);
        assert_eq!(shown(&opened(folder.path()).account), shown(&account));
    }
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let records = database.begin_read().unwrap().open_table(rows::RECORDS).unwrap();
    assert!(redb::ReadableTableMetadata::is_empty(&records).unwrap());
}

#[test]
fn a_store_is_open_once() {
    let folder = folder();
    let first = opened(folder.path());
    assert!(matches!(Store::open(folder.path(), ZoneSemantics::default()), Err(StoreError::InUse(_))));
    first.store.commit(&[Edit::Zone(zone(1, &[]))]).unwrap();
}

#[test]
fn a_newer_schema_is_left_alone() {
    let folder = folder();
    sample(folder.path());
    let path = folder.path().join(FILE);
    let database = Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(META).unwrap().insert(SCHEMA_KEY, SCHEMA + 1).unwrap();
    writing.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let error = Store::open(folder.path(), ZoneSemantics::default()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { schema, .. } if schema == SCHEMA + 1), "{error}");
    assert!(error.to_string().contains("this version supports up to 2"), "{error}");
    drop(error);
    let database = Database::open(&path).unwrap();
    let table = database.begin_read().unwrap().open_table(META).unwrap();
    assert_eq!(table.get(SCHEMA_KEY).unwrap().unwrap().value(), SCHEMA + 1);
    assert_eq!(before.len(), fs::read(&path).unwrap().len());
}

#[test]
fn rows_that_make_no_sense_are_damage() {
    let folder = folder();
    sample(folder.path());
    let path = folder.path().join(FILE);
    let database = Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    let zones: StoreTable = TableDefinition::new("zones");
    writing.open_table(zones).unwrap().insert("x", b"{\"id\":".as_slice()).unwrap();
    writing.commit().unwrap();
    drop(database);
    let opened = Store::open(folder.path(), ZoneSemantics::default()).unwrap();
    let (aside, why) = opened.set_aside.unwrap();
    assert!(aside.exists() && why.contains("row `x`"), "{why}");
    assert_eq!(opened.account.zone_count(), 0);
}

#[test]
fn files_set_aside_do_not_replace_each_other() {
    let folder = folder();
    let mut aside = BTreeSet::new();
    for _ in 0..3 {
        fs::write(folder.path().join(FILE), b"garbage").unwrap();
        aside.insert(Store::open(folder.path(), ZoneSemantics::default()).unwrap().set_aside.unwrap().0);
    }
    assert_eq!(aside.len(), 3);
    assert!(aside.iter().all(|path| fs::read(path).unwrap() == b"garbage"));
}

#[test]
fn every_flipped_octet_is_seen() {
    let folder = folder();
    let path = folder.path().join(FILE);
    let edits = sample(folder.path());
    let mut account = Account::default();
    account.apply(&edits);
    let whole = fs::read(&path).unwrap();
    // every octet of what was written, and some of the rest
    let places = (0..whole.len()).filter(|place| whole[*place] != 0 || place % 8191 == 0).step_by(499);
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let opened = match Store::open(folder.path(), ZoneSemantics::default()) {
            Ok(opened) => opened,
            Err(error) => panic!("octet {place}: {error}"),
        };
        match &opened.set_aside {
            Some((aside, _)) => fs::remove_file(aside).unwrap(),
            None => assert_eq!(shown(&opened.account), shown(&account), "octet {place}"),
        }
    }
}

/// What is in a file of schema 1: rows of JSON with marks of SHA-256.
fn write_schema_1(path: &Path, edits: &[Edit], sum_is_right: bool) {
    let database = Database::create(path).unwrap();
    rows::create(&database, 1).unwrap();
    let writing = database.begin_write().unwrap();
    writing.delete_table(rows::RECORDS).unwrap();
    let mut sum = 0u64;
    for edit in edits {
        let (name, key, row) = match edit {
            Edit::Zone(row) => ("zones", row.id.clone(), serde_json::to_vec(row).unwrap()),
            Edit::Record(row) => ("records", format!("{:020}", row.id), serde_json::to_vec(row).unwrap()),
            other => panic!("{other:?}"),
        };
        let table: StoreTable = TableDefinition::new(name);
        writing.open_table(table).unwrap().insert(key.as_str(), row.as_slice()).unwrap();
        let octets = [name.as_bytes(), b"\0", key.as_bytes(), b"\0", &row].concat();
        let digest = ring::digest::digest(&ring::digest::SHA256, &octets);
        sum = sum.wrapping_add(u64::from_be_bytes(*digest.as_ref().first_chunk().unwrap()));
    }
    let numbers = rows::put_numbers(&writing, 7, if sum_is_right { sum } else { sum + 1 });
    numbers.unwrap();
    writing.commit().unwrap();
}

#[test]
fn a_file_of_schema_1_is_brought_up_once() {
    let folder = folder();
    let path = folder.path().join(FILE);
    let edits = vec![
        Edit::Zone(zone(1, &[0])),
        Edit::Record(record(5, 1, 0, 7, "default", true)),
        Edit::Record(record(6, 1, 1, 8, "line-0", false)),
    ];
    write_schema_1(&path, &edits, true);
    let mut account = Account::default();
    account.apply(&edits);
    for _ in 0..2 {
        assert_eq!(shown(&opened(folder.path()).account), shown(&account));
    }
    let store = opened(folder.path()).store;
    store.commit(&[Edit::DropRecord(5)]).unwrap();
    account.apply(&[Edit::DropRecord(5)]);
    drop(store);
    assert_eq!(shown(&opened(folder.path()).account), shown(&account));

    fs::remove_file(&path).unwrap();
    write_schema_1(&path, &edits, false);
    let (_, why) = Store::open(folder.path(), ZoneSemantics::default()).unwrap().set_aside.unwrap();
    assert!(why.contains("do not match their checksum"), "{why}");
}
