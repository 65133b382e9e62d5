//! An HTTP request in one form: merged parameters, and the claimed signature.
//!
//! Clients send three forms to the path `/`: parameters in the query and the signature in headers (ACS3); everything in
//! the query (v1); some or all of it in a form body (both). Pure. The gateway verifies signatures, with
//! [`super::sign`].

use super::sign::{self, Scheme};
use super::{ApiError, Params};
use crate::engine::sort;
use std::collections::{BTreeMap, BTreeSet};

/// One HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query string, undecoded.
    pub query: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The body was not read yet: until then the digest in `x-acs-content-sha256` stands for it.
    pub body_follows: bool,
}

impl HttpRequest {
    /// The value of a header; several values are joined by commas (RFC 9110 section 5.3).
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(other, _)| other == name);
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        (!values.is_empty()).then(|| values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(","))
    }

    /// The media type of the body, in lower case.
    fn kind(&self) -> String {
        let kind = self.header("content-type").unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// True when the body is one JSON document, not parameters.
    pub fn has_document(&self) -> bool {
        self.kind() == "application/json"
    }

    /// The body, if it has parameters.
    fn form(&self) -> &[u8] {
        match self.kind().as_str() {
            "" | "application/x-www-form-urlencoded" => &self.body,
            _ => &[],
        }
    }
}

/// The format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// The format that official clients request.
    Json,
    /// The product's default for v1 requests without `Format`.
    Xml,
}

/// The most parameters of a request, in query and form together: more than three times the items of a list.
const MAX_PAIRS: usize = 4096;

/// The most headers that a signature may cover: as many as a request may have.
const MAX_SIGNED_HEADERS: usize = 100;

/// A request, parsed as far as needed to verify its signature. The other parameters are parsed only for callers with a
/// known key and a valid time, to limit the work for unauthenticated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// The format of the answer.
    pub format: AnswerFormat,
    /// The values of [`COMMON`], of query and form; where both have one, the form's.
    common: [Option<String>; COMMON.len()],
    /// True for the shape whose signature is in headers.
    is_acs3: bool,
}

/// The signature of a request with its parameters: complete, but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthClaim {
    /// The signature method.
    pub scheme: Scheme,
    /// The id of the key.
    pub key: String,
    /// The timestamp, as text.
    pub timestamp: String,
    /// The nonce.
    pub nonce: String,
    /// The action as sent.
    pub action: String,
    /// The API version.
    pub version: String,
    /// The signature as text.
    pub signature: String,
    /// The headers that an ACS3 signature covers.
    signed_headers: Vec<String>,
}

/// Parameters of the signature and the gateway, which actions do not get.
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

impl ApiRequest {
    /// Counts the parameters, checks that they are UTF-8, and extracts those of the signature.
    ///
    /// # Errors
    /// Another path than `/`, text that is not UTF-8, or too many parameters.
    pub fn read(http: &HttpRequest) -> Result<Self, ApiError> {
        if http.path != "/" {
            return Err(ApiError::unknown_action());
        }
        let mut common = [const { None }; COMMON.len()];
        let (mut count, mut name, mut value) = (0, Vec::new(), Vec::new());
        for (octets, what) in [(http.query.as_bytes(), QUERY), (http.form(), FORM)] {
            for pair in split(octets) {
                count += 1;
                if count > MAX_PAIRS {
                    let message = format!("The request has more than {MAX_PAIRS} parameters.");
                    return Err(ApiError::new("TooManyParameters", message));
                }
                decode(pair.0, &mut name);
                decode(pair.1, &mut value);
                let (Ok(name), Ok(value)) = (std::str::from_utf8(&name), std::str::from_utf8(&value)) else {
                    return Err(not_utf8(what));
                };
                if let Some(at) = COMMON.iter().position(|known| *known == name) {
                    common[at] = Some(value.to_string());
                }
            }
        }
        let mut request = Self { format: AnswerFormat::Xml, common, is_acs3: false };
        let has_signature = request.common("Signature").is_some();
        request.is_acs3 = match http.header("authorization") {
            Some(authorization) => authorization.starts_with("ACS3-") || !has_signature,
            None => http.header("x-acs-action").is_some() && !has_signature,
        };
        let asks_for_json =
            request.common("Format").is_some_and(|format| format.eq_ignore_ascii_case("json"));
        if request.is_acs3 || asks_for_json {
            request.format = AnswerFormat::Json;
        }
        Ok(request)
    }

    /// The value of a parameter of [`COMMON`].
    fn common(&self, name: &str) -> Option<&str> {
        COMMON.iter().position(|known| *known == name).and_then(|at| self.common[at].as_deref())
    }

    /// Its signature.
    ///
    /// # Errors
    /// A mandatory part is absent, or the signature method is not supported.
    pub fn claim(&self, http: &HttpRequest) -> Result<AuthClaim, ApiError> {
        if self.is_acs3 { self.acs3(http) } else { self.v1() }
    }

    /// Version and action of a request without an access key and a signature.
    pub fn unsigned(&self, http: &HttpRequest) -> Option<(String, String)> {
        let is_signed = self.common("AccessKeyId").is_some() || self.common("Signature").is_some();
        if is_signed || http.header("authorization").is_some() || http.body_follows {
            return None;
        }
        let value = |parameter: &str, header: &str| {
            let parameter = self.common(parameter).filter(|value| !value.is_empty());
            parameter.map(str::to_string).or_else(|| http.header(header))
        };
        Some((value("Version", "x-acs-version")?, value("Action", "x-acs-action")?))
    }

    /// The security token: a header or a parameter, which the signature covers. An empty one is none.
    ///
    /// # Errors
    /// The signature does not cover the header.
    pub fn security_token(&self, claim: &AuthClaim, http: &HttpRequest) -> Result<Option<String>, ApiError> {
        let header = http.header(TOKEN).filter(|token| claim.scheme == Scheme::Acs3 && !token.is_empty());
        if header.is_some() && !claim.signed_headers.iter().any(|signed| signed == TOKEN) {
            return Err(incomplete(&format!("SignedHeaders does not have {TOKEN}")));
        }
        let parameter = || self.common("SecurityToken").filter(|token| !token.is_empty());
        Ok(header.or_else(|| parameter().map(str::to_string)))
    }

    /// The parameters for the action.
    ///
    /// # Errors
    /// Text that is not UTF-8, which [`ApiRequest::read`] finds before.
    pub fn params(&self, http: &HttpRequest) -> Result<Params, ApiError> {
        let (_, all) = all_pairs(http)?;
        Ok(all.into_iter().filter(|(name, _)| !COMMON.contains(&name.as_str())).collect())
    }

    /// Verifies the signature with the secret of the key.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, with the expected signed text after the only colon: clients compare it with their own.
    pub fn verify(&self, claim: &AuthClaim, http: &HttpRequest, secret: &str) -> Result<(), ApiError> {
        let digest = http.header(DIGEST).filter(|_| claim.scheme == Scheme::Acs3);
        if http.body_follows && (digest.is_none() || claim.scheme != Scheme::Acs3) {
            return Err(incomplete(&format!("a long body needs {DIGEST}, and a signature over it")));
        }
        let real = match (&digest, claim.scheme) {
            (Some(digest), Scheme::Acs3) if http.body_follows => digest.to_ascii_lowercase(),
            (_, Scheme::Acs3) => sign::sha256_hex(&http.body),
            (_, Scheme::V1) => String::new(),
        };
        let (query, all) = all_pairs(http)?;
        let text = string_to_sign(claim, http, &query, &all, &real);
        // The signed text has the digest of the received body, and a digest in a header must match it too.
        let is_true = digest.is_none_or(|digest| digest.eq_ignore_ascii_case(&real));
        if is_true && claim.scheme.verify(secret, &text, &claim.signature) {
            return Ok(());
        }
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{text}"
        );
        Err(ApiError::new("SignatureDoesNotMatch", message))
    }

    /// The signature of a request that is signed in headers.
    fn acs3(&self, http: &HttpRequest) -> Result<AuthClaim, ApiError> {
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
        // A short list that repeats the name of a long header would make a long text from a short request.
        let distinct: BTreeSet<&String> = sort::set(&signed_headers);
        if signed_headers.len() > MAX_SIGNED_HEADERS || distinct.len() < signed_headers.len() {
            return Err(incomplete("SignedHeaders names a header twice, or too many"));
        }
        let header = |name: &str| {
            let value = http.header(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| ApiError::missing(name))?;
            // A header that is used must be signed.
            match signed_headers.iter().any(|signed| signed == name) {
                true => Ok(value),
                false => Err(incomplete(&format!("SignedHeaders does not have {name}"))),
            }
        };
        let parameter_or = |parameter: &str, name: &str| match self.common(parameter) {
            Some(value) if !value.is_empty() => Ok(value.to_string()),
            _ => header(name),
        };
        // The media type decides whether the body has parameters, so it must be signed.
        if (http.body_follows || !http.body.is_empty()) && http.header("content-type").is_some() {
            header("content-type")?;
        }
        Ok(AuthClaim {
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

    /// The signature of a request that is signed in parameters.
    fn v1(&self) -> Result<AuthClaim, ApiError> {
        let text = |name: &str| self.common(name).filter(|value| !value.is_empty()).map(str::to_string);
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
        Ok(AuthClaim { scheme, key, timestamp, nonce, action, version, signature, signed_headers })
    }
}

/// Parameters by their names.
type Pairs = BTreeMap<String, String>;

/// The header with the digest of the body.
pub const DIGEST: &str = "x-acs-content-sha256";

/// The header with the security token of a temporary access key.
const TOKEN: &str = "x-acs-security-token";

/// The place of parameters, for messages.
const QUERY: &str = "query string";
const FORM: &str = "form body";

/// The text that must have been signed.
fn string_to_sign(
    claim: &AuthClaim,
    http: &HttpRequest,
    query: &BTreeMap<String, String>,
    all: &BTreeMap<String, String>,
    digest: &str,
) -> String {
    match claim.scheme {
        Scheme::V1 => {
            let signed = all.iter().filter(|(name, _)| *name != "Signature");
            sign::v1_string_to_sign(&http.method, signed)
        }
        Scheme::Acs3 => {
            let headers = claim.signed_headers.iter();
            let headers: Vec<_> =
                headers.map(|name| (name.as_str(), http.header(name).unwrap_or_default())).collect();
            sign::acs3_string_to_sign(&http.method, &http.path, query, &headers, digest)
        }
    }
}

/// An incomplete signature.
fn incomplete(what: &str) -> ApiError {
    let message = format!("The request signature does not conform to Aliyun standards: {what}.");
    ApiError::new("IncompleteSignature", message)
}

/// An unsupported signature method.
fn unsupported(what: &str) -> ApiError {
    let message = format!(
        "The signature method {what:?} is not supported: use HMAC-SHA1 with SignatureVersion 1.0, or ACS3-HMAC-SHA256."
    );
    ApiError::new("InvalidSignatureMethod", message)
}

/// The names and values of a query string or a form. Empty values are kept; the later value of a repeated name is used.
fn pairs(octets: &[u8], what: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |octets: &[u8]| {
        let mut out = Vec::new();
        decode(octets, &mut out);
        String::from_utf8(out).map_err(|_| not_utf8(what))
    };
    let mut pairs = BTreeMap::new();
    for (name, value) in split(octets) {
        pairs.insert(text(name)?, text(value)?);
    }
    Ok(pairs)
}

/// The parameters of the query, and those of query and form. A form's value replaces the query's.
fn all_pairs(http: &HttpRequest) -> Result<(Pairs, Pairs), ApiError> {
    let query = pairs(http.query.as_bytes(), QUERY)?;
    let mut all = query.clone();
    all.extend(pairs(http.form(), FORM)?);
    Ok((query, all))
}

/// Names and values, undecoded.
fn split(octets: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = octets.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        (&pair[..end], pair.get(end + 1..).unwrap_or_default())
    })
}

/// Decodes percent-encoded text; `+` is a space. An invalid escape is kept as it is.
fn decode(text: &[u8], out: &mut Vec<u8>) {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    out.clear();
    let mut at = 0;
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
}

/// Text that is not UTF-8.
fn not_utf8(what: &str) -> ApiError {
    ApiError::new("InvalidParameter", format!("The {what} is not UTF-8."))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
