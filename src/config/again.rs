//! A long file that is read once more, where the content of a few zones alone has changed: these are parsed and put
//! together, and all else is taken from the former configuration.
//!
//! What the file said is remembered as a number for each zone and one for the rest. Whatever the few cannot decide by
//! themselves (a zone more or less, another name, other VPCs, a CNAME to another zone, anything at fault or in doubt) is
//! decided by reading the whole file.

use super::pieces::Pieces;
use super::reader::{ConfigReader, Origin};
use super::zone_draft::ZoneDraftEntry;
use super::zone_pieces::ZonesInPieces;
use super::{Config, file, lints};
use crate::engine::catalog::Scope;
use crate::engine::name::NameKey;
use crate::engine::sort;
use crate::engine::zone::{PackedZone, Zone, ZoneSpec};
use hickory_proto::rr::RData;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Zones that are read by themselves; where more have changed, the whole file is read.
const FEW: usize = 100;

/// What a file said, if it was read in pieces and without a doubt.
#[derive(Clone, Default)]
pub struct Seen(Option<Arc<Fingerprint>>);

/// Numbers of the texts of a file.
struct Fingerprint {
    /// Of this process: a text cannot be made to have the number of another.
    hasher: RandomState,
    rest: u64,
    zones: Vec<u64>,
    /// The same for all that differ in the content of zones and hosts files alone.
    kin: Arc<()>,
}

impl fmt::Debug for Seen {
    /// The same for all: a configuration is what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

impl Seen {
    /// What a file says.
    pub(super) fn of(text: &str, pieces: &Pieces) -> Self {
        let hasher = RandomState::new();
        let zones = pieces.whole_zones().map(|zone| hasher.hash_one(&text[zone.span])).collect();
        Self(Some(Arc::new(Fingerprint {
            rest: hasher.hash_one(&pieces.rest),
            zones,
            hasher,
            kin: Arc::new(()),
        })))
    }
}

/// What differs between two configurations that differ in the content of zones and hosts files alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigDifference {
    /// The places of the zones.
    pub zones: Vec<usize>,
    /// The places of the hosts files.
    pub hosts: Vec<usize>,
}

impl Config {
    /// In what this configuration differs from another; nothing where they may differ in more than [`ConfigDifference`] tells.
    pub fn difference(&self, other: &Config) -> Option<ConfigDifference> {
        let (Some(one), Some(two)) = (&self.seen.0, &other.seen.0) else { return None };
        let alike = self.zones.len() == other.zones.len() && self.hosts.len() == other.hosts.len();
        if !alike || !Arc::ptr_eq(&one.kin, &two.kin) {
            return None;
        }
        let zones = self.zones.iter().zip(&other.zones).enumerate();
        let zones = zones.filter(|(_, (one, two))| !is_same(one.0.packed.as_ref(), two.0.packed.as_ref()));
        let hosts = self.hosts.iter().zip(&other.hosts).enumerate();
        let hosts = hosts.filter(|(_, (one, two))| !Arc::ptr_eq(&one.hosts, &two.hosts));
        Some(ConfigDifference {
            zones: zones.map(|(place, _)| place).collect(),
            hosts: hosts.map(|(place, _)| place).collect(),
        })
    }

    /// Has the file read as a whole the next time: something that it names is not as it was read.
    pub fn forget_file(&mut self) {
        self.seen = Seen::default();
    }
}

/// True where two zones share their content.
fn is_same(one: Option<&PackedZone>, two: Option<&PackedZone>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one.is_same(two),
        _ => one.is_none() && two.is_none(),
    }
}

/// The configuration of a text by what has changed since a former one; nothing where the whole text is to be read.
pub(super) fn parse(text: &str, file: &Path, open_to_others: bool, former: &Config) -> Option<Config> {
    let seen = former.seen.0.as_ref()?;
    let pieces = Pieces::of(text)?;
    let hash = |text: &str| seen.hasher.hash_one(text);
    if hash(&pieces.rest) != seen.rest {
        return None;
    }
    let units: Vec<_> = pieces.whole_zones().collect();
    let hashes: Vec<u64> = units.iter().map(|unit| hash(&text[unit.span.clone()])).collect();
    if hashes.len() != seen.zones.len() {
        return None;
    }
    let mut changed: Vec<usize> =
        (0..hashes.len()).filter(|&zone| hashes[zone] != seen.zones[zone]).collect();
    let files = former.zone_files.iter();
    changed
        .extend(files.filter(|file| file.files.iter().any(|file| file.has_changed())).map(|file| file.zone));
    sort::ascending(&mut changed);
    changed.dedup();
    if changed.len() > FEW {
        return None;
    }
    let mut reader = ConfigReader::new(text, file);
    reader.set_open_to_others(open_to_others);
    reader.set_parts(pieces.parts.clone());
    let mut config = former.clone();
    let (table, errors) = DeTable::parse_recoverable(&pieces.rest);
    if !errors.is_empty() {
        return None;
    }
    let spec = file::read(&reader, table.get_ref(), Origin::Parts, Some(Vec::new()));
    if spec.hosts.len() != config.hosts.len() {
        return None;
    }
    for (former, entry) in config.hosts.iter_mut().zip(spec.hosts) {
        former.hosts = Arc::new(entry.hosts);
        former.files = entry.files;
    }
    config.expects = spec.expects;
    for zone in changed {
        let mut zones = ZonesInPieces::beginning_at(&reader, zone);
        for piece in &pieces.zones[units[zone].pieces.clone()] {
            zones.read_piece(text, piece, pieces.has_long_strings, |_, _| None)?;
        }
        replace(&mut config, zone, zones.finish().pop()?)?;
    }
    if reader.has_faults() {
        return None;
    }
    let Fingerprint { hasher, rest, kin, .. } = &**seen;
    let fingerprint = Fingerprint { hasher: hasher.clone(), rest: *rest, zones: hashes, kin: kin.clone() };
    config.seen = Seen(Some(Arc::new(fingerprint)));
    Some(config)
}

/// Replaces a zone; None if more than its content may differ.
fn replace(config: &mut Config, place: usize, entry: ZoneDraftEntry) -> Option<()> {
    let ZoneDraftEntry { spec, cnames, vpcs, file, .. } = &entry;
    let (former, scope) = config.zones.get(place)?;
    let outline = |zone: &ZoneSpec| {
        (zone.apex.to_ascii(), zone.mode, zone.on_missing_type, zone.wildcards, zone.origin)
    };
    let same_scope = match (scope, vpcs) {
        (Scope::Everyone, None) => true,
        (Scope::Vpcs(ids), Some(vpcs)) => ids.iter().eq(vpcs.iter().map(|vpc| &vpc.value)),
        _ => false,
    };
    if outline(former) != outline(spec) || !same_scope {
        return None;
    }
    if !cnames.is_empty() && (may_leave(config, place, &entry) || lints::has_circle(&entry)) {
        return None;
    }
    let known = config.zone_files.iter_mut().find(|file| file.zone == place);
    match (known, file) {
        (Some(known), Some(file)) => {
            known.path.clone_from(&file.path.value);
            known.files = file.files.clone();
        }
        (None, None) => {}
        _ => return None,
    }
    Arc::make_mut(&mut config.zones.get_mut(place)?.0).packed.clone_from(&entry.spec.packed);
    Some(())
}

/// True where a CNAME of a zone may lead to another zone, and from there on.
fn may_leave(config: &Config, place: usize, entry: &ZoneDraftEntry) -> bool {
    let zone = Zone::build_leniently(ZoneSpec::clone(&entry.spec), 0);
    let others = config.zones.iter().enumerate().filter(|(other, _)| *other != place);
    let others: HashSet<NameKey> = others.map(|(_, (zone, _))| NameKey::of(&zone.apex)).collect();
    let leaves = |target: &NameKey| {
        let mut inside = target.suffixes().take_while(|suffix| suffix.len() > zone.apex().wire().len());
        match target.is_within(zone.apex()) {
            true => inside.any(|suffix| others.contains(suffix)),
            // the names of the built-in catalogue are zones too
            false => {
                target.suffixes().any(|suffix| others.contains(suffix) || suffix.starts_with(b"\x08aliyuncs"))
            }
        }
    };
    zone.rrsets().any(|(_, set)| {
        set.values().any(|value| match value {
            RData::CNAME(target) => leaves(&NameKey::of(&target.0)),
            _ => false,
        })
    })
}

#[cfg(test)]
#[path = "again_tests.rs"]
mod tests;
