//! The replica: digest, difference, and the order of edits.

use super::*;
use crate::account::tests::{record, zone};
use proptest::prelude::*;

fn change(key: u8, value: Option<u8>, modified: i64) -> RowChange {
    RowChange { key: format!("line/{key}").into(), value: value.map(|value| vec![value]), modified }
}

fn any_changes() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
    proptest::collection::vec((0u8..20, proptest::option::of(0u8..4)), 0..40)
}

fn stamped(changes: &[(u8, Option<u8>)], modified: i64) -> Vec<RowChange> {
    let change =
        |(place, (key, value)): (usize, &(u8, Option<u8>))| change(*key, *value, modified + place as i64);
    changes.iter().enumerate().map(change).collect()
}

proptest! {
    #[test]
    fn a_preview_tells_what_applying_comes_to(first in any_changes(), then in any_changes()) {
        let mut replica = Replica::default();
        replica.apply(&stamped(&first, 1));
        let (before, then) = (replica.len(), stamped(&then, 100));
        let preview = replica.preview(&then);
        replica.apply(&then);
        prop_assert_eq!((preview.rows, preview.digest), (replica.len() as u64, replica.digest()));
        prop_assert!(preview.removed <= before);
    }

    #[test]
    fn the_digest_is_that_of_the_rows_however_they_came(changes in any_changes()) {
        let (mut one_by_one, mut at_once) = (Replica::default(), Replica::default());
        let changes = stamped(&changes, 1);
        changes.iter().for_each(|change| { one_by_one.apply(std::slice::from_ref(change)); });
        at_once.apply(&changes);
        prop_assert_eq!(one_by_one.digest(), at_once.digest());
        let rows: BTreeMap<_, _> = changes.iter().map(|change| (change.key.clone(), change.value.clone())).collect();
        let sum = rows.iter().filter_map(|(key, value)| Some(row::mark(key, value.as_ref()?)));
        prop_assert_eq!(at_once.digest(), sum.fold(0, u64::wrapping_add));
    }

    #[test]
    fn a_difference_makes_two_replicas_equal(ours in any_changes(), theirs in any_changes()) {
        let (mut here, mut there) = (Replica::default(), Replica::default());
        here.apply(&stamped(&ours, 1));
        let theirs = stamped(&theirs, 1000);
        there.apply(&theirs);
        let values: BTreeMap<Box<str>, RowChange> =
            theirs.iter().map(|change| (change.key.clone(), change.clone())).collect();
        let listed: BTreeMap<Box<str>, i64> =
            there.stamps.iter().map(|(key, stamp)| (key.clone(), stamp.modified)).collect();
        let difference = here.difference(&listed, false);
        let mut changes: Vec<RowChange> = difference.wanted.iter().map(|key| values[key].clone()).collect();
        changes.extend(difference.gone.iter().map(|key| RowChange { key: key.clone(), value: None, modified: 2000 }));
        here.apply(&changes);
        prop_assert_eq!(here.digest(), there.digest());
        prop_assert_eq!(&here.stamps, &there.stamps);
        prop_assert_eq!(here.difference(&listed, false), ReplicaDifference::default());
        prop_assert_eq!(here.difference(&listed, true).wanted.len(), listed.len());
    }
}

#[test]
fn edits_come_in_an_order_in_which_they_can_be_carried_out() {
    let edits = [Edit::Record(record(1, 1, 1, 1, "default", true)), Edit::Zone(zone(1, &[0]))];
    let (mut replica, mut account) = (Replica::default(), Account::default());
    let changes = row::changes(&edits).unwrap();
    assert!(changes[0].key.starts_with("record/"), "the record's key is the first");
    account.apply(&replica.apply(&changes));
    assert!(account.zone_of_record(1).is_some());
    let gone = row::changes(&[Edit::DropZone(zone(1, &[0]).id), Edit::DropRecord(1)]).unwrap();
    account.apply(&replica.apply(&gone));
    assert_eq!((account.zone_count(), replica.len(), replica.digest()), (0, 0, 0));
}

#[test]
fn a_bad_row_is_named_until_it_is_good_or_gone() {
    let mut replica = Replica::default();
    let good = row::changes(&[Edit::Zone(zone(1, &[0]))]).unwrap().remove(0);
    let bad = RowChange { value: Some(b"1 {".to_vec()), ..good.clone() };
    assert_eq!(replica.apply(std::slice::from_ref(&bad)), []);
    assert_eq!(replica.bad().len(), 1);
    assert_eq!(replica.digest(), row::mark(&bad.key, b"1 {"), "the digest is of what etcd has");
    assert_eq!(replica.apply(std::slice::from_ref(&good)).len(), 1);
    assert!(replica.bad().is_empty());
    replica.apply(std::slice::from_ref(&bad));
    replica.apply(&[RowChange { value: None, ..good }]);
    assert!(replica.bad().is_empty() && replica.is_empty());
}

#[test]
fn more_than_half_of_more_than_a_few_is_a_mass_removal() {
    let mass = |rows: u32, gone: u32| {
        let change =
            |number: u32, value| RowChange { key: format!("line/{number}").into(), value, modified: 1 };
        let mut replica = Replica::default();
        (0..rows).for_each(|number| replica.stamp(&change(number, Some(vec![1]))));
        let gone: Vec<RowChange> = (0..gone).map(|number| change(number, None)).collect();
        replica.is_mass_removal(&replica.preview(&gone))
    };
    assert!(!mass(100, 100), "few rows");
    assert!(mass(101, 101));
    assert!(!mass(1000, 500));
    assert!(mass(1000, 501));
    assert!(mass(102, 300), "those that are not there do not count");
}
