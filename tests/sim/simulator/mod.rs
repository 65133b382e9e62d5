//! A simulator of the whole, but for sockets: clients, the engine, both lanes, the cache, the upstream shell with its
//! races and its health, and a network that loses, delays, doubles and forges. All of it on one thread with a clock
//! that moves by itself, so that a run is a function of its choices: a seed, or a fuzzer's bytes.
//!
//! ```text
//!  dice ─▶ world ─▶ run ─▶ client ─▶ Lane::serve ─▶ at_once ─▶ in_time ─▶ exchange ─▶ network ─▶ servers
//!            │       │        │          the program's own code, as it is                │
//!            └ plan ─┘        └──── invariants ◀──── claims ◀──── book ◀────────────────┘
//! ```
//!
//! `plan` knows a second time what a configuration means, `book` what was truly said; `claims` holds an answer against
//! both. Relays (`upstream/relay/`) have sockets of the kernel's and are no part of it.

mod book;
mod claims;
mod client;
pub mod dice;
mod held;
mod invariants;
mod network;
mod plan;
pub mod program;
pub mod run;
mod servers;
mod streams;
mod world;
mod written;
