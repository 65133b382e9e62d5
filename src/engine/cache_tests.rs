//! Tests of entries: their worth over time, and that records survive packing.

use super::*;
use crate::engine::catalog::GroupKey;
use crate::engine::name::parse;
use crate::engine::record::parse_value;
use proptest::prelude::*;

fn record(owner: &str, rtype: RecordType, value: &str) -> Record {
    Record::from_rdata(parse(owner).unwrap(), 300, parse_value(rtype, value).unwrap())
}

fn entry(ttl: u32) -> CacheData {
    let records = [record("www.example", RecordType::A, "192.0.2.1")];
    CacheData::new(
        Outcome::Rrset,
        &NameKey::of(&parse("www.example").unwrap()),
        &records,
        &[],
        ttl,
        false,
        Timestamp(1000),
    )
}

fn worth(entry: &CacheData, ms: u64) -> Freshness {
    entry.freshness(Timestamp(ms), &TtlPolicy::default())
}

#[test]
fn an_entry_is_fresh_then_stale_then_dead() {
    let entry = entry(60);
    assert_eq!(worth(&entry, 1000), Freshness::Fresh(60));
    assert_eq!(worth(&entry, 1001), Freshness::Fresh(60));
    assert_eq!(worth(&entry, 2000), Freshness::Fresh(59));
    assert_eq!(worth(&entry, 60_999), Freshness::Fresh(1));
    assert_eq!(worth(&entry, 61_000), Freshness::Stale);
    assert_eq!(worth(&entry, 61_000 + 86_400_000 - 1), Freshness::Stale);
    assert_eq!(worth(&entry, 61_000 + 86_400_000), Freshness::Expired);
}

#[test]
fn a_failure_is_short_and_never_stale() {
    let entry = CacheData::failure(FailureCause::Unreachable, 600, Timestamp(0));
    assert_eq!(worth(&entry, 0), Freshness::Fresh(5));
    assert_eq!(worth(&entry, 5000), Freshness::Expired);
}

#[test]
fn a_refresh_is_due_in_the_last_tenth() {
    let entry = entry(100);
    assert!(!entry.wants_refresh(Timestamp(1000 + 89_999)));
    assert!(entry.wants_refresh(Timestamp(1000 + 90_000)));
}

#[test]
fn records_survive_packing_with_the_owner_in_the_clients_case() {
    let key = NameKey::of(&parse("www.example").unwrap());
    let records =
        [record("WWW.example", RecordType::A, "192.0.2.1"), record("other.example", RecordType::TXT, "x")];
    let entry = CacheData::new(Outcome::Rrset, &key, &records, &records[..1], 60, false, Timestamp(0));
    let asked = parse("wWw.Example").unwrap();
    let back = entry.answers(&asked, 17);
    assert_eq!(back.len(), 2);
    assert!(back[0].name.eq_case(&asked));
    assert_eq!(back[1].name, parse("other.example").unwrap());
    assert_eq!((back[0].ttl, record::to_wire(&back[1].data)), (17, record::to_wire(&records[1].data)));
    assert_eq!(entry.authority(&asked, 17).len(), 1);
}

#[test]
fn keys_read_back_and_odd_bytes_do_not() {
    let flags = QueryFlags { dnssec_ok: true, checking_disabled: false };
    let name = NameKey::of(&parse("www.example").unwrap());
    let key = CacheKey::new(GroupKey(7), &name, RecordType::AAAA, flags);
    let back = CacheKey::from_bytes(key.bytes()).unwrap();
    assert_eq!(
        (back.group(), back.name(), back.rtype(), back.flags()),
        (GroupKey(7), name, RecordType::AAAA, flags)
    );
    for odd in [
        &b""[..],
        b"\0\0\0\0\0\x01\0",
        b"\0\0\0\0\0\x01\0\x03ww\0",
        b"\0\0\0\0\0\x01\0\0\0",
        b"\0\0\0\0\0\x01\x09\0",
    ] {
        assert!(CacheKey::from_bytes(odd).is_none(), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn the_ttl_never_grows_and_stale_never_outlives_its_cap(
        ttl in 0u32..200_000, max_stale in 0u32..200_000, mut moments in prop::collection::vec(0u64..1_000_000_000, 2..20)
    ) {
        moments.sort_unstable();
        let lifetimes = TtlPolicy { max_stale, ..TtlPolicy::default() };
        let entry = entry(ttl);
        let mut last = u32::MAX;
        for ms in moments {
            let worth = entry.freshness(Timestamp(1000 + ms), &lifetimes);
            let left = match worth {
                Freshness::Fresh(left) => { prop_assert!(left > 0 && left <= ttl); left }
                Freshness::Stale => { prop_assert!(ms < (u64::from(ttl) + u64::from(max_stale)) * 1000); 0 }
                Freshness::Expired => 0,
            };
            prop_assert!(left <= last);
            last = left;
        }
    }

    #[test]
    fn odd_packed_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let entry = CacheDataOf::restore(Outcome::Rrset, Timestamp(0), 1, false, (&bytes[..], &bytes[..]));
        let _ = entry.answers(&parse("a.example").unwrap(), 1);
    }
}
