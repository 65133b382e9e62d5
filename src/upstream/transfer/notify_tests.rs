//! Who may say that a zone has changed.

use super::*;
use crate::engine::cache::Timestamp;
use crate::engine::name::parse;
use crate::upstream::transfer::secondary::SecondaryPlan;
use crate::upstream::transfer::{Primary, TsigAlgorithm};

const NOW: u64 = 1_790_000_000;

fn key(name: &str) -> TsigKey {
    TsigKey::new(NameKey::of(&parse(name).unwrap()), TsigAlgorithm::Sha256, b"secret")
}

fn zone(apex: &str, primary: &str, key: Option<TsigKey>) -> Arc<SecondaryZone> {
    let primary = Primary { address: format!("{primary}:53").parse().unwrap(), key: key.map(Arc::new) };
    let plan = SecondaryPlan {
        id: apex.into(),
        apex: NameKey::of(&parse(apex).unwrap()),
        vpcs: None,
        primaries: vec![primary],
        fault: None,
        max_size: 1 << 20,
    };
    SecondaryZone::new(plan, None, Timestamp(0))
}

fn message(apex: &str, kind: u8) -> Vec<u8> {
    let apex = NameKey::of(&parse(apex).unwrap());
    [&[0, 7, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], apex.wire(), &[0, kind, 0, 1]].concat()
}

fn ask(packet: &[u8], peer: &str) -> (ResponseCode, usize) {
    let zones = [zone("corp.test", "192.0.2.1", Some(key("k.test"))), zone("other.test", "192.0.2.2", None)];
    let outcome = answer(&zones, packet, peer.parse().unwrap(), NOW).unwrap();
    assert_eq!(outcome.reply[..2], packet[..2]);
    assert_eq!(outcome.reply[2] & 0xf8, 0xa0, "an answer to a NOTIFY");
    assert_eq!(u16::from(outcome.reply[3] & 15), u16::from(outcome.rcode));
    (outcome.rcode, outcome.zones.len())
}

#[test]
fn primaries_are_known_by_address_or_key() {
    let plain = message("corp.test", 6);
    let mut signed = plain.clone();
    key("k.test").sign(&mut signed, NOW);
    let mut foreign = plain.clone();
    key("o.test").sign(&mut foreign, NOW);
    let mut late = plain.clone();
    key("k.test").sign(&mut late, NOW - 1000);
    let mut forged = signed.clone();
    forged[13] = b'd';
    use ResponseCode::{FormErr, NoError, NotAuth, Refused};
    for (what, packet, peer, expected) in [
        ("a primary", plain.clone(), "192.0.2.1", (NoError, 1)),
        ("a primary over a mapped address", plain.clone(), "::ffff:192.0.2.1", (NoError, 1)),
        ("the primary of another zone", plain.clone(), "192.0.2.2", (Refused, 0)),
        ("another address", plain.clone(), "192.0.2.9", (Refused, 0)),
        ("another address with the key", signed.clone(), "192.0.2.9", (NoError, 1)),
        ("a key that is not ours", foreign, "192.0.2.1", (NotAuth, 0)),
        ("out of time", late, "192.0.2.1", (NotAuth, 0)),
        ("changed on the way", forged, "192.0.2.1", (NotAuth, 0)),
        ("no zone of ours", message("corp.example", 6), "192.0.2.1", (NotAuth, 0)),
        ("another type", message("corp.test", 1), "192.0.2.1", (FormErr, 0)),
        ("cut", plain[..20].to_vec(), "192.0.2.1", (FormErr, 0)),
    ] {
        assert_eq!(ask(&packet, peer), expected, "{what}");
    }
}

#[test]
fn a_notify_with_an_opt_record_gets_one_back() {
    let mut packet = message("corp.test", 6);
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet[11] = 1;
    let zones = [zone("corp.test", "192.0.2.1", None)];
    let outcome = answer(&zones, &packet, "192.0.2.1".parse().unwrap(), NOW).unwrap();
    assert_eq!(outcome.reply.len(), packet.len());
    assert_eq!(outcome.reply[11], 1);
}
