//! The machine we run on: what its cloud says of it, whom its programs ask, and whether all of that fits together.

pub mod doctor;
pub mod follow;
pub mod metadata;
pub mod resolv_conf;
pub mod resolver;
pub mod system_servers;
pub mod unit;
