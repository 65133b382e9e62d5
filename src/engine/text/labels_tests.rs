//! Tests of names as text.

use super::*;
use proptest::prelude::*;

fn of(labels: &[&[u8]]) -> Name {
    of_labels(labels.iter().copied()).unwrap()
}

fn labels_of(text: &str) -> Vec<Vec<u8>> {
    parse(text).unwrap_or_else(|why| panic!("{text}: {why}")).iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn any_octet_is_legal_in_a_label() {
    for (text, labels, shown) in [
        (".", &[] as &[&[u8]], "."),
        ("\\101x.example", &[b"ex", b"example"], "ex.example"),
        ("My\\032Printer._ipp._tcp", &[b"My Printer", b"_ipp", b"_tcp"], "My\\032Printer._ipp._tcp"),
        ("My\\ Printer", &[b"My Printer"], "My\\032Printer"),
        (
            "0/25.2.0.192.in-addr.arpa.",
            &[b"0/25", b"2", b"0", b"192", b"in-addr", b"arpa"],
            "0/25.2.0.192.in-addr.arpa",
        ),
        ("-a.a+b", &[b"-a", b"a+b"], "-a.a+b"),
        ("\\000.\\255\\127", &[b"\0", b"\xff\x7f"], "\\000.\\255\\127"),
        ("a\\.b.c\\\\", &[b"a.b", b"c\\"], "a\\.b.c\\\\"),
        ("a\"b.\\\"", &[b"a\"b", b"\""], "a\\\"b.\\\""),
        ("\\@.user@host", &[b"@", b"user@host"], "\\@.user\\@host"),
        ("(a);b.$x", &[b"(a);b", b"$x"], "\\(a\\)\\;b.\\$x"),
        ("a*b.*.{x}|~", &[b"a*b", b"*", b"{x}|~"], "a*b.*.{x}|~"),
        ("\\046", &[b"."], "\\."),
        ("xn--\\255", &[b"xn--\xff"], "xn--\\255"),
    ] {
        assert_eq!(labels_of(text), labels, "{text}");
        assert_eq!(show(&parse(text).unwrap()), shown);
        assert_eq!(parse(shown).unwrap(), of(labels), "{shown}");
    }
}

#[test]
fn what_is_no_name_is_refused_with_the_reason() {
    let (long_label, long_name) = ("a".repeat(64), ["a".repeat(50).as_str(); 6].join("."));
    let escaped = "\\097".repeat(64);
    for (text, words) in [
        ("", "an empty name"),
        (".a", "an empty label"),
        ("a..b", "an empty label"),
        ("..", "an empty label"),
        ("a b", "write \\032"),
        ("a\tb", "write \\009"),
        ("a\u{3000}b", "\\DDD"),
        ("a\\", "escapes nothing"),
        ("a\\25", "three decimal digits"),
        ("a\\256", "three decimal digits"),
        (&long_label, "a label of 64 octets"),
        (&escaped, "a label of 64 octets"),
        (&long_name, "longer than 255"),
        ("例\\065", "both escapes"),
        ("\u{202e}abc", "invisible"),
        ("a\u{301c}\u{338}\u{fffd}", "IDNA does not allow"),
        ("a\u{200b}", "invisible"),
    ] {
        let why = parse(text).unwrap_err();
        assert!(why.contains(words), "{text}: {why}");
        assert_eq!(printable(&why), why, "a message escapes what it quotes");
    }
    assert!(parse(&["a".repeat(63).as_str(); 3].join(".")).is_ok());
}

#[test]
fn unicode_is_read_by_idna_and_shown_beside_the_a_label() {
    for (text, ascii, shown) in [
        ("例子.测试", "xn--fsqu00a.xn--0zwm56d", Some("例子.测试")),
        ("例子。测试", "xn--fsqu00a.xn--0zwm56d", Some("例子.测试")),
        ("_测试.example", "xn--_-sq9bs28f.example", Some("_测试.example")),
        ("BÜCHER.example", "xn--bcher-kva.example", Some("bücher.example")),
        ("*.xn--fsqu00a", "*.xn--fsqu00a", Some("*.例子")),
        ("XN--FSQU00A.a\\.b", "XN--FSQU00A.a\\.b", Some("例子.a\\.b")),
        ("xn--a.example", "xn--a.example", None), // an A-label of nothing
        ("ｅｘ.example", "ex.example", None),
        ("plain.example", "plain.example", None),
    ] {
        let name = parse(text).unwrap();
        assert_eq!(show(&name), ascii, "{text}");
        assert_eq!(unicode(&name).as_deref(), shown, "{text}");
    }
}

#[test]
fn a_final_dot_may_be_escaped() {
    for (text, absolute) in [
        ("a.", true),
        ("a\\.", false),
        ("a\\\\.", true),
        ("a\\\\\\.", false),
        ("a", false),
        (".", true),
        ("例。", true),
    ] {
        assert_eq!(is_absolute(text), absolute, "{text}");
    }
    let zone = parse("z.example").unwrap();
    assert_eq!(show(&parse_below("a\\.", &zone).unwrap()), "a\\..z.example");
    assert_eq!(show(&parse_below("b.a", &zone).unwrap()), "b.a.z.example");
    assert!(parse_below(&["a".repeat(61).as_str(); 4].join("."), &zone).unwrap_err().contains("255"));
}

proptest! {
    #[test]
    fn a_name_reads_back_from_its_text(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..30), 0..8)) {
        let name = of_labels(labels.iter().map(Vec::as_slice)).unwrap();
        let text = show(&name);
        prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic()), "{}", text);
        let back = parse(&text).unwrap();
        prop_assert_eq!(back.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), labels);
        prop_assert_eq!(show(&back), text);
        let _ = unicode(&name);
    }

    #[test]
    fn any_text_is_a_name_that_shows_and_reads_back_or_is_refused_in_printable_words(text in "\\PC{0,20}|[a-z.\\\\0-9é。 @\"]{0,20}") {
        match parse(&text) {
            Ok(name) => prop_assert_eq!(parse(&show(&name)).unwrap(), name),
            Err(why) => prop_assert_eq!(&printable(&why), &why),
        }
    }
}
