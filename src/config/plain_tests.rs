//! What is plain, and that a long file means the same with plain sections as without.

use super::*;
use crate::config::decide::{decide, decide_in_pieces};
use crate::config::pieces::Pieces;
use crate::config::reader::ConfigReader;
use proptest::prelude::*;
use std::path::Path;

#[test]
fn plain_sections_are_read_and_any_other_form_is_left() {
    let text =
        "[[zone.record]]\nname = \"a\"\ntype = \"A\"\nttl = 60\n\nvalue = \"192.0.2.1\"\n[[zone.record]]\n";
    let (found, length) = record(text).unwrap();
    assert_eq!((found.name, found.rtype, found.value.text, found.ttl), ("a", "A", "192.0.2.1", Some("60")));
    assert_eq!(&text[found.value.start..found.value.end], "\"192.0.2.1\"");
    assert_eq!(&text[length..], "[[zone.record]]\n");
    let (found, length) = zone("[[zone]]\nname = \"a.example\"\nfile = \"a b.zone\"\n").unwrap();
    assert_eq!((found.name.text, found.file.unwrap().text, length), ("a.example", "a b.zone", 46));
    let lines = "name = \"a\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\n";
    for other in [
        lines.replace("\"a\"", "'a'"),
        lines.replace("\"a\"", "\"\"\"a\"\"\""),
        lines.replace("\"a\"", "\"\\u0061\""),
        lines.replace("\"a\"", "\"ä\""),
        lines.replace("\"a\"", "[\"a\"]"),
        lines.replace("name = ", "name="),
        lines.replace("name = ", "\"name\" = "),
        lines.replace("name = ", " name = "),
        lines.replace("\"A\"\n", "\"A\" # an address\n"),
        lines.replace('\n', "\r\n"),
        lines.replace("name", "rr"),
        format!("{lines}name = \"b\"\n"),
        format!("{lines}enabled = false\n"),
        format!("{lines}ttl = \"60\"\n"),
        format!("{lines}# a comment\n"),
        format!("{lines}[zone.record.more]\n"),
        format!("{lines}[[zone]]\n"),
        format!("{lines}weight = 1"),
        lines.trim_end().to_string(),
        lines.replace("type = \"A\"\n", ""),
    ] {
        assert_eq!(record(&format!("[[zone.record]]\n{other}")), None, "{other}");
    }
}

#[test]
fn the_next_record_is_found_at_the_start_of_a_line() {
    let text = "[[zone.record]]\nx = \"[[zone.record]]\"\n[[zone.record]]\n";
    assert_eq!(next_record(text, 0), 38);
    assert_eq!(next_record(text, 38), 38);
    assert_eq!(next_record(text, 39), text.len());
    assert_eq!(next_record("", 7), 0);
}

/// Lines of records: nearly all plain, some of another form or at fault.
fn any_record() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        20 => "[a-zA-Z0-9_]{1,4}(\\.[a-z-]{1,3}){0,2}",
        1 => "@|\\*|\\*\\.a|a\\.|a\\.\\.b|-a|é|x\\.z\\.example|z\\.example|a@b|\\.|[a-z]{64}|xn--e",
    ];
    let value = prop_oneof![
        10 => "10\\.0\\.0\\.[0-9]{1,3}",
        3 => "2001:db8::[0-9a-f]{1,4}",
        1 => "01\\.2\\.3\\.4| 10\\.0\\.0\\.1|text|a\\.example\\.|",
    ];
    let rtype = prop_oneof![10 => "A", 3 => "AAAA", 1 => "a|CNAME|TXT|NOPE|SOA|MX|TYPE1"];
    let more = prop_oneof![
        10 => "",
        4 => "ttl = (60|3600|61|0|060|99999999999)\n",
        1 => "weight = 5\n|enabled = false\n|nmae = \"x\"\n|# x\n|ttl = \"60\"\n|name = \"twice\"\n|broken\n|\\[zone\\.x\\]\n",
    ];
    (name, rtype, value, more).prop_map(|(name, rtype, value, more)| {
        format!("[[zone.record]]\nname = \"{name}\"\ntype = \"{rtype}\"\nvalue = \"{value}\"\n{more}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_file_means_the_same_in_pieces_and_as_a_whole(
        zones in proptest::collection::vec(
            ("[a-z]{1,2}\\.example|Z\\.example|-|z\\.example\\.", "|vpcs = \\[\\]\n|file = \"none\\.zone\"\n|file = \"\"\n",
             proptest::collection::vec(any_record(), 0..8)),
            1..6,
        ),
    ) {
        let mut text = "[[zone]]\nname = \"first.example\"\n[[zone.record]]\nname = \"a\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n".to_string();
        for (name, more, records) in zones {
            text += &format!("[[zone]]\nname = \"{name}\"\n{more}{}", records.concat());
        }
        let reader = || ConfigReader::new(&text, Path::new("test.toml"));
        let whole = decide(reader(), &text);
        let shown = |decided: &Result<_, _>| format!("{decided:#?}");
        if let Some(pieces) = decide_in_pieces(reader(), &text, Pieces::of(&text).unwrap(), false) {
            prop_assert_eq!(shown(&pieces), shown(&whole), "{}", text);
        }
    }
}
