//! Signatures of the API: the signed text, and the signature of a text with a key.
//!
//! There are two methods, see [`Scheme`]. Pure; the gateway checks keys and times. [`super::signer`] signs requests.

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::{digest, hmac};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The name of the newer method in the `Authorization` header.
pub const ACS3: &str = "ACS3-HMAC-SHA256";

/// A signature method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RPC v1: HMAC-SHA1 over the parameters, in Base64, among the parameters.
    V1,
    /// ACS3-HMAC-SHA256: over method, path, query, headers and the body's digest, in hex, in `Authorization`.
    Acs3,
}

impl Scheme {
    /// The signature of a text.
    pub fn sign(self, secret: &str, string_to_sign: &str) -> String {
        let tag = hmac::sign(&self.key(secret), string_to_sign.as_bytes());
        match self {
            Self::V1 => BASE64.encode(tag.as_ref()),
            Self::Acs3 => HEXLOWER.encode(tag.as_ref()),
        }
    }

    /// True if the signature is that of the text. Compares in constant time.
    pub fn verify(self, secret: &str, string_to_sign: &str, signature: &str) -> bool {
        let tag = match self {
            Self::V1 => BASE64.decode(signature.as_bytes()),
            Self::Acs3 => HEXLOWER_PERMISSIVE.decode(signature.as_bytes()),
        };
        tag.is_ok_and(|tag| hmac::verify(&self.key(secret), string_to_sign.as_bytes(), &tag).is_ok())
    }

    /// The key for the secret. Only v1 appends `&`.
    fn key(self, secret: &str) -> hmac::Key {
        match self {
            Self::V1 => hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{secret}&").as_bytes()),
            Self::Acs3 => hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        }
    }
}

/// The text that v1 signs: method and parameters, without `Signature`, in byte order of the names.
pub fn v1_string_to_sign<'p>(
    method: &str,
    params: impl IntoIterator<Item = (&'p String, &'p String)>,
) -> String {
    format!("{method}&%2F&{}", percent_encoded(&canonical_query(params)))
}

/// The text that ACS3 signs. The headers are those of `SignedHeaders`, in its order; the digest is the SHA-256 of the
/// body.
pub fn acs3_string_to_sign(
    method: &str,
    path: &str,
    query: &BTreeMap<String, String>,
    headers: &[(&str, String)],
    digest: &str,
) -> String {
    let mut request = format!("{method}\n{path}\n{}\n", canonical_query(query));
    for (name, value) in headers {
        let _ = writeln!(request, "{name}:{}", value.trim());
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let _ = write!(request, "\n{}\n{}", names.join(";"), digest);
    format!("{ACS3}\n{}", sha256_hex(request.as_bytes()))
}

/// The SHA-256 of octets in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Names and values, percent-encoded, as a query string.
pub fn canonical_query<'p>(params: impl IntoIterator<Item = (&'p String, &'p String)>) -> String {
    let pair =
        |(name, value): (&String, &String)| format!("{}={}", percent_encoded(name), percent_encoded(value));
    params.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Everything but the unreserved characters as `%XX` (RFC 3986 section 2.3).
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
