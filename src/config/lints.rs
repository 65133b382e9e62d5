//! What a file may say but can hardly mean: the warnings about a configuration as a whole.

use super::endpoints;
use super::file::Spec;
use super::key_path::KeyPath;
use super::reader::ConfigReader;
use super::zone_draft::ZoneDraftEntry;
use super::{Config, InstanceInfo, Regions};
use crate::engine::catalog::Scope;
use crate::engine::name::{self, NameKey};
use crate::engine::zone::{Lookup, Zone, ZoneMode, ZoneSpec};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{RData, RecordType};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Steps of a chain of CNAMEs that are followed; no answer has more, and a long file stays quick to check.
const MAX_CHAIN: usize = 32;

/// Notes every doubt about a configuration without errors.
pub(super) fn note(reader: &ConfigReader, spec: &Spec, config: &Config) {
    // There may be many zones, of which nearly none is looked at here.
    if !spec.forwards.is_empty() || spec.zones.iter().any(|entry| !entry.cnames.is_empty()) {
        let catalog = config.catalog_spec(&InstanceInfo::default(), 0);
        let sights: Vec<Layered> = std::iter::once(None)
            .chain(catalog.vpcs.iter().map(|vpc| Some(vpc.id.as_str())))
            .map(|vpc| Layered::of(vpc, &catalog.zones))
            .collect();
        loops(reader, spec, &sights);
        shadowed_rules(reader, spec, config, &sights);
    }
    foreign_regions(reader, spec, config);
    if let Regions::Listed(_) = config.endpoints.regions {
        for region in &spec.regions {
            for (message, hint) in endpoints::gaps(&config.endpoints, &region.value) {
                reader.warning(&region.at, message, hint);
            }
        }
    }
}

/// The zones that the clients of one VPC see, or those of none.
struct Layered<'c> {
    /// The VPC's id; nothing for clients outside every VPC.
    vpc: Option<&'c str>,
    /// By the wire form of their names.
    zones: HashMap<&'c [u8], &'c Zone>,
}

impl<'c> Layered<'c> {
    /// What a VPC sees of all zones.
    fn of(vpc: Option<&'c str>, zones: &'c [(Arc<Zone>, Scope)]) -> Self {
        let seen = zones.iter().filter(|(_, scope)| sees(vpc, scope));
        Self { vpc, zones: seen.map(|(zone, _)| (zone.apex().wire(), zone.as_ref())).collect() }
    }

    /// The zone with the longest suffix of the name.
    fn zone_of(&self, name: &NameKey) -> Option<&'c Zone> {
        name.suffixes().find_map(|suffix| self.zones.get(suffix).copied())
    }

    /// Where CNAMEs lead from a name.
    fn targets(&self, name: &NameKey) -> Vec<NameKey> {
        match self.zone_of(name).map(|zone| zone.lookup(name, RecordType::A)) {
            Some(Lookup::Cname(set)) => set.values().filter_map(|value| target(&value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The names of a CNAME loop that leads from `start` back to it, in the order they are followed.
    fn circle(&self, start: &NameKey) -> Option<Vec<NameKey>> {
        let mut seen = HashSet::new();
        let mut paths = vec![vec![start.clone()]];
        while let Some(path) = paths.pop() {
            let Some(last) = path.last() else { continue };
            for next in self.targets(last) {
                if next == *start {
                    return Some(path);
                }
                if path.len() < MAX_CHAIN && seen.insert(next.clone()) {
                    let mut longer = path.clone();
                    longer.push(next);
                    paths.push(longer);
                }
            }
        }
        None
    }
}

/// True where CNAMEs of a zone lead in a circle within it.
pub(super) fn has_circle(entry: &ZoneDraftEntry) -> bool {
    let zone = [(Arc::new(Zone::build_leniently(ZoneSpec::clone(&entry.spec), 0)), Scope::Everyone)];
    let sight = Layered::of(None, &zone);
    entry.cnames.iter().any(|(owner, _)| sight.circle(owner).is_some())
}

/// True when the clients of a VPC, or of none, see what has this scope.
fn sees(vpc: Option<&str>, scope: &Scope) -> bool {
    match scope {
        Scope::Everyone => true,
        Scope::Vpcs(ids) => vpc.is_some_and(|vpc| ids.iter().any(|id| id == vpc)),
    }
}

/// The target of a CNAME.
fn target(value: &RData) -> Option<NameKey> {
    match value {
        RData::CNAME(CNAME(target)) => Some(NameKey::of(target)),
        _ => None,
    }
}

/// CNAMEs of the file that lead back to themselves, through whichever zones. Each circle is told once.
fn loops(reader: &ConfigReader, spec: &Spec, sights: &[Layered]) {
    let mut told: HashSet<BTreeSet<NameKey>> = HashSet::new();
    for (number, entry) in spec.zones.iter().enumerate() {
        let scope = scope_of(entry.vpcs.as_deref());
        let path = KeyPath::default().key("zone").item(number);
        for (owner, place) in &entry.cnames {
            let circle =
                sights.iter().filter(|sight| sees(sight.vpc, &scope)).find_map(|sight| sight.circle(owner));
            let Some(circle) = circle else { continue };
            if told.insert(circle.iter().cloned().collect()) {
                let mut names: Vec<String> = circle.iter().map(ToString::to_string).collect();
                names.push(owner.to_string());
                let message = format!("CNAME loop: {}", names.join(" -> "));
                let hint = "change one of them to a name that has an address";
                reader.warning(&place.at(path), message, hint.to_string());
            }
        }
    }
}

/// Forwarding rules that no query reaches, because a zone without recursion proxy has the last word before.
fn shadowed_rules(reader: &ConfigReader, spec: &Spec, config: &Config, sights: &[Layered]) {
    for (entry, rule) in spec.forwards.iter().zip(&config.forwards) {
        let suffix = NameKey::of(&rule.zone);
        // A proxying zone below the rule's name still passes on what it does not have.
        let reached_below = |sight: &Layered| {
            sight.zones.values().any(|zone| {
                zone.mode == ZoneMode::RecursionProxy
                    && *zone.apex() != suffix
                    && zone.apex().is_within(&suffix)
            })
        };
        let shadow = |sight: &Layered| {
            let zone = sight.zone_of(&suffix).filter(|zone| zone.mode == ZoneMode::Override)?;
            (!reached_below(sight)).then(|| zone.name.clone())
        };
        let mut shadows = sights.iter().filter(|sight| sees(sight.vpc, &rule.scope)).map(shadow);
        // Without a [[vpc]] no client is outside one, but the zones seen are the same.
        let Some(Some(zone)) = shadows.next() else { continue };
        if shadows.all(|shadow| shadow.is_some()) {
            let (zone, rule) = (name::show(&zone), name::show(&rule.zone));
            let message = format!(
                "no query reaches the rule for `{rule}`: zone `{zone}` answers NXDOMAIN for names without \
                 a record"
            );
            let hint = format!("set recursion_proxy = true in zone `{zone}`, or remove the rule");
            reader.warning(&entry.zone.at, message, hint);
        }
    }
}

/// Zones of API names bound to a VPC of another region than the name's.
fn foreign_regions(reader: &ConfigReader, spec: &Spec, config: &Config) {
    for entry in &spec.zones {
        let name = name::show(&entry.spec.apex).to_ascii_lowercase();
        let Some(region) = endpoints::region_of(&name) else { continue };
        for id in entry.vpcs.iter().flatten() {
            let vpc = config.vpcs.iter().find(|vpc| vpc.id == id.value);
            let Some(theirs) = vpc.and_then(|vpc| vpc.region.as_deref()) else { continue };
            if theirs != region {
                let message =
                    format!("`{name}` is a name of {region}, but VPC `{}` is in {theirs}", id.value);
                let hint = format!("the recipe works within one region only: bind it to VPCs of {region}");
                reader.warning(&id.at, message, hint);
            }
        }
    }
}

/// The scope that `vpcs` means, once it is known to be right.
fn scope_of(vpcs: Option<&[super::reader::Spanned<String>]>) -> Scope {
    match vpcs {
        None => Scope::Everyone,
        Some(vpcs) => Scope::Vpcs(vpcs.iter().map(|vpc| vpc.value.clone()).collect()),
    }
}
