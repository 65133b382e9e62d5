//! The outline of a catalog: the names of zones and rules, who sees them, and everything in them that contradicts itself.

use super::name::NameKey;
use super::sharded::QuickMap;
use super::view::Vpc;
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// Who sees a zone or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every client.
    Everyone,
    /// The clients of these VPCs.
    Vpcs(Vec<String>),
}

/// Why a catalog cannot be built. Numbers are places in the lists of [`CatalogOutline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogFault {
    /// Two zones of one name in one VPC's sight.
    ZoneTwice {
        /// The first of them.
        first: usize,
        /// The second of them.
        second: usize,
        /// A VPC that sees both; nothing where everyone does.
        vpc: Option<String>,
    },
    /// Two rules of one name in one VPC's sight.
    RuleTwice {
        /// The first of them.
        first: usize,
        /// The second of them.
        second: usize,
        /// A VPC that sees both; nothing where everyone does.
        vpc: Option<String>,
    },
    /// A zone names a VPC that is not there.
    ZoneVpcUnknown {
        /// The zone.
        zone: usize,
        /// The VPC it names.
        vpc: String,
    },
    /// A rule names a VPC that is not there.
    RuleVpcUnknown {
        /// The rule.
        rule: usize,
        /// The VPC it names.
        vpc: String,
    },
    /// Two VPCs of one id.
    VpcTwice {
        /// The first of them.
        first: usize,
        /// The second of them.
        second: usize,
    },
    /// Two VPCs claim one and the same CIDR.
    ClientsTwice {
        /// The first of them.
        first: usize,
        /// The second of them.
        second: usize,
        /// What both claim.
        clients: IpNet,
    },
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen_by = |vpc: &Option<String>| match vpc {
            Some(vpc) => format!("VPC `{vpc}` sees both"),
            None => "every client sees both".to_string(),
        };
        match self {
            Self::ZoneTwice { vpc, .. } => write!(f, "a second zone of the same name; {}", seen_by(vpc)),
            Self::RuleTwice { vpc, .. } => write!(f, "a second rule for the same name; {}", seen_by(vpc)),
            Self::ZoneVpcUnknown { vpc, .. } | Self::RuleVpcUnknown { vpc, .. } => {
                write!(f, "no VPC `{vpc}` is configured")
            }
            Self::VpcTwice { .. } => f.write_str("a second VPC of the same id"),
            Self::ClientsTwice { clients, .. } => write!(f, "another VPC already has the clients {clients}"),
        }
    }
}

/// What contradictions are about. There may be many zones, so that they are not built for it.
#[derive(Debug)]
pub struct CatalogOutline<'c> {
    /// All VPCs.
    pub vpcs: &'c [Vpc],
    /// The names of all zones.
    pub zones: Vec<(&'c NameKey, &'c Scope)>,
    /// The names of all forwarding rules.
    pub rules: Vec<(&'c NameKey, &'c Scope)>,
}

/// For each prefix length that occurs, longest first: network -> place of its VPC.
pub(super) type Clients = Vec<(u8, bool, QuickMap<IpAddr, usize>)>;

/// An outline in order.
pub(super) struct OrderedOutline<'c> {
    /// The clients of all VPCs.
    pub clients: Clients,
    /// What everyone sees.
    pub shared: Placed<'c>,
    /// What the clients of each VPC see besides.
    pub own: Vec<Placed<'c>>,
}

/// Names with their places in the lists of [`CatalogOutline`].
#[derive(Default)]
pub(super) struct Placed<'c> {
    /// Of zones.
    pub zones: QuickMap<&'c [u8], usize>,
    /// Of rules.
    pub rules: QuickMap<&'c [u8], usize>,
}

/// Kinds of what has a name and is seen.
#[derive(Clone, Copy)]
enum OutlineKind {
    Zone,
    Rule,
}

impl OutlineKind {
    fn of<'p, 'c>(self, placed: &'p mut Placed<'c>) -> &'p mut QuickMap<&'c [u8], usize> {
        match self {
            Self::Zone => &mut placed.zones,
            Self::Rule => &mut placed.rules,
        }
    }

    fn twice(self, first: usize, second: usize, vpc: Option<&str>) -> CatalogFault {
        let vpc = vpc.map(str::to_string);
        match self {
            Self::Zone => CatalogFault::ZoneTwice { first, second, vpc },
            Self::Rule => CatalogFault::RuleTwice { first, second, vpc },
        }
    }

    fn unknown(self, place: usize, vpc: &str) -> CatalogFault {
        let vpc = vpc.to_string();
        match self {
            Self::Zone => CatalogFault::ZoneVpcUnknown { zone: place, vpc },
            Self::Rule => CatalogFault::RuleVpcUnknown { rule: place, vpc },
        }
    }
}

impl<'c> CatalogOutline<'c> {
    /// Everything that contradicts itself.
    pub fn faults(&self) -> Vec<CatalogFault> {
        self.order().err().unwrap_or_default()
    }

    /// Puts all in order, or tells everything that contradicts itself.
    pub(super) fn order(&self) -> Result<OrderedOutline<'c>, Vec<CatalogFault>> {
        let mut faults = Vec::new();
        let first_of = self.vpcs.iter().enumerate().rev().map(|(place, vpc)| (vpc.id.as_str(), place));
        let first_of: HashMap<&str, usize> = first_of.collect();
        let clients = self.clients(&first_of, &mut faults);
        let mut shared = Placed::default();
        // What everyone sees comes first, so that a conflict names the VPC only where that matters.
        for (kind, names) in [(OutlineKind::Zone, &self.zones), (OutlineKind::Rule, &self.rules)] {
            let of_everyone =
                || names.iter().enumerate().filter(|(_, (_, scope))| **scope == Scope::Everyone);
            let places = kind.of(&mut shared);
            places.reserve(of_everyone().count());
            for (place, (name, _)) in of_everyone() {
                if let Some(first) = places.insert(name.wire(), place) {
                    faults.push(kind.twice(first, place, None));
                }
            }
        }
        let mut own: Vec<Placed> = self.vpcs.iter().map(|_| Placed::default()).collect();
        for (kind, names) in [(OutlineKind::Zone, &self.zones), (OutlineKind::Rule, &self.rules)] {
            for (place, (name, scope)) in names.iter().enumerate() {
                let Scope::Vpcs(ids) = scope else { continue };
                let everyones = kind.of(&mut shared).get(name.wire()).copied();
                for id in ids {
                    let Some(own) = first_of.get(id.as_str()).and_then(|vpc| own.get_mut(*vpc)) else {
                        faults.push(kind.unknown(place, id));
                        continue;
                    };
                    if let Some(first) = everyones.or(kind.of(own).insert(name.wire(), place)) {
                        faults.push(kind.twice(first.min(place), first.max(place), Some(id)));
                    }
                }
            }
        }
        if faults.is_empty() { Ok(OrderedOutline { clients, shared, own }) } else { Err(faults) }
    }

    /// Groups the VPCs' CIDRs by prefix length, longest first. `first_of` has the place of each id.
    fn clients(&self, first_of: &HashMap<&str, usize>, faults: &mut Vec<CatalogFault>) -> Clients {
        let mut index: HashMap<(u8, bool), QuickMap<IpAddr, usize>> = HashMap::new();
        for (place, vpc) in self.vpcs.iter().enumerate() {
            if let Some(&first) = first_of.get(vpc.id.as_str()).filter(|first| **first != place) {
                faults.push(CatalogFault::VpcTwice { first, second: place });
            }
            for clients in &vpc.clients {
                let networks = index.entry((clients.prefix_len(), clients.addr().is_ipv6())).or_default();
                match networks.insert(clients.network(), place) {
                    Some(first) if first != place => {
                        let clients = clients.trunc();
                        faults.push(CatalogFault::ClientsTwice { first, second: place, clients });
                    }
                    _ => {}
                }
            }
        }
        let mut lengths: Vec<_> =
            index.into_iter().map(|((length, v6), networks)| (length, v6, networks)).collect();
        lengths.sort_by_key(|(length, ..)| std::cmp::Reverse(*length));
        lengths
    }
}
