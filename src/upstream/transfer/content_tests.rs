//! What an incremental transfer does to a zone.

use super::*;
use crate::engine::name::parse;
use crate::engine::zone::{Lookup, Zone, ZoneMode, ZoneSpec};

fn key(text: &str) -> NameKey {
    NameKey::of(&parse(text).unwrap())
}

pub(in crate::upstream::transfer) fn soa(serial: u32) -> SoaRecord {
    let data =
        [&b"\x02ns\x03lab\0\x04host\x03lab\0"[..], &serial.to_be_bytes(), &[0, 0, 0, 9].repeat(4)].concat();
    SoaRecord { ttl: 300, data }
}

fn record(owner: &str, last: u8) -> RecordKey {
    RecordKey::new(&key(owner), RecordType::A, &[192, 0, 2, last])
}

fn content(serial: u32, records: &[(&str, u8)]) -> ZoneContent {
    let mut content = ZoneContent::new(soa(serial));
    records.iter().for_each(|(owner, last)| assert!(content.add(record(owner, *last), 60)));
    content
}

fn change(from: u32, to: u32, deleted: &[(&str, u8)], added: &[(&str, u8)]) -> ZoneChange {
    ZoneChange {
        from,
        deleted: deleted.iter().map(|(owner, last)| record(owner, *last)).collect(),
        added: added.iter().map(|(owner, last)| (record(owner, *last), 60)).collect(),
        soa: soa(to),
    }
}

/// What the packed zone has for a name.
fn lookup(packed: &PackedZone, name: &str) -> String {
    let spec = ZoneSpec {
        packed: Some(packed.clone()),
        ..ZoneSpec::new(parse("corp.test").unwrap(), ZoneMode::Override)
    };
    match Zone::build_leniently(spec, 0).lookup(&key(name), RecordType::A) {
        Lookup::Rrset(set) => set.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn steps_are_carried_out_one_after_another() {
    let apex = key("corp.test");
    let mut zone = content(1, &[("a.corp.test", 1), ("b.corp.test", 2), ("c.corp.test", 3)]);
    let (packed, _) = zone.pack(&apex);
    let steps = [
        change(1, 2, &[("a.corp.test", 1)], &[("a.corp.test", 9), ("d.corp.test", 4)]),
        change(2, 5, &[("b.corp.test", 2), ("d.corp.test", 4)], &[("d.corp.test", 5)]),
    ];
    let touched = zone.apply(&steps, usize::MAX).unwrap();
    assert_eq!(zone.soa.serial(), 5);
    let again = zone.pack_again(&packed, &apex, &touched);
    let (whole, _) = zone.pack(&apex);
    for (name, expected) in [
        ("a.corp.test", "A 192.0.2.9"),
        ("b.corp.test", "Missing"),
        ("c.corp.test", "A 192.0.2.3"),
        ("d.corp.test", "A 192.0.2.5"),
    ] {
        assert_eq!(lookup(&again, name), expected);
        assert_eq!(lookup(&whole, name), expected);
    }
    assert_eq!(lookup(&packed, "b.corp.test"), "A 192.0.2.2", "what is served meanwhile is not touched");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let before = content(1, &[("a.corp.test", 1), ("b.corp.test", 2)]);
    let fits = change(1, 2, &[("a.corp.test", 1)], &[("x.corp.test", 7)]);
    for (odd, misfit) in [
        (change(1, 3, &[], &[]), Misfit::Serial),
        (change(2, 3, &[("a.corp.test", 1)], &[]), Misfit::NotThere),
        (change(2, 3, &[], &[("b.corp.test", 2)]), Misfit::ThereAlready),
    ] {
        let mut zone = before.clone();
        assert_eq!(zone.apply(&[fits.clone(), odd], usize::MAX).unwrap_err(), misfit);
        let all = |zone: &ZoneContent| {
            zone.records().map(|(record, ttl)| (record.clone(), ttl)).collect::<Vec<_>>()
        };
        assert_eq!((all(&zone), zone.size(), &zone.soa), (all(&before), before.size(), &before.soa));
    }
    let mut zone = before.clone();
    assert_eq!(zone.apply(&[change(1, 2, &[], &[("y.corp.test", 1)])], before.size()), Err(Misfit::TooLarge));
    assert_eq!(zone.len(), 2);
}

#[test]
fn signatures_and_proofs_are_kept_and_not_served() {
    let apex = key("corp.test");
    let mut zone = content(1, &[]);
    let cname = RecordKey::new(&key("w.corp.test"), RecordType::CNAME, b"\x01a\x04corp\x04test\0");
    zone.add(cname, 60);
    for rtype in [46, 47, 50, 51] {
        zone.add(RecordKey::new(&key("w.corp.test"), RecordType::from(rtype), &[0; 20]), 60);
    }
    let (packed, left_out) = zone.pack(&apex);
    assert_eq!((zone.len(), left_out, packed.owners.len()), (5, 0, 1));
}

#[test]
fn serials_are_compared_as_rfc_1982_says() {
    for (one, two, newer) in [
        (2, 1, true),
        (1, 1, false),
        (1, 2, false),
        (0, u32::MAX, true),
        (u32::MAX, 0, false),
        (1 << 31, 1, true),
    ] {
        assert_eq!(is_newer(one, two), newer, "{one} {two}");
    }
}
