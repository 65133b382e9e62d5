//! What STS answers and refuses.

use super::*;
use crate::api::AccessKey;
use crate::lab::products::{self, Handler};
use std::net::{IpAddr, Ipv4Addr};

const ROLE: &str = "acs:ram::1000000000000000:role/app";
const PROVIDER: &str = "acs:ram::1000000000000000:oidc-provider/cluster";

fn sts() -> Sts {
    Sts { issuer: Arc::new(Issuer::new(&AccessKey::new("LABx", "secret"))) }
}

fn call_with(token: Option<&str>, action: &str, params: &[(&str, &str)]) -> Call {
    Call {
        action: action.into(),
        version: VERSION.into(),
        params: params.iter().copied().collect(),
        access_key: "LABx".into(),
        security_token: token.map(str::to_string),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host: "sts.aliyuncs.com".into(),
        now: UNIX_EPOCH + Duration::from_secs(1_795_389_098),
    }
}

/// Carries out a call by the table of actions.
fn carry_out(call: &Call) -> ActionAnswer {
    let found = products::product(VERSION).and_then(|product| product.action(&call.action));
    match found {
        Some((_, Handler::Token(function))) => function(&sts(), call),
        _ => Err(ApiError::unknown_action()),
    }
}

fn ask(action: &str, params: &[(&str, &str)]) -> ActionAnswer {
    carry_out(&call_with(None, action, params))
}

/// Status and code of a refusal.
fn refused(action: &str, params: &[(&str, &str)]) -> (u16, String) {
    let error = ask(action, params).unwrap_err();
    (error.status, error.code.into_owned())
}

/// `AssumeRole` with one parameter replaced.
fn assume_with(name: &str, value: &str) -> (u16, String) {
    let mut params = vec![("RoleArn", ROLE), ("RoleSessionName", "alice")];
    params.retain(|(other, _)| *other != name);
    params.push((name, value));
    refused("AssumeRole", &params)
}

#[test]
fn a_role_is_assumed_for_as_long_as_was_asked() {
    for (seconds, end) in
        [("900", "2026-11-22T23:26:38Z"), ("43200", "2026-11-23T11:11:38Z"), ("", "2026-11-23T00:11:38Z")]
    {
        let params = [("RoleArn", ROLE), ("RoleSessionName", "a.b@c-d_e"), ("DurationSeconds", seconds)];
        let answer = ask("assumerole", &params).unwrap();
        assert_eq!(answer["Credentials"]["Expiration"], end);
        assert_eq!(answer["AssumedRoleUser"]["Arn"], format!("{ROLE}/a.b@c-d_e"));
        let token = answer["Credentials"]["SecurityToken"].as_str().unwrap();
        let identity = carry_out(&call_with(Some(token), "GetCallerIdentity", &[])).unwrap();
        assert_eq!(identity["IdentityType"], "AssumedRoleUser");
        assert_eq!(identity["PrincipalId"], answer["AssumedRoleUser"]["AssumedRoleId"]);
        assert_eq!(identity["Arn"], "acs:ram::1000000000000000:assumed-role/app/a.b@c-d_e");
    }
}

#[test]
fn a_user_is_told_apart_from_a_role() {
    let identity = ask("GetCallerIdentity", &[]).unwrap();
    assert_eq!(identity["IdentityType"], "RAMUser");
    assert_eq!(identity["Arn"], "acs:ram::1000000000000000:user/pvtzd-lab");
}

#[test]
fn each_bad_parameter_has_its_code() {
    let long = "x".repeat(65);
    for (name, value, status, code) in [
        ("RoleArn", "", 400, "MissingRoleArn"),
        ("RoleSessionName", "", 400, "MissingRoleSessionName"),
        ("RoleArn", "app", 400, "InvalidParameter.RoleArn"),
        ("RoleArn", "acs:ram::1000000000000000:user/app", 400, "InvalidParameter.RoleArn"),
        ("RoleArn", "acs:ram::1000000000000000:role/", 400, "InvalidParameter.RoleArn"),
        ("RoleArn", "acs:ram::1000000000000000:role/a b", 400, "InvalidParameter.RoleArn"),
        ("RoleArn", "acs:ram:::role/app", 400, "InvalidParameter.RoleArn"),
        ("RoleArn", "acs:ram::2000000000000000:role/app", 404, "EntityNotExist.Role"),
        ("RoleSessionName", "a b", 400, "InvalidParameter.RoleSessionName"),
        ("RoleSessionName", "a", 400, "InvalidParameter.RoleSessionName"),
        ("RoleSessionName", &long, 400, "InvalidParameter.RoleSessionName"),
        ("RoleSessionName", "ää", 400, "InvalidParameter.RoleSessionName"),
        ("DurationSeconds", "899", 400, "InvalidParameter.DurationSeconds"),
        ("DurationSeconds", "43201", 400, "InvalidParameter.DurationSeconds"),
        ("DurationSeconds", "-900", 400, "InvalidParameter.DurationSeconds"),
        ("DurationSeconds", "1h", 400, "InvalidParameter.DurationSeconds"),
        ("Policy", "{", 400, "InvalidParameter.PolicyGrammar"),
        ("Policy", "{\"Version\": \"1\"}", 400, "InvalidParameter.PolicyGrammar"),
        ("ExternalId", "a b", 400, "InvalidParameter.ExternalId"),
    ] {
        assert_eq!(assume_with(name, value), (status, code.to_string()), "{name}={value}");
    }
    assert_eq!(refused("GetSessionToken", &[]), (404, "InvalidAction.NotFound".into()));
}

#[test]
fn a_token_of_an_oidc_provider_is_looked_at() {
    assert!(is_unsigned(VERSION, "assumerolewithoidc") && !is_unsigned(VERSION, "AssumeRole"));
    assert!(!is_unsigned("2018-01-01", "AssumeRoleWithOIDC"));
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let token = |claims: &str| format!("{}.{}.sig", part(r#"{"alg":"RS256"}"#), part(claims));
    let good = token(
        r#"{"iss":"https://c","sub":"pod","aud":["sts.aliyuncs.com"],"exp":1795389099,"iat":1795389000}"#,
    );
    let ask_with = |token: &str, provider: &str| {
        let params = [
            ("RoleArn", ROLE),
            ("OIDCProviderArn", provider),
            ("OIDCToken", token),
            ("RoleSessionName", "pod"),
        ];
        ask(WITH_OIDC, &params)
    };
    let answer = ask_with(&good, PROVIDER).unwrap();
    assert_eq!(answer["OIDCTokenInfo"]["Issuer"], "https://c");
    let far = token(r#"{"iss":"https://c","sub":"pod","exp":18446744073709551615}"#);
    assert_eq!(ask_with(&far, PROVIDER).unwrap()["OIDCTokenInfo"]["ExpirationTime"], Value::Null);
    assert_eq!(answer["OIDCTokenInfo"]["ClientIds"], "sts.aliyuncs.com");
    assert!(answer["Credentials"]["AccessKeyId"].as_str().unwrap().starts_with("STS."));
    let code = |token: &str, provider: &str| ask_with(token, provider).unwrap_err().code.into_owned();
    let ended = token(r#"{"iss":"https://c","sub":"pod","exp":1795389098}"#);
    assert_eq!(code(&ended, PROVIDER), "AuthenticationFail.OIDCToken.Expired");
    let endless = token(r#"{"iss":"https://c","sub":"pod"}"#);
    for bad in ["a.b.c", "only one part", &endless, &token("[]"), &format!("{good}.more")] {
        assert_eq!(code(bad, PROVIDER), "AuthenticationFail.OIDCToken.Invalid", "{bad}");
    }
    assert_eq!(code(&"x".repeat(20_001), PROVIDER), "InvalidParameter.OIDCToken");
    assert_eq!(code(&good, "cluster"), "InvalidParameter.OIDCProviderArn");
    assert_eq!(code(&good, "acs:ram::2:oidc-provider/cluster"), "EntityNotExist.OIDCProvider");
}
