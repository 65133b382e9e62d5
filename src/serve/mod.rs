//! Shell to clients: sockets, connections, and the life of a query between them.
//!
//! [`udp`] and [`tcp`] move packets and bound what one client can take; `handle` is the story of a query;
//! `hear` is where it meets the cache and the upstream groups.

mod datagram;
pub mod errands;
pub mod handle;
pub mod hear;
pub mod holder;
pub mod lane;
pub mod listen;
pub mod tcp;
pub mod udp;
