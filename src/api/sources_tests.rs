//! Tests of what an import takes beside documents.

use super::*;
use std::fs;

/// A file of this name and content; the folder stays as long as the first part does.
fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// `zone: rr type value ttl`, a line for each record, and the notes.
fn lines(made: &ImportedDocument) -> Vec<String> {
    let records = made.document.zones.iter().flat_map(|zone| {
        zone.records.iter().map(|record| {
            let priority = record.priority.map(|priority| format!(" {priority}")).unwrap_or_default();
            let ttl = record.ttl.unwrap_or_default();
            format!("{}: {} {} {}{priority} {ttl}", zone.zone_name, record.rr, record.rtype, record.value)
        })
    });
    records.chain(made.notes.iter().map(|note| format!("note {note}"))).collect()
}

#[test]
fn a_zone_file_becomes_a_zone() {
    let text = "$TTL 1w\n@ SOA ns admin 1 2 3 4 5\n@ NS ns\n@ 60 MX 10 mail\nwww 60 A 192.0.2.1\nwww 60 A 192.0.2.2\nsub NS ns.x.\n";
    for (name, content) in [
        ("corp.example.zone", text.to_string()),
        ("x", format!("$ORIGIN corp.example.\n{text}")),
        ("y", text.replace("@ SOA", "corp.example. SOA")),
    ] {
        let (_folder, path) = file(name, &content);
        let made = of_zone_file(&path, &content, None).unwrap();
        assert_eq!(
            lines(&made),
            [
                "corp.example: @ MX mail.corp.example 10 60",
                "corp.example: www A 192.0.2.1 60",
                "corp.example: www A 192.0.2.2 60",
                "note omitted 1 record of type NS: PrivateZone does not support this type",
            ],
            "{name}"
        );
    }
    let (_folder, path) = file("zone", "www 1w A 192.0.2.1\n");
    assert!(of_zone_file(&path, "www 1w A 192.0.2.1\n", None).is_err(), "no zone is named");
    let made = of_zone_file(&path, "", Some(&name::parse("a.example").unwrap())).unwrap();
    assert_eq!(lines(&made)[1], "note limited 1 TTL to PrivateZone's range, 5 to 86400");
    let (_folder, path) = file("a.zone", "www A x\n@ MX\n");
    let failure = of_zone_file(&path, "", None).err();
    let Some(SourceFault::Wrong(told)) = failure else { panic!("{failure:?}") };
    assert!(told.contains("a.zone:1: ") && told.contains("a.zone:2: "), "{told}");
}

/// A text that came from elsewhere has no part of this machine's files read.
#[test]
fn a_text_is_read_as_the_file_would_be_and_includes_nothing() {
    let text = "$ORIGIN corp.example.\n@ 60 MX 10 mail\nwww 60 A 192.0.2.1\n";
    let made = of_zone_text(Path::new("x"), text.into(), None).unwrap();
    assert_eq!(
        lines(&made),
        ["corp.example: @ MX mail.corp.example 10 60", "corp.example: www A 192.0.2.1 60"]
    );
    for path in ["/etc/hostname", "hosts", "../etc/passwd", "."] {
        let told = of_zone_text(Path::new("a.zone"), format!("$INCLUDE {path}\n"), None).err();
        let Some(SourceFault::Wrong(told)) = told else { panic!("{path}: {told:?}") };
        assert_eq!(told, "a.zone:1: a text that is not read from this machine includes no files", "{path}");
    }
    let hosts = of_hosts_text(Path::new("x"), "192.0.2.1 www.corp.example\n", None).unwrap();
    assert_eq!(lines(&hosts), ["corp.example: www A 192.0.2.1 60"]);
    let wrong = of_hosts_text(Path::new("hosts"), "192.0.2.1 a..b\n", None).err();
    assert!(matches!(wrong, Some(SourceFault::Wrong(told)) if told.starts_with("hosts:1: ")));
    let nameless = of_zone_text(Path::new("x"), "www A 192.0.2.1\n".into(), None).err();
    assert!(matches!(nameless, Some(SourceFault::NoZoneName(_))));
}

#[test]
fn a_hosts_file_becomes_zones() {
    let (_folder, path) =
        file("hosts", "127.0.0.1 localhost\n192.0.2.1 www.corp.example www\n2001:db8::1 db.corp.example\n");
    let made = of_hosts_file(&path, None).unwrap();
    assert_eq!(
        lines(&made),
        [
            "corp.example: db AAAA 2001:db8::1 60",
            "corp.example: www A 192.0.2.1 60",
            "note omitted 1 address set of names without a dot: --zone sets their zone",
        ]
    );
    assert_eq!(made.document.zones[0].proxy_pattern.as_deref(), Some("RECORD"), "other names go on");
    let made = of_hosts_file(&path, Some(&name::parse("app.example").unwrap())).unwrap();
    assert_eq!(
        lines(&made),
        ["app.example: www A 192.0.2.1 60", "note omitted 2 address sets of names outside app.example"]
    );
}

#[test]
fn answers_of_the_product_are_put_together() {
    let zones = r#"{"RequestId":"x","TotalItems":1,"Zones":{"Zone":[{"ZoneId":"z1","ZoneName":"a.example","ProxyPattern":"RECORD",
        "RecordCount":3,"ZoneType":"AUTH_ZONE","ResourceTags":{"ResourceTag":[{"Key":"k","Value":"v"}]}}]}}"#;
    let info = r#"{"ZoneId":"z1","ZoneName":"a.example","ProxyPattern":"RECORD","Remark":"r","RecordCount":3,
        "BindVpcs":{"Vpc":[{"VpcId":"vpc-1","RegionId":"cn-hangzhou","VpcType":"STANDARD"}]}}"#;
    let page = |number: u64, records: &str| {
        format!("{{\"PageNumber\":{number},\"Records\":{{\"Record\":[{records}]}}}}")
    };
    let record = |id: u64, rest: &str| format!("{{\"RecordId\":{id},\"ZoneId\":\"z1\",{rest}}}");
    let www = record(
        1,
        r#""Rr":"www","Type":"A","Value":"192.0.2.1","Ttl":60,"Priority":1,"Weight":1,"Line":"default","Status":"ENABLE""#,
    );
    let mx = record(2, r#""Rr":"@","Type":"MX","Value":"m.example","Ttl":5,"Priority":7,"Status":"DISABLE""#);
    let last = record(3, r#""Rr":"x","Type":"TXT","Value":"t","Ttl":60"#);
    let first = page(1, &format!("{www},{mx}"));
    let second = page(2, &format!("{mx},{last}"));
    for text in [format!("{zones}\n{info}{first}{second}"), format!("[{zones},{info},{first},{second}]")] {
        let made = of_answers(&text).unwrap().unwrap();
        assert_eq!(
            lines(&made),
            ["a.example: www A 192.0.2.1 60", "a.example: @ MX m.example 7 5", "a.example: x TXT t 60"]
        );
        let zone = &made.document.zones[0];
        assert_eq!((zone.bind_vpcs.len(), zone.tags.len(), zone.remark.as_deref()), (1, 1, Some("r")));
        assert_eq!(zone.records[1].status.as_deref(), Some("DISABLE"));
    }
    let why = |text: &str| of_answers(text).unwrap().err().unwrap();
    assert!(why(&format!("{info}{first}")).contains("2 of 3 records of a.example: pages"));
    assert!(why(&first).contains("without its name"));
    assert!(why(&zones.replace("\"TotalItems\":1", "\"TotalItems\":2")).contains("1 of 2 zones"));
    assert!(of_answers("{\"Zones\":[{\"ZoneName\":\"a\"}]}").is_none(), "a document is none");
    assert!(of_answers("[[Zones]]\n").is_none());
}

#[test]
fn what_a_file_is_shows_in_its_beginning() {
    assert!(looks_like_hosts("# c\n\n192.0.2.1 a\n") && looks_like_hosts("fe80::1%lo0 a\n"));
    assert!(!looks_like_hosts("192.0.2.1\n") && !looks_like_hosts("a A 192.0.2.1\n"));
    assert!(looks_like_zone("; c\n$TTL 1h\n") && looks_like_zone("@ IN SOA a b 1 2 3 4 5\n"));
    assert!(!looks_like_zone("[[Zones]]\n"));
}
