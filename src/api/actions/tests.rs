//! Tests of the actions as functions: of a snapshot to edits, and of edits to the next snapshot.

use super::config_ids::ConfigIds;
use super::context::ObservedCounts;
use super::{ACTIONS, Action, ActionContext, ActionResult, ApiCaller};
use crate::account::{Account, Edit};
use crate::api::{ActionAnswer, ApiError, Params};
use crate::config::{self, Host, InstanceInfo};
use crate::engine::cache::Timestamp;
use crate::engine::catalog::Catalog;
use crate::stats::top::TopLists;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// An account with what it stands on; time goes on by a second with each call.
struct World {
    account: Account,
    catalog: Catalog,
    hosts: Vec<Host>,
    seconds: u64,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// A world whose configuration has this in it.
    fn with(text: &str) -> Self {
        let text = format!(
            "[upstream]\nservers = []\n[endpoints]\nproducts = []\n\
             [[vpc]]\nid = \"vpc-a\"\nregion = \"cn-hangzhou\"\nclients = [\"10.0.0.0/8\"]\n\
             [[vpc]]\nid = \"vpc-b\"\nclients = [\"192.168.0.0/16\"]\n{text}"
        );
        let catalog =
            config::parse(&text, Path::new("test.toml")).unwrap().0.catalog(&InstanceInfo::default(), 1);
        Self { account: Account::default(), catalog, hosts: Vec::new(), seconds: 1_700_000_000 }
    }

    /// Decides without carrying out.
    fn decide(&mut self, action: &str, params: &[(&str, &str)]) -> Result<ActionResult, ApiError> {
        self.seconds += 1;
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&self.seconds.to_be_bytes());
        let caller = ApiCaller {
            access_key: "key".into(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            now: self.seconds * 1000,
            entropy,
        };
        let (tallies, places, history) = Default::default();
        let top = TopLists::default();
        let top = (&top, Timestamp(0));
        let counts = ObservedCounts { tallies: &tallies, places: &places, history: &history, top };
        let context = ActionContext {
            account: &self.account,
            catalog: &self.catalog,
            config_ids: &ConfigIds::default(),
            hosts: &self.hosts,
            caller: &caller,
            counts,
        };
        let params: Params = params.iter().copied().collect();
        let (_, deed) = ACTIONS.iter().find(|(name, _)| *name == action).unwrap();
        match deed {
            Action::Read(read) => read(&context, &params).map(ActionResult::nothing),
            Action::Write(write) => write(&context, &params),
            Action::Prepare(prepare) => prepare(&params).and_then(|decide| decide(&context)),
        }
    }

    /// Decides and carries out.
    fn call(&mut self, action: &str, params: &[(&str, &str)]) -> ActionAnswer {
        let decision = self.decide(action, params)?;
        self.account.apply(&decision.edits);
        Ok(decision.answer)
    }

    /// A new zone's id.
    fn zone(&mut self, name: &str) -> String {
        text(&self.call("AddZone", &[("ZoneName", name)]).unwrap(), "ZoneId")
    }

    /// A new record's id.
    fn record(&mut self, zone: &str, rr: &str, rtype: &str, value: &str) -> ActionAnswer {
        self.call("AddZoneRecord", &[("ZoneId", zone), ("Rr", rr), ("Type", rtype), ("Value", value)])
    }

    fn code(&mut self, action: &str, params: &[(&str, &str)]) -> String {
        match self.decide(action, params) {
            Ok(decision) => panic!("{action} {params:?} was not refused: {:?}", decision.answer),
            Err(error) => error.code.into_owned(),
        }
    }
}

fn text(answer: &Map<String, Value>, name: &str) -> String {
    match &answer[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn names_of_actions_are_told_apart_without_case() {
    let names: BTreeSet<String> = ACTIONS.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names.len(), ACTIONS.len());
}

#[test]
fn ids_are_of_the_products_form_and_told_apart() {
    let mut world = World::new();
    let ids: BTreeSet<String> = (0..50).map(|_| world.zone("same.example")).collect();
    assert_eq!(ids.len(), 50);
    assert!(ids.iter().all(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())));
    let zone = ids.first().unwrap().clone();
    let record = text(&world.record(&zone, "@", "A", "10.0.0.1").unwrap(), "RecordId");
    assert!(record.len() <= 15, "longer numbers break JavaScript clients: {record}");
}

#[test]
fn every_change_has_its_line_in_the_log() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let record = text(&world.record(&zone, "www", "A", "10.0.0.1").unwrap(), "RecordId");
    for (action, params) in [
        ("SetProxyPattern", vec![("ZoneId", zone.as_str()), ("ProxyPattern", "RECORD")]),
        ("UpdateZoneRemark", vec![("ZoneId", &zone), ("Remark", "x")]),
        (
            "UpdateZoneRecord",
            vec![("RecordId", &record), ("Rr", "www"), ("Type", "A"), ("Value", "10.0.0.2")],
        ),
        ("SetZoneRecordStatus", vec![("RecordId", &record), ("Status", "DISABLE")]),
        ("UpdateZoneRecordWeight", vec![("RecordId", &record), ("Weight", "7")]),
        ("BindZoneVpc", vec![("ZoneId", &zone), ("Vpcs.1.VpcId", "vpc-a")]),
        ("BindZoneVpc", vec![("ZoneId", &zone)]),
        ("DeleteZoneRecord", vec![("RecordId", &record)]),
        ("DeleteZone", vec![("ZoneId", &zone)]),
    ] {
        let decision = world.decide(action, &params).unwrap();
        let lines = decision.edits.iter().filter(|edit| matches!(edit, Edit::Log(_))).count();
        assert_eq!(lines, 1, "{action}");
        world.account.apply(&decision.edits);
    }
    let newest: Vec<u64> = world.account.log().map(|row| row.id).collect();
    assert_eq!(newest, (1..=11).rev().collect::<Vec<_>>());
}

#[test]
fn what_is_so_already_is_no_change() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let record = text(&world.record(&zone, "www", "A", "10.0.0.1").unwrap(), "RecordId");
    world.call("BindZoneVpc", &[("ZoneId", &zone), ("Vpcs.1.VpcId", "vpc-a")]).unwrap();
    for (action, params) in [
        ("SetProxyPattern", vec![("ZoneId", zone.as_str()), ("ProxyPattern", "ZONE")]),
        ("UpdateZoneRemark", vec![("ZoneId", &zone), ("Remark", "")]),
        ("ChangeZoneDnsGroup", vec![("ZoneId", &zone), ("DnsGroup", "FAST_ZONE")]),
        (
            "UpdateZoneRecord",
            vec![("RecordId", &record), ("Rr", "www"), ("Type", "A"), ("Value", "10.0.0.1")],
        ),
        ("SetZoneRecordStatus", vec![("RecordId", &record), ("Status", "enable")]),
        ("BindZoneVpc", vec![("ZoneId", &zone), ("Vpcs.1.VpcId", "vpc-a"), ("Vpcs.2.VpcId", "vpc-a")]),
    ] {
        assert_eq!(world.decide(action, &params).unwrap().edits, [], "{action}");
    }
}

#[test]
fn an_update_keeps_what_it_does_not_name() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let made = world.call(
        "AddZoneRecord",
        &[
            ("ZoneId", &zone),
            ("Rr", "@"),
            ("Type", "MX"),
            ("Value", "m.example"),
            ("Ttl", "300"),
            ("Priority", "7"),
            ("Weight", "9"),
            ("Remark", "mine"),
        ],
    );
    let record = text(&made.unwrap(), "RecordId");
    let update = [("RecordId", record.as_str()), ("Rr", "@"), ("Type", "MX"), ("Value", "n.example")];
    world.call("UpdateZoneRecord", &update).unwrap();
    let shown = world.call("DescribeZoneRecord", &[("RecordId", &record)]).unwrap();
    let told: Vec<String> =
        ["Value", "Ttl", "Priority", "Weight", "Remark"].iter().map(|name| text(&shown, name)).collect();
    assert_eq!(told, ["n.example", "300", "7", "9", "mine"]);
}

#[test]
fn a_cname_stands_alone_on_its_line() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let line = world.call("AddCustomLine", &[("Name", "l"), ("Ipv4s.1", "10.0.0.0/24")]).unwrap();
    let line = text(&line, "LineId");
    world.record(&zone, "@", "CNAME", "x.example").unwrap();
    world.record(&zone, "@", "CNAME", "y.example").unwrap(); // several: one of them is answered
    for (rtype, value) in [("A", "10.0.0.1"), ("TXT", "x"), ("CNAME", "X.Example.")] {
        let params = [("ZoneId", zone.as_str()), ("Rr", "@"), ("Type", rtype), ("Value", value)];
        assert_eq!(world.code("AddZoneRecord", &params), "Record.Invalid.Conflict", "{rtype}");
    }
    let other =
        [("ZoneId", zone.as_str()), ("Rr", "@"), ("Type", "A"), ("Value", "10.0.0.1"), ("Line", &line)];
    world.call("AddZoneRecord", &other).unwrap();
}

#[test]
fn serials_grow_even_within_a_second() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let mut last = world.account.zone(&zone).unwrap().row.serial;
    for number in 0..20 {
        world.seconds -= 1; // the clock stands still
        world.record(&zone, &format!("r{number}"), "A", "10.0.0.1").unwrap();
        let serial = world.account.zone(&zone).unwrap().row.serial;
        assert!(serial > last);
        last = serial;
    }
}

#[test]
fn zones_of_the_file_are_shown_and_kept() {
    let mut world = World::with(
        "[[zone]]\nname = \"file.example\"\n[[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n",
    );
    let zones = world.call("DescribeZones", &[]).unwrap();
    let shown = &zones["Zones"]["Zone"][0];
    let id = shown["ZoneId"].as_str().unwrap().to_string();
    assert_eq!(shown["Creator"], "configuration-file");
    let info = world.call("DescribeZoneInfo", &[("ZoneId", &id)]).unwrap();
    assert_eq!(info["BindVpcs"]["Vpc"].as_array().unwrap().len(), 2, "without vpcs it is everybody's");
    assert_eq!(world.code("DeleteZone", &[("ZoneId", &id)]), "Zone.ReadOnly");
    let mine = world.zone("file.example");
    assert_eq!(
        world.code("BindZoneVpc", &[("ZoneId", &mine), ("Vpcs.1.VpcId", "vpc-a")]),
        "ZoneVpc.Zone.Repeated"
    );
}

#[test]
fn hosts_have_an_address_of_each_family() {
    let mut world = World::new();
    let host = |name: &str, ip: &str| Host { name: name.into(), ip: ip.parse().unwrap(), region: "r".into() };
    world.hosts = vec![host("web", "10.0.0.1"), host("WEB", "2001:db8::1"), host("db", "10.0.0.2")];
    let zone = world.zone("a.example");
    world.record(&zone, "db", "TXT", "made by hand").unwrap();
    let on = [("ZoneId", zone.as_str()), ("Status", "ON"), ("Region.1.RegionId", "r")];
    world.call("UpdateSyncEcsHostTask", &on).unwrap();
    let synced = |world: &World| -> Vec<(String, String)> {
        let entry = world.account.zone(&zone).unwrap();
        let synced = entry.records.values().filter(|record| record.synced);
        synced.map(|record| (record.rtype.to_string(), record.value.to_string())).collect()
    };
    let both = [("A".into(), "10.0.0.1".into()), ("AAAA".into(), "2001:db8::1".into())];
    assert_eq!(synced(&world), both, "and names in use are left alone");
    world.call("UpdateSyncEcsHostTask", &on).unwrap();
    assert_eq!(synced(&world), both);
    world.hosts.remove(0);
    world.call("UpdateSyncEcsHostTask", &on).unwrap();
    assert_eq!(synced(&world), both[1..]);
}

#[test]
fn pages_cover_a_list_once() {
    let mut world = World::new();
    let mut zones: Vec<String> = (0..45).map(|number| world.zone(&format!("z{number}.example"))).collect();
    zones.reverse(); // the newest first
    let mut seen = Vec::new();
    for number in 1..=6 {
        let page =
            world.call("DescribeZones", &[("PageNumber", &number.to_string()), ("PageSize", "10")]).unwrap();
        let ids = page["Zones"]["Zone"].as_array().unwrap().iter();
        seen.extend(ids.map(|zone| zone["ZoneId"].as_str().unwrap().to_string()));
        assert_eq!((page["TotalItems"].as_u64(), page["TotalPages"].as_u64()), (Some(45), Some(5)));
    }
    assert_eq!(seen, zones);
    let beyond = [("PageNumber", "4294967295"), ("PageSize", "100")];
    assert_eq!(world.call("DescribeZones", &beyond).unwrap()["Zones"]["Zone"].as_array().unwrap().len(), 0);
}

#[test]
fn weights_are_for_sets_that_exist() {
    let mut world = World::new();
    let zone = world.zone("a.example");
    let switch =
        [("ZoneId", zone.as_str()), ("Rr", "www"), ("Type", "A"), ("Line", "default"), ("Open", "true")];
    assert_eq!(world.code("SetZoneLbaStatus", &switch), "Record.NotExists");
    world.record(&zone, "WWW", "A", "10.0.0.1").unwrap();
    world.call("SetZoneLbaStatus", &switch).unwrap();
    assert_eq!(world.account.zone(&zone).unwrap().row.weighted.len(), 1);
    assert_eq!(world.decide("SetZoneLbaStatus", &switch).unwrap().edits.len(), 0);
}

#[test]
fn an_endpoint_without_addresses_is_given_those_of_its_subnets() {
    let mut world = World::new();
    let subnets = [("1", "10.0.0.0/24"), ("2", "10.0.0.0/24"), ("3", "10.0.0.8/29")];
    let mut words = Vec::new();
    for (number, cidr) in subnets {
        words.push((format!("IpConfig.{number}.CidrBlock"), cidr));
        words.push((format!("IpConfig.{number}.VSwitchId"), "vsw"));
    }
    let fixed =
        [("Name", "e"), ("VpcId", "vpc-a"), ("VpcRegionId", "cn-hangzhou"), ("SecurityGroupId", "sg")];
    let mut params: Vec<(&str, &str)> = words.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    params.extend(fixed);
    let add = |world: &mut World| {
        let answer = world.call("AddResolverEndpoint", &params)?;
        Ok::<_, ApiError>(answer["EndpointId"].as_str().unwrap_or_default().to_string())
    };
    let shown = |world: &mut World, id: &str| {
        let endpoint = world.call("DescribeResolverEndpoint", &[("EndpointId", id)]).unwrap();
        let places = endpoint["IpConfigs"].as_array().unwrap().clone();
        places.iter().map(|place| place["Ip"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let first = add(&mut world).unwrap();
    assert_eq!(shown(&mut world, &first), ["10.0.0.1", "10.0.0.2", "10.0.0.9"]);
    let second = add(&mut world).unwrap();
    assert_eq!(shown(&mut world, &second), ["10.0.0.3", "10.0.0.4", "10.0.0.10"]);
    let mut update = vec![("EndpointId", first.as_str()), ("IpConfig.1.Ip", "10.0.0.77")];
    update.extend(params.iter().filter(|(name, _)| name.starts_with("IpConfig")));
    world.call("UpdateResolverEndpoint", &update).unwrap();
    assert_eq!(shown(&mut world, &first), ["10.0.0.77", "10.0.0.1", "10.0.0.9"]);
    for _ in 0..2 {
        add(&mut world).unwrap();
    }
    let refused = add(&mut world).unwrap_err();
    assert!(refused.message.contains("10.0.0.8/29"), "four addresses of eight are given out: {refused:?}");
}
