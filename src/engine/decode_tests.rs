//! Tests of how an upstream's message is taken apart.

use super::*;
use crate::engine::name::parse;
use hickory_proto::op::{Message, Query, ResponseCode};
use proptest::prelude::*;

/// A record: owner, type and data.
type Raw<'a> = (&'a [u8], u16, &'a [u8]);

/// A response to `www.test` with sections of records.
fn response(sections: [&[Raw<'_>]; 3]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1];
    sections.iter().for_each(|section| bytes.extend((section.len() as u16).to_be_bytes()));
    bytes.extend(b"\x03www\x04test\0\0\x01\0\x01");
    for (owner, rtype, data) in sections.into_iter().flatten() {
        bytes.extend_from_slice(owner);
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60]);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes
}

/// Points to `www.test`, the question; four octets on is `test`.
const QUESTION: &[u8] = b"\xc0\x0c";

fn data_of(rtype: u16, data: &[u8]) -> Option<Vec<u8>> {
    let message = message(&response([&[(QUESTION, rtype, data)], &[], &[]]))?;
    assert_eq!(message.answers.len(), 1);
    assert_eq!(u16::from(message.answers[0].record_type()), rtype);
    Some(record::to_wire(&message.answers[0].data))
}

#[test]
fn data_of_any_type_passes_through_as_it_is() {
    let empty: &[u8] = b"";
    for (rtype, data) in [
        (1000, empty),
        (65_280, empty),
        (10, empty),
        (42, empty),
        (65_305, &[1, 2]),
        (62, &[0, 0, 0, 1, 0xff, 0xff, 0, 1, 0x40]), // CSYNC with unknown flags
        (24, &[0, 1, 8, 2]),                         // SIG, cut
        (65, &[0, 1, 0, 0, 1, 0, 3, 2, 0xff, 0xfe]), // HTTPS with an ALPN id that is no UTF-8
        (61, empty),                                 // OPENPGPKEY
        (257, &[0, 200, b'x']),                      // CAA whose tag is longer than all of it
        (52, &[9]),                                  // TLSA
        (64, &[0]),                                  // SVCB
        (35, &[0, 1, 0, 1, 200]),                    // NAPTR
        (29, &[7, 7]),                               // LOC of an unknown version
        (43, &[1]),                                  // DS
        (16, &[200, b'x']),                          // TXT whose string is longer than all of it
        (46, &[0; 5]),                               // RRSIG
        (47, empty),                                 // NSEC
        (33, empty),                                 // SRV
        (13, &[3, b'c']),                            // HINFO
        (99, empty),
    ] {
        assert_eq!(data_of(rtype, data).as_deref(), Some(data), "type {rtype}");
    }
}

#[test]
fn names_that_may_be_compressed_are_expanded() {
    let www: &[u8] = b"\x03www\x04test\0";
    for (rtype, before, after) in [
        (2, &b""[..], &b""[..]),                 // NS
        (5, b"", b""),                           // CNAME
        (7, b"", b""),                           // MB
        (12, b"", b""),                          // PTR
        (15, b"\0\x0a", b""),                    // MX
        (14, b"\x01a\0", b""),                   // MINFO
        (6, b"\x01a\0", &[0; 20]),               // SOA
        (17, b"\x01a\0", b""),                   // RP
        (18, b"\0\x01", b""),                    // AFSDB
        (33, &[0, 1, 0, 2, 0, 3], b""),          // SRV
        (35, b"\0\x01\0\x01\x01s\0\x02!!", b""), // NAPTR
        (39, b"", b""),                          // DNAME
        (30, b"", &[0, 1]),                      // NXT
    ] {
        let sent = [before, QUESTION, after].concat();
        assert_eq!(data_of(rtype, &sent), Some([before, www, after].concat()), "type {rtype}");
    }
    assert_eq!(
        data_of(64, &[&[0, 1], QUESTION].concat()).unwrap(),
        [&[0, 1], QUESTION].concat(),
        "never in SVCB"
    );
}

#[test]
fn a_record_that_cannot_be_used_costs_itself() {
    for (rtype, odd) in
        [(1, &[192, 0, 2][..]), (1, &[]), (28, &[0; 17]), (5, b"\xc0\xff"), (15, b"\0"), (6, b"\0\0")]
    {
        let good: Raw<'_> = (QUESTION, 1, &[192, 0, 2, 1]);
        let message =
            message(&response([&[(QUESTION, rtype, odd), good], &[(QUESTION, rtype, odd)], &[]])).unwrap();
        assert_eq!((message.answers.len(), message.authorities.len()), (1, 0), "type {rtype}");
        // nothing is left: that is no answer, and above all no denial
        assert!(super::message(&response([&[(QUESTION, rtype, odd)], &[], &[]])).is_none(), "type {rtype}");
    }
}

#[test]
fn the_additional_section_is_not_decoded() {
    let opt: Raw<'_> = (b"\0", 41, b"");
    let odd: Raw<'_> = (QUESTION, 1, b"\x01");
    let read = message(&response([&[], &[], &[odd, opt]])).unwrap();
    assert!(read.edns.is_some() && read.additionals.is_empty());
    assert!(message(&response([&[], &[], &[opt, opt]])).is_none(), "RFC 6891 allows one OPT");
}

#[test]
fn names_lead_backwards_and_end() {
    // a pointer to itself, one forwards, one into the header, a label of a reserved type
    for owner in [b"\xc0\x1a", b"\xc0\xff", b"\xc0\x02", b"\x80a"] {
        assert!(message(&response([&[(owner, 1000, b"x")], &[], &[]])).is_none(), "{owner:?}");
    }
    // each name points to the one before, which costs as many steps as there are records
    let mut chain = response([&[(QUESTION, 1000, b"")], &[], &[]]);
    let mut last = chain.len() - 12;
    for _ in 1..300 {
        let at = chain.len();
        chain.extend(0xc000_u16.wrapping_add(last as u16).to_be_bytes());
        chain.extend([3, 232, 0, 1, 0, 0, 0, 60, 0, 0]);
        last = at;
    }
    chain[6..8].copy_from_slice(&300_u16.to_be_bytes());
    assert!(message(&chain).is_none());
}

#[test]
fn the_code_is_of_header_and_opt() {
    let mut bytes = response([&[], &[], &[(b"\0", 41, b"")]]);
    bytes[3] |= 7;
    let at = bytes.len() - 6;
    bytes[at] = 1; // BADCOOKIE is 23
    assert_eq!(message(&bytes).unwrap().response_code, ResponseCode::BADCOOKIE);
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = message(&bytes);
    }

    #[test]
    fn arbitrary_data_of_any_type_is_kept_or_costs_its_record(
        rtype in any::<u16>().prop_filter("OPT", |rtype| *rtype != 41),
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let read = message(&response([&[(QUESTION, rtype, &data), (QUESTION, 1000, b"x")], &[], &[]])).unwrap();
        prop_assert!((1..=2).contains(&read.answers.len()));
        if is_opaque(RecordType::from(rtype)) {
            prop_assert_eq!(record::to_wire(&read.answers[0].data), data);
        }
    }

    #[test]
    fn what_the_library_writes_is_read_as_it_reads_it(names in prop::collection::vec("[a-c]{1,3}(\\.[a-c]{1,3}){0,3}", 1..8)) {
        let mut written = Message::response(7, hickory_proto::op::OpCode::Query);
        written.add_query(Query::query(parse(&names[0]).unwrap(), RecordType::MX));
        for name in &names {
            let name = parse(name).unwrap();
            let mx = RData::MX(hickory_proto::rr::rdata::MX::new(7, name.clone()));
            written.add_answer(Record::from_rdata(name.clone(), 60, mx));
            written.add_authority(Record::from_rdata(name.clone(), 60, RData::NS(hickory_proto::rr::rdata::NS(name))));
        }
        let bytes = written.to_vec().unwrap();
        let (ours, theirs) = (message(&bytes).unwrap(), Message::from_vec(&bytes).unwrap());
        prop_assert_eq!(ours, theirs);
    }
}

/// A reply of 64 KiB whose names all follow a ladder of this many pointers down to the root, in the data of `rtype`.
fn ladder(steps: usize, rtype: u16, names: usize) -> Vec<u8> {
    let mut rungs = b"\0".to_vec();
    let first = 12 + 14 + 2 + 10; // header, question, owner and the fixed part of the first record
    let at = |rung: usize| (0xc000 | if rung == 0 { first } else { first + 1 + 2 * (rung - 1) }) as u16;
    (0..steps).for_each(|rung| rungs.extend(at(rung).to_be_bytes()));
    let top = at(steps).to_be_bytes();
    let data = top.repeat(names);
    let record: Raw<'_> = (&top, rtype, &data);
    let room = (65_535 - 26 - 12 - rungs.len()) / (12 + data.len());
    let records: Vec<Raw<'_>> =
        std::iter::once((QUESTION, 65_280, &rungs[..])).chain(std::iter::repeat_n(record, room)).collect();
    response([&records, &[], &[]])
}

#[test]
fn the_pointers_that_a_message_has_followed_are_bounded_by_its_length() {
    // MINFO and RP: two names of two octets each
    for rtype in [14, 17] {
        let fair = ladder(3, rtype, 2);
        assert!(fair.len() > 65_000);
        let records = message(&fair).expect("names that share four endings").answers.len();
        assert!(records > 4000, "{records}");
        for steps in [10, 126] {
            assert!(message(&ladder(steps, rtype, 2)).is_none(), "type {rtype}, {steps} steps");
        }
    }
    let reply = ladder(126, 14, 2);
    let mut compressed = Compressed { bytes: &reply, pointers: PointerBudget::of(&reply) };
    let records = SectionCounts::of(&reply).unwrap().answers;
    assert!(compressed.section(&mut MessageCursor::new(&reply, 26), records).is_none());
    assert!(compressed.pointers.is_spent(), "it ends when they are used up");
}

#[test]
fn a_ladder_in_a_small_message_is_read() {
    let records: [Raw<'_>; 2] = [(QUESTION, 5, b"\x01a\xc0\x0c"), (b"\xc0\x26", 5, b"\x01b\xc0\x26")];
    assert_eq!(message(&response([&records, &[], &[]])).unwrap().answers.len(), 2);
}
