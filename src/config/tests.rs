//! What a file means: samples, defaults, the catalog and the groups that come of them.

use super::reader::{ConfigReader, Origin, Span};
use super::*;
use crate::engine::catalog::{Catalog, GroupKey};
use crate::engine::name::{self, NameKey};
use crate::engine::record::show_value;
use crate::engine::zone::{Lookup, Zone, ZoneRecord};
use proptest::prelude::*;
use std::collections::BTreeMap;
use toml::de::DeTable;

pub(super) const DOCUMENTED: &str = include_str!("../../config/pvtzd.toml");
pub(super) const FALLBACK: &str = include_str!("../../config/fallback.toml");
pub(super) const LAB: &str = include_str!("../../config/lab.toml");
/// Every section that may occur several times, empty.
const LISTS: &str = "[[forward]]\n[[vpc]]\n[[zone]]\n[[zone.record]]\n[[expect]]\n\
                     [[control.access_key]]\n[[control.host]]\n[[hosts]]\n";

/// A file without any fault.
fn good(text: &str) -> Config {
    match parse(text, Path::new("test.toml")) {
        Ok((config, warnings)) if warnings.is_empty() => config,
        Ok((_, faults)) | Err(faults) => {
            let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("{}", shown.join("\n\n"))
        }
    }
}

/// The examples of the documented file, without their marks.
fn uncommented() -> String {
    let unmarked = |line: &'static str| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') && !example.is_empty() => example,
        _ => line,
    };
    DOCUMENTED.lines().map(unmarked).collect::<Vec<_>>().join("\n")
}

/// Where a name leads for a client: the chain of CNAMEs, and whether the last name is configured.
fn lead(catalog: &Catalog, client: &str, name: &str) -> String {
    let view = catalog.view(client.parse().unwrap());
    let key = NameKey::of(&name::parse(name).unwrap());
    let Some(zone) = view.zone_of(&key) else { return "outside".into() };
    match zone.lookup(&key, RecordType::A) {
        Lookup::Cname(set) | Lookup::Rrset(set) => show_value(&set.values().next().unwrap()),
        Lookup::NoType | Lookup::Empty => "nodata".into(),
        Lookup::Missing => "missing".into(),
    }
}

fn region(id: &str) -> InstanceInfo {
    InstanceInfo { region: Some(id.into()), vpc_id: None }
}

#[test]
fn the_documented_file_is_the_default() {
    let default = format!("{:#?}", Config::default());
    assert_eq!(format!("{:#?}", good(DOCUMENTED)), default);
    assert_eq!(format!("{:#?}", good("")), default);
}

#[test]
fn every_key_is_documented_in_its_section() {
    let (table, _) = DeTable::parse_recoverable(LISTS);
    let reader = ConfigReader::new(LISTS, Path::new("test.toml"));
    file::read(&reader, table.get_ref(), Origin::At(0), None);
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut kind = String::new();
    let text = uncommented();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        if line.starts_with('[') {
            kind = line.trim_matches(['[', ']']).into();
        } else if let Some((key, _)) = line.split_once('=') {
            documented.entry(kind.clone()).or_default().push(key.trim().into());
        }
    }
    for (kind, keys) in reader.known() {
        for key in keys.iter().filter(|_| !kind.is_empty()) {
            // a section in a section has a header of its own
            let there = documented.contains_key(&format!("{kind}.{key}"))
                || documented.get(&kind).is_some_and(|keys| keys.iter().any(|other| other == key));
            assert!(there, "{key} of {kind} is not in config/pvtzd.toml");
        }
    }
    assert!(documented.len() >= 12, "{documented:?}");
}

#[test]
fn every_key_is_in_the_schema() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../config/pvtzd.schema.json")).unwrap();
    let (table, _) = DeTable::parse_recoverable(LISTS);
    let reader = ConfigReader::new(LISTS, Path::new("test.toml"));
    file::read(&reader, table.get_ref(), Origin::At(0), None);
    let known = reader.known();
    assert!(known.len() >= 12, "{known:?}");
    for (kind, keys) in known {
        let mut at = &schema;
        for step in kind.split('.').filter(|step| !step.is_empty()) {
            at = &at["properties"][step];
            at = at.get("items").unwrap_or(at);
        }
        let there = at["properties"].as_object().unwrap_or_else(|| panic!("[{kind}] is not in the schema"));
        let mut keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        keys.sort_unstable();
        let mut described: Vec<&str> = there.keys().map(String::as_str).collect();
        described.sort_unstable();
        keys.dedup();
        assert_eq!(keys, described, "[{kind}]; packaging/schema makes the schema");
    }
}

#[test]
fn the_examples_of_the_documented_file_work() {
    let (config, warnings) = parse(&uncommented(), Path::new("config/pvtzd.toml")).unwrap();
    assert!(warnings.iter().all(|fault| fault.severity == Severity::Warning));
    assert_eq!(
        (config.vpcs.len(), config.zones.len(), config.forwards.len(), config.expects.len()),
        (1, 4, 1, 1)
    );
    assert_eq!(config.zones[2].0.record_count(), 9);
    assert_eq!(config.zones[0].0.record_count(), 4);
    assert_eq!((config.secondaries.len(), config.secondaries[0].zone), (1, 3));
    assert!(config.secondaries[0].key.is_some());
}

#[test]
fn the_samples_work() {
    let fallback = good(FALLBACK);
    assert_eq!(fallback.server.listen, ["127.0.0.1:53".parse().unwrap()]);
    assert!(fallback.wants_metadata());
    let lab = good(LAB);
    assert!(!lab.wants_metadata());
    let catalog = lab.catalog(&InstanceInfo::default(), 1);
    for (client, name, expected) in [
        ("127.0.0.1", "www.app.example", "192.0.2.1"),
        ("127.200.0.1", "www.app.example", "198.51.100.1"),
        ("127.200.0.1", "other.app.example", "www.app.example"),
        ("127.0.0.1", "other.app.example", "missing"),
        ("127.0.0.1", "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"),
        ("127.200.0.1", "ecs.cn-hangzhou.aliyuncs.com", "outside"),
    ] {
        assert_eq!(lead(&catalog, client, name), expected, "{client} {name}");
    }
    assert_eq!(lab.expects[0].rtype, RecordType::A);
    assert!(matches!(&lab.expects[0].answer, Expected::Values(values) if values.len() == 2));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = load(Path::new("/nonexistent/pvtzd.toml")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nonexistent/pvtzd.toml: "), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"[server]\n# caf\xe9\n").unwrap();
    let Err(ConfigError::Faults(faults)) = load(&path) else { panic!("no faults") };
    assert_eq!((faults.len(), faults[0].line, faults[0].column), (1, 2, 6));
    std::fs::write(&path, DOCUMENTED).unwrap();
    assert!(load(&path).is_ok());
}

#[test]
fn without_a_vpc_everybody_is_in_the_instances() {
    let config = good("");
    let catalog =
        config.catalog(&InstanceInfo { region: Some("cn-hongkong".into()), vpc_id: Some("vpc-1".into()) }, 1);
    for client in ["192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"] {
        let vpc = catalog.view(client.parse().unwrap()).vpc.clone().unwrap();
        assert_eq!((vpc.id.as_str(), vpc.region.as_deref()), ("vpc-1", Some("cn-hongkong")));
    }
    let unknown = config.catalog(&InstanceInfo::default(), 1);
    assert_eq!(unknown.vpcs().next().unwrap().id, "vpc-local");
}

#[test]
fn the_catalogue_serves_all_regions_until_the_own_one_is_known() {
    let config = good("");
    let all = config.catalog(&InstanceInfo::default(), 1);
    assert_eq!(all.zones().len(), 9 + 2);
    let hangzhou = "popunify-vpc.cn-hangzhou.aliyuncs.com";
    let hongkong = "popunify-vpc.cn-hongkong.aliyuncs.com";
    for (instance, name, expected) in [
        (InstanceInfo::default(), "ecs.cn-hongkong.aliyuncs.com", hongkong),
        (InstanceInfo::default(), "ECS.eu-central-1.aliyuncs.com", "popunify-vpc.eu-central-1.aliyuncs.com"),
        (InstanceInfo::default(), "ecs-cn-hangzhou.aliyuncs.com", hangzhou),
        (InstanceInfo::default(), "ecs.aliyuncs.com", hangzhou),
        (InstanceInfo::default(), "ecs.us-west-1.aliyuncs.com", "outside"),
        (region("cn-hongkong"), "ecs.cn-hongkong.aliyuncs.com", hongkong),
        (region("cn-hongkong"), "ecs.cn-hangzhou.aliyuncs.com", "outside"),
        (region("cn-hongkong"), "ecs-cn-hangzhou.aliyuncs.com", hongkong),
        (region("us-west-1"), "ecs.us-west-1.aliyuncs.com", "outside"),
        (region("us-west-1"), "ecs.aliyuncs.com", hangzhou),
        (region("not a label"), "ecs.aliyuncs.com", hangzhou),
    ] {
        assert_eq!(lead(&config.catalog(&instance, 1), "127.0.0.1", name), expected, "{instance:?} {name}");
    }
}

#[test]
fn the_own_name_of_a_product_is_there_in_every_region() {
    let config = good("[endpoints]\ntarget = \"product-vpc\"\nproducts = \"all\"\nregions = \"all\"");
    let catalog = config.catalog(&InstanceInfo::default(), 1);
    for (name, expected) in [
        ("ecs.us-west-1", "ecs-vpc.us-west-1"),
        ("ecs", "ecs-vpc.cn-hangzhou"),
        ("sts", "sts-vpc.cn-hangzhou"),
        ("ram", "ram.vpc-proxy"),
        ("cbn", "cen.vpc-proxy"),
        ("r-kvstore.cn-beijing", "r-kvstore-vpc.cn-beijing"),
        ("cs.cn-beijing", "cs-anony-vpc.cn-beijing"),
        ("bucket.oss-cn-beijing", "oss-cn-beijing-internal"),
        ("oss-cn-beijing", "oss-cn-beijing-internal"),
        ("project.cn-beijing.log", "cn-beijing-intranet.log"),
        ("arms.cn-qingdao", "popunify-vpc.cn-qingdao"),
        ("ivpd-vpc.cn-beijing", "popunify-vpc.cn-beijing"),
    ] {
        let expected = format!("{expected}.aliyuncs.com");
        assert_eq!(lead(&catalog, "127.0.0.1", &format!("{name}.aliyuncs.com")), expected, "{name}");
    }
    let ecs = good("[endpoints]\ntarget = \"product-vpc\"").catalog(&InstanceInfo::default(), 1);
    assert_eq!(ecs.zones().len(), 40 + 2);
    assert_eq!(good("[endpoints]\nproducts = []").catalog(&InstanceInfo::default(), 1).zones().len(), 0);
    assert_eq!(good("[endpoints]\nproducts = [\"ack\", \"cs\"]").endpoints.products, ["cs", "cs"]);
}

#[test]
fn a_listed_region_is_home_when_it_is_the_only_one() {
    let one = good("[endpoints]\nregions = [\"cn-shanghai\"]").catalog(&region("cn-hongkong"), 1);
    assert_eq!(lead(&one, "127.0.0.1", "ecs.aliyuncs.com"), "popunify-vpc.cn-shanghai.aliyuncs.com");
    let two =
        good("[endpoints]\nregions = [\"cn-shanghai\", \"cn-beijing\"]").catalog(&region("cn-hongkong"), 1);
    assert_eq!(lead(&two, "127.0.0.1", "ecs.aliyuncs.com"), "popunify-vpc.cn-hangzhou.aliyuncs.com");
    assert_eq!(two.zones().len(), 4);
}

#[test]
fn a_detected_region_without_a_target_is_noted() {
    let config = good("");
    assert!(config.endpoint_notes(&region("cn-hangzhou")).is_empty());
    assert!(config.endpoint_notes(&InstanceInfo::default()).is_empty());
    let notes = config.endpoint_notes(&region("us-west-1"));
    assert!(
        notes.len() == 1 && notes[0].contains("us-west-1") && notes[0].contains("product-vpc"),
        "{notes:?}"
    );
}

#[test]
fn a_zone_of_the_file_takes_the_place_of_the_built_in_one() {
    let record = "[[zone.record]]\nname = \"@\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\n";
    let zone = "[[zone]]\nname = \"ECS.cn-hangzhou.aliyuncs.com\"\n";
    let everyone = good(&format!("{zone}{record}")).catalog(&InstanceInfo::default(), 1);
    assert_eq!(lead(&everyone, "127.0.0.1", "ecs.cn-hangzhou.aliyuncs.com"), "192.0.2.1");
    assert_eq!(everyone.zones().len(), 11);
    let vpcs =
        "[[vpc]]\nid = \"a\"\nclients = [\"10.0.0.0/8\"]\n[[vpc]]\nid = \"b\"\nclients = [\"11.0.0.0/8\"]\n";
    let bound = good(&format!("{vpcs}{zone}vpcs = [\"a\"]\n{record}")).catalog(&InstanceInfo::default(), 1);
    assert_eq!(lead(&bound, "10.0.0.1", "ecs.cn-hangzhou.aliyuncs.com"), "192.0.2.1");
    assert_eq!(
        lead(&bound, "11.0.0.1", "ecs.cn-hangzhou.aliyuncs.com"),
        "popunify-vpc.cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(lead(&bound, "12.0.0.1", "ecs.cn-hangzhou.aliyuncs.com"), "outside");
    let all =
        good(&format!("{vpcs}{zone}vpcs = [\"a\", \"b\"]\n{record}")).catalog(&InstanceInfo::default(), 1);
    assert_eq!(all.zones().len(), 11);
}

#[test]
fn groups_keep_their_keys_while_they_mean_the_same() {
    let vpcs =
        "[[vpc]]\nid = \"a\"\nclients = [\"10.0.0.0/8\"]\n[[vpc]]\nid = \"b\"\nclients = [\"11.0.0.0/8\"]\n";
    let rule = |zone: &str, servers: &str, more: &str| {
        format!("[[forward]]\nzone = \"{zone}\"\nservers = [{servers}]\n{more}\n")
    };
    let one = rule("f.example", "\"10.0.0.1\"", "vpcs = [\"a\"]");
    let two = rule("F.example", "\"10.0.0.1:53\"", "vpcs = [\"b\"]");
    let config = good(&format!("{vpcs}{one}{two}"));
    let groups = config.groups();
    assert_eq!(groups.len(), 1);
    assert_ne!(groups[0].key, GroupKey::DEFAULT);
    let catalog = config.catalog(&InstanceInfo::default(), 1);
    let key = NameKey::of(&name::parse("x.f.example").unwrap());
    for client in ["10.0.0.1", "11.0.0.1"] {
        assert_eq!(catalog.view(client.parse().unwrap()).rule_of(&key).group, groups[0].key);
    }
    // rules for other names share the group of their servers
    let shared =
        good(&(0..50).map(|at| rule(&format!("n{at}.example"), "\"10.0.0.1\"", "")).collect::<String>());
    assert_eq!(shared.groups().len(), 1);
    assert_eq!((shared.groups()[0].key, shared.groups()[0].name.as_str()), (groups[0].key, "n0.example"));
    // another rule before it changes nothing, nor does another order or strategy; other servers do
    let more = good(&format!("{vpcs}{}{two}", rule("e.example", "\"10.0.0.9\"", "")));
    assert_eq!(more.groups()[1].key, groups[0].key);
    let other = good(&format!("{vpcs}{one}{}", rule("f.example", "\"10.0.0.2\"", "vpcs = [\"b\"]")));
    let names: Vec<String> = other.groups().iter().map(|group| group.name.clone()).collect();
    assert_eq!(names, ["f.example", "f.example#2"]);
    let strategy =
        good(&format!("{}[upstream]\nstrategy = \"fastest\"", rule("f.example", "\"10.0.0.1\"", "")));
    assert_eq!(strategy.forwards[0].strategy, crate::upstream::Strategy::Fastest);
    assert_eq!(strategy.groups()[0].key, groups[0].key, "the servers are the same, and so are their answers");
    let turned = |servers: &str| good(&rule("f.example", servers, "")).groups()[0].key;
    assert_eq!(turned("\"10.0.0.1\", \"10.0.0.2\""), turned("\"10.0.0.2\", \"10.0.0.1\""));
    assert_ne!(turned("\"10.0.0.1\", \"10.0.0.2\""), groups[0].key);
    let both = good(&format!(
        "{vpcs}{one}{}",
        rule("f.example", "\"10.0.0.1\"", "vpcs = [\"b\"]\nstrategy = \"fastest\"")
    ));
    assert_ne!(both.groups()[0].key, both.groups()[1].key, "two groups never share a key");
    assert_eq!(groups[0].key, GroupKey(14_999_938_772_300_240_822), "the key must not change between builds");
}

#[test]
fn product_words_mean_the_same() {
    let ours = "[[zone]]\nname = \"z.example\"\nrecursion_proxy = true\n[[zone.record]]\nname = \"m\"\ntype = \"MX\"\nvalue = \"5 mx.example\"";
    let theirs = "[[zone]]\nname = \"z.example\"\nproxy_pattern = \"RECORD\"\n[[zone.record]]\nrr = \"m\"\ntype = \"mx\"\npriority = 5\nvalue = \"mx.example.\"";
    assert_eq!(format!("{:?}", good(ours).zones), format!("{:?}", good(theirs).zones));
}

#[test]
fn a_disabled_record_is_not_in_the_zone() {
    let record = |more: &str| format!("[[zone.record]]\nname = \"www\"\ntype = \"{more}\n");
    let text = format!(
        "[[zone]]\nname = \"z.example\"\n{}{}",
        record("A\"\nvalue = \"192.0.2.1\"\nenabled = false"),
        record("CNAME\"\nvalue = \"a.example\"")
    );
    assert_eq!(good(&text).zones[0].0.record_count(), 1);
}

#[test]
fn a_contradiction_made_in_code_cannot_stop_the_catalog() {
    let mut config = good(&format!("{LAB}\n"));
    let again = config.zones.clone();
    config.zones.extend(again);
    config.zones[0].1 = Scope::Vpcs(vec!["nowhere".into(), "vpc-shanghai".into(), "vpc-shanghai".into()]);
    let vpc = config.vpcs[0].clone();
    config.vpcs.push(vpc);
    config.forwards.push(config.forwards[0].clone());
    let zone = Arc::make_mut(&mut config.zones[2].0);
    let built = Zone::build_leniently(zone.clone(), 1);
    let (owner, set) = built.rrsets().next().unwrap();
    let data = set.values().next().unwrap();
    let record = ZoneRecord { owner: owner.to_name(), ttl: 60, data, weight: None };
    zone.packed = None;
    zone.records = vec![record.clone(), record];
    let catalog = config.catalog(&InstanceInfo::default(), 1);
    assert_eq!(lead(&catalog, "127.200.0.1", "www.app.example"), "198.51.100.1");
}

#[test]
fn places_that_are_out_of_the_text_are_survived() {
    let reader = ConfigReader::new("ä", Path::new("x"));
    for span in [0..0, 1..1, 2..2, 5..9] {
        reader.error(&Span { span, ..Span::default() }, "here", None);
    }
    assert_eq!(reader.finish().len(), 4);
}

#[test]
fn deep_nesting_is_survived() {
    for text in [
        "[".repeat(100_000),
        "a.".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        "{a=".repeat(50_000),
    ] {
        assert!(parse(&text, Path::new("x")).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,400}") {
        let _ = parse(&text, Path::new("x"));
    }

    #[test]
    fn no_toml_of_our_words_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "[server]\n", "[[zone]]\n", "[[zone.record]]\n", "[zone]\n", "[[vpc]]\n", "[[forward]]\n", "[[expect]]\n", "listen = ", "name = ",
        "value = ", "type = ", "vpcs = ", "clients = ", "servers = ", "answer = ", "id = ", "ttl = ", "priority = ", "\"@\"\n", "\"A\"\n",
        "\"CNAME\"\n", "\"MX\"\n", "[\"a\", \"a\"]\n", "\"z.example\"\n", "5\n", "[]\n", "true\n", "{a = 1}\n", "\"*\"\n", "\"::/0\"\n", "1979-05-27\n",
        "-1\n", "0x7fffffffffffffffff\n", "nan\n", "\"é.例子\"\n", "zone = ", "query = ",
    ]), 0..40)) {
        let _ = parse(&parts.concat(), Path::new("x"));
    }

    #[test]
    fn no_mutated_sample_panics(
        sample in prop::sample::select(vec![DOCUMENTED.to_string(), FALLBACK.to_string(), LAB.to_string(), uncommented()]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, "[ -~\n]{0,3}|é"), 1..6),
    ) {
        let mut text: Vec<char> = sample.chars().collect();
        for (at, cut, insert) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok((config, _)) = parse(&text, Path::new("x")) {
            config.catalog(&InstanceInfo::default(), 1);
            config.groups();
        } else if let Err(faults) = parse(&text, Path::new("x")) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.line >= 1 && fault.column >= 1);
                let _ = fault.render(true);
            }
        }
    }
}

#[test]
fn a_long_chain_of_aliases_is_checked_quickly() {
    let record = |n: usize| {
        format!("[[zone.record]]\nname = \"n{n}\"\ntype = \"CNAME\"\nvalue = \"n{}.z.example\"\n", n + 1)
    };
    let records: String = (0..5000).map(record).collect();
    assert_eq!(good(&format!("[[zone]]\nname = \"z.example\"\n{records}")).zones[0].0.record_count(), 5000);
}

#[test]
fn the_metadata_service_is_asked_only_where_it_matters() {
    let vpc = "[[vpc]]\nid = \"a\"\nclients = [\"10.0.0.0/8\"]\n";
    for (text, expected) in [
        (String::new(), true),
        ("[endpoints]\nregions = \"all\"".into(), true),
        (vpc.into(), true),
        (format!("{vpc}[endpoints]\nregions = \"all\""), false),
        (format!("{vpc}[endpoints]\nproducts = []"), false),
    ] {
        assert_eq!(good(&text).wants_metadata(), expected, "{text}");
    }
}

#[test]
fn the_availability_zones_are_those_of_a_region_of_the_catalogue() {
    let zones = endpoints::availability_zones;
    assert!(zones("cn-hangzhou").len() >= 4 && zones("cn-hangzhou").contains(&"cn-hangzhou-k".to_string()));
    assert_eq!(zones("eu-central-1"), ["eu-central-1a", "eu-central-1b", "eu-central-1c"]);
    assert_eq!(zones("cn-fuzhou"), ["cn-fuzhou-a"]);
    assert_eq!(zones("cn-elsewhere"), ["cn-elsewhere-a", "cn-elsewhere-b"]);
    assert!(endpoints::regions().iter().all(|region| !zones(region).is_empty()));
}
