//! PrivateZone's own API, as its official clients speak it: RPC over HTTP, signed.
//!
//! ```text
//!  HTTP ─▶ request: the three shapes become one Call ─▶ gateway: key, time, signature, nonce ─▶ a Service
//!                                                                                                  │
//!  HTTP ◀─ reply: JSON or XML ◀──────────────────────────────────────────── Answer or ApiError ◀───┘
//! ```
//!
//! The gateway knows nothing of zones: the lab's stub of other products' APIs is a [`ApiService`] too.

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

pub use error::ApiError;
pub use gateway::Gateway;
pub use keys::{AccessKey, Keys};
pub use params::Params;
pub use reply::ApiReply;

use serde_json::{Map, Value};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::SystemTime;

/// A request that passed the gateway: who it is and that it is whole is settled.
#[derive(Clone, Debug)]
pub struct Call {
    /// The action as the client spells it. Names are compared without regard to case.
    pub action: String,
    /// The API version, such as `2018-01-01`.
    pub version: String,
    /// The parameters of query and body, those of the signature left out.
    pub params: Params,
    /// The id of the access key that signed; empty for a request without a signature, see [`ApiService::is_unsigned`].
    pub access_key: String,
    /// The security token of a temporary access key; it was found good.
    pub security_token: Option<String>,
    /// Where it came from.
    pub source: IpAddr,
    /// The `Host` header, an opaque string.
    pub host: String,
    /// When it came.
    pub now: SystemTime,
}

/// What an action returns: the fields beside `RequestId`, which the gateway adds.
pub type ActionAnswer = Result<Map<String, Value>, ApiError>;

/// The actions behind a gateway, for callers within this process: who calls is settled.
pub trait ActionPort: Send + Sync + std::fmt::Debug {
    /// False for an action that only reads.
    fn is_change(&self, version: &str, action: &str) -> bool;

    /// Carries out one call, as for a request that passed the gateway.
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = ApiReply> + Send + '_>>;
}

/// A set of actions behind a gateway.
pub trait ApiService: Send + Sync + 'static {
    /// True for the API versions that are served; others are refused before the action is looked at.
    fn serves_version(&self, version: &str) -> bool;

    /// The name of an action as it is documented, to be counted under; [`calls::OTHER`] for what is none.
    fn known_action(&self, _: &str) -> &'static str {
        calls::OTHER
    }

    /// The temporary access keys that count beside the configured ones.
    fn temporary_keys(&self) -> Option<&dyn temporary::TemporaryKeys> {
        None
    }

    /// True for an action that is called without an access key and a signature.
    fn is_unsigned(&self, _version: &str, _action: &str) -> bool {
        false
    }

    /// False for an action that only reads.
    fn is_change(&self, _version: &str, _action: &str) -> bool {
        true
    }

    /// Octets that a request's body may have.
    fn body_limit(&self) -> usize {
        1 << 20
    }

    /// Carries out one call. Once begun it is carried to its end, even if the client hangs up.
    fn call(&self, call: Call) -> impl Future<Output = ActionAnswer> + Send;
}
