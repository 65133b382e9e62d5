//! The machine we run on: what its cloud says of it.

pub mod metadata;
