//! What a follower makes of its watch: in order, cut, twice, late, ended.

use super::*;
use crate::fleet::head::RedoLog;
use crate::fleet::messages::{EtcdHeader, EtcdRow};
use proptest::prelude::*;

fn keys() -> FleetKeys {
    FleetKeys::new("/f")
}

fn watch() -> WatchState {
    WatchState::new(keys(), 9, 10)
}

fn row(key: &str, revision: i64) -> EtcdEvent {
    let row = EtcdRow { key: keys().row(key).into(), value: b"v".to_vec(), modified: revision, version: 1 };
    EtcdEvent { removed: false, row }
}

fn head(seq: u64, revision: i64, redo: bool) -> EtcdEvent {
    let redo = redo.then(|| RedoLog { id: "x".into(), parts: 1, rows: 0, digest: String::new() });
    let value = serde_json::to_vec(&FleetHead { seq, redo, ..FleetHead::default() }).unwrap();
    let row = EtcdRow { key: keys().head().into(), value, modified: revision, version: 1 };
    EtcdEvent { removed: false, row }
}

fn answer(revision: i64, events: Vec<EtcdEvent>) -> WatchResponse {
    let header = EtcdHeader { cluster: 9, member: 1, revision };
    WatchResponse { header, events, ..WatchResponse::default() }
}

/// The changes of an action, as keys.
fn applied(actions: &[FollowAction]) -> Vec<(i64, u64, Vec<&str>)> {
    let each = actions.iter().map(|action| match action {
        FollowAction::Apply { revision, head, changes } => {
            (*revision, head.seq, changes.iter().map(|change| &*change.key).collect())
        }
        other => panic!("{other:?}"),
    });
    each.collect()
}

#[test]
fn a_change_counts_once_its_head_has_come() {
    let mut watch = watch();
    assert_eq!(watch.take(answer(11, vec![row("a/1", 11)])), []);
    assert!(watch.has_loose_rows());
    let actions = watch.take(answer(12, vec![row("a/2", 12), head(1, 12, false)]));
    assert_eq!(applied(&actions), [(12, 1, vec!["a/1", "a/2"])]);
    assert!(!watch.has_loose_rows());
    assert_eq!(watch.watched(), 12);
}

#[test]
fn what_is_known_is_passed_over_and_a_cut_revision_waits() {
    let mut watch = watch();
    assert_eq!(watch.take(answer(10, vec![row("a/1", 9), head(1, 10, false)])), []);
    let mut first = answer(11, vec![row("a/1", 11)]);
    first.fragment = true;
    assert_eq!(watch.take(first), []);
    let actions = watch.take(answer(11, vec![head(2, 11, false)]));
    assert_eq!(applied(&actions), [(11, 2, vec!["a/1"])]);
    assert_eq!(watch.take(answer(11, vec![row("a/1", 11), head(2, 11, false)])), [], "twice");
}

#[test]
fn a_large_change_is_published_when_it_is_whole() {
    let mut watch = watch();
    assert_eq!(watch.take(answer(11, vec![head(5, 11, true)])), [FollowAction::RedoBegun]);
    assert_eq!(watch.take(answer(12, vec![row("a/1", 12)])), []);
    assert!(watch.is_in_redo() && !watch.has_loose_rows());
    let actions = watch.take(answer(13, vec![head(5, 13, false)]));
    assert_eq!(applied(&actions), [(13, 5, vec!["a/1"])]);
    assert!(!watch.is_in_redo());
}

#[test]
fn more_than_can_wait_is_compared_in_the_end() {
    let mut watch = watch();
    watch.take(answer(11, vec![head(5, 11, true)]));
    for revision in 12..32 {
        let mut large = row("a/1", revision);
        large.row.value = vec![b'x'; 1 << 20];
        assert_eq!(watch.take(answer(revision, vec![large])), []);
        assert!(watch.waiting.iter().map(RowChange::octets).sum::<usize>() <= WAITING + (1 << 20));
    }
    let actions = watch.take(answer(40, vec![head(5, 40, false)]));
    assert_eq!(actions, [FollowAction::Compare { whole: false, why: "a large change" }]);
    assert_eq!(applied(&watch.take(answer(41, vec![head(6, 41, false)]))), [(41, 6, vec![])]);
}

#[test]
fn a_watch_that_ends_tells_why() {
    let end = |response: WatchResponse| watch().take(response).remove(0);
    let ended = |reason: &str, created| {
        end(WatchResponse { canceled: true, created, reason: reason.into(), ..WatchResponse::default() })
    };
    assert!(matches!(ended("etcdserver: permission denied", true), FollowAction::Login(_)));
    assert!(matches!(ended("rpc error: invalid auth token", false), FollowAction::Login(_)));
    assert!(matches!(ended("", true), FollowAction::Login(_)), "some versions do not name it");
    assert!(matches!(ended("etcdserver: no leader", false), FollowAction::Restart(_)));
    let compacted = WatchResponse { canceled: true, compact_revision: 50, ..WatchResponse::default() };
    assert!(matches!(end(compacted), FollowAction::Compare { whole: false, .. }));
    let other = EtcdHeader { cluster: 8, member: 1, revision: 50 };
    assert!(matches!(
        end(WatchResponse { header: other, ..WatchResponse::default() }),
        FollowAction::Restart(_)
    ));
}

#[test]
fn a_head_that_is_gone_or_odd_has_the_rows_compared() {
    let mut gone = head(1, 11, false);
    gone.removed = true;
    assert!(matches!(watch().take(answer(11, vec![gone]))[..], [FollowAction::Compare { whole: false, .. }]));
    let mut odd = head(1, 11, false);
    odd.row.value = b"{".to_vec();
    assert!(matches!(watch().take(answer(11, vec![odd]))[..], [FollowAction::Compare { whole: false, .. }]));
}

#[test]
fn progress_moves_on_without_events() {
    let mut watch = watch();
    assert_eq!(watch.take(answer(500, Vec::new())), []);
    assert_eq!(watch.watched(), 500);
}

#[test]
fn a_watch_that_contradicts_itself_begins_anew() {
    let restarts =
        |watch: &mut WatchState, response| matches!(watch.take(response)[..], [FollowAction::Restart(_)]);
    let mut back = watch();
    assert_eq!(back.take(answer(500, Vec::new())), []);
    assert!(
        restarts(&mut back, answer(12, vec![row("a/1", 12), head(1, 12, false)])),
        "500 was a lie, or this is"
    );
    assert!(restarts(&mut watch(), answer(11, vec![row("a/1", 12)])), "an event of the future");
    for revision in [i64::MAX, -1, 0] {
        assert!(restarts(&mut watch(), answer(revision, Vec::new())), "{revision}");
    }
    let mut nameless = answer(11, Vec::new());
    nameless.header.cluster = 0;
    assert!(restarts(&mut watch(), nameless));
    let mut twice = watch();
    let one = answer(12, vec![row("a/1", 12), head(1, 12, false)]);
    assert_eq!(applied(&twice.take(one.clone())), [(12, 1, vec!["a/1"])]);
    assert_eq!(twice.take(one), [], "the same once more is no contradiction");
}

#[test]
fn events_without_octets_are_bounded_too() {
    let mut watch = watch();
    let nothing = EtcdEvent { removed: false, row: EtcdRow { modified: 11, ..EtcdRow::default() } };
    let most = 4 * WAITING / EVENT;
    for _ in 0..most / 1000 {
        let mut some = answer(11, vec![nothing.clone(); 1000]);
        some.fragment = true;
        assert_eq!(watch.take(some), []);
    }
    let mut more = answer(11, vec![nothing; 1000]);
    more.fragment = true;
    assert!(matches!(watch.take(more)[..], [FollowAction::Restart(_)]));
}

proptest! {
    /// However the events of some commits are cut into answers, and whatever of them comes twice, each commit's rows come
    /// into force with its head or a later one, in order.
    #[test]
    fn any_cut_comes_to_the_same(rows in proptest::collection::vec(0usize..4, 1..12), cuts in proptest::collection::vec(0usize..3, 0..60)) {
        let mut events = Vec::new();
        for (number, count) in rows.iter().enumerate() {
            let revision = 11 + number as i64;
            events.push((0..*count).map(|at| row(&format!("r/{revision}-{at}"), revision)).chain([head(number as u64, revision, false)]).collect::<Vec<_>>());
        }
        let (mut watch, mut found, mut place, mut cuts) = (watch(), Vec::new(), 0, cuts.into_iter());
        while place < events.len() {
            let some = cuts.next().unwrap_or(1).clamp(0, events.len() - place);
            let again = place.saturating_sub(1);
            let twice: Vec<EtcdEvent> = events[again..place + some].iter().flatten().cloned().collect();
            let newest = 10 + (place + some) as i64;
            let actions = watch.take(answer(newest, twice));
            for (_, _, keys) in applied(&actions) {
                found.extend(keys.into_iter().map(str::to_string));
            }
            place += some.max(usize::from(some == 0 && cuts.len() == 0));
            if some == 0 && cuts.len() == 0 { break; }
        }
        let all: Vec<String> = events[..place.min(events.len())].iter().flatten()
            .filter_map(|event| keys().row_of(&event.row.key).map(str::to_string)).collect();
        prop_assert!(found.len() <= all.len());
        prop_assert_eq!(&found[..], &all[..found.len()]);
    }
}

#[test]
fn changes_that_wait_are_published_together_and_nothing_else_is_put_off() {
    let apply = |revision, rows: usize| {
        let row = RowChange { key: "zone/z".into(), value: None, modified: revision };
        let head = FleetHead { seq: revision as u64, ..FleetHead::default() };
        FollowAction::Apply { revision, head, changes: vec![row; rows] }
    };
    let mut actions = Vec::new();
    assert!(may_wait(&actions));
    follow_with(&mut actions, apply(5, 2));
    follow_with(&mut actions, apply(6, 1));
    let [FollowAction::Apply { revision: 6, head, changes }] = &*actions else { panic!("{actions:?}") };
    assert_eq!((head.seq, changes.len()), (6, 3), "the newest head, all rows");
    assert!(may_wait(&actions));
    follow_with(&mut actions, apply(7, TOGETHER));
    assert!(!may_wait(&actions), "enough for one");
    follow_with(&mut actions, FollowAction::RedoBegun);
    follow_with(&mut actions, apply(8, 1));
    assert_eq!(actions.len(), 3, "in their order");
    assert!(!may_wait(&[FollowAction::RedoBegun]));
}
