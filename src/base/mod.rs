//! Foundations without DNS policy: clock, files, output, timestamps, connections, pending octets, owners of ports.

#[macro_use]
pub mod print;
pub mod accept;
pub mod address_set;
pub mod auxiliary;
pub mod client_form;
pub mod client_key;
pub mod clock;
pub mod closer;
pub mod connections;
pub mod data_files;
pub mod file;
pub mod http2;
pub mod local_address;
pub mod octets;
pub mod parallel;
pub mod port_owner;
pub mod readiness;
pub mod stream;
pub mod task;
pub mod terminal;
pub mod timestamp;
