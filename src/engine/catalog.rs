//! The catalog: everything that decides where a name is answered.
//!
//! A client's address selects its VPC by the longest CIDR that holds it; the VPC selects a [`View`]: the zones
//! and forwarding rules that count for this client. A zone bound to VPCs is invisible elsewhere, as if it did
//! not exist.

use super::hosts::Hosts;
use super::local::LocalNames;
use super::name::NameKey;
use super::rebinding::Rebinding;
use super::sharded::QuickMap;
use super::view::Layer;
pub use super::view::{GroupKey, MatchedRule, View, Vpc};
use super::zone::{Zone, ZoneOrigin};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

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
pub struct CatalogRule {
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
    /// All hosts files, the first one first. VPCs that are not there are left out.
    pub hosts: Vec<(Arc<Hosts>, Scope)>,
    /// All forwarding rules.
    pub rules: Vec<CatalogRule>,
    /// Special-use names that are answered here.
    pub local_names: LocalNames,
    /// Whether the default upstreams may lead names to inner addresses.
    pub rebinding: Rebinding,
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

/// Clients that are told apart within their VPCs by their IPv4 address: PrivateZone's custom lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: String,
    /// First and last address of each range. Ranges of different lines do not overlap.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Where every name is answered, for every client. What is published is never edited: a copy is cheap, and
/// [`Catalog::place`] and its sisters change a copy before it is published.
#[derive(Clone, Debug)]
pub struct Catalog {
    clients: Arc<Clients>,
    /// VPC id -> its place among the views.
    places: Arc<HashMap<String, usize>>,
    views: Vec<View>,
    /// The views of clients on a custom line, where a zone looks different from there: (VPC, line) -> view.
    lined: HashMap<(usize, usize), View>,
    lines: Arc<Lines>,
    /// The view of clients in no VPC.
    outside: View,
    zones: Arc<[(Arc<Zone>, Scope)]>,
    hosts: Arc<[(Arc<Hosts>, Scope)]>,
    /// The last of the VPCs, those that the API made; the others are configured.
    made_vpcs: usize,
}

/// For each prefix length that occurs, longest first: network -> view.
type Clients = Vec<(u8, bool, QuickMap<IpAddr, usize>)>;

/// Custom lines by address.
#[derive(Debug, Default)]
struct Lines {
    /// First address, last address, line; by address.
    ranges: Vec<(Ipv4Addr, Ipv4Addr, usize)>,
    /// Line id -> its number.
    numbers: HashMap<String, usize>,
}

impl Catalog {
    /// Builds the catalog.
    ///
    /// # Errors
    /// Everything that contradicts itself.
    pub fn build(spec: CatalogSpec) -> Result<Self, Vec<CatalogFault>> {
        let mut faults = Vec::new();
        let clients = index_clients(&spec.vpcs, &mut faults);
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
        let nothing = Arc::new(Layer::default());
        let view = |vpc, index: usize, own: Placed| View {
            vpc,
            index: index as u32,
            line: nothing.clone(),
            api: nothing.clone(),
            own: Arc::new(own.see(&spec)),
            shared: shared.clone(),
            hosts: Arc::default(),
            local_names: spec.local_names,
            rebinding: spec.rebinding.clone(),
            default_group: GroupKey::DEFAULT,
        };
        let outside = view(None, 0, Placed::default());
        let views = spec.vpcs.iter().zip(own).enumerate();
        let views =
            views.map(|(place, (vpc, own))| view(Some(Arc::new(vpc.clone())), place + 1, own)).collect();
        let places = places.into_iter().map(|(id, place)| (id.to_string(), place)).collect();
        let mut catalog = Self {
            clients: Arc::new(clients),
            places: Arc::new(places),
            views,
            lined: HashMap::new(),
            lines: Arc::default(),
            outside,
            zones: spec.zones.into(),
            made_vpcs: 0,
            hosts: Arc::default(),
        };
        catalog.set_hosts(spec.hosts.into());
        Ok(catalog)
    }

    /// What a client at this address sees.
    pub fn view(&self, client: IpAddr) -> &View {
        let client = client.to_canonical();
        for (length, v6, networks) in self.clients.iter() {
            if *v6 == client.is_ipv6()
                && let Ok(net) = IpNet::new(client, *length)
                && let Some(&place) = networks.get(&net.network())
            {
                return self
                    .line_of(client)
                    .and_then(|line| self.lined.get(&(place, line)))
                    .unwrap_or(&self.views[place]);
            }
        }
        &self.outside
    }

    /// The custom line that an address is on.
    fn line_of(&self, client: IpAddr) -> Option<usize> {
        let IpAddr::V4(client) = client else { return None };
        let after = self.lines.ranges.partition_point(|(first, ..)| *first <= client);
        let (_, last, line) = self.lines.ranges.get(after.checked_sub(1)?)?;
        (client <= *last).then_some(*line)
    }

    /// Sets the custom lines; for a catalog that no line's zone was placed in yet.
    pub fn set_lines(&mut self, lines: &[Line]) {
        let mut ranges = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            ranges.extend(line.ranges.iter().map(|(first, last)| (*first, *last, number)));
        }
        ranges.sort_unstable();
        let numbers = lines.iter().enumerate().map(|(number, line)| (line.id.clone(), number)).collect();
        self.lines = Arc::new(Lines { ranges, numbers });
    }

    /// Says how many of the VPCs, the last ones, the API made.
    pub fn set_made_vpcs(&mut self, api: usize) {
        self.made_vpcs = api.min(self.views.len());
    }

    /// The VPCs that are configured.
    pub fn configured_vpcs(&self) -> impl Iterator<Item = &Vpc> {
        self.vpcs().take(self.views.len() - self.made_vpcs)
    }

    /// Sets the group that takes what no rule takes.
    pub fn set_default_group(&mut self, group: GroupKey) {
        let views = self.views.iter_mut().chain(self.lined.values_mut()).chain([&mut self.outside]);
        views.for_each(|view| view.default_group = group);
    }

    /// The group that takes what no rule takes.
    pub fn default_group(&self) -> GroupKey {
        self.outside.default_group
    }

    /// Shows a zone to the clients of a VPC, over what is configured; false where that is not possible: the VPC is
    /// unknown, or the configuration file has a zone of this name there, which goes first.
    pub fn place(&mut self, vpc: &str, zone: &Arc<Zone>) -> bool {
        let Some(&place) = self.places.get(vpc) else { return false };
        if self.is_configured(place, zone.apex()) {
            return false;
        }
        self.change(place, |api| api.place(zone.clone()));
        true
    }

    /// Shows a zone, as it is on a custom line, to the clients of a VPC that are on this line. The zone has been
    /// placed there.
    pub fn place_on_line(&mut self, vpc: &str, line: &str, zone: &Arc<Zone>) {
        let (Some(&place), Some(&line)) = (self.places.get(vpc), self.lines.numbers.get(line)) else {
            return;
        };
        if self.is_configured(place, zone.apex()) {
            return;
        }
        let plain = &self.views[place];
        let index = self.views.len() + 1 + place * self.lines.numbers.len() + line;
        let view = self.lined.entry((place, line)).or_insert_with(|| View {
            index: index as u32,
            line: Arc::default(),
            ..plain.clone()
        });
        Arc::make_mut(&mut view.line).place(zone.clone());
    }

    /// Takes a zone that was placed away from the clients of a VPC, on all lines.
    pub fn remove_zone(&mut self, vpc: &str, apex: &NameKey) {
        let Some(&place) = self.places.get(vpc) else { return };
        if self.views[place].api.zone(apex).is_none() {
            return;
        }
        self.change(place, |api| api.remove_zone(apex));
        self.lined.retain(|&(at, _), view| {
            if at == place && view.line.zone(apex).is_some() {
                Arc::make_mut(&mut view.line).remove_zone(apex);
            }
            !view.line.is_empty()
        });
    }

    /// Lets a forwarding rule count for the clients of a VPC; false where the VPC is unknown or has a configured
    /// rule of this name.
    pub fn place_rule(&mut self, vpc: &str, suffix: &NameKey, group: GroupKey) -> bool {
        let Some(&place) = self.places.get(vpc) else { return false };
        let view = &self.views[place];
        if view.own.has_rule(suffix) || view.shared.has_rule(suffix) || view.api.has_rule(suffix) {
            return false;
        }
        self.change(place, |api| api.rule(suffix.clone(), group));
        true
    }

    /// True when the configuration file has a zone of this name for the clients of a VPC.
    pub fn has_configured(&self, vpc: &str, apex: &NameKey) -> bool {
        self.places.get(vpc).is_some_and(|&place| self.is_configured(place, apex))
    }

    /// True when the configuration file has a forwarding rule of this name for the clients of a VPC.
    pub fn has_configured_rule(&self, vpc: &str, suffix: &NameKey) -> bool {
        self.places.get(vpc).is_some_and(|&place| {
            let view = &self.views[place];
            view.own.has_rule(suffix) || view.shared.has_rule(suffix)
        })
    }

    fn is_configured(&self, place: usize, apex: &NameKey) -> bool {
        let view = &self.views[place];
        let zone = view.own.zone(apex).or_else(|| view.shared.zone(apex));
        zone.is_some_and(|zone| matches!(zone.origin, ZoneOrigin::File | ZoneOrigin::Secondary))
    }

    /// Changes what was made for a VPC, for its clients on every line.
    fn change(&mut self, place: usize, edit: impl FnOnce(&mut Layer)) {
        // All let go of it first: of many changes to one catalog only the first has to copy anything.
        let nothing = self.outside.api.clone();
        let mut api = std::mem::replace(&mut self.views[place].api, nothing.clone());
        let lined = |lined: &mut HashMap<(usize, usize), View>, api: &Arc<Layer>| {
            for (_, view) in lined.iter_mut().filter(|((at, _), _)| *at == place) {
                view.api = api.clone();
            }
        };
        lined(&mut self.lined, &nothing);
        edit(Arc::make_mut(&mut api));
        lined(&mut self.lined, &api);
        self.views[place].api = api;
    }

    /// True where no client is kept from inner addresses: the same for all views.
    pub fn allows_rebinding(&self) -> bool {
        self.outside.rebinding.is_allowed()
    }

    /// All configured zones with who sees them, in the order of their sources.
    pub fn zones(&self) -> &[(Arc<Zone>, Scope)] {
        &self.zones
    }

    /// The same list, which catalogs share as long as it does not change.
    pub fn shared_zones(&self) -> &Arc<[(Arc<Zone>, Scope)]> {
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
    fn see(self, spec: &CatalogSpec) -> Layer {
        let mut sight = Layer::default();
        for place in self.zones.into_values() {
            sight.place(spec.zones[place].0.clone());
        }
        for (suffix, place) in self.rules {
            sight.rule(suffix, spec.rules[place].group);
        }
        sight
    }
}

/// Groups the VPCs' CIDRs by prefix length, longest first.
fn index_clients(vpcs: &[Vpc], faults: &mut Vec<CatalogFault>) -> Clients {
    let mut index: HashMap<(u8, bool), QuickMap<IpAddr, usize>> = HashMap::new();
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

#[path = "catalog_replace.rs"]
mod replace;

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
