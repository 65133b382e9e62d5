//! Tests of the container of the answer cache.

use super::*;
use crate::engine::cache::{CacheData, FailureCause, Outcome, QueryFlags};
use crate::engine::catalog::GroupKey;
use crate::engine::name::{NameKey, parse};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

fn key(name: &str) -> CacheKey {
    CacheKey::new(
        GroupKey::DEFAULT,
        &NameKey::of(&parse(name).unwrap()),
        RecordType::A,
        QueryFlags::default(),
    )
}

fn entry(ttl: u32, now: u64) -> CacheData {
    CacheData::new(Outcome::Rrset, &NameKey::of(&parse("x").unwrap()), &[], &[], ttl, false, Timestamp(now))
}

#[test]
fn a_failure_does_not_replace_what_can_be_served_stale() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    cache.insert(key("a"), entry(60, 0), Timestamp(0));
    let later = Timestamp(120_000);
    cache.insert(key("a"), CacheData::failure(FailureCause::Unreachable, 1, later), later);
    let (slot, worth) = cache.get(&key("a"), later).unwrap();
    assert_eq!((worth, slot.failed()), (Freshness::Stale, Some(later)));
    cache.insert(key("b"), CacheData::failure(FailureCause::Unreachable, 1, later), later);
    assert!(cache.get(&key("b"), later).unwrap().0.is_failure());
}

#[test]
fn an_answer_that_is_not_to_be_kept_takes_the_older_one_away() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    cache.insert(key("a"), entry(60, 0), Timestamp(0));
    cache.insert(key("a"), entry(0, 90_000), Timestamp(90_000));
    assert!(cache.get(&key("a"), Timestamp(90_000)).is_none());
}

#[test]
fn the_cache_keeps_within_its_bytes() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    for i in 0..20_000 {
        cache.insert(key(&format!("n{i}.example")), entry(60, 0), Timestamp(0));
    }
    assert!(cache.bytes() <= 1 << 20);
    assert!(cache.len() > 2000, "{}", cache.len());
}

#[test]
fn a_flood_of_names_leaves_those_asked_again() {
    let cache = AnswerCache::new(4 << 20, TtlPolicy::default());
    let hot: Vec<CacheKey> = (0..1000).map(|i| key(&format!("hot{i}.example"))).collect();
    for key in &hot {
        cache.insert(key.clone(), entry(3600, 0), Timestamp(0));
    }
    for i in 0..200_000 {
        cache.insert(key(&format!("flood{i}.example")), entry(60, 0), Timestamp(0));
        if i % 10 == 0 {
            cache.get(&hot[(i / 10) % 1000], Timestamp(0));
        }
    }
    let kept = hot.iter().filter(|key| cache.get(key, Timestamp(0)).is_some()).count();
    assert!(kept >= 990, "{kept} of 1000 are left");
}

#[test]
fn only_the_first_refreshes() {
    let slot = CacheEntry::alone(&key("a"), &entry(60, 0));
    assert!(slot.claim_refresh());
    assert!(!slot.claim_refresh());
    slot.fail(Timestamp(1));
    assert!(slot.claim_refresh());
}

fn question(name: &str, rtype: RecordType, dnssec_ok: bool) -> CacheKey {
    let flags = QueryFlags { dnssec_ok, checking_disabled: false };
    CacheKey::new(GroupKey::DEFAULT, &NameKey::of(&parse(name).unwrap()), rtype, flags)
}

fn of(outcome: Outcome, ttl: u32) -> CacheData {
    let owner = NameKey::of(&parse("x").unwrap());
    let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 60);
    let soa = Record::from_rdata(parse("test").unwrap(), 60, RData::SOA(soa));
    CacheData::new(outcome, &owner, &[], &[soa], ttl, false, Timestamp(0))
}

fn found(cache: &AnswerCache, question: &CacheKey, now: u64) -> Option<(Outcome, Freshness)> {
    cache.get(question, Timestamp(now)).map(|(slot, worth)| (slot.entry().outcome, worth))
}

#[test]
fn nxdomain_and_an_alias_hold_for_every_type() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    let alias = Outcome::Alias(parse("target.test").unwrap());
    cache.insert(question("gone.test", RecordType::A, false), of(Outcome::NxDomain, 60), Timestamp(0));
    cache.insert(question("www.test", RecordType::A, false), of(alias.clone(), 60), Timestamp(0));
    cache.insert(question("empty.test", RecordType::A, false), of(Outcome::NoData, 60), Timestamp(0));
    for rtype in [RecordType::AAAA, RecordType::CNAME, RecordType::from(65), RecordType::from(1000)] {
        let at = |name| found(&cache, &question(name, rtype, false), 1000);
        assert_eq!(at("gone.test"), Some((Outcome::NxDomain, Freshness::Fresh(59))), "{rtype}");
        assert_eq!(at("www.test"), Some((alias.clone(), Freshness::Fresh(59))), "{rtype}");
        assert_eq!((at("empty.test"), at("x.gone.test"), at("test")), (None, None, None), "{rtype}");
    }
    for beside in [24, 25, 30, 46, 47] {
        let rtype = RecordType::from(beside);
        assert_eq!(found(&cache, &question("www.test", rtype, false), 0), None, "{rtype}");
        assert!(found(&cache, &question("gone.test", rtype, false), 0).is_some(), "{rtype}");
    }
}

#[test]
fn below_a_denied_name_nothing_is_asked_where_that_is_switched_on() {
    let lifetimes = TtlPolicy { nxdomain_cut: true, ..TtlPolicy::default() };
    let cache = AnswerCache::new(1 << 20, lifetimes);
    cache.insert(question("gone.test", RecordType::A, false), of(Outcome::NxDomain, 60), Timestamp(0));
    let below = question("a.b.gone.test", RecordType::TXT, false);
    assert_eq!(found(&cache, &below, 0), Some((Outcome::NxDomain, Freshness::Fresh(60))));
    assert_eq!(found(&cache, &question("notgone.test", RecordType::A, false), 0), None);
    assert_eq!(found(&cache, &question("a.gone.test", RecordType::A, true), 0), None, "no proofs for DO");
    assert_eq!(found(&cache, &below, 60_000), None, "stale it says nothing of others");
    // what is known of the name itself comes first
    cache.insert(below.clone(), of(Outcome::Rrset, 60), Timestamp(0));
    assert_eq!(found(&cache, &below, 0), Some((Outcome::Rrset, Freshness::Fresh(60))));
}

#[test]
fn what_came_with_do_serves_those_without_and_not_the_other_way_round() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    let (plain, with_do) =
        (question("a.test", RecordType::A, false), question("a.test", RecordType::A, true));
    cache.insert(plain.clone(), of(Outcome::Rrset, 60), Timestamp(0));
    assert_eq!(found(&cache, &with_do, 0), None);
    cache.insert(with_do.clone(), of(Outcome::Rrset, 60), Timestamp(0));
    for at in [0, 120_000] {
        assert!(found(&cache, &plain, at).is_some() && found(&cache, &with_do, at).is_some(), "{at}");
    }
    assert_eq!(cache.len(), 1);
    // one client's failure is none of the other's
    let failing = question("b.test", RecordType::A, true);
    cache.insert(
        failing.clone(),
        CacheData::failure(FailureCause::Unreachable, 5, Timestamp(0)),
        Timestamp(0),
    );
    assert!(found(&cache, &failing, 0).is_some());
    assert_eq!(found(&cache, &question("b.test", RecordType::A, false), 0), None);
}

#[test]
fn an_answer_that_came_since_the_look_is_not_overwritten_by_a_failure() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    let failure = || CacheData::failure(FailureCause::Unreachable, 5, Timestamp(0));
    cache.insert(key("a"), entry(60, 0), Timestamp(0));
    // another thread looked before the answer came, and comes to its second step now
    let slot = cache.put_failure(&key("a"), &failure(), Timestamp(0));
    assert_eq!((slot.entry().outcome, slot.failed()), (Outcome::Rrset, Some(Timestamp(0))));
    assert_eq!(found(&cache, &key("a"), 0), Some((Outcome::Rrset, Freshness::Fresh(60))));
    // a dead answer, an older failure and nothing make way
    let dead = 1_000_000_000;
    let later = CacheData::failure(FailureCause::Unreachable, 5, Timestamp(dead));
    assert!(cache.put_failure(&key("a"), &later, Timestamp(dead)).is_failure());
    assert!(matches!(found(&cache, &key("a"), dead), Some((Outcome::Failure(_), Freshness::Fresh(5)))));
    assert!(cache.put_failure(&key("b"), &failure(), Timestamp(0)).is_failure());
    assert!(matches!(found(&cache, &key("b"), 0), Some((Outcome::Failure(_), _))));
}

#[test]
fn failures_and_answers_of_many_threads_leave_the_answers() {
    let cache = AnswerCache::new(64 << 20, TtlPolicy::default());
    let names: Vec<CacheKey> = (0..3000).map(|number| key(&format!("n{number}.test"))).collect();
    std::thread::scope(|scope| {
        for fails in [false, true, true] {
            let (cache, names) = (&cache, &names);
            scope.spawn(move || {
                for name in names {
                    let failure = CacheData::failure(FailureCause::Unreachable, 5, Timestamp(0));
                    let what = if fails { failure } else { entry(60, 0) };
                    cache.insert(name.clone(), what, Timestamp(0));
                }
            });
        }
    });
    assert!(names.iter().all(|name| found(&cache, name, 0).unwrap().0 == Outcome::Rrset));
}

#[test]
fn a_denial_that_does_not_say_how_long_it_holds_is_never_stale() {
    let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
    for outcome in [Outcome::NoData, Outcome::NxDomain] {
        let bare = CacheData::new(
            outcome.clone(),
            &NameKey::of(&parse("x").unwrap()),
            &[],
            &[],
            5,
            false,
            Timestamp(0),
        );
        cache.insert(key("bare"), bare, Timestamp(0));
        assert!(found(&cache, &key("bare"), 4999).is_some());
        assert_eq!(found(&cache, &key("bare"), 5000), None);
        cache.insert(key("said"), of(outcome, 5), Timestamp(0));
        assert!(matches!(found(&cache, &key("said"), 5000), Some((_, Freshness::Stale))));
    }
}
