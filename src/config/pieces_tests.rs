//! Tests of reading in pieces: a file means the same in pieces and as a whole.

use super::super::decide::{decide, decide_in_pieces};
use super::super::tests::{DOCUMENTED, FALLBACK, LAB};
use super::super::{Config, Fault, reader::ConfigReader};
use super::*;
use proptest::prelude::*;
use std::path::Path;

type Decided = Result<(Config, Vec<Fault>), Vec<Fault>>;

fn whole(text: &str) -> Decided {
    decide(ConfigReader::new(text, Path::new("x")), text)
}

/// Nothing where the text is not read in pieces.
fn in_pieces(text: &str, very_long: bool) -> Option<Decided> {
    decide_in_pieces(ConfigReader::new(text, Path::new("x")), text, Pieces::of(text)?, very_long)
}

fn shown(decided: &Decided) -> String {
    match decided {
        Ok((config, warnings)) => format!("{config:?} {warnings:?}"),
        Err(faults) => format!("{faults:?}"),
    }
}

fn records(count: usize) -> String {
    let record = |n: usize| {
        format!(
            "[[zone.record]]\nname = \"host-{n}\"\ntype = \"A\"\nvalue = \"10.0.{}.{}\"\n",
            n >> 8,
            n & 255
        )
    };
    (0..count).map(record).collect()
}

#[test]
fn the_records_of_a_zone_go_on_in_other_pieces() {
    let text = format!(
        "[upstream]\nservers = []\n[[zone]]\nname = \"a.example\"\n{}[[vpc]]\nid = \"v\"\nclients = [\"10.0.0.0/8\"]\n\
         [[zone]]\nname = \"b.example\"\nvpcs = [\"v\"]\n",
        records(3000)
    );
    let pieces = Pieces::of(&text).unwrap();
    assert!(pieces.zones.len() > 3 && pieces.parts.len() == 2, "{}", pieces.zones.len());
    assert!(pieces.rest.starts_with("[upstream]") && pieces.rest.ends_with("[\"10.0.0.0/8\"]\n"));
    let decided = in_pieces(&text, false).unwrap();
    assert_eq!(shown(&decided), shown(&whole(&text)));
    assert_eq!(decided.unwrap().0.zones[0].0.record_count(), 3000);
}

#[test]
fn a_fault_has_its_line_and_key_wherever_its_piece_begins() {
    let zone =
        |more: &str| format!("[[zone]]\nname = \"a.example\"\n{}{more}[server]\nlisen = []\n", records(2000));
    for more in [
        "[[zone.record]]\nname = \"x\"\ntype = \"A\"\nvalue = \"10.0.0.256\"\n",
        "[[zone.record]]\nname = \"x\"\ntype = \"A\"\nvalue = [\"10.0.0.1\", \"10.0.0\"]\nttl = 61\n",
        "[[zone.record]]\nname = \"host-7\"\ntype = \"CNAME\"\nvalue = \"b.example\"\n",
        "[[zone.record]]\nname = \"host-7\"\ntype = \"A\"\nvalue = \"10.0.0.7\"\n",
        "[[zone.record]]\nnane = \"host-7\"\ntype = \"A\"\nvalue = \"10.0.0.7\"\n",
        "[[zone]]\nname = \"A.example\"\n[[zone]]\nname = \"b.example\"\nvpcs = [\"none\"]\n",
        "[[zone.record]]\nname = \"c\"\ntype = \"CNAME\"\nvalue = \"c.a.example\"\n",
        "[[zone]]\nname = \"b.example\"\nfile = \"x\"\n[[zone.record]]\nname = \"x\"\ntype = \"A\"\nvalue = \"10.0.0.7\"\n",
    ] {
        let text = zone(more);
        let expected = shown(&whole(&text));
        assert!(expected.contains("lisen"), "{expected}");
        assert_eq!(shown(&in_pieces(&text, true).unwrap()), expected, "{more}");
        // without the error, for what is told of a sound file alone
        let text = text.replace("lisen = []\n", "");
        assert_eq!(shown(&in_pieces(&text, true).unwrap()), shown(&whole(&text)), "{more}");
    }
}

#[test]
fn a_very_long_file_tells_its_syntax_errors_with_their_lines() {
    let text = format!("[[zone]]\nname = \"a.example\"\n{}[[zone.record]]\nname = x\n", records(2000));
    assert!(in_pieces(&text, false).is_none(), "told as a whole");
    let faults = in_pieces(&text, true).unwrap().unwrap_err();
    let expected = whole(&text).unwrap_err();
    assert_eq!(faults[0].line, expected[0].line);
    assert_eq!(faults[0].excerpt, "name = x");
    assert!(faults[0].message.starts_with("invalid TOML"), "{}", faults[0].message);
}

#[test]
fn strings_of_several_lines_are_not_cut() {
    let text = "[[zone]]\nname = \"a.example\"\n[[zone.record]]\nname = \"t\"\ntype = \"TXT\"\nvalue = \"\"\"\\\n[[zone]]\n\\\"\"\"\" # \"\"\"\n[[zone.record]]\n\
                name = \"u\"\ntype = \"TXT\"\nvalue = '''\n[server]\n'''\n[log]\n";
    let pieces = Pieces::of(text).unwrap();
    assert_eq!((pieces.zones.len(), pieces.rest.as_str()), (1, "[log]\n"));
    assert_eq!(shown(&in_pieces(text, false).unwrap()), shown(&whole(text)));
}

#[test]
fn what_is_not_under_headers_is_read_as_a_whole() {
    for text in [
        "zone = [{ name = \"a.example\" }]\n",
        "[[zone.record]]\nname = \"x\"\n[[zone]]\nname = \"a.example\"\n",
        "[zone]\nname = \"a.example\"\n",
        "zone.name = \"a\"\n[[zone]]\nname = \"b\"\n",
        "[log]\n",
        "",
    ] {
        assert!(in_pieces(text, true).is_none(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_file_means_the_same_in_pieces(
        sample in prop::sample::select(vec![DOCUMENTED, FALLBACK, LAB]),
        uncomment in any::<bool>(),
        moved in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        inserts in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![
            "[[zone]]", "[[zone]] # again", " [[ \"zone\" ]]", "[[zone.record]]", "[zone.record]", "[zone]", "[[zone.other]]", "[server]", "[[vpc]]",
            "name = \"x.example\"", "type = \"A\"", "value = \"192.0.2.1\"", "value = [\"192.0.2.2\",", "]", "\"\"\"", "'''", "[[forward]]", "[a]",
            "zone.x = 1", "ttl = 61",
        ])), 0..4),
    ) {
        let text = if uncomment { sample.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect::<Vec<_>>().join("\n") } else { sample.to_string() };
        let mut lines: Vec<&str> = text.lines().collect();
        for (at, insert) in inserts {
            lines.insert(at.index(lines.len() + 1), insert);
        }
        for at in moved {
            let line = lines.remove(at.index(lines.len()));
            lines.push(line);
        }
        let text = lines.join("\n");
        if let Some(decided) = in_pieces(&text, false) {
            prop_assert_eq!(shown(&decided), shown(&whole(&text)));
        }
        let _ = in_pieces(&text, true); // survives
    }
}

#[test]
fn three_quotes_in_a_row_are_found_wherever_they_are() {
    for quote in ["\"", "'"] {
        for before in 0..7 {
            for behind in 0..4 {
                let text =
                    |count| format!("{}{}{}", "x".repeat(before), quote.repeat(count), "y".repeat(behind));
                assert!(has_triple_quote(text(3).as_bytes()), "{before} {behind}");
                assert!(!has_triple_quote(text(2).as_bytes()), "{before} {behind}");
            }
        }
    }
    assert!(!has_triple_quote(b"a = \"'\"\nb = \"\"\nc = ''\""));
}
