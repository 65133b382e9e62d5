//! Networks of the API: VPCs, their vSwitches, their security groups. Only the lab creates them.
//!
//! Such a VPC is used like a configured one; its clients are one network on loopback, 127.N.0.0/16.

use super::Account;
use crate::engine::catalog::Vpc;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcRow {
    /// The fields of all kinds.
    pub common: CommonFields,
    /// Its CIDR block.
    pub cidr: Ipv4Cidr,
    /// The second octet of its network on loopback.
    pub loopback: u8,
    /// Additional CIDR blocks of the user.
    pub user_cidrs: Vec<String>,
    /// DNS host names are enabled.
    pub dns_hostname: bool,
}

/// A vSwitch: a subnet of a VPC in one availability zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VSwitchRow {
    /// The fields of all kinds.
    pub common: CommonFields,
    /// Its VPC.
    pub vpc: String,
    /// Its availability zone.
    pub zone: String,
    /// Its CIDR block.
    pub cidr: Ipv4Cidr,
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRow {
    /// The fields of all kinds.
    pub common: CommonFields,
    /// Its VPC.
    pub vpc: String,
    /// `normal` or `enterprise`.
    pub kind: String,
    /// `Accept` or `Drop`: traffic between members.
    pub inner_access: String,
}

/// The fields of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonFields {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its display name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its resource group.
    pub resource_group: String,
    /// The creation time, in milliseconds since 1970.
    pub created: u64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An IPv4 network as it is stored: address and prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Cidr(pub Ipv4Addr, pub u8);

impl Ipv4Cidr {
    /// The network.
    pub fn net(self) -> Ipv4Net {
        Ipv4Net::new(self.0, self.1).unwrap_or_default()
    }
}

impl From<Ipv4Net> for Ipv4Cidr {
    fn from(net: Ipv4Net) -> Self {
        Self(net.network(), net.prefix_len())
    }
}

/// A network of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkRow {
    /// A VPC.
    Vpc(VpcRow),
    /// A vSwitch.
    VSwitch(VSwitchRow),
    /// A security group.
    SecurityGroup(SecurityGroupRow),
}

impl NetworkRow {
    /// The fields of all kinds.
    pub fn common(&self) -> &CommonFields {
        match self {
            Self::Vpc(row) => &row.common,
            Self::VSwitch(row) => &row.common,
            Self::SecurityGroup(row) => &row.common,
        }
    }

    /// The fields of all kinds, mutable.
    pub fn common_mut(&mut self) -> &mut CommonFields {
        match self {
            Self::Vpc(row) => &mut row.common,
            Self::VSwitch(row) => &mut row.common,
            Self::SecurityGroup(row) => &mut row.common,
        }
    }
}

impl VpcRow {
    /// Its network on loopback.
    pub fn clients(&self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(127, self.loopback, 0, 0), 16)
    }

    /// The VPC in the form of the catalog.
    fn catalog_vpc(&self) -> Vpc {
        let CommonFields { id, region, .. } = &self.common;
        Vpc { id: id.clone(), region: Some(region.clone()), clients: vec![IpNet::V4(self.clients())] }
    }
}

impl Account {
    /// A network of any kind.
    pub fn network(&self, id: &str) -> Option<&Arc<NetworkRow>> {
        self.networks.get(id)
    }

    /// All networks, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<NetworkRow>> {
        self.networks.values()
    }

    /// A VPC of the API.
    pub fn vpc(&self, id: &str) -> Option<&VpcRow> {
        match self.network(id).map(|row| &**row) {
            Some(NetworkRow::Vpc(row)) => Some(row),
            _ => None,
        }
    }

    /// The VPCs of the API, in the form of the catalog.
    pub fn catalog_vpcs(&self) -> Vec<Vpc> {
        let vpcs = self.networks.values().filter_map(|row| match &**row {
            NetworkRow::Vpc(row) => Some(row.catalog_vpc()),
            _ => None,
        });
        vpcs.collect()
    }
}
