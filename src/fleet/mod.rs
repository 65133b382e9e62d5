//! A fleet: rows in etcd, from which every node takes them and into which nodes with an API write.
//!
//! ```text
//!  api/actions/writer ─▶ writer (transactions, held against the head) ─▶ client ─▶ etcd
//!         │ one state ◀── follower ◀─ watch (its answers to actions, pure) ◀─┘
//!         └──▶ state (replica: what is in force) ─▶ publish;  snapshot, the rows in a file
//! ```
//!
//! - `client` over `connection` (HTTP/2, gRPC), `messages` and `protobuf`: what is spoken with etcd; `tls`.
//! - `row`: rows to keys and values and back; `head` and `answer`: the keys, and the values beside the rows.
//! - `replica`, `watch`, `pace`: decisions, without clock and I/O.
//! - `view`: how a node stands.
//! - `state`, `follower` with `compare`, `writer` with `redo` and `token`, `snapshot`, `node`: what happens when.
//!
//! No query waits for anything here: what is served is what was published last.

mod answer;
pub mod client;
mod compare;
mod connection;
pub mod follower;
pub mod head;
pub mod messages;
pub mod node;
mod pace;
mod protobuf;
mod redo;
pub mod replica;
pub mod row;
pub mod snapshot;
pub mod state;
mod tls;
mod token;
mod view;
pub mod watch;
pub mod writer;

pub use answer::{SharedAnswer, SharedToken};
pub use client::EtcdClient;
pub use connection::EtcdError;
pub use head::FleetKeys;
pub use node::{FleetNode, PreparedFleet};
pub use state::{FleetPhase, FleetState, FleetView};
pub use writer::{CommitFailure, FleetWriter};
