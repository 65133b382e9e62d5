//! Sockets and connections of clients.
//!
//! [`udp`], [`tcp`] and [`encrypted`] (TLS, HTTPS, QUIC, HTTP/3) move packets and limit the resources of a client;
//! [`crate::resolve`] determines the answers.

pub mod activation;
pub mod certificate;
mod connection_service;
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
mod quic;
pub mod tcp;
pub mod udp;
