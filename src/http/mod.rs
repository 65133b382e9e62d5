//! What all HTTP/1 listeners share: the PrivateZone API, metrics and health, and those of the lab.
//!
//! [`browser`] refuses requests that a browser sent for another site's page. [`stream`] bounds the octets that wait
//! on a connection, in both directions, and ends one whose peer takes nothing. [`server`] answers the requests of a
//! connection; [`crate::base::accept`] accepts it. [`pages`] has a place for pages beside the API.

pub mod browser;
pub mod client;
pub mod pages;
pub mod server;
pub mod stream;
