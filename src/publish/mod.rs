//! Publication: builds one catalog with its upstream groups from configuration, metadata and the account of the API,
//! and replaces the former one as a whole.

pub mod build;
pub mod publisher;
