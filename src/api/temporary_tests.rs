//! Temporary access keys at the gateway.

use super::super::keys::AccessKey;
use super::super::request::HttpRequest;
use super::super::signer::{self, SignaturePlace, SigningOrder};
use super::super::{ActionAnswer, ApiService, Call, Gateway, Keys, Params};
use super::*;
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Tells who called. Its one temporary key is `STS.1` with the token `good`.
struct Who;

impl TemporaryKeys for Who {
    fn secret(&self, id: &str, token: Option<&str>, _: SystemTime) -> Result<Option<String>, ApiError> {
        match (id, token) {
            ("STS.1", Some("good")) => Ok(Some("temporary".into())),
            ("STS.1", None) => Err(missing()),
            (_, Some("good")) => Err(mismatch()),
            (_, Some(_)) => Err(malformed()),
            (_, None) => Ok(None),
        }
    }
}

#[async_trait]
impl ApiService for Who {
    fn serves_version(&self, version: &str) -> bool {
        version == "2018-01-01"
    }

    fn temporary_keys(&self) -> Option<&dyn TemporaryKeys> {
        Some(self)
    }

    fn is_unsigned(&self, version: &str, action: &str) -> bool {
        (version, action) == ("2018-01-01", "Open")
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        let token = call.security_token.unwrap_or_default();
        Ok(Map::from_iter([("Key".into(), call.access_key.into()), ("Token".into(), token.into())]))
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_389_098)
}

fn gateway() -> Gateway {
    Gateway::new(Arc::new(Who), Keys::from_iter([AccessKey::new("LAB", "lasting")]))
}

async fn ask(gateway: &Gateway, http: &HttpRequest) -> Map<String, Value> {
    ask_of(gateway, http).await
}

async fn ask_of(gateway: &Gateway, http: &HttpRequest) -> Map<String, Value> {
    let reply = gateway.handle(http, IpAddr::V4(Ipv4Addr::LOCALHOST), now()).await;
    serde_json::from_slice(&reply.body).unwrap()
}

fn signed(key: (&str, &str), token: Option<&str>, nonce: &str) -> HttpRequest {
    let params: Params = token.into_iter().map(|token| ("SecurityToken", token)).collect();
    let order = SigningOrder { action: "A", version: "2018-01-01", params: &params, now: now(), nonce };
    signer::v1(&order, SignaturePlace::Query, &AccessKey::new(key.0, key.1), "h")
}

const TEMPORARY: (&str, &str) = ("STS.1", "temporary");

#[tokio::test]
async fn a_temporary_key_signs_with_its_token() {
    let gateway = gateway();
    let body = ask(&gateway, &signed(TEMPORARY, Some("good"), "a")).await;
    assert_eq!((&body["Key"], &body["Token"]), (&"STS.1".into(), &"good".into()));
    let body = ask(&gateway, &signed(("LAB", "lasting"), Some(""), "a")).await;
    assert_eq!((&body["Key"], &body["Token"]), (&"LAB".into(), &"".into()), "an empty token is none");
    for (key, token, code) in [
        (TEMPORARY, Some("good"), "SignatureNonceUsed"),
        (TEMPORARY, None, "MissingSecurityToken"),
        (TEMPORARY, Some("other"), "InvalidSecurityToken.Malformed"),
        (("STS.1", "wrong"), Some("good"), "SignatureDoesNotMatch"),
        (("LAB", "lasting"), Some("good"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (("STRANGER", "x"), None, "InvalidAccessKeyId.NotFound"),
    ] {
        assert_eq!(ask(&gateway, &signed(key, token, "a")).await["Code"], code);
    }
}

#[tokio::test]
async fn a_token_that_was_put_into_a_signed_request_is_found() {
    let mut http = signed(("LAB", "lasting"), None, "a");
    http.query += "&SecurityToken=good";
    assert_eq!(ask(&gateway(), &http).await["Code"], "InvalidSecurityToken.MismatchWithAccessKey");
    let params = Params::default();
    let order = SigningOrder { action: "A", version: "2018-01-01", params: &params, now: now(), nonce: "n" };
    let mut http =
        signer::acs3(&order, SignaturePlace::Query, &AccessKey::new(TEMPORARY.0, TEMPORARY.1), "h");
    http.headers.push(("x-acs-security-token".into(), "good".into()));
    assert_eq!(ask(&gateway(), &http).await["Code"], "IncompleteSignature", "the header is not signed");
}

#[tokio::test]
async fn only_actions_that_say_so_are_called_unsigned() {
    for (query, key) in [
        ("Action=Open&Version=2018-01-01&Format=JSON", ""),
        ("Action=Open&Version=2018-01-01&Format=JSON&AccessKeyId=LAB", "MissingTimestamp"),
        ("Action=Open&Version=2018-01-01&Format=JSON&Signature=x", "MissingAccessKeyId"),
        ("Action=Other&Version=2018-01-01&Format=JSON", "MissingAccessKeyId"),
        ("Action=Open&Version=2015-04-01&Format=JSON", "MissingAccessKeyId"),
    ] {
        let http = HttpRequest {
            method: "GET".into(),
            path: "/".into(),
            query: query.into(),
            ..HttpRequest::default()
        };
        let body = ask(&gateway(), &http).await;
        let code = body.get("Code").map_or("", |code| code.as_str().unwrap());
        assert_eq!(code, key, "{query}");
        assert_eq!(body.contains_key("Key"), key.is_empty());
    }
}

#[tokio::test]
async fn a_nonce_is_used_once_per_temporary_key() {
    let gateway = Gateway::new(Arc::new(Many), Keys::default());
    for id in ["STS.1", "STS.2"] {
        let http = signed((id, "temporary"), Some("good"), "n");
        assert!(!ask_of(&gateway, &http).await.contains_key("Code"));
        assert_eq!(ask_of(&gateway, &http).await["Code"], "SignatureNonceUsed");
    }
}

/// Has every temporary key.
struct Many;

impl TemporaryKeys for Many {
    fn secret(&self, _: &str, _: Option<&str>, _: SystemTime) -> Result<Option<String>, ApiError> {
        Ok(Some("temporary".into()))
    }
}

#[async_trait]
impl ApiService for Many {
    fn serves_version(&self, _: &str) -> bool {
        true
    }

    fn temporary_keys(&self) -> Option<&dyn TemporaryKeys> {
        Some(self)
    }

    async fn call(&self, _: Call) -> ActionAnswer {
        Ok(Map::new())
    }
}
