//! The gateway: who is it, is the request whole and new, and which service answers. In one order, in one place.
//!
//! Mandatory parameters, form of the timestamp, clock skew, key, signature, nonce, version; then the service has
//! it. It knows neither actions nor sockets, and the time is an argument.

use super::calls::{Calls, OTHER};
use super::keys::Keys;
use super::nonce::{self, NonceFault, Nonces, SKEW};
use super::reply::{self, Reply};
use super::request::{Format, HttpRequest, Request};
use super::{Answer, ApiError, Call, Service, timestamp};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

/// A service behind its gateway.
pub struct Gateway<S> {
    /// Who answers.
    service: Arc<S>,
    /// Who may ask. Replaced whole by a reload.
    keys: RwLock<Arc<Keys>>,
    /// What was asked.
    nonces: Mutex<Nonces>,
    /// What was called how often.
    calls: Arc<Calls>,
}

impl<S: Service> Gateway<S> {
    /// A gateway for a service that accepts these keys.
    pub fn new(service: Arc<S>, keys: Keys) -> Self {
        let nonces = Mutex::new(Nonces::new(nonce::MOST));
        Self { service, keys: RwLock::new(Arc::new(keys)), nonces, calls: Arc::default() }
    }

    /// Accepts these keys from here on, and no others.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// What was called how often.
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Octets that a body may have.
    pub fn body_limit(&self) -> usize {
        self.service.body_limit()
    }

    /// Answers one request. A call that reached the service is carried to its end even if nobody waits for it any
    /// more: a client that hangs up must not leave half a change.
    pub async fn handle(&self, http: &HttpRequest, source: IpAddr, now: SystemTime) -> Reply {
        let host = http.header("host").unwrap_or_default();
        let request = match Request::read(http) {
            Ok(request) => request,
            Err(error) => {
                self.calls.count(OTHER, error.status);
                return reply::refusal(Format::Json, &error, &host);
            }
        };
        let format = request.format;
        let mut known = OTHER;
        let answer = match self.admit(request, http, source, now) {
            Ok(call) => {
                let action = call.action.clone();
                known = self.service.known_action(&action);
                self.carry_out(call).await.map(|fields| reply::success(format, &action, fields))
            }
            Err(error) => Err(error),
        };
        let reply = answer.unwrap_or_else(|error| {
            tracing::debug!(%source, code = %error.code, "refused a request of the API");
            reply::refusal(format, &error, &host)
        });
        self.calls.count(known, reply.status);
        reply
    }

    /// The checks, in their order.
    fn admit(
        &self,
        request: Request,
        http: &HttpRequest,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Call, ApiError> {
        let claim = request.claim(http)?;
        let sent = timestamp::parse(&claim.timestamp).ok_or_else(|| {
            ApiError::new(
                "InvalidTimeStamp.Format",
                "Specified time stamp or date value is not well formatted.",
            )
        })?;
        let skew = now.duration_since(sent).unwrap_or_else(|ahead| ahead.duration());
        if skew > SKEW {
            return Err(ApiError::new(
                "InvalidTimeStamp.Expired",
                "Specified time stamp or date value is expired.",
            ));
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = keys.find(&claim.key).ok_or_else(|| {
            ApiError::new("InvalidAccessKeyId.NotFound", "Specified access key is not found.")
                .with_status(404)
        })?;
        request.verify(&claim, http, key.secret())?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.admit(&key.id, &claim.nonce, sent, now).map_err(|fault| match fault {
            NonceFault::Used => {
                ApiError::new("SignatureNonceUsed", "Specified signature nonce was used already.")
            }
            NonceFault::Full => {
                ApiError::new("Throttling.User", "Request was denied due to user flow control.")
            }
        })?;
        drop(nonces);
        if !self.service.serves_version(&claim.version) {
            return Err(ApiError::new("InvalidVersion", "Specified parameter Version is not valid."));
        }
        Ok(Call {
            action: claim.action,
            version: claim.version,
            params: request.into_params(),
            access_key: key.id.clone(),
            source,
            host: http.header("host").unwrap_or_default(),
            now,
        })
    }

    /// Has the service answer. Its panic is this call's failure and nobody else's.
    async fn carry_out(&self, call: Call) -> Answer {
        let (service, action) = (self.service.clone(), call.action.clone());
        let task = tokio::spawn(async move { service.call(call).await });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%action, %error, "a call of the API failed by a defect of pvtzd");
            Err(ApiError::internal())
        })
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
