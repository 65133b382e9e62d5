//! Publication: configuration, metadata and the account of the API become one catalog with its upstream groups, which
//! is swapped in whole.

pub mod build;
pub mod publisher;
