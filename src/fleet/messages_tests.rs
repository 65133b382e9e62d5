//! What is sent and read of messages, and what is refused.

use super::*;
use proptest::prelude::*;

#[test]
fn a_prefix_ends_before_the_next_key() {
    assert_eq!(end_of_prefix(b"/a/"), b"/a0");
    assert_eq!(end_of_prefix(b"a\xff"), b"b");
    assert_eq!(end_of_prefix(b"\xff"), [0]);
}

#[test]
fn an_event_of_an_unknown_kind_is_no_event() {
    let with = |kind| {
        let event = ProtoWriter::default().int(1, kind).message(2, ProtoWriter::default().bytes(1, b"k"));
        watch_response(&ProtoWriter::default().message(11, event).finish())
    };
    assert!(!with(0).unwrap().events[0].removed);
    assert!(with(1).unwrap().events[0].removed);
    assert!(with(2).is_err());
}

#[test]
fn small_rows_and_events_are_bounded_by_their_number() {
    let many = |count, field: u8| [field, 0].repeat(count);
    assert_eq!(range_response(&many(MOST, 0x12)).unwrap().rows.len(), MOST);
    assert!(range_response(&many(MOST + 1, 0x12)).is_err());
    assert_eq!(watch_response(&many(MOST, 0x5a)).unwrap().events.len(), MOST);
    assert!(watch_response(&many(MOST + 1, 0x5a)).is_err());
    assert!(members(&many(MOST + 1, 0x12)).is_err());
    assert!(txn_response(&many(MOST + 1, 0x1a)).is_err());
    // two results of a transaction, each below the bound
    let half = ProtoWriter::default().bytes(1, &many(MOST / 2 + 1, 0x12)).finish();
    assert!(txn_response(&ProtoWriter::default().bytes(3, &half).finish()).is_ok());
    assert!(txn_response(&ProtoWriter::default().bytes(3, &half).bytes(3, &half).finish()).is_err());
}

#[test]
fn the_header_of_an_empty_or_odd_answer_is_not_valid() {
    let of = |cluster, revision| EtcdHeader { cluster, member: 1, revision }.is_valid();
    assert!(of(9, 1) && of(u64::MAX, LATEST));
    assert!(!of(0, 5) && !of(9, 0) && !of(9, -1) && !of(9, LATEST + 1) && !of(9, i64::MAX));
    assert!(!range_response(&[]).unwrap().header.is_valid());
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets: Vec<u8>) {
        let _ = (range_response(&octets), txn_response(&octets), watch_response(&octets));
        let _ = (member_status(&octets), members(&octets), lease(&octets), token(&octets));
    }
}
