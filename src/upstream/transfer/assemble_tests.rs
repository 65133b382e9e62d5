//! Transfers that are what they should be, and those that are not.

use super::*;
use crate::engine::name::parse;
use crate::upstream::transfer::content::tests::soa;
use proptest::prelude::*;

/// A record for a message.
#[derive(Clone, Copy)]
enum R {
    /// The SOA record of the zone with a serial.
    Soa(u32),
    /// An address record: owner and last octet.
    A(&'static str, u8),
}
use R::{A, Soa};

fn apex() -> NameKey {
    NameKey::of(&parse("corp.test").unwrap())
}

/// A message of an answer.
fn message(question: u16, records: &[R]) -> Vec<u8> {
    let mut message = vec![0, 7, 0x84, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    message.extend(apex().wire());
    message.extend(question.to_be_bytes());
    message.extend([0, 1]);
    for record in records {
        let (owner, rtype, data) = match record {
            Soa(serial) => (apex(), 6, soa(*serial).data),
            A(owner, last) => (NameKey::of(&parse(owner).unwrap()), 1, vec![192, 0, 2, *last]),
        };
        message.extend(owner.wire());
        message.extend([0, rtype, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        message.extend(data);
    }
    message
}

/// The result for messages with these records.
fn transfer(since: Option<u32>, messages: &[&[R]]) -> Result<String, TransferFault> {
    let question = if since.is_some() { 251 } else { 252 };
    let mut assembler = Assembler::new(apex(), since, 1 << 20);
    for (place, records) in messages.iter().enumerate() {
        let message = message(question, records);
        let is_last = assembler.take(&message, &MessageParts::of(&message).unwrap())?;
        assert!(!is_last || place + 1 == messages.len(), "it ends with message {place}");
    }
    Ok(match assembler.finish() {
        None => "goes on".into(),
        Some((TransferContent::Current, _)) => "current".into(),
        Some((TransferContent::Whole(zone), outside)) => {
            format!("{}: {} records, {outside} outside", zone.soa.serial(), zone.len())
        }
        Some((TransferContent::Changes(changes), _)) => changes
            .iter()
            .map(|it| format!("{}-{} -{} +{}", it.from, it.soa.serial(), it.deleted.len(), it.added.len()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[test]
fn whole_zones_come_in_any_number_of_messages() {
    for (since, messages, expected) in [
        (
            None,
            &[&[Soa(3), A("a.corp.test", 1), A("corp.test", 2), Soa(3)][..]][..],
            "3: 2 records, 0 outside",
        ),
        (None, &[&[Soa(3)], &[A("a.corp.test", 1)], &[], &[Soa(3)]], "3: 1 records, 0 outside"),
        (None, &[&[Soa(3), Soa(3)]], "3: 0 records, 0 outside"),
        (None, &[&[Soa(3), A("a.corp.test", 1), A("A.Corp.Test", 1), Soa(3)]], "3: 1 records, 0 outside"),
        (None, &[&[Soa(3), A("a.corp.test", 1)]], "goes on"),
        (None, &[&[Soa(3)]], "goes on"),
        (Some(2), &[&[Soa(3), A("a.corp.test", 1), Soa(3)]], "3: 1 records, 0 outside"),
    ] {
        assert_eq!(transfer(since, messages).as_deref(), Ok(expected));
    }
}

#[test]
fn records_outside_the_zone_are_left_out() {
    let records =
        [Soa(3), A("www.bank.test", 1), A("acorp.test", 2), A("test", 3), A("x.corp.test", 4), Soa(3)];
    assert_eq!(transfer(None, &[&records]).as_deref(), Ok("3: 1 records, 3 outside"));
}

#[test]
fn incremental_transfers_have_steps() {
    for (messages, expected) in [
        (&[&[Soa(2)][..]][..], "current"),
        (&[&[Soa(1)]], "current"), // the primary is behind
        (&[&[Soa(5), Soa(2), A("a.corp.test", 1), Soa(5), A("b.corp.test", 1), Soa(5)]], "2-5 -1 +1"),
        (
            &[
                &[Soa(5)],
                &[Soa(2), A("a.corp.test", 1)],
                &[Soa(4), Soa(4)],
                &[Soa(5), A("b.corp.test", 1), Soa(5)],
            ],
            "2-4 -1 +0, 4-5 -0 +1",
        ),
    ] {
        assert_eq!(transfer(Some(2), messages).as_deref(), Ok(expected));
    }
}

#[test]
fn a_primary_that_lies_is_not_believed() {
    use TransferFault::{AfterEnd, Form, NoSoa};
    let steps_back = [Soa(5), Soa(2), Soa(1), Soa(1)];
    for (since, messages, fault) in [
        (None, &[&[A("a.corp.test", 1), Soa(3)][..]][..], NoSoa),
        (None, &[&[Soa(3), A("a.corp.test", 1), Soa(4)]], NoSoa),
        (None, &[&[Soa(3), A("a.corp.test", 1), Soa(3), A("b.corp.test", 1)]], AfterEnd),
        (None, &[&[Soa(3), Soa(2)]], Form),
        (Some(2), &[&[Soa(5), Soa(3), Soa(5), Soa(5)]], Form), // does not begin with our serial
        (Some(2), &[&steps_back], Form),
        (Some(2), &[&[Soa(5), Soa(2), Soa(4), Soa(3)]], Form),
        (Some(2), &[&[Soa(5), Soa(2), Soa(5), Soa(5), A("a.corp.test", 1)]], AfterEnd),
    ] {
        assert_eq!(transfer(since, messages), Err(fault));
    }
}

#[test]
fn heads_are_checked() {
    let good = message(252, &[Soa(3)]);
    let take = |bytes: &[u8]| {
        let parts = MessageParts::of(bytes).ok_or(TransferFault::Malformed)?;
        Assembler::new(apex(), None, 1 << 20).take(bytes, &parts).map(|_| ())
    };
    assert_eq!(take(&good), Ok(()));
    for (at, octet, fault) in [
        (2, 0x04, TransferFault::Malformed),
        (2, 0x86, TransferFault::Malformed),
        (3, 5, TransferFault::Rcode(ResponseCode::Refused)),
        (13, b'd', TransferFault::OtherQuestion),
        (24, 251, TransferFault::OtherQuestion),
    ] {
        let mut odd = good.clone();
        odd[at] = octet;
        assert_eq!(take(&odd), Err(fault), "{at}");
    }
    for length in 0..good.len() {
        assert_eq!(take(&good[..length]), Err(TransferFault::Malformed), "{length}");
    }
}

#[test]
fn a_zone_without_end_ends_at_the_bound() {
    let mut assembler = Assembler::new(apex(), None, 64 << 10);
    let mut take = |records: &[R]| {
        let message = message(252, records);
        assembler.take(&message, &MessageParts::of(&message).unwrap())
    };
    take(&[Soa(1)]).unwrap();
    let mut messages = 0;
    let fault = loop {
        messages += 1;
        if let Err(fault) = take(&[A("a.corp.test", 1)]) {
            break fault;
        }
    };
    assert_eq!((fault, messages < 5000), (TransferFault::TooLarge, true), "{messages}");
    let mut empty = Assembler::new(apex(), None, 64 << 10);
    let nothing = message(252, &[]);
    let parts = MessageParts::of(&nothing).unwrap();
    assert!(
        (0..5000).any(|_| empty.take(&nothing, &parts).is_err()),
        "messages without records are bounded too"
    );
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(parts) = MessageParts::of(&octets) {
            let _ = Assembler::new(apex(), Some(1), 1 << 20).take(&octets, &parts);
        }
    }

    #[test]
    fn a_mutated_transfer_never_panics(at in 0usize..150, octet in any::<u8>()) {
        let mut octets = message(251, &[Soa(5), Soa(2), A("a.corp.test", 1), Soa(5), A("b.corp.test", 1), Soa(5)]);
        let place = at % octets.len();
        octets[place] = octet;
        if let Some(parts) = MessageParts::of(&octets) {
            let _ = Assembler::new(apex(), Some(2), 1 << 20).take(&octets, &parts);
        }
    }
}
