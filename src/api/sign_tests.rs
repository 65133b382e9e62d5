//! Vectors, made by another implementation (Python's `hmac`, `hashlib` and `urllib.parse.quote`, with the secret
//! `lab-secret`), and what signing and verifying must have in common.

use super::*;
use crate::api::Params;
use crate::api::keys::AccessKey;
use crate::api::request::{ApiRequest, HttpRequest};
use crate::api::signer;
use crate::api::signer::{SignaturePlace, SigningOrder};
use crate::base::timestamp;
use proptest::prelude::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn v1_signs_method_and_parameters() {
    // to_sign = METHOD + "&%2F&" + quote("&".join(f"{quote(k)}={quote(p[k])}" for k in sorted(p)))
    // b64encode(hmac.new(b"lab-secret&", to_sign, sha1).digest())
    let params = map(&[
        ("AccessKeyId", "LTAI-lab"),
        ("Action", "AddZone"),
        ("Format", "JSON"),
        ("Version", "2018-01-01"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", "nonce-1"),
        ("SignatureType", ""),
        ("Timestamp", "2026-11-22T23:11:38Z"),
        ("ZoneName", "a b*c~+/中.example"),
    ]);
    let expected = "&%2F&AccessKeyId%3DLTAI-lab%26Action%3DAddZone%26Format%3DJSON%26SignatureMethod%3DHMAC-SHA1\
        %26SignatureNonce%3Dnonce-1%26SignatureType%3D%26SignatureVersion%3D1.0\
        %26Timestamp%3D2026-11-22T23%253A11%253A38Z%26Version%3D2018-01-01\
        %26ZoneName%3Da%2520b%252Ac~%252B%252F%25E4%25B8%25AD.example";
    for (method, signature) in
        [("GET", "pT0BIZC1GRode3PWuxR77Af1m1k="), ("POST", "/0vZ7eU555sqmx7h26xakSi3C3E=")]
    {
        let text = v1_string_to_sign(method, &params);
        assert_eq!(text, format!("{method}{expected}"));
        assert_eq!(Scheme::V1.sign("lab-secret", &text), signature);
        assert!(Scheme::V1.verify("lab-secret", &text, signature));
        assert!(!Scheme::V1.verify("lab-secre", &text, signature));
    }
}

#[test]
fn acs3_signs_what_its_headers_name() {
    // canonical = "\n".join(["POST", "/", query, "".join(f"{k}:{v.strip()}\n" for k, v in headers),
    //                        ";".join(names), sha256(body).hexdigest()])
    // to_sign = "ACS3-HMAC-SHA256\n" + sha256(canonical).hexdigest()
    // hmac.new(b"lab-secret", to_sign, sha256).hexdigest()
    let query = map(&[("Lang", "en"), ("Empty", ""), ("Name", "a b*c~+/中")]);
    let digest = "5a5cff3b83d29d0e2c9391a23d89646796f5d0428c403957d6baec0e2ee52d56";
    let headers: Vec<(&str, String)> = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "http://127.0.0.1:8480"),
        ("user-agent", "  try me "),
        ("x-acs-action", "AddZone"),
        ("x-acs-content-sha256", digest),
        ("x-acs-date", "2026-11-22T23:11:38Z"),
        ("x-acs-signature-nonce", "nonce-1"),
        ("x-acs-version", "2018-01-01"),
    ]
    .map(|(name, value)| (name, value.to_string()))
    .into();
    let text = acs3_string_to_sign("POST", "/", &query, &headers, &sha256_hex(b"ZoneName=a%20b"));
    assert_eq!(text, "ACS3-HMAC-SHA256\nb6429f276b66a7e1b52fe2fefe0cef2f3a2b5fef0906a1ff77c89c20f594535b");
    let signature = "e97926483efd3eeb757776ea37dc3bb9a2ec638f0ea213bab832ef3c614d8d78";
    assert_eq!(Scheme::Acs3.sign("lab-secret", &text), signature);
    assert!(Scheme::Acs3.verify("lab-secret", &text, signature));
    assert!(!Scheme::Acs3.verify("lab-secret&", &text, signature));
}

#[test]
fn what_is_no_signature_is_none() {
    for scheme in [Scheme::V1, Scheme::Acs3] {
        for text in ["", "=", "é", "00", "AA==", "%"] {
            assert!(!scheme.verify("lab-secret", "x", text), "{scheme:?} {text}");
        }
    }
}

/// What a request says, if it is signed by the key.
fn read(http: &HttpRequest, key: &AccessKey) -> Option<impl PartialEq + std::fmt::Debug + use<>> {
    let request = ApiRequest::read(http).ok()?;
    let claim = request.claim(http).ok().filter(|claim| claim.key == key.id)?;
    request.verify(&claim, http, key.secret()).ok()?;
    let said = (claim.scheme as u8, claim.action, claim.version, claim.timestamp, claim.nonce);
    Some((said, request.params(http).unwrap()))
}

/// A request in one of its shapes.
fn signed(shape: u8, params: &Params, key: &AccessKey) -> HttpRequest {
    let now = timestamp::parse("2026-11-22T23:11:38Z").unwrap();
    let order = SigningOrder { action: "AddZone", version: "2018-01-01", params, now, nonce: "nonce-1" };
    let place =
        [SignaturePlace::Query, SignaturePlace::PostQuery, SignaturePlace::Form][usize::from(shape % 3)];
    match shape < 3 {
        true => signer::v1(&order, place, key, "127.0.0.1:5380"),
        false => signer::acs3(&order, place, key, "127.0.0.1:5380"),
    }
}

/// A copy of a request with one octet of it changed.
fn with_a_changed_octet(http: &HttpRequest, mut at: usize, change: u8) -> HttpRequest {
    let mut changed = http.clone();
    let mut query = changed.query.clone().into_bytes();
    let mut parts = vec![&mut query, &mut changed.body];
    parts.extend(changed.headers.iter_mut().map(|(_, value)| value));
    at %= parts.iter().map(|part| part.len()).sum::<usize>();
    for part in parts {
        if at < part.len() {
            part[at] ^= change;
            break;
        }
        at -= part.len();
    }
    changed.query = String::from_utf8_lossy(&query).into_owned();
    changed
}

proptest! {
    #[test]
    fn what_is_signed_is_taken_and_nothing_else(
        shape in 0u8..6,
        pairs in proptest::collection::btree_map("[A-Z][a-z.0-9]{0,6}", "\\PC{0,8}", 0..5),
        at: prop::sample::Index,
        change in 1u8..,
    ) {
        let key = AccessKey::new("LTAI-lab", "lab-secret");
        let params: Params = pairs.into_iter().collect();
        let http = signed(shape, &params, &key);
        let said = read(&http, &key);
        prop_assert!(said.is_some(), "{http:?}");
        let (shown, expected) = (format!("{said:?}"), format!("{params:?}"));
        prop_assert!(shown.contains(&expected), "{shown} {expected}");
        prop_assert!(read(&http, &AccessKey::new("LTAI-lab", "lab-secreT")).is_none());
        // A changed octet may spell the same thing (%2a for %2A); then it still says the same.
        let changed = with_a_changed_octet(&http, at.index(usize::MAX), change);
        if let Some(other) = read(&changed, &key) {
            prop_assert_eq!(Some(other), said);
        }
    }

    #[test]
    fn encoding_keeps_every_text(text in "\\PC{0,20}") {
        let http = HttpRequest { path: "/".into(), query: format!("A={}", percent_encoded(&text)), ..Default::default() };
        let params = ApiRequest::read(&http).unwrap().params(&http).unwrap();
        prop_assert_eq!(params.text("A").unwrap_or_default(), text);
    }
}
