//! Shell to servers: everything that sends a query upstream and waits for its answer.
//!
//! ```text
//!  UpstreamQuery ─▶ Inflight ─▶ Group::exchange ─▶ attempt ─▶ transaction::ask ─▶ transport ─▶ the server
//!                  one per      who, in which      health     UDP, then what its    sockets
//!                  question     order, how long    is noted   reply calls for
//! ```
//!
//! A [`Group`] is a list of servers with a [`Strategy`]. [`Group::exchange`] runs a staggered race among them
//! (`exchange.rs`) in the order `policy.rs` gives; what is known of each server lives in [`Server`]
//! (`health.rs`: is it up, how fast; `capabilities.rs`: how it is asked). A transaction with one server
//! (`transaction.rs`) begins over UDP and moves to TCP when a reply is cut or looks forged; `wire.rs` writes
//! queries and judges replies; `transport.rs` has the sockets, and is where a new transport goes (`network.rs`: a test
//! may bring its own network); `stream/` keeps
//! TCP and TLS connections open, `tls.rs` says whose certificates count.
//!
//! Secondary zones come in over `transfer/`, which asks primaries and not groups.
//!
//! Beside the path of a query: [`Inflight`] merges identical questions, [`LoopDetector`] sets aside a server in a
//! forwarding loop.
//!
//! This module neither caches nor decides what a client gets to see.

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
pub use tls::Trust;

/// A query for a group of servers. The case of the name is irrelevant: it is randomised on the way out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamQuery {
    /// The name asked for.
    pub name: Name,
    /// The type asked for; the class is always IN.
    pub rtype: RecordType,
    /// The DO bit: DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The CD bit: the server should not validate for us.
    pub checking_disabled: bool,
}

/// An answer: NOERROR (with or without data) or NXDOMAIN.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message. QR, opcode, id and question were checked; it is never truncated by UDP.
    /// Of the server's EDNS options only Extended DNS Errors are left.
    pub message: Message,
    /// Who answered.
    pub server: ServerAddress,
    /// From the start of the exchange to the answer.
    pub elapsed: Duration,
    /// The answer came over TCP or TLS.
    pub over_tcp: bool,
}
