//! Tests of a race's state.

use super::*;
use crate::upstream::GroupOptions;

#[test]
fn a_server_whose_limit_is_met_is_still_listened_to() {
    let servers = ["192.0.2.1", "192.0.2.2"].map(|server| server.parse().unwrap()).to_vec();
    let options = GroupOptions { max_in_flight: 1, ..GroupOptions::default() };
    let group = Group::new("test".to_owned(), servers, options);
    let mut race = Race::new(&group);
    let (first, permit) = race.next(true).unwrap();
    let (second, other) = race.next(false).unwrap();
    assert_eq!((first, second), (0, 1));
    assert!(race.next(false).is_none(), "neither takes a second query");
    assert!(!race.may_go_on());
    drop(other);
    race.failed(second, AttemptError::Rcode(ResponseCode::ServFail));
    assert_eq!(race.patience(), None, "the first has not answered yet");
    drop(permit);
    let failure = race.failure();
    assert_eq!(failure.attempts.iter().map(|attempt| attempt.tries).sum::<u32>(), 2);
}
