//! From the configuration to the engine's catalog and to the upstream groups that it names.

use super::{Config, InstanceInfo, Regions, endpoints};
use crate::engine::catalog::{Catalog, CatalogFault, CatalogRule, CatalogSpec, GroupKey, Scope, Vpc};
use crate::engine::name::{self, NameKey};
use crate::engine::sort;
use crate::engine::zone::{Zone, ZoneSpec};
use crate::upstream::{ServerAddress, Strategy};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A group of upstream servers that forwarding rules name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// What the catalog calls it.
    pub key: GroupKey,
    /// A name for people, unique among the groups: that of its first rule.
    pub name: String,
    /// Its servers; at least one.
    pub servers: Vec<ServerAddress>,
    /// In which order they are asked.
    pub strategy: Strategy,
}

impl Config {
    /// The catalog that this configuration means on this instance. `serial` goes into the zones' SOA.
    pub fn catalog(&self, instance: &InstanceInfo, serial: u32) -> Catalog {
        self.catalog_with(instance, serial, &[])
    }

    /// The same with VPCs that were made by the API. One that excludes a configured VPC is left out.
    pub fn catalog_with(&self, instance: &InstanceInfo, serial: u32, made: &[Vpc]) -> Catalog {
        let mut spec = self.catalog_spec(instance, serial);
        let configured = spec.vpcs.len();
        let is_free = |vpc: &&Vpc| {
            let taken =
                |has: &Vpc| has.id == vpc.id || has.clients.iter().any(|net| vpc.clients.contains(net));
            !spec.vpcs.iter().any(taken)
        };
        let free: Vec<Vpc> = made.iter().filter(is_free).cloned().collect();
        spec.vpcs.extend(free);
        loop {
            match Catalog::build(spec.clone()) {
                Ok(mut catalog) => {
                    catalog.set_made_vpcs(spec.vpcs.len().saturating_sub(configured));
                    return catalog;
                }
                // `parse` lets no contradiction through. A configuration put together in code could have one;
                // the later of two that exclude each other goes, rather than the process. Each turn removes
                // something, so there is a last one.
                Err(faults) => remove(&mut spec, &faults),
            }
        }
    }

    /// The groups of the `[[forward]]` rules. The default group, `[upstream]`, is not among them.
    pub fn groups(&self) -> Vec<GroupSpec> {
        self.grouped().0
    }

    /// True when something here depends on what the metadata service tells.
    pub fn wants_metadata(&self) -> bool {
        (self.endpoints.regions == Regions::Auto && !self.endpoints.products.is_empty())
            || self.vpcs.is_empty()
    }

    /// What is to be said about the API names on this instance, now that its region is known.
    pub fn endpoint_notes(&self, instance: &InstanceInfo) -> Vec<String> {
        match (&self.endpoints.regions, &instance.region) {
            (Regions::Auto, Some(region)) => endpoints::gaps(&self.endpoints, region)
                .into_iter()
                .map(|(message, hint)| format!("this instance is in {region}: {message}; {hint}"))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The catalog before it is built.
    pub(super) fn catalog_spec(&self, instance: &InstanceInfo, serial: u32) -> CatalogSpec {
        let vpcs = match self.vpcs.is_empty() {
            false => self.vpcs.clone(),
            true => vec![whole_world(instance)],
        };
        let written = self.zones.iter().map(|(zone, scope)| (ZoneSpec::clone(zone), scope.clone()));
        let zones = written.chain(self.endpoint_zones(instance, &vpcs));
        let (_, keys) = self.grouped();
        let rules = self.forwards.iter().zip(keys).map(|(rule, group)| CatalogRule {
            suffix: rule.zone.clone(),
            group,
            scope: rule.scope.clone(),
        });
        CatalogSpec {
            zones: zones
                .map(|(zone, scope)| (Arc::new(Zone::build_leniently(zone, serial)), scope))
                .collect(),
            hosts: self.hosts.iter().map(|file| (file.hosts.clone(), file.scope.clone())).collect(),
            rules: rules.collect(),
            local_names: self.server.local_names,
            rebinding: self.upstream.rebinding.clone(),
            vpcs,
        }
    }

    /// The zones of the built-in catalogue, where no zone of the file has the same name.
    ///
    /// A zone of the file that all clients see replaces the built-in one. One that is bound to VPCs takes it for their
    /// clients; the built-in one is then bound to all other VPCs. Clients outside every VPC lose it in that case: a
    /// zone for "everyone but these" is nothing the catalog knows.
    fn endpoint_zones(&self, instance: &InstanceInfo, vpcs: &[Vpc]) -> Vec<(ZoneSpec, Scope)> {
        let mut taken: HashMap<NameKey, Vec<&Scope>> = HashMap::new();
        for (zone, scope) in &self.zones {
            taken.entry(NameKey::of(&zone.apex)).or_default().push(scope);
        }
        let bind = |zone: ZoneSpec| {
            let Some(scopes) = taken.get(&NameKey::of(&zone.apex)) else {
                return Some((zone, Scope::Everyone));
            };
            let free = |vpc: &&Vpc| {
                scopes.iter().all(|scope| matches!(scope, Scope::Vpcs(ids) if !ids.contains(&vpc.id)))
            };
            let free: Vec<String> = vpcs.iter().filter(free).map(|vpc| vpc.id.clone()).collect();
            (!free.is_empty()).then_some((zone, Scope::Vpcs(free)))
        };
        endpoints::zones(&self.endpoints, instance).into_iter().filter_map(bind).collect()
    }

    /// The groups, and the key of each rule's group in the order of the rules. Rules with the same servers and strategy
    /// share a group, so that ten thousand names of one server cost one state of that server, one probe and one metric.
    fn grouped(&self) -> (Vec<GroupSpec>, Vec<GroupKey>) {
        let mut groups: Vec<GroupSpec> = Vec::new();
        let mut found: HashMap<(&[ServerAddress], Strategy), GroupKey> = HashMap::new();
        let mut taken: HashSet<GroupKey> = HashSet::new();
        let mut named: HashMap<NameKey, usize> = HashMap::new();
        let keys = self.forwards.iter().map(|rule| {
            *found.entry((&rule.servers, rule.strategy)).or_insert_with(|| {
                let key = ServerAddress::group_key(&[b"forward"], &rule.servers);
                let key = key.unless(|key| taken.contains(&key));
                taken.insert(key);
                let homonyms = named.entry(NameKey::of(&rule.zone)).or_default();
                *homonyms += 1;
                let name = match *homonyms {
                    1 => name::show(&rule.zone),
                    many => format!("{}#{many}", name::show(&rule.zone)),
                };
                groups.push(GroupSpec { key, name, servers: rule.servers.clone(), strategy: rule.strategy });
                key
            })
        });
        let keys = keys.collect();
        (groups, keys)
    }
}

/// The one VPC of a configuration that names none: all clients are in it.
fn whole_world(instance: &InstanceInfo) -> Vpc {
    Vpc {
        id: instance.vpc_id.clone().unwrap_or_else(|| "vpc-local".into()),
        region: instance.region.clone(),
        clients: vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())],
    }
}

/// Removes what a catalog cannot be built with: the later of two that exclude each other.
fn remove(spec: &mut CatalogSpec, faults: &[CatalogFault]) {
    // Of one kind at a time and from the end, so that places stay right.
    let places = |place: fn(&CatalogFault) -> Option<usize>| {
        let mut places: Vec<usize> = faults.iter().filter_map(place).collect();
        sort::ascending(&mut places);
        places.dedup();
        places.reverse();
        places
    };
    for place in places(|fault| match fault {
        CatalogFault::ZoneTwice { second, .. } => Some(*second),
        CatalogFault::ZoneVpcUnknown { zone, .. } => Some(*zone),
        _ => None,
    }) {
        spec.zones.remove(place);
    }
    for place in places(|fault| match fault {
        CatalogFault::RuleTwice { second, .. } => Some(*second),
        CatalogFault::RuleVpcUnknown { rule, .. } => Some(*rule),
        _ => None,
    }) {
        spec.rules.remove(place);
    }
    for place in places(|fault| match fault {
        CatalogFault::VpcTwice { second, .. } | CatalogFault::ClientsTwice { second, .. } => Some(*second),
        _ => None,
    }) {
        spec.vpcs.remove(place);
    }
}
