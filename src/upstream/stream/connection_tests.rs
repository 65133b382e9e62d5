//! Tests of the ids on a connection.

use super::*;
use std::collections::BTreeSet;

/// A query and the channel of its reply.
type Waits = oneshot::Receiver<Result<Vec<u8>, AttemptError>>;

/// Opens a question with an id of its own and a number in its body; the id that it has on the connection.
fn ask(open: &OpenQueries, id: u16, number: u32) -> (Option<u16>, Waits) {
    let (reply, waits) = oneshot::channel();
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0; HEADER - 2]);
    message.extend(number.to_be_bytes());
    let mut batch = Vec::new();
    open.append(StreamQuery { message, reply }, &mut batch);
    (batch.get(2..4).map(|id| u16::from_be_bytes([id[0], id[1]])), waits)
}

/// A reply under an id, with a number.
fn reply(id: u16, number: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[0x80; HEADER - 2], &number.to_be_bytes()].concat()
}

/// The id and the number in what came.
fn came(waits: &mut Waits) -> (u16, u32) {
    let message = waits.try_recv().unwrap().unwrap();
    let number = message[HEADER..].first_chunk().unwrap();
    (u16::from_be_bytes([message[0], message[1]]), u32::from_be_bytes(*number))
}

#[tokio::test]
async fn with_all_ids_open_they_wrap_and_no_two_answers_are_mixed_up() {
    let open = OpenQueries::default();
    let mut waiting = Vec::new();
    // all begin at one id, so that they go on beyond the last one; the others fill what is left
    for number in 0..65_536_u32 {
        let own = if number < 100 { 0xfff0 } else { (0x54 + (number - 100)) as u16 };
        let (id, waits) = ask(&open, own, number);
        waiting.push((own, id.unwrap(), number, waits));
    }
    assert_eq!(waiting[15].1, 0xffff);
    assert_eq!(waiting[16].1, 0, "it wraps");
    let ids: BTreeSet<u16> = waiting.iter().map(|(_, id, ..)| *id).collect();
    assert_eq!(ids.len(), 65_536, "each has an id of its own");
    let (none, mut refused) = ask(&open, 7, 65_536);
    assert_eq!(none, None, "nothing is sent under an id that is taken");
    assert!(matches!(refused.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    // answers come in another order
    for step in 0..65_536_usize {
        let (own, id, number, waits) = &mut waiting[step * 40_503 % 65_536];
        assert!(open.hand_over(&reply(*id, *number)));
        assert_eq!(came(waits), (*own, *number));
        assert!(!open.hand_over(&reply(*id, *number)), "a second reply is a stranger");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_is_free_again_when_its_late_reply_can_no_longer_come() {
    let open = OpenQueries::default();
    let (id, gone) = ask(&open, 5, 1);
    drop(gone);
    assert_eq!((id, ask(&open, 5, 2).0), (Some(5), Some(6)), "a late reply to the first may come");
    assert!(open.hand_over(&reply(5, 1)), "it is no stranger");
    let (id, mut waits) = ask(&open, 5, 3);
    assert_eq!(id, Some(5));
    assert!(open.hand_over(&reply(5, 3)));
    assert_eq!(came(&mut waits), (5, 3));
    let (_, gone) = ask(&open, 9, 4);
    drop(gone);
    tokio::time::advance(TIMEOUT * 2).await;
    open.oldest(Instant::now());
    assert_eq!(ask(&open, 9, 5).0, Some(9));
}
