//! Networks that were made through the API: VPCs, their vSwitches, their security groups. Only the lab makes any.
//!
//! A VPC counts among the configured ones: its clients are those of one network on loopback, 127.N.0.0/16.

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
    /// What all kinds have.
    pub common: CommonFields,
    /// Its CIDR block.
    pub cidr: Ipv4Cidr,
    /// The second octet of its network on loopback.
    pub loopback: u8,
    /// CIDR blocks that the user named as his own.
    pub user_cidrs: Vec<String>,
    /// Whether DNS host names were switched on.
    pub dns_hostname: bool,
}

/// A vSwitch: a subnet of a VPC in one availability zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VSwitchRow {
    /// What all kinds have.
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
    /// What all kinds have.
    pub common: CommonFields,
    /// Its VPC.
    pub vpc: String,
    /// `normal` or `enterprise`.
    pub kind: String,
    /// `Accept` or `Drop`: what members may send to each other.
    pub inner_access: String,
}

/// What all kinds have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonFields {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its name for people.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its resource group.
    pub resource_group: String,
    /// When it was made, in milliseconds since 1970.
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
    /// What all kinds have.
    pub fn common(&self) -> &CommonFields {
        match self {
            Self::Vpc(row) => &row.common,
            Self::VSwitch(row) => &row.common,
            Self::SecurityGroup(row) => &row.common,
        }
    }

    /// The same, to be changed.
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

    /// As the catalog has it.
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

    /// A VPC that was made.
    pub fn vpc(&self, id: &str) -> Option<&VpcRow> {
        match self.network(id).map(|row| &**row) {
            Some(NetworkRow::Vpc(row)) => Some(row),
            _ => None,
        }
    }

    /// The VPCs that were made, as a catalog has them.
    pub fn catalog_vpcs(&self) -> Vec<Vpc> {
        let vpcs = self.networks.values().filter_map(|row| match &**row {
            NetworkRow::Vpc(row) => Some(row.catalog_vpc()),
            _ => None,
        });
        vpcs.collect()
    }
}
