//! Temporary access keys, such as STS issues: they come with a security token and end by themselves.
//!
//! The sidecar has none: there a security token is part of the text that is signed, and is not looked at beyond that.

use super::ApiError;
use std::time::SystemTime;

/// What every id of a temporary access key begins with.
pub const PREFIX: &str = "STS.";

/// Looks temporary access keys up.
pub trait TemporaryKeys: Send + Sync {
    /// The secret of the access key `id`, which came with this security token; nothing for an id that is no temporary
    /// key's and came without a token.
    ///
    /// # Errors
    /// The token is absent, malformed, at its end, or of another key.
    fn secret(&self, id: &str, token: Option<&str>, now: SystemTime) -> Result<Option<String>, ApiError>;
}

/// A temporary key came without its token.
pub fn missing() -> ApiError {
    ApiError::new("MissingSecurityToken", "SecurityToken is mandatory for this action.")
}

/// A text that is no token, or a token that was changed.
pub fn malformed() -> ApiError {
    ApiError::new("InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
}

/// A token that has ended.
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
