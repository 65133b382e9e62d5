//! The copy of a secondary zone, and what is served of it at a moment.

use super::content::{SoaRecord, ZoneContent};
use super::schedule::RefreshTimers;
use crate::engine::cache::Timestamp;
use crate::engine::name::NameKey;
use crate::engine::zone::{PackedZone, ZoneAvailability};

/// What is served of a secondary zone.
#[derive(Clone, Debug)]
pub struct ServedZone {
    /// The records; nothing before the first transfer.
    pub packed: Option<PackedZone>,
    /// Whether they are served.
    pub availability: ZoneAvailability,
}

/// The copy of a zone.
#[derive(Debug)]
pub struct ZoneCopy {
    /// The records; nothing while they are being worked on.
    pub(super) content: Option<Box<ZoneContent>>,
    /// Their SOA record.
    pub(super) soa: SoaRecord,
    /// The records as they are served.
    pub(super) packed: PackedZone,
    /// When a primary confirmed it.
    pub(super) confirmed: Timestamp,
}

impl ZoneCopy {
    /// A copy that a primary confirmed `age` seconds ago.
    pub fn new(content: ZoneContent, apex: &NameKey, age: u64, now: Timestamp) -> Self {
        let (packed, _) = content.pack(apex);
        let confirmed = Timestamp(now.0.saturating_sub(age.saturating_mul(1000)));
        Self { soa: content.soa.clone(), content: Some(Box::new(content)), packed, confirmed }
    }

    /// The timers of its SOA record.
    pub(super) fn timers(&self) -> RefreshTimers {
        RefreshTimers::of(self.soa.numbers())
    }

    /// When it expires.
    pub(super) fn expires(&self) -> Timestamp {
        self.timers().expires(self.confirmed)
    }

    /// What is served of it at a moment.
    pub fn served(&self, now: Timestamp) -> ServedZone {
        let is_good = now < self.expires();
        let availability = if is_good { ZoneAvailability::Ready } else { ZoneAvailability::Expired };
        ServedZone { packed: Some(self.packed.clone()), availability }
    }

    /// Its serial number.
    pub fn serial(&self) -> u32 {
        self.soa.serial()
    }
}
