//! Tests of service parameters: the vectors of RFC 9460 appendix D, and what they leave out.

use super::super::print::{generic, show as show_data};
use super::super::read::read as read_data;
use data_encoding::HEXLOWER;

const SVCB: u16 = 64;

fn data(text: &str) -> Vec<u8> {
    read_data(SVCB, text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn the_vectors_of_the_appendix_are_read() {
    let foo_com = "03666f6f076578616d706c6503636f6d00";
    let foo_org = "03666f6f076578616d706c65036f726700";
    for (text, wire) in [
        ("0 foo.example.com.", format!("0000{foo_com}")),
        ("1 .", "000100".into()),
        ("16 foo.example.com. port=53", format!("0010{foo_com}000300020035")),
        ("1 foo.example.com. key667=hello", format!("0001{foo_com}029b000568656c6c6f")),
        ("1 foo.example.com. key667=\"hello\\210qoo\"", format!("0001{foo_com}029b000968656c6c6fd2716f6f")),
        (
            "1 foo.example.com. (\n  ipv6hint=\"2001:db8::1,2001:db8::53:1\"\n)",
            format!("0001{foo_com}0006002020010db800000000000000000000000120010db8000000000000000000530001"),
        ),
        (
            "1 example.com. (\n  ipv6hint=\"2001:db8:122:344::192.0.2.33\"\n)",
            "0001076578616d706c6503636f6d000006001020010db8012203440000000 0c0000221".replace(' ', ""),
        ),
        (
            "16 foo.example.org. (\n  alpn=h2,h3-19 mandatory=ipv4hint,alpn\n  ipv4hint=192.0.2.1\n  )",
            format!("0010{foo_org}0000000400010004000100090268320568332d313900040004c0000201"),
        ),
        (
            "16 foo.example.org. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"",
            format!("0010{foo_org}0001000c08665c6f6f2c626172026832"),
        ),
        (
            "16 foo.example.org. alpn=f\\\\\\092oo\\092,bar,h2",
            format!("0010{foo_org}0001000c08665c6f6f2c626172026832"),
        ),
    ] {
        assert_eq!(HEXLOWER.encode(&data(text)), wire, "{text}");
        let shown = show_data(SVCB, &data(text));
        assert!(!shown.starts_with("\\#"), "{shown}");
        assert_eq!(data(&shown), data(text), "{shown} does not read back");
        assert_eq!(data(&generic(&data(text))), data(text));
    }
}

#[test]
fn the_failures_of_the_appendix_and_their_like_are_refused_with_the_reason() {
    for (params, words) in [
        ("( key123=abc key123=def )", "key123 occurs twice"),
        ("mandatory", "mandatory: a list of keys"),
        ("alpn", "alpn: a list of protocols"),
        ("port", "port: a number"),
        ("ipv4hint", "ipv4hint: a list of IPv4"),
        ("ipv6hint", "ipv6hint: a list of IPv6"),
        ("no-default-alpn=abc", "no-default-alpn: takes no value"),
        ("mandatory=key123", "key123 is in the list, and not in the record"),
        ("mandatory=mandatory", "cannot be in its own list"),
        ("( mandatory=key123,key123 key123=abc )", "key123 occurs twice"),
        // what the appendix leaves out
        ("alpn=h2 alpn=h3", "alpn occurs twice"),
        ("alpn=h2 key1=\\002h3", "alpn occurs twice"),
        ("key0=\\000\\001", "alpn is in the list"),
        ("key0=\\000", "a list of keys"),
        ("key1=\\003h2", "a list of protocols"),
        ("key2=x alpn=h2", "takes no value"),
        ("key3=\\000", "a number from"),
        ("key4=abc", "a list of IPv4"),
        ("key6=abcd", "a list of IPv6"),
        ("mandatory=port,alpn alpn=h2", "port is in the list"),
        ("no-default-alpn", "there must be an alpn"),
        ("alpn=h2,", "1 to 255 octets"),
        ("alpn=,h2", "1 to 255 octets"),
        ("alpn=\"\"", "a list of protocols"),
        ("alpn=h2\\\\x", "escapes a comma or a backslash"),
        ("port=", "a number from"),
        ("port=65536", "not a port"),
        ("port=+53", "not a port"),
        ("port=53,54", "not a port"),
        ("ipv4hint=192.0.2.1,", "an empty item"),
        ("ipv4hint=192.0.2", "not an IPv4"),
        ("ipv4hint=2001:db8::1", "not an IPv4"),
        ("ipv6hint=192.0.2.1", "not an IPv6"),
        ("mandatory=nope", "not a parameter"),
        ("ech", "ech: a configuration"),
        ("ech=!", "not base64"),
        ("dohpath", "dohpath: a path"),
        ("dohpath=/dns-query", "a path with the variable"),
        ("dohpath=dns-query{?dns}", "a path with the variable"),
        ("dohpath=/\\255{?dns}", "a path with the variable"),
        ("ohttp=x", "ohttp: takes no value"),
        ("key65535=x", "not a parameter"),
        ("key65536=x", "not a parameter"),
        ("key01=x", "not a parameter"),
        ("key=x", "not a parameter"),
        ("ALPN=h2", "not a parameter"),
        ("=h2", "not a parameter"),
        ("\"alpn=h2\"", "only a parameter's value"),
        ("alpn=\"h2\"x", "behind a closing quote"),
        ("key667=\"open", "closing quote"),
        ("key667=\\256", "three decimal digits"),
        ("( alpn=h2", "parenthesis"),
    ] {
        let why = read_data(SVCB, &format!("1 foo.example.com. {params}")).unwrap_err();
        assert!(why.contains(words), "{params}: {why}");
    }
    for (text, words) in [
        ("0 foo.example.com. alpn=h2", "an alias"),
        ("0", "fields instead of at least 2"),
        ("65536 .", "not a priority"),
    ] {
        let why = read_data(SVCB, text).unwrap_err();
        assert!(why.contains(words), "{text}: {why}");
    }
}

#[test]
fn parameters_are_sorted_and_shown_as_their_definitions_have_them() {
    for (text, shown) in [
        (
            "1 . ipv6hint=2001:DB8::1 key9=x ipv4hint=192.0.2.1,192.0.2.2 port=8443 no-default-alpn alpn=\"h3\" ech=AAEC",
            "1 . alpn=\"h3\" no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ech=AAEC ipv6hint=2001:db8::1 key9=\"x\"",
        ),
        (
            "1 dns.example. alpn=h2 dohpath=/dns-query{?dns} ohttp mandatory=dohpath",
            "1 dns.example mandatory=dohpath alpn=\"h2\" dohpath=\"/dns-query{?dns}\" ohttp",
        ),
        ("1 . key1=\\002h2 key8 key7=\"/q{?x,dns}\"", "1 . alpn=\"h2\" dohpath=\"/q{?x,dns}\" ohttp"),
        ("1 . key667 key668=", "1 . key667 key668"),
        ("1 . key667=\"a b;()\\\"\\\\\"", "1 . key667=\"a b;()\\\"\\\\\""),
        ("1 . key65534=a=b", "1 . key65534=\"a=b\""),
        ("1 . alpn=\\255", "1 . alpn=\"\\255\""),
        ("0 .", "0 ."),
    ] {
        assert_eq!(show_data(SVCB, &data(text)), shown);
        assert_eq!(data(shown), data(text));
    }
}

#[test]
fn malformed_parameters_are_not_shown_as_parameters() {
    for wire in [
        &b"\x00\x01\x00\x00\x03\x00\x02\x00\x35\x00\x01\x00\x03\x02h2"[..], // not in order
        b"\x00\x01\x00\x00\x03\x00\x02\x00\x35\x00\x03\x00\x02\x00\x35",    // twice
        b"\x00\x01\x00\x00\x01\x00\x03\x03h2",                              // too short a protocol
        b"\x00\x01\x00\x00\x00\x00\x04\x00\x04\x00\x01\x00\x01\x00\x03\x02h2\x00\x04\x00\x04\xc0\x00\x02\x01", // mandatory not in order
        b"\x00\x01\x00\x00\x03\x00\x03\x00\x35", // cut
        b"\x00\x01\x00\xff\xff\x00\x00",         // no key
    ] {
        assert_eq!(show_data(SVCB, wire), generic(wire));
        assert!(read_data(SVCB, &generic(wire)).is_err());
    }
}
