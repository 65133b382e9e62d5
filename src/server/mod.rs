//! Shell to clients: sockets, connections, and the life of a query between them.
//!
//! [`udp`], [`tcp`] and [`secured`] (TLS, HTTPS, QUIC, HTTP/3) move packets and bound what one client can take;
//! `handle` is the story of a query; `hear` is where it meets the cache and the upstream groups.

pub mod activation;
pub mod certificate;
pub mod connections;
mod datagram;
pub mod encrypted;
#[cfg(feature = "http3")]
mod http3;
#[cfg(feature = "http3")]
mod http3_streams;
mod https;
pub mod listen;
pub mod pending;
mod pipeline;
pub mod port_owner;
mod quic;
pub mod tcp;
pub mod udp;
