//! Tests of record data as text, both ways.

use super::super::read::{has_text_form, read};
use super::super::types::parse as code_of;
use super::*;
use proptest::prelude::*;

/// Values as they are shown; each reads back to the octets that it was made of.
const SHOWN: &[(&str, &str)] = &[
    ("A", "192.0.2.1"),
    ("AAAA", "2001:db8::1"),
    ("NS", "ns1.example"),
    ("DNAME", "."),
    ("SOA", "ns.example host\\.master.example 2026010100 3600 600 86400 60"),
    ("HINFO", "\"a \\\"cpu\\\"\" \"\""),
    ("MINFO", "a.example b.example"),
    ("MX", "10 mail.example"),
    ("TXT", "\"one\" \"\" \"\\195\\169\\000;\""),
    ("RP", "a.example ."),
    ("AFSDB", "1 db.example"),
    ("X25", "\"311061700956\""),
    ("ISDN", "\"150862028003217\" \"004\""),
    ("GPOS", "\"-32.6882\" \"116.8652\" \"10.0\""),
    ("NSAP", "0x47000580005A0000000001E133FFFFFF00016100"),
    ("PX", "10 map822.example mapx400.example"),
    ("LOC", "42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m"),
    ("LOC", "0 0 0.001 S 180 0 0.000 E 42849672.95m 0.00m 0.90m 90000000m"),
    ("SRV", "10 5 5060 sip.example"),
    ("NAPTR", "100 50 \"s\" \"z3950+I2L+I2C\" \"!^.*$!\\\\1!\" _z3950._tcp.example"),
    ("KX", "10 kx.example"),
    ("CERT", "1 12345 8 AQIDBA=="),
    ("APL", "1:192.0.2.0/24 !1:192.0.2.128/25 2:2001:db8::/32 1:0.0.0.0/0"),
    ("APL", ""),
    ("DS", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"),
    ("SSHFP", "4 2 AB01"),
    ("IPSECKEY", "10 1 2 192.0.2.38 AQNRU3mG"),
    ("IPSECKEY", "10 2 2 2001:db8::1 AQNRU3mG"),
    ("IPSECKEY", "10 3 0 gateway.example"),
    ("IPSECKEY", "10 0 2 . AQNRU3mG"),
    ("RRSIG", "A 8 2 300 20260131235959 20260101000000 12345 example AQID"),
    ("RRSIG", "TYPE65280 13 0 4294967295 21060207062815 19700101000000 0 . AA=="),
    ("NSEC", "b.example A MX RRSIG NSEC CAA TYPE1234"),
    ("NSEC", "\\000.example"),
    ("DNSKEY", "257 3 8 AwEAAQ=="),
    ("CDS", "0 0 0 00"),
    ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    ("NSEC3", "1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG"),
    ("NSEC3", "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR"),
    ("NSEC3PARAM", "1 0 12 AABBCCDD"),
    ("NSEC3PARAM", "1 0 0 -"),
    ("TLSA", "3 1 1 0A0B"),
    ("SMIMEA", "3 0 1 0A0B"),
    ("OPENPGPKEY", "AQID"),
    ("CSYNC", "66 3 A NS AAAA"),
    ("CSYNC", "66 65535"),
    ("ZONEMD", "2018031500 1 1 FEBE"),
    ("SVCB", "0 svc4.example"),
    ("HTTPS", "1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1,192.0.2.2"),
    ("DSYNC", "CDS 1 5359 notify.example"),
    ("NID", "10 14:4fff:ff20:ee64"),
    ("L32", "10 10.1.2.0"),
    ("L64", "10 2001:db8:1140:1000"),
    ("LP", "10 l64.example"),
    ("EUI48", "00-00-5e-00-53-2a"),
    ("EUI64", "00-00-5e-ef-10-00-00-2a"),
    ("URI", "10 1 \"https://example.com/\\195\\169 \\\"x\\\"\""),
    ("CAA", "128 issue \"ca.example; policy=ev\""),
    ("CAA", "0 issuewild \";\""),
    ("TYPE65534", "\\# 3 0a0b0c"),
    ("TYPE65534", "\\# 0"),
    ("NULL", "\\# 1 00"),
];

#[test]
fn every_type_shows_what_reads_back() {
    for (rtype, text) in SHOWN {
        let code = code_of(rtype).unwrap();
        let data = read(code, text).unwrap_or_else(|why| panic!("{rtype} {text}: {why}"));
        assert_eq!(&show(code, &data), text, "{rtype}");
        assert!(is_well_formed(code, &data));
        assert_eq!(read(code, &generic(&data)), Ok(data), "{rtype}: the generic form is taken as well");
    }
}

#[test]
fn other_forms_of_a_value_are_read() {
    for (rtype, text, shown) in [
        ("LOC", "42 N 71 W 0", "42 0 0.000 N 71 0 0.000 W 0.00m 1m 10000m 10m"),
        ("LOC", "42 21 54.5 n 71 6 18 w -24.5m 30m", "42 21 54.500 N 71 6 18.000 W -24.50m 30m 10000m 10m"),
        ("DS", "1 8 2 ( aabb\n  CC dd ) ; digest", "1 8 2 AABBCCDD"),
        ("DNSKEY", "256 3 8 AwEA AQ", "256 3 8 AwEAAQ=="),
        ("NSEC", "b.example. NSEC a A", "b.example A NSEC"),
        (
            "RRSIG",
            "type1 8 2 300 1767225600 0 1 Example. AQ==",
            "A 8 2 300 20260101000000 19700101000000 1 Example AQ==",
        ),
        ("HINFO", "cpu os", "\"cpu\" \"os\""),
        ("CAA", "0 issue ca.example", "0 issue \"ca.example\""),
        ("CAA", "0 issue \"\\101\\\"\"", "0 issue \"e\\\"\""),
        ("SOA", "a. b. ( 1 ; serial\n 2 3\n 4 5 )", "a b 1 2 3 4 5"),
        ("TYPE65534", "\\# 4 ( 0a0b\n 0c 0d )", "\\# 4 0a0b0c0d"),
        ("TYPE1", "\\# 4 c0000201", "192.0.2.1"),
    ] {
        let code = code_of(rtype).unwrap();
        assert_eq!(show(code, &read(code, text).unwrap_or_else(|why| panic!("{text}: {why}"))), shown);
    }
}

#[test]
fn a_value_that_is_none_is_refused_with_the_reason() {
    for (rtype, text, words) in [
        ("SOA", "a b 1 2 3 4", "6 fields instead of 7"),
        ("MX", "+1 a", "not a preference"),
        ("DS", "1 8 2", "come in pairs"),
        ("DS", "1 8 2 abc", "come in pairs"),
        ("DS", "1 8 2 xx", "not hex"),
        ("DNSKEY", "1 8 2 ===", "not base64"),
        ("NSEC", "a NOPE", "not a type"),
        ("NSEC3", "1 0 0 - !", "base32hex"),
        ("RRSIG", "A 8 2 300 20261301000000 0 1 a AQ==", "not a moment"),
        ("LOC", "91 N 0 E 0", "degrees"),
        ("LOC", "90 0 0.001 N 0 E 0", "more than 90"),
        ("LOC", "1 60 N 0 E 0", "`60`"),
        ("LOC", "1 N 0 E", "altitude"),
        ("LOC", "1 N 0 E 0 1 1 1 1", "behind the last"),
        ("APL", "3:1/1", "not a prefix"),
        ("APL", "1:192.0.2.0/33", "not a prefix"),
        ("NID", "10 1:2:3", "four groups"),
        ("EUI48", "00-00-5e-00-53", "6 pairs"),
        ("HINFO", "a", "1 fields instead of 2"),
        ("CAA", "0 is-sue x", "not a tag"),
        ("CAA", "0 issue a;b", "between quotes"),
        ("TYPE65534", "\\# 3 0a0b", "announces 3"),
        ("TYPE65534", "text", "RFC 3597"),
        ("CAA", "\\# 1 00", "not the data of a CAA"),
        ("IPSECKEY", "10 4 2 . AQ==", "kind of gateway"),
    ] {
        let why = read(code_of(rtype).unwrap(), text).unwrap_err();
        assert!(why.contains(words), "{rtype} {text}: {why}");
    }
}

#[test]
fn data_that_are_not_of_their_type_have_the_generic_form() {
    for (rtype, data) in [
        ("A", &b"\x01\x02\x03"[..]),
        ("A", b"\x01\x02\x03\x04\x05"),
        ("TXT", b""),
        ("TXT", b"\x05ab"),
        ("SOA", b"\x00"),
        ("MX", b"\x00\x01\xc0\x0c"),
        ("DS", b"\x00\x01\x08\x02"),
        ("NSEC", b"\x00\x00\x00"),
        ("NSEC", b"\x00\x00\x01\x40\x00\x01\x40"),
        ("CAA", b"\x00\x01;x"),
        ("LOC", b"\x00\xaa\x00\x00\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("HTTPS", b"\x00\x01\x00\xff\xff\x00\x00"),
        ("APL", b"\x00\x01\x08\x01\x00"),
        ("NSEC3", b"\x01\x00\x00\x00\x00\x00"),
    ] {
        let code = code_of(rtype).unwrap();
        assert_eq!(show(code, data), generic(data), "{rtype}");
        assert!(!is_well_formed(code, data));
    }
}

proptest! {
    #[test]
    fn any_data_show_as_plain_text_that_reads_back(code in prop_oneof![0_u16..110, 255_u16..263, any::<u16>()], data in prop::collection::vec(any::<u8>(), 0..60)) {
        let text = show(code, &data);
        prop_assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{}", text);
        let is_typed = !text.starts_with("\\#");
        if is_typed || !has_text_form(code) {
            let is_alias = matches!(code, 64 | 65) && data.starts_with(&[0, 0]);
            match read(code, &text) {
                Ok(back) => prop_assert_eq!(show(code, &back), text),
                Err(why) => prop_assert!(is_alias, "{}: {}", text, why),
            }
        }
    }

    #[test]
    fn any_text_is_a_value_or_refused(code in prop_oneof![0_u16..110, 255_u16..263], text in "[ -~é\\n]{0,40}") {
        if let Ok(data) = read(code, &text) {
            prop_assert!(is_well_formed(code, &data) || text.contains("\\#"), "{}", text);
            prop_assert_eq!(read(code, &show(code, &data)), Ok(data));
        }
    }
}
