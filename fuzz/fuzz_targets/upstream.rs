//! Any message of an upstream server: reading it never panics, and nothing is believed that was not asked for.
#![no_main]

use hickory_proto::rr::RecordType;
use libfuzzer_sys::fuzz_target;
use pvtzd::engine::cache::{Freshness, Outcome, Timestamp, TtlPolicy};
use pvtzd::engine::decode;
use pvtzd::engine::name::NameKey;
use pvtzd::engine::request::Question;
use pvtzd::engine::response::entries;

fuzz_target!(|bytes: &[u8]| {
    let Some(message) = decode::message(bytes) else { return };
    // what was asked is what the message says was asked: the transport has compared them before
    let Some(query) = message.queries.first() else { return };
    let question = Question::new(query.name().clone(), query.query_type());
    let lifetimes = TtlPolicy::default();
    let now = Timestamp(1 << 42);
    // every other name is another group's
    let believe = |name: &NameKey| name.wire().len() % 2 == 0;
    let Ok(hops) = entries(&message, &question, &lifetimes, now, believe) else { return };
    assert!((1..=16).contains(&hops.len()), "{} hops", hops.len());
    let mut expected = question.key.clone();
    for (place, (name, entry)) in hops.iter().enumerate() {
        assert_eq!(*name, expected, "each hop is where the one before leads");
        assert!(place == 0 || believe(name), "{name} is another group's");
        assert!(entry.ttl <= lifetimes.max_ttl.max(lifetimes.negative_max_ttl));
        assert!(matches!(entry.freshness(now, &lifetimes), Freshness::Fresh(_)) || entry.ttl == 0);
        let owner = name.to_name();
        for record in entry.answers(&owner, 1) {
            let covers = NameKey::of(&record.name);
            let is_dname = u16::from(record.record_type()) == 39 || u16::from(record.record_type()) == 46;
            assert!(
                covers == *name || (is_dname && name.is_within(&covers)),
                "{covers} in the answer for {name}"
            );
        }
        match &entry.outcome {
            Outcome::Alias(target) => expected = NameKey::of(target),
            Outcome::Rrset => {
                let asked = |rtype: RecordType| rtype == question.rtype;
                assert!(entry.answers(&owner, 1).iter().any(|record| asked(record.record_type())));
                assert_eq!(place + 1, hops.len(), "a set ends the chain");
            }
            _ => assert_eq!(place + 1, hops.len(), "a denial ends the chain"),
        }
    }
});
