//! What is looked up of a transaction whose outcome is not known.

use super::*;
use crate::fleet::messages::EtcdRow;

#[test]
fn an_outcome_is_told_by_head_and_last_change() {
    let row = |modified, value: &str| vec![EtcdRow { modified, value: value.into(), ..EtcdRow::default() }];
    let end = |head: i64, last: Vec<EtcdRow>| {
        let head = if head == 0 { Vec::new() } else { row(head, "{}") };
        match ended(&[head, last], 7, "mine") {
            None => "may still come",
            Some(TxnEnd::Lost) => "lost",
            Some(TxnEnd::Done(8)) => "done",
            Some(TxnEnd::Done(_)) => "odd",
        }
    };
    assert_eq!(end(8, row(8, "mine")), "done");
    assert_eq!(end(12, row(8, "mine")), "done", "others have changed more since");
    assert_eq!(end(7, row(5, "former")), "may still come", "the head is what it is held against");
    assert_eq!(end(8, row(5, "former")), "lost", "it cannot be carried out any more");
    assert_eq!(end(8, Vec::new()), "lost");
    assert_eq!(end(0, Vec::new()), "lost", "the head is gone");
}
