//! Upstream servers: sends queries and waits for their answers.
//!
//! ```text
//!  UpstreamQuery ─▶ Inflight ─▶ Group::exchange ─▶ attempt ─▶ transaction::ask ─▶ transport ─▶ the server
//!                  one per      who, in which      health     UDP, then what its    sockets
//!                  question     order, how long    is noted   reply calls for
//! ```
//!
//! A [`Group`] is a list of servers with a [`Strategy`]. [`Group::exchange`] runs a staggered race among them
//! (`exchange.rs`) in the order `policy.rs` gives; the state of each server is in [`Server`] (`health.rs`: availability
//! and speed; `capabilities.rs`: query options). A transaction with one server (`transaction.rs`) starts over UDP and
//! switches to TCP after a truncated or suspicious reply; `wire.rs` writes queries and classifies replies;
//! `transport.rs` has the sockets and is the place for new transports (`network.rs`: tests may replace the network);
//! `stream/` keeps TCP and TLS connections open, `tls.rs` verifies certificates.
//!
//! `transfer/` fetches secondary zones from their primaries, without groups.
//!
//! In addition: [`Inflight`] merges identical queries, [`LoopDetector`] disables a server in a forwarding loop.
//!
//! This module neither caches nor determines the client's answer.

pub mod address;
mod capabilities;
mod exchange;
mod failure;
mod group;
mod health;
mod inflight;
mod loop_detector;
pub mod network;
mod policy;
pub mod random;
mod server;
mod stream;
mod tls;
mod transaction;
pub mod transfer;
mod transport;
pub mod udp_pool;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use crate::base::clock::instant as now;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

pub use address::{AddressError, ServerAddress, Transport};
pub use failure::{Attempt, AttemptError, Failure, FailureKind};
pub use group::{Group, GroupOptions};
pub use health::ServerHealth;
pub use inflight::{Inflight, NotJoined};
pub use loop_detector::LoopDetector;
pub use policy::Strategy;
pub use server::{Server, ServerCounts, ServerSnapshot};
pub use tls::{Trust, read_roots as roots};

/// A query for a group of servers. The case of the name is irrelevant: it is randomised on the way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamQuery {
    /// The query name.
    pub name: Name,
    /// The query type; the class is always IN.
    pub rtype: RecordType,
    /// The DO bit: requests DNSSEC records.
    pub dnssec_ok: bool,
    /// The CD bit: disables validation by the server.
    pub checking_disabled: bool,
}

/// An answer: NOERROR (with or without data) or NXDOMAIN.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message. QR, opcode, id and question are verified; it is never truncated by UDP. Only Extended DNS Errors of
    /// the server's EDNS options are kept.
    pub message: Message,
    /// The server that answered.
    pub server: ServerAddress,
    /// From the start of the exchange to the answer.
    pub elapsed: Duration,
    /// The answer came over TCP or TLS.
    pub over_tcp: bool,
}
