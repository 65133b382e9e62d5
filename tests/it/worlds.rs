//! Chains over random small worlds: zones, rules, VPCs and upstream answers drawn from a few names, so that they
//! meet often. Whatever the world, what is said of chains in general must hold.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use pvtzd::engine::answer::{Answer, ExtendedError, Source};
use pvtzd::engine::cache::{CacheData, FailureCause, Outcome, QueryFlags, Timestamp};
use pvtzd::engine::catalog::{Catalog, CatalogRule, CatalogSpec, GroupKey, Scope, Vpc};
use pvtzd::engine::chain::{Chain, Fetch, MAX_HOPS, Step};
use pvtzd::engine::local::LocalNames;
use pvtzd::engine::name::{NameKey, parse, show};
use pvtzd::engine::record::parse_value;
use pvtzd::engine::request::Question;
use pvtzd::engine::zone::{MissingType, Wildcards, Zone, ZoneMode, ZoneRecord, ZoneSpec};
use std::collections::HashMap;
use std::sync::Arc;

/// All names of the worlds.
const NAMES: [&str; 12] = [
    "a.test",
    "b.test",
    "x.a.test",
    "y.a.test",
    "x.b.test",
    "z.x.a.test",
    "c.net",
    "x.c.net",
    "y.c.net",
    "d.net",
    "x.d.net",
    "y.x.b.test",
];
/// Names of zones and rules.
const APEXES: [&str; 7] = ["test", "a.test", "b.test", "x.a.test", "c.net", "d.net", "net"];

/// What a record or an upstream says: an address, or a CNAME to one of [`NAMES`].
#[derive(Clone, Debug)]
enum Data {
    Address(u8),
    Alias(usize),
}

#[derive(Clone, Debug)]
struct ZonePlan {
    apex: usize,
    proxied: bool,
    forward_missing: bool,
    wildcards_off: bool,
    vpc: Option<bool>,
    records: Vec<(usize, bool, Data)>,
}

#[derive(Clone, Debug)]
enum Says {
    Data(Data),
    NoData,
    NxDomain,
    Failure,
    Unreachable,
}

/// A world.
#[derive(Clone, Debug)]
struct Plan {
    zones: Vec<ZonePlan>,
    rules: Vec<(usize, u32)>,
    says: Vec<Says>,
    question: usize,
    rtype: bool,
    recursion: bool,
    turn: u64,
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![(1..200u8).prop_map(Data::Address), (0..NAMES.len()).prop_map(Data::Alias)]
}

fn zone_plan() -> impl Strategy<Value = ZonePlan> {
    let records = prop::collection::vec((0..NAMES.len(), prop::bool::weighted(0.1), data()), 0..5);
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    (0..APEXES.len(), flags, prop::option::weighted(0.4, any::<bool>()), records).prop_map(
        |(apex, (proxied, forward_missing, wildcards_off), vpc, records)| ZonePlan {
            apex,
            proxied,
            forward_missing,
            wildcards_off,
            vpc,
            records,
        },
    )
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        6 => data().prop_map(Says::Data),
        1 => Just(Says::NoData),
        1 => Just(Says::NxDomain),
        1 => Just(Says::Failure),
        1 => Just(Says::Unreachable),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        prop::collection::vec(zone_plan(), 0..5),
        prop::collection::vec((0..APEXES.len(), 1..3u32), 0..3),
        prop::collection::vec(says(), NAMES.len() * 3),
        0..NAMES.len(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
        0..8u64,
    )
        .prop_map(|(zones, rules, says, question, rtype, recursion, turn)| Plan {
            zones,
            rules,
            says,
            question,
            rtype,
            recursion,
            turn,
        })
}

fn name(index: usize) -> Name {
    parse(NAMES[index]).unwrap()
}

/// The address in the last octet; the others tell where it comes from: 10.zone.vpc.n or 192.0.group.n.
fn rdata(data: &Data, origin: [u8; 3]) -> RData {
    match data {
        Data::Alias(target) => parse_value(RecordType::CNAME, NAMES[*target]).unwrap(),
        Data::Address(last) => {
            parse_value(RecordType::A, &format!("{}.{}.{}.{last}", origin[0], origin[1], origin[2])).unwrap()
        }
    }
}

impl Plan {
    /// The zones and rules; those that contradict an earlier one are left out, as a configuration could not
    /// have them.
    fn catalog(&self) -> Catalog {
        let vpc =
            |id: &str, net: &str| Vpc { id: id.into(), region: None, clients: vec![net.parse().unwrap()] };
        let mut spec = CatalogSpec {
            vpcs: vec![vpc("vpc-0", "10.0.0.0/16"), vpc("vpc-1", "10.1.0.0/16")],
            local_names: LocalNames::default(),
            ..Default::default()
        };
        for (number, plan) in self.zones.iter().enumerate() {
            let apex = parse(APEXES[plan.apex]).unwrap();
            let mode = if plan.proxied { ZoneMode::RecursionProxy } else { ZoneMode::Override };
            let mut zone = ZoneSpec::new(apex.clone(), mode);
            zone.on_missing_type =
                if plan.forward_missing { MissingType::Forward } else { MissingType::NoData };
            zone.wildcards = if plan.wildcards_off { Wildcards::OffWithProxy } else { Wildcards::Always };
            let vpc = plan.vpc.map_or(9, u8::from);
            for (owner, wildcard, data) in &plan.records {
                let owner =
                    if *wildcard { parse(&format!("*.{}", NAMES[*owner])).unwrap() } else { name(*owner) };
                let data = rdata(data, [10, number as u8, vpc]);
                zone.records.push(ZoneRecord { owner, ttl: 60, data, weight: None });
                if Zone::build(zone.clone(), 1).is_err() {
                    zone.records.pop();
                }
            }
            let scope = match plan.vpc {
                None => Scope::Everyone,
                Some(vpc) => Scope::Vpcs(vec![format!("vpc-{}", u8::from(vpc))]),
            };
            spec.zones.push((Arc::new(Zone::build(zone, 1).unwrap()), scope));
            if Catalog::build(spec.clone()).is_err() {
                spec.zones.pop();
            }
        }
        for (suffix, group) in &self.rules {
            let suffix = parse(APEXES[*suffix]).unwrap();
            spec.rules.push(CatalogRule {
                suffix,
                group: GroupKey(u64::from(*group)),
                scope: Scope::Everyone,
            });
            if Catalog::build(spec.clone()).is_err() {
                spec.rules.pop();
            }
        }
        Catalog::build(spec).unwrap()
    }

    /// What a group says of a name.
    fn entry(&self, fetch: &Fetch) -> CacheData {
        let place =
            NAMES.iter().position(|name| NameKey::of(&parse(name).unwrap()) == fetch.question.key).unwrap();
        let says = &self.says[fetch.group.0 as usize * NAMES.len() + place];
        let key = &fetch.question.key;
        let make =
            |outcome, records: &[Record]| CacheData::new(outcome, key, records, &[], 300, true, Timestamp(0));
        match says {
            Says::Data(Data::Alias(target)) => {
                let record = Record::from_rdata(key.to_name(), 300, rdata(&Data::Alias(*target), [0; 3]));
                make(Outcome::Alias(name(*target)), &[record])
            }
            Says::Data(Data::Address(_)) if fetch.question.rtype != RecordType::A => {
                make(Outcome::NoData, &[])
            }
            Says::Data(address) => {
                let record =
                    Record::from_rdata(key.to_name(), 300, rdata(address, [192, 0, fetch.group.0 as u8]));
                make(Outcome::Rrset, &[record])
            }
            Says::NoData => make(Outcome::NoData, &[]),
            Says::NxDomain => make(Outcome::NxDomain, &[]),
            Says::Failure => CacheData::failure(FailureCause::Rcode(ResponseCode::ServFail), 5, Timestamp(0)),
            Says::Unreachable => CacheData::failure(FailureCause::Unreachable, 1, Timestamp(0)),
        }
    }

    fn question(&self) -> Question {
        Question::new(name(self.question), if self.rtype { RecordType::A } else { RecordType::AAAA })
    }

    /// The answer for a client, and what was asked for it.
    fn resolve(&self, catalog: &Catalog, client: &str) -> (Answer, Vec<Fetch>) {
        let view = catalog.view(client.parse().unwrap());
        let mut chain = Chain::start(view, &self.question(), QueryFlags::default(), self.turn);
        let mut fetches = Vec::new();
        loop {
            match chain.step() {
                Step::Done(answer) => return (answer, fetches),
                Step::Fetch(_) if !self.recursion => chain.refuse_recursion(),
                Step::Fetch(fetch) => {
                    assert!(fetches.len() < MAX_HOPS, "it ends");
                    match self.entry(&fetch) {
                        entry if matches!(entry.outcome, Outcome::Failure(FailureCause::Unreachable)) => {
                            chain.fail(ExtendedError::new(22, "unreachable"));
                        }
                        entry => chain.supply(&entry, 300, false),
                    }
                    fetches.push(fetch);
                }
            }
        }
    }
}

/// Octets of an address record, or nothing.
fn octets(record: &Record) -> Option<[u8; 4]> {
    match &record.data {
        RData::A(address) => Some(address.0.octets()),
        _ => None,
    }
}

const CLIENTS: [(&str, u8); 3] = [("10.0.0.1", 0), ("10.1.0.1", 1), ("10.2.0.1", 2)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_holds_for_every_chain(plan in plan()) {
        let catalog = plan.catalog();
        for (client, vpc) in CLIENTS {
            let (answer, fetches) = plan.resolve(&catalog, client);
            let view = catalog.view(client.parse().unwrap());
            let names: Vec<String> = answer.hops.iter().map(|hop| show(&hop.name)).collect();

            prop_assert!(answer.hops.len() <= MAX_HOPS + 1);
            let looped = matches!(answer.hops.last().map(|hop| &hop.source), Some(Source::Loop));
            let distinct: std::collections::HashSet<&String> = names.iter().collect();
            prop_assert_eq!(distinct.len() + usize::from(looped), names.len(), "a name counts once");

            // the records are one chain: it begins at the question, and each CNAME leads to the next owner
            let mut at = NameKey::of(&plan.question().name);
            let records: Vec<Record> = answer.answers.iter().collect();
            for record in &records {
                prop_assert_eq!(&NameKey::of(&record.name), &at, "{:?}", answer.answers);
                if let RData::CNAME(target) = &record.data {
                    at = NameKey::of(&target.0);
                }
            }

            // nothing leaves for a name that a zone without proxy covers
            for fetch in &fetches {
                if let Some(zone) = view.zone_of(&fetch.question.key) {
                    prop_assert_eq!(zone.mode, ZoneMode::RecursionProxy, "{:?} left", fetch.question.key);
                }
                let rule = view.rule_of(&fetch.question.key);
                prop_assert_eq!(rule.group, fetch.group);
            }

            // the views never mix: a private record is of a zone that this client sees
            let at_end: HashMap<[u8; 4], ()> = records.iter().filter_map(octets).map(|o| (o, ())).collect();
            for [first, number, seen_by, _] in at_end.keys() {
                if *first == 10 {
                    prop_assert!(*seen_by == 9 || *seen_by == vpc, "zone {number} of another VPC");
                }
            }

            let bare = records.last().is_some_and(|record| record.record_type() == RecordType::CNAME);
            match answer.rcode {
                ResponseCode::NoError if bare || answer.answers.is_empty() => {
                    let last = answer.hops.last().unwrap();
                    let no_data = match &last.source {
                        Source::Loop => true,
                        Source::Forwarded { .. } if !plan.recursion => true,
                        Source::Zone(_) => answer.authority.len() == 1,
                        // no data, or a denial of what exists
                        Source::Forwarded { .. } => {
                            let said = plan.entry(fetches.last().unwrap()).outcome;
                            matches!(said, Outcome::NoData | Outcome::NxDomain)
                        }
                        _ => false,
                    };
                    prop_assert!(no_data, "a bare chain: {:?}", answer);
                }
                ResponseCode::NoError => prop_assert!(records.iter().any(|record| octets(record).is_some())),
                ResponseCode::NXDomain => {
                    prop_assert!(bare || answer.answers.is_empty());
                    let last = NameKey::of(&answer.hops.last().unwrap().name);
                    prop_assert!(!view.is_above_a_zone(&last), "{last:?} exists: a zone is below it");
                }
                ResponseCode::ServFail => {
                    prop_assert!(answer.answers.is_empty() && answer.authority.is_empty());
                    prop_assert!(answer.error.is_some(), "a failure says why");
                    prop_assert!(plan.recursion || answer.hops.len() >= MAX_HOPS, "nothing failed that was asked");
                }
                ResponseCode::Refused => {
                    prop_assert!(!plan.recursion && answer.answers.is_empty());
                }
                other => prop_assert!(false, "{other:?}"),
            }
            if !plan.recursion {
                prop_assert!(fetches.is_empty(), "nothing is asked for who does not want it");
            }

            // flags
            let first_private = matches!(answer.hops[0].source, Source::Zone(_) | Source::Local(_));
            let answered = matches!(answer.rcode, ResponseCode::NoError | ResponseCode::NXDomain);
            prop_assert_eq!(answer.authoritative, first_private && answered);
            if answer.authentic {
                let all_forwarded = answer.hops.iter().all(|hop| {
                    matches!(hop.source, Source::Forwarded { .. } | Source::Loop)
                });
                prop_assert!(all_forwarded, "AD although a hop was private: {:?}", answer.hops);
            }
        }
    }

    #[test]
    fn a_zone_of_another_vpc_changes_nothing(plan in plan(), other in zone_plan()) {
        let mut more = plan.clone();
        more.zones.push(ZonePlan { vpc: Some(true), ..other });
        let (before, after) = (plan.catalog(), more.catalog());
        for client in ["10.0.0.1", "10.2.0.1"] {
            let (one, two) = (plan.resolve(&before, client).0, more.resolve(&after, client).0);
            prop_assert_eq!(one.rcode, two.rcode);
            prop_assert_eq!(one.answers, two.answers);
            prop_assert_eq!(one.authority, two.authority);
        }
    }
}
