//! The shared part of all HTTP/1 listeners: the PrivateZone API, metrics and health, and those of the lab.
//!
//! [`browser`] refuses requests that a browser sent for another site's page. [`stream`] bounds the pending octets
//! of a connection, in both directions, and ends one whose peer reads nothing. [`server`] answers the requests of a
//! connection; [`crate::base::accept`] accepts it. [`pages`] is the interface for pages beside the API.

pub mod browser;
pub mod client;
pub mod pages;
pub mod server;
pub mod stream;
