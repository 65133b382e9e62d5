//! The catalog: everything that decides where a name is answered. Built whole, never edited.
//!
//! A client's address selects its VPC by the longest CIDR that holds it; the VPC selects a [`View`]: the zones
//! and forwarding rules that count for this client. A zone bound to VPCs is invisible elsewhere, as if it did
//! not exist.

use super::local::LocalNames;
use super::name::NameKey;
use super::zone::Zone;
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Names a group of upstream servers. It stays the same over reloads while the group means the same, so that
/// cached answers stay with the group they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(pub u32);

impl GroupKey {
    /// The group of `[upstream]`, which takes what no rule takes.
    pub const DEFAULT: Self = Self(0);
}

/// A VPC: who its clients are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// Its id, such as `vpc-bp1abc`.
    pub id: String,
    /// Its region id, if known.
    pub region: Option<String>,
    /// The addresses of its clients.
    pub clients: Vec<IpNet>,
}

/// Who sees a zone or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every client.
    Everyone,
    /// The clients of these VPCs.
    Vpcs(Vec<String>),
}

/// A forwarding rule: names at or below `suffix` are asked of `group`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's name.
    pub suffix: Name,
    /// Where to ask.
    pub group: GroupKey,
    /// For whom.
    pub scope: Scope,
}

/// A catalog before it is built.
#[derive(Clone, Debug, Default)]
pub struct CatalogSpec {
    /// All VPCs. Clients outside them see only what everyone sees.
    pub vpcs: Vec<Vpc>,
    /// All zones.
    pub zones: Vec<(Arc<Zone>, Scope)>,
    /// All forwarding rules.
    pub rules: Vec<Rule>,
    /// Special-use names that are answered here.
    pub local_names: LocalNames,
}

/// Why a catalog cannot be built. Numbers are places in the lists of [`CatalogSpec`].
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

/// What one set of clients sees, less what everyone sees.
#[derive(Debug, Default)]
struct Sight {
    zones: HashMap<NameKey, Arc<Zone>>,
    /// All proper ancestors of the zones' names: these names exist, whatever an upstream says.
    above_zones: HashSet<NameKey>,
    rules: HashMap<NameKey, GroupKey>,
}

/// Which zone or rule was matched, with the suffix that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedRule {
    /// The rule's name; nothing for the default group.
    pub suffix: Option<NameKey>,
    /// Where to ask.
    pub group: GroupKey,
}

/// What a client sees.
#[derive(Clone, Debug)]
pub struct View {
    /// The client's VPC, if it is in one.
    pub vpc: Option<Arc<Vpc>>,
    /// Its number in the catalog.
    pub index: u32,
    own: Arc<Sight>,
    shared: Arc<Sight>,
    local_names: LocalNames,
}

impl View {
    /// The private zone with the longest suffix of the name.
    pub fn zone_of(&self, name: &NameKey) -> Option<&Arc<Zone>> {
        name.suffixes()
            .find_map(|suffix| self.own.zones.get(suffix).or_else(|| self.shared.zones.get(suffix)))
    }

    /// The forwarding rule with the longest suffix of the name, else the default group.
    pub fn rule_of(&self, name: &NameKey) -> MatchedRule {
        let rule = name.suffixes().find_map(|suffix| {
            let group = self.own.rules.get(suffix).or_else(|| self.shared.rules.get(suffix))?;
            Some(MatchedRule { suffix: Some(NameKey::of_suffix(suffix)), group: *group })
        });
        rule.unwrap_or(MatchedRule { suffix: None, group: GroupKey::DEFAULT })
    }

    /// True when a private zone lies below the name, so that the name exists.
    pub fn is_above_a_zone(&self, name: &NameKey) -> bool {
        self.own.above_zones.contains(name) || self.shared.above_zones.contains(name)
    }

    /// The special-use names that are answered here.
    pub fn local_names(&self) -> LocalNames {
        self.local_names
    }
}

/// Where every name is answered, for every client. Immutable.
#[derive(Debug)]
pub struct Catalog {
    /// For each prefix length that occurs, longest first: network -> view.
    by_prefix: Vec<(u8, bool, HashMap<IpAddr, usize>)>,
    views: Vec<View>,
    /// The view of clients in no VPC.
    outside: View,
    zones: Vec<(Arc<Zone>, Scope)>,
}

impl Catalog {
    /// Builds the catalog.
    ///
    /// # Errors
    /// Everything that contradicts itself.
    pub fn build(spec: CatalogSpec) -> Result<Self, Vec<CatalogFault>> {
        let mut faults = Vec::new();
        let by_prefix = index_clients(&spec.vpcs, &mut faults);
        let places: HashMap<&str, usize> =
            spec.vpcs.iter().enumerate().rev().map(|(place, vpc)| (vpc.id.as_str(), place)).collect();
        let mut shared = Placed::default();
        let mut own: Vec<Placed> = spec.vpcs.iter().map(|_| Placed::default()).collect();

        // What everyone sees comes first, so that a conflict names the VPC only where that matters.
        for (index, (zone, scope)) in spec.zones.iter().enumerate() {
            if *scope == Scope::Everyone
                && let Some(first) = shared.zones.insert(zone.apex().clone(), index)
            {
                faults.push(CatalogFault::ZoneTwice { first, second: index, vpc: None });
            }
        }
        for (index, rule) in spec.rules.iter().enumerate() {
            if rule.scope == Scope::Everyone
                && let Some(first) = shared.rules.insert(NameKey::of(&rule.suffix), index)
            {
                faults.push(CatalogFault::RuleTwice { first, second: index, vpc: None });
            }
        }
        for (index, (zone, scope)) in spec.zones.iter().enumerate() {
            let Scope::Vpcs(ids) = scope else { continue };
            for id in ids {
                let Some(&place) = places.get(id.as_str()) else {
                    faults.push(CatalogFault::ZoneVpcUnknown { zone: index, vpc: id.clone() });
                    continue;
                };
                let other = shared.zones.get(zone.apex()).copied();
                if let Some(first) = other.or(own[place].zones.insert(zone.apex().clone(), index)) {
                    let (first, second) = (first.min(index), first.max(index));
                    faults.push(CatalogFault::ZoneTwice { first, second, vpc: Some(id.clone()) });
                }
            }
        }
        for (index, rule) in spec.rules.iter().enumerate() {
            let Scope::Vpcs(ids) = &rule.scope else { continue };
            let suffix = NameKey::of(&rule.suffix);
            for id in ids {
                let Some(&place) = places.get(id.as_str()) else {
                    faults.push(CatalogFault::RuleVpcUnknown { rule: index, vpc: id.clone() });
                    continue;
                };
                let other = shared.rules.get(&suffix).copied();
                if let Some(first) = other.or(own[place].rules.insert(suffix.clone(), index)) {
                    let (first, second) = (first.min(index), first.max(index));
                    faults.push(CatalogFault::RuleTwice { first, second, vpc: Some(id.clone()) });
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }

        let shared = Arc::new(shared.see(&spec));
        let local_names = spec.local_names;
        let view = |vpc, index: usize, own: Placed| View {
            vpc,
            index: index as u32,
            own: Arc::new(own.see(&spec)),
            shared: shared.clone(),
            local_names,
        };
        let outside = view(None, 0, Placed::default());
        let views = spec.vpcs.iter().zip(own).enumerate();
        let views =
            views.map(|(place, (vpc, own))| view(Some(Arc::new(vpc.clone())), place + 1, own)).collect();
        Ok(Self { by_prefix, views, outside, zones: spec.zones })
    }

    /// What a client at this address sees.
    pub fn view(&self, client: IpAddr) -> &View {
        let client = client.to_canonical();
        for (length, v6, networks) in &self.by_prefix {
            if *v6 == client.is_ipv6()
                && let Ok(net) = IpNet::new(client, *length)
                && let Some(&place) = networks.get(&net.network())
            {
                return &self.views[place];
            }
        }
        &self.outside
    }

    /// All zones with who sees them, in the order of their sources.
    pub fn zones(&self) -> &[(Arc<Zone>, Scope)] {
        &self.zones
    }

    /// All VPCs.
    pub fn vpcs(&self) -> impl Iterator<Item = &Vpc> {
        self.views.iter().filter_map(|view| view.vpc.as_deref())
    }
}

/// Places in the lists of a [`CatalogSpec`], by name.
#[derive(Default)]
struct Placed {
    zones: HashMap<NameKey, usize>,
    rules: HashMap<NameKey, usize>,
}

impl Placed {
    /// Turns places into what is there.
    fn see(self, spec: &CatalogSpec) -> Sight {
        let mut above_zones = HashSet::new();
        for apex in self.zones.keys() {
            for suffix in apex.suffixes().skip(1) {
                if !above_zones.insert(NameKey::of_suffix(suffix)) {
                    break; // and so are its ancestors
                }
            }
        }
        Sight {
            above_zones,
            zones: self.zones.into_iter().map(|(name, place)| (name, spec.zones[place].0.clone())).collect(),
            rules: self.rules.into_iter().map(|(name, place)| (name, spec.rules[place].group)).collect(),
        }
    }
}

/// Groups the VPCs' CIDRs by prefix length, longest first.
fn index_clients(vpcs: &[Vpc], faults: &mut Vec<CatalogFault>) -> Vec<(u8, bool, HashMap<IpAddr, usize>)> {
    let mut index: HashMap<(u8, bool), HashMap<IpAddr, usize>> = HashMap::new();
    for (place, vpc) in vpcs.iter().enumerate() {
        if let Some(first) = vpcs[..place].iter().position(|other| other.id == vpc.id) {
            faults.push(CatalogFault::VpcTwice { first, second: place });
        }
        for clients in &vpc.clients {
            let networks = index.entry((clients.prefix_len(), clients.addr().is_ipv6())).or_default();
            match networks.insert(clients.network(), place) {
                Some(first) if first != place => {
                    faults.push(CatalogFault::ClientsTwice {
                        first,
                        second: place,
                        clients: clients.trunc(),
                    });
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

#[cfg(test)]
mod tests {
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

    fn rule(suffix: &str, group: u32, scope: Scope) -> Rule {
        Rule { suffix: parse(suffix).unwrap(), group: GroupKey(group), scope }
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
}
