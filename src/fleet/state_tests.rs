//! What comes into force, what is held, and what the snapshot gets.

use super::*;
use crate::account::Edit;
use crate::account::tests::{record, zone};
use crate::fleet::head::shown_digest;
use crate::fleet::row;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An empty state, and how often it has published.
fn state(hold: bool) -> (Arc<FleetState>, Arc<AtomicUsize>) {
    let published = Arc::new(AtomicUsize::new(0));
    let count = published.clone();
    let publish = move |_: &Account, _: &Dirty| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let state = FleetState::new(SavedFleet::default(), ZoneSemantics::default(), hold, Box::new(publish));
    (state, published)
}

/// A step whose head has the digest of the rows.
fn step(state: &FleetState, revision: i64, edits: &[Edit]) -> FleetStep {
    let mut changes = row::changes(edits).unwrap();
    changes.iter_mut().for_each(|change| change.modified = revision);
    let (_, preview) = state.preview(&changes);
    let head = FleetHead {
        rows: preview.rows,
        digest: shown_digest(preview.digest),
        change: revision.to_string(),
        ..FleetHead::default()
    };
    let position = FleetPosition { cluster: 9, revision, watched: revision, head };
    FleetStep { position, changes, accepted: false, compared: false, rewound: false }
}

fn many(count: u64) -> Vec<Edit> {
    let records = (1..=count).map(|id| Edit::Record(record(id, 1, (id % 200) as u8, 1, "default", true)));
    [Edit::Zone(zone(1, &[0]))].into_iter().chain(records).collect()
}

#[test]
fn a_step_counts_once_and_an_older_one_not_at_all() {
    let (state, published) = state(true);
    assert!(state.ground().is_none() && !state.wait_known(Duration::from_millis(1)), "nothing is known yet");
    let first = step(&state, 10, &many(3));
    assert_eq!(state.apply(first.clone()), StepResult::Applied(true));
    assert_eq!(state.apply(first), StepResult::Known);
    let old = step(&state, 9, &[Edit::DropRecord(1)]);
    assert_eq!(state.apply(old), StepResult::Known);
    let (revision, account) = state.ground().unwrap();
    assert_eq!((revision, account.zone_of_record(1).is_some()), (10, true));
    assert_eq!(published.load(Ordering::Relaxed), 1);
}

#[test]
fn a_comparison_that_is_older_than_what_is_in_force_counts_only_after_a_restore() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(3)));
    let mut old = step(&state, 9, &[Edit::DropRecord(1)]);
    old.compared = true;
    assert_eq!(state.apply(old.clone()), StepResult::Known);
    old.rewound = true;
    assert_eq!(state.apply(old), StepResult::Applied(true));
    assert_eq!(state.position().revision, 9);
}

#[test]
fn a_lost_change_shows_in_the_digest() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(3)));
    let mut lacking = step(&state, 11, &[Edit::DropRecord(1), Edit::DropRecord(2)]);
    lacking.changes.pop();
    assert_eq!(state.apply(lacking), StepResult::Applied(false));
    assert!(!state.view().is_whole);
}

#[test]
fn more_than_half_waits_until_it_is_accepted() {
    let (state, published) = state(true);
    state.apply(step(&state, 10, &many(300)));
    let mut removal = step(&state, 11, &[Edit::DropRecords((1..=200).collect())]);
    assert_eq!(state.apply(removal.clone()), StepResult::Held);
    assert_eq!(state.view().held, Some(HeldRemoval { revision: 11, removes: 200, of: 301 }));
    assert_eq!((state.position().revision, published.load(Ordering::Relaxed)), (10, 1));
    state.set_phase(FleetPhase::Following, None);
    assert_eq!(state.view().phase, FleetPhase::Held);
    removal.accepted = true;
    assert_eq!(state.apply(removal), StepResult::Applied(true));
    assert_eq!(state.view().held, None);
    assert_eq!(state.view().rows, 101);
}

#[test]
fn a_store_that_has_lost_its_head_removes_nothing_until_it_is_accepted() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(3)));
    let mut wiped =
        step(&state, 11, &[Edit::DropRecords((1..=3).collect()), Edit::DropZone(zone(1, &[0]).id)]);
    wiped.position = FleetPosition { cluster: 8, revision: 0, watched: 1, head: FleetHead::default() };
    (wiped.compared, wiped.rewound) = (true, true);
    assert_eq!(state.apply(wiped.clone()), StepResult::Held);
    assert_eq!((state.view().rows, state.position().revision), (4, 10));
    wiped.accepted = true;
    assert_eq!(state.apply(wiped), StepResult::Applied(true));
    assert_eq!(state.view().rows, 0);
}

#[test]
fn what_may_not_be_of_the_head_stays_in_doubt() {
    let (state, _) = state(true);
    assert!(!state.is_in_doubt());
    state.apply(step(&state, 10, &many(3)));
    let mut lacking = step(&state, 11, &[Edit::DropRecord(1), Edit::DropRecord(2)]);
    lacking.changes.pop();
    state.apply(lacking);
    assert!(state.is_in_doubt());
    // A start from the snapshot of such rows knows it too.
    let saved = SavedFleet { position: state.position(), ..Default::default() };
    let again = FleetState::new(saved, ZoneSemantics::default(), true, Box::new(|_: &Account, _: &Dirty| ()));
    assert!(again.is_in_doubt() && !again.view().is_whole);
    state.apply(step(&state, 12, &[Edit::DropRecord(2)]));
    assert!(!state.is_in_doubt());
}

#[test]
fn what_was_asked_of_this_node_is_not_held_and_holding_can_be_switched_off() {
    let (own, _) = state(true);
    own.apply(step(&own, 10, &many(300)));
    own.expect_own("11");
    assert_eq!(
        own.apply(step(&own, 11, &[Edit::DropRecords((1..=200).collect())])),
        StepResult::Applied(true)
    );
    let (free, _) = state(false);
    free.apply(step(&free, 10, &many(300)));
    assert_eq!(
        free.apply(step(&free, 11, &[Edit::DropRecords((1..=200).collect())])),
        StepResult::Applied(true)
    );
}

#[test]
fn a_record_without_its_zone_is_named_and_comes_with_it() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &[Edit::Zone(zone(2, &[0]))]));
    let orphan = step(&state, 11, &[Edit::Record(record(1, 1, 1, 1, "default", true))]);
    assert_eq!(state.apply(orphan), StepResult::Applied(true));
    assert_eq!(state.view().bad, (1, vec![("record/00000000000000000001".into(), NO_ZONE.into())]));
    // The zone alone brings no record: all rows are to be read.
    assert_eq!(state.apply(step(&state, 12, &[Edit::Zone(zone(1, &[0]))])), StepResult::Applied(false));
    let mut all =
        step(&state, 12, &[Edit::Zone(zone(1, &[0])), Edit::Record(record(1, 1, 1, 1, "default", true))]);
    all.compared = true;
    assert_eq!(state.apply(all), StepResult::Applied(true));
    assert!(state.ground().unwrap().1.zone_of_record(1).is_some());
}

#[test]
fn a_bad_row_leaves_the_last_good_value_in_force() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(1)));
    let mut bad = step(&state, 11, &[Edit::Record(record(1, 1, 1, 2, "default", true))]);
    bad.changes[0].value = Some(b"1 {}".to_vec());
    let (_, preview) = state.preview(&bad.changes);
    bad.position.head.digest = shown_digest(preview.digest);
    assert_eq!(state.apply(bad), StepResult::Applied(true));
    let (_, account) = state.ground().unwrap();
    assert_eq!(account.zone_of_record(1).unwrap().records.get(1).unwrap().value, "10.0.0.1");
    assert_eq!(state.view().bad.0, 1);
}

#[test]
fn what_cannot_be_saved_is_bounded_and_read_again() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(3)));
    let unsaved = state.take_unsaved().unwrap();
    assert_eq!(unsaved.rows.len(), 4);
    state.saved(unsaved, Some("the disk is full".into()));
    assert_eq!(state.view().snapshot_fault.as_deref(), Some("the disk is full"));
    let again = state.take_unsaved().unwrap();
    assert_eq!(again.rows.len(), 4, "they wait");
    let mut large = again;
    large
        .rows
        .insert("line/x".into(), SavedRow { value: Some(vec![0; UNSAVED + 1]), modified: 1, good: true });
    state.saved(large, Some("the disk is full".into()));
    assert!(!state.snapshot_lacks(), "not while it cannot be written anyway");
    state.saved(state.take_unsaved().unwrap(), None);
    assert!(state.snapshot_lacks());
    assert_eq!(state.difference(&BTreeMap::from([("zone/x".into(), 1)]), false).wanted.len(), 1);
    state.begin_whole_snapshot();
    assert!(state.take_unsaved().unwrap().whole);
}

#[test]
fn whoever_waits_for_another_head_is_woken() {
    let (state, _) = state(true);
    state.apply(step(&state, 10, &many(1)));
    assert!(!state.wait_beyond(10, Duration::from_millis(1)));
    assert!(state.wait_beyond(9, Duration::from_millis(1)));
    let waiting = state.clone();
    let waiter = std::thread::spawn(move || waiting.wait_for(11, Duration::from_secs(60)));
    state.apply(step(&state, 11, &[Edit::DropRecord(1)]));
    assert!(waiter.join().unwrap());
}
