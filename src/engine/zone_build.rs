//! From records to the packed names of a zone: what may stand beside what, and the order of names.
//!
//! A name's key is its labels below the apex from the right, each ended by a zero octet, so that a name sorts right
//! before the names below it, and a name exists without records of its own (an empty non-terminal) where the next key
//! begins with its own. Octets 0 and 1 within a label are escaped.

use super::name::NameKey;
use super::ordered::Ordered;
use super::record;
use super::rrset::{Owner, Unpacked};
use super::sort;
use super::zone_record::{RecordFault, RecordFaultKind, ZoneRecord};
use hickory_proto::rr::{RData, RecordType};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Sets with more values than this look for a value twice by a hash.
const MANY: usize = 16;

/// Octets of the longest key: each of 253 octets escaped, or the ends of labels.
const MAX_KEY_BYTES: usize = 2 * 255;

/// The key of a name, on the stack.
#[derive(Clone, Copy)]
pub struct OwnerKey {
    octets: [u8; MAX_KEY_BYTES],
    len: usize,
}

impl OwnerKey {
    /// The key of a name at or below an apex. What comes after the labels of the apex is not looked at.
    pub fn of(name: &NameKey, apex: &NameKey) -> Self {
        Self::of_wire(name.wire(), apex.wire()).unwrap_or(Self { octets: [0; MAX_KEY_BYTES], len: 0 })
    }

    /// The key of a name in wire form, of whatever case; nothing for one that is not at or below the apex.
    fn of_wire(name: &[u8], apex: &[u8]) -> Option<Self> {
        let mut key = Self { octets: [0; MAX_KEY_BYTES], len: 0 };
        let mut starts = [0u8; 128];
        let (mut at, mut labels) = (0, 0);
        let below = name.len().checked_sub(apex.len())?;
        while at < below && labels < starts.len() {
            starts[labels] = at as u8; // names have at most 255 octets
            labels += 1;
            at += 1 + usize::from(name[at]);
        }
        if at != below || !name[below..].eq_ignore_ascii_case(apex) {
            return None;
        }
        for &start in starts[..labels].iter().rev() {
            let start = usize::from(start);
            let length = usize::from(name[start]);
            key.push_label(&name[start + 1..start + 1 + length]);
        }
        Some(key)
    }

    /// The key of the wildcard right below a name.
    pub fn wildcard_below(encloser: &[u8]) -> Self {
        let mut key = Self { octets: [0; MAX_KEY_BYTES], len: 0 };
        encloser.iter().for_each(|&octet| key.push(octet));
        key.push_label(b"*");
        key
    }

    fn push_label(&mut self, label: &[u8]) {
        for &octet in label {
            match octet.to_ascii_lowercase() {
                0 | 1 => [1, octet + 1].into_iter().for_each(|octet| self.push(octet)),
                octet => self.push(octet),
            }
        }
        self.push(0);
    }

    fn push(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.len) {
            *place = octet;
            self.len += 1;
        }
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// Appends the key of a name in wire form, of whatever case; false, and nothing appended, for one that is not at or below
/// the apex. The key is that of [`OwnerKey`].
fn push_key(key: &mut Vec<u8>, name: &[u8], apex: &[u8]) -> bool {
    let Some(below) = name.len().checked_sub(apex.len()) else { return false };
    let (labels, suffix) = name.split_at(below);
    if !suffix.eq_ignore_ascii_case(apex) {
        return false;
    }
    let (mut starts, mut count, mut at) = ([0u8; 128], 0, 0);
    while at < below && count < starts.len() {
        starts[count] = at as u8; // names have at most 255 octets
        count += 1;
        at += 1 + usize::from(labels[at]);
    }
    if at != below {
        return false;
    }
    for &start in starts[..count].iter().rev() {
        let start = usize::from(start);
        let label = &labels[start + 1..start + 1 + usize::from(labels[start])];
        match label.iter().all(|octet| *octet > 1) {
            true => key.extend(label.iter().map(u8::to_ascii_lowercase)),
            false => label.iter().for_each(|octet| match octet.to_ascii_lowercase() {
                octet @ (0 | 1) => key.extend([1, octet + 1]),
                octet => key.push(octet),
            }),
        }
        key.push(0);
    }
    true
}

/// The name of a key below an apex.
pub fn name_of(key: &[u8], apex: &NameKey) -> NameKey {
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = key.iter();
    while let Some(&octet) = octets.next() {
        let last = labels.len() - 1;
        match octet {
            0 => labels.push(Vec::new()),
            1 => labels[last].extend(octets.next().map(|octet| octet.wrapping_sub(1))),
            _ => labels[last].push(octet),
        }
    }
    let mut wire = Vec::with_capacity(key.len() + apex.wire().len());
    for label in labels.iter().rev().skip(1) {
        wire.push(label.len() as u8); // a label has at most 63 octets
        wire.extend(label);
    }
    wire.extend(apex.wire());
    NameKey::of_suffix(&wire)
}

/// Octets that two keys share, up to the end of a label.
pub fn shared_labels(one: &[u8], two: &[u8]) -> usize {
    let same = one.iter().zip(two).take_while(|(one, two)| one == two).count();
    one[..same].iter().rposition(|&octet| octet == 0).map_or(0, |end| end + 1)
}

/// Octets of the key and the data of a usual record.
const USUAL_BYTES: usize = 20;

/// A record on its way into a zone.
struct Pending {
    /// Where its key and its data begin among the octets, and where they end.
    key: usize,
    data: usize,
    end: usize,
    /// Its place among the records given.
    index: usize,
    rtype: RecordType,
    ttl: u32,
    weight: Option<u8>,
}

/// Collects the records of a zone.
pub struct ZoneBuilder {
    apex: NameKey,
    octets: Vec<u8>,
    pending: Vec<Pending>,
    /// Records given so far.
    given: usize,
    faults: Vec<RecordFault>,
}

impl ZoneBuilder {
    /// A builder for a zone without records.
    pub fn new(apex: NameKey) -> Self {
        Self { apex, octets: Vec::new(), pending: Vec::new(), given: 0, faults: Vec::new() }
    }

    /// Makes room for this many records more.
    pub fn reserve(&mut self, records: usize) {
        self.pending.reserve(records);
        self.octets.reserve(records * USUAL_BYTES);
    }

    /// Adds a record.
    pub fn add(&mut self, record: &ZoneRecord) {
        self.add_data(NameKey::of(&record.owner).wire(), record.ttl, &record.data, record.weight);
    }

    /// Adds a record whose owner, of whatever case, is in uncompressed wire form.
    pub fn add_data(&mut self, owner: &[u8], ttl: u32, data: &RData, weight: Option<u8>) {
        let rtype = data.record_type();
        match data {
            RData::A(address) => self.add_wire(owner, rtype, ttl, &address.octets(), weight),
            _ => self.add_wire(owner, rtype, ttl, &record::to_wire(data), weight),
        }
    }

    /// Adds a record whose owner, of whatever case, and data are in uncompressed wire form.
    pub fn add_wire(&mut self, owner: &[u8], rtype: RecordType, ttl: u32, data: &[u8], weight: Option<u8>) {
        let index = self.given;
        self.given += 1;
        let key = self.octets.len();
        let fault = match () {
            () if rtype == RecordType::SOA => Some(RecordFaultKind::SoaNotAllowed),
            () if ttl > i32::MAX as u32 => Some(RecordFaultKind::Ttl),
            () if !push_key(&mut self.octets, owner, self.apex.wire()) => Some(RecordFaultKind::OutOfZone),
            () => None,
        };
        if let Some(kind) = fault {
            return self.faults.push(RecordFault { record: index, kind });
        }
        let start = self.octets.len();
        self.octets.extend_from_slice(data);
        self.pending.push(Pending { key, data: start, end: self.octets.len(), index, rtype, ttl, weight });
    }

    /// The names of the zone, and all records that cannot be in it, in the order in which they were given.
    pub fn finish(self) -> (Ordered<Owner>, Vec<RecordFault>) {
        let mut faults = Vec::new();
        let owners = self.finish_with(|refused| faults.push(refused.fault));
        sort::by_key(&mut faults, |fault| fault.record);
        (owners, faults)
    }

    /// The same in order, without the records that cannot be in it.
    pub fn finish_owners(self) -> Vec<Owner> {
        self.finish_into(|_| {}, |owners| owners.collect())
    }

    /// The names of the zone. `refuse` takes the records that cannot be in it.
    pub fn finish_with(self, refuse: impl FnMut(Refused)) -> Ordered<Owner> {
        self.finish_into(refuse, |owners| Ordered::from_sorted(owners))
    }

    /// What `collect` makes of the names of the zone.
    fn finish_into<C>(
        mut self,
        mut refuse: impl FnMut(Refused),
        collect: impl FnOnce(&mut dyn Iterator<Item = Owner>) -> C,
    ) -> C {
        let octets = self.octets;
        let key = |record: &Pending| &octets[record.key..record.data];
        for fault in self.faults {
            let (owner, rtype, data) = (self.apex.clone(), RecordType::ZERO, Vec::new());
            refuse(Refused { fault, owner, rtype, data });
        }
        if !self.pending.is_sorted_by(|one, two| key(one) <= key(two)) {
            self.pending.sort_by(|one, two| key(one).cmp(key(two)));
        }
        let (apex, mut buffer) = (&self.apex, Vec::new());
        let mut refuse = |record: &Pending, kind| {
            let fault = RecordFault { record: record.index, kind };
            let data = octets[record.data..record.end].to_vec();
            refuse(Refused { fault, owner: name_of(key(record), apex), rtype: record.rtype, data });
        };
        let mut groups = self.pending.chunk_by(|one, two| key(one) == key(two));
        let mut owners = std::iter::from_fn(|| {
            loop {
                let group = groups.next()?;
                if let [record] = group {
                    let (meta, data) =
                        ((record.rtype, record.ttl, record.weight), &octets[record.data..record.end]);
                    return Some(Owner::pack_one(key(record), meta, data, &mut buffer));
                }
                let sets = gather(group, &octets, &mut refuse);
                if !sets.is_empty() {
                    return Some(Owner::pack(key(&group[0]), &sets, &mut buffer));
                }
            }
        });
        collect(&mut owners)
    }
}

/// A record that cannot be in its zone.
#[derive(Debug)]
pub struct Refused {
    /// Why not.
    pub fault: RecordFault,
    /// Its owner; the apex for one that is not below it.
    pub owner: NameKey,
    /// Its type.
    pub rtype: RecordType,
    /// Its data in uncompressed wire form.
    pub data: Vec<u8>,
}

/// The RRsets of the records of one name.
fn gather<'a>(
    records: &[Pending],
    octets: &'a [u8],
    refuse: &mut impl FnMut(&Pending, RecordFaultKind),
) -> Vec<Unpacked<'a>> {
    let mut sets: Vec<(usize, Unpacked<'a>)> = Vec::with_capacity(1);
    let mut seen: Vec<SeenValues> = Vec::new();
    for record in records {
        if let Err(kind) = admit(&mut sets, &mut seen, record, &octets[record.data..record.end]) {
            refuse(record, kind);
        }
    }
    sets.into_iter().map(|(_, set)| set).collect()
}

/// Values of a set by which another is known to be there.
#[derive(Default)]
struct SeenValues {
    /// The indexes of their records but the first, while there are few.
    few: Vec<usize>,
    /// The values with the indexes of their records, once there are many.
    many: HashMap<Vec<u8>, usize>,
}

/// Adds a record to the sets of its name, each with the index of its first record.
fn admit<'a>(
    sets: &mut Vec<(usize, Unpacked<'a>)>,
    seen: &mut Vec<SeenValues>,
    record: &Pending,
    data: &'a [u8],
) -> Result<(), RecordFaultKind> {
    let rtype = record.rtype;
    let is_cname = rtype == RecordType::CNAME;
    let excludes = |set: &Unpacked<'_>| {
        (set.rtype == RecordType::CNAME) != is_cname
            && !is_beside_cname(if is_cname { set.rtype } else { rtype })
    };
    if let Some((first, _)) = sets.iter().find(|(_, set)| excludes(set)) {
        return Err(RecordFaultKind::CnameBesideOther(*first));
    }
    let Some(at) = sets.iter().position(|(_, set)| set.rtype == rtype) else {
        let weights = record.weight.into_iter().collect();
        sets.push((record.index, Unpacked { rtype, ttl: record.ttl, values: vec![data], weights }));
        seen.push(SeenValues::default());
        return Ok(());
    };
    let ((first, set), seen) = (&mut sets[at], &mut seen[at]);
    let twice = if set.values.len() < MANY {
        let same = set.values.iter().position(|value| is_same(rtype, value, data));
        same.and_then(|at| seen.few.get(at.wrapping_sub(1)).or(Some(first)).copied())
    } else {
        if seen.many.is_empty() {
            let values = set.values.iter().zip(std::iter::once(&*first).chain(&seen.few));
            seen.many.extend(values.map(|(value, index)| (comparable(rtype, value), *index)));
        }
        match seen.many.entry(comparable(rtype, data)) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(place) => {
                place.insert(record.index);
                None
            }
        }
    };
    if let Some(twin) = twice {
        return Err(RecordFaultKind::Duplicate(twin));
    }
    if record.weight.is_some() == set.weights.is_empty() {
        return Err(RecordFaultKind::WeightBesideNone(*first));
    }
    if set.values.len() < MANY {
        seen.few.push(record.index);
    }
    set.ttl = set.ttl.min(record.ttl);
    set.values.push(data);
    set.weights.extend(record.weight);
    Ok(())
}

/// True for types that a name may have beside a CNAME: those of DNSSEC (RFC 4034 sections 3 and 4, RFC 3007 section 4).
fn is_beside_cname(rtype: RecordType) -> bool {
    matches!(u16::from(rtype), 24 | 25 | 30 | 46 | 47) // SIG, KEY, NXT, RRSIG, NSEC
}

/// Whether two values are one: names within them are compared without case (RFC 4343).
fn is_same(rtype: RecordType, one: &[u8], two: &[u8]) -> bool {
    one == two || (one.eq_ignore_ascii_case(two) && comparable(rtype, one) == comparable(rtype, two))
}

/// A value in a form in which equal values are equal octets: names in lower case.
fn comparable(rtype: RecordType, value: &[u8]) -> Vec<u8> {
    use hickory_proto::rr::RecordType::{CNAME, HTTPS, MX, NS, PTR, SRV, SVCB};
    let mut value = value.to_vec();
    let name = match rtype {
        CNAME | NS | PTR => 0,
        MX | HTTPS | SVCB => 2,
        SRV => 6,
        _ => value.len(),
    };
    // Length octets are below 64 and thereby no letters.
    let end = super::name::wire_length(value.get(name..).unwrap_or(&[])).map_or(name, |length| name + length);
    if let Some(name) = value.get_mut(name..end) {
        name.make_ascii_lowercase();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_is_the_same_on_the_stack_and_among_octets(
            labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 0..8),
            apex in 0usize..9,
            other in any::<bool>(),
        ) {
            let wire = |labels: &[Vec<u8>]| {
                let labels = labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat());
                labels.chain([0]).collect::<Vec<u8>>()
            };
            let name = wire(&labels);
            let apex = NameKey::of_wire(&match other {
                true => wire(&[b"other".to_vec()]),
                false => wire(&labels[apex.min(labels.len())..]),
            });
            let mut key = b"before".to_vec();
            let is_below = push_key(&mut key, &name, apex.wire());
            let expected = OwnerKey::of_wire(&name, apex.wire());
            prop_assert_eq!(is_below, expected.is_some());
            prop_assert_eq!(&key[6..], expected.as_ref().map_or(&[][..], OwnerKey::octets));
        }
    }
}
