//! Signs requests like the official clients, for pvtzd's own commands and for tests of the gateway. Pure: the time and
//! the nonce are arguments.

use super::Params;
use super::keys::AccessKey;
use super::request::HttpRequest;
use super::sign::{self, Scheme};
use crate::base::timestamp;
use crate::engine::sort;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// A request to sign.
#[derive(Clone, Debug)]
pub struct SigningOrder<'o> {
    /// The action.
    pub action: &'o str,
    /// The API version.
    pub version: &'o str,
    /// Its parameters.
    pub params: &'o Params,
    /// The time of sending.
    pub now: SystemTime,
    /// A nonce: a text that no other request has.
    pub nonce: &'o str,
}

/// The place of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePlace {
    /// In the query of a GET.
    Query,
    /// In the query of a POST without body.
    PostQuery,
    /// In the form body of a POST: for v1 with the parameters of the signature, which are headers for ACS3.
    Form,
}

/// The media type of form bodies.
const FORM: &str = "application/x-www-form-urlencoded";

/// A request signed by HMAC-SHA1.
pub fn v1(order: &SigningOrder, place: SignaturePlace, key: &AccessKey, host: &str) -> HttpRequest {
    let mut all = map(order.params);
    for (name, value) in [
        ("Action", order.action),
        ("Version", order.version),
        ("Format", "JSON"),
        ("AccessKeyId", &key.id),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", order.nonce),
        ("Timestamp", &timestamp::format(order.now)),
    ] {
        all.insert(name.into(), value.into());
    }
    let mut http = placed(place, host);
    let signature = Scheme::V1.sign(key.secret(), &sign::v1_string_to_sign(&http.method, &all));
    all.insert("Signature".into(), signature);
    fill(&mut http, place, &all);
    http
}

/// A request signed by ACS3-HMAC-SHA256.
pub fn acs3(order: &SigningOrder, place: SignaturePlace, key: &AccessKey, host: &str) -> HttpRequest {
    let mut http = placed(place, host);
    let params = map(order.params);
    fill(&mut http, place, &params);
    let query = if place == SignaturePlace::Form { BTreeMap::new() } else { params };
    signed_by_acs3(http, &query, order, key)
}

/// A request with a JSON document as its body and the parameters in the query, signed by ACS3-HMAC-SHA256.
pub fn acs3_document(order: &SigningOrder, document: String, key: &AccessKey, host: &str) -> HttpRequest {
    let mut http = placed(SignaturePlace::PostQuery, host);
    http.headers.push(("content-type".into(), "application/json".into()));
    let params = map(order.params);
    fill(&mut http, SignaturePlace::PostQuery, &params);
    http.body = document.into_bytes();
    signed_by_acs3(http, &params, order, key)
}

/// Adds the headers of ACS3 with the signature.
fn signed_by_acs3(
    mut http: HttpRequest,
    query: &BTreeMap<String, String>,
    order: &SigningOrder,
    key: &AccessKey,
) -> HttpRequest {
    let digest = sign::sha256_hex(&http.body);
    for (name, value) in [
        ("x-acs-action", order.action),
        ("x-acs-version", order.version),
        ("x-acs-date", &timestamp::format(order.now)),
        ("x-acs-signature-nonce", order.nonce),
        ("x-acs-content-sha256", &digest),
    ] {
        http.headers.push((name.into(), value.into()));
    }
    sort::ascending(&mut http.headers);
    let headers: Vec<(&str, String)> = http
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    let text = sign::acs3_string_to_sign(&http.method, &http.path, query, &headers, &digest);
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "{} Credential={},SignedHeaders={},Signature={}",
        sign::ACS3,
        key.id,
        names.join(";"),
        Scheme::Acs3.sign(key.secret(), &text)
    );
    http.headers.push(("authorization".into(), authorization.into()));
    http
}

/// A request without parameters.
fn placed(place: SignaturePlace, host: &str) -> HttpRequest {
    let method = if place == SignaturePlace::Query { "GET" } else { "POST" };
    let mut headers = vec![("host".to_string(), host.into())];
    if place == SignaturePlace::Form {
        headers.push(("content-type".into(), FORM.into()));
    }
    HttpRequest { method: method.into(), path: "/".into(), headers, ..HttpRequest::default() }
}

/// Puts the parameters in their place.
fn fill(http: &mut HttpRequest, place: SignaturePlace, params: &BTreeMap<String, String>) {
    let text = sign::canonical_query(params);
    match place {
        SignaturePlace::Form => http.body = text.into(),
        SignaturePlace::Query | SignaturePlace::PostQuery => http.query = text,
    }
}

/// Parameters in the order of their names.
fn map(params: &Params) -> BTreeMap<String, String> {
    sort::map(params.iter().map(|(name, value)| (name.into(), value.into())))
}
