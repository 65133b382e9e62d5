//! What the products answer and refuse, each as a function of an account.

use super::*;
use crate::account::row::{Binding, ZoneRow};
use crate::account::{Account as Rows, Edit};
use crate::api::actions::{ActionContext, ApiCaller, ConfigIds, ObservedCounts};
use crate::api::{ApiError, Params};
use crate::config::{self, Config};
use crate::engine::catalog::Catalog;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const VPC: &str = "2016-04-28";
const ECS: &str = "2014-05-26";
const REGION: (&str, &str) = ("RegionId", "cn-hangzhou");

/// An account, and what is configured beside it.
struct World {
    config: Config,
    account: Rows,
    seconds: u64,
}

impl World {
    fn new() -> Self {
        let vpcs = crate::lab::running::vpcs("vpc-lab", "cn-hangzhou", &[]);
        Self {
            config: Config { vpcs, ..Config::default() },
            account: Rows::default(),
            seconds: 1_800_000_000,
        }
    }

    fn catalog(&self) -> Catalog {
        self.config.catalog_with(&config::InstanceInfo::default(), 1, &self.account.catalog_vpcs())
    }

    /// Carries out an action on the account.
    fn call(&mut self, version: &str, action: &str, params: &[(&str, &str)]) -> ActionAnswer {
        self.seconds += 1;
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&self.seconds.to_be_bytes());
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let caller = ApiCaller { access_key: "LABx".into(), source, now: self.seconds * 1000, entropy };
        let (tallies, places, history) = Default::default();
        let top = crate::stats::top::TopLists::default();
        let top = (&top, crate::engine::cache::Timestamp(0));
        let counts = ObservedCounts { tallies: &tallies, places: &places, history: &history, top };
        let catalog = self.catalog();
        let context = ActionContext {
            account: &self.account,
            catalog: &catalog,
            config_ids: &ConfigIds::default(),
            hosts: &[],
            caller: &caller,
            counts,
        };
        let params: Params = params.iter().copied().collect();
        let (_, handler) = product(version).unwrap().action(action).unwrap();
        let decision = match handler {
            Account(Read(read)) => return read(&context, &params),
            Account(Write(write)) => write(&context, &params)?,
            _ => return plain(None, version, action, params),
        };
        self.account.apply(&decision.edits);
        Ok(decision.answer)
    }

    fn made(&mut self, version: &str, action: &str, params: &[(&str, &str)], id: &str) -> String {
        self.call(version, action, params).unwrap()[id].as_str().unwrap().to_string()
    }

    fn refused(&mut self, version: &str, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let before = self.account.networks().count();
        let error = self.call(version, action, params).unwrap_err();
        assert_eq!(self.account.networks().count(), before, "nothing was done");
        (error.status, error.code.into_owned())
    }

    fn vpc(&mut self) -> String {
        self.made(VPC, "CreateVpc", &[REGION, ("CidrBlock", "192.168.0.0/16")], "VpcId")
    }
}

/// Carries out an action that does not look at the account.
fn plain(instance: Option<&LabInstance>, version: &str, action: &str, params: Params) -> ActionAnswer {
    let (_, handler) = product(version).unwrap().action(action).unwrap();
    let call = Call {
        action: action.into(),
        version: version.into(),
        params,
        access_key: "LABx".into(),
        security_token: None,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host: "127.0.0.1".into(),
        now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    match handler {
        Plain(function) => function(&call),
        Here(function) => function(instance, &call),
        Token(_) | Account(_) => Err(ApiError::internal()),
    }
}

fn ids(answer: &Map<String, Value>, list: &str, item: &str, id: &str) -> Vec<String> {
    let items = answer[list][item].as_array().unwrap();
    items.iter().map(|item| item[id].as_str().unwrap().to_string()).collect()
}

#[test]
fn versions_and_actions_come_once() {
    let versions: BTreeSet<_> = PRODUCTS.iter().map(|product| product.version).collect();
    assert_eq!(versions.len(), PRODUCTS.len());
    assert!(!versions.contains(actions::VERSION), "which is PrivateZone's");
    for product in PRODUCTS {
        let names: BTreeSet<_> = product.actions.iter().map(|(name, _)| name.to_lowercase()).collect();
        assert_eq!(names.len(), product.actions.len(), "{}", product.name);
    }
}

#[test]
fn the_documents_list_the_table() {
    let rows: String = PRODUCTS
        .iter()
        .map(|product| {
            let names: Vec<String> = product.actions.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("| {} {} | {} |\n", product.name, product.version, names.join(", "))
        })
        .collect();
    for page in ["docs/lab.md", "docs/zh/lab.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        assert!(text.contains(&rows), "{page} must have these rows:\n{rows}");
    }
}

#[test]
fn every_action_answers_or_says_what_is_missing() {
    let mut world = World::new();
    for product in PRODUCTS.iter().filter(|product| product.name != "Sts") {
        for (name, _) in product.actions {
            for params in [&[][..], &[REGION], &[REGION, ("PageSize", "0"), ("ResourceType", "?")]] {
                if let Err(error) = world.call(product.version, name, params) {
                    assert!((400..500).contains(&error.status), "{name}: {error}");
                    assert_ne!(error.code, "InvalidAction.NotFound", "{name}");
                }
            }
        }
    }
}

#[test]
fn a_vpc_is_ready_at_once_and_has_clients_of_its_own() {
    let mut world = World::new();
    let params = [
        REGION,
        ("VpcName", "test"),
        ("CidrBlock", "10.4.0.0/16"),
        ("Tag.1.Key", "env"),
        ("Tag.1.Value", "x"),
    ];
    let first = world.made(VPC, "CreateVpc", &params, "VpcId");
    let second = world.vpc();
    let shown = world.call(VPC, "DescribeVpcAttribute", &[REGION, ("VpcId", &first)]).unwrap();
    assert_eq!((&shown["Status"], &shown["CidrBlock"]), (&json!("Available"), &json!("10.4.0.0/16")));
    assert_eq!(shown["PvtzdClients"], "127.16.0.0/16");
    assert_eq!(shown["Tags"]["Tag"], json!([{ "Key": "env", "Value": "x" }]));
    let catalog = world.catalog();
    let id = |address: &str| {
        let view = catalog.view(address.parse().unwrap());
        view.vpc.as_ref().unwrap().id.clone()
    };
    assert_eq!(
        [id("127.16.0.1"), id("127.17.255.9"), id("127.0.0.1")],
        [first.clone(), second.clone(), "vpc-lab".into()]
    );
    let configured: Vec<_> = catalog.configured_vpcs().map(|vpc| vpc.id.as_str()).collect();
    assert_eq!(configured, ["vpc-lab", "vpc-other"]);
    let tables = world.call(VPC, "DescribeRouteTableList", &[REGION, ("VpcId", &first)]).unwrap();
    assert_eq!(tables["RouterTableList"]["RouterTableListType"][0]["RouteTableType"], "System");
    // What was given back is given out again.
    world.call(VPC, "DeleteVpc", &[REGION, ("VpcId", &first)]).unwrap();
    let third = world.call(VPC, "CreateVpc", &[REGION]).unwrap();
    assert_eq!(
        (&third["PvtzdClients"], &third["CidrBlock"]),
        (&json!("127.16.0.0/16"), &json!("172.16.0.0/12"))
    );
}

#[test]
fn blocks_of_vpcs_are_private_and_whole() {
    let mut world = World::new();
    for bad in [
        "10.0.0.0/33",
        "10.0.0.0",
        "10.0.0.0/7",
        "10.0.0.1/8",
        "8.8.8.0/24",
        "172.0.0.0/8",
        "100.64.0.0/10",
        "0.0.0.0/0",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "10.0.0.0/29",
        "fd00::/48",
        "x",
        "10.0.0.0/8,10.1.0.0/16",
    ] {
        let refused = world.refused(VPC, "CreateVpc", &[REGION, ("CidrBlock", bad)]);
        assert_eq!(refused, (400, "InvalidCidrBlock.Malformed".into()), "{bad}");
    }
    let long = "x".repeat(129);
    for (parameter, value, code) in [
        ("VpcName", long.as_str(), "InvalidVpcName.Malformed"),
        ("VpcName", "http://x", "InvalidVpcName.Malformed"),
        ("Description", &"x".repeat(257), "InvalidDescription.Malformed"),
        ("UserCidr", "100.64.0.0/16", "InvalidUserCidr.Malformed"),
        ("ResourceGroupId", "rg-none", "EntityNotExist.ResourceGroup"),
        ("Tag.1.Key", "aliyun-x", "InvalidTagKey.Malformed"),
        ("Tag.1.Value", "x", "MissingParameter.TagKey"),
        ("DryRun", "true", "DryRunOperation"),
    ] {
        assert_eq!(
            world.refused(VPC, "CreateVpc", &[REGION, (parameter, value)]).1,
            code,
            "{parameter} {value}"
        );
    }
    assert_eq!(world.refused(VPC, "CreateVpc", &[]).1, "MissingRegionId");
    assert_eq!(
        world.refused(VPC, "CreateVpc", &[("RegionId", "cn-x")]),
        (404, "InvalidRegionId.NotFound".into())
    );
}

#[test]
fn there_are_only_so_many_vpcs() {
    let mut world = World::new();
    for _ in 0..200 {
        world.vpc();
    }
    assert_eq!(world.refused(VPC, "CreateVpc", &[REGION]).1, "QuotaExceeded.Vpc");
    let clients: BTreeSet<_> = world.account.catalog_vpcs().into_iter().map(|vpc| vpc.clients).collect();
    assert_eq!(clients.len(), 200);
}

#[test]
fn a_vpc_goes_when_nothing_is_in_it() {
    let mut world = World::new();
    let vpc = world.vpc();
    let id = ("VpcId", vpc.as_str());
    let params = [REGION, id, ("ZoneId", "cn-hangzhou-h"), ("CidrBlock", "192.168.1.0/24")];
    let vswitch = world.made(VPC, "CreateVSwitch", &params, "VSwitchId");
    let group = world.made(ECS, "CreateSecurityGroup", &[REGION, id], "SecurityGroupId");
    assert_eq!(world.refused(VPC, "DeleteVpc", &[REGION, id]).1, "DependencyViolation.VSwitch");
    world.call(VPC, "DeleteVSwitch", &[REGION, ("VSwitchId", &vswitch)]).unwrap();
    assert_eq!(world.refused(VPC, "DeleteVpc", &[REGION, id]).1, "DependencyViolation.SecurityGroup");
    world.call(ECS, "DeleteSecurityGroup", &[REGION, ("SecurityGroupId", &group)]).unwrap();
    let binding = Binding { vpc: vpc.clone(), region: "cn-hangzhou".into(), kind: "STANDARD".into() };
    let zone = ZoneRow { bindings: vec![binding], ..crate::account::tests::zone(1, &[]) };
    let zone_id = zone.id.clone();
    world.account.apply(&[Edit::Zone(zone)]);
    assert_eq!(world.refused(VPC, "DeleteVpc", &[id]).1, "DependencyViolation.PrivateZone");
    world.account.apply(&[Edit::DropZone(zone_id)]);
    assert_eq!(world.refused(VPC, "DeleteVpc", &[("RegionId", "cn-beijing"), id]).1, "InvalidVpcID.NotFound");
    world.call(VPC, "DeleteVpc", &[REGION, id]).unwrap();
    for action in ["DeleteVpc", "DescribeVpcAttribute", "ModifyVpcAttribute"] {
        assert_eq!(
            world.refused(VPC, action, &[REGION, id]),
            (404, "InvalidVpcID.NotFound".into()),
            "{action}"
        );
    }
    for action in ["DeleteVSwitch", "DescribeVSwitchAttributes", "ModifyVSwitchAttribute"] {
        let refused = world.refused(VPC, action, &[REGION, ("VSwitchId", &vswitch)]);
        assert_eq!(refused, (404, "InvalidVSwitchId.NotFound".into()), "{action}");
    }
    for action in ["DeleteSecurityGroup", "DescribeSecurityGroupAttribute", "ModifySecurityGroupAttribute"] {
        let refused = world.refused(ECS, action, &[REGION, ("SecurityGroupId", &group)]);
        assert_eq!(refused, (404, "InvalidSecurityGroupId.NotFound".into()), "{action}");
    }
    for action in ["DeleteVpc", "ModifyVpcAttribute"] {
        let refused = world.refused(VPC, action, &[REGION, ("VpcId", "vpc-lab")]);
        assert_eq!(refused, (403, "OperationDenied.VpcConfigured".into()), "{action}");
    }
}

#[test]
fn vswitches_of_a_vpc_do_not_overlap() {
    let mut world = World::new();
    let vpc = world.vpc();
    let mut create = |block, zone, vpc: &str| {
        world.call(VPC, "CreateVSwitch", &[REGION, ("VpcId", vpc), ("ZoneId", zone), ("CidrBlock", block)])
    };
    create("192.168.0.0/20", "cn-hangzhou-h", &vpc).unwrap();
    create("192.168.16.0/20", "cn-hangzhou-i", &vpc).unwrap();
    for (block, zone, id, code) in [
        ("192.168.1.0/24", "cn-hangzhou-h", vpc.as_str(), "InvalidCidrBlock.Overlapped"),
        ("192.168.0.0/16", "cn-hangzhou-h", &vpc, "InvalidCidrBlock.Overlapped"),
        ("10.0.0.0/24", "cn-hangzhou-h", &vpc, "InvalidCidrBlock.Malformed"),
        ("192.168.64.0/30", "cn-hangzhou-h", &vpc, "InvalidCidrBlock.Malformed"),
        ("192.168.64.0/24", "cn-beijing-h", &vpc, "InvalidZoneId.NotFound"),
        ("192.168.64.0/24", "cn-hangzhou-h", "vpc-none", "InvalidVpcId.NotFound"),
        ("172.16.0.0/24", "cn-hangzhou-h", "vpc-lab", "InvalidCidrBlock.Overlapped"),
    ] {
        assert_eq!(create(block, zone, id).unwrap_err().code, code, "{block} {zone} {id}");
    }
    let list = |world: &mut World, more: &[(&str, &str)]| {
        let params = [&[REGION, ("VpcId", vpc.as_str())], more].concat();
        ids(&world.call(VPC, "DescribeVSwitches", &params).unwrap(), "VSwitches", "VSwitch", "ZoneId")
    };
    assert_eq!(list(&mut world, &[]), ["cn-hangzhou-h", "cn-hangzhou-i"]);
    assert_eq!(list(&mut world, &[("ZoneId", "cn-hangzhou-i")]), ["cn-hangzhou-i"]);
    assert_eq!(list(&mut world, &[("ZoneId", "cn-hangzhou-k")]), Vec::<String>::new());
    assert_eq!(list(&mut world, &[("PageSize", "1"), ("PageNumber", "2")]), ["cn-hangzhou-i"]);
    assert_eq!(list(&mut world, &[("PageNumber", "4294967295")]), Vec::<String>::new());
}

#[test]
fn lists_have_filters_tags_and_pages() {
    let mut world = World::new();
    let vpcs: Vec<String> = (0..3).map(|_| world.vpc()).collect();
    let tag = [
        REGION,
        ("ResourceType", "VPC"),
        ("ResourceId.1", vpcs[1].as_str()),
        ("Tag.1.Key", "a"),
        ("Tag.1.Value", "b"),
    ];
    world.call(VPC, "TagResources", &tag).unwrap();
    let list = |world: &mut World, more: &[(&str, &str)]| {
        let answer = world.call(VPC, "DescribeVpcs", &[&[REGION], more].concat()).unwrap();
        (answer["TotalCount"].as_u64().unwrap(), ids(&answer, "Vpcs", "Vpc", "VpcId"))
    };
    assert_eq!(list(&mut world, &[]).0, 5);
    assert_eq!(list(&mut world, &[("IsDefault", "true")]), (1, vec!["vpc-lab".into()]));
    assert_eq!(list(&mut world, &[("PageSize", "2"), ("PageNumber", "2")]), (5, vpcs[..2].to_vec()));
    assert_eq!(list(&mut world, &[("Tag.1.Key", "a")]), (1, vec![vpcs[1].clone()]));
    assert_eq!(list(&mut world, &[("Tag.1.Key", "a"), ("Tag.1.Value", "c")]), (0, vec![]));
    let two = format!("{},{}", vpcs[0], vpcs[2]);
    assert_eq!(list(&mut world, &[("VpcId", &two)]).1, [vpcs[0].clone(), vpcs[2].clone()]);
    assert_eq!(list(&mut world, &[("VpcName", "none")]), (0, vec![]));
    let tagged = |world: &mut World| {
        let params = [REGION, ("ResourceType", "vpc"), ("ResourceId.1", vpcs[1].as_str())];
        let answer = world.call(VPC, "ListTagResources", &params).unwrap();
        answer["TagResources"]["TagResource"].as_array().unwrap().len()
    };
    assert_eq!(tagged(&mut world), 1);
    world
        .call(
            VPC,
            "UnTagResources",
            &[REGION, ("ResourceType", "VPC"), ("ResourceId.1", &vpcs[1]), ("TagKey.1", "a")],
        )
        .unwrap();
    assert_eq!(tagged(&mut world), 0);
    let unknown =
        [REGION, ("ResourceType", "VSWITCH"), ("ResourceId.1", vpcs[1].as_str()), ("Tag.1.Key", "a")];
    assert_eq!(world.refused(VPC, "TagResources", &unknown), (404, "InvalidResourceId.NotFound".into()));
    for at in 0..20 {
        let key = format!("k{at}");
        let params = [
            REGION,
            ("ResourceType", "VPC"),
            ("ResourceId.1", vpcs[1].as_str()),
            ("Tag.1.Key", key.as_str()),
        ];
        world.call(VPC, "TagResources", &params).unwrap();
    }
    assert_eq!(world.refused(VPC, "TagResources", &tag).1, "NumberExceed.Tags");
}

#[test]
fn security_groups_are_kept_as_told() {
    let mut world = World::new();
    let group = world.made(
        ECS,
        "CreateSecurityGroup",
        &[REGION, ("VpcId", "vpc-lab"), ("SecurityGroupName", "g")],
        "SecurityGroupId",
    );
    let id = ("SecurityGroupId", group.as_str());
    let policy = |world: &mut World| {
        world.call(ECS, "DescribeSecurityGroupAttribute", &[REGION, id]).unwrap()["InnerAccessPolicy"].clone()
    };
    assert_eq!(policy(&mut world), "Accept");
    world.call(ECS, "ModifySecurityGroupPolicy", &[REGION, id, ("InnerAccessPolicy", "drop")]).unwrap();
    assert_eq!(policy(&mut world), "Drop");
    let odd = [REGION, id, ("InnerAccessPolicy", "x")];
    assert_eq!(world.refused(ECS, "ModifySecurityGroupPolicy", &odd).1, "InvalidPolicy.Malformed");
    world
        .call(
            ECS,
            "ModifySecurityGroupAttribute",
            &[REGION, id, ("SecurityGroupName", "h"), ("Description", "")],
        )
        .unwrap();
    let list = |world: &mut World, more: &[(&str, &str)]| {
        let answer = world.call(ECS, "DescribeSecurityGroups", &[&[REGION], more].concat()).unwrap();
        ids(&answer, "SecurityGroups", "SecurityGroup", "SecurityGroupName")
    };
    assert_eq!(list(&mut world, &[id]), ["h"]);
    assert_eq!(list(&mut world, &[("SecurityGroupIds", "[\"sg-none\"]")]), Vec::<String>::new());
    assert_eq!(list(&mut world, &[("VpcId", "vpc-other")]), Vec::<String>::new());
    let odd = [REGION, ("SecurityGroupIds", "sg-1")];
    assert_eq!(world.refused(ECS, "DescribeSecurityGroups", &odd).1, "InvalidSecurityGroupIds.Malformed");
    let nowhere = [REGION, ("VpcId", "vpc-none")];
    assert_eq!(world.refused(ECS, "CreateSecurityGroup", &nowhere), (404, "InvalidVpcId.NotFound".into()));
}

#[test]
fn the_instance_is_shown_where_it_is() {
    let here = LabInstance {
        region: "cn-hangzhou".into(),
        vpc: "vpc-lab".into(),
        address: Ipv4Addr::new(172, 16, 0, 10),
    };
    let ask = |instance, more: &[(&str, &str)]| {
        let params = [&[REGION], more].concat().into_iter().collect();
        plain(instance, ECS, "DescribeInstances", params).unwrap()
    };
    let answer = ask(Some(&here), &[]);
    assert_eq!(answer["TotalCount"], 1);
    let shown = &answer["Instances"]["Instance"][0];
    assert_eq!(shown["VpcAttributes"]["PrivateIpAddress"]["IpAddress"], json!(["172.16.0.10"]));
    assert_eq!(ask(None, &[])["TotalCount"], 0);
    assert_eq!(ask(Some(&here), &[("VpcId", "vpc-other")])["TotalCount"], 0);
    assert_eq!(ask(Some(&here), &[("InstanceIds", "[\"i-1\"]")])["TotalCount"], 0);
    let id = format!("[{}]", shown["InstanceId"]);
    assert_eq!(ask(Some(&here), &[("InstanceIds", &id)])["TotalCount"], 1);
    let zone = shown["ZoneId"].clone();
    let vswitches = World::new().call(VPC, "DescribeVSwitches", &[REGION, ("VpcId", "vpc-lab")]).unwrap();
    let first = &vswitches["VSwitches"]["VSwitch"][0];
    assert_eq!((&first["VSwitchId"], &first["ZoneId"]), (&shown["VpcAttributes"]["VSwitchId"], &zone));
}

#[test]
fn groups_bills_and_domains_are_what_tools_ask_for() {
    let mut world = World::new();
    let groups = world.call("2020-03-31", "ListResourceGroups", &[("Status", "OK")]).unwrap();
    let id = ids(&groups, "ResourceGroups", "ResourceGroup", "Id").remove(0);
    let group = world.call("2020-03-31", "GetResourceGroup", &[("ResourceGroupId", &id)]).unwrap();
    assert_eq!(group["ResourceGroup"]["Status"], "OK");
    let none = world.refused("2020-03-31", "GetResourceGroup", &[("ResourceGroupId", "rg-none")]);
    assert_eq!(none, (404, "EntityNotExist.ResourceGroup".into()));
    assert_eq!(world.refused("2017-12-14", "CreateInstance", &[("ProductCode", "pvtz")]).1, "ORDER.OPEND");
    assert_eq!(world.call("2017-12-14", "QueryAvailableInstances", &[]).unwrap()["Data"]["TotalCount"], 0);
    assert_eq!(world.call("2015-01-09", "DescribeDomains", &[]).unwrap()["Domains"]["Domain"], json!([]));
}
