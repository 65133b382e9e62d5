//! Tests of the account: what edits come to, one by one or all at once, and how it is published.

use super::packed::{NewRecords, PackedRecord};
use super::row::{
    AuthorisationRow, Binding, EndpointRow, LineRow, LogRow, RecordRow, RuleRow, Weighted, ZoneRow,
};
use super::{Account, Dirty, Edit, MAX_LOG, Rows};
use crate::config::{self, InstanceInfo};
use crate::engine::catalog::{Catalog, GroupKey};
use crate::engine::name::{self, NameKey};
use crate::engine::zone::{Lookup, Zone, ZoneSemantics};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Two VPCs: clients of 10/8 and of 192.168/16.
fn catalog() -> Catalog {
    let text = "[upstream]\nservers = []\n[endpoints]\nproducts = []\n\
        [[vpc]]\nid = \"vpc-0\"\nclients = [\"10.0.0.0/8\"]\n[[vpc]]\nid = \"vpc-1\"\nclients = [\"192.168.0.0/16\"]\n";
    config::parse(text, Path::new("test.toml")).unwrap().0.catalog(&InstanceInfo::default(), 1)
}

fn binding(vpc: u8) -> Binding {
    Binding { vpc: format!("vpc-{vpc}"), region: String::new(), kind: "STANDARD".into() }
}

pub(crate) fn zone(number: u8, bound: &[u8]) -> ZoneRow {
    ZoneRow {
        id: format!("{number:032x}"),
        name: format!("z{number}.example"),
        proxy: number.is_multiple_of(2),
        remark: "测试".into(),
        dns_group: "FAST_ZONE".into(),
        zone_tag: String::new(),
        zone_type: "AUTH_ZONE".into(),
        resource_group: String::new(),
        created: 1,
        updated: 2,
        serial: u32::from(number),
        bindings: bound.iter().map(|vpc| binding(*vpc)).collect(),
        tags: BTreeMap::from([("k".into(), number.to_string())]),
        weighted: Vec::new(),
        sync: None,
    }
}

pub(crate) fn record(id: u64, zone: u8, rr: u8, value: u8, line: &str, enabled: bool) -> RecordRow {
    RecordRow {
        id,
        zone: format!("{zone:032x}"),
        rr: format!("r{rr}"),
        rtype: "A".into(),
        value: format!("10.0.0.{value}"),
        ttl: 60,
        priority: None,
        weight: 1,
        line: line.into(),
        remark: String::new(),
        enabled,
        synced: false,
        created: 1,
        updated: 1,
    }
}

/// New records of one zone: how far the id is from the one before, host record, value, line and whether it is enabled.
fn new_records(first: u64, rows: &[(u64, u8, u8, &str, bool)]) -> NewRecords {
    let (mut id, number) = (first, (first % 4) as u8);
    let record = |(step, rr, value, line, enabled): &(u64, u8, u8, &str, bool)| {
        id += 4 * step; // a record never moves to another zone
        PackedRecord::of(&record(id, number, *rr, *value, line, *enabled).view(), &mut Vec::new())
    };
    NewRecords { zone: format!("{number:032x}"), records: rows.iter().map(record).collect() }
}

/// Edits as they can come: of few zones and records, so that they meet.
pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let weighted = proptest::option::of((0u8..3, prop_oneof!["default", "line-0"]));
    let zone_of = (0u8..4, proptest::collection::vec(0u8..3, 0..3), weighted);
    prop_oneof![
        4 => zone_of.prop_map(|(number, mut bound, weighted)| {
            bound.sort_unstable();
            bound.dedup();
            let set = |(rr, line)| Weighted { rr: format!("R{rr}"), rtype: "A".into(), line };
            Edit::Zone(ZoneRow { weighted: weighted.map(set).into_iter().collect(), ..zone(number, &bound) })
        }),
        1 => (0u8..4).prop_map(|number| Edit::DropZone(format!("{number:032x}"))),
        6 => (1u64..24, 0u8..3, any::<u8>(), prop_oneof!["default", "line-0"], any::<bool>()).prop_map(
            // a record never moves to another zone
            |(id, rr, value, line, enabled)| Edit::Record(record(id, (id % 4) as u8, rr, value, &line, enabled))
        ),
        3 => (1u64..12, proptest::collection::vec((1u64..3, 0u8..3, any::<u8>(), prop_oneof![3 => Just("default"), 1 => Just("line-0")], prop::bool::weighted(0.8)), 0..5)).prop_map(
            |(first, rows)| Edit::Records(new_records(first, &rows))
        ),
        2 => (1u64..24).prop_map(Edit::DropRecord),
        1 => proptest::collection::vec(1u64..24, 0..4).prop_map(Edit::DropRecords),
        1 => (0u8..2, 0u8..3, 1u16..9).prop_map(|(number, vpc, port)| Edit::Rule(RuleRow {
            id: format!("rule-{number}"), name: "n".into(), zone: format!("f{number}.example"), endpoint: String::new(),
            targets: vec![(Ipv4Addr::LOCALHOST, port).into()], priorities: Vec::new(), bindings: vec![binding(vpc)],
            created: 1, updated: 1,
        })),
        1 => (0u8..2).prop_map(|number| Edit::DropRule(format!("rule-{number}"))),
        1 => (0u8..2, 0u8..9).prop_map(|(number, at)| Edit::Line(LineRow {
            id: format!("line-{number}"), name: format!("l{number}"), category: "AUTH".into(), created: 1, updated: 1,
            ranges: vec![(Ipv4Addr::new(10, number, 0, at), Ipv4Addr::new(10, number, 0, at))],
        })),
        1 => (0u8..2).prop_map(|number| Edit::DropLine(format!("line-{number}"))),
        1 => (0u8..2).prop_map(|number| Edit::Endpoint(EndpointRow {
            id: format!("e{number}"), name: "e".into(), vpc: "vpc-0".into(), region: String::new(),
            security_group: "sg".into(), ips: Vec::new(), created: 1, updated: 1,
        })),
        1 => (0u8..2).prop_map(|number| Edit::DropEndpoint(format!("e{number}"))),
        1 => (1u64..4).prop_map(|user| Edit::Authorisation(AuthorisationRow { user, kind: "NORMAL".into(), created: 1 })),
        1 => (1u64..4).prop_map(|user| Edit::DropAuthorisation(user, "NORMAL".into())),
        1 => (1u64..9).prop_map(|id| Edit::Log(log(id))),
        1 => (1u64..9).prop_map(Edit::DropLog),
    ]
}

fn log(id: u64) -> LogRow {
    LogRow {
        id,
        at: id,
        kind: "PV_ZONE".into(),
        action: "add".into(),
        entity: "e".into(),
        name: "n".into(),
        zone: String::new(),
        content: String::new(),
        access_key: "k".into(),
        source: "127.0.0.1".into(),
    }
}

/// Everything in an account, as text that can be compared.
pub(crate) fn shown(account: &Account) -> Vec<String> {
    let mut lines: Vec<String> = account
        .zones()
        .flat_map(|entry| {
            let records = entry.records.values().map(|record| format!("{record:?}"));
            std::iter::once(format!("{:?}", entry.row)).chain(records).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines.push(format!("{:?} {:?} {:?}", account.rules(), account.endpoints(), account.lines()));
    lines.push(format!("{:?}", account.authorisations().collect::<Vec<_>>()));
    lines.push(format!("{:?}", account.log().collect::<Vec<_>>()));
    lines
}

/// What clients of a catalog are told of the names in question.
fn answers(catalog: &Catalog) -> Vec<String> {
    let mut told = Vec::new();
    for client in ["10.9.9.9", "10.0.0.3", "10.1.0.3", "192.168.0.1", "172.16.0.1"] {
        let view = catalog.view(client.parse::<IpAddr>().unwrap());
        for text in (0..4).flat_map(|zone| (0..3).map(move |rr| format!("r{rr}.z{zone}.example"))) {
            let key = NameKey::of(&name::parse(&text).unwrap());
            let found = view.zone_of(&key).map(|zone: &std::sync::Arc<Zone>| {
                match zone.lookup(&key, RecordType::A) {
                    Lookup::Rrset(set) => format!("{:?} {set:?}", zone.mode),
                    _ => "nothing".into(),
                }
            });
            told.push(format!("{client} {text} {found:?}"));
        }
        for rule in 0..2 {
            let key = NameKey::of(&name::parse(&format!("x.f{rule}.example")).unwrap());
            told.push(format!("{client} {:?}", view.rule_of(&key)));
        }
    }
    told
}

#[test]
fn new_records_of_one_name_are_in_the_order_of_their_ids() {
    let edits = [
        Edit::Zone(zone(1, &[0])),
        Edit::Records(new_records(13, &[(1, 0, 7, "default", true)])),
        Edit::Records(new_records(1, &[(1, 0, 9, "default", true)])),
    ];
    let together = answers(&{
        let mut catalog = catalog();
        applied(&edits, usize::MAX).place_all(&mut catalog, |_| false);
        catalog
    });
    let one_by_one = answers(&{
        let mut catalog = catalog();
        applied(&edits, 1).place_all(&mut catalog, |_| false);
        catalog
    });
    assert_eq!(together, one_by_one);
}

/// The account after the edits, applied this many at a time.
fn applied(edits: &[Edit], at_a_time: usize) -> Account {
    let mut account = Account::default();
    for some in edits.chunks(at_a_time) {
        account.apply(some);
    }
    account
}

proptest! {
    #[test]
    fn one_by_one_or_all_at_once_comes_to_the_same(edits in proptest::collection::vec(edit(), 0..60)) {
        let (one, all) = (applied(&edits, 1), applied(&edits, usize::MAX));
        prop_assert_eq!(shown(&one), shown(&all));
        let (mut catalog_one, mut catalog_all) = (catalog(), catalog());
        one.place_all(&mut catalog_one, |_| false);
        all.place_all(&mut catalog_all, |_| false);
        prop_assert_eq!(answers(&catalog_one), answers(&catalog_all));
    }

    /// What a store holds of an account makes the same one.
    #[test]
    fn rows_come_to_what_their_edits_came_to(edits in proptest::collection::vec(edit(), 0..60)) {
        let account = applied(&edits, usize::MAX);
        let rows = Rows {
            networks: Vec::new(),
            zones: account.zones().map(|entry| entry.row.clone()).collect(),
            records: (0..).zip(account.zones()).flat_map(|(place, entry)| {
                entry.records.values().map(move |record| (place, PackedRecord::of(&record, &mut Vec::new())))
            }).collect(),
            rules: account.rules().values().map(|row| RuleRow::clone(row)).collect(),
            endpoints: account.endpoints().values().map(|row| EndpointRow::clone(row)).collect(),
            lines: account.lines().values().map(|row| LineRow::clone(row)).collect(),
            authorisations: account.authorisations().cloned().collect(),
            log: account.log().cloned().collect(),
        };
        let loaded = Account::load(rows, ZoneSemantics::default());
        let newest = |account: &Account| -> Vec<String> {
            account.newest_zones(0).map(|entry| entry.row.id.clone()).collect()
        };
        let mut sorted: Vec<_> =
            account.zones().map(|entry| (std::cmp::Reverse(entry.row.created), entry.row.id.clone())).collect();
        sorted.sort();
        prop_assert_eq!(newest(&account), sorted.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        prop_assert_eq!(newest(&account), newest(&loaded));
        prop_assert_eq!(shown(&account), shown(&loaded));
        for id in 0..24 {
            let zone = |account: &Account| account.zone_of_record(id).map(|entry| entry.row.id.clone());
            prop_assert_eq!(zone(&account), zone(&loaded));
        }
        for number in 0..4 {
            let named = |account: &Account| account.zones_named(&format!("z{number}.example")).count();
            prop_assert_eq!(named(&account), named(&loaded));
        }
        let (mut catalog_before, mut catalog_loaded) = (catalog(), catalog());
        account.place_all(&mut catalog_before, |_| false);
        loaded.place_all(&mut catalog_loaded, |_| false);
        prop_assert_eq!(answers(&catalog_before), answers(&catalog_loaded));
    }

    /// A catalog that is changed step by step answers like one that is built anew.
    #[test]
    fn changes_in_place_come_to_what_is_built_anew(
        steps in proptest::collection::vec(proptest::collection::vec(edit(), 1..5), 0..20),
    ) {
        let (mut account, mut live) = (Account::default(), catalog());
        account.place_all(&mut live, |_| false);
        for edits in steps {
            let before = account.clone();
            let dirty: Dirty = account.apply(&edits);
            if dirty.whole {
                live = catalog();
                account.place_all(&mut live, |_| false);
            } else {
                account.place_changes(&before, &dirty, &mut live);
            }
            let mut anew = catalog();
            account.place_all(&mut anew, |_| false);
            prop_assert_eq!(answers(&live), answers(&anew));
        }
    }
}

#[test]
fn a_snapshot_is_not_changed_by_what_comes_after() {
    let before = applied(&[Edit::Zone(zone(1, &[0])), Edit::Record(record(5, 1, 0, 1, "default", true))], 9);
    let copy = shown(&before);
    let mut after = before.clone();
    after.apply(&[Edit::DropRecord(5), Edit::Zone(zone(1, &[])), Edit::Zone(zone(2, &[]))]);
    assert_eq!(shown(&before), copy);
    assert_eq!((before.zone_count(), after.zone_count()), (1, 2));
}

#[test]
fn ids_of_records_only_grow() {
    let mut account =
        applied(&[Edit::Zone(zone(1, &[])), Edit::Record(record(500, 1, 0, 1, "default", true))], 9);
    assert_eq!(account.next_record(100), 501, "a clock that was set back");
    assert_eq!(account.next_record(900), 900);
    account.apply(&[Edit::DropRecord(500)]);
    assert_eq!(account.next_record(100), 501, "nor is a number given again");
}

#[test]
fn the_log_is_read_backwards_and_bounded() {
    let mut account = Account::default();
    for id in 1..=MAX_LOG + 3 {
        let mut edits = vec![Edit::Log(log(id))];
        edits.extend(id.checked_sub(MAX_LOG).filter(|id| *id > 0).map(Edit::DropLog));
        account.apply(&edits);
    }
    let ids: Vec<u64> = account.log().map(|row| row.id).collect();
    assert_eq!((ids.len() as u64, ids[0], *ids.last().unwrap()), (MAX_LOG, MAX_LOG + 3, 4));
    assert_eq!(account.next_log(), MAX_LOG + 4);
}

#[test]
fn zones_of_one_name_are_found_in_any_case() {
    let twin = ZoneRow { id: "f".repeat(32), name: "Z1.Example".into(), ..zone(1, &[]) };
    let mut account = applied(&[Edit::Zone(zone(1, &[])), Edit::Zone(twin.clone())], 1);
    assert_eq!(account.zones_named("z1.EXAMPLE").count(), 2);
    account.apply(&[Edit::DropZone(twin.id)]);
    assert_eq!(account.zones_named("z1.example").count(), 1);
}

#[test]
fn another_target_is_another_group() {
    let rule = |port: u16| {
        let targets = vec![(Ipv4Addr::LOCALHOST, port).into()];
        let (id, zone) = ("r".to_string(), "f.example".to_string());
        let bindings = vec![binding(0)];
        Edit::Rule(RuleRow {
            id,
            zone,
            targets,
            priorities: Vec::new(),
            bindings,
            name: String::new(),
            endpoint: String::new(),
            created: 0,
            updated: 0,
        })
    };
    let key = |edits: &[Edit]| -> GroupKey { applied(edits, 1).place_all(&mut catalog(), |_| false)[0].0 };
    assert_eq!(key(&[rule(1)]), key(&[rule(2), rule(1)]));
    assert_ne!(key(&[rule(1)]), key(&[rule(2)]), "cached answers stay with the servers they came from");
}
