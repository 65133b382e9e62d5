//! The life of a query, from its octets to those of its answer: admission, packet cache, private zones, cache, upstream
//! servers. Knows no socket of a client.

pub mod answers;
pub mod books;
pub mod cache;
pub mod guard;
pub mod handle;
pub mod hear;
pub mod lane;
pub mod limits;
pub mod rate;
pub mod shared;
pub mod snapshot;
