//! What is asked of the console, and what answers it.

use super::reply::{CallRefusal, made, refused, text, word};
use super::request::{api_call, body, token};
use super::{Console, PATH, assets, endpoint_check, guard, import, live_log, operations};
use crate::api::console_access::{CodeFault, ConsoleRole, SESSION_LIFE};
use crate::api::{ApiReply, Params, actions};
use crate::http::pages::{PageRequest, PageResponse};
use hyper::header::{ALLOW, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// Where pages ask.
const CALLS: &str = "api/";

/// Answers a request.
pub(super) async fn respond(console: &Console, request: PageRequest) -> PageResponse {
    if let Err((status, why)) = guard::check(&request, &console.hosts) {
        return text(status, why);
    }
    let Some(path) = request.uri.path().strip_prefix(PATH) else {
        let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
        response.headers_mut().insert(LOCATION, HeaderValue::from_static(PATH));
        return response;
    };
    let Some(name) = path.strip_prefix(CALLS).map(str::to_string) else {
        return match [Method::GET, Method::HEAD].contains(&request.method) {
            true => assets::page(path, &request.headers),
            false => only("GET, HEAD"),
        };
    };
    if request.method != Method::POST {
        return only("POST");
    }
    if let Err((status, why)) = guard::check_call(&request, &console.hosts) {
        return text(status, why);
    }
    match call(console, &name, &request).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

/// Octets that the body of a request may have beyond what is read for anybody: those of an import, for a session that
/// may change things. Settled by the head alone.
pub(super) fn long_body(console: &Console, request: &PageRequest) -> Option<usize> {
    let call = request.uri.path().strip_prefix(PATH)?.strip_prefix(CALLS)?;
    let is_import = call == import::CALL && request.method == Method::POST;
    let admitted =
        guard::check(request, &console.hosts).is_ok() && guard::check_call(request, &console.hosts).is_ok();
    let role = console.parts.access.session(token(request)?, Instant::now())?;
    (is_import && admitted && role == ConsoleRole::Full).then_some(import::MAX_REQUEST)
}

/// Answers a call.
async fn call(console: &Console, name: &str, request: &PageRequest) -> Result<PageResponse, CallRefusal> {
    let access = &console.parts.access;
    if name == "session" {
        return begin(console, request);
    }
    let unknown = || {
        let message = "the session is unknown or has ended: get a new address with `pvtzd console`";
        CallRefusal::new(StatusCode::UNAUTHORIZED, "NoSession", message)
    };
    let token = token(request).ok_or_else(unknown)?;
    let role = access.session(token, Instant::now()).ok_or_else(unknown)?;
    let told = match name {
        "session/end" => {
            access.end(token);
            Ok(json!({}))
        }
        "info" => operations::info(console, role),
        "call" => return carry_out(console, role, request).await,
        "status" => operations::status(console),
        "top" => operations::top(console, body(request)?),
        "explain" => operations::explain(console, &body(request)?),
        "cache" => operations::cache(console, body(request)?).await,
        "doctor" => operations::doctor(console).await,
        "flush" if role == ConsoleRole::Full => operations::flush(console, &body(request)?),
        "flush" => Err(read_only()),
        import::CALL if role == ConsoleRole::Full => import::import(console, request).await,
        import::CALL => Err(read_only()),
        "log" => live_log::read(console, body(request)?).await,
        "test" => endpoint_check::test(console, body(request)?).await,
        _ => Err(CallRefusal::new(StatusCode::NOT_FOUND, "NotFound", "there is no such call")),
    };
    Ok(made(StatusCode::OK, told?.to_string().into_bytes()))
}

/// Begins a session for a one-time code.
fn begin(console: &Console, request: &PageRequest) -> Result<PageResponse, CallRefusal> {
    #[derive(Deserialize)]
    struct Asked {
        code: String,
    }
    let Asked { code } = body(request)?;
    match console.parts.access.begin(&code, Instant::now()) {
        Ok((token, role)) => {
            tracing::info!(client = %request.peer, ?role, "a console session has begun");
            let told = json!({ "token": token, "role": word(role), "seconds": SESSION_LIFE.as_secs() });
            Ok(made(StatusCode::OK, told.to_string().into_bytes()))
        }
        Err(fault) => {
            tracing::warn!(client = %request.peer, ?fault, "a console code was refused");
            let (status, code, message) = match fault {
                CodeFault::Unknown => (
                    StatusCode::FORBIDDEN,
                    "BadCode",
                    "the code was used, or is older than five minutes: get a new address with `pvtzd console`",
                ),
                CodeFault::TooMany => {
                    (StatusCode::TOO_MANY_REQUESTS, "TooManyCodes", "too many wrong codes: wait a minute")
                }
            };
            Err(CallRefusal::new(status, code, message))
        }
    }
}

/// Carries out an action of the API.
async fn carry_out(
    console: &Console,
    role: ConsoleRole,
    request: &PageRequest,
) -> Result<PageResponse, CallRefusal> {
    #[derive(Deserialize)]
    struct Asked {
        action: String,
        #[serde(default)]
        params: BTreeMap<String, String>,
    }
    let Asked { action, params } = body(request)?;
    let port = &console.parts.actions;
    if role != ConsoleRole::Full && port.is_change(actions::VERSION, &action) {
        return Err(read_only());
    }
    if action.eq_ignore_ascii_case(crate::api::console_access::ACTION) {
        let message = "codes are issued only for signed calls";
        return Err(CallRefusal::new(StatusCode::FORBIDDEN, "Forbidden", message));
    }
    let params: Params = params.into_iter().collect();
    let call = api_call(action, params, request.peer);
    let ApiReply { status, body, .. } = port.call(call).await;
    Ok(made(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body))
}

/// A session that only looks wanted to change something.
fn read_only() -> CallRefusal {
    let message = "this console is read-only: `console` in [control], or the address was made by --read-only";
    CallRefusal::new(StatusCode::FORBIDDEN, "ReadOnly", message)
}

/// Another method than these.
fn only(methods: &'static str) -> PageResponse {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "not by this method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
