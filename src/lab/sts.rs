//! STS 2015-04-01 of the lab: credentials of roles, and who calls.
//!
//! There is no RAM: every role and every OIDC provider of the lab's account exists, each key of the account may assume
//! any role, and a token may do what its account may. A policy is checked for its form and has no effect.

use super::ACCOUNT;
use super::credentials::Issuer;
use crate::api::{ActionAnswer, ApiError, Call, Params};
use crate::base::timestamp;
use data_encoding::BASE64URL_NOPAD;
use ring::digest;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The version.
pub const VERSION: &str = "2015-04-01";

/// The action that is called without an access key.
const WITH_OIDC: &str = "AssumeRoleWithOIDC";

/// The user that the lab's access key belongs to.
const USER: &str = "200000000000000000";

/// Seconds that credentials live.
const LIFE: std::ops::RangeInclusive<u64> = 900..=43_200;

/// Seconds that credentials live where the caller does not say.
const DEFAULT_LIFE: u64 = 3600;

/// Characters of a policy.
const MAX_POLICY: usize = 2048;

/// Characters of a token of an OIDC provider.
const OIDC_TOKEN: std::ops::RangeInclusive<usize> = 4..=20_000;

/// The first second that is not shown: that of the year 10,000.
const END_OF_TIME: u64 = 253_402_300_800;

/// The actions of STS.
#[derive(Debug)]
pub struct Sts {
    /// What issues and reads tokens.
    pub issuer: Arc<Issuer>,
}

/// True for an action that is called without an access key and a signature.
pub fn is_unsigned(version: &str, action: &str) -> bool {
    version == VERSION && action.eq_ignore_ascii_case(WITH_OIDC)
}

impl Sts {
    /// `GetCallerIdentity`
    pub(super) fn get_caller_identity(&self, call: &Call) -> ActionAnswer {
        let session = call.security_token.as_deref().and_then(|token| self.issuer.read(token));
        Ok(fields(match session {
            Some((_, session)) => json!({
                "AccountId": ACCOUNT,
                "RoleId": role_id(&session.role),
                "PrincipalId": format!("{}:{}", role_id(&session.role), session.name),
                "IdentityType": "AssumedRoleUser",
                "Arn": format!("acs:ram::{ACCOUNT}:assumed-role/{}/{}", session.role, session.name),
            }),
            None => json!({
                "AccountId": ACCOUNT,
                "UserId": USER,
                "PrincipalId": USER,
                "IdentityType": "RAMUser",
                "Arn": format!("acs:ram::{ACCOUNT}:user/pvtzd-lab"),
            }),
        }))
    }

    /// `AssumeRole`
    pub(super) fn assume_role(&self, call: &Call) -> ActionAnswer {
        let params = &call.params;
        let role = role(params)?;
        if let Some(id) = params.text("ExternalId") {
            let is_good = |c: char| c.is_ascii_alphanumeric() || "+=,.@:/-_".contains(c);
            if !(2..=1224).contains(&id.len()) || !id.chars().all(is_good) {
                return Err(wrongly_formed("ExternalId"));
            }
        }
        self.credentials(call, role, json!({}))
    }

    /// `AssumeRoleWithOIDC`. The lab has no provider's keys: the token's form and times are checked, not its
    /// signature.
    pub(super) fn assume_role_with_oidc(&self, call: &Call) -> ActionAnswer {
        let params = &call.params;
        let provider = params.required("OIDCProviderArn")?;
        let token = params.required("OIDCToken")?;
        let (account, _) =
            arn(provider, "oidc-provider/").ok_or_else(|| wrongly_formed("OIDCProviderArn"))?;
        if account != ACCOUNT {
            return Err(not_there("OIDCProvider", provider));
        }
        let role = role(params)?;
        let claims = claims(token)?;
        let now = call.now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        if claims["exp"].as_f64().is_none_or(|end| end <= now) {
            return Err(oidc("Expired", "This JsonWebToken is expired."));
        }
        let time = |name: &str| {
            let since = claims[name].as_u64().filter(|seconds| *seconds < END_OF_TIME);
            since.map(|since| timestamp::format(UNIX_EPOCH + Duration::from_secs(since)))
        };
        let audience = match &claims["aud"] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            other => other.as_str().unwrap_or_default().to_string(),
        };
        let info = json!({ "OIDCTokenInfo": {
            "Subject": claims["sub"],
            "Issuer": claims["iss"],
            "ClientIds": audience,
            "IssuanceTime": time("iat"),
            "ExpirationTime": time("exp"),
            "VerificationInfo": "Not verified: the lab has no keys of providers",
        }});
        self.credentials(call, role, info)
    }

    /// The answer with credentials of a role, and what else an action says.
    fn credentials(&self, call: &Call, role: &str, more: Value) -> ActionAnswer {
        let params = &call.params;
        let name = params.required("RoleSessionName")?;
        let is_good = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
        if !(2..=64).contains(&name.len()) || !name.chars().all(is_good) {
            return Err(wrongly_formed("RoleSessionName"));
        }
        let life = match params.text("DurationSeconds") {
            None => DEFAULT_LIFE,
            Some(text) => text.parse().ok().filter(|seconds| LIFE.contains(seconds)).ok_or_else(|| {
                let message = "The Min/Max value of DurationSeconds is 15min/12hr.";
                ApiError::new("InvalidParameter.DurationSeconds", message)
            })?,
        };
        if let Some(policy) = params.text("Policy") {
            let read = Some(policy).filter(|policy| policy.len() <= MAX_POLICY);
            let read = read.and_then(|policy| serde_json::from_slice::<Value>(policy.as_bytes()).ok());
            if !read.is_some_and(|policy| policy["Statement"].is_array()) {
                let message = "The parameter Policy has not passed grammar check.";
                return Err(ApiError::new("InvalidParameter.PolicyGrammar", message));
            }
        }
        let made = self.issuer.issue(role, name, call.now, Duration::from_secs(life));
        let made = made.map_err(|_| ApiError::internal())?;
        let mut answer = fields(json!({
            "AssumedRoleUser": {
                "Arn": format!("acs:ram::{ACCOUNT}:role/{role}/{name}"),
                "AssumedRoleId": format!("{}:{name}", role_id(role)),
            },
            "Credentials": {
                "AccessKeyId": made.key.id,
                "AccessKeySecret": made.key.secret(),
                "SecurityToken": made.token,
                "Expiration": timestamp::format(made.end),
            },
        }));
        answer.extend(fields(more));
        Ok(answer)
    }
}

/// The role of `RoleArn`: one of the lab's account.
fn role(params: &Params) -> Result<&str, ApiError> {
    let text = params.required("RoleArn")?;
    let (account, role) = arn(text, "role/").ok_or_else(|| wrongly_formed("RoleArn"))?;
    if account == ACCOUNT { Ok(role) } else { Err(not_there("Role", text)) }
}

/// True for a text that can be the name of a role.
pub fn is_role_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// Account and name of an ARN of RAM.
fn arn<'a>(text: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let (account, resource) = text.strip_prefix("acs:ram::")?.split_once(':')?;
    let name = resource.strip_prefix(kind)?;
    let is_account = !account.is_empty() && account.bytes().all(|octet| octet.is_ascii_digit());
    (is_account && is_role_name(name)).then_some((account, name))
}

/// The claims of a JSON web token.
fn claims(token: &str) -> Result<Value, ApiError> {
    let invalid = || oidc("Invalid", "This JsonWebToken is invalid.");
    if !OIDC_TOKEN.contains(&token.len()) {
        return Err(wrongly_formed("OIDCToken"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _signature] = parts[..] else { return Err(invalid()) };
    let read = |part: &str| {
        let octets = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
        serde_json::from_slice::<Value>(&octets).ok().filter(Value::is_object)
    };
    match (read(header), read(claims)) {
        (Some(_), Some(claims)) => {
            let is_whole =
                claims["iss"].is_string() && claims["sub"].is_string() && claims["exp"].is_number();
            is_whole.then_some(claims).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}

fn oidc(kind: &str, message: &'static str) -> ApiError {
    ApiError::new(format!("AuthenticationFail.OIDCToken.{kind}"), message)
}

fn wrongly_formed(parameter: &str) -> ApiError {
    let message = format!("The parameter {parameter} is wrongly formed.");
    ApiError::new(format!("InvalidParameter.{parameter}"), message)
}

fn not_there(kind: &str, arn: &str) -> ApiError {
    let message = format!("The specified {kind} does not exist: {arn}; the lab's account is {ACCOUNT}.");
    ApiError::new(format!("EntityNotExist.{kind}"), message).with_status(404)
}

/// The id of a role: 18 digits that its name decides.
fn role_id(role: &str) -> String {
    let octets = digest::digest(&digest::SHA256, role.as_bytes());
    let number = octets.as_ref().iter().take(7).fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
    format!("3{:017}", number % 100_000_000_000_000_000)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
#[path = "sts_tests.rs"]
mod tests;
