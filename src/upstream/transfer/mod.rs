//! Secondary zones: copies of zones that other servers are primaries of, by AXFR (RFC 5936) and IXFR (RFC 1995).
//!
//! ```text
//!  NOTIFY ─▶ notify ─┐                    session ─▶ tsig ─▶ assemble ─▶ content ─▶ the zone that is served
//!  timers (schedule) ┴▶ secondary ─ asks ─┘ TCP       MACs    records     a copy, kept by saved
//! ```
//!
//! [`SecondaryZones`] is what the server knows of them. What a primary sends is bounded in octets, records and time, for
//! each zone and (`limits`) for all together, and is believed as far as it is a newer version of the zone.

pub mod assemble;
pub mod content;
pub mod copy;
pub mod limits;
pub mod notify;
mod refresh;
pub mod saved;
mod schedule;
pub mod secondary;
mod session;
mod tsig;
pub mod walk;

pub use assemble::{TransferContent, TransferFault};
pub use session::{Primary, TransferError};
pub use tsig::{TsigAlgorithm, TsigKey};

use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use secondary::SecondaryZone;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The secondary zones.
#[derive(Debug, Default)]
pub struct SecondaryZones {
    zones: ArcSwap<Vec<Arc<SecondaryZone>>>,
    /// NOTIFY messages that were not taken.
    refused: AtomicU64,
}

impl SecondaryZones {
    /// All of them, in the order of the configuration.
    pub fn all(&self) -> Arc<Vec<Arc<SecondaryZone>>> {
        self.zones.load_full()
    }

    /// Other zones.
    pub fn replace(&self, zones: Vec<Arc<SecondaryZone>>) {
        self.zones.store(Arc::new(zones));
    }

    /// True when there is one.
    pub fn any(&self) -> bool {
        !self.zones.load().is_empty()
    }

    /// Takes a NOTIFY: the answer and its code. Nothing for a packet without a header.
    pub fn notify(&self, packet: &[u8], peer: IpAddr) -> Option<(Vec<u8>, ResponseCode)> {
        let outcome = notify::answer(&self.zones.load(), packet, peer, session::wall_clock())?;
        outcome.zones.iter().for_each(|zone| zone.notify(peer));
        if outcome.zones.is_empty() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        Some((outcome.reply, outcome.rcode))
    }

    /// How many NOTIFY messages were not taken.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
