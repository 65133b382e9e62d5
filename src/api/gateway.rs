//! The gateway: authenticates a request, checks that it is complete and not a replay, and passes it to a service.
//!
//! The order: mandatory parameters, form of the timestamp, clock skew, key, signature, nonce, version; then the
//! service. It depends neither on actions nor on sockets, and the time is an argument.

use super::calls::{Calls, OTHER};
use super::keys::Keys;
use super::nonce::{self, NonceFault, Nonces, SKEW};
use super::reply::{self, ApiReply};
use super::request::{AnswerFormat, ApiRequest, AuthClaim, DIGEST, HttpRequest};
use super::{ActionAnswer, ActionPort, ApiError, ApiService, Call, sign, temporary};
use crate::base::task;
use crate::base::timestamp;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

/// Octets of a refusal's message for a caller without a verified signature.
const MAX_MESSAGE: usize = 4 << 10;

/// A service behind its gateway.
pub struct Gateway {
    /// The service.
    service: Arc<dyn ApiService>,
    /// The accepted access keys. A reload replaces them whole.
    keys: RwLock<Arc<Keys>>,
    /// Nonces of past requests.
    nonces: Mutex<Nonces>,
    /// Counters by action.
    calls: Arc<Calls>,
}

impl Gateway {
    /// A gateway for a service that accepts these keys.
    pub fn new(service: Arc<dyn ApiService>, keys: Keys) -> Self {
        let nonces = Mutex::new(Nonces::new(nonce::MAX_NONCES));
        Self { service, keys: RwLock::new(Arc::new(keys)), nonces, calls: Arc::default() }
    }

    /// Accepts these keys from here on, and no others.
    pub fn replace_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Counters by action.
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Octets that a body may have.
    pub fn body_limit(&self) -> usize {
        self.service.body_limit()
    }

    /// Answers one request. A call that reached the service runs to its end even if the client disconnects, so that no
    /// change is left half-done.
    pub async fn handle(&self, http: &HttpRequest, source: IpAddr, now: SystemTime) -> ApiReply {
        let admitted = match self.admit(http, source, now) {
            Ok(admitted) => admitted,
            Err(reply) => return reply,
        };
        match http.has_document() && !http.body.is_empty() {
            true => self.finish(admitted, http.body.clone()).await,
            false => self.carry_out(admitted).await,
        }
    }

    /// Answers a request that was admitted before its body was read: a JSON document, which becomes the parameter
    /// `Document`.
    pub async fn finish(&self, admitted: Admitted, body: Vec<u8>) -> ApiReply {
        let digest = admitted.digest.clone();
        // The digest of 16 MiB takes too long for a thread that serves others as well.
        let checked = task::spawn_blocking(move || {
            if digest.is_some_and(|digest| !digest.eq_ignore_ascii_case(&sign::sha256_hex(&body))) {
                let message =
                    "Specified signature is not matched with our calculation: the body has another digest.";
                return Err(ApiError::new("SignatureDoesNotMatch", message));
            }
            String::from_utf8(body)
                .map_err(|_| ApiError::new("InvalidParameter", "The JSON body is not UTF-8."))
        });
        match checked.await.unwrap_or_else(|_| Err(ApiError::internal())) {
            Ok(document) => {
                let mut admitted = admitted;
                admitted.call.params.insert_absent("Document", document);
                self.carry_out(admitted).await
            }
            Err(error) => self.refused(admitted.format, admitted.known, &error, &admitted.call.host),
        }
    }

    /// Settles whether a request may be carried out; its body may follow.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit(&self, http: &HttpRequest, source: IpAddr, now: SystemTime) -> Result<Admitted, ApiReply> {
        let host = http.header("host").unwrap_or_default();
        let refuse = |format, error: ApiError| {
            // Unauthenticated callers reach this point: their texts are not repeated at length.
            let error = error.cut_to(MAX_MESSAGE);
            tracing::debug!(%source, code = %error.code, "refused a request of the API");
            self.refused(format, OTHER, &error, &host)
        };
        let request = ApiRequest::read(http).map_err(|error| refuse(AnswerFormat::Json, error))?;
        let format = request.format;
        let call = self.check(request, http, source, now).map_err(|error| refuse(format, error))?;
        let known = self.service.known_action(&call.action);
        let digest = http.header(DIGEST).filter(|_| http.body_follows);
        Ok(Admitted { call, format, known, digest })
    }

    /// The refusal of an admitted request whose body did not come.
    pub fn give_up(&self, admitted: Admitted, error: &ApiError) -> ApiReply {
        self.refused(admitted.format, admitted.known, error, &admitted.call.host)
    }

    fn refused(&self, format: AnswerFormat, known: &'static str, error: &ApiError, host: &str) -> ApiReply {
        self.calls.count(known, error.status);
        reply::refusal(format, error, host)
    }

    /// The checks, in their order.
    fn check(
        &self,
        request: ApiRequest,
        http: &HttpRequest,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Call, ApiError> {
        if let Some((version, action)) = request.unsigned(http)
            && self.service.is_unsigned(&version, &action)
        {
            let params = request.params(http)?;
            let host = http.header("host").unwrap_or_default();
            let (access_key, security_token) = (String::new(), None);
            return Ok(Call { action, version, params, access_key, security_token, source, host, now });
        }
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
        let (secret, security_token) = self.secret(&request, &claim, http, now)?;
        request.verify(&claim, http, &secret)?;
        // The number of temporary keys has no bound: one bound holds for the nonces of all of them.
        let (share, nonce) = match &security_token {
            None => (claim.key.as_str(), claim.nonce.clone()),
            Some(_) => (temporary::PREFIX, format!("{}\0{}", claim.key, claim.nonce)),
        };
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.admit(share, &nonce, sent, now).map_err(|fault| match fault {
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
            params: request.params(http)?,
            access_key: claim.key,
            security_token,
            source,
            host: http.header("host").unwrap_or_default(),
            now,
        })
    }

    /// The secret of the key that a request names; and its security token, if the key is a temporary one.
    fn secret(
        &self,
        request: &ApiRequest,
        claim: &AuthClaim,
        http: &HttpRequest,
        now: SystemTime,
    ) -> Result<(String, Option<String>), ApiError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let lasting = keys.find(&claim.key).map(|key| key.secret().to_string());
        if let Some(temporary) = self.service.temporary_keys() {
            let token = request.security_token(claim, http)?;
            if lasting.is_none() || token.is_some() {
                let secret = temporary.secret(&claim.key, token.as_deref(), now)?;
                if let Some(secret) = secret {
                    return Ok((secret, token));
                }
            }
        }
        let secret = lasting.ok_or_else(|| {
            ApiError::new("InvalidAccessKeyId.NotFound", "Specified access key is not found.")
                .with_status(404)
        })?;
        Ok((secret, None))
    }

    /// Calls the service. A panic fails this call only.
    async fn carry_out(&self, admitted: Admitted) -> ApiReply {
        let Admitted { call, format, known, .. } = admitted;
        let (service, action, host) = (self.service.clone(), call.action.clone(), call.host.clone());
        let task = task::spawn(async move { service.call(call).await });
        let answer: ActionAnswer = task.await.unwrap_or_else(|error| {
            tracing::error!(%action, %error, "a call of the API failed by a defect of pvtzd");
            Err(ApiError::internal())
        });
        // Taken after the answer: it may be newer, and another node that waits for it has all that was read here.
        let revision = self.service.revision();
        let reply = match answer {
            Ok(fields) => {
                self.calls.count(known, 200);
                reply::success(format, &action, fields)
            }
            Err(error) => self.refused(format, known, &error, &host),
        };
        ApiReply { revision, ..reply }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl ActionPort for Gateway {
    fn is_change(&self, version: &str, action: &str) -> bool {
        self.service.is_change(version, action)
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = ApiReply> + Send + '_>> {
        let known = self.service.known_action(&call.action);
        Box::pin(self.carry_out(Admitted { call, format: AnswerFormat::Json, known, digest: None }))
    }
}

/// A request whose key, time, signature and nonce are good.
#[derive(Debug)]
pub struct Admitted {
    call: Call,
    format: AnswerFormat,
    /// The action's name in the counters.
    known: &'static str,
    /// The digest that a body which follows must have.
    digest: Option<String>,
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
