//! The catalog: everything that decides where a name is answered.
//!
//! A client's address selects its VPC by the longest CIDR that holds it; the VPC selects a [`View`]: the zones
//! and forwarding rules that count for this client. A zone bound to VPCs is invisible elsewhere, as if it did
//! not exist.

pub use super::catalog_outline::{CatalogFault, CatalogOutline, Scope};
use super::catalog_outline::{Clients, Placed};
use super::hosts::Hosts;
use super::local::LocalNames;
use super::name::NameKey;
use super::rebinding::Rebinding;
use super::view::Layer;
pub use super::view::{GroupKey, MatchedRule, View, Vpc};
use super::zone::{Zone, ZoneOrigin};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

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
        let suffixes: Vec<NameKey> = spec.rules.iter().map(|rule| NameKey::of(&rule.suffix)).collect();
        let outline = CatalogOutline {
            vpcs: &spec.vpcs,
            zones: spec.zones.iter().map(|(zone, scope)| (zone.apex(), scope)).collect(),
            rules: suffixes.iter().zip(&spec.rules).map(|(suffix, rule)| (suffix, &rule.scope)).collect(),
        };
        let ordered = outline.order()?;
        let layer = |placed: &Placed| {
            let zones = placed.zones.values().map(|place| spec.zones[*place].0.clone());
            let rules =
                placed.rules.values().map(|place| (suffixes[*place].clone(), spec.rules[*place].group));
            Arc::new(Layer::of(zones.collect(), rules))
        };
        let shared = layer(&ordered.shared);
        let nothing = Arc::new(Layer::default());
        let view = |vpc, index: usize, own: Arc<Layer>| View {
            vpc,
            index: index as u32,
            line: nothing.clone(),
            api: nothing.clone(),
            own,
            shared: shared.clone(),
            hosts: Arc::default(),
            local_names: spec.local_names,
            rebinding: spec.rebinding.clone(),
            default_group: GroupKey::DEFAULT,
        };
        let outside = view(None, 0, nothing.clone());
        let views = spec.vpcs.iter().zip(&ordered.own).enumerate();
        let views = views
            .map(|(place, (vpc, own))| view(Some(Arc::new(vpc.clone())), place + 1, layer(own)))
            .collect();
        let places = spec.vpcs.iter().enumerate().rev().map(|(place, vpc)| (vpc.id.clone(), place)).collect();
        let mut catalog = Self {
            clients: Arc::new(ordered.clients),
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

#[path = "catalog_replace.rs"]
mod replace;

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
