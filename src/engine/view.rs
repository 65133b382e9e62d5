//! What a client sees: the private zones and forwarding rules that count for it, in layers.

use super::hosts::{Hosts, HostsLookup};
use super::local::LocalNames;
use super::name::NameKey;
use super::rebinding::Rebinding;
use super::sharded::{QuickMap, Sharded};
use super::zone::Zone;
use hickory_proto::rr::RecordType;
use ipnet::IpNet;
use std::sync::Arc;

/// Names a group of upstream servers by what its servers are, so that cached answers, failures and the snapshot
/// stay with the servers that gave them: other servers are another key, the same servers are the same key, over
/// reloads, restarts and builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(pub u64);

impl GroupKey {
    /// The group of `[upstream]`, which takes what no rule takes, where its servers are not known.
    pub const DEFAULT: Self = Self(0);

    /// This key, or the next one that is not taken: two groups never share a key.
    pub fn unless(self, is_taken: impl Fn(Self) -> bool) -> Self {
        let mut key = self;
        while key == Self::DEFAULT || is_taken(key) {
            key = Self(key.0.wrapping_add(1));
        }
        key
    }
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

/// One layer of what clients see.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    zones: Sharded<NameKey, Arc<Zone>>,
    /// All proper ancestors of the zones' names, with the number of zones below: these names exist, whatever an
    /// upstream says.
    above_zones: Sharded<NameKey, u32>,
    rules: Sharded<NameKey, GroupKey>,
}

impl Layer {
    /// The layer of zones and rules, each name once.
    pub(super) fn of(zones: Vec<Arc<Zone>>, rules: impl Iterator<Item = (NameKey, GroupKey)>) -> Self {
        let mut above: QuickMap<&[u8], u32> = QuickMap::default();
        for zone in &zones {
            zone.apex().suffixes().skip(1).for_each(|suffix| *above.entry(suffix).or_default() += 1);
        }
        let above_zones = above.iter().map(|(name, count)| (NameKey::of_suffix(name), *count)).collect();
        let zones = zones.iter().map(|zone| (zone.apex().clone(), zone.clone())).collect();
        Self { zones, above_zones, rules: rules.collect() }
    }

    /// Puts a zone in, in place of another of its name.
    pub(super) fn place(&mut self, zone: Arc<Zone>) {
        let apex = zone.apex().clone();
        if self.zones.insert(apex.clone(), zone).is_none() {
            for suffix in apex.suffixes().skip(1) {
                match self.above_zones.get_mut(suffix) {
                    Some(count) => *count += 1,
                    None => _ = self.above_zones.insert(NameKey::of_suffix(suffix), 1),
                }
            }
        }
    }

    /// Takes a zone out, if there is one of that name.
    pub(super) fn remove_zone(&mut self, apex: &NameKey) {
        if self.zones.remove(apex).is_none() {
            return;
        }
        for suffix in apex.suffixes().skip(1) {
            match self.above_zones.get_mut(suffix) {
                Some(count) if *count > 1 => *count -= 1,
                _ => _ = self.above_zones.remove(suffix),
            }
        }
    }

    /// The zone of exactly this name.
    pub(super) fn zone(&self, apex: &NameKey) -> Option<&Arc<Zone>> {
        self.zones.get(apex)
    }

    /// Puts a rule in.
    pub(super) fn rule(&mut self, suffix: NameKey, group: GroupKey) {
        self.rules.insert(suffix, group);
    }

    /// True when there is a rule of exactly this name.
    pub(super) fn has_rule(&self, suffix: &NameKey) -> bool {
        self.rules.get(suffix).is_some()
    }

    /// True when nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.rules.is_empty()
    }
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
    /// The layers, the first one first: zones as the client's custom line has them, what the API made, what is
    /// configured for the VPC, what is configured for everyone.
    pub(super) line: Arc<Layer>,
    pub(super) api: Arc<Layer>,
    pub(super) own: Arc<Layer>,
    pub(super) shared: Arc<Layer>,
    /// The hosts files, the first one first.
    pub(super) hosts: Arc<[Arc<Hosts>]>,
    pub(super) local_names: LocalNames,
    /// Whether the default upstreams may lead names to inner addresses.
    pub(super) rebinding: Rebinding,
    /// The group that takes what no rule takes.
    pub(super) default_group: GroupKey,
}

impl View {
    /// The private zone with the longest suffix of the name.
    pub fn zone_of(&self, name: &NameKey) -> Option<&Arc<Zone>> {
        name.suffixes().find_map(|suffix| {
            let mut layers = self.layers().into_iter();
            layers.find_map(|layer| layer.zones.get(suffix))
        })
    }

    /// The forwarding rule with the longest suffix of the name, else the default group.
    pub fn rule_of(&self, name: &NameKey) -> MatchedRule {
        let rule = name.suffixes().find_map(|suffix| {
            let group = self.layers().into_iter().find_map(|layer| layer.rules.get(suffix))?;
            Some(MatchedRule { suffix: Some(NameKey::of_suffix(suffix)), group: *group })
        });
        rule.unwrap_or(MatchedRule { suffix: None, group: self.default_group })
    }

    /// True when a private zone lies below the name, so that the name exists.
    pub fn is_above_a_zone(&self, name: &NameKey) -> bool {
        self.layers().into_iter().any(|layer| layer.above_zones.get(name).is_some())
    }

    /// What the hosts files have for a name: the first of them that has it.
    pub fn hosts_of(&self, name: &NameKey, rtype: RecordType) -> HostsLookup {
        let mut rest = HostsLookup::Missing;
        for hosts in self.hosts.iter() {
            match hosts.lookup(name, rtype) {
                HostsLookup::Missing => {}
                above @ HostsLookup::Above => rest = above,
                found => return found,
            }
        }
        rest
    }

    /// The hosts files that the client sees, the first one first.
    pub fn hosts(&self) -> &[Arc<Hosts>] {
        &self.hosts
    }

    /// The special-use names that are answered here.
    pub fn local_names(&self) -> LocalNames {
        self.local_names
    }

    fn layers(&self) -> [&Layer; 4] {
        [&self.line, &self.api, &self.own, &self.shared]
    }
}

#[cfg(test)]
mod tests {
    use super::GroupKey;

    #[test]
    fn a_key_that_is_taken_is_never_shared() {
        let key = GroupKey(7);
        assert_eq!(key.unless(|_| false), key);
        assert_eq!(key.unless(|key| [7, 8].contains(&key.0)), GroupKey(9));
        assert_eq!(GroupKey(u64::MAX).unless(|key| key.0 == u64::MAX), GroupKey(1), "0 is no group's");
    }
}
