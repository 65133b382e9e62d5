//! Tests of hosts files.

use super::*;
use crate::engine::name::parse;

const OPTIONS: HostsOptions = HostsOptions { ttl: 60, without_localhost: true };

fn read(text: &str) -> HostsRead {
    Hosts::read("hosts", text, OPTIONS)
}

fn look(hosts: &Hosts, name: &str, rtype: RecordType) -> String {
    match hosts.lookup(&NameKey::of(&parse(name).unwrap()), rtype) {
        HostsLookup::Rrset(set) => set.to_string(),
        HostsLookup::NoType => "no type".into(),
        HostsLookup::Above => "above".into(),
        HostsLookup::Missing => "missing".into(),
    }
}

#[test]
fn names_have_their_addresses_and_addresses_their_first_name() {
    let text = "\u{feff}# comment\n\n  127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # more\r\n\
                192.0.2.1 www.example. www\n192.0.2.2 WWW.Example\n192.0.2.1 again.example\n192.0.2.1 www.example\n\
                2001:db8::1 www.example v6.example\n::ffff:192.0.2.9 mapped.example\n0.0.0.0 ads.example\n";
    let HostsRead { hosts, faults, left_out } = read(text);
    assert!(faults.told.is_empty() && left_out.told.is_empty(), "{faults:?} {left_out:?}");
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let loopback6 = format!("1.{}ip6.arpa", "0.".repeat(31));
    for (name, rtype, expected) in [
        ("www.example", RecordType::A, "A 192.0.2.1, 192.0.2.2"),
        ("www.example", RecordType::AAAA, "AAAA 2001:db8::1"),
        ("www.example", RecordType::TXT, "no type"),
        ("www", RecordType::A, "A 192.0.2.1"),
        ("www", RecordType::AAAA, "no type"),
        ("mapped.example", RecordType::A, "A 192.0.2.9"),
        ("1.2.0.192.in-addr.arpa", RecordType::PTR, "PTR www.example"),
        ("1.2.0.192.in-addr.arpa", RecordType::A, "no type"),
        (v6, RecordType::PTR, "PTR www.example"),
        ("2.0.192.in-addr.arpa", RecordType::PTR, "above"),
        ("example", RecordType::A, "above"),
        (".", RecordType::A, "missing"),
        ("x.www.example", RecordType::A, "missing"),
        ("ads.example", RecordType::A, "A 0.0.0.0"),
        ("ads.example", RecordType::AAAA, "no type"),
        ("0.0.0.0.in-addr.arpa", RecordType::PTR, "missing"),
        ("localhost", RecordType::A, "missing"),
        ("ip6-localhost", RecordType::AAAA, "AAAA ::1"),
        (&loopback6, RecordType::PTR, "missing"),
    ] {
        let found = look(&hosts, name, rtype);
        assert!(found.starts_with(expected), "{name} {rtype}: {found}");
    }
    assert_eq!(hosts.len(), 7);
}

#[test]
fn localhost_is_served_where_nothing_else_answers_it() {
    let options = HostsOptions { without_localhost: false, ..OPTIONS };
    let hosts = Hosts::read("hosts", "127.0.0.1 localhost a.localhost\n", options).hosts;
    assert!(look(&hosts, "localhost", RecordType::A).starts_with("A 127.0.0.1"));
    assert!(look(&hosts, "1.0.0.127.in-addr.arpa", RecordType::PTR).starts_with("PTR localhost"));
}

#[test]
fn a_star_is_an_ordinary_label() {
    let hosts = read("192.0.2.1 *.example\n").hosts;
    assert_eq!(look(&hosts, "a.example", RecordType::A), "missing");
}

#[test]
fn scoped_addresses_and_bare_ones_are_left_out_with_a_word() {
    let read = read("fe80::1%lo0 localhost\n192.0.2.1 a\n192.0.2.2\n");
    assert!(read.faults.told.is_empty());
    assert_eq!(read.hosts.len(), 1);
    let told: Vec<usize> = read.left_out.told.iter().map(|(line, _)| *line).collect();
    assert_eq!(told, [1, 3]);
    assert!(read.left_out.told[0].1.contains("fe80::1%lo0"), "{:?}", read.left_out);
}

#[test]
fn faults_have_their_lines() {
    let long = format!("192.0.2.1 {}", "a ".repeat(5 << 20));
    for (text, line, part) in [
        ("192.0.2.1 a\nwww.example 192.0.2.1\n", 2, "`www.example` is not an IP address"),
        ("192.0.2.256 a", 1, "is not an IP address"),
        ("192.0.2.01 a", 1, "is not an IP address"),
        ("192.0.2.1%eth0 a", 1, "is not an IP address"),
        ("fe80::1% a", 1, "is not an IP address"),
        ("192.0.2.1 a..b", 1, "a..b"),
        ("192.0.2.1 .", 1, "not the name of a host"),
        ("192.0.2.1 \u{1b}[31m..", 1, "\\"),
        ("\n\n192.0.2.1 a\0b..", 3, "a"),
        (&long, 1, "octets"),
    ] {
        let faults = read(text).faults.told;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].0 == line && faults[0].1.contains(part), "{faults:?}");
        assert!(!faults[0].1.chars().any(char::is_control), "{faults:?}");
    }
    let name = format!("192.0.2.1 {}\n", vec!["a".repeat(60); 5].join("."));
    assert_eq!(read(&name).faults.told.len(), 1, "a name of more than 255 octets");
}

#[test]
fn one_name_has_no_more_addresses_than_an_answer_can_hold() {
    let line = |number: usize| format!("10.0.{}.{} many.example\n", number / 256, number % 256);
    let some: String = (0..MAX_ADDRESSES).map(line).collect();
    assert!(read(&some).faults.told.is_empty());
    let more = some + &line(MAX_ADDRESSES) + "10.0.0.0 many.example\n";
    assert_eq!(
        read(&more).faults.told,
        [(MAX_ADDRESSES + 1, "more than 1000 addresses for `many.example`".into())]
    );
}

#[test]
fn a_fault_on_each_of_many_lines_is_counted_and_not_kept() {
    let faults = read(&"x\n".repeat(5000)).faults;
    assert_eq!((faults.told.len(), faults.more), (1000, 4000));
}
