//! Tests of the cursor over messages.

use super::*;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, CNAME, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::prelude::*;

/// A header with these counts, and what follows.
fn message(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x80];
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend(rest);
    bytes
}

/// The name at an octet, expanded, and where it ends.
fn expanded(bytes: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut cursor = MessageCursor::new(bytes, at);
    let mut name = Vec::new();
    cursor.expand_name(&mut name, &mut PointerBudget::of(bytes))?;
    Some((name, cursor.position()))
}

/// A name of this many octets, without its root label.
fn labels(octets: usize) -> Vec<u8> {
    let mut name = Vec::new();
    while name.len() < octets {
        let length = (octets - name.len() - 1).min(63);
        // a rest of one octet is no label: the one before leaves two
        let length = if octets - name.len() - 1 - length == 1 { length - 1 } else { length };
        name.push(length as u8);
        name.resize(name.len() + length, b'a');
    }
    name
}

#[test]
fn a_whole_message_is_walked() {
    let records = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01\
        \x03www\xc0\x0c\0\x10\0\x03\x01\x02\x03\x04\0\0\
        \0\0\x29\x04\xd0\x01\x02\x80\0\0\x09\0\x0a\0\x01x\0\x0c\0\0";
    let bytes = message([1, 1, 1, 1], &[&b"\x01a\0\0\x01\0\x01"[..], records].concat());
    let counts = SectionCounts::of(&bytes).unwrap();
    assert_eq!((counts.questions, counts.answers, counts.authorities, counts.additionals), (1, 1, 1, 1));
    assert_eq!(counts.records(), 3);
    let mut cursor = MessageCursor::new(&bytes, HEADER);
    assert_eq!(cursor.name(), Some(&b"\x01a\0"[..]));
    assert_eq!((cursor.u16(), cursor.u16()), (Some(1), Some(1)));
    let behind_question = cursor;
    let first = cursor.record().unwrap();
    assert_eq!((first.rtype, first.class, first.ttl, first.data), (1, 1, 60, &[192, 0, 2, 1][..]));
    assert_eq!((first.start, first.ttl_at(), first.data_at(), first.end()), (19, 25, 31, 35));
    let second = cursor.record().unwrap();
    assert_eq!((second.rtype, second.class, second.ttl, second.data), (16, 3, 0x0102_0304, &[][..]));
    assert_eq!(&bytes[second.ttl_at()..second.ttl_at() + 4], [1, 2, 3, 4]);
    let opt = cursor.record().unwrap();
    assert!(cursor.is_done() && opt.is_opt() && !first.is_opt());
    assert_eq!((opt.class, opt.edns_version(), opt.dnssec_ok()), (1232, 2, true));
    let mut options = opt.options();
    let option = |at, code, value| Some(WireOption { at, code, value });
    assert_eq!(options.next(), option(0, OPTION_COOKIE, b"x"));
    assert_eq!(options.next(), option(5, OPTION_PADDING, b""));
    assert!(options.is_done() && options.next().is_none());
    assert_eq!(opt_record(&bytes).map(|found| found.start), Some(opt.start));
    assert_eq!(behind_question.opt().map(|found| found.start), Some(opt.start));
}

#[test]
fn label_types_40_and_80_are_refused_by_every_reader() {
    for first in 0x40..=0xbf_u8 {
        // what would be a label of 0x40 and more octets, or one behind a label
        for before in [&b""[..], b"\x01a"] {
            let mut rest = [before, &[first]].concat();
            rest.resize(400, 0);
            let bytes = message([0, 1, 0, 1], &rest);
            assert_eq!(MessageCursor::new(&bytes, HEADER).skip_name(), None);
            assert_eq!(MessageCursor::new(&bytes, HEADER).name(), None);
            assert_eq!(expanded(&bytes, HEADER), None);
            assert!(MessageCursor::new(&bytes, HEADER).record().is_none());
            assert_eq!(MessageCursor::new(&bytes, HEADER).skip_questions(1), None);
            assert!(opt_record(&bytes).is_none());
            assert!(!is_name_at(&bytes, HEADER, &rest));
        }
    }
}

#[test]
fn names_have_255_octets_at_most() {
    for octets in [200, 251, 252, 253, 254, 255, 256, 300] {
        let (labels, is_name) = (labels(octets), octets < MAX_NAME_BYTES);
        assert_eq!(labels.len(), octets);
        let bytes = message([0; 4], &[&labels[..], &[0]].concat());
        assert_eq!(MessageCursor::new(&bytes, HEADER).skip_name().is_some(), is_name, "{octets}");
        assert_eq!(MessageCursor::new(&bytes, HEADER).name().is_some(), is_name, "{octets}");
        assert_eq!(expanded(&bytes, HEADER).is_some(), is_name, "{octets}");
        // with an end of three octets behind a pointer
        let bytes = message([0; 4], &[b"\x01b\0".as_slice(), &labels[..], b"\xc0\x0c"].concat());
        assert_eq!(expanded(&bytes, HEADER + 3).is_some(), octets + 3 <= MAX_NAME_BYTES, "{octets}");
    }
}

#[test]
fn pointers_lead_backwards_into_the_sections_and_are_counted() {
    let at = HEADER + 3;
    let to = |target: usize| {
        message([0; 4], &[&b"\x01a\0"[..], &[0xc0 | (target >> 8) as u8, target as u8]].concat())
    };
    assert_eq!(expanded(&to(HEADER), at), Some((b"\x01a\0".to_vec(), at + 2)));
    assert_eq!(expanded(&to(HEADER + 2), at), Some((vec![0], at + 2)));
    for bad in [0, HEADER - 1, at, at + 1, 0x3fff] {
        assert_eq!(expanded(&to(bad), at), None, "to {bad}");
    }
    // each of many pointers leads to the one before
    let mut chain = b"\0".to_vec();
    for rung in 0..200_usize {
        let target = if rung == 0 { HEADER } else { HEADER + 1 + 2 * (rung - 1) };
        chain.extend((0xc000 | target as u16).to_be_bytes());
    }
    let bytes = message([0; 4], &chain);
    let rung = |number: usize| HEADER + 1 + 2 * (number - 1);
    assert!(expanded(&bytes, rung(MAX_POINTERS)).is_some());
    assert!(expanded(&bytes, rung(MAX_POINTERS + 1)).is_none());
    // all names of a message together follow as many as it has octets
    let mut pointers = PointerBudget::of(&bytes);
    let mut follow = || MessageCursor::new(&bytes, rung(100)).expand_name(&mut Vec::new(), &mut pointers);
    let names = (0..100).take_while(|_| follow().is_some()).count();
    assert_eq!((names, pointers.is_spent()), ((bytes.len() - 1) / 100, true));
}

#[test]
fn nothing_is_taken_beyond_the_end_whatever_the_count() {
    let bytes = message([0; 4], b"ab");
    for count in [3, 4, usize::MAX - HEADER, usize::MAX] {
        let mut cursor = MessageCursor::new(&bytes, HEADER);
        assert_eq!((cursor.take(count), cursor.position()), (None, HEADER), "{count}");
    }
    let mut cursor = MessageCursor::new(&bytes, HEADER);
    assert_eq!((cursor.take(2), cursor.take(0), cursor.is_done()), (Some(&b"ab"[..]), Some(&b""[..]), true));
    assert_eq!(MessageCursor::new(&bytes, 99).take(0), None);
}

#[test]
fn options_end_before_one_that_is_cut() {
    for (data, whole, is_done) in [
        (&b""[..], 0, true),
        (b"\0\x0a\0\0", 1, true),
        (b"\0\x0a\0\x01", 0, false),
        (b"\0\x0a\0\x01x\0", 1, false),
        (b"\0\x0a\0\x01x\0\x0c\0", 1, false),
        (b"\0\x0a\0\x01x\0\x0c\xff\xff", 1, false),
    ] {
        let mut options = EdnsOptions(MessageCursor::new(data, 0));
        assert_eq!((options.by_ref().count(), options.is_done()), (whole, is_done), "{data:?}");
    }
}

#[test]
fn only_the_root_owns_an_opt_record() {
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let named = b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let start =
        |counts, records: &[&[u8]]| opt_record(&message(counts, &records.concat())).map(|opt| opt.start);
    assert_eq!(start([0, 0, 0, 1], &[opt]), Some(12));
    assert_eq!(start([0, 0, 0, 2], &[named, opt]), Some(25));
    assert_eq!(start([0, 1, 0, 1], &[opt, opt]), Some(23), "one in the answer section is none");
    assert_eq!(start([0, 1, 0, 0], &[opt]), None);
    assert_eq!(start([0, 0, 0, 2], &[named, &opt[..10]]), None);
}

#[test]
fn a_stream_is_taken_apart_by_lengths() {
    assert_eq!(framed(b"\0\x02ab\0\x01"), Some(&b"ab"[..]));
    assert_eq!(framed(b"\0\0"), Some(&b""[..]));
    for cut in [&b""[..], b"\0", b"\0\x02a"] {
        assert_eq!(framed(cut), None);
    }
}

/// Some names, many of which end alike.
fn names() -> impl Strategy<Value = Vec<Name>> {
    let name = "[a-c]{1,2}(\\.[a-c]{1,2}){0,4}".prop_map(|text| Name::from_ascii(text + ".").unwrap());
    prop::collection::vec(name, 1..12)
}

proptest! {
    #[test]
    fn what_another_library_writes_is_walked_alike(names in names(), options in prop::collection::vec(0..40_usize, 0..4)) {
        let mut written = Message::query();
        written.add_query(Query::query(names[0].clone(), RecordType::MX));
        for (number, name) in names.iter().enumerate() {
            let data = match number % 3 {
                0 => RData::MX(MX::new(number as u16, names[0].clone())),
                1 => RData::CNAME(CNAME(names[number / 2].clone())),
                _ => RData::A(A::new(192, 0, 2, number as u8)),
            };
            let record = Record::from_rdata(name.clone(), 60 + number as u32, data);
            match number % 2 {
                0 => written.answers.push(record),
                _ => written.authorities.push(record),
            }
        }
        let mut edns = Edns::new();
        for (code, length) in options.iter().enumerate() {
            edns.options_mut().insert(EdnsOption::Unknown(65_001 + code as u16, vec![7; *length]));
        }
        written.set_edns(edns);
        let bytes = written.to_vec().unwrap();
        let counts = SectionCounts::of(&bytes).unwrap();
        let mut cursor = MessageCursor::new(&bytes, HEADER);
        cursor.skip_questions(counts.questions).unwrap();
        for record in written.answers.iter().chain(&written.authorities) {
            let (owner, end) = expanded(&bytes, cursor.position()).unwrap();
            prop_assert_eq!(Name::from_bytes(&owner).unwrap(), record.name.clone());
            prop_assert!(is_name_at(&bytes, cursor.position(), &owner));
            let read = cursor.record().unwrap();
            prop_assert_eq!((read.rtype, read.ttl), (u16::from(record.record_type()), record.ttl));
            prop_assert_eq!(read.data_at(), end + 10);
        }
        let opt = cursor.record().unwrap();
        prop_assert!(cursor.is_done() && opt.is_opt());
        prop_assert_eq!(opt_record(&bytes).map(|found| found.start), Some(opt.start));
        let lengths: Vec<usize> = opt.options().map(|option| option.value.len()).collect();
        prop_assert_eq!(lengths, options);
    }

    #[test]
    fn any_octets_are_walked_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..320_usize) {
        let cursor = MessageCursor::new(&bytes, at);
        if let Some((name, end)) = expanded(&bytes, at) {
            prop_assert!(end <= bytes.len() && name.len() <= MAX_NAME_BYTES);
            prop_assert_eq!(wire_length(&name), Some(name.len()));
            prop_assert!(is_name_at(&bytes, at, &name));
            let mut skipped = cursor;
            prop_assert_eq!((skipped.skip_name(), skipped.position()), (Some(()), end));
            // the other library refuses labels that overlap, and reads all others alike
            let mut decoder = BinDecoder::new(&bytes).clone(at as u16);
            if let Ok(read) = Name::read(&mut decoder) {
                prop_assert_eq!(read, Name::from_bytes(&name).unwrap());
            }
        }
        let mut walk = cursor;
        while let Some(record) = walk.record() {
            prop_assert!(record.start < record.ttl_at() && record.end() == walk.position());
            prop_assert!(walk.position() <= bytes.len());
            prop_assert_eq!(&bytes[record.data_at()..record.end()], record.data);
        }
        let _ = (opt_record(&bytes), cursor.opt(), framed(&bytes));
    }
}
