//! Temporary access keys, such as those of STS: they have a security token and expire.
//!
//! The sidecar has none: its security tokens are part of the signed text and have no other meaning.

use super::ApiError;
use std::time::SystemTime;

/// The prefix of the ids of temporary access keys.
pub const PREFIX: &str = "STS.";

/// Looks temporary access keys up.
pub trait TemporaryKeys: Send + Sync {
    /// The secret of the access key `id` with this security token; None for another kind of id without a token.
    ///
    /// # Errors
    /// The token is absent, malformed, expired, or of another key.
    fn secret(&self, id: &str, token: Option<&str>, now: SystemTime) -> Result<Option<String>, ApiError>;
}

/// A temporary key came without its token.
pub fn missing() -> ApiError {
    ApiError::new("MissingSecurityToken", "SecurityToken is mandatory for this action.")
}

/// A malformed or modified token.
pub fn malformed() -> ApiError {
    ApiError::new("InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
}

/// An expired token.
pub fn expired() -> ApiError {
    ApiError::new("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
}

/// A token of another access key.
pub fn mismatch() -> ApiError {
    let message = "Specified SecurityToken mismatch with the AccessKey.";
    ApiError::new("InvalidSecurityToken.MismatchWithAccessKey", message)
}

#[cfg(test)]
#[path = "temporary_tests.rs"]
mod tests;
