//! The lab: PrivateZone and one API behind it on this machine alone, without a network.
//!
//! ```text
//!                    ┌ names of private zones ─ answered
//!  client ─ DNS ─▶ pvtzd
//!                    └ all others ─▶ world: what the public DNS and a VPC's own resolvers would say
//!
//!  client ─ HTTP, HTTPS ─▶ stub: ECS, STS and the location service, signatures verified
//! ```
//!
//! Nothing here is part of the sidecar: the lab is what stands around it elsewhere.

pub mod access_key;
mod apis;
pub mod ca;
mod client;
pub mod credentials;
pub mod fake_dns;
pub mod instance;
pub mod location;
pub mod metadata;
mod pkcs12;
pub mod products;
mod regions;
pub mod running;
pub mod state;
pub mod sts;
pub mod trust;
pub mod up_record;
pub mod walkthrough;

/// The account that every key of the lab belongs to.
pub(crate) const ACCOUNT: &str = "1000000000000000";
