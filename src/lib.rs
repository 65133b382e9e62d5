//! pvtzd: a local DNS sidecar that does what Alibaba Cloud PrivateZone does.
//!
//! ```text
//!  packet ─▶ resolve::fast_path: is its answer finished already? ── yes ─▶ patch id, case, TTL ─▶ packet
//!                 │ no
//!                 ▼
//!  resolve::query: Request::parse ─▶ screen ─▶ chain: decide ──┬─ zone, special name ────────────┐
//!                                              ▲              └─ forward ─▶ cache ─┬─ fresh ────┤
//!                                              │                                   ├─ stale ─┐  ▼
//!                                              └── a CNAME: from the top ◀─ keep ◀─ ask ◀────┘ finish ─▶ packet
//!                                                                                   │
//!                                    upstream: relay (the usual case), exchange (all others)
//!
//!  config, metadata, resolv.conf ─▶ publish::build ─▶ one immutable Published, swapped whole by the daemon
//! ```
//!
//! [`engine`] decides and does nothing else; [`serve`], [`upstream`], [`control`], [`host`] and [`ops`] do; [`state`]
//! holds what is live; [`config`] is the border to the file, [`cli`] the border to people; [`daemon`] is the running server,
//! [`mod@print`] writes to standard output and standard error.
#![forbid(unsafe_code)]
// First: its macros are known to the modules that follow.
#[macro_use]
pub mod base;

pub mod account;
pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod host;
pub mod http;
pub mod lab;
pub mod publish;
pub mod resolve;
pub mod server;
pub mod stats;
pub mod store;
pub mod upstream;
