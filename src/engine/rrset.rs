//! The records of one name of a zone, packed: one shared run of octets holds the key of the name and its RRsets in wire
//! form. An [`Rrset`] is a view into it, so that a look-up copies nothing and decodes only what it answers with.
//!
//! Layout: length of the key (2), key; then for each RRset its flags (1), type (2), TTL (4), and unless the flags say that
//! it has one value, the number of values (4) and the octets that follow (4); for a weighted set the weight of each value
//! (1 each); for a set of many values the sum of the weights up to and with each (4 each, if it is weighted) and the place
//! of each value among the values (4 each); and for each value its length (2) and its data. All numbers are big-endian.

use super::record;
use hickory_proto::rr::{RData, RecordType};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Octets of flags, type and TTL.
const HEADER_BYTES: usize = 7;

/// Octets of the number of values and of the octets that follow.
const SIZE_BYTES: usize = 8;

/// A flag: values have weights.
const WEIGHTED: u8 = 1;

/// A flag: there are tables of sums and places, so that one value costs the same among few and among many.
const INDEXED: u8 = 2;

/// A flag: there is one value, without a weight, and no room is spent on how many there are. Most sets are such.
const SINGLE: u8 = 4;

/// Sets with more values than this have tables.
const MANY: usize = 8;

/// A name of a zone with its RRsets.
#[derive(Clone)]
pub struct Owner(Arc<[u8]>);

/// An RRset before it is packed.
#[derive(Debug)]
pub struct Unpacked<'a> {
    /// The type of all values.
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// Record data in uncompressed wire form, in the order in which it was written.
    pub values: Vec<&'a [u8]>,
    /// A weight for each value, or nothing.
    pub weights: Vec<u8>,
}

impl Owner {
    /// Packs the RRsets of a name. `buffer` is overwritten; it saves an allocation for each name.
    pub fn pack(key: &[u8], sets: &[Unpacked<'_>], buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&(key.len() as u16).to_be_bytes()); // keys of names are shorter than 600 octets
        buffer.extend_from_slice(key);
        for set in sets {
            push_set(buffer, set.rtype, set.ttl, &set.values, &set.weights);
        }
        Self(buffer.as_slice().into())
    }

    /// The same for a name with one value, as most have.
    pub fn pack_one(
        key: &[u8],
        (rtype, ttl, weight): (RecordType, u32, Option<u8>),
        value: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&(key.len() as u16).to_be_bytes()); // keys of names are shorter than 600 octets
        buffer.extend_from_slice(key);
        push_set(buffer, rtype, ttl, &[value], weight.as_slice());
        Self(buffer.as_slice().into())
    }

    /// The key of the name; see `zone_build`.
    pub fn key(&self) -> &[u8] {
        match self.0.split_first_chunk() {
            Some((length, rest)) => rest.get(..usize::from(u16::from_be_bytes(*length))).unwrap_or(&[]),
            None => &[],
        }
    }

    /// How many values its RRsets have.
    pub fn len(&self) -> usize {
        let (mut at, mut len) = (self.sets_at(), 0);
        while let Some(size) = SetSize::at(&self.0, at) {
            len += size.len;
            at = size.end;
        }
        len
    }

    /// Never true: a name without RRsets is not packed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the RRsets begin.
    fn sets_at(&self) -> usize {
        2 + self.key().len()
    }

    /// Its RRsets in the order in which their types were first written.
    pub fn sets(&self) -> impl Iterator<Item = Rrset> + '_ {
        let mut at = self.sets_at();
        std::iter::from_fn(move || {
            let set = Rrset::at(&self.0, at)?;
            at = set.end;
            Some(set)
        })
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Owner {}

impl PartialOrd for Owner {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By key: a set has each name once.
impl Ord for Owner {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sets()).finish()
    }
}

/// Where an RRset lies among the octets of its name.
struct SetSize {
    /// Behind its head.
    start: usize,
    /// Where the next one begins.
    end: usize,
    /// How many values it has.
    len: usize,
}

impl SetSize {
    /// That of the set whose head is at `at`.
    fn at(octets: &[u8], at: usize) -> Option<Self> {
        let rest = octets.get(at..)?;
        let (flags, behind) = (*rest.first()?, rest.get(HEADER_BYTES..)?);
        let start = at + HEADER_BYTES;
        if flags & SINGLE != 0 {
            let length = usize::from(u16::from_be_bytes(*behind.first_chunk()?));
            return Some(Self { start, end: start + 2 + length, len: 1 });
        }
        let [a, b, c, d, e, f, g, h]: [u8; SIZE_BYTES] = *behind.first_chunk()?;
        let start = start + SIZE_BYTES;
        let (len, octets) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        Some(Self { start, end: start + octets as usize, len: len as usize })
    }
}

/// The flags of a set.
fn flags(values: usize, weighted: bool) -> u8 {
    let indexed = if values > MANY { INDEXED } else { 0 };
    match (values, weighted) {
        (1, false) => SINGLE,
        (_, true) => WEIGHTED | indexed,
        (_, false) => indexed,
    }
}

/// The values of one name and type. A clone is cheap.
#[derive(Clone)]
pub struct Rrset {
    octets: Arc<[u8]>,
    /// Where the weights begin, if it is weighted, and else what comes after them.
    start: usize,
    end: usize,
    len: usize,
    flags: u8,
    /// The type of all values.
    pub rtype: RecordType,
    /// Seconds; one for the whole set (RFC 2181 section 5.2), the lowest that was configured.
    pub ttl: u32,
}

impl Rrset {
    /// A set of one value, without a name.
    pub fn single(ttl: u32, data: &RData) -> Self {
        Self::unnamed(ttl, data.record_type(), std::slice::from_ref(data))
    }

    /// A set of values of one type, without a name.
    pub fn unnamed(ttl: u32, rtype: RecordType, values: &[RData]) -> Self {
        let wires: Vec<Vec<u8>> = values.iter().map(record::to_wire).collect();
        Self::of_wire(ttl, rtype, wires.iter().map(Vec::as_slice).collect())
    }

    /// The same of values in uncompressed wire form.
    pub fn of_wire(ttl: u32, rtype: RecordType, values: Vec<&[u8]>) -> Self {
        let (len, flags) = (values.len(), flags(values.len(), false));
        let set = Unpacked { rtype, ttl, values, weights: Vec::new() };
        let owner = Owner::pack(&[], &[set], &mut Vec::new());
        let end = owner.0.len();
        let start = 2 + HEADER_BYTES + if flags == SINGLE { 0 } else { SIZE_BYTES };
        Self { octets: owner.0, start, end, len, flags, rtype, ttl }
    }

    /// The set whose head is at `at`.
    fn at(octets: &Arc<[u8]>, at: usize) -> Option<Self> {
        let SetSize { start, end, len } = SetSize::at(octets, at)?;
        let head: &[u8; HEADER_BYTES] = octets.get(at..)?.first_chunk()?;
        Some(Self {
            octets: octets.clone(),
            start,
            end,
            len,
            flags: head[0],
            rtype: RecordType::from(u16::from_be_bytes([head[1], head[2]])),
            ttl: u32::from_be_bytes([head[3], head[4], head[5], head[6]]),
        })
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true: a set has a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets of a part that has `each` of them for each value, if the set has it.
    fn part(&self, each: usize, present: bool) -> usize {
        if present { each * self.len } else { 0 }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where the sums of weights, the places and the values begin.
    fn parts(&self) -> (usize, usize, usize) {
        let sums = self.start + self.part(1, self.has(WEIGHTED));
        let places = sums + self.part(4, self.has(WEIGHTED) && self.has(INDEXED));
        (sums, places, places + self.part(4, self.has(INDEXED)))
    }

    /// A number of a table.
    fn number(&self, table: usize, at: usize) -> u32 {
        let octets = self.octets.get(table + 4 * at..).and_then(|rest| rest.first_chunk());
        octets.map_or(0, |octets| u32::from_be_bytes(*octets))
    }

    /// The values from one on, in the order in which they were written, in uncompressed wire form.
    fn wire_values_from(&self, at: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let (_, places, values) = self.parts();
        let (skip, place) = match self.has(INDEXED) && at < self.len {
            true => (0, self.number(places, at) as usize),
            false => (at, 0),
        };
        let mut rest = self.octets.get(values + place..self.end).unwrap_or(&[]);
        let values = std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = after;
            Some(value)
        });
        values.skip(skip)
    }

    /// The values in the order in which they were written.
    pub fn values(&self) -> impl Iterator<Item = RData> + '_ {
        self.wire_values().filter_map(|value| record::from_wire(self.rtype, value).ok())
    }

    /// The same in uncompressed wire form.
    pub fn wire_values(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.wire_values_from(0)
    }

    /// The values' weights; empty for a set without.
    pub fn weights(&self) -> &[u8] {
        let weights = self.start..self.start + self.part(1, self.has(WEIGHTED));
        self.octets.get(weights).unwrap_or(&[])
    }

    /// The sum of the weights of the values up to and with one.
    fn sum(&self, at: usize) -> u64 {
        match self.has(INDEXED) {
            true => u64::from(self.number(self.parts().0, at)),
            false => self.weights().iter().take(at + 1).map(|&weight| u64::from(weight)).sum(),
        }
    }

    /// The values to answer with: rotated by `turn`, or drawn by weight. Consecutive turns see every value
    /// first equally often, and a weighted value as often as its weight says. Values are decoded as they are taken.
    pub fn pick(&self, turn: u64) -> impl Iterator<Item = RData> + '_ {
        self.pick_wire(turn).filter_map(|value| record::from_wire(self.rtype, value).ok())
    }

    /// The same in uncompressed wire form.
    pub fn pick_wire(&self, turn: u64) -> impl Iterator<Item = &[u8]> {
        let first = turn.checked_rem(self.len as u64).unwrap_or(0) as usize;
        let (begin, count, wrapped) = match (self.order(), self.draw(turn)) {
            (SetOrder::Weighted, Some(place)) => (place, 1, 0),
            (SetOrder::Weighted, None) => (first, 1, 0), // several CNAMEs: one in each answer
            (SetOrder::Rotating, _) => (first, self.len - first, first),
            (SetOrder::Fixed, _) => (0, self.len, 0),
        };
        self.wire_values_from(begin).take(count).chain(self.wire_values_from(0).take(wrapped))
    }

    /// The place of the value that a turn draws; nothing for a set without weights.
    fn draw(&self, turn: u64) -> Option<usize> {
        let total = self.has(WEIGHTED).then(|| self.sum(self.len.saturating_sub(1)))?;
        // A step coprime to the total visits every residue once in a cycle of turns, so the shares are exact,
        // and one far from 1 keeps equal answers from following each other. 7919 is prime.
        let step = if total.is_multiple_of(7919) { 1 } else { 7919 };
        let draw = turn.wrapping_mul(step).checked_rem(total)?;
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.sum(middle) <= draw { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    /// Whether [`Rrset::pick`] gives the same every time.
    pub fn order(&self) -> SetOrder {
        let weighs = self.has(WEIGHTED) && self.sum(self.len.saturating_sub(1)) > 0;
        let drawn = weighs || self.rtype == RecordType::CNAME;
        match (self.len, self.rtype) {
            (0 | 1, _) => SetOrder::Fixed,
            _ if drawn => SetOrder::Weighted,
            (_, RecordType::A | RecordType::AAAA) => SetOrder::Rotating,
            _ => SetOrder::Fixed,
        }
    }
}

/// Appends an RRset.
fn push_set(buffer: &mut Vec<u8>, rtype: RecordType, ttl: u32, values: &[&[u8]], weights: &[u8]) {
    let flags = flags(values.len(), !weights.is_empty());
    let ([high, low], [a, b, c, d]) = (u16::from(rtype).to_be_bytes(), ttl.to_be_bytes());
    buffer.extend_from_slice(&[flags, high, low, a, b, c, d]);
    if flags == SINGLE {
        return values.iter().for_each(|value| push_value(buffer, value));
    }
    let size = buffer.len();
    buffer.extend((values.len() as u32).to_be_bytes());
    buffer.extend([0; 4]);
    let start = buffer.len();
    buffer.extend_from_slice(weights);
    if flags & INDEXED != 0 {
        push_sums(buffer, weights.iter().map(|&weight| u32::from(weight)), true);
        push_sums(buffer, values.iter().map(|value| value.len() as u32 + 2), false);
    }
    values.iter().for_each(|value| push_value(buffer, value));
    let octets = (buffer.len() - start) as u32;
    buffer[size + 4..start].copy_from_slice(&octets.to_be_bytes());
}

/// Appends a value.
fn push_value(buffer: &mut Vec<u8>, value: &[u8]) {
    buffer.extend_from_slice(&(value.len() as u16).to_be_bytes()); // RDLENGTH has 16 bits
    buffer.extend_from_slice(value);
}

/// Appends the sum of the numbers up to each, or `with` it.
fn push_sums(buffer: &mut Vec<u8>, numbers: impl Iterator<Item = u32>, with: bool) {
    let mut sum = 0u32;
    for number in numbers {
        let before = sum;
        sum = sum.saturating_add(number);
        buffer.extend(if with { sum } else { before }.to_be_bytes());
    }
}

/// How a set's values come out of [`Rrset::pick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOrder {
    /// All, in the same order.
    Fixed,
    /// All, each turn beginning with another.
    Rotating,
    /// One, another each time.
    Weighted,
}

/// One value for people.
impl fmt::Display for Rrset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values().map(|value| record::show_value(&value)).collect();
        write!(f, "{} {}", record::show_type(self.rtype), values.join(", "))
    }
}

impl fmt::Debug for Rrset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self} {:?}", self.ttl, self.weights())
    }
}
