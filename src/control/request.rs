//! What came by HTTP, made one shape: merged parameters, and a claim of who signed it.
//!
//! Three shapes come to the path `/`: parameters in the query and the signature in headers (ACS3); everything in
//! the query (v1); some or all of it in a form body (both). Pure, and nothing is verified here: that is for the
//! gateway, with [`super::sign`].

use super::sign::{self, Scheme};
use super::{ApiError, Params};
use std::collections::BTreeMap;

/// One HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// What stands before the `?`.
    pub path: String,
    /// What stands behind it, as it came.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// The value of a header; of several they are joined by commas (RFC 9110 section 5.3).
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(other, _)| other == name);
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        (!values.is_empty()).then(|| values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(","))
    }
}

/// How the answer is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What every client asks for.
    Json,
    /// The gateway's default for v1 requests that do not say.
    Xml,
}

/// A request whose parameters were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How the answer is to be written.
    pub format: Format,
    /// The parameters of query and body; where both have one, the body's.
    all: BTreeMap<String, String>,
    /// Those of the query alone, which ACS3 signs apart from the body.
    query: BTreeMap<String, String>,
    /// True for the shape whose signature is in headers.
    is_acs3: bool,
}

/// What a request says of its signature; all of it is there, none of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How it was signed.
    pub scheme: Scheme,
    /// The id of the key.
    pub key: String,
    /// When, as text.
    pub timestamp: String,
    /// What makes it unique.
    pub nonce: String,
    /// The action as spelled.
    pub action: String,
    /// The API version.
    pub version: String,
    /// The signature as text.
    pub signature: String,
    /// The headers that an ACS3 signature covers.
    signed_headers: Vec<String>,
}

/// Parameters that belong to the signature or the gateway; no action sees them.
const COMMON: [&str; 11] = [
    "AccessKeyId",
    "Action",
    "Format",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureNonce",
    "SignatureType",
    "SignatureVersion",
    "Timestamp",
    "Version",
];

impl Request {
    /// Reads the parameters.
    ///
    /// # Errors
    /// Another path than `/`, or text that is not UTF-8.
    pub fn read(http: &HttpRequest) -> Result<Self, ApiError> {
        if http.path != "/" {
            return Err(ApiError::unknown_action());
        }
        let query = pairs(http.query.as_bytes(), "query string")?;
        let mut all = query.clone();
        let kind = http.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.is_empty() || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            all.extend(pairs(&http.body, "form body")?);
        }
        let is_acs3 = match http.header("authorization") {
            Some(authorization) => authorization.starts_with("ACS3-") || !all.contains_key("Signature"),
            None => http.header("x-acs-action").is_some() && !all.contains_key("Signature"),
        };
        let asks_for_json = all.get("Format").is_some_and(|format| format.eq_ignore_ascii_case("json"));
        let format = if is_acs3 || asks_for_json { Format::Json } else { Format::Xml };
        Ok(Self { format, all, query, is_acs3 })
    }

    /// What it says of its signature.
    ///
    /// # Errors
    /// Something mandatory is absent, or it is signed in a way that is not taken.
    pub fn claim(&self, http: &HttpRequest) -> Result<Claim, ApiError> {
        if self.is_acs3 { self.acs3(http) } else { self.v1() }
    }

    /// Settles whether the claim is true, for the secret of its key.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, with the text that was to be signed behind the only colon: clients compare it with
    /// their own.
    pub fn verify(&self, claim: &Claim, http: &HttpRequest, secret: &str) -> Result<(), ApiError> {
        let text = self.string_to_sign(claim, http);
        // The text is made of the body that came. What a header says of it must be true as well.
        let digest = http.header("x-acs-content-sha256").filter(|_| claim.scheme == Scheme::Acs3);
        let is_true = digest.is_none_or(|digest| digest.eq_ignore_ascii_case(&sign::sha256_hex(&http.body)));
        if is_true && claim.scheme.verify(secret, &text, &claim.signature) {
            return Ok(());
        }
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{text}"
        );
        Err(ApiError::new("SignatureDoesNotMatch", message))
    }

    /// The text whose signature the claim's must be.
    fn string_to_sign(&self, claim: &Claim, http: &HttpRequest) -> String {
        match claim.scheme {
            Scheme::V1 => {
                let signed = self.all.iter().filter(|(name, _)| *name != "Signature");
                sign::v1_string_to_sign(&http.method, signed)
            }
            Scheme::Acs3 => {
                let headers = claim.signed_headers.iter();
                let headers: Vec<_> =
                    headers.map(|name| (name.as_str(), http.header(name).unwrap_or_default())).collect();
                sign::acs3_string_to_sign(&http.method, &http.path, &self.query, &headers, &http.body)
            }
        }
    }

    /// The parameters for the action.
    pub fn into_params(mut self) -> Params {
        for name in COMMON {
            self.all.remove(name);
        }
        self.all.into_iter().collect()
    }

    /// The claim of a request signed in headers.
    fn acs3(&self, http: &HttpRequest) -> Result<Claim, ApiError> {
        let authorization = http.header("authorization").unwrap_or_default();
        let (algorithm, rest) = authorization.split_once(' ').unwrap_or((&authorization, ""));
        if algorithm.is_empty() {
            return Err(incomplete("the Authorization header is absent"));
        }
        if algorithm != sign::ACS3 {
            return Err(unsupported(algorithm));
        }
        let part = |name: &str| {
            let mut parts = rest.split(',').filter_map(|part| part.trim().split_once('='));
            parts.find(|(other, value)| *other == name && !value.is_empty()).map(|(_, value)| value)
        };
        let part_of = |name| part(name).ok_or_else(|| incomplete(&format!("Authorization has no {name}")));
        let (key, signature) = (part_of("Credential")?, part_of("Signature")?);
        let signed_headers: Vec<String> = part_of("SignedHeaders")?.split(';').map(str::to_string).collect();
        let header = |name: &str| {
            let value = http.header(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| ApiError::missing(name))?;
            // What is acted upon must be what was signed.
            match signed_headers.iter().any(|signed| signed == name) {
                true => Ok(value),
                false => Err(incomplete(&format!("SignedHeaders does not have {name}"))),
            }
        };
        let parameter_or = |parameter: &str, name: &str| match self.all.get(parameter) {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => header(name),
        };
        // The kind of body decides whether it has parameters, so it must not be changed on the way.
        if !http.body.is_empty() && http.header("content-type").is_some() {
            header("content-type")?;
        }
        Ok(Claim {
            scheme: Scheme::Acs3,
            action: parameter_or("Action", "x-acs-action")?,
            version: parameter_or("Version", "x-acs-version")?,
            timestamp: header("x-acs-date")?,
            nonce: header("x-acs-signature-nonce")?,
            key: key.into(),
            signature: signature.into(),
            signed_headers,
        })
    }

    /// The claim of a request signed in parameters.
    fn v1(&self) -> Result<Claim, ApiError> {
        let text = |name: &str| self.all.get(name).filter(|value| !value.is_empty()).cloned();
        let required = |name: &str| text(name).ok_or_else(|| ApiError::missing(name));
        let (action, version, key) = (required("Action")?, required("Version")?, required("AccessKeyId")?);
        let (timestamp, nonce) = (required("Timestamp")?, required("SignatureNonce")?);
        if let Some(kind) = text("SignatureType") {
            return Err(unsupported(&kind));
        }
        let method = required("SignatureMethod")?;
        if method != "HMAC-SHA1" {
            return Err(unsupported(&method));
        }
        let signature_version = required("SignatureVersion")?;
        if signature_version != "1.0" {
            return Err(unsupported(&format!("SignatureVersion {signature_version}")));
        }
        let signature = text("Signature").ok_or_else(|| incomplete("Signature is absent"))?;
        let scheme = Scheme::V1;
        let signed_headers = Vec::new();
        Ok(Claim { scheme, key, timestamp, nonce, action, version, signature, signed_headers })
    }
}

/// A signature that is not whole.
fn incomplete(what: &str) -> ApiError {
    let message = format!("The request signature does not conform to Aliyun standards: {what}.");
    ApiError::new("IncompleteSignature", message)
}

/// A way to sign that is not taken.
fn unsupported(what: &str) -> ApiError {
    let message = format!(
        "The way of signing {what:?} is not supported: use HMAC-SHA1 with SignatureVersion 1.0, or ACS3-HMAC-SHA256."
    );
    ApiError::new("InvalidSignatureMethod", message)
}

/// The names and values of a query string or a form. Blanks are kept, of a name that comes twice the later counts.
fn pairs(bytes: &[u8], what: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |bytes: &[u8]| {
        String::from_utf8(decoded(bytes))
            .map_err(|_| ApiError::new("InvalidParameter", format!("The {what} is not UTF-8.")))
    };
    let pairs = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    let pair = |pair: &[u8]| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        Ok((text(&pair[..end])?, text(pair.get(end + 1..).unwrap_or_default())?))
    };
    pairs.map(pair).collect()
}

/// The octets that percent-encoded text stands for; `+` is a blank. What is no escape stands for itself.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _, _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
