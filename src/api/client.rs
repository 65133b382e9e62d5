//! A client of the API, for pvtzd's own command line and the lab: one signed request, one answer.
//!
//! It uses HTTP to an address, plain or over TLS, signs by ACS3, and sends the parameters in a form body, or in the
//! query if the body is a JSON document. It does not repeat a request: not every action may run twice.

use super::keys::AccessKey;
use super::signer::{self, SignaturePlace, SigningOrder};
use super::{ApiError, Params};
use crate::http::client::{exchange, fetch};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Map, Value};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The longest answer, in octets: an export of everything.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// The address of the API and the access key.
#[derive(Clone, Debug)]
pub struct ApiClient {
    /// Where it listens.
    pub address: SocketAddr,
    /// The `Host` of requests: its name, or the address.
    pub host: String,
    /// The access key that signs requests.
    pub key: AccessKey,
    /// The trusted certificates of TLS. None: plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
    /// The timeout of a call.
    pub timeout: Duration,
}

/// The reason why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// No answer from the address, a timeout, or not HTTP.
    Unreachable(SocketAddr, io::Error),
    /// The API refused the call; the second part is the request id.
    Refused(ApiError, String),
    /// The server at the address is not the API; this is the HTTP status.
    NotTheApi(SocketAddr, u16),
}

impl ApiClient {
    /// Calls an action. The answer has `RequestId` among its fields.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        version: &str,
        action: &str,
        params: &Params,
    ) -> Result<Map<String, Value>, CallError> {
        self.call_with(version, action, params, None).await
    }

    /// Calls an action with a JSON document as the body.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_with(
        &self,
        version: &str,
        action: &str,
        params: &Params,
        document: Option<String>,
    ) -> Result<Map<String, Value>, CallError> {
        let response = timeout(self.timeout, self.send(version, action, params, document))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| CallError::Unreachable(self.address, error))?;
        let (status, body) = response;
        let Ok(Value::Object(fields)) = serde_json::from_slice(&body) else {
            return Err(CallError::NotTheApi(self.address, status));
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        match fields.get("Code") {
            None if status == 200 => Ok(fields),
            Some(Value::String(code)) => {
                let error = ApiError::new(code.clone(), text("Message")).with_status(status);
                Err(CallError::Refused(error, text("RequestId")))
            }
            _ => Err(CallError::NotTheApi(self.address, status)),
        }
    }

    /// Sends a request; returns status and body of the response.
    async fn send(
        &self,
        version: &str,
        action: &str,
        params: &Params,
        document: Option<String>,
    ) -> io::Result<(u16, Bytes)> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let nonce = data_encoding::HEXLOWER.encode(&random);
        let order = SigningOrder { action, version, params, now: SystemTime::now(), nonce: &nonce };
        let signed = match document {
            None => signer::acs3(&order, SignaturePlace::Form, &self.key, &self.host),
            Some(document) => signer::acs3_document(&order, document, &self.key, &self.host),
        };
        let target = if signed.query.is_empty() { "/".into() } else { format!("/?{}", signed.query) };
        let mut request = Request::builder().method(signed.method.as_str()).uri(target);
        for (name, value) in &signed.headers {
            request = request.header(name, value.as_slice());
        }
        let request = request.body(Full::new(Bytes::from(signed.body))).map_err(io::Error::other)?;
        let response = match &self.tls {
            None => fetch(self.address, request, MAX_RESPONSE_BYTES).await?,
            Some(trusted) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                let stream = TcpStream::connect(self.address).await?;
                let stream = TlsConnector::from(trusted.clone()).connect(name, stream).await?;
                exchange(Box::new(stream), request, MAX_RESPONSE_BYTES).await?
            }
        };
        Ok((response.status().as_u16(), response.into_body()))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(address, error) => write!(f, "the API at {address} does not answer: {error}"),
            Self::Refused(error, id) => write!(f, "{error} (request id {id})"),
            Self::NotTheApi(address, status) => {
                write!(
                    f,
                    "the server at {address} is not the PrivateZone API: it answers with HTTP status {status} and another body"
                )
            }
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(_, error) => Some(error),
            Self::Refused(error, _) => Some(error),
            Self::NotTheApi(..) => None,
        }
    }
}
