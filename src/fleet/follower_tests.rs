//! What a newer head in etcd says of a watch.

use super::*;
use crate::fleet::messages::{EtcdHeader, WatchResponse};

/// A watch that has come to a revision.
fn watch(watched: i64) -> WatchState {
    let mut watch = WatchState::new(FleetKeys::new("/f"), 9, 1);
    let header = EtcdHeader { cluster: 9, member: 1, revision: watched };
    assert_eq!(watch.take(WatchResponse { header, ..WatchResponse::default() }), []);
    watch
}

#[test]
fn a_head_that_the_watch_has_passed_by_is_lost() {
    assert_eq!(lost(10, 10, &watch(10)), LostHead::None);
    assert_eq!(lost(9, 10, &watch(10)), LostHead::None, "of a member that lags");
    assert_eq!(lost(12, 10, &watch(11)), LostHead::Late);
    assert_eq!(lost(12, 10, &watch(12)), LostHead::Lost);
    assert_eq!(lost(12, 10, &watch(15)), LostHead::Lost, "a progress notice moved the watch on");
}

#[test]
fn a_watch_does_not_begin_after_a_head_that_is_not_in_force() {
    let missed = |head: i64, revision, watched| {
        let look = FirstLook { head: Some((head, FleetHead::default())), ..FirstLook::default() };
        has_missed(&look, &FleetPosition { cluster: 9, revision, watched, head: FleetHead::default() })
    };
    assert!(missed(12, 10, 15) && missed(12, 10, 12));
    assert!(!missed(12, 10, 11), "the watch brings it");
    assert!(!missed(12, 12, 15) && !missed(9, 10, 15));
}
