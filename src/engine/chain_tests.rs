//! Tests of whole resolutions over a scripted upstream: the policy order, hop by hop, as one table.

use super::*;
use crate::engine::cache::CacheData;
use crate::engine::cache::{Outcome, Timestamp};
use crate::engine::catalog::{Catalog, CatalogRule, CatalogSpec, Scope, Vpc};
use crate::engine::local::LocalNames;
use crate::engine::name::{parse, show};
use crate::engine::record::{parse_type, parse_value, show_type, show_value};
use crate::engine::zone::{MissingType, ZoneMode, ZoneRecord, ZoneSpec};
use std::sync::Arc;

/// Zones, rules and what the upstreams say, as text.
struct World {
    catalog: Catalog,
    /// `group name type answer`; the answer is `NX`, `NODATA`, `FAIL`, `-> target` or values.
    upstream: Vec<String>,
}

fn zone(apex: &str, mode: ZoneMode, records: &[&str]) -> ZoneSpec {
    let mut spec = ZoneSpec::new(parse(apex).unwrap(), mode);
    for line in records {
        let [owner, rtype, value] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let owner = if owner == "@" { apex.to_string() } else { format!("{owner}.{apex}") };
        let data = parse_value(parse_type(rtype).unwrap(), value).unwrap();
        spec.records.push(ZoneRecord { owner: parse(&owner).unwrap(), ttl: 60, data, weight: None });
    }
    spec
}

fn world(zones: Vec<(ZoneSpec, Scope)>, rules: &[(&str, u32)], upstream: &[&str]) -> World {
    let vpc = |id: &str, net: &str| Vpc { id: id.into(), region: None, clients: vec![net.parse().unwrap()] };
    let rules = rules.iter().map(|(suffix, group)| CatalogRule {
        suffix: parse(suffix).unwrap(),
        group: GroupKey(u64::from(*group)),
        scope: Scope::Everyone,
    });
    let spec = CatalogSpec {
        vpcs: vec![vpc("vpc-a", "10.0.0.0/8"), vpc("vpc-b", "192.168.0.0/16")],
        zones: zones
            .into_iter()
            .map(|(spec, scope)| (Arc::new(Zone::build(spec, 1).unwrap()), scope))
            .collect(),
        rules: rules.collect(),
        local_names: LocalNames::default(),
        ..Default::default()
    };
    World {
        catalog: Catalog::build(spec).unwrap(),
        upstream: upstream.iter().map(|s| s.to_string()).collect(),
    }
}

use crate::engine::zone::Zone;

impl World {
    fn entry(&self, fetch: &Fetch) -> Option<CacheData> {
        let prefix = format!("{} {} {} ", fetch.group.0, fetch.question.key, show_type(fetch.question.rtype));
        let any = format!("{} {} * ", fetch.group.0, fetch.question.key);
        let line = self.upstream.iter().find_map(|l| l.strip_prefix(&prefix).or(l.strip_prefix(&any)))?;
        let owner = fetch.question.key.to_name();
        let make = |outcome, records: &[Record]| {
            Some(CacheData::new(outcome, &fetch.question.key, records, &[], 300, true, Timestamp(0)))
        };
        if let Some(target) = line.strip_prefix("-> ") {
            let target = parse(target).unwrap();
            let data = RData::CNAME(hickory_proto::rr::rdata::CNAME(target.clone()));
            return make(Outcome::Alias(target), &[Record::from_rdata(owner, 300, data)]);
        }
        match line {
            "NX" => make(Outcome::NxDomain, &[]),
            "NODATA" => make(Outcome::NoData, &[]),
            "FAIL" => None,
            values => {
                let records: Vec<Record> = values
                    .split(", ")
                    .map(|v| {
                        Record::from_rdata(owner.clone(), 300, parse_value(fetch.question.rtype, v).unwrap())
                    })
                    .collect();
                make(Outcome::Rrset, &records)
            }
        }
    }

    fn answer(&self, client: &str, name: &str, rtype: &str) -> Answer {
        let view = self.catalog.view(client.parse().unwrap());
        let question = Question::new(parse(name).unwrap(), parse_type(rtype).unwrap());
        let mut chain = Chain::start(view, &question, QueryFlags::default(), 0);
        loop {
            match chain.step() {
                Step::Done(answer) => return answer,
                Step::Fetch(fetch) => match self.entry(&fetch) {
                    Some(entry) => chain.supply(&entry, 300, false),
                    None => chain.fail(ExtendedError::new(ExtendedError::NO_REACHABLE_AUTHORITY, "script")),
                },
            }
        }
    }

    fn resolve(&self, client: &str, name: &str, rtype: &str) -> String {
        let answer = self.answer(client, name, rtype);
        let flags = if answer.authoritative { " aa" } else { "" };
        let soa = answer.authority.iter().map(|r| format!(" soa={}", show(&r.name))).collect::<String>();
        let records: Vec<String> = answer
            .answers
            .iter()
            .map(|r| format!("{} {} {}", show(&r.name), r.record_type(), show_value(&r.data)))
            .collect();
        format!("{:?}{flags}{soa}: {}", answer.rcode, records.join("; "))
    }
}

const PROXY: ZoneMode = ZoneMode::RecursionProxy;
const OVERRIDE: ZoneMode = ZoneMode::Override;
const A: &str = "10.0.0.1";
const B: &str = "192.168.0.1";
const ECS: &str = "ecs.cn-hangzhou.aliyuncs.com";

fn everyone(spec: ZoneSpec) -> (ZoneSpec, Scope) {
    (spec, Scope::Everyone)
}

fn bound(spec: ZoneSpec, vpc: &str) -> (ZoneSpec, Scope) {
    (spec, Scope::Vpcs(vec![vpc.into()]))
}

fn recipe() -> World {
    world(
        vec![everyone(zone(ECS, PROXY, &["@ CNAME popunify-vpc.cn-hangzhou.aliyuncs.com"]))],
        &[("corp.example", 7)],
        &[
            "0 popunify-vpc.cn-hangzhou.aliyuncs.com A 100.64.0.1",
            "0 popunify-vpc.cn-hangzhou.aliyuncs.com AAAA NODATA",
            "0 sub.ecs.cn-hangzhou.aliyuncs.com A 203.0.113.9",
            "0 gone.ecs.cn-hangzhou.aliyuncs.com A NX",
            "0 cn-hangzhou.aliyuncs.com A NX",
            "0 www.example A -> ecs.cn-hangzhou.aliyuncs.com",
            "7 host.corp.example A -> www.example",
        ],
    )
}

#[test]
fn the_documented_recipe_resolves_over_the_gateway() {
    let w = recipe();
    let via = "ecs.cn-hangzhou.aliyuncs.com CNAME popunify-vpc.cn-hangzhou.aliyuncs.com";
    for (name, rtype, expected) in [
        (ECS, "A", format!("NoError aa: {via}; popunify-vpc.cn-hangzhou.aliyuncs.com A 100.64.0.1")),
        (ECS, "AAAA", format!("NoError aa: {via}")),
        (ECS, "CNAME", format!("NoError aa: {via}")),
        (
            "sub.ecs.cn-hangzhou.aliyuncs.com",
            "A",
            "NoError: sub.ecs.cn-hangzhou.aliyuncs.com A 203.0.113.9".into(),
        ),
        ("gone.ecs.cn-hangzhou.aliyuncs.com", "A", "NXDomain: ".into()),
        ("cn-hangzhou.aliyuncs.com", "A", "NoError: ".into()),
    ] {
        assert_eq!(w.resolve(A, name, rtype), expected, "{name} {rtype}");
    }
}

#[test]
fn a_public_cname_into_a_private_zone_meets_the_private_data() {
    let w = recipe();
    let tail = "www.example CNAME ecs.cn-hangzhou.aliyuncs.com; \
                ecs.cn-hangzhou.aliyuncs.com CNAME popunify-vpc.cn-hangzhou.aliyuncs.com; \
                popunify-vpc.cn-hangzhou.aliyuncs.com A 100.64.0.1";
    assert_eq!(w.resolve(A, "www.example", "A"), format!("NoError: {tail}"));
    let across = format!("NoError: host.corp.example CNAME www.example; {tail}");
    assert_eq!(w.resolve(A, "host.corp.example", "A"), across, "across a rule and the default group");
}

#[test]
fn a_private_chain_over_public_names_and_back() {
    let w = world(
        vec![everyone(zone("p.example", OVERRIDE, &["a CNAME x.public.test", "b A 10.9.9.9"]))],
        &[],
        &["0 x.public.test A -> b.p.example"],
    );
    assert_eq!(
        w.resolve(A, "a.p.example", "A"),
        "NoError aa: a.p.example CNAME x.public.test; x.public.test CNAME b.p.example; b.p.example A 10.9.9.9"
    );
}

#[test]
fn a_chain_that_cannot_be_finished_is_a_failure_not_a_bare_cname() {
    let w = world(
        vec![everyone(zone("p.example", OVERRIDE, &["a CNAME dead.test"]))],
        &[],
        &["0 dead.test A FAIL"],
    );
    assert_eq!(w.resolve(A, "a.p.example", "A"), "ServFail: ");
    assert!(w.answer(A, "a.p.example", "A").error.is_some());
}

#[test]
fn the_rcode_is_the_last_hops() {
    let w = world(
        vec![everyone(zone("p.example", OVERRIDE, &["a CNAME gone.test", "b CNAME missing.p.example"]))],
        &[],
        &["0 gone.test A NX"],
    );
    assert_eq!(w.resolve(A, "a.p.example", "A"), "NXDomain aa: a.p.example CNAME gone.test");
    assert_eq!(
        w.resolve(A, "b.p.example", "A"),
        "NXDomain aa soa=p.example: b.p.example CNAME missing.p.example"
    );
}

#[test]
fn proxy_off_denies_what_is_not_configured() {
    let w = world(
        vec![everyone(zone("p.example", OVERRIDE, &["x.y A 10.0.0.1", "t TXT hi"]))],
        &[],
        &["0 n.p.example A 1.1.1.1"],
    );
    for (name, rtype, expected) in [
        ("n.p.example", "A", "NXDomain aa soa=p.example: "),
        ("t.p.example", "A", "NoError aa soa=p.example: "),
        ("y.p.example", "A", "NoError aa soa=p.example: "),
        ("p.example", "A", "NoError aa soa=p.example: "),
    ] {
        assert_eq!(w.resolve(A, name, rtype), expected, "{name}");
    }
}

#[test]
fn proxy_on_hands_on_what_is_not_configured() {
    let w = world(
        vec![everyone(zone("p.example", PROXY, &["x.y A 10.0.0.1", "t TXT hi", "*.w A 10.0.0.2"]))],
        &[("rule.p.example", 3)],
        &[
            "0 n.p.example A 1.1.1.1",
            "0 y.p.example A NX",
            "0 p.example A 1.1.1.2",
            "0 t.p.example A 1.1.1.3",
            "3 n.rule.p.example A 3.3.3.3",
        ],
    );
    for (name, rtype, expected) in [
        ("n.p.example", "A", "NoError: n.p.example A 1.1.1.1"),
        ("y.p.example", "A", "NoError: "),
        ("p.example", "A", "NoError: p.example A 1.1.1.2"),
        ("t.p.example", "A", "NoError aa soa=p.example: "),
        ("any.w.p.example", "A", "NoError aa: any.w.p.example A 10.0.0.2"),
        ("n.rule.p.example", "A", "NoError: n.rule.p.example A 3.3.3.3"),
    ] {
        assert_eq!(w.resolve(A, name, rtype), expected, "{name}");
    }
}

#[test]
fn the_other_reading_of_a_missing_type_forwards_it() {
    let mut spec = zone("p.example", PROXY, &["t TXT hi"]);
    spec.on_missing_type = MissingType::Forward;
    let w = world(vec![everyone(spec)], &[], &["0 t.p.example A 1.1.1.3", "0 t.p.example AAAA NX"]);
    assert_eq!(w.resolve(A, "t.p.example", "A"), "NoError: t.p.example A 1.1.1.3");
    assert_eq!(
        w.resolve(A, "t.p.example", "AAAA"),
        "NoError: ",
        "the name exists, whatever the upstream says"
    );
}

#[test]
fn a_nested_zone_hides_its_part_of_the_parent() {
    let w = world(
        vec![
            everyone(zone("example", OVERRIDE, &["a.sub A 10.0.0.1", "* A 10.0.0.9"])),
            everyone(zone("sub.example", PROXY, &["b A 10.0.0.2"])),
            everyone(zone("deep.below.example", OVERRIDE, &[])),
        ],
        &[],
        &["0 a.sub.example A NX"],
    );
    assert_eq!(w.resolve(A, "a.sub.example", "A"), "NXDomain: ", "no detour through the parent zone");
    assert_eq!(w.resolve(A, "b.sub.example", "A"), "NoError aa: b.sub.example A 10.0.0.2");
    assert_eq!(w.resolve(A, "x.example", "A"), "NoError aa: x.example A 10.0.0.9");
}

#[test]
fn a_zone_below_makes_its_ancestors_exist() {
    let w = world(
        vec![everyone(zone("example", OVERRIDE, &[])), everyone(zone("deep.below.example", OVERRIDE, &[]))],
        &[],
        &[],
    );
    assert_eq!(w.resolve(A, "below.example", "A"), "NoError aa soa=example: ");
    assert_eq!(w.resolve(A, "other.example", "A"), "NXDomain aa soa=example: ");
}

#[test]
fn two_vpcs_see_different_answers_for_one_name() {
    let w = world(
        vec![
            bound(zone("p.example", OVERRIDE, &["@ A 10.1.1.1"]), "vpc-a"),
            bound(zone("p.example", OVERRIDE, &["@ A 10.2.2.2"]), "vpc-b"),
        ],
        &[],
        &["0 p.example A 203.0.113.1"],
    );
    assert_eq!(w.resolve(A, "p.example", "A"), "NoError aa: p.example A 10.1.1.1");
    assert_eq!(w.resolve(B, "p.example", "A"), "NoError aa: p.example A 10.2.2.2");
    assert_eq!(
        w.resolve("172.16.0.1", "p.example", "A"),
        "NoError: p.example A 203.0.113.1",
        "outside: public"
    );
}

#[test]
fn loops_end_with_what_is_there() {
    let w = world(
        vec![everyone(zone(
            "p.example",
            OVERRIDE,
            &["a CNAME b.p.example", "b CNAME a.p.example", "s CNAME s.p.example"],
        ))],
        &[],
        &[],
    );
    assert_eq!(w.resolve(A, "s.p.example", "A"), "NoError aa: s.p.example CNAME s.p.example");
    assert_eq!(
        w.resolve(A, "a.p.example", "A"),
        "NoError aa: a.p.example CNAME b.p.example; b.p.example CNAME a.p.example"
    );
}

#[test]
fn chains_of_sixteen_names_resolve_and_longer_ones_fail() {
    let records: Vec<String> = (0..20).map(|i| format!("n{i} CNAME n{}.p.example", i + 1)).collect();
    let mut lines: Vec<&str> = records.iter().map(String::as_str).collect();
    lines.push("n20 A 10.0.0.1");
    let w = world(vec![everyone(zone("p.example", OVERRIDE, &lines))], &[], &[]);
    assert!(w.resolve(A, "n5.p.example", "A").ends_with("n20.p.example A 10.0.0.1"));
    assert_eq!(w.resolve(A, "n4.p.example", "A"), "ServFail: ");
}

#[test]
fn special_names_stay_here_unless_a_rule_names_them() {
    let w = world(
        vec![everyone(zone("1.10.in-addr.arpa", OVERRIDE, &["2.3 PTR h.example"]))],
        &[("168.192.in-addr.arpa", 5)],
        &["5 1.1.168.192.in-addr.arpa PTR r.example"],
    );
    for (name, rtype, expected) in [
        ("localhost", "A", "NoError aa: localhost A 127.0.0.1"),
        ("x.local", "A", "NXDomain aa soa=local: "),
        ("2.3.1.10.in-addr.arpa", "PTR", "NoError aa: 2.3.1.10.in-addr.arpa PTR h.example"),
        ("2.3.2.10.in-addr.arpa", "PTR", "NXDomain aa soa=10.in-addr.arpa: "),
        ("1.1.168.192.in-addr.arpa", "PTR", "NoError: 1.1.168.192.in-addr.arpa PTR r.example"),
    ] {
        assert_eq!(w.resolve(A, name, rtype), expected, "{name}");
    }
}

#[test]
fn any_is_answered_with_a_hint_and_never_forwarded() {
    let w = world(vec![everyone(zone("p.example", OVERRIDE, &["@ CNAME t.test", "x A 10.0.0.1"]))], &[], &[]);
    assert_eq!(w.resolve(A, "p.example", "ANY"), "NoError aa: p.example CNAME t.test");
    assert!(w.resolve(A, "x.p.example", "ANY").starts_with("NoError aa: x.p.example HINFO"));
    assert!(w.resolve(A, "public.test", "ANY").starts_with("NoError: public.test HINFO"));
    assert_eq!(w.resolve(A, "none.p.example", "ANY"), "NXDomain aa soa=p.example: ");
}

#[test]
fn ad_holds_only_while_every_hop_is_authentic() {
    let w = recipe();
    assert!(w.answer(A, "sub.ecs.cn-hangzhou.aliyuncs.com", "A").authentic);
    assert!(!w.answer(A, ECS, "A").authentic);
}

#[test]
fn without_recursion_private_data_is_answered_and_the_rest_refused() {
    let w = recipe();
    let ask = |name: &str| {
        let question = Question::new(parse(name).unwrap(), RecordType::A);
        let mut chain = Chain::start(w.catalog.view(A.parse().unwrap()), &question, QueryFlags::default(), 0);
        loop {
            match chain.step() {
                Step::Done(answer) => return answer,
                Step::Fetch(_) => chain.refuse_recursion(),
            }
        }
    };
    assert_eq!(ask("www.example").rcode, ResponseCode::Refused);
    assert_eq!(ask(ECS).answers.len(), 1);
    assert_eq!(ask(ECS).rcode, ResponseCode::NoError);
}

#[test]
fn hops_tell_what_answered_for_each_name() {
    let hops: Vec<String> =
        recipe().answer(A, ECS, "A").hops.iter().map(|hop| format!("{:?}", hop.source)).collect();
    assert_eq!(hops[0], format!("Zone({ECS})"));
    assert!(hops[1].starts_with("Forwarded"), "{hops:?}");
}
