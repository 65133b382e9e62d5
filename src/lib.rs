//! pvtzd: a local DNS sidecar that does what Alibaba Cloud PrivateZone does.
//!
//! ```text
//!  packet ─▶ resolve::fast_path: is its answer in the packet cache? ── yes ─▶ patch id, case, TTL ─▶ packet
//!                 │ no
//!                 ▼
//!  resolve::query: Request::parse ─▶ precheck ─▶ chain: decide ─┬─ zone, special name ─────────────────┐
//!                                                 ▲             └─ forward ─▶ resolve::lookup: cache ──┤
//!                                                 │                              │ miss                ▼
//!                                                 └── a CNAME: from the top ◀─ upstream ───────────▶ finish ─▶ packet
//!
//!  config, metadata, resolv.conf ─▶ publish::build ─▶ one immutable ActiveConfig, swapped whole by publish::publisher
//! ```
//!
//! [`engine`] decides and does nothing else. [`server`] holds the sockets of clients, [`resolve`] the life of a query,
//! [`upstream`] the servers that are asked. [`config`] reads the file, [`publish`] puts it into force, [`api`] is the
//! PrivateZone API, [`admin`] is for the operator, [`host`] for the machine, [`console`] has the pages, [`cli`] is for people; [`daemon`] is the
//! running server.
#![forbid(unsafe_code)]
// First: its macros are known to the modules that follow.
#[macro_use]
pub mod base;

pub mod account;
pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
pub mod console;
pub mod daemon;
pub mod engine;
pub mod fleet;
pub mod host;
pub mod http;
pub mod lab;
pub mod publish;
pub mod resolve;
pub mod server;
pub mod stats;
pub mod store;
pub mod upstream;
