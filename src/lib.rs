//! pvtzd: a local DNS sidecar that does what Alibaba Cloud PrivateZone does.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod host;
pub mod ops;
pub mod serve;
pub mod state;
pub mod upstream;
