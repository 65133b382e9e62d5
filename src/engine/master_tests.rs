//! Tests of zone files: the grammar of RFC 1035 section 5 and every way in which an entry can be wrong.

use super::*;
use crate::engine::text::{show_data, show_wire};
use proptest::prelude::*;

/// Collects what a file says, as text.
#[derive(Default)]
struct Collected {
    records: Vec<String>,
    faults: Vec<(usize, String)>,
}

impl Sink for Collected {
    fn record(&mut self, entry: &MasterEntry<'_>) {
        let (owner, rtype) = (show_wire(entry.owner), record::show_type(entry.rtype));
        let data = show_data(entry.rtype.into(), entry.data);
        self.records.push(format!("{} {owner} {} {rtype} {data}", entry.line, entry.ttl));
    }

    fn fault(&mut self, line: usize, message: String) {
        self.faults.push((line, message));
    }

    fn include(&mut self, path: &str, state: MasterState) -> Result<MasterState, String> {
        match path {
            "inner" => Ok(read("www A 192.0.2.9\n", state, self)),
            "timed" => Ok(read("$TTL 77\n$ORIGIN far\nx A 192.0.2.9\n", state, self)),
            _ => Err(format!("cannot read {path}")),
        }
    }
}

fn collect(text: &str) -> Collected {
    let mut collected = Collected::default();
    read(text, MasterState::new(&text::parse("corp.example").unwrap()), &mut collected);
    collected
}

fn check(text: &str, expected: &[&str]) {
    let collected = collect(text);
    assert_eq!(collected.faults, [], "{text}");
    assert_eq!(collected.records, expected, "{text}");
}

#[test]
fn owners_ttls_and_classes_may_be_left_out() {
    check(
        "$TTL 1h\n@ IN SOA ns1 admin ( 7 ; serial\n 3600 1200\n 604800 60 )\n  NS ns1\n\tIN NS ns2.other.example.\nns1 300 IN A 192.0.2.1\n\
         ns1 IN 2m AAAA 2001:db8::1\n; a comment\n\n   ; another\nwww CNAME @\nWWW2.corp.example. cname ns1\r\n",
        &[
            "2 corp.example 3600 SOA ns1.corp.example admin.corp.example 7 3600 1200 604800 60",
            "5 corp.example 3600 NS ns1.corp.example",
            "6 corp.example 3600 NS ns2.other.example",
            "7 ns1.corp.example 300 A 192.0.2.1",
            "8 ns1.corp.example 120 AAAA 2001:db8::1",
            "12 www.corp.example 3600 CNAME corp.example",
            "13 WWW2.corp.example 3600 CNAME ns1.corp.example",
        ],
    );
}

#[test]
fn without_a_default_the_last_ttl_counts_and_then_the_minimum() {
    check(
        "a A 192.0.2.1\nb 30 A 192.0.2.2\nc A 192.0.2.3",
        &[
            "1 a.corp.example 60 A 192.0.2.1",
            "2 b.corp.example 30 A 192.0.2.2",
            "3 c.corp.example 30 A 192.0.2.3",
        ],
    );
    check(
        "@ SOA a b 1 2 3 4 77\nb 5 A 192.0.2.1\nc A 192.0.2.3",
        &[
            "1 corp.example 77 SOA a.corp.example b.corp.example 1 2 3 4 77",
            "2 b.corp.example 5 A 192.0.2.1",
            "3 c.corp.example 77 A 192.0.2.3",
        ],
    );
}

#[test]
fn origins_and_included_files_end_where_they_should() {
    check(
        "$ORIGIN sub\nx A 192.0.2.1\n$INCLUDE inner\n$INCLUDE \"inner\" deep\n  TXT last\n$ORIGIN .\nroot.corp.example A 192.0.2.2",
        &[
            "2 x.sub.corp.example 60 A 192.0.2.1",
            "1 www.sub.corp.example 60 A 192.0.2.9",
            "1 www.deep.sub.corp.example 60 A 192.0.2.9",
            "5 x.sub.corp.example 60 TXT \"last\"",
            "7 root.corp.example 60 A 192.0.2.2",
        ],
    );
}

#[test]
fn ttls_of_an_included_file_go_on() {
    check(
        "$TTL 5\na A 192.0.2.1\n$INCLUDE timed\nb A 192.0.2.2\n",
        &[
            "2 a.corp.example 5 A 192.0.2.1",
            "3 x.far.corp.example 77 A 192.0.2.9",
            "4 b.corp.example 77 A 192.0.2.2",
        ],
    );
}

#[test]
fn numbers_may_have_units_and_mnemonics() {
    check(
        "@ SOA a b ( 2024010101 1H 15M 1W2D 1h30 )\nb 15S CLASS1 A 192.0.2.1\nd DS 60485 RSASHA1 1 2bb183af\n\
         k DNSKEY 257 3 ed25519 AQID\nc CERT PKIX 1 0 AQID\n",
        &[
            "1 corp.example 3630 SOA a.corp.example b.corp.example 2024010101 3600 900 777600 3630",
            "2 b.corp.example 15 A 192.0.2.1",
            "3 d.corp.example 3630 DS 60485 5 1 2BB183AF",
            "4 k.corp.example 3630 DNSKEY 257 3 15 AQID",
            "5 c.corp.example 3630 CERT 1 1 0 AQID",
        ],
    );
}

#[test]
fn octets_that_are_no_utf_8_are_themselves() {
    let text = text_of(b"; caf\xe9\na\xe9 TXT \"\xfc\\\xfc\\\\\xfc\"\nb TXT \"\xc3\xbc\"\n".to_vec());
    check(
        &text,
        &["2 a\\233.corp.example 60 TXT \"\\252\\252\\\\\\252\"", "3 b.corp.example 60 TXT \"\\195\\188\""],
    );
}

#[test]
fn escapes_quotes_and_generic_data_are_read() {
    check(
        "a\\.b A 192.0.2.1;comment\n\\042 TXT \"a ; ( b\" c\\;d \"\\\"\\009\"\nq ( TXT\n \"over\" ; one\n \"lines\" )\n\
         h HTTPS 1 . alpn=\"h2,h3\" port=8443\nu TYPE65534 \\# 3 0a0B 0c\nm MX 10 mail\ns SRV 1 2 3 @\nt TYPE1 \\# 4 c0000201\n",
        &[
            "1 a\\.b.corp.example 60 A 192.0.2.1",
            "2 *.corp.example 60 TXT \"a ; ( b\" \"c;d\" \"\\\"\\009\"",
            "3 q.corp.example 60 TXT \"over\" \"lines\"",
            "6 h.corp.example 60 HTTPS 1 . alpn=\"h2,h3\" port=8443",
            "7 u.corp.example 60 TYPE65534 \\# 3 0a0b0c",
            "8 m.corp.example 60 MX 10 mail.corp.example",
            "9 s.corp.example 60 SRV 1 2 3 corp.example",
            "10 t.corp.example 60 A 192.0.2.1",
        ],
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_rest_is_read() {
    let long = format!("{}.{}", vec!["a".repeat(60); 4].join("."), "b".repeat(20));
    for (text, line, words) in [
        ("  A 192.0.2.1", 1, "no owner"),
        ("\na", 2, "without a type"),
        ("a IN", 1, "without a type"),
        ("a NOPE x", 1, "`NOPE` is not a type of record"),
        ("a ANY x", 1, "not a type of record"),
        ("a 99999999999 A 192.0.2.1", 1, "not a TTL"),
        ("a 1x A 192.0.2.1", 1, "not a TTL"),
        ("a 4294967295 A 192.0.2.1", 1, "not a TTL"),
        ("@ SOA a b 1 2 3 4 1y", 1, "`1y` is not a minimum TTL"),
        ("@ SOA a b 1h 2 3 4 5", 1, "`1h` is not a serial"),
        ("@ SOA a b 1 99999w 3 4 5", 1, "not a refresh interval"),
        ("a DS 1 RSASHA3 1 00", 1, "`RSASHA3` is not a number of an algorithm"),
        ("a CH A 192.0.2.1", 1, "class CH"),
        ("a CLASS3 A 192.0.2.1", 1, "class CLASS3"),
        ("a A 192.0.2.300", 1, "not an IPv4 address"),
        ("a A 192.0.2.1 192.0.2.2", 1, "2 fields instead of 1"),
        ("a A", 1, "0 fields instead of 1"),
        ("a AAAA 192.0.2.1", 1, "not an IPv6 address"),
        ("a MX mail", 1, "1 fields instead of 2"),
        ("a..b A 192.0.2.1", 1, "empty label"),
        ("a CNAME b..c", 1, "empty label"),
        ("x\n$TTL", 2, "$TTL without a TTL"),
        ("$ORIGIN", 1, "without a name"),
        ("$INCLUDE", 1, "without a file"),
        ("$INCLUDE gone", 1, "cannot read gone"),
        ("$GENERATE 1-9 a A 192.0.2.$", 1, "$GENERATE is not read"),
        ("$FOO", 1, "known are $ORIGIN"),
        ("$TTL 5 6", 1, "behind the end of $TTL"),
        ("a TXT \"open\nb A 192.0.2.1", 1, "closing quote"),
        ("a TXT \"open", 1, "closing quote"),
        ("a TXT ( x\nb A 192.0.2.1", 1, "closing one"),
        ("a A 192.0.2.1 )", 1, "an unmatched"),
        ("a TXT ( ( x ) )", 1, "an unmatched"),
        ("a TYPE65534 \\# 3 0a", 1, "announces 3"),
        ("a A \\# 3 010203", 1, "not the data of a A record"),
        ("a CNAME \\# 2 0161", 1, "not the data of a CNAME record"),
        (&format!("{long} A 192.0.2.1"), 1, "longer than 255"),
        (&format!("{} A 192.0.2.1", "a".repeat(64)), 1, "64 octets"),
        (&format!("a TXT {}", "x".repeat(300_000)), 1, "more than 262144 octets"),
        (&format!("a TXT \"{}\"", "x".repeat(300_000)), 1, "more than 262144 octets"),
    ] {
        let found = collect(text).faults;
        assert!(
            found.iter().any(|(at, message)| *at == line && message.contains(words)),
            "{}: {found:?}",
            &text[..text.len().min(60)]
        );
    }
    let mixed = collect("a A 192.0.2.1\nb A nonsense\nc A 192.0.2.3\nd NOPE\n");
    assert_eq!(mixed.records.len(), 2);
    assert_eq!(mixed.faults.iter().map(|fault| fault.0).collect::<Vec<_>>(), [2, 4]);
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "[ -~\\n\\t\\r\\\\\"();$@éA-Z0-9]{0,200}") {
        collect(&text);
    }

    /// Names that are read in place are read as the others are.
    #[test]
    fn a_plain_name_is_the_same_either_way(word in "[a-z0-9_*-]{1,20}(\\.[a-zA-Z0-9-]{0,30}){0,12}\\.?") {
        let state = MasterState::new(&text::parse("corp.example").unwrap());
        let mut wire = Vec::new();
        if push_plain(&mut wire, &word, &state.origin_wire) {
            prop_assert_eq!(wire, wire_of(&name_of(&word, &state).unwrap()));
        } else {
            prop_assert!(name_of(&word, &state).is_err(), "{}", word);
        }
    }
}
