//! Where the connections to a server lead.

use std::sync::Arc;

use super::endpoint::Endpoint;
use crate::upstream::Transport;
use crate::upstream::network::Network;
use crate::upstream::tls::Trust;

/// Where connections lead, and what is spoken on them.
#[derive(Clone, Debug)]
pub(super) struct StreamTarget {
    /// Where the server listens.
    pub(super) place: Endpoint,
    /// What is spoken.
    pub(super) transport: Transport,
    /// Who says what its certificate is worth.
    pub(super) trust: Option<Arc<Trust>>,
    /// The network that leads there.
    pub(super) network: Network,
}
