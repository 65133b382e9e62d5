//! The test of an API name: where it resolves to, and whether an API answers there.

use super::reply::{CallRefusal, Told};
use super::{Console, LabApi};
use crate::api::Params;
use crate::api::signer::{self, SignaturePlace, SigningOrder};
use crate::base::local_address::reached_at;
use crate::config::endpoints;
use crate::host::doctor::tls::{self, TrustedStream};
use crate::host::doctor::{Check, endpoint};
use crate::http::client::exchange;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// The port of APIs outside a lab.
const HTTPS: u16 = 443;

/// Timeout of the call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest response body, in octets.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// The version of the ECS API.
const ECS: &str = "2014-05-26";

/// The step of the call.
const STEP: &str = "call";

/// The name to test.
#[derive(Debug, Deserialize)]
pub(super) struct EndpointQuery {
    name: String,
}

/// Resolves an API name at this server, connects, verifies the certificate and calls `DescribeRegions`. Other names are
/// refused: a page could otherwise make this machine connect to any host.
pub(super) async fn test(console: &Console, query: EndpointQuery) -> Told {
    let name = query.name.trim_end_matches('.').to_ascii_lowercase();
    if !endpoints::is_api_name(&name) {
        return Err(CallRefusal::invalid("not an API name of Alibaba Cloud"));
    }
    let Ok(_turn) = console.slow.try_acquire() else {
        return Err(CallRefusal::busy("another lookup is in progress: try again"));
    };
    let server = console.parts.view.listening.first().map(|at| reached_at(*at));
    let server = server.ok_or_else(|| CallRefusal::invalid("this server has no DNS listener"))?;
    let lab = console.parts.setting.lab.as_ref();
    let port = lab.map_or(HTTPS, |lab| lab.port);
    let roots = lab.map_or_else(tls::roots, |lab| Some(lab.roots.clone()));
    let (mut checks, address) = endpoint::check(server, &name, port, roots.clone()).await;
    match (address, roots) {
        (Some(address), Some(roots)) => {
            let called = timeout(TIMEOUT, call(address, &name, roots, lab)).await;
            checks.push(call_check(
                called.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                lab.is_some(),
            ));
        }
        (None, _) => checks.push(Check::skip(STEP, "the name leads to no server that was reached")),
        (_, None) => checks.push(Check::skip(STEP, "this system has no trusted roots")),
    }
    Ok(json!({ "server": server.to_string(), "checks": checks }))
}

/// The check for the call's result.
fn call_check(called: io::Result<Value>, signed: bool) -> Check {
    let answer = match called {
        Ok(answer) => answer,
        Err(error) => return Check::fail(STEP, format!("DescribeRegions: {error}"), "see the steps above"),
    };
    let regions = answer["Regions"]["Region"].as_array().map(Vec::len);
    match (regions, answer["Code"].as_str()) {
        (Some(regions), _) => Check::pass(STEP, format!("DescribeRegions, signed: {regions} regions")),
        // Without an access key the API refuses the call, which still shows that an API answers.
        (None, Some(code)) if !signed => {
            Check::pass(STEP, format!("DescribeRegions without an access key: the API answers, with {code}"))
        }
        (None, code) => Check::fail(
            STEP,
            format!("DescribeRegions: {}", code.unwrap_or("an answer without regions")),
            "another server answers there",
        ),
    }
}

/// Calls `DescribeRegions` at an address; the request is signed if there is a key.
async fn call(
    address: SocketAddr,
    host: &str,
    roots: tokio_rustls::rustls::RootCertStore,
    lab: Option<&LabApi>,
) -> io::Result<Value> {
    let stream: TrustedStream = tls::connect_trusted(address, host, roots).await?;
    let request = match lab {
        Some(lab) => {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let nonce = data_encoding::HEXLOWER.encode(&random);
            let params = Params::default();
            let (action, now) = ("DescribeRegions", SystemTime::now());
            let order = SigningOrder { action, version: ECS, params: &params, now, nonce: &nonce };
            let signed = signer::acs3(&order, SignaturePlace::PostQuery, &lab.key, host);
            let mut request = Request::builder().method(signed.method.as_str()).uri("/");
            for (name, value) in &signed.headers {
                request = request.header(name, value.as_slice());
            }
            request
        }
        None => Request::builder()
            .uri(format!("/?Action=DescribeRegions&Version={ECS}&Format=JSON"))
            .header("host", host),
    };
    let request = request.body(Full::new(Bytes::new())).map_err(io::Error::other)?;
    let response = exchange(Box::new(stream), request, MAX_RESPONSE_BYTES).await?;
    serde_json::from_slice(response.body()).map_err(io::Error::other)
}
