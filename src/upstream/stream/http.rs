//! DNS over HTTPS to a server (RFC 8484): one HTTP/2 connection, a stream for each question.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::{BodyExt, Limited};
use hyper::{Request, StatusCode, Uri, header};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::pki_types::ServerName;

use super::state::{ConnectionState, IDLE, StreamQuery, closed, watched};
use crate::base::http2::{self, RequestBody, RequestSender};
use crate::base::stream::BoxedStream;
use crate::engine::message::MAX_MESSAGE_BYTES;
use crate::upstream::AttemptError;
use crate::upstream::tls::HANDSHAKE_TIMEOUT;

/// The media type of DNS messages.
const MESSAGE: &str = "application/dns-message";

/// Sends queries as they arrive until one side closes the connection.
pub(super) async fn talk(
    stream: BoxedStream,
    name: &ServerName<'static>,
    path: &str,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    state: &Arc<ConnectionState>,
) -> AttemptError {
    let host = match name {
        ServerName::IpAddress(ip) => match std::net::IpAddr::from(*ip) {
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        },
        name => name.to_str().into_owned(),
    };
    let Ok(uri) = format!("https://{host}{path}").parse::<Uri>() else {
        return AttemptError::Local(format!("`{path}` is not a valid path"));
    };
    let (sender, connection) = match timeout(HANDSHAKE_TIMEOUT, http2::handshake(stream, None)).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return explain(&error),
        Err(_) => return AttemptError::TimedOut,
    };
    let mut connection = std::pin::pin!(connection);
    let mut idle_at = Instant::now() + IDLE;
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(question) = question else { return closed() };
                tokio::spawn(ask(sender.clone(), uri.clone(), question, state.clone()));
                idle_at = Instant::now() + IDLE;
            }
            ended = &mut connection => return ended.map_or_else(|error| explain(&error), |()| closed()),
            () = sleep_until(idle_at) => {
                if state.waiting.load(Ordering::Relaxed) == 0 {
                    return closed();
                }
                idle_at = Instant::now() + IDLE;
            }
        }
    }
}

/// One question. Its id is 0 on the way, so that caches on it can tell equal questions (RFC 8484 section 4.1).
async fn ask(sender: RequestSender, uri: Uri, question: StreamQuery, state: Arc<ConnectionState>) {
    let StreamQuery { mut message, reply } = question;
    let Some(id) = message.first_chunk::<2>().copied() else { return };
    message[..2].fill(0);
    let answer = watched(&state, exchange(sender, uri, message)).await;
    let answer = answer.map(|mut answer| {
        if answer.len() >= 2 {
            answer[..2].copy_from_slice(&id);
        }
        answer
    });
    let _ = reply.send(answer); // who has gone misses nothing
}

/// One request and its response.
async fn exchange(mut sender: RequestSender, uri: Uri, message: Vec<u8>) -> Result<Vec<u8>, AttemptError> {
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, MESSAGE)
        .header(header::ACCEPT, MESSAGE)
        .body(RequestBody::new(message))
        .map_err(|error| AttemptError::Local(error.to_string()))?;
    sender.ready().await.map_err(|error| explain(&error))?;
    let response = sender.send_request(request).await.map_err(|error| explain(&error))?;
    if response.status() != StatusCode::OK {
        return Err(AttemptError::Http(response.status().as_u16()));
    }
    let is_message = |value: &header::HeaderValue| value.as_bytes().starts_with(MESSAGE.as_bytes());
    if !response.headers().get(header::CONTENT_TYPE).is_some_and(is_message) {
        return Err(AttemptError::Garbled);
    }
    let body = Limited::new(response.into_body(), MAX_MESSAGE_BYTES).collect().await;
    Ok(body.map_err(|_| AttemptError::Garbled)?.to_bytes().to_vec())
}

/// What an error of HTTP is to a person.
fn explain(error: &hyper::Error) -> AttemptError {
    if error.is_timeout() { AttemptError::TimedOut } else { AttemptError::Network(format!("HTTP: {error}")) }
}
