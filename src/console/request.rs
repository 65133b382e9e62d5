//! What a request of a page says, and the call of the API that it becomes.

use super::reply::CallRefusal;
use crate::api::{Call, Params, actions};
use crate::http::pages::PageRequest;
use hyper::header::AUTHORIZATION;
use serde::Deserialize;
use std::net::IpAddr;
use std::time::SystemTime;

/// Who changes what the console changes, in the change log.
const CREATOR: &str = "console";

/// A call of the API by the console.
pub(super) fn api_call(action: String, params: Params, source: IpAddr) -> Call {
    Call {
        action,
        version: actions::VERSION.into(),
        params,
        access_key: CREATOR.into(),
        security_token: None,
        source,
        host: String::new(),
        now: SystemTime::now(),
    }
}

/// The token of a request.
pub(super) fn token(request: &PageRequest) -> Option<&str> {
    request.headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// What a request says.
pub(super) fn body<'r, T: Deserialize<'r>>(request: &'r PageRequest) -> Result<T, CallRefusal> {
    serde_json::from_slice(&request.body).map_err(|error| CallRefusal::invalid(format!("the body: {error}")))
}
