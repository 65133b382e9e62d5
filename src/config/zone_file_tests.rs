//! Tests of zones out of files: what is served of them, and every way in which they can be at fault.

use crate::config::{self, Config, Fault};
use crate::engine::name::{self, NameKey};
use crate::engine::zone::{Lookup, Zone, ZoneSpec};
use hickory_proto::rr::RecordType;
use std::path::Path;

/// A folder with a configuration of one zone, `corp.example`, and its files.
fn load(files: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    load_in(folder.path())
}

fn load_in(folder: &Path) -> Result<Config, Vec<Fault>> {
    let text = "[[zone]]\nname = \"corp.example\"\nfile = \"zones/corp\"\n";
    config::parse(text, &folder.join("pvtzd.toml")).map(|(config, _)| config)
}

/// The only zone of a configuration.
fn zone(config: &Config) -> Zone {
    Zone::build(ZoneSpec::clone(&config.zones[0].0), 1).unwrap()
}

fn find(zone: &Zone, name: &str, rtype: RecordType) -> String {
    match zone.lookup(&NameKey::of(&name::parse(name).unwrap()), rtype) {
        Lookup::Rrset(set) => format!("{} {set}", set.ttl),
        Lookup::Cname(set) => format!("-> {set}"),
        Lookup::NoType => "no type".into(),
        Lookup::Empty => "empty".into(),
        Lookup::Missing => "missing".into(),
    }
}

#[test]
fn a_zone_is_served_from_its_file() {
    let config = load(&[
        (
            "zones/corp",
            "$TTL 300\n@ SOA ns1 admin 7 3600 1200 604800 60\n@ NS ns1\nWWW A 192.0.2.1\n    A 192.0.2.2\n\
             *.dev CNAME www\na.b.c TXT deep\n$INCLUDE more sub\n",
        ),
        ("zones/more", "x 60 A 192.0.2.9\n"),
    ])
    .unwrap();
    let zone = zone(&config);
    assert_eq!(config.zones[0].0.record_count(), 6);
    for (name, rtype, expected) in [
        (
            "corp.example",
            RecordType::SOA,
            "300 SOA ns1.corp.example admin.corp.example 7 3600 1200 604800 60",
        ),
        ("corp.example", RecordType::NS, "300 NS ns1.corp.example"),
        ("www.corp.example", RecordType::A, "300 A 192.0.2.1, 192.0.2.2"),
        ("any.dev.corp.example", RecordType::A, "-> CNAME www.corp.example"),
        ("b.c.corp.example", RecordType::A, "empty"),
        ("x.sub.corp.example", RecordType::A, "60 A 192.0.2.9"),
        ("none.corp.example", RecordType::A, "missing"),
    ] {
        assert_eq!(find(&zone, name, rtype), expected, "{name}");
    }
    assert_eq!(zone.negative_ttl(), 60, "the minimum of its SOA");
}

#[test]
fn without_soa_and_ns_they_are_made() {
    let zone = zone(&load(&[("zones/corp", "www A 192.0.2.1\n")]).unwrap());
    assert!(find(&zone, "corp.example", RecordType::SOA).starts_with("60 SOA localhost"));
    assert!(find(&zone, "corp.example", RecordType::NS).starts_with("60 NS localhost"));
}

#[test]
fn a_fault_is_told_by_file_and_line_and_nothing_of_the_file_is_used() {
    let circle = "$INCLUDE other\n";
    for (files, file, line, words) in [
        (vec![("zones/corp", "www A 192.0.2.1\n\nwww B x\n")], "corp", 3, "`B` is not a type"),
        (
            vec![("zones/corp", "a A 192.0.2.1\nb.other. A 192.0.2.1\n")],
            "corp",
            2,
            "not in zone `corp.example`",
        ),
        (vec![("zones/corp", "a A 192.0.2.1\na CNAME b\n")], "corp", 2, "there is one on line 1"),
        (vec![("zones/corp", "a SOA a b 1 2 3 4 5\n")], "corp", 1, "at the apex"),
        (vec![("zones/corp", "@ SOA a b 1 2 3 4 5\n@ SOA a b 1 2 3 4 5\n")], "corp", 2, "a second SOA"),
        (
            vec![("zones/corp", "@ SOA a b 1 2 3 4 5\na A 192.0.2.1\n@ SOA a b 1 2 3 4 6\n")],
            "corp",
            3,
            "a second SOA",
        ),
        (
            vec![("zones/corp", "@ SOA a b 1 2 3 4 5\na A 192.0.2.1\n@ SOA a b 1 2 3 4 5\nb A 192.0.2.1\n")],
            "corp",
            3,
            "a second SOA",
        ),
        (vec![("zones/corp", "$INCLUDE gone\n")], "corp", 1, "cannot read"),
        (vec![("zones/corp", "$INCLUDE corp\n")], "corp", 1, "includes itself"),
        (vec![("zones/corp", circle), ("zones/other", "$INCLUDE corp\n")], "other", 1, "includes itself"),
        (
            vec![("zones/corp", "$INCLUDE ../out\n"), ("out", "a A 192.0.2.1\n")],
            "corp",
            1,
            "not in the directory",
        ),
        (vec![("zones/corp", "$INCLUDE more\n"), ("zones/more", "a\n\nb A x\n")], "more", 3, "not an IPv4"),
        (vec![("zones/corp", "a TXT \"open\n")], "corp", 1, "closing quote"),
    ] {
        let faults = load(&files).unwrap_err();
        let told = faults
            .iter()
            .any(|fault| fault.line == line && fault.message.contains(words) && fault.file.ends_with(file));
        assert!(told, "{files:?}: {faults:?}");
    }
}

#[test]
fn of_many_faults_some_are_told_and_the_rest_counted() {
    let text = "a A nonsense\n".repeat(100_000);
    let faults = load(&[("zones/corp", &text)]).unwrap_err();
    assert_eq!(faults.len(), 21);
    assert!(faults.iter().any(|fault| fault.message.contains("99980 more errors")));
}

#[test]
fn only_regular_files_of_text_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let path = folder.path().join("zones/corp");
    let told = |words: &str| {
        let faults = load_in(folder.path()).unwrap_err();
        assert!(faults[0].message.contains(words) && faults[0].line == 3, "{words}: {faults:?}");
    };
    told("cannot read");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    told("not a regular file");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    told("not a regular file");
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, b"; \xe4lter\na A 192.0.2.1\nb TXT caf\xe9\n").unwrap();
    let zone = zone(&load_in(folder.path()).unwrap());
    assert_eq!(find(&zone, "b.corp.example", RecordType::TXT), "60 TXT \"caf\\233\"");
}

#[test]
fn the_output_of_a_transfer_ends_with_its_soa_record() {
    let soa = "corp.example. 300 IN SOA ns1.corp.example. admin.corp.example. 7 3600 1200 604800 60\n";
    let text =
        format!("; <<>> DiG <<>>\n{soa}www.corp.example. 300 IN A 192.0.2.1\n{soa};; Query time: 0 msec\n");
    let zone = zone(&load(&[("zones/corp", &text)]).unwrap());
    assert_eq!(find(&zone, "www.corp.example", RecordType::A), "300 A 192.0.2.1");
}

#[test]
fn a_record_that_is_there_twice_is_one_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let text = "a A 192.0.2.1\na A 192.0.2.2\nA 60 A 192.0.2.2\nb CNAME A\nb CNAME a\n";
    std::fs::write(folder.path().join("zones/corp"), text).unwrap();
    let text = "[[zone]]\nname = \"corp.example\"\nfile = \"zones/corp\"\n";
    let (config, warnings) = config::parse(text, &folder.path().join("pvtzd.toml")).unwrap();
    assert_eq!(find(&zone(&config), "a.corp.example", RecordType::A), "60 A 192.0.2.1, 192.0.2.2");
    let told: Vec<String> = warnings
        .iter()
        .map(|fault| format!("{}: {} ({})", fault.line, fault.message, fault.excerpt))
        .collect();
    let twice = [
        "3: the same record is on line 2 already (A 60 A 192.0.2.2)",
        "5: the same record is on line 4 already (b CNAME a)",
    ];
    assert!(twice.iter().all(|line| told.iter().any(|told| told == line)), "{told:?}");
}

#[test]
fn a_signed_zone_is_read() {
    let text = "a CNAME b\na RRSIG CNAME 8 3 300 20300322173103 20030220173103 2642 corp.example. AQID\n\
                a NSEC b CNAME RRSIG NSEC\nb A 192.0.2.1\n";
    let zone = zone(&load(&[("zones/corp", text)]).unwrap());
    assert_eq!(find(&zone, "a.corp.example", RecordType::A), "-> CNAME b.corp.example");
    assert_eq!(find(&zone, "a.corp.example", RecordType::NSEC), "60 NSEC b.corp.example CNAME RRSIG NSEC");
}

#[test]
fn a_zone_has_a_file_or_records() {
    let text = "[[zone]]\nname = \"corp.example\"\nfile = \"gone\"\n[[zone.record]]\nname = \"a\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\n";
    let faults = config::parse(text, Path::new("test.toml")).unwrap_err();
    assert!(faults[0].message.contains("both a file and records"), "{faults:?}");
}

#[test]
fn each_fault_has_its_line_of_what_was_read() {
    let faults = |padding: usize| -> Vec<String> {
        let text = format!(
            "$TTL 300\nwww A 192.0.2.1\n; {}\nwww A nonsense\n$INCLUDE more\nwww CNAME x\n",
            "x".repeat(padding)
        );
        let found = load(&[("zones/corp", &text), ("zones/more", "a A 192.0.2.300\na A\n")]).unwrap_err();
        found.iter().map(|fault| format!("{}: {}", fault.line, fault.excerpt)).collect()
    };
    let told = ["4: www A nonsense", "6: www CNAME x", "1: a A 192.0.2.300", "2: a A"];
    assert_eq!(faults(1), told);
    // What shows only when the zone is put together has no line where the text is too long to be kept for it.
    let of_long = ["4: www A nonsense", "6: ", "1: a A 192.0.2.300", "2: a A"];
    assert_eq!(faults(8 << 20), of_long);
}
