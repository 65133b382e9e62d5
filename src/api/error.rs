//! Refusals of the API: HTTP status, code, message.
//!
//! The codes are PrivateZone's own where a page or an official client names them, and the gateway's usual ones
//! elsewhere. Clients compare them: Terraform also matches a code that begins with the expected one, so none is empty
//! or a prefix of another.

use std::borrow::Cow;
use std::fmt;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The code, for programs.
    pub code: Cow<'static, str>,
    /// The message, for people.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// A refusal with status 400.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    /// The same with a message of at most this many octets: a message may repeat much of what the caller sent.
    pub fn cut_to(mut self, most: usize) -> Self {
        if self.message.len() > most {
            let mut end = most;
            while !self.message.is_char_boundary(end) {
                end -= 1;
            }
            self.message = format!("{}… ({} octets in all)", &self.message[..end], self.message.len()).into();
        }
        self
    }

    /// The same with another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// A mandatory parameter is absent: `MissingZoneId`.
    pub fn missing(parameter: &str) -> Self {
        Self::new(format!("Missing{parameter}"), format!("{parameter} is mandatory for this action."))
    }

    /// A parameter has a value that is not valid. The message has value and reason.
    pub fn invalid(parameter: &str, why: impl fmt::Display) -> Self {
        Self::new(
            "InvalidParameter",
            format!("The specified value of parameter {parameter} is not valid: {why}."),
        )
    }

    /// An action that is not served.
    pub fn unknown_action() -> Self {
        Self::new("InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
            .with_status(404)
    }

    /// An internal failure; the log has the details.
    pub fn internal() -> Self {
        Self::new(
            "InternalError",
            "The request processing has failed due to some unknown error, exception or failure.",
        )
        .with_status(500)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
