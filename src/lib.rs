//! pvtzd: a local DNS sidecar that does what Alibaba Cloud PrivateZone does.
#![forbid(unsafe_code)]

pub mod upstream;
