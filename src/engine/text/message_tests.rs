//! Tests of reading a message for people.

use super::*;
use proptest::prelude::*;

/// A response to `www.example A` with these counts and records.
fn message(counts: [u8; 3], records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0x83, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
    bytes.extend(b"\x03www\x07example\x00\x00\x01\x00\x01");
    bytes.extend(records);
    bytes
}

#[test]
fn names_are_written_out_and_data_are_kept_as_they_are() {
    let records = b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x09\x00\x0a\x04mail\xc0\x10\
        \xc0\x0c\xff\x19\x00\x01\x00\x00\x00\x3c\x00\x02\x01\x02\
        \xc0\x0c\x01\x01\x00\x01\x00\x00\x00\x3c\x00\x00\
        \xc0\x10\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x1c\xc0\x10\x01a\xc0\x10\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00";
    // the SOA announces two octets more than it has
    let bytes = message([3, 1, 0], records);
    let sections = read(&bytes).unwrap();
    let shown: Vec<String> = sections
        .answers
        .iter()
        .map(|entry| format!("{} {} {} {}", entry.owner(), entry.ttl, entry.type_name(), entry.value()))
        .collect();
    assert_eq!(
        shown,
        [
            "www.example 60 MX 10 mail.example",
            "www.example 60 TYPE65305 \\# 2 0102",
            "www.example 60 CAA \\# 0"
        ]
    );
    assert!(sections.authorities[0].value().starts_with("\\# 28 c010"), "{:?}", sections.authorities);
    assert_eq!((sections.id, sections.rcode), (7, 3));
    assert_eq!(
        sections.question.map(|(name, rtype)| (labels::show(&name), rtype)),
        Some(("www.example".into(), 1))
    );
}

#[test]
fn opt_gives_the_code_and_extended_errors() {
    let opt = b"\x00\x00\x29\x04\xd0\x01\x00\x80\x00\x00\x18\
        \x00\x0f\x00\x07\x00\x16\x1b[2J\x00\x00\x0a\x00\x01x\x00\x0f\x00\x04\x00\x03\xff\xff";
    let sections = read(&message([0, 0, 1], opt)).unwrap();
    let opt = sections.opt.unwrap();
    assert_eq!((sections.rcode, opt.payload, opt.version, opt.dnssec_ok), (19, 1232, 0, true));
    let error = |code, text: &str| ReadExtendedError { code, text: text.into() };
    assert_eq!(opt.errors, [error(22, "\\027[2J"), error(3, "\\255\\255")]);
}

#[test]
fn pointers_that_go_round_are_no_name() {
    for records in [
        &b"\xc0\x1d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04"[..], // to itself
        b"\xc0\xff\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04",
        b"\x80\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04",
        b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x05\x01\x02\x03\x04",
    ] {
        assert_eq!(read(&message([1, 0, 0], records)), None);
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut whole = message([9, 9, 9], &bytes);
        let _ = read(&whole);
        whole.drain(..bytes.len().min(whole.len()));
        if let Some(sections) = read(&whole) {
            for entry in sections.answers.iter().chain(&sections.authorities) {
                prop_assert!(entry.value().is_ascii() && entry.owner().is_ascii());
            }
        }
    }
}
