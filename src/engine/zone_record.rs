//! A record on its way into a private zone, and why it cannot be in one.

use hickory_proto::rr::{Name, RData};
use std::fmt;

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

/// Why a record cannot be in its zone. `record` is its place among those that were given.
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
                f.write_str("a CNAME excludes other records at its name, but there is another record")
            }
            Self::Duplicate(_) => f.write_str("the same record is there already"),
            Self::Ttl => f.write_str("the TTL exceeds 2147483647 seconds"),
            Self::SoaNotAllowed => f.write_str("the server generates the SOA record"),
            Self::WeightBesideNone(_) => f.write_str("another value of the same name and type has no weight"),
        }
    }
}
