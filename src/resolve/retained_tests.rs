//! What takes a retained answer away, and what does not.

use crate::engine::cache::{CacheData, CacheKey, Freshness, Outcome, QueryFlags, Timestamp, TtlPolicy};
use crate::engine::catalog::GroupKey;
use crate::engine::name::{NameKey, parse};
use crate::engine::record::parse_value;
use crate::engine::retain::{RetainRule, RetainRules};
use crate::resolve::cache::AnswerCache;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

const START: u64 = 1 << 42;

fn at(seconds: u64) -> Timestamp {
    Timestamp(START + seconds * 1000)
}

fn name(text: &str) -> NameKey {
    NameKey::of(&parse(text).unwrap())
}

fn key(text: &str, rtype: RecordType) -> CacheKey {
    CacheKey::new(GroupKey::DEFAULT, &name(text), rtype, QueryFlags::default())
}

fn rule(text: &str, is_subtree: bool, max_names: usize) -> RetainRule {
    RetainRule {
        name: name(text),
        is_subtree,
        types: vec![RecordType::A, RecordType::AAAA],
        stale_ms: 3_600_000,
        confirm_ms: 30_000,
        max_names,
    }
}

fn cache(rules: Vec<RetainRule>) -> AnswerCache {
    let cache = AnswerCache::new(1 << 20, TtlPolicy { max_stale: 0, ..TtlPolicy::default() });
    cache.retained.configure(RetainRules { rules });
    cache
}

/// Keeps an answer of 60 s as an upstream's.
fn say(cache: &AnswerCache, text: &str, rtype: RecordType, outcome: Outcome, now: Timestamp) -> String {
    let owner: Name = parse(text).unwrap();
    let answers = match &outcome {
        Outcome::Rrset => {
            vec![Record::from_rdata(owner, 60, parse_value(RecordType::A, "192.0.2.1").unwrap())]
        }
        Outcome::Alias(target) => vec![Record::from_rdata(owner, 60, RData::CNAME(CNAME(target.clone())))],
        _ => Vec::new(),
    };
    let entry = CacheData::new(outcome, &name(text), &answers, &[], 60, false, now);
    let slot = cache.insert_reviewed(key(text, rtype), entry, now);
    let told = format!("{:?}", slot.entry().outcome);
    format!("{} {}", told.split(['(', ' ']).next().unwrap_or_default(), slot.ttl())
}

use Outcome::{NoData, NxDomain, Rrset};
use RecordType::{A, AAAA};

#[test]
fn a_denial_is_believed_only_after_it_was_confirmed() {
    for denial in [NxDomain, NoData] {
        let cache = cache(vec![rule("api.test", false, 16)]);
        assert_eq!(say(&cache, "api.test", A, Rrset, at(0)), "Rrset 60");
        assert_eq!(say(&cache, "api.test", A, denial.clone(), at(60)), "Rrset 30");
        assert_eq!(say(&cache, "api.test", A, denial.clone(), at(75)), "Rrset 15");
        assert_eq!(say(&cache, "api.test", A, denial.clone(), at(89)), "Rrset 1");
        let state = cache.retained.state(10);
        assert_eq!((state.denied, state.held, state.confirmed), (vec!["api.test".to_string()], 3, 0));
        assert_eq!(say(&cache, "api.test", A, denial.clone(), at(90)), format!("{denial:?} 60"));
        assert_eq!((cache.retained.state(1).names, cache.retained.state(1).confirmed), (0, 1));
        assert_eq!(say(&cache, "api.test", A, denial.clone(), at(150)), format!("{denial:?} 60"));
    }
}

#[test]
fn a_good_answer_in_between_starts_it_anew() {
    let cache = cache(vec![rule("api.test", false, 16)]);
    say(&cache, "api.test", A, Rrset, at(0));
    assert_eq!(say(&cache, "api.test", A, NxDomain, at(60)), "Rrset 30");
    say(&cache, "api.test", A, Rrset, at(80));
    assert_eq!(say(&cache, "api.test", A, NxDomain, at(140)), "Rrset 30");
    assert_eq!(cache.retained.state(1).confirmed, 0);
}

#[test]
fn the_denial_of_one_type_does_not_take_another_away() {
    let cache = cache(vec![rule("api.test", false, 16)]);
    say(&cache, "api.test", A, Rrset, at(0));
    assert_eq!(say(&cache, "api.test", AAAA, NoData, at(1)), "NoData 60", "there never was one");
    assert_eq!(say(&cache, "api.test", AAAA, NxDomain, at(10)), "NoData 30", "the name has an address");
    assert!(
        matches!(cache.get(&key("api.test", A), at(11)), Some((slot, Freshness::Fresh(_))) if slot.has_data())
    );
    assert_eq!(say(&cache, "api.test", AAAA, NxDomain, at(41)), "NxDomain 60", "it has lasted");
}

#[test]
fn other_names_are_denied_as_ever() {
    let cache = cache(vec![rule("api.test", false, 16)]);
    say(&cache, "other.test", A, Rrset, at(0));
    assert_eq!(say(&cache, "other.test", A, NxDomain, at(60)), "NxDomain 60");
    assert_eq!(say(&cache, "x.api.test", A, NxDomain, at(60)), "NxDomain 60");
    assert_eq!(cache.retained.state(1).names, 0);
}

#[test]
fn where_a_cname_leads_is_retained_too() {
    let cache = cache(vec![rule("api.test", false, 16)]);
    let alias = |to: &str| Outcome::Alias(parse(to).unwrap());
    say(&cache, "api.test", A, alias("lb.other"), at(0));
    say(&cache, "lb.other", A, Rrset, at(0));
    say(&cache, "unrelated.other", A, Rrset, at(0));
    assert_eq!(cache.retained.state(1).names, 2);
    assert_eq!(say(&cache, "lb.other", A, NxDomain, at(60)), "Rrset 30");
    assert_eq!(say(&cache, "api.test", A, NxDomain, at(60)), "Alias 30");
    say(&cache, "api.test", A, alias("new.other"), at(70));
    say(&cache, "new.other", A, Rrset, at(70));
    assert_eq!(say(&cache, "new.other", A, NxDomain, at(130)), "Rrset 30");
}

#[test]
fn the_last_good_answer_outlasts_cache_and_expiry() {
    let cache = cache(vec![rule("test", true, 16)]);
    say(&cache, "a.test", A, Rrset, at(0));
    for number in 0..20_000 {
        say(&cache, &format!("n{number}.flood"), A, Rrset, at(1));
    }
    let good = |seconds| cache.retained.last_good(&key("a.test", A), at(seconds)).is_some();
    assert!(good(61) && good(3659), "60 s and an hour");
    assert!(!good(3660));
    cache.forget(|entry| entry.wire() == name("a.test").wire());
    assert!(!good(61), "what is flushed is gone");
}

#[test]
fn a_flood_of_names_below_a_suffix_is_bounded() {
    let cache = cache(vec![rule("test", true, 100)]);
    say(&cache, "first.test", A, Rrset, at(0));
    for number in 0..50_000 {
        say(&cache, &format!("n{number}.test"), A, Rrset, at(1));
        say(&cache, &format!("d{number}.test"), A, NxDomain, at(1));
    }
    let state = cache.retained.state(1);
    assert!(state.names <= 100 && state.bytes < 100 * 1024, "{state:?}");
    assert!(
        cache.retained.last_good(&key("first.test", A), at(2)).is_some(),
        "one-time names displace nothing"
    );
    // none of them was asked for again, so that a day later none is refreshed
    let due = cache.retained.due(at(86_400 + 2), 1000);
    assert!(due.is_empty(), "{}", due.len());
}

#[test]
fn what_is_due_is_asked_for_once_and_not_at_every_look() {
    let cache = cache(vec![rule("api.test", false, 16)]);
    say(&cache, "api.test", A, Rrset, at(0));
    assert!(cache.retained.due(at(47), 10).is_empty());
    assert_eq!(cache.retained.due(at(48), 10).len(), 1, "a fifth of its life is left");
    assert!(cache.retained.due(at(49), 10).is_empty());
    assert_eq!(cache.retained.due(at(58), 10).len(), 1, "it came to nothing");
    say(&cache, "api.test", A, NxDomain, at(59));
    assert!(cache.retained.due(at(60), 10).is_empty());
    assert_eq!(cache.retained.due(at(69), 10).len(), 1, "a denial is looked at again");
}

#[test]
fn other_rules_forget_what_they_do_not_name() {
    let cache = cache(vec![rule("a.test", false, 16), rule("b.test", true, 16)]);
    say(&cache, "a.test", A, Rrset, at(0));
    say(&cache, "x.b.test", A, Rrset, at(0));
    cache.retained.configure(RetainRules { rules: vec![rule("b.test", true, 16)] });
    assert_eq!(cache.retained.state(1).names, 1);
    assert!(cache.retained.last_good(&key("x.b.test", A), at(1)).is_some());
    cache.retained.configure(RetainRules::default());
    assert_eq!((cache.retained.state(1).names, cache.retained.state(1).bytes), (0, 0));
}
