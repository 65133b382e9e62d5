//! Rows to keys and values and back, and what is refused.

use super::*;
use crate::account::tests::{edit as any_edit, record, zone};
use proptest::prelude::*;

fn put(key: &str, value: &str) -> Result<Edit, String> {
    edit(&RowChange { key: key.into(), value: Some(value.into()), modified: 1 })
}

proptest! {
    #[test]
    fn an_edit_survives_the_way_through_etcd(made in any_edit()) {
        let changes = changes(std::slice::from_ref(&made)).unwrap();
        let read: Result<Vec<Edit>, String> = changes.iter().map(edit).collect();
        let expected = match &made {
            Edit::DropRecords(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                ids.into_iter().map(Edit::DropRecord).collect()
            }
            Edit::Records(new) => {
                new.records.iter().map(|record| Edit::Record(record.view(&new.zone).to_row())).collect()
            }
            other => vec![other.clone()],
        };
        prop_assert_eq!(read, Ok(expected));
    }

    #[test]
    fn any_value_is_read_or_refused(key: String, value: Vec<u8>) {
        let _ = edit(&RowChange { key: key.into(), value: Some(value), modified: 1 });
    }
}

#[test]
fn the_last_edit_of_a_row_counts() {
    let edits = [Edit::Record(record(1, 1, 1, 1, "default", true)), Edit::DropRecord(1)];
    let changes = changes(&edits).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].value, None);
}

#[test]
fn what_makes_no_sense_is_named() {
    let good = serde_json::to_string(&record(7, 1, 1, 1, "default", true)).unwrap();
    let key = "record/00000000000000000007";
    assert!(put(key, &format!("1 {good}")).is_ok());
    for (key, value, words) in [
        (key, good.clone(), "schema number"),
        (key, format!("2 {good}"), "schema 2, this version knows up to 1"),
        (key, format!("0 {good}"), "schema number"),
        (key, "1 {".into(), "EOF"),
        (key, "1 {}".into(), "missing field"),
        (key, format!("1 {}", good.replace("10.0.0.1", "banana")), "value `banana`"),
        (key, format!("1 {}", good.replace("\"r1\"", "\"a b\"")), "host record `a b`"),
        ("record/00000000000000000008", format!("1 {good}"), "says of itself"),
        ("zone/7", format!("1 {good}"), "expected a string"),
        ("song/7", format!("1 {good}"), "table `song` is not known"),
        ("record", format!("1 {good}"), "TABLE/ID"),
    ] {
        let fault = put(key, &value).unwrap_err();
        assert!(fault.contains(words), "{fault}");
    }
    let name = serde_json::to_string(&zone(1, &[0])).unwrap().replace("z1.example", "a..b");
    assert!(put(&format!("zone/{:032x}", 1), &format!("1 {name}")).unwrap_err().contains("name `a..b`"));
}

#[test]
fn a_row_of_a_newer_version_with_one_more_field_is_read() {
    let row =
        serde_json::to_string(&record(7, 1, 1, 1, "default", true)).unwrap().replacen('{', "{\"new\":1,", 1);
    assert!(put("record/00000000000000000007", &format!("1 {row}")).is_ok());
}
