//! Operations: what a person or a supervisor sees of the running server.

pub mod log;
