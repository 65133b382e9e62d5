//! Statistics by zone and VPC: interns pairs of private zone or forwarding rule and VPC as small integers, so that
//! counters are arrays.

use crate::engine::name::NameKey;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Places of one block.
pub const CHUNK: usize = 256;

/// Number of blocks.
pub const CHUNKS: usize = 64;

/// The shared place beyond the limit.
pub const OVERFLOW: u16 = 0;

/// The source of the answer, in PrivateZone's classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerSource {
    /// The default upstreams; or none, as for refused queries.
    #[default]
    Other = 0,
    /// A private zone, including names forwarded by its recursion proxy.
    Zone = 1,
    /// A forwarding rule.
    Rule = 2,
    /// A special-use name, or a name of a hosts file.
    Local = 3,
}

/// The result of the cache lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheResult {
    /// No lookup.
    #[default]
    None = 0,
    /// A hit with data.
    Success = 1,
    /// A hit with a negative answer or a cached failure.
    Denial = 2,
    /// An upstream query.
    Miss = 3,
    /// A stale entry.
    Stale = 4,
}

impl CacheResult {
    /// All, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Success, Self::Denial, Self::Miss, Self::Stale];
}

/// The statistics key of an answer, in 32 bits, so that a cached packet can contain it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatKey(u32);

impl StatKey {
    /// A mark.
    pub fn new(place: u16, service: AnswerSource, share: CacheResult) -> Self {
        Self(u32::from(place) << 16 | (share as u32) << 8 | service as u32)
    }

    /// As a number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Out of a number.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The number of the place.
    pub fn place(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The cache's part.
    pub fn share(self) -> CacheResult {
        CacheResult::ALL.get((self.0 >> 8) as usize & 0xff).copied().unwrap_or_default()
    }

    /// The source of the answer.
    pub fn service(self) -> AnswerSource {
        match self.0 & 0xff {
            1 => AnswerSource::Zone,
            2 => AnswerSource::Rule,
            3 => AnswerSource::Local,
            _ => AnswerSource::Other,
        }
    }

    /// The product's word for the part that had the last word.
    pub fn module(self, fast: bool) -> &'static str {
        match (self.share(), self.service()) {
            (CacheResult::Miss, _) => "FORWARD",
            (CacheResult::Success | CacheResult::Denial | CacheResult::Stale, _) => "CACHE",
            (CacheResult::None, AnswerSource::Other) => "GLOBAL",
            (CacheResult::None, _) if fast => "AUTH_FAST",
            (CacheResult::None, _) => "AUTH_SLOW",
        }
    }
}

/// A zone or a rule in a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZoneStat {
    /// It is a forwarding rule, not a zone.
    pub is_rule: bool,
    /// Its name.
    pub name: NameKey,
    /// The VPC's id; None for clients in no VPC.
    pub vpc: Option<String>,
}

/// The numbers of places. A place keeps its number for the life of the process.
#[derive(Debug, Default)]
pub struct ZoneStats {
    table: RwLock<ZoneNumbers>,
}

#[derive(Debug, Default)]
struct ZoneNumbers {
    /// By VPC, then by kind and name; the VPC is nothing for clients in none.
    numbers: HashMap<Option<String>, [HashMap<NameKey, u16>; 2]>,
    /// By number, from 1.
    places: Vec<Arc<ZoneStat>>,
}

impl ZoneStats {
    /// The number of a place; [`OVERFLOW`] when all are taken.
    pub fn number(&self, is_rule: bool, name: &NameKey, vpc: Option<&str>) -> u16 {
        {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(number) = table.find(is_rule, name, vpc) {
                return number;
            }
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = table.find(is_rule, name, vpc) {
            return number; // another thread was faster
        }
        let number = table.places.len() + 1;
        if number >= CHUNK * CHUNKS {
            return OVERFLOW;
        }
        let vpc = vpc.map(str::to_string);
        table.places.push(Arc::new(ZoneStat { is_rule, name: name.clone(), vpc: vpc.clone() }));
        table.numbers.entry(vpc).or_default()[usize::from(is_rule)].insert(name.clone(), number as u16);
        number as u16
    }

    /// The place of a number; nothing for [`OVERFLOW`].
    pub fn place(&self, number: u16) -> Option<Arc<ZoneStat>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.places.get(usize::from(number).checked_sub(1)?).cloned()
    }
}

impl ZoneNumbers {
    fn find(&self, is_rule: bool, name: &NameKey, vpc: Option<&str>) -> Option<u16> {
        // a map by `Option<String>` cannot be asked with a borrowed text; VPCs are few
        let of_vpc = self.numbers.iter().find(|(other, _)| other.as_deref() == vpc)?.1;
        of_vpc[usize::from(is_rule)].get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;

    fn key(name: &str) -> NameKey {
        NameKey::of(&parse(name).unwrap())
    }

    #[test]
    fn a_place_keeps_its_number_and_has_its_own() {
        let places = ZoneStats::default();
        let first = places.number(false, &key("a.example"), Some("vpc-1"));
        assert_eq!(first, places.number(false, &key("a.example"), Some("vpc-1")));
        let others = [
            places.number(true, &key("a.example"), Some("vpc-1")),
            places.number(false, &key("a.example"), Some("vpc-2")),
            places.number(false, &key("a.example"), None),
            places.number(false, &key("b.example"), Some("vpc-1")),
        ];
        assert_eq!((first, others), (1, [2, 3, 4, 5]));
        assert_eq!(places.place(3).unwrap().vpc.as_deref(), Some("vpc-2"));
        assert!(places.place(OVERFLOW).is_none() && places.place(6).is_none());
    }

    #[test]
    fn there_are_only_so_many() {
        let places = ZoneStats::default();
        let last =
            (1..CHUNK * CHUNKS).map(|n| places.number(false, &key(&format!("z{n}.example")), None)).max();
        assert_eq!(last, Some((CHUNK * CHUNKS - 1) as u16));
        assert_eq!(places.number(false, &key("one.more"), None), OVERFLOW);
    }

    #[test]
    fn a_mark_keeps_its_parts() {
        for service in [AnswerSource::Other, AnswerSource::Zone, AnswerSource::Rule, AnswerSource::Local] {
            for share in CacheResult::ALL {
                let mark = StatKey::from_bits(StatKey::new(65_535, service, share).bits());
                assert_eq!((mark.place(), mark.service(), mark.share()), (65_535, service, share));
            }
        }
    }
}
