//! The snapshot: what is written is read, and nothing else is.

use super::*;
use crate::account::tests::{record, zone};

fn saved(change: &RowChange, good: bool) -> (Box<str>, SavedRow) {
    (change.key.clone(), SavedRow { value: change.value.clone(), modified: change.modified, good })
}

fn position() -> FleetPosition {
    let head = FleetHead { seq: 3, ..FleetHead::default() };
    FleetPosition { cluster: 9, revision: 12, watched: 15, head }
}

/// A zone with a record, and what is bad beside them.
fn changes() -> (Vec<RowChange>, RowChange) {
    let edits = [Edit::Zone(zone(1, &[0])), Edit::Record(record(7, 1, 1, 1, "default", true))];
    let mut changes = row::changes(&edits).unwrap();
    changes.iter_mut().for_each(|change| change.modified = 12);
    let bad = RowChange { value: Some(b"9 {}".to_vec()), modified: 14, ..changes[0].clone() };
    (changes, bad)
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (changes, bad) = changes();
    let mut replica = Replica::default();
    replica.apply(&changes);
    let (mut file, empty, problem) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert_eq!((empty.position, problem), (FleetPosition::default(), None));
    let rows = changes.iter().map(|change| saved(change, true)).collect();
    file.write(&rows, &position(), replica.digest(), false).unwrap();
    drop(file);
    let (mut file, read, _) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert_eq!(read.position, position());
    assert_eq!(read.replica.digest(), replica.digest());
    assert!(read.account.zone_of_record(7).is_some());
    // A newer value that makes no sense: the last good one is what a start serves.
    replica.apply(std::slice::from_ref(&bad));
    file.write(&BTreeMap::from([saved(&bad, false)]), &position(), replica.digest(), false).unwrap();
    drop(file);
    let (mut file, read, _) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert_eq!(read.replica.digest(), replica.digest());
    assert_eq!(read.replica.bad().len(), 1);
    assert!(read.account.zone_of_record(7).is_some());
    let gone: BTreeMap<_, _> =
        changes.iter().map(|change| saved(&RowChange { value: None, ..change.clone() }, true)).collect();
    file.write(&gone, &position(), 0, false).unwrap();
    drop(file);
    let (_, read, problem) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert!(read.replica.is_empty() && read.replica.bad().is_empty() && problem.is_none());
}

#[test]
fn a_whole_snapshot_takes_the_place_of_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let (changes, _) = changes();
    let (mut file, ..) = SnapshotFile::open(folder.path(), "/f").unwrap();
    let mut replica = Replica::default();
    replica.apply(&changes);
    let rows = changes.iter().map(|change| saved(change, true)).collect();
    file.write(&rows, &position(), replica.digest(), false).unwrap();
    file.write(&BTreeMap::new(), &position(), 0, true).unwrap();
    drop(file);
    let (_, read, problem) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert!(read.replica.is_empty() && problem.is_none());
}

#[test]
fn a_file_that_is_damaged_or_of_another_fleet_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SNAPSHOT);
    let (changes, _) = changes();
    let write = |digest: Option<u64>| {
        let _ = fs::remove_file(&path);
        let (mut file, ..) = SnapshotFile::open(folder.path(), "/f").unwrap();
        let mut replica = Replica::default();
        replica.apply(&changes);
        let rows = changes.iter().map(|change| saved(change, true)).collect();
        file.write(&rows, &position(), digest.unwrap_or(replica.digest()), false).unwrap();
    };
    let opened = |prefix: &str| {
        let (_, read, problem) = SnapshotFile::open(folder.path(), prefix).unwrap();
        assert!(read.replica.is_empty() && read.position == FleetPosition::default());
        problem.unwrap()
    };
    write(None);
    assert!(opened("/other").contains("of the fleet `/f`"));
    write(Some(1));
    assert!(opened("/f").contains("not those that were written"));
    fs::write(&path, b"").unwrap();
    assert!(opened("/f").contains("empty"));
    fs::write(&path, vec![7; 10_000]).unwrap();
    opened("/f");
    write(None);
    let whole = fs::read(&path).unwrap();
    for length in [1, 100, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..length]).unwrap();
        opened("/f");
    }
    write(None);
    let open = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert!(
        SnapshotFile::open(folder.path(), "/f").is_err(),
        "another process has it open: it is left alone"
    );
    drop(open);
}

#[test]
fn what_cannot_be_opened_costs_the_snapshot_alone_and_is_replaced_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SNAPSHOT);
    fs::create_dir(&path).unwrap();
    let (mut file, read, problem) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert!(read.replica.is_empty());
    assert!(problem.unwrap().contains("not a regular file"));
    let (changes, _) = changes();
    let mut replica = Replica::default();
    replica.apply(&changes);
    let rows = changes.iter().map(|change| saved(change, true)).collect();
    assert!(file.write(&rows, &position(), replica.digest(), false).is_err());
    // A former snapshot comes to light, as after a change of its mode: its rows are those of long ago.
    fs::remove_dir(&path).unwrap();
    let other = tempfile::tempdir().unwrap();
    let (mut former, ..) = SnapshotFile::open(other.path(), "/f").unwrap();
    let old = RowChange { key: "line/old".into(), value: Some(b"1 {}".to_vec()), modified: 3 };
    former.write(&BTreeMap::from([saved(&old, true)]), &position(), 1, false).unwrap();
    drop(former);
    fs::rename(other.path().join(SNAPSHOT), &path).unwrap();
    file.write(&rows, &position(), replica.digest(), false).unwrap();
    drop(file);
    let (_, read, problem) = SnapshotFile::open(folder.path(), "/f").unwrap();
    assert_eq!((read.replica.digest(), problem), (replica.digest(), None));
    // A directory that cannot be made.
    let (_, read, problem) = SnapshotFile::open(&path.join("below"), "/f").unwrap();
    assert!(read.replica.is_empty() && problem.is_some());
}
