//! Tests of the catalog.

use super::*;
use crate::engine::name::parse;
use crate::engine::zone::{ZoneMode, ZoneSpec};

fn zone(apex: &str) -> Arc<Zone> {
    Arc::new(Zone::build(ZoneSpec::new(parse(apex).unwrap(), ZoneMode::Override), 1).unwrap())
}

fn vpc(id: &str, clients: &[&str]) -> Vpc {
    Vpc { id: id.into(), region: None, clients: clients.iter().map(|c| c.parse().unwrap()).collect() }
}

fn bound(ids: &[&str]) -> Scope {
    Scope::Vpcs(ids.iter().map(|id| id.to_string()).collect())
}

fn key(name: &str) -> NameKey {
    NameKey::of(&parse(name).unwrap())
}

fn rule(suffix: &str, group: u64, scope: Scope) -> CatalogRule {
    CatalogRule { suffix: parse(suffix).unwrap(), group: GroupKey(group), scope }
}

#[test]
fn the_longest_cidr_selects_the_vpc() {
    let spec = CatalogSpec {
        vpcs: vec![vpc("wide", &["10.0.0.0/8", "fd00::/8"]), vpc("narrow", &["10.1.0.0/16"])],
        ..Default::default()
    };
    let catalog = Catalog::build(spec).unwrap();
    let vpc_of = |ip: &str| catalog.view(ip.parse().unwrap()).vpc.as_ref().map(|vpc| vpc.id.clone());
    assert_eq!(vpc_of("10.1.2.3").as_deref(), Some("narrow"));
    assert_eq!(vpc_of("10.2.2.3").as_deref(), Some("wide"));
    assert_eq!(vpc_of("::ffff:10.2.2.3").as_deref(), Some("wide"));
    assert_eq!(vpc_of("fd00::1").as_deref(), Some("wide"));
    assert_eq!(vpc_of("192.0.2.1"), None);
}

#[test]
fn a_bound_zone_is_invisible_elsewhere() {
    let spec = CatalogSpec {
        vpcs: vec![vpc("a", &["10.0.0.0/8"]), vpc("b", &["192.168.0.0/16"])],
        zones: vec![(zone("x.example"), bound(&["a"])), (zone("example"), Scope::Everyone)],
        ..Default::default()
    };
    let catalog = Catalog::build(spec).unwrap();
    let zone_of = |ip: &str| {
        catalog.view(ip.parse().unwrap()).zone_of(&key("www.x.example")).map(|z| z.apex().to_string())
    };
    assert_eq!(zone_of("10.0.0.1").as_deref(), Some("x.example"));
    assert_eq!(zone_of("192.168.0.1").as_deref(), Some("example"));
    assert_eq!(zone_of("203.0.113.1").as_deref(), Some("example"));
}

#[test]
fn the_longest_rule_wins_within_the_view() {
    let spec = CatalogSpec {
        vpcs: vec![vpc("a", &["10.0.0.0/8"])],
        rules: vec![rule("corp.example", 1, Scope::Everyone), rule("x.corp.example", 2, bound(&["a"]))],
        ..Default::default()
    };
    let catalog = Catalog::build(spec).unwrap();
    let group = |ip: &str, name: &str| catalog.view(ip.parse().unwrap()).rule_of(&key(name)).group;
    assert_eq!(group("10.0.0.1", "a.x.corp.example"), GroupKey(2));
    assert_eq!(group("192.0.2.1", "a.x.corp.example"), GroupKey(1));
    assert_eq!(group("10.0.0.1", "notcorp.example"), GroupKey::DEFAULT);
    let mut catalog = catalog.clone();
    catalog.set_default_group(GroupKey(9));
    for client in ["10.0.0.1", "192.0.2.1"] {
        let matched = catalog.view(client.parse().unwrap()).rule_of(&key("notcorp.example"));
        assert_eq!(matched, MatchedRule { suffix: None, group: GroupKey(9) });
    }
}

#[test]
fn contradictions_are_all_told() {
    let spec = CatalogSpec {
        vpcs: vec![vpc("a", &["10.0.0.0/8"]), vpc("a", &["10.0.0.0/8"])],
        zones: vec![
            (zone("x.example"), Scope::Everyone),
            (zone("X.example"), Scope::Everyone),
            (zone("x.example"), bound(&["a", "nope"])),
        ],
        rules: vec![rule("r.example", 1, bound(&["a"])), rule("r.example", 1, bound(&["a"]))],
        ..Default::default()
    };
    let faults = Catalog::build(spec).unwrap_err();
    assert_eq!(faults.len(), 6, "{faults:?}");
}

#[test]
fn one_name_twice_is_fine_where_no_vpc_sees_both() {
    let spec = CatalogSpec {
        vpcs: vec![vpc("a", &["10.0.0.0/8"]), vpc("b", &["192.168.0.0/16"])],
        zones: vec![(zone("x.example"), bound(&["a"])), (zone("x.example"), bound(&["b"]))],
        ..Default::default()
    };
    assert!(Catalog::build(spec).is_ok());
}

#[test]
fn names_above_a_zone_exist() {
    let spec = CatalogSpec { zones: vec![(zone("a.b.example"), Scope::Everyone)], ..Default::default() };
    let catalog = Catalog::build(spec).unwrap();
    let view = catalog.view("192.0.2.1".parse().unwrap());
    assert!(view.is_above_a_zone(&key("b.example")));
    assert!(!view.is_above_a_zone(&key("a.b.example")));
    assert!(!view.is_above_a_zone(&key("c.example")));
}

/// One VPC `a` and what is configured for everyone.
fn with_everyone(zones: Vec<Arc<Zone>>) -> Catalog {
    let spec = CatalogSpec {
        vpcs: vec![vpc("a", &["10.0.0.0/8"]), vpc("b", &["192.168.0.0/16"])],
        zones: zones.into_iter().map(|zone| (zone, Scope::Everyone)).collect(),
        ..Default::default()
    };
    Catalog::build(spec).unwrap()
}

fn origin_of(catalog: &Catalog, client: &str, name: &str) -> Option<ZoneOrigin> {
    catalog.view(client.parse().unwrap()).zone_of(&key(name)).map(|zone| zone.origin)
}

fn made(apex: &str) -> Arc<Zone> {
    let spec =
        ZoneSpec { origin: ZoneOrigin::Api, ..ZoneSpec::new(parse(apex).unwrap(), ZoneMode::Override) };
    Arc::new(Zone::build(spec, 1).unwrap())
}

#[test]
fn a_placed_zone_counts_for_its_vpc_until_it_is_withdrawn() {
    let before = with_everyone(Vec::new());
    let mut after = before.clone();
    assert!(after.place("a", &made("x.example")));
    assert!(!after.place("nowhere", &made("x.example")));
    assert_eq!(origin_of(&after, "10.1.1.1", "w.x.example"), Some(ZoneOrigin::Api));
    assert_eq!(origin_of(&after, "192.168.1.1", "w.x.example"), None);
    assert_eq!(origin_of(&before, "10.1.1.1", "w.x.example"), None, "a published catalog is never edited");
    assert!(after.view("10.1.1.1".parse().unwrap()).is_above_a_zone(&key("example")));
    after.remove_zone("a", &key("x.example"));
    assert_eq!(origin_of(&after, "10.1.1.1", "w.x.example"), None);
    assert!(!after.view("10.1.1.1".parse().unwrap()).is_above_a_zone(&key("example")));
}

#[test]
fn the_file_goes_before_a_placed_zone_and_the_built_in_names_behind_it() {
    let built_in = ZoneSpec {
        origin: ZoneOrigin::Endpoints,
        ..ZoneSpec::new(parse("y.example").unwrap(), ZoneMode::Override)
    };
    let mut catalog = with_everyone(vec![zone("x.example"), Arc::new(Zone::build(built_in, 1).unwrap())]);
    assert!(!catalog.place("a", &made("x.example")));
    assert!(catalog.place("a", &made("y.example")));
    assert_eq!(origin_of(&catalog, "10.1.1.1", "x.example"), Some(ZoneOrigin::File));
    assert_eq!(origin_of(&catalog, "10.1.1.1", "y.example"), Some(ZoneOrigin::Api));
    catalog.remove_zone("a", &key("y.example"));
    assert_eq!(origin_of(&catalog, "10.1.1.1", "y.example"), Some(ZoneOrigin::Endpoints));
}

#[test]
fn a_client_on_a_line_sees_its_variant_and_all_else_as_its_vpc_does() {
    let mut catalog = with_everyone(Vec::new());
    let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
    catalog.set_lines(&[
        Line {
            id: "one".into(),
            ranges: vec![range("10.0.0.5", "10.0.0.9"), range("10.0.1.0", "10.0.1.255")],
        },
        Line { id: "two".into(), ranges: vec![range("10.0.0.10", "10.0.0.10")] },
    ]);
    let (plain, variant) = (made("x.example"), made("x.example"));
    assert!(catalog.place("a", &plain));
    catalog.place_on_line("a", "one", &variant);
    assert!(catalog.place("a", &made("y.example"))); // placed after the line's view was made
    let seen = |catalog: &Catalog, client: &str| {
        let view = catalog.view(client.parse().unwrap());
        assert!(
            view.zone_of(&key("y.example")).is_some() || view.vpc.as_ref().is_none_or(|vpc| vpc.id == "b")
        );
        (view.zone_of(&key("x.example")).map(|zone| Arc::ptr_eq(zone, &variant)), view.index)
    };
    for on_line in ["10.0.0.5", "10.0.0.9", "10.0.1.77"] {
        assert_eq!(seen(&catalog, on_line).0, Some(true), "{on_line}");
    }
    for beside in ["10.0.0.4", "10.0.0.10", "10.0.2.0"] {
        assert_eq!(seen(&catalog, beside).0, Some(false), "{beside}");
    }
    assert_eq!(seen(&catalog, "192.168.0.1").0, None);
    assert_ne!(seen(&catalog, "10.0.0.5").1, seen(&catalog, "10.0.0.4").1, "answers are kept by view");
    catalog.remove_zone("a", &key("x.example"));
    assert_eq!(seen(&catalog, "10.0.0.5").0, None);
}
