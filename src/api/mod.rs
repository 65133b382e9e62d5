//! The PrivateZone API in the protocol of its official clients: signed RPC over HTTP.
//!
//! ```text
//!  HTTP ─▶ request: the three shapes become one Call ─▶ gateway: key, time, signature, nonce ─▶ a Service
//!                                                                                                  │
//!  HTTP ◀─ reply: JSON or XML ◀──────────────────────────────────────────── Answer or ApiError ◀───┘
//! ```
//!
//! The gateway does not depend on zones: the lab's APIs of other products are [`ApiService`]s too.

pub mod actions;
pub mod calls;
pub mod client;
pub mod console_access;
pub mod document;
mod error;
pub mod gateway;
pub mod http;
pub mod keys;
mod nonce;
mod params;
mod reply;
pub mod request;
pub mod server;
pub mod sign;
pub mod signer;
pub mod sources;
pub mod temporary;
mod toml_document;

pub use error::ApiError;
pub use gateway::Gateway;
pub use keys::{AccessKey, Keys};
pub use params::Params;
pub use reply::ApiReply;

use async_trait::async_trait;
use serde_json::{Map, Value};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::SystemTime;

/// A request that passed the gateway: authenticated and complete.
#[derive(Clone, Debug)]
pub struct Call {
    /// The action as sent by the client. The case of names does not matter.
    pub action: String,
    /// The API version, such as `2018-01-01`.
    pub version: String,
    /// The parameters of query and body, without those of the signature.
    pub params: Params,
    /// The id of the access key that signed; empty for a request without a signature, see [`ApiService::is_unsigned`].
    pub access_key: String,
    /// The verified security token of a temporary access key.
    pub security_token: Option<String>,
    /// The client's address.
    pub source: IpAddr,
    /// The `Host` header, an opaque string.
    pub host: String,
    /// The time of arrival.
    pub now: SystemTime,
}

/// The result of an action: the fields without `RequestId`, which the gateway adds.
pub type ActionAnswer = Result<Map<String, Value>, ApiError>;

/// The actions behind a gateway, for callers in this process, which need no signature.
pub trait ActionPort: Send + Sync + std::fmt::Debug {
    /// False for an action that only reads.
    fn is_change(&self, version: &str, action: &str) -> bool;

    /// Executes one call, as for a request that passed the gateway.
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = ApiReply> + Send + '_>>;
}

/// A set of actions behind a gateway.
#[async_trait]
pub trait ApiService: Send + Sync + 'static {
    /// True for the API versions that are served; the gateway refuses others.
    fn serves_version(&self, version: &str) -> bool;

    /// The documented name of an action, for the counters; [`calls::OTHER`] for an unknown one.
    fn known_action(&self, _: &str) -> &'static str {
        calls::OTHER
    }

    /// The temporary access keys that are accepted beside the configured ones.
    fn temporary_keys(&self) -> Option<&dyn temporary::TemporaryKeys> {
        None
    }

    /// True for an action that needs no access key and no signature.
    fn is_unsigned(&self, _version: &str, _action: &str) -> bool {
        false
    }

    /// False for an action that only reads.
    fn is_change(&self, _version: &str, _action: &str) -> bool {
        true
    }

    /// The longest body of a request, in octets.
    fn body_limit(&self) -> usize {
        1 << 20
    }

    /// The revision of the fleet that answers are taken from, where there is a fleet.
    fn revision(&self) -> Option<i64> {
        None
    }

    /// Executes one call. A call that has begun runs to its end even if the client disconnects.
    async fn call(&self, call: Call) -> ActionAnswer;
}
