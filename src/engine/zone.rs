//! A private zone: its records, and what a look-up in it finds.
//!
//! The rules are PrivateZone's where they are documented and the RFCs' where they are not: exact name first,
//! then the wildcard of the closest encloser (RFC 4592); a name without records but with names below it exists
//! (an empty non-terminal). SOA and NS of the apex are synthesised and stand beside any apex record, a CNAME
//! included, because the documented recipe is `@ CNAME …`.

use super::name::{self, NameKey};
use super::record;
use super::sharded::QuickMap;
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::HashMap;
use std::fmt;

/// Seconds for which a denial out of a private zone may be cached by a client: the product's default TTL.
pub const NEGATIVE_TTL: u32 = 60;

/// What happens to a name that has the zone's suffix but is not configured in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ZoneMode {
    /// It does not exist: NXDOMAIN. PrivateZone's `ZONE`, its default.
    #[default]
    Override,
    /// It is resolved outside, by forwarding rules and then the default upstreams. PrivateZone's `RECORD`,
    /// "recursive resolution proxy for subdomains".
    RecursionProxy,
}

/// What a proxying zone does with a name that exists in it, but not with the type asked for.
/// The product's texts do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MissingType {
    /// NODATA: the name is configured, so the zone speaks for it.
    #[default]
    NoData,
    /// Resolved outside, as if the name were not configured.
    Forward,
}

/// Whether wildcard records count in a proxying zone. The product's pages contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Wildcards {
    /// They always do: the newer pages.
    #[default]
    Always,
    /// Not while the recursion proxy is on: the reading of 2023.
    OffWithProxy,
}

/// Where a zone was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ZoneOrigin {
    /// A `[[zone]]` of the configuration file.
    #[default]
    File,
    /// The catalogue of Alibaba Cloud API names.
    Endpoints,
    /// Made through the PrivateZone API.
    Api,
}

/// A record as it goes into a zone. One value; records of one name and type make an RRset.
#[derive(Clone, Debug)]
pub struct ZoneRecord {
    /// The owner, absolute; at or below the apex. `*` may be its first label.
    pub owner: Name,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Type and value.
    pub data: RData,
    /// Share of the answers that carry this value, 0 to 100, if the set is weighted.
    pub weight: Option<u8>,
}

/// How zones read what the product's documentation leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What happens to types that are not configured.
    pub on_missing_type: MissingType,
    /// Whether wildcards count.
    pub wildcards: Wildcards,
}

/// A zone before it is built.
#[derive(Clone, Debug)]
pub struct ZoneSpec {
    /// The zone's name.
    pub apex: Name,
    /// What happens to names that are not configured.
    pub mode: ZoneMode,
    /// What happens to types that are not configured.
    pub on_missing_type: MissingType,
    /// Whether wildcards count.
    pub wildcards: Wildcards,
    /// Where it was written.
    pub origin: ZoneOrigin,
    /// Its records, the disabled ones left out.
    pub records: Vec<ZoneRecord>,
}

impl ZoneSpec {
    /// An empty zone with the product's defaults.
    pub fn new(apex: Name, mode: ZoneMode) -> Self {
        Self {
            apex,
            mode,
            on_missing_type: MissingType::default(),
            wildcards: Wildcards::default(),
            origin: ZoneOrigin::default(),
            records: Vec::new(),
        }
    }
}

/// Why a record cannot be in its zone. `record` is its place in [`ZoneSpec::records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Index of the record at fault.
    pub record: usize,
    /// What is wrong with it.
    pub kind: RecordFaultKind,
}

/// What can be wrong with a record in its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFaultKind {
    /// The owner is neither the apex nor below it.
    OutOfZone,
    /// A CNAME stands beside data of another type at the same name (index of the other record).
    CnameBesideOther(usize),
    /// The same name, type and value once more (index of the first).
    Duplicate(usize),
    /// A TTL beyond 2^31-1 (RFC 2181 section 8).
    Ttl,
    /// SOA is made by the server.
    SoaNotAllowed,
    /// Weighted and unweighted values in one set (index of the other record).
    WeightBesideNone(usize),
}

impl fmt::Display for RecordFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfZone => f.write_str("the name is not in the zone"),
            Self::CnameBesideOther(_) => {
                f.write_str("a CNAME stands alone at its name, but there is another record")
            }
            Self::Duplicate(_) => f.write_str("the same record is there already"),
            Self::Ttl => f.write_str("the TTL is beyond 2147483647 seconds"),
            Self::SoaNotAllowed => f.write_str("the SOA record is made by the server"),
            Self::WeightBesideNone(_) => f.write_str("another value of the same name and type has no weight"),
        }
    }
}

/// The values of one name and type.
#[derive(Clone, Debug)]
pub struct Rrset {
    /// The type of all values.
    pub rtype: RecordType,
    /// Seconds; one for the whole set (RFC 2181 section 5.2), the lowest that was configured.
    pub ttl: u32,
    /// The values in the order of the file.
    pub values: Vec<RData>,
    /// A weight for each value, or nothing.
    weights: Vec<u8>,
    /// For each weight the sum up to and with it.
    shares: Vec<u32>,
}

impl Rrset {
    /// The values to answer with: rotated by `turn`, or drawn by weight. Consecutive turns see every value
    /// first equally often, and a weighted value as often as its weight says.
    pub fn pick(&self, turn: u64) -> impl Iterator<Item = &RData> {
        let count = self.values.len() as u64;
        let first = turn.checked_rem(count).unwrap_or(0) as usize;
        let drawn = match (self.order(), self.draw(turn)) {
            (Order::Drawn, Some(place)) => Some(place),
            (Order::Drawn, None) => Some(first), // several CNAMEs: one in each answer
            _ => None,
        };
        let (first, others) = match (drawn, self.order()) {
            (Some(place), _) => (&self.values[place..=place], &[][..]),
            (None, Order::Rotating) => (&self.values[first..], &self.values[..first]),
            (None, _) => (&self.values[..], &[][..]),
        };
        first.iter().chain(others)
    }

    /// The place of the value that a turn draws; nothing for a set without weights.
    fn draw(&self, turn: u64) -> Option<usize> {
        let total = u64::from(*self.shares.last()?);
        // A step coprime to the total visits every residue once in a cycle of turns, so the shares are exact,
        // and one far from 1 keeps equal answers from following each other. 7919 is prime.
        let step = if total.is_multiple_of(7919) { 1 } else { 7919 };
        let draw = turn.wrapping_mul(step).checked_rem(total)?;
        Some(self.shares.partition_point(|&share| u64::from(share) <= draw))
    }

    /// Whether [`Rrset::pick`] gives the same every time.
    pub fn order(&self) -> Order {
        let drawn = self.shares.last().is_some_and(|&total| total > 0) || self.rtype == RecordType::CNAME;
        match (self.values.len(), self.rtype) {
            (0 | 1, _) => Order::Fixed,
            _ if drawn => Order::Drawn,
            (_, RecordType::A | RecordType::AAAA) => Order::Rotating,
            _ => Order::Fixed,
        }
    }

    /// The values' weights; empty for a set without.
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }
}

/// How a set's values come out of [`Rrset::pick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All, in the same order.
    Fixed,
    /// All, each turn beginning with another.
    Rotating,
    /// One, another each time.
    Drawn,
}

/// What a look-up found at a name.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'z> {
    /// The RRset asked for.
    Rrset(&'z Rrset),
    /// A CNAME, for a question of another type.
    Cname(&'z Rrset),
    /// The name has records, of other types.
    NoType,
    /// The name has no records of its own but exists: the bare apex, or an empty non-terminal.
    Empty,
    /// Nothing at the name, nothing below it, no wildcard for it.
    Missing,
}

/// A private zone, ready to answer. Immutable.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: NameKey,
    /// The zone's name.
    pub name: Name,
    /// What happens to names that are not configured.
    pub mode: ZoneMode,
    /// What happens to types that are not configured.
    pub on_missing_type: MissingType,
    /// Whether wildcards count.
    pub wildcards: Wildcards,
    /// Where it was written.
    pub origin: ZoneOrigin,
    nodes: QuickMap<NameKey, Vec<Rrset>>,
    soa: Rrset,
    ns: Rrset,
}

impl Zone {
    /// Builds the zone; `serial` goes into its SOA.
    ///
    /// # Errors
    /// All records that cannot be in it.
    pub fn build(spec: ZoneSpec, serial: u32) -> Result<Self, Vec<RecordFault>> {
        let (zone, faults) = Self::build_rest(spec, serial);
        if faults.is_empty() { Ok(zone) } else { Err(faults) }
    }

    /// Builds the zone out of what has been checked before; should a record contradict another all the same, it
    /// is left out rather than the zone.
    pub fn build_leniently(spec: ZoneSpec, serial: u32) -> Self {
        Self::build_rest(spec, serial).0
    }

    /// The zone without the records that cannot be in it, and these.
    fn build_rest(spec: ZoneSpec, serial: u32) -> (Self, Vec<RecordFault>) {
        let apex = NameKey::of(&spec.apex);
        let mut faults = Vec::new();
        let mut nodes: HashMap<NameKey, Vec<Gathered>> = HashMap::new();
        for (index, record) in spec.records.into_iter().enumerate() {
            let owner = NameKey::of(&record.owner);
            if !owner.is_within(&apex) {
                faults.push(RecordFault { record: index, kind: RecordFaultKind::OutOfZone });
                continue;
            }
            add_ancestors(&mut nodes, &owner, &apex);
            if let Err(kind) = gather(nodes.entry(owner).or_default(), record, index) {
                faults.push(RecordFault { record: index, kind });
            }
        }
        let nodes = nodes
            .into_iter()
            .map(|(name, sets)| (name, sets.into_iter().map(|g| g.rrset).collect()))
            .collect();
        let soa = synthesised(RData::SOA(soa_data(serial)));
        let ns = synthesised(RData::NS(NS(localhost())));
        let zone = Self {
            apex,
            name: spec.apex,
            mode: spec.mode,
            on_missing_type: spec.on_missing_type,
            wildcards: spec.wildcards,
            origin: spec.origin,
            nodes,
            soa,
            ns,
        };
        (zone, faults)
    }

    /// The zone's name as a key.
    pub fn apex(&self) -> &NameKey {
        &self.apex
    }

    /// The SOA record that goes with denials, synthesised.
    pub fn soa(&self) -> &Rrset {
        &self.soa
    }

    /// Every RRset that was configured, with its owner; in no particular order.
    pub fn rrsets(&self) -> impl Iterator<Item = (&NameKey, &Rrset)> {
        self.nodes.iter().flat_map(|(name, sets)| sets.iter().map(move |set| (name, set)))
    }

    /// What the zone has for a name at or below its apex.
    pub fn lookup(&self, name: &NameKey, rtype: RecordType) -> Lookup<'_> {
        let at_apex = *name == self.apex;
        if let Some(sets) = self.nodes.get(name) {
            return match (find(sets, rtype), at_apex, rtype) {
                (found @ Lookup::Rrset(_), ..) => found,
                (_, true, RecordType::SOA) => Lookup::Rrset(&self.soa),
                (_, true, RecordType::NS) => Lookup::Rrset(&self.ns),
                (found, ..) => found,
            };
        }
        if at_apex {
            return match rtype {
                RecordType::SOA => Lookup::Rrset(&self.soa),
                RecordType::NS => Lookup::Rrset(&self.ns),
                _ => Lookup::Empty,
            };
        }
        self.lookup_wildcard(name, rtype)
    }

    /// RFC 4592 section 3.3.1: the source of synthesis is `*.<closest encloser>`, and nothing else.
    fn lookup_wildcard(&self, name: &NameKey, rtype: RecordType) -> Lookup<'_> {
        if self.mode == ZoneMode::RecursionProxy && self.wildcards == Wildcards::OffWithProxy {
            return Lookup::Missing;
        }
        let encloser = name
            .suffixes()
            .skip(1)
            .find(|&suffix| suffix == self.apex.wire() || self.nodes.contains_key(suffix));
        match encloser.and_then(|suffix| self.nodes.get(&NameKey::wildcard_of(suffix))) {
            Some(sets) => match find(sets, rtype) {
                // `*` is itself an empty non-terminal (only names below it were configured): no records, so no
                // synthesis, but the name is covered
                Lookup::Empty => Lookup::NoType,
                found => found,
            },
            None => Lookup::Missing,
        }
    }
}

/// An RRset while the zone is built, with the index of its first record.
struct Gathered {
    rrset: Rrset,
    first: usize,
}

/// Adds a record to the sets of its name.
fn gather(sets: &mut Vec<Gathered>, record: ZoneRecord, index: usize) -> Result<(), RecordFaultKind> {
    let rtype = record.data.record_type();
    if rtype == RecordType::SOA {
        return Err(RecordFaultKind::SoaNotAllowed);
    }
    if record.ttl > i32::MAX as u32 {
        return Err(RecordFaultKind::Ttl);
    }
    let is_cname = rtype == RecordType::CNAME;
    if let Some(other) = sets.iter().find(|set| (set.rrset.rtype == RecordType::CNAME) != is_cname) {
        return Err(RecordFaultKind::CnameBesideOther(other.first));
    }
    let Some(set) = sets.iter_mut().find(|set| set.rrset.rtype == rtype) else {
        let weights = record.weight.into_iter().collect();
        let shares = record.weight.into_iter().map(u32::from).collect();
        let rrset = Rrset { rtype, ttl: record.ttl, values: vec![record.data], weights, shares };
        sets.push(Gathered { rrset, first: index });
        return Ok(());
    };
    if set.rrset.values.contains(&record.data) {
        return Err(RecordFaultKind::Duplicate(set.first));
    }
    if record.weight.is_some() == set.rrset.weights.is_empty() {
        return Err(RecordFaultKind::WeightBesideNone(set.first));
    }
    set.rrset.ttl = set.rrset.ttl.min(record.ttl);
    set.rrset.values.push(record.data);
    set.rrset.weights.extend(record.weight);
    let total = set.rrset.shares.last().copied().unwrap_or(0);
    set.rrset.shares.extend(record.weight.map(|weight| total.saturating_add(u32::from(weight))));
    Ok(())
}

/// Makes every name between the owner and the apex exist (RFC 4592 section 2.2.2).
fn add_ancestors(nodes: &mut HashMap<NameKey, Vec<Gathered>>, owner: &NameKey, apex: &NameKey) {
    if owner == apex {
        return;
    }
    for suffix in owner.suffixes().skip(1).take_while(|&suffix| suffix != apex.wire()) {
        if nodes.contains_key(suffix) {
            break; // and so do its ancestors
        }
        nodes.insert(NameKey::of_suffix(suffix), Vec::new());
    }
}

/// The set of a type among the sets of one name.
fn find(sets: &[Rrset], rtype: RecordType) -> Lookup<'_> {
    if let Some(set) = sets.iter().find(|set| set.rtype == rtype) {
        return Lookup::Rrset(set);
    }
    match sets.iter().find(|set| set.rtype == RecordType::CNAME) {
        Some(cname) => Lookup::Cname(cname),
        None if sets.is_empty() => Lookup::Empty,
        None => Lookup::NoType,
    }
}

/// SOA data of a zone that has no name server in the world: what unbound and others use for local zones.
pub(crate) fn soa_data(serial: u32) -> SOA {
    let rname = record_name(b"nobody", b"invalid");
    SOA::new(localhost(), rname, serial, 3600, 1200, 604_800, NEGATIVE_TTL)
}

/// A one-value set with the negative TTL.
pub(super) fn synthesised(data: RData) -> Rrset {
    Rrset {
        rtype: data.record_type(),
        ttl: NEGATIVE_TTL,
        values: vec![data],
        weights: Vec::new(),
        shares: Vec::new(),
    }
}

/// `localhost.`
pub(super) fn localhost() -> Name {
    name::of_labels([b"localhost".as_slice()].into_iter()).unwrap_or_else(Name::root)
}

/// A two-label name out of constants.
fn record_name(first: &[u8], second: &[u8]) -> Name {
    name::of_labels([first, second].into_iter()).unwrap_or_else(Name::root)
}

/// One value for people.
impl fmt::Display for Rrset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(record::show_value).collect();
        write!(f, "{} {}", record::show_type(self.rtype), values.join(", "))
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
