//! Tests of files that are read again.

use super::*;
use std::fs;
use std::path::Path;

/// A folder with a configuration of one zone file and one hosts file, and what is watched of it.
fn world() -> (tempfile::TempDir, WatchPlan) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.zone", "$INCLUDE inner\nwww A 192.0.2.1\n");
    write("inner", "in A 192.0.2.2\n");
    write("hosts", "192.0.2.3 h\n");
    let text = "[[zone]]\nname = \"a.example\"\nfile = \"a.zone\"\n[[hosts]]\nfile = \"hosts\"\n";
    let config = crate::config::parse(text, &folder.path().join("pvtzd.toml")).unwrap().0;
    let plan = WatchPlan::new(&config, Vec::new());
    assert_eq!(plan.len(), 3);
    (folder, plan)
}

/// The groups that a look finds.
fn look(plan: &mut WatchPlan) -> Vec<usize> {
    plan.look(&mut 0, Instant::now())
}

fn zone(change: Option<Change>) -> Loaded<PackedZone> {
    match change {
        Some(Change::Zone(0, loaded)) => loaded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_included_file_has_its_zone_read_again_and_nothing_else() {
    let (folder, mut plan) = world();
    assert_eq!(look(&mut plan), [0; 0]);
    fs::write(folder.path().join("inner"), "in A 192.0.2.4\nmore A 192.0.2.5\n").unwrap();
    assert_eq!(look(&mut plan), [0]);
    assert_eq!(zone(plan.read(0)).content.unwrap().owners.len(), 3);
    assert_eq!(look(&mut plan), [0; 0]);
}

#[test]
fn a_file_with_a_fault_is_read_again_once_it_changes_only() {
    let (folder, mut plan) = world();
    fs::write(folder.path().join("inner"), "in A x\n").unwrap();
    assert_eq!(look(&mut plan), [0]);
    let error = zone(plan.read(0)).content.unwrap_err();
    assert!(error.to_string().contains("inner:1: `x` is not an IPv4 address"), "{error}");
    assert_eq!(look(&mut plan), [0; 0]);
    fs::write(folder.path().join("inner"), "in A 192.0.2.4\n").unwrap();
    assert_eq!(look(&mut plan), [0]);
    assert!(zone(plan.read(0)).content.is_ok());
}

#[test]
fn what_is_no_readable_file_is_told_and_tried_again() {
    let (folder, mut plan) = world();
    let path = folder.path().join("a.zone");
    let mut check = |change: &dyn Fn(&Path), part: &str| {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        change(&path);
        assert_eq!(look(&mut plan), [0], "{part}");
        let error = zone(plan.read(0)).content.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(look(&mut plan), [0; 0], "{part}");
        let later = Instant::now() + RETRY;
        assert_eq!(plan.look(&mut 0, later), [0], "{part}");
        assert!(plan.read(0).is_some());
    };
    check(&|_| {}, "No such file");
    check(&|path| fs::create_dir(path).unwrap(), "a directory");
    let make_pipe = |path: &Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    check(&make_pipe, "a pipe");
}

#[test]
fn many_files_are_looked_at_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let file = WatchedFile::now(&path);
    let group = WatchedGroup { target: WatchTarget::Config, files: vec![file].into(), retry: None };
    let mut plan = WatchPlan { round: 0, groups: vec![group; 2 * AT_A_TIME + 1] };
    fs::write(&path, "other").unwrap();
    let mut next = 0;
    let mut seen: Vec<usize> = (0..3).flat_map(|_| plan.look(&mut next, Instant::now())).collect();
    assert_eq!(seen.len(), 3 * AT_A_TIME);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), plan.groups.len());
}

#[tokio::test]
async fn several_writes_at_once_are_one_change_and_a_former_configuration_has_none() {
    let (folder, plan) = world();
    let mut files = WatchedFiles::new();
    files.watch(plan.clone());
    for last in 5..15 {
        fs::write(folder.path().join("hosts"), format!("192.0.2.{last} h\n192.0.2.{last} i\n")).unwrap();
    }
    let change = files.changed().await;
    assert!(matches!(&change, Change::Hosts(0, loaded) if loaded.content.as_ref().unwrap().len() == 2));
    fs::write(folder.path().join("inner"), "").unwrap();
    let waiting = files.changed().await;
    assert!(matches!(waiting, Change::Zone(0, _)), "and not the hosts file once more: {waiting:?}");
    files.watch(WatchPlan::default());
    let (changes, round) = (files.changes.0.clone(), files.round);
    tokio::spawn(async move {
        for round in [round - 1, round] {
            changes.send((round, Change::Config)).await.unwrap();
        }
    });
    assert!(matches!(files.changed().await, Change::Config));
    assert!(files.changes.1.is_empty());
}
