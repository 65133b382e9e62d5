//! Tests of the plan of an import, and that what is exported can be imported.

use super::super::import_plan::MAX_TOLD;
use super::super::transfer;
use super::*;
use crate::account::Account;
use crate::api::actions::ApiCaller;
use crate::api::actions::ConfigIds;
use crate::api::actions::ObservedCounts;
use crate::api::document::DocumentVpc;
use crate::config::{self, InstanceInfo};
use crate::engine::cache::Timestamp;
use crate::engine::catalog::Catalog;
use crate::stats::top::TopLists;
use document::{DocumentRecord, DocumentZone, Tag, WeightedSet};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// VPCs v0 to v5, and a zone of the file that all of them see.
fn catalog() -> Catalog {
    let vpcs: String = (0..6)
        .map(|n| format!("[[vpc]]\nid = \"v{n}\"\nregion = \"cn-test\"\nclients = [\"127.{n}.0.0/16\"]\n"))
        .collect();
    let text = format!("[upstream]\nservers = []\n[[zone]]\nname = \"file.example\"\n{vpcs}");
    config::parse(&text, Path::new("test.toml")).unwrap().0.catalog(&InstanceInfo::default(), 1)
}

/// An account in a VPC world, to be changed by imports.
struct World {
    catalog: Catalog,
    account: Account,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self { catalog: catalog(), account: Account::default(), now: 1_000_000 }
    }

    fn caller(&self) -> ApiCaller {
        let entropy = [self.now as u8; 16];
        ApiCaller { access_key: "k".into(), source: IpAddr::V4(Ipv4Addr::LOCALHOST), now: self.now, entropy }
    }

    fn on_ground<T>(&self, act: impl FnOnce(&ActionContext) -> T) -> T {
        let caller = self.caller();
        let (tallies, places, history) = Default::default();
        let top = TopLists::default();
        let top = (&top, Timestamp(0));
        let counts = ObservedCounts { tallies: &tallies, places: &places, history: &history, top };
        act(&ActionContext {
            account: &self.account,
            catalog: &self.catalog,
            config_ids: &ConfigIds::default(),
            hosts: &[],
            caller: &caller,
            counts,
        })
    }

    /// Carries an import out; what it changed, or what is wrong.
    fn import(&mut self, document: &Document, mode: Mode) -> Result<Vec<String>, Vec<String>> {
        self.now += 1000;
        let planned = self.on_ground(|context| plan(context, document, mode));
        let (edits, summary) =
            planned.map_err(|faults| faults.told.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        self.account.apply(&edits);
        Ok(summary.changes)
    }

    fn export(&self) -> Document {
        self.on_ground(|context| transfer::document(context, &BTreeSet::new(), false))
    }
}

/// A document from JSON.
fn document(text: &str) -> Document {
    serde_json::from_str(text).unwrap()
}

const ONE: &str = r#"{"Zones":[{"ZoneName":"a.example","ProxyPattern":"RECORD","BindVpcs":[{"VpcId":"v0"}],
    "Records":[{"Rr":"@","Type":"CNAME","Value":"b.example"},{"Rr":"www","Type":"A","Value":"192.0.2.1","Ttl":5}]}]}"#;

#[test]
fn a_merge_adds_and_changes_and_leaves_the_rest() {
    let mut world = World::new();
    assert_eq!(world.import(&document(ONE), Mode::Merge).unwrap().len(), 3);
    let id = world.account.zones().next().unwrap().row.id.clone();
    let more = r#"{"Zones":[{"ZoneName":"A.example.","Remark":"hello","BindVpcs":[{"VpcId":"v1"}],
        "Records":[{"Rr":"www","Type":"A","Value":"192.0.2.1","Weight":3},{"Rr":"www","Type":"A","Value":"192.0.2.2"}]},
        {"ZoneName":"c.example"}]}"#;
    let changes = world.import(&document(more), Mode::Merge).unwrap();
    let mut sorted = changes.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "+ record www.a.example A 192.0.2.2",
            "+ zone c.example",
            "~ record www.a.example A 192.0.2.1",
            "~ zone a.example"
        ]
    );
    let entry = world.account.zone(&id).unwrap();
    assert!(entry.row.proxy && entry.row.remark == "hello" && entry.row.bindings.len() == 2);
    let www: Vec<_> = entry.records.values().map(|row| (row.value, row.ttl, row.weight)).collect();
    assert_eq!(www, [("b.example", 60, 1), ("192.0.2.1", 5, 3), ("192.0.2.2", 60, 1)]);
    assert_eq!(world.import(&document(more), Mode::Merge).unwrap(), [""; 0], "twice is once");
}

#[test]
fn a_replacement_leaves_nothing_else_and_keeps_ids() {
    let mut world = World::new();
    world.import(&document(ONE), Mode::Merge).unwrap();
    let before: Vec<_> = world.account.zones().map(|entry| entry.row.id.clone()).collect();
    let other =
        r#"{"Zones":[{"ZoneName":"a.example","Records":[{"Rr":"www","Type":"A","Value":"192.0.2.1"}]}]}"#;
    let mut changes = world.import(&document(other), Mode::Replace).unwrap();
    changes.sort();
    let expected =
        ["- record a.example CNAME b.example", "~ record www.a.example A 192.0.2.1", "~ zone a.example"];
    assert_eq!(changes, expected);
    let entry = world.account.zone(&before[0]).unwrap();
    assert!(!entry.row.proxy && entry.row.bindings.is_empty() && entry.records.len() == 1);
    world.import(&Document::default(), Mode::Replace).unwrap();
    assert_eq!(world.export(), Document::default());
}

#[test]
fn every_fault_is_told_at_once_by_its_place() {
    let bad = r#"{"Zones":[
        {"ZoneName":"a.example","ProxyPattern":"MAYBE","Remark":"<>","BindVpcs":[{"VpcId":"nowhere"}],
         "Records":[{"Rr":"@","Type":"A","Value":"300.0.0.1"},{"Rr":"www","Type":"NS","Value":"b."},
                    {"Rr":"x","Type":"A","Value":"192.0.2.1","Ttl":1},{"Type":"A","Value":"192.0.2.1"},
                    {"Rr":"y","Type":"A","Value":"192.0.2.1","Line":"none"},
                    {"Rr":"z","Type":"A","Value":"192.0.2.1","Status":"MAYBE"},
                    {"Rr":"d","Type":"A","Value":"192.0.2.1"},{"Rr":"D","Type":"a","Value":"192.0.2.1"},
                    {"Rr":"c","Type":"CNAME","Value":"d."},{"Rr":"c","Type":"A","Value":"192.0.2.1"}]},
        {"ZoneName":"-"},
        {"ZoneName":"b.example","BindVpcs":[{"VpcId":"v1"}]},{"ZoneName":"b.example","BindVpcs":[{"VpcId":"v1"}]},
        {"ZoneName":"file.example","BindVpcs":[{"VpcId":"v2"}]}],
        "Rules":[{"ZoneName":"r.example"},{"ZoneName":"s.example","ForwardIps":[{"Ip":"x"}]}],
        "CustomLines":[{"Name":"l"}]}"#;
    let mut world = World::new();
    let faults = world.import(&document(bad), Mode::Merge).unwrap_err();
    for (place, code) in [
        ("custom line 1 (l)", "MissingIpv4s"),
        ("zone a.example", "InvalidParameter"),
        ("zone a.example", "Zone.Remark"),
        ("zone a.example", "ZoneVpc.NotExists.VpcId"),
        ("zone a.example, record 1 (@ A 300.0.0.1)", "Record.Invalid.Value"),
        ("zone a.example, record 2 (www NS b.)", "Record.Invalid.Type"),
        ("zone a.example, record 3 (x A 192.0.2.1)", "Record.Invalid.TTL"),
        ("zone a.example, record 4 ( A 192.0.2.1)", "MissingRr"),
        ("zone a.example, record 5 (y A 192.0.2.1)", "Record.Invalid.Line"),
        ("zone a.example, record 6 (z A 192.0.2.1)", "InvalidParameter"),
        ("zone a.example, record 7 (d A 192.0.2.1)", "Record.Invalid.Conflict"),
        ("zone a.example, record 9 (c CNAME d.)", "Record.Invalid.Conflict"),
        ("zone -", "Zone.Invalid.Name"),
        ("zone b.example", "ZoneVpc.Zone.Repeated"),
        ("zone file.example", "ZoneVpc.Zone.Repeated"),
        ("rule 1 (r.example)", "MissingForwardIp"),
        ("rule 2 (s.example)", "InvalidParameter"),
    ] {
        let told = faults.iter().any(|fault| fault.starts_with(&format!("{place}: {code}: ")));
        assert!(told, "{place} {code} in {faults:#?}");
    }
    assert_eq!(world.export(), Document::default(), "nothing was changed");
}

#[test]
fn a_name_that_the_account_has_twice_wants_a_vpc() {
    let zone = |vpc: &str| DocumentZone {
        zone_name: "a.example".into(),
        bind_vpcs: vec![DocumentVpc { vpc_id: vpc.into(), ..DocumentVpc::default() }],
        ..DocumentZone::default()
    };
    let mut world = World::new();
    let two = Document { zones: vec![zone("v0"), zone("v1")], ..Document::default() };
    world.import(&two, Mode::Merge).unwrap();
    let vague =
        Document { zones: vec![DocumentZone { bind_vpcs: Vec::new(), ..zone("") }], ..Document::default() };
    let faults = world.import(&vague, Mode::Merge).unwrap_err();
    assert!(faults[0].starts_with("zone a.example: Zone.Ambiguous"), "{faults:?}");
    let one = Document {
        zones: vec![DocumentZone { remark: Some("x".into()), ..zone("v1") }],
        ..Document::default()
    };
    assert_eq!(world.import(&one, Mode::Merge).unwrap(), ["~ zone a.example"]);
    assert_eq!(world.account.zone_count(), 2);
}

/// One way to spell a value of each type.
fn value() -> impl Strategy<Value = (&'static str, String, Option<i64>)> {
    prop_oneof![
        (0..250u8).prop_map(|n| ("A", format!("192.0.2.{n}"), None)),
        (0..250u8).prop_map(|n| ("AAAA", format!("2001:db8::{n:x}"), Some(1))),
        "[ -~]{1,20}".prop_map(|text| ("TXT", format!("t{text}"), None)),
        (1..99i64).prop_map(|n| ("MX", "Mail.Example".into(), Some(n))),
        (1..99u8).prop_map(|n| ("SRV", format!("1 2 {n} target.example"), None)),
    ]
}

fn record() -> impl Strategy<Value = DocumentRecord> {
    let status = prop_oneof![Just(None), Just(Some("DISABLE".to_string()))];
    let line = prop_oneof![Just(None), Just(Some("office".to_string()))];
    let remark = prop_oneof![Just(None), "[a-z ]{1,9}".prop_map(Some)];
    (value(), 5..86_400i64, 1..100i64, line, remark, status).prop_map(
        |((rtype, value, priority), ttl, weight, line, remark, status)| DocumentRecord {
            rr: String::new(),
            rtype: rtype.into(),
            value: value.trim().into(),
            ttl: Some(ttl),
            priority,
            weight: Some(weight),
            line,
            remark: remark.map(|text| format!("r{text}")),
            status,
        },
    )
}

fn zone() -> impl Strategy<Value = DocumentZone> {
    let names = prop_oneof![Just("a.example"), Just("B.example"), Just("中文.example"), Just("c")];
    let records = proptest::collection::vec(record(), 0..6);
    (names, any::<bool>(), 0..4usize, records, "[a-z]{0,5}").prop_map(|(name, proxy, tags, records, tag)| {
        DocumentZone {
            zone_name: name.into(),
            proxy_pattern: proxy.then(|| "RECORD".into()),
            dns_group: proxy.then(|| "NORMAL_ZONE".into()),
            zone_tag: Some(tag),
            tags: (0..tags).map(|n| Tag { key: format!("k{n}"), value: String::new() }).collect(),
            lba_status: vec![WeightedSet { rr: "h0".into(), rtype: "A".into(), line: Some("office".into()) }],
            records: (0..).zip(records).map(|(n, record)| DocumentRecord { rr: host(n), ..record }).collect(),
            ..DocumentZone::default()
        }
    })
}

fn host(n: usize) -> String {
    ["@", "H0", "*", "h1", "_s._tcp", "h2"].get(n).map_or_else(|| format!("h{n}"), |rr| rr.to_string())
}

proptest! {
    #[test]
    fn what_is_exported_makes_the_same_account(zones in proptest::collection::vec(zone(), 0..6), rules in 0..3u8) {
        // The n-th zone is bound to the n-th VPC, the last to none: no two of a name meet.
        let bound = |(n, zone): (usize, DocumentZone)| DocumentZone {
            bind_vpcs: (n < 5).then(|| DocumentVpc { vpc_id: format!("v{n}"), ..DocumentVpc::default() }).into_iter().collect(),
            ..zone
        };
        let rule = |n: u8| DocumentRule {
            zone_name: if n == 0 { ".".into() } else { format!("r{}.example", n / 2) },
            name: Some(format!("rule {n}")),
            forward_ips: vec![document::ForwardIp { ip: "192.0.2.53".into(), port: None }],
            ..DocumentRule::default()
        };
        let given = Document {
            zones: zones.into_iter().enumerate().map(bound).collect(),
            rules: (0..rules).map(rule).collect(),
            custom_lines: vec![CustomLine {
                name: "office".into(),
                dns_category: None,
                ipv4s: vec!["10.0.0.0/8".into()],
            }],
        };
        let mut first = World::new();
        first.import(&given, Mode::Replace).unwrap();
        let exported = first.export();
        let mut second = World::new();
        second.import(&exported, Mode::Replace).unwrap();
        prop_assert_eq!(&second.export(), &exported);
        // And to import it again changes nothing, in either way and in either document.
        for mode in [Mode::Merge, Mode::Replace] {
            prop_assert_eq!(first.import(&exported, mode).unwrap(), Vec::<String>::new());
        }
        let text = serde_json::to_string(&exported).unwrap();
        prop_assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), exported);
    }
}

#[test]
fn the_time_of_a_plan_grows_with_the_document_and_no_faster() {
    let record = |n: usize| DocumentRecord {
        rr: format!("host-{n}"),
        rtype: "A".into(),
        value: format!("10.0.{}.{n}", n % 7),
        ttl: Some(60),
        ..DocumentRecord::default()
    };
    let zone = |n: usize| DocumentZone {
        zone_name: format!("zone-{n}.example"),
        bind_vpcs: vec![DocumentVpc { vpc_id: "v0".into(), ..DocumentVpc::default() }],
        records: (0..10).map(record).collect(),
        ..DocumentZone::default()
    };
    let given = Document { zones: (0..2_000).map(zone).collect(), ..Document::default() };
    let mut world = World::new();
    let begun = std::time::Instant::now();
    assert_eq!(world.import(&given, Mode::Replace).unwrap().len(), MAX_TOLD);
    assert_eq!(world.import(&world.export(), Mode::Replace).unwrap(), [""; 0]);
    // Without optimisation it takes 2 s of a core; what is quadratic would take minutes.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
