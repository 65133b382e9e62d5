//! Tests of record data.

use super::*;

fn check(rtype: &str, text: &str, shown: &str) {
    let rtype = parse_type(rtype).unwrap();
    let data = parse_value(rtype, text).unwrap();
    assert_eq!(show_value(&data), shown);
    assert_eq!(parse_value(rtype, &show_value(&data)).unwrap(), data, "{shown} does not read back");
    assert_eq!(from_wire(rtype, &to_wire(&data)).unwrap(), data, "{shown} does not survive the wire");
}

#[test]
fn values_read_show_and_survive_the_wire() {
    check("A", "192.0.2.1", "192.0.2.1");
    check("aaaa", "2001:DB8::1", "2001:db8::1");
    check("CNAME", "Target.Example.", "Target.Example");
    check("MX", "10  mail.example", "10 mail.example");
    check("SRV", "1 2 5060 sip.example.", "1 2 5060 sip.example");
    check("PTR", "host.example", "host.example");
    check("NS", "ns1.example", "ns1.example");
    check("TXT", "v=spf1 -all; \"quoted\" inside", "\"v=spf1 -all; \\\"quoted\\\" inside\"");
    check("TXT", "\"one\" \"two \\\"x\\\" \\009\"", "\"one\" \"two \\\"x\\\" \\009\"");
    check("TXT", "", "\"\"");
    check("TYPE65534", "\\# 3 0a0B0c", "\\# 3 0a0b0c");
    check("TYPE65534", "\\# 0", "\\# 0");
    check("TYPE1", "\\# 4 c0000201", "192.0.2.1");
}

#[test]
fn the_librarys_types_read_and_survive_the_wire() {
    for (rtype, text) in [
        ("CAA", "0 issue \"ca.example\""),
        ("HTTPS", "1 . alpn=h2,h3"),
        ("HTTPS", "0 pool.example"),
        ("SVCB", "1 svc.example port=8443 ipv4hint=192.0.2.1"),
    ] {
        let rtype = parse_type(rtype).unwrap();
        let data = parse_value(rtype, text).unwrap();
        assert_eq!(from_wire(rtype, &to_wire(&data)).unwrap(), data);
        assert_eq!(parse_value(rtype, &show_value(&data)).unwrap(), data, "{}", show_value(&data));
    }
}

#[test]
fn a_long_text_is_split_at_255_octets() {
    let data = parse_value(RecordType::TXT, &"x".repeat(600)).unwrap();
    let RData::TXT(txt) = data else { panic!("not TXT") };
    assert_eq!(txt.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
}

#[test]
fn bad_values_say_what_is_wrong_and_how_it_looks() {
    for (rtype, text, words) in [
        ("A", "1.2.3", "192.0.2.1"),
        ("A", "2001:db8::1", "IPv4"),
        ("AAAA", "1.2.3.4", "IPv6"),
        ("MX", "mail.example", "1 fields instead of 2"),
        ("MX", "70000 mail.example", "preference"),
        ("SRV", "1 2 3", "3 fields instead of 4"),
        ("CNAME", "a..b", "empty label"),
        ("CNAME", "two names", "write \\032"),
        ("TXT", "\"open", "closing quote"),
        ("TYPE65534", "\\# 3 0a0b", "announces 3"),
        ("TYPE65534", "\\# 1 zz", "not hex"),
        ("TYPE65534", "text", "RFC 3597"),
        ("TYPE1", "\\# 3 0a0b0c", "not the data"),
        ("ANY", "x", "not a type of record"),
    ] {
        let error = parse_value(parse_type(rtype).unwrap(), text).unwrap_err();
        assert!(error.contains(words), "{rtype} {text}: {error}");
    }
}

#[test]
fn types_are_known_by_mnemonic_and_by_number() {
    assert_eq!(parse_type("https"), Some(RecordType::HTTPS));
    assert_eq!(parse_type("TYPE65"), Some(RecordType::HTTPS));
    assert_eq!(parse_type("NOPE"), None);
    assert_eq!(parse_type("TYPE70000"), None);
    assert_eq!(show_type(RecordType::Unknown(65534)), "TYPE65534");
}
