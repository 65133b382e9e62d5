//! The shapes of requests, and what is said of those that have none.

use super::*;

/// A request as text: `METHOD target`, headers, an empty line, the body.
fn http(text: &str) -> HttpRequest {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    HttpRequest {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        body: body.into(),
        ..HttpRequest::default()
    }
}

/// The parameters of a request, as `name=value` in order.
fn params(text: &str) -> Vec<String> {
    let http = http(text);
    let params = ApiRequest::read(&http).unwrap().params(&http).unwrap();
    params.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The code of the claim's refusal.
fn refusal(text: &str) -> String {
    let http = http(text);
    ApiRequest::read(&http).unwrap().claim(&http).unwrap_err().code.into_owned()
}

const FORM: &str = "content-type: application/x-www-form-urlencoded; charset=utf-8";

#[test]
fn query_and_form_are_one_and_the_form_counts() {
    assert_eq!(
        params(&format!("POST /?A=query&B=b&Signature=s\n{FORM}\n\nA=form&C=&Action=X")),
        ["A=form", "B=b", "C="]
    );
    assert_eq!(params("GET /?A=1&A=2&&B&=c"), ["=c", "A=2", "B="]);
    assert_eq!(params("POST /?A=1\ncontent-type: application/json\n\nA=2"), ["A=1"], "no form");
    assert_eq!(params("POST /\n\nA=2"), ["A=2"], "a form without a name");
}

#[test]
fn blanks_and_escapes_are_decoded_once() {
    assert_eq!(params("GET /?A=a+b%20c%2Bd%2525&%41%42=%E4%B8%AD"), ["A=a b c+d%25", "AB=中"]);
    assert_eq!(params("GET /?A=100%&B=%zz&C=%2"), ["A=100%", "B=%zz", "C=%2"]);
}

#[test]
fn what_is_not_utf_8_is_refused() {
    for text in ["GET /?A=%FF", "GET /?%C0%80=1", "POST /\n\nA=%E4%B8"] {
        let error = ApiRequest::read(&http(text)).unwrap_err();
        assert_eq!((error.status, &*error.code), (400, "InvalidParameter"), "{text}");
        assert!(error.message.ends_with("is not UTF-8."), "{}", error.message);
    }
    let mut raw = http("POST /");
    raw.body = vec![b'A', b'=', 0xff];
    assert!(ApiRequest::read(&raw).is_err());
}

#[test]
fn only_one_path_is_served() {
    assert_eq!(ApiRequest::read(&http("GET /favicon.ico")).unwrap_err().status, 404);
}

#[test]
fn the_form_of_the_answer_is_as_asked() {
    for (text, format) in [
        ("GET /", AnswerFormat::Xml),
        ("GET /?Format=XML", AnswerFormat::Xml),
        ("GET /?Format=json", AnswerFormat::Json),
        ("GET /?Format=JSON", AnswerFormat::Json),
        ("POST /\n\nFormat=JSON", AnswerFormat::Json),
        ("POST /?Format=XML\nauthorization: ACS3-HMAC-SHA256 x", AnswerFormat::Json),
        ("POST /\nx-acs-action: AddZone", AnswerFormat::Json),
    ] {
        assert_eq!(ApiRequest::read(&http(text)).unwrap().format, format, "{text}");
    }
}

#[test]
fn v1_names_what_is_absent() {
    let all = "Action=A&Version=1&AccessKeyId=k&Timestamp=t&SignatureNonce=n&SignatureMethod=HMAC-SHA1\
               &SignatureVersion=1.0&Signature=s";
    let whole = http(&format!("GET /?{all}"));
    assert!(ApiRequest::read(&whole).unwrap().claim(&whole).is_ok());
    for part in all.split('&') {
        let (name, value) = part.split_once('=').unwrap();
        let expected =
            if name == "Signature" { "IncompleteSignature".into() } else { format!("Missing{name}") };
        let without: Vec<_> = all.split('&').filter(|other| *other != part).collect();
        assert_eq!(refusal(&format!("GET /?{}", without.join("&"))), expected);
        assert_eq!(
            refusal(&format!("GET /?{}", all.replace(part, &format!("{name}=")))),
            expected,
            "{value}"
        );
    }
    for (from, to) in [
        ("HMAC-SHA1", "HMAC-SHA256"),
        ("=1.0", "=2.0"),
        ("Action", "SignatureType=BEARERTOKEN&BearerToken=x&Action"),
    ] {
        assert_eq!(refusal(&format!("GET /?{}", all.replace(from, to))), "InvalidSignatureMethod", "{to}");
    }
}

/// A request signed in headers, whatever its signature.
const ACS3: &str = "POST /?ZoneName=x
x-acs-action: AddZone
x-acs-version: 2018-01-01
x-acs-date: 2026-11-22T23:11:38Z
x-acs-signature-nonce: n
authorization: ACS3-HMAC-SHA256 Credential=k,SignedHeaders=x-acs-action;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=00";

#[test]
fn acs3_names_what_is_absent() {
    let whole = http(ACS3);
    let claim = ApiRequest::read(&whole).unwrap().claim(&whole).unwrap();
    assert_eq!((&*claim.action, &*claim.version, &*claim.key), ("AddZone", "2018-01-01", "k"));
    for (line, expected) in [
        ("x-acs-action: AddZone\n", "Missingx-acs-action"),
        ("x-acs-version: 2018-01-01\n", "Missingx-acs-version"),
        ("x-acs-date: 2026-11-22T23:11:38Z\n", "Missingx-acs-date"),
        ("x-acs-signature-nonce: n\n", "Missingx-acs-signature-nonce"),
        ("Credential=k,", "IncompleteSignature"),
        (",Signature=00", "IncompleteSignature"),
        ("x-acs-action;", "IncompleteSignature"),
        ("x-acs-date;", "IncompleteSignature"),
    ] {
        assert!(ACS3.contains(line));
        assert_eq!(refusal(&ACS3.replace(line, "")), expected, "{line}");
    }
    for algorithm in ["ACS3-HMAC-SM3", "ACS3-RSA-SHA256", "Basic"] {
        assert_eq!(refusal(&ACS3.replace("ACS3-HMAC-SHA256", algorithm)), "InvalidSignatureMethod");
    }
    assert_eq!(refusal("POST /\nx-acs-action: AddZone"), "IncompleteSignature");
    assert_eq!(
        refusal(&format!("{ACS3}\n{FORM}\n\nA=b")),
        "IncompleteSignature",
        "what kind of body it is decides over the parameters, so it is to be signed"
    );
}

#[test]
fn blanks_behind_commas_are_allowed() {
    let spaced = http(&ACS3.replace(",S", ", S"));
    assert!(ApiRequest::read(&spaced).unwrap().claim(&spaced).is_ok());
}

#[test]
fn a_digest_must_be_that_of_the_body() {
    let text = ACS3.replace("authorization", "x-acs-content-sha256: 00\nauthorization");
    let http = http(&text);
    let request = ApiRequest::read(&http).unwrap();
    let mut claim = request.claim(&http).unwrap();
    let (query, _) = all_pairs(&http).unwrap();
    let text = string_to_sign(&claim, &http, &query, &query, &sign::sha256_hex(&http.body));
    claim.signature = claim.scheme.sign("secret", &text);
    let error = request.verify(&claim, &http, "secret").unwrap_err();
    assert_eq!(error.code, "SignatureDoesNotMatch");
}

#[test]
fn parameters_are_counted() {
    let many = |count: usize| format!("POST /?A=1\n\n{}", "a&".repeat(count));
    assert!(ApiRequest::read(&http(&many(MAX_PAIRS - 1))).is_ok());
    let error = ApiRequest::read(&http(&many(MAX_PAIRS))).unwrap_err();
    assert_eq!((error.status, &*error.code), (400, "TooManyParameters"));
    assert!(ApiRequest::read(&http(&many(3_400_000))).is_err());
}

#[test]
fn a_body_that_follows_is_signed_by_its_digest() {
    let text = ACS3
        .replace("authorization", "x-acs-content-sha256: 00ff\ncontent-type: application/json\nauthorization")
        .replace("SignedHeaders=", "SignedHeaders=content-type;x-acs-content-sha256;");
    let mut http = HttpRequest { body_follows: true, ..http(&text) };
    let request = ApiRequest::read(&http).unwrap();
    let mut claim = request.claim(&http).unwrap();
    let (query, _) = all_pairs(&http).unwrap();
    claim.signature = claim.scheme.sign("secret", &string_to_sign(&claim, &http, &query, &query, "00ff"));
    assert!(http.has_document());
    assert_eq!(request.verify(&claim, &http, "secret"), Ok(()));
    assert_eq!(request.verify(&claim, &http, "other").unwrap_err().code, "SignatureDoesNotMatch");
    http.headers.retain(|(name, _)| name != DIGEST);
    assert_eq!(request.verify(&claim, &http, "secret").unwrap_err().code, "IncompleteSignature");
}

#[test]
fn a_header_is_signed_once() {
    for names in ["x-acs-date;".repeat(2), "a;".repeat(2), (0..200).map(|at| format!("h{at};")).collect()] {
        assert_eq!(
            refusal(&ACS3.replace("x-acs-date;", &format!("x-acs-date;{names}"))),
            "IncompleteSignature"
        );
    }
}
