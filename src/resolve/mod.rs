//! The path of a query, from its octets to those of its answer: admission, packet cache, private zones, cache, upstream
//! servers. Does not use client sockets.

pub mod accounting;
pub mod bound;
pub mod cache;
pub mod cache_entry;
mod cache_packet;
pub mod fast_path;
pub mod guard;
pub mod limits;
pub mod lookup;
pub mod packet_cache;
pub mod query;
mod query_context;
pub mod retain_refresh;
pub mod retained;
pub mod rrl;
pub mod shared;
pub mod snapshot;

#[cfg(test)]
#[path = "fixture_tests.rs"]
pub(crate) mod fixture;
