//! Any octets as the messages of a zone transfer: reading them never panics or exceeds the bound, what is taken is of the
//! zone, and changes apply whole or not at all.
#![no_main]

use hickory_proto::rr::RecordType;
use libfuzzer_sys::fuzz_target;
use pvtzd::engine::name::{NameKey, parse};
use pvtzd::engine::zone::PackedZone;
use pvtzd::upstream::transfer::TransferContent;
use pvtzd::upstream::transfer::assemble::Assembler;
use pvtzd::upstream::transfer::content::{RecordKey, SoaRecord, ZoneContent};
use pvtzd::upstream::transfer::walk::MessageParts;

/// Octets that the zone may have.
const MOST: usize = 1 << 14;

/// The serial of the copy.
const SERIAL: u32 = 5;

fuzz_target!(|data: &[u8]| {
    let Ok(apex) = parse("corp.test") else { return };
    let apex = NameKey::of(&apex);
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let since = (kind & 1 == 1).then_some(SERIAL);
    let mut assembler = Assembler::new(apex.clone(), since, MOST);
    let mut is_ended = false;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)).min(behind.len()));
        rest = behind;
        let Some(parts) = MessageParts::of(message) else { return };
        match assembler.take(message, &parts) {
            Ok(false) => {}
            Ok(true) => is_ended = true,
            Err(fault) => return assert!(!fault.to_string().is_empty()),
        }
        assert!(assembler.size() <= 2 * MOST);
        if is_ended {
            break;
        }
    }
    let Some((received, _)) = assembler.finish() else { return assert!(!is_ended) };
    match received {
        TransferContent::Current => assert!(since.is_some()),
        TransferContent::Whole(zone) => {
            assert!(zone.size() <= 2 * MOST);
            let (packed, _) = zone.pack(&apex);
            assert!(packed.owners.len() <= zone.len());
        }
        TransferContent::Changes(changes) => {
            let mut zone = copy(&apex);
            let (packed, before) = (zone.pack(&apex).0, records(&zone));
            match zone.apply(&changes, MOST) {
                Ok(touched) => {
                    let again = zone.pack_again(&packed, &apex, &touched);
                    assert_eq!(sets(&again), sets(&zone.pack(&apex).0));
                    assert!(zone.size() <= MOST);
                }
                Err(_) => assert_eq!((records(&zone), zone.soa.serial()), (before, SERIAL)),
            }
        }
    }
});

/// The copy of the zone that changes are for.
fn copy(apex: &NameKey) -> ZoneContent {
    let mut data = vec![0, 0];
    [SERIAL, 1, 1, 3600, 30].iter().for_each(|number| data.extend(number.to_be_bytes()));
    let mut zone = ZoneContent::new(SoaRecord { ttl: 300, data });
    for name in ["www", "mail", "deep.er"] {
        let Ok(owner) = parse(&format!("{name}.corp.test")) else { continue };
        zone.add(RecordKey::new(&NameKey::of(&owner), RecordType::A, &[192, 0, 2, 1]), 60);
    }
    zone.add(RecordKey::new(apex, RecordType::NS, &[0]), 60);
    zone
}

fn records(zone: &ZoneContent) -> Vec<(Vec<u8>, u32)> {
    zone.records().map(|(record, ttl)| (record.octets().to_vec(), ttl)).collect()
}

fn sets(zone: &PackedZone) -> Vec<(Vec<u8>, String)> {
    let of_owner = |owner: &pvtzd::engine::rrset::Owner| {
        let sets: Vec<String> = owner.sets().map(|set| format!("{} {set}", set.ttl)).collect();
        (owner.key().to_vec(), sets.join("; "))
    };
    zone.owners.iter().map(|owner| of_owner(owner)).collect()
}
