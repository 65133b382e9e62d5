//! Tests of zone look-up, the cases of RFC 4592 and a property test against a naive search among them.

use super::*;
use crate::engine::name::parse;
use crate::engine::record::{self, parse_value};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn record(owner: &str, rtype: RecordType, value: &str) -> ZoneRecord {
    ZoneRecord {
        owner: parse(owner).unwrap(),
        ttl: 60,
        data: parse_value(rtype, value).unwrap(),
        weight: None,
    }
}

fn zone(apex: &str, mode: ZoneMode, records: Vec<ZoneRecord>) -> Zone {
    let mut spec = ZoneSpec::new(parse(apex).unwrap(), mode);
    spec.records = records;
    Zone::build(spec, 1).unwrap()
}

fn kind(zone: &Zone, name: &str, rtype: RecordType) -> String {
    match zone.lookup(&NameKey::of(&parse(name).unwrap()), rtype) {
        Lookup::Rrset(set) => set.to_string(),
        Lookup::Cname(set) => format!("-> {set}"),
        Lookup::NoType => "no type".into(),
        Lookup::Empty => "empty".into(),
        Lookup::Missing => "missing".into(),
    }
}

/// The zone of RFC 4592 section 2.2.1.
fn rfc4592() -> Zone {
    zone(
        "example",
        ZoneMode::Override,
        vec![
            record("*.example", RecordType::TXT, "this is a wildcard"),
            record("*.example", RecordType::MX, "10 host1.example"),
            record("sub.*.example", RecordType::TXT, "this is not a wildcard"),
            record("host1.example", RecordType::A, "192.0.2.1"),
            record("_ssh._tcp.host1.example", RecordType::SRV, "1 2 22 host1.example"),
            record("_ssh._tcp.host2.example", RecordType::SRV, "1 2 22 host2.example"),
        ],
    )
}

#[test]
fn wildcards_follow_the_examples_of_rfc_4592() {
    let z = rfc4592();
    for (name, rtype, expected) in [
        ("host3.example", RecordType::MX, "MX 10 host1.example"),
        ("host3.example", RecordType::A, "no type"),
        ("foo.bar.example", RecordType::TXT, "TXT \"this is a wildcard\""),
        ("host1.example", RecordType::MX, "no type"),
        ("sub.*.example", RecordType::MX, "no type"),
        ("_telnet._tcp.host1.example", RecordType::SRV, "missing"),
        ("host2.example", RecordType::A, "empty"),
        ("_tcp.host2.example", RecordType::A, "empty"),
        ("*.example", RecordType::TXT, "TXT \"this is a wildcard\""),
        ("ghost.*.example", RecordType::MX, "missing"),
    ] {
        assert_eq!(kind(&z, name, rtype), expected, "{name} {rtype}");
    }
}

#[test]
fn an_apex_cname_stands_beside_soa_and_ns() {
    let z = zone(
        "ecs.example",
        ZoneMode::RecursionProxy,
        vec![record("ecs.example", RecordType::CNAME, "t.example")],
    );
    assert_eq!(kind(&z, "ECS.example", RecordType::A), "-> CNAME t.example");
    assert_eq!(kind(&z, "ecs.example", RecordType::CNAME), "CNAME t.example");
    assert!(kind(&z, "ecs.example", RecordType::SOA).starts_with("SOA"));
    assert!(kind(&z, "ecs.example", RecordType::NS).starts_with("NS localhost"));
    assert_eq!(kind(&z, "sub.ecs.example", RecordType::A), "missing");
}

#[test]
fn a_bare_apex_is_empty_but_has_soa_and_ns() {
    let z = zone("ecs.example", ZoneMode::Override, vec![]);
    assert_eq!(kind(&z, "ecs.example", RecordType::A), "empty");
    assert!(kind(&z, "ecs.example", RecordType::SOA).starts_with("SOA"));
}

#[test]
fn configured_apex_ns_replaces_the_synthesised() {
    let z = zone("e.example", ZoneMode::Override, vec![record("e.example", RecordType::NS, "ns.e.example")]);
    assert_eq!(kind(&z, "e.example", RecordType::NS), "NS ns.e.example");
}

#[test]
fn wildcards_can_be_off_while_proxying() {
    let mut spec = ZoneSpec::new(parse("e.example").unwrap(), ZoneMode::RecursionProxy);
    spec.records = vec![record("*.e.example", RecordType::A, "192.0.2.1")];
    let on = Zone::build(spec.clone(), 1).unwrap();
    assert_eq!(kind(&on, "x.e.example", RecordType::A), "A 192.0.2.1");
    spec.wildcards = Wildcards::OffWithProxy;
    let off = Zone::build(spec, 1).unwrap();
    assert_eq!(kind(&off, "x.e.example", RecordType::A), "missing");
}

#[test]
fn all_records_at_fault_are_told_at_once() {
    let mut spec = ZoneSpec::new(parse("e.example").unwrap(), ZoneMode::Override);
    spec.records = vec![
        record("a.e.example", RecordType::A, "192.0.2.1"),
        record("a.e.example", RecordType::CNAME, "t.example"),
        record("a.e.example", RecordType::A, "192.0.2.1"),
        record("other.example", RecordType::A, "192.0.2.1"),
        ZoneRecord { weight: Some(5), ..record("a.e.example", RecordType::A, "192.0.2.2") },
        ZoneRecord { ttl: u32::MAX, ..record("b.e.example", RecordType::A, "192.0.2.2") },
    ];
    let kinds: Vec<_> = Zone::build(spec, 1).unwrap_err().into_iter().map(|f| (f.record, f.kind)).collect();
    assert_eq!(
        kinds,
        [
            (1, RecordFaultKind::CnameBesideOther(0)),
            (2, RecordFaultKind::Duplicate(0)),
            (3, RecordFaultKind::OutOfZone),
            (4, RecordFaultKind::WeightBesideNone(0)),
            (5, RecordFaultKind::Ttl),
        ]
    );
}

fn set_of(values: &[(&str, Option<u8>)]) -> Rrset {
    let records = values
        .iter()
        .map(|(value, weight)| ZoneRecord { weight: *weight, ..record("a.example", RecordType::A, value) })
        .collect();
    let z = zone("a.example", ZoneMode::Override, records);
    let Lookup::Rrset(set) = z.lookup(&NameKey::of(&parse("a.example").unwrap()), RecordType::A) else {
        panic!()
    };
    set.clone()
}

#[test]
fn addresses_rotate() {
    let set = set_of(&[("192.0.2.1", None), ("192.0.2.2", None), ("192.0.2.3", None)]);
    let firsts: Vec<String> =
        (0..3).map(|turn| record::show_value(&set.pick(turn).next().unwrap())).collect();
    assert_eq!(firsts, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(set.pick(1).count(), 3);
}

#[test]
fn weights_share_the_answers_exactly_over_a_cycle() {
    let set = set_of(&[("192.0.2.1", Some(10)), ("192.0.2.2", Some(30)), ("192.0.2.3", Some(0))]);
    let mut counts = HashMap::new();
    for turn in 0..400 {
        let picked: Vec<RData> = set.pick(turn).collect();
        assert_eq!(picked.len(), 1);
        *counts.entry(record::show_value(&picked[0])).or_insert(0) += 1;
    }
    assert_eq!(counts.get("192.0.2.1"), Some(&100));
    assert_eq!(counts.get("192.0.2.2"), Some(&300));
    assert_eq!(counts.get("192.0.2.3"), None, "weight 0 is not returned");
}

/// Sets of many values have tables; they answer as sets of few do.
#[test]
fn sets_of_many_values_rotate_and_draw_alike() {
    let addresses: Vec<String> = (0..200).map(|last| format!("192.0.2.{last}")).collect();
    let values: Vec<_> = addresses.iter().map(|address| (address.as_str(), None)).collect();
    let shown = |values: Vec<RData>| values.iter().map(record::show_value).collect::<Vec<_>>();
    let set = set_of(&values);
    assert_eq!(shown(set.values().collect()), addresses);
    for turn in [0, 1, 77, 199, 200] {
        let mut expected = addresses.clone();
        expected.rotate_left(turn % 200);
        assert_eq!(shown(set.pick(turn as u64).collect()), expected);
    }
    let weighted: Vec<_> =
        (0u8..).zip(&addresses).map(|(at, value)| (value.as_str(), Some(at % 5))).collect();
    let set = set_of(&weighted);
    let total: u64 = weighted.iter().map(|(_, weight)| u64::from(weight.unwrap())).sum();
    let mut counts = HashMap::new();
    for turn in 0..total {
        let picked = shown(set.pick(turn).collect());
        assert_eq!(picked.len(), 1);
        *counts.entry(picked[0].clone()).or_insert(0u8) += 1;
    }
    for (value, weight) in weighted {
        assert_eq!(counts.get(value).copied().unwrap_or(0), weight.unwrap(), "{value}");
    }
}

#[test]
fn all_weights_zero_means_all_values() {
    let set = set_of(&[("192.0.2.1", Some(0)), ("192.0.2.2", Some(0))]);
    assert_eq!(set.pick(0).count(), 2);
}

/// Names over a tiny alphabet, so that ancestors, wildcards and misses are frequent.
fn small_name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("*")], 1..5)
        .prop_map(|labels| format!("{}.z.example", labels.join(".")))
}

/// The definition, word for word: exact, then `*.<closest encloser>`.
fn naive(owners: &[String], name: &str) -> &'static str {
    let exists = |n: &str| n == "z.example" || owners.iter().any(|o| o == n || o.ends_with(&format!(".{n}")));
    if owners.iter().any(|o| o == name) {
        return "found";
    }
    if exists(name) {
        return "empty";
    }
    let mut encloser = name;
    while !exists(encloser) {
        encloser = encloser.split_once('.').unwrap().1;
    }
    let source = format!("*.{encloser}");
    if owners.contains(&source) {
        "found"
    } else if exists(&source) {
        "no type"
    } else {
        "missing"
    }
}

proptest! {
    #[test]
    fn lookup_agrees_with_a_naive_search(owners in prop::collection::vec(small_name(), 0..8), name in small_name()) {
        let mut unique = owners.clone();
        unique.sort();
        unique.dedup();
        let records = unique.iter().map(|owner| record(owner, RecordType::A, "192.0.2.1")).collect();
        let z = zone("z.example", ZoneMode::Override, records);
        let found = match kind(&z, &name, RecordType::A).as_str() {
            "A 192.0.2.1" => "found",
            "empty" => "empty",
            "no type" => "no type",
            _ => "missing",
        };
        prop_assert_eq!(found, naive(&unique, &name));
    }

    /// A zone that is changed name by name is the zone that is built of what is left, and a copy keeps what it had.
    #[test]
    fn changed_step_by_step_it_is_what_is_built_anew(
        base in prop::collection::vec((small_name(), 1u8..4), 0..80),
        steps in prop::collection::vec((small_name(), 0u8..4), 0..40),
        split in 0usize..40,
        asked in prop::collection::vec(small_name(), 10),
    ) {
        let values = |owner: &str, count: u8| -> Vec<ZoneRecord> {
            (0..count).map(|last| record(owner, RecordType::A, &format!("192.0.2.{last}"))).collect()
        };
        let built = |names: &BTreeMap<String, u8>| {
            zone("z.example", ZoneMode::Override, names.iter().flat_map(|(name, count)| values(name, *count)).collect())
        };
        let shown = |zone: &Zone| {
            let all: Vec<String> = zone.rrsets().map(|(name, set)| format!("{name} {set}")).collect();
            let answers: Vec<String> = asked.iter().map(|name| kind(zone, name, RecordType::A)).collect();
            (all, answers)
        };
        let mut names: BTreeMap<String, u8> = base.into_iter().collect();
        let mut changed = built(&names);
        let mut kept = None;
        for (at, (name, count)) in steps.iter().enumerate() {
            if at == split {
                kept = Some((changed.clone(), names.clone()));
            }
            changed.set_owner(&NameKey::of(&parse(name).unwrap()), &values(name, *count));
            match count {
                0 => names.remove(name),
                _ => names.insert(name.clone(), *count),
            };
        }
        prop_assert_eq!(shown(&changed), shown(&built(&names)));
        if let Some((zone, names)) = kept {
            prop_assert_eq!(shown(&zone), shown(&built(&names)));
        }
    }
}

proptest! {
    /// Any octet may be in a label (RFC 2181 section 11), those that end and escape labels within keys too.
    #[test]
    fn a_key_is_its_name_and_sorts_before_the_names_below(
        labels in prop::collection::vec(prop::collection::vec(0u8..4, 1..6), 0..6),
        below in prop::collection::vec(0u8..4, 1..6),
    ) {
        let apex = NameKey::of(&parse("z.example").unwrap());
        let name = |labels: &[Vec<u8>]| {
            let labels = labels.iter().map(Vec::as_slice).chain([b"z".as_slice(), b"example"]);
            NameKey::of(&name::of_labels(labels).unwrap())
        };
        let owner = name(&labels);
        let key = OwnerKey::of(&owner, &apex);
        prop_assert_eq!(zone_build::name_of(key.octets(), &apex), owner);
        let longer: Vec<Vec<u8>> = std::iter::once(below).chain(labels).collect();
        let longer = OwnerKey::of(&name(&longer), &apex);
        prop_assert!(longer.octets() > key.octets() && longer.octets().starts_with(key.octets()));
        prop_assert_eq!(zone_build::shared_labels(longer.octets(), key.octets()), key.octets().len());
    }
}

#[test]
fn a_zone_is_read_from_any_record_on_and_counts_them() {
    let one_each = (0..70).map(|n| record(&format!("n{n}.example"), RecordType::A, "192.0.2.1")).collect();
    let mut mixed = rfc4592();
    mixed.set_owner(
        &NameKey::of(&parse("host1.example").unwrap()),
        &(0..5).map(|n| record("host1.example", RecordType::A, &format!("192.0.2.{n}"))).collect::<Vec<_>>(),
    );
    for zone in
        [zone("example", ZoneMode::Override, one_each), mixed, zone("example", ZoneMode::Override, vec![])]
    {
        let from = |count| -> Vec<String> {
            zone.sets_after(count)
                .flat_map(|(owner, set, skipped)| {
                    set.values().skip(skipped).map(|value| format!("{owner} {value}")).collect::<Vec<_>>()
                })
                .collect()
        };
        let all = from(0);
        assert_eq!(all.len(), zone.record_count());
        for count in 0..all.len() + 3 {
            assert_eq!(from(count), all.get(count..).unwrap_or_default(), "{count}");
        }
    }
}

#[test]
fn the_made_soa_is_the_one_of_its_data() {
    for serial in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let (made, data) = (made_soa(serial), synthesised(&RData::SOA(soa_data(serial))));
        assert_eq!((made.ttl, made.rtype), (data.ttl, data.rtype));
        assert!(made.wire_values().eq(data.wire_values()), "{made}");
    }
}

#[test]
fn a_set_without_a_name_has_all_of_its_values() {
    let values: Vec<RData> =
        (0..20).map(|n| RData::A(std::net::Ipv4Addr::new(192, 0, 2, n).into())).collect();
    for count in [1, 8, 9, 20] {
        let set = Rrset::unnamed(60, RecordType::A, &values[..count]);
        assert_eq!(set.values().collect::<Vec<_>>(), values[..count]);
        assert_eq!(set.pick(3).count(), count);
    }
}
