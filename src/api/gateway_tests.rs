//! The checks in their order, with the codes that clients match on.

use super::*;
use crate::api::keys::AccessKey;
use crate::api::signer;
use crate::api::signer::{SignaturePlace, SigningOrder};
use crate::api::{ApiService, Params};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::time::{Duration, UNIX_EPOCH};

/// Answers with the parameters.
struct Echo;

#[async_trait]
impl ApiService for Echo {
    fn serves_version(&self, version: &str) -> bool {
        version == "2018-01-01"
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        match call.action.as_str() {
            "Panic" => panic!("a defect"),
            "Refuse" => Err(ApiError::new("Zone.NotExists", "Zone is not exists")),
            _ => Ok(call.params.iter().map(|(name, value)| (name.into(), value.into())).collect()),
        }
    }
}

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn gateway() -> Gateway {
    Gateway::new(Arc::new(Echo), [key()].into_iter().collect())
}

fn key() -> AccessKey {
    AccessKey::new("LTAI-lab", "lab-secret")
}

/// Seconds after some moment of 2026.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_389_098 + seconds)
}

/// The two ways of signing.
type Sign = fn(&SigningOrder, SignaturePlace, &AccessKey, &str) -> HttpRequest;
const SIGNS: [Sign; 2] = [signer::v1, signer::acs3];

/// A signed request; the nonce is its own.
fn request(sign: Sign, action: &str, key: &AccessKey, sent: SystemTime, nonce: &str) -> HttpRequest {
    let params: Params = [("ZoneName", "x.example")].into_iter().collect();
    let order = SigningOrder { action, version: "2018-01-01", params: &params, now: sent, nonce };
    sign(&order, SignaturePlace::Query, key, "127.0.0.1:5380")
}

/// Status and body.
async fn ask(gateway: &Gateway, http: &HttpRequest, now: SystemTime) -> (u16, Map<String, Value>) {
    let reply = gateway.handle(http, SOURCE, now).await;
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

/// Status and code.
async fn refused(gateway: &Gateway, http: &HttpRequest, now: SystemTime) -> (u16, String) {
    let (status, body) = ask(gateway, http, now).await;
    for name in ["Code", "Message", "RequestId", "HostId", "Recommend"] {
        assert!(
            body.get(name).is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty())),
            "{body:?}"
        );
    }
    assert_eq!(body["HostId"], "127.0.0.1:5380");
    (status, body["Code"].as_str().unwrap().into())
}

#[tokio::test]
async fn a_good_request_is_answered_once() {
    let gateway = gateway();
    for (sign, nonce) in SIGNS.into_iter().zip(["a", "b"]) {
        let http = request(sign, "AddZone", &key(), at(0), nonce);
        let (status, body) = ask(&gateway, &http, at(1)).await;
        assert_eq!((status, body["ZoneName"].as_str()), (200, Some("x.example")));
        assert_eq!(body.len(), 2, "the parameters of the signature are no action's: {body:?}");
        assert_eq!(refused(&gateway, &http, at(2)).await, (400, "SignatureNonceUsed".into()));
    }
}

#[tokio::test]
async fn each_check_has_its_code() {
    let wrong = AccessKey::new("LTAI-lab", "wrong");
    let stranger = AccessKey::new("LTAI-other", "lab-secret");
    for sign in SIGNS {
        let gateway = gateway();
        let good = request(sign, "AddZone", &key(), at(0), "n");
        for (http, now, status, code) in [
            (request(sign, "AddZone", &wrong, at(0), "n"), at(0), 400, "SignatureDoesNotMatch"),
            (request(sign, "AddZone", &stranger, at(0), "n"), at(0), 404, "InvalidAccessKeyId.NotFound"),
            // the clock is looked at before the key
            (request(sign, "AddZone", &stranger, at(0), "n"), at(901), 400, "InvalidTimeStamp.Expired"),
            (request(sign, "AddZone", &key(), at(901), "n"), at(0), 400, "InvalidTimeStamp.Expired"),
            (request(sign, "Refuse", &key(), at(900), "r"), at(0), 400, "Zone.NotExists"),
        ] {
            assert_eq!(refused(&gateway, &http, now).await, (status, code.to_string()));
        }
        assert_eq!(ask(&gateway, &good, at(900)).await.0, 200, "no refusal has used the nonce");
    }
}

#[tokio::test]
async fn a_timestamp_of_another_form_is_told_apart() {
    let mut http = request(signer::v1, "AddZone", &key(), at(0), "n");
    http.query = http.query.replace("2026-11-22T23%3A11%3A38Z", "22%20Nov%202026");
    assert_eq!(refused(&gateway(), &http, at(0)).await, (400, "InvalidTimeStamp.Format".into()));
}

#[tokio::test]
async fn a_version_that_is_not_served_is_refused() {
    for sign in SIGNS {
        let params = Params::default();
        let order =
            SigningOrder { action: "X", version: "2017-01-01", params: &params, now: at(0), nonce: "n" };
        let http = sign(&order, SignaturePlace::Form, &key(), "127.0.0.1:5380");
        assert_eq!(refused(&gateway(), &http, at(0)).await, (400, "InvalidVersion".into()));
    }
}

#[tokio::test]
async fn a_wrong_signature_is_told_with_what_was_to_be_signed() {
    const BEGIN: &str = "Specified signature is not matched with our calculation. server string to sign is";
    let wrong = AccessKey::new("LTAI-lab", "wrong");
    for (sign, expected) in SIGNS.into_iter().zip(["GET&%2F&AccessKeyId%3DLTAI-lab%26", "ACS3-HMAC-SHA256\n"])
    {
        let http = request(sign, "AddZone", &wrong, at(0), "n");
        let (_, body) = ask(&gateway(), &http, at(0)).await;
        // as the official Python client takes it apart
        let parts: Vec<&str> = body["Message"].as_str().unwrap().split(':').collect();
        assert_eq!((parts.len(), parts[0]), (2, BEGIN));
        assert!(parts[1].starts_with(expected), "{parts:?}");
    }
}

#[tokio::test]
async fn a_defect_of_the_service_is_one_calls_failure() {
    let gateway = gateway();
    let http = request(signer::acs3, "Panic", &key(), at(0), "n");
    assert_eq!(refused(&gateway, &http, at(0)).await, (500, "InternalError".into()));
    assert_eq!(ask(&gateway, &request(signer::acs3, "AddZone", &key(), at(0), "m"), at(0)).await.0, 200);
}

#[tokio::test]
async fn keys_are_replaced_whole() {
    let gateway = gateway();
    gateway.replace_keys([AccessKey::new("LTAI-new", "s")].into_iter().collect());
    let old = request(signer::v1, "AddZone", &key(), at(0), "n");
    assert_eq!(refused(&gateway, &old, at(0)).await, (404, "InvalidAccessKeyId.NotFound".into()));
    let new = request(signer::v1, "AddZone", &AccessKey::new("LTAI-new", "s"), at(0), "n");
    assert_eq!(ask(&gateway, &new, at(0)).await.0, 200);
}

#[tokio::test]
async fn xml_is_for_those_who_do_not_ask_for_json() {
    let mut http = request(signer::v1, "AddZone", &key(), at(0), "n");
    http.query = http.query.replace("Format=JSON&", "");
    let reply = gateway().handle(&http, SOURCE, at(0)).await;
    let text = String::from_utf8(reply.body).unwrap();
    assert_eq!((reply.status, reply.content_type), (400, "text/xml;charset=utf-8"));
    assert!(text.contains("<Error>") && text.contains("<Code>SignatureDoesNotMatch</Code>"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_json() {
    let http = HttpRequest { path: "/".into(), query: "A=%FF".into(), ..HttpRequest::default() };
    let (status, body) = ask(&gateway(), &http, at(0)).await;
    assert_eq!(
        (status, body["Code"].as_str(), body["HostId"].as_str()),
        (400, Some("InvalidParameter"), Some(""))
    );
}

#[tokio::test]
async fn without_temporary_keys_a_token_is_no_more_than_a_signed_parameter() {
    let gateway = gateway();
    let params: Params = [("SecurityToken", "any")].into_iter().collect();
    for (at_key, status) in [(key(), 200), (AccessKey::new("STS.1", "x"), 404)] {
        let nonce = at_key.id.clone();
        let order = SigningOrder {
            action: "AddZone",
            version: "2018-01-01",
            params: &params,
            now: at(0),
            nonce: &nonce,
        };
        let http = signer::v1(&order, SignaturePlace::Query, &at_key, "h");
        assert_eq!(ask(&gateway, &http, at(0)).await.0, status);
    }
    let unsigned = HttpRequest {
        method: "GET".into(),
        path: "/".into(),
        query: "Action=AssumeRoleWithOIDC&Version=2015-04-01&Format=JSON".into(),
        headers: vec![("host".into(), b"127.0.0.1:5380".to_vec())],
        ..HttpRequest::default()
    };
    assert_eq!(refused(&gateway, &unsigned, at(0)).await, (400, "MissingAccessKeyId".into()));
}
