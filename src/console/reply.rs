//! What the console answers: JSON, a refusal in the form of the API's, or a line of text.

use crate::api::console_access::ConsoleRole;
use crate::http::pages::{PageBody, PageResponse};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What a call comes to.
pub(super) type Told = Result<Value, CallRefusal>;

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct CallRefusal {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
}

impl CallRefusal {
    /// With a status, a word for the page, and a sentence.
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// Something in the request is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message)
    }

    /// Others are at it.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Busy", message)
    }
}

/// A role as the page knows it.
pub(super) fn word(role: ConsoleRole) -> &'static str {
    match role {
        ConsoleRole::Full => "full",
        ConsoleRole::Read => "read",
    }
}

/// A refusal, in the form of the API's own.
pub(super) fn refused(refusal: &CallRefusal) -> PageResponse {
    let told = json!({ "Code": refusal.code, "Message": refusal.message });
    made(refusal.status, told.to_string().into_bytes())
}

/// JSON.
pub(super) fn made(status: StatusCode, octets: Vec<u8>) -> PageResponse {
    let mut response = Response::new(PageBody::Made(octets));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A line of text.
pub(super) fn text(status: StatusCode, text: &str) -> PageResponse {
    let mut response = made(status, format!("{text}\n").into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
