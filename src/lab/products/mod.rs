//! The actions of the lab beside PrivateZone's own, in one table: product, version, action. Dispatch goes by it, and so
//! do the list in docs/lab.md and the tests. A new action is a new row.
//!
//! What is made by them is part of PrivateZone's account: one store, one writer, one change at a time.

mod account;
mod common;
mod groups;
pub mod instances;
mod resource_group;
mod tags;
mod vpc;
mod vswitch;

#[cfg(test)]
mod tests;

use super::location;
use super::sts::{self, Sts};
use crate::api::actions::{self, Action, PrivateZone};
use crate::api::{ActionAnswer, Call};
use Handler::{Account, Here, Plain, Token};
use actions::{Read, Write};
use instances::LabInstance;

/// A product's API.
pub struct Product {
    /// What the product calls it.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its actions.
    pub actions: &'static [(&'static str, Handler)],
}

/// Who carries out an action.
#[derive(Clone, Copy)]
pub enum Handler {
    /// The account is looked at or changed.
    Account(Action),
    /// A function of the call alone.
    Plain(fn(&Call) -> ActionAnswer),
    /// The same and the instance that the command runs on.
    Here(fn(Option<&LabInstance>, &Call) -> ActionAnswer),
    /// STS.
    Token(fn(&Sts, &Call) -> ActionAnswer),
}

/// **The** table.
pub const PRODUCTS: &[Product] = &[
    Product {
        name: "Ecs",
        version: "2014-05-26",
        actions: &[
            ("DescribeRegions", Plain(instances::regions)),
            ("DescribeZones", Plain(instances::zones)),
            ("DescribeInstances", Here(instances::instances)),
            ("CreateSecurityGroup", Account(Write(groups::create))),
            ("DescribeSecurityGroups", Account(Read(groups::list))),
            ("DescribeSecurityGroupAttribute", Account(Read(groups::describe))),
            ("ModifySecurityGroupPolicy", Account(Write(groups::modify_policy))),
            ("ModifySecurityGroupAttribute", Account(Write(groups::modify))),
            ("DeleteSecurityGroup", Account(Write(groups::delete))),
            ("ListTagResources", Account(Read(tags::list))),
            ("TagResources", Account(Write(tags::tag))),
            ("UntagResources", Account(Write(tags::untag))),
        ],
    },
    Product {
        name: "Vpc",
        version: "2016-04-28",
        actions: &[
            ("CreateVpc", Account(Write(vpc::create))),
            ("DescribeVpcs", Account(Read(vpc::list))),
            ("DescribeVpcAttribute", Account(Read(vpc::describe))),
            ("ModifyVpcAttribute", Account(Write(vpc::modify))),
            ("DeleteVpc", Account(Write(vpc::delete))),
            ("DescribeRouteTableList", Account(Read(vpc::route_tables))),
            ("CreateVSwitch", Account(Write(vswitch::create))),
            ("DescribeVSwitches", Account(Read(vswitch::list))),
            ("DescribeVSwitchAttributes", Account(Read(vswitch::describe))),
            ("ModifyVSwitchAttribute", Account(Write(vswitch::modify))),
            ("DeleteVSwitch", Account(Write(vswitch::delete))),
            ("ListTagResources", Account(Read(tags::list))),
            ("TagResources", Account(Write(tags::tag))),
            ("UnTagResources", Account(Write(tags::untag))),
        ],
    },
    Product {
        name: "Sts",
        version: sts::VERSION,
        actions: &[
            ("AssumeRole", Token(Sts::assume_role)),
            ("AssumeRoleWithOIDC", Token(Sts::assume_role_with_oidc)),
            ("GetCallerIdentity", Token(Sts::get_caller_identity)),
        ],
    },
    Product {
        name: "Location",
        version: location::VERSION,
        actions: &[("DescribeEndpoints", Plain(location::describe_endpoints))],
    },
    Product {
        name: "ResourceManager",
        version: "2020-03-31",
        actions: &[
            ("ListResourceGroups", Plain(account::list_groups)),
            ("GetResourceGroup", Plain(account::get_group)),
        ],
    },
    Product {
        name: "BssOpenApi",
        version: "2017-12-14",
        actions: &[
            ("QueryAvailableInstances", Plain(account::query_available_instances)),
            ("CreateInstance", Plain(account::create_instance)),
        ],
    },
    Product {
        name: "Alidns",
        version: "2015-01-09",
        actions: &[("DescribeDomains", Plain(account::describe_domains))],
    },
];

/// The product of a version; PrivateZone is none of them.
pub(super) fn product(version: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.version == version)
}

impl Product {
    /// An action, whatever the case of its name.
    pub(super) fn action(&self, name: &str) -> Option<(&'static str, Handler)> {
        self.actions.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).copied()
    }
}

/// What the handlers work with.
#[derive(Debug)]
pub(super) struct Backends {
    /// PrivateZone, which has the account.
    pub private_zone: PrivateZone,
    /// STS.
    pub sts: Sts,
    /// The instance that the command runs on.
    pub instance: Option<LabInstance>,
}

impl Backends {
    /// Carries out an action.
    pub(super) async fn carry_out(&self, name: &'static str, handler: Handler, call: Call) -> ActionAnswer {
        match handler {
            Account(deed) => self.private_zone.carry_out(name, deed, call).await,
            Plain(function) => function(&call),
            Here(function) => function(self.instance.as_ref(), &call),
            Token(function) => function(&self.sts, &call),
        }
    }
}
