//! A private zone: its records, and what a look-up in it finds.
//!
//! The rules are PrivateZone's where they are documented and the RFCs' where they are not: exact name first,
//! then the wildcard of the closest encloser (RFC 4592); a name without records but with names below it exists
//! (an empty non-terminal). SOA and NS of the apex are synthesised and stand beside any apex record, a CNAME
//! included, because the documented recipe is `@ CNAME …`.

use super::name::{self, NameKey};
use super::ordered::Ordered;
use super::rrset::Owner;
pub use super::rrset::{Rrset, SetOrder};
use super::sort;
use super::zone_build::{self, OwnerKey, ZoneBuilder};
pub use super::zone_record::{RecordFault, RecordFaultKind, ZoneRecord};
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, RecordType};

/// Seconds for which a denial out of a private zone may be cached by a client: the product's default TTL.
pub const NEGATIVE_TTL: u32 = 60;

/// Seconds of a SOA record that is made, by RFC 1035 section 3.3.13: refresh, retry, expire.
const REFRESH: u32 = 3600;
const RETRY: u32 = 1200;
const EXPIRE: u32 = 604_800;

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
    /// A `[[secondary]]` of the configuration file.
    Secondary,
    /// The catalogue of Alibaba Cloud API names.
    Endpoints,
    /// Made through the PrivateZone API.
    Api,
}

/// Whether the records of a zone may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ZoneAvailability {
    /// They are.
    #[default]
    Ready,
    /// A secondary zone that no primary has sent yet.
    NotTransferred,
    /// A secondary zone that no primary has confirmed for as long as its SOA record allows.
    Expired,
}

/// How zones read what the product's documentation leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneSemantics {
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
    /// Whether its records may be served.
    pub availability: ZoneAvailability,
    /// Its records, the disabled ones left out.
    pub records: Vec<ZoneRecord>,
    /// Prepared records, instead of the others.
    pub packed: Option<PackedZone>,
}

/// The records of a zone, put together. A copy is cheap.
#[derive(Clone, Debug)]
pub struct PackedZone {
    /// By name.
    pub owners: Ordered<Owner>,
    /// The SOA record of its own, if it has one.
    pub soa: Option<Rrset>,
    /// How many records there are.
    records: usize,
}

impl PackedZone {
    /// The names of a zone, and its own SOA record if it has one.
    pub fn new(owners: Ordered<Owner>, soa: Option<Rrset>) -> Self {
        let records = owners.iter().map(Owner::len).sum();
        Self { owners, soa, records }
    }

    /// True where both share their names; false may be said of two that are equal.
    pub fn is_same(&self, other: &Self) -> bool {
        self.owners.is_same(&other.owners)
    }
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
            availability: ZoneAvailability::default(),
            records: Vec::new(),
            packed: None,
        }
    }

    /// The same zone without its records.
    pub fn without_records(&self) -> Self {
        let Self { mode, on_missing_type, wildcards, origin, .. } = *self;
        Self { mode, on_missing_type, wildcards, origin, ..Self::new(self.apex.clone(), mode) }
    }

    /// How many records it has.
    pub fn record_count(&self) -> usize {
        self.records.len() + self.packed.as_ref().map_or(0, |packed| packed.records)
    }
}

/// What a look-up found at a name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The RRset asked for.
    Rrset(Rrset),
    /// A CNAME, for a question of another type.
    Cname(Rrset),
    /// The name has records, of other types.
    NoType,
    /// The name has no records of its own but exists: the bare apex, or an empty non-terminal.
    Empty,
    /// Nothing at the name, nothing below it, no wildcard for it.
    Missing,
}

/// A private zone, ready to answer. What is published is never edited: a copy shares its names, and
/// [`Zone::set_owner`] changes a copy before it is published.
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
    /// Whether its records may be served.
    pub availability: ZoneAvailability,
    owners: Ordered<Owner>,
    /// How many records they have.
    records: usize,
    soa: ApexSoa,
}

/// The SOA record of a zone. What is made is made when it is asked for: there may be many zones.
#[derive(Clone, Debug)]
enum ApexSoa {
    /// Its own.
    Own(Rrset),
    /// Made, with this serial number.
    Made(u32),
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

    /// Builds the zone out of what has been checked before; if a record still contradicts another, it is left out
    /// rather than the zone.
    pub fn build_leniently(spec: ZoneSpec, serial: u32) -> Self {
        Self::build_rest(spec, serial).0
    }

    /// The zone without the records that cannot be in it, and these.
    fn build_rest(spec: ZoneSpec, serial: u32) -> (Self, Vec<RecordFault>) {
        let apex = NameKey::of(&spec.apex);
        let (packed, faults) = match spec.packed {
            Some(packed) => (packed, Vec::new()),
            None => {
                let mut builder = ZoneBuilder::new(apex.clone());
                spec.records.iter().for_each(|record| builder.add(record));
                let (owners, faults) = builder.finish();
                (PackedZone::new(owners, None), faults)
            }
        };
        let zone = Self {
            apex,
            name: spec.apex,
            mode: spec.mode,
            on_missing_type: spec.on_missing_type,
            wildcards: spec.wildcards,
            origin: spec.origin,
            availability: spec.availability,
            owners: packed.owners,
            records: packed.records,
            soa: packed.soa.map_or(ApexSoa::Made(serial), ApexSoa::Own),
        };
        (zone, faults)
    }

    /// Gives the zone another serial number.
    pub fn set_serial(&mut self, serial: u32) {
        self.soa = ApexSoa::Made(serial);
    }

    /// Replaces all records of one name. What cannot be in the zone is left out, as by [`Zone::build_leniently`]. Costs
    /// the same however many other names there are.
    pub fn set_owner(&mut self, owner: &NameKey, records: &[ZoneRecord]) {
        let mut builder = ZoneBuilder::new(self.apex.clone());
        records
            .iter()
            .filter(|record| NameKey::of(&record.owner) == *owner)
            .for_each(|record| builder.add(record));
        self.set_owners(std::slice::from_ref(owner), builder);
    }

    /// Replaces all records of some names by those of a builder, which has none of other names.
    pub fn set_owners(&mut self, names: &[NameKey], records: ZoneBuilder) {
        let packed = records.finish().0;
        let mut former = 0;
        if packed.len() < names.len() {
            for name in names {
                let key = OwnerKey::of(name, &self.apex);
                let is_it = |owner: &Owner| owner.key().cmp(key.octets());
                if packed.get_by(is_it).is_none() {
                    former += self.owners.remove_by(is_it).map_or(0, |former| former.len());
                }
            }
        }
        for owner in packed.iter() {
            self.records += owner.len();
            former += self.owners.insert(owner.clone()).map_or(0, |former| former.len());
        }
        self.records -= former;
    }

    /// Puts names in that have no records yet. Those that have are not changed, and come back.
    pub fn add_owners(&mut self, owners: &[Owner]) -> Vec<NameKey> {
        self.records += owners.iter().map(Owner::len).sum::<usize>();
        let there = self.owners.merge(owners.to_vec());
        self.records -= there.iter().map(Owner::len).sum::<usize>();
        there.iter().map(|owner| zone_build::name_of(owner.key(), &self.apex)).collect()
    }

    /// How many records were configured.
    pub fn record_count(&self) -> usize {
        self.records
    }

    /// Every RRset that was configured, with its owner and the number of its values that are among the first `count`
    /// records; those are left out. Where each name has one record, this costs the same for any `count`.
    pub fn sets_after(&self, count: usize) -> impl Iterator<Item = (NameKey, Rrset, usize)> {
        let at_once = if self.records == self.owners.len() { count } else { 0 };
        let mut left = count - at_once;
        let sets = self.owners.skip(at_once).flat_map(|owner| {
            let mut sets: Vec<Rrset> = owner.sets().collect();
            sort::by_key(&mut sets, |set| u16::from(set.rtype));
            sets.into_iter().map(move |set| (owner, set))
        });
        let sets = sets.filter_map(move |(owner, set)| {
            let skipped = left.min(set.len());
            left -= skipped;
            (skipped < set.len()).then_some((owner, set, skipped))
        });
        sets.map(|(owner, set, skipped)| (zone_build::name_of(owner.key(), &self.apex), set, skipped))
    }

    /// The zone's name as a key.
    pub fn apex(&self) -> &NameKey {
        &self.apex
    }

    /// The SOA record that goes with denials: the zone's own, or synthesised.
    pub fn soa(&self) -> Rrset {
        match &self.soa {
            ApexSoa::Own(soa) => soa.clone(),
            ApexSoa::Made(serial) => made_soa(*serial),
        }
    }

    /// Seconds for which a denial may be cached: the lesser of the SOA's TTL and its minimum (RFC 2308 section 3).
    pub fn negative_ttl(&self) -> u32 {
        let ApexSoa::Own(soa) = &self.soa else { return NEGATIVE_TTL };
        let minimum = soa.wire_values().next().and_then(|value| value.last_chunk());
        soa.ttl.min(minimum.map_or(NEGATIVE_TTL, |octets| u32::from_be_bytes(*octets)))
    }

    /// The names and their records, for another zone of the same.
    pub fn packed(&self, with_soa: bool) -> PackedZone {
        let soa = with_soa.then(|| self.soa());
        PackedZone { owners: self.owners.clone(), soa, records: self.records }
    }

    /// Every RRset that was configured, with its owner; the apex first, and each name before those below it.
    pub fn rrsets(&self) -> impl Iterator<Item = (NameKey, Rrset)> {
        self.owners.iter().flat_map(|owner| {
            let name = zone_build::name_of(owner.key(), &self.apex);
            owner.sets().map(move |set| (name.clone(), set))
        })
    }

    /// What the zone has for a name at or below its apex.
    pub fn lookup(&self, name: &NameKey, rtype: RecordType) -> Lookup {
        let key = OwnerKey::of(name, &self.apex);
        let key = key.octets();
        let (before, after) = self.owners.around_by(|owner| owner.key().cmp(key));
        let found = match after {
            Some(owner) if owner.key() == key => find(owner, rtype),
            Some(owner) if owner.key().starts_with(key) => Lookup::Empty, // names below it make it exist
            _ if key.is_empty() => Lookup::Empty,
            _ => {
                let shared = |owner: Option<&Owner>| {
                    owner.map_or(0, |owner| zone_build::shared_labels(key, owner.key()))
                };
                return self.lookup_wildcard(&key[..shared(before).max(shared(after))], rtype);
            }
        };
        match (found, rtype) {
            (found @ Lookup::Rrset(_), _) => found,
            (_, RecordType::SOA) if key.is_empty() => Lookup::Rrset(self.soa()),
            (_, RecordType::NS) if key.is_empty() => Lookup::Rrset(synthesised(&RData::NS(NS(localhost())))),
            (found, _) => found,
        }
    }

    /// RFC 4592 section 3.3.1: the source of synthesis is `*.<closest encloser>`, and nothing else.
    fn lookup_wildcard(&self, encloser: &[u8], rtype: RecordType) -> Lookup {
        if self.mode == ZoneMode::RecursionProxy && self.wildcards == Wildcards::OffWithProxy {
            return Lookup::Missing;
        }
        let key = OwnerKey::wildcard_below(encloser);
        let key = key.octets();
        match self.owners.around_by(|owner| owner.key().cmp(key)).1 {
            Some(owner) if owner.key() == key => find(owner, rtype),
            // `*` is itself an empty non-terminal (only names below it were configured): no records, so no
            // synthesis, but the name is covered
            Some(owner) if owner.key().starts_with(key) => Lookup::NoType,
            _ => Lookup::Missing,
        }
    }
}

/// The set of a type among the sets of one name.
fn find(owner: &Owner, rtype: RecordType) -> Lookup {
    let mut cname = None;
    for set in owner.sets() {
        if set.rtype == rtype {
            return Lookup::Rrset(set);
        }
        if set.rtype == RecordType::CNAME {
            cname = Some(set);
        }
    }
    cname.map_or(Lookup::NoType, Lookup::Cname)
}

/// SOA data of a zone that has no name server in the world: what unbound and others use for local zones.
pub(crate) fn soa_data(serial: u32) -> SOA {
    let rname = record_name(b"nobody", b"invalid");
    SOA::new(localhost(), rname, serial, REFRESH as i32, RETRY as i32, EXPIRE as i32, NEGATIVE_TTL)
}

/// [`soa_data`] as a set, in few steps: each first denial of a zone has it.
fn made_soa(serial: u32) -> Rrset {
    let (mname, rname): (&[&[u8]], &[&[u8]]) = (&[b"localhost"], &[b"nobody", b"invalid"]);
    let mut data = Vec::with_capacity(64);
    for name in [mname, rname] {
        for label in name {
            data.push(label.len() as u8); // a few octets
            data.extend_from_slice(label);
        }
        data.push(0);
    }
    for number in [serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    Rrset::of_wire(NEGATIVE_TTL, RecordType::SOA, vec![&data])
}

/// A one-value set with the negative TTL.
pub(super) fn synthesised(data: &RData) -> Rrset {
    Rrset::single(NEGATIVE_TTL, data)
}

/// `localhost.`
pub(super) fn localhost() -> Name {
    name::of_labels([b"localhost".as_slice()].into_iter()).unwrap_or_else(Name::root)
}

/// A two-label name out of constants.
fn record_name(first: &[u8], second: &[u8]) -> Name {
    name::of_labels([first, second].into_iter()).unwrap_or_else(Name::root)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
