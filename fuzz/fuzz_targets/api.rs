//! Any request of the API: reading it and settling its signature never panics, a refusal tells the text whose
//! signature is taken then, and no other secret makes the same one.
//!
//! The input is the request as text: `METHOD path?query`, a line for each header, an empty line, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pvtzd::api::request::{ApiRequest, HttpRequest};
use pvtzd::base::timestamp;

const SECRET: &str = "lab-secret";

/// The request that the text describes.
fn request(input: &[u8]) -> HttpRequest {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, body) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|&byte| byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (method, target) = first.split_once(' ').unwrap_or((&first, "/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        Some((name, line[colon + 1..].to_vec()))
    };
    HttpRequest {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: lines.filter_map(header).collect(),
        body: body.into(),
        body_follows: false,
    }
}

fuzz_target!(|input: &[u8]| {
    let http = request(input);
    let Ok(read) = ApiRequest::read(&http) else { return };
    let Ok(mut claim) = read.claim(&http) else { return };
    let _ = timestamp::parse(&claim.timestamp);
    let refusal = read.verify(&claim, &http, SECRET);
    if let Err(refusal) = refusal {
        // The right signature is that of the text which the refusal tells.
        let (_, text) = refusal.message.split_once(':').expect("a colon before the text");
        claim.signature = claim.scheme.sign(SECRET, text);
    }
    let digest = http.header("x-acs-content-sha256");
    if read.verify(&claim, &http, SECRET).is_ok() {
        assert!(read.verify(&claim, &http, "another").is_err(), "two secrets for one signature");
    } else {
        assert!(digest.is_some(), "its own signature is refused");
    }
    let Ok(params) = read.params(&http) else { return };
    assert!(params.iter().all(|(name, _)| name != "Signature"), "the signature is no action's parameter");
});
