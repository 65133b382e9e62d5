//! The API's gateway over real connections: what it takes, and what it withstands.

use crate::eventually;
use pvtzd::api::client::{ApiClient, CallError};
use pvtzd::api::http;
use pvtzd::api::http::HttpLimits;
use pvtzd::api::signer;
use pvtzd::api::signer::SigningOrder;
use pvtzd::api::{AccessKey, ActionAnswer, ApiError, ApiService, Call, Gateway, Keys, Params};
use pvtzd::base::connections::Connections;
use pvtzd::base::octets::{OctetKind, Octets};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Answers with the parameters; takes bodies of 1 MiB.
struct Echo;

#[async_trait::async_trait]
impl ApiService for Echo {
    fn serves_version(&self, version: &str) -> bool {
        version == "2018-01-01"
    }

    fn body_limit(&self) -> usize {
        1 << 20
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        match call.action.as_str() {
            "Refuse" => Err(ApiError::new("Zone.NotExists", "Zone is not exists")),
            _ => Ok(call.params.iter().map(|(name, value)| (name.into(), value.into())).collect()),
        }
    }
}

/// A gateway on a free port; it ends when dropped.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        Self::with(HttpLimits::default())
    }

    fn with(limits: HttpLimits) -> Self {
        let runtime = Runtime::new().unwrap();
        let keys: Keys = [AccessKey::new("LTAI-lab", "lab-secret")].into_iter().collect();
        let gateway = Arc::new(Gateway::new(Arc::new(Echo), keys));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(http::serve(listener, gateway, limits, Box::new(http::plain)));
        Self { runtime, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        stream
    }

    /// Sends octets; everything that comes back until the connection ends.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(request); // it may have enough before it has all
        until_end(stream)
    }

    fn call(
        &self,
        secret: &str,
        action: &str,
        params: &Params,
    ) -> Result<serde_json::Map<String, serde_json::Value>, CallError> {
        let key = AccessKey::new("LTAI-lab", secret);
        let host = self.address.to_string();
        let client = ApiClient { address: self.address, host, key, tls: None, timeout: crate::DEADLINE };
        self.runtime.block_on(client.call("2018-01-01", action, params))
    }

    /// Makes sure that it still answers.
    fn assert_alive(&self) {
        let params: Params = [("ZoneName", "a b*c~+/中.example")].into_iter().collect();
        let answer = self.call("lab-secret", "AddZone", &params).unwrap();
        assert_eq!(answer["ZoneName"], "a b*c~+/中.example");
    }
}

/// What comes until the connection ends, in whichever way.
fn until_end(mut stream: TcpStream) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Makes sure that a response has a status and is a refusal with a code, in JSON.
fn assert_refused(response: &str, status: u16, code: &str) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    assert!(response.contains("content-type: application/json;charset=utf-8\r\n"), "{response}");
    assert!(response.contains("x-acs-request-id: "), "{response}");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{response}"));
    assert_eq!(body["Code"], code);
    assert!(
        ["Message", "RequestId", "HostId", "Recommend"].iter().all(|name| body[name].is_string()),
        "{body}"
    );
}

#[test]
fn our_own_client_is_answered() {
    let server = Server::start();
    server.assert_alive();
    let refused = |secret, action| match server.call(secret, action, &Params::default()) {
        Err(CallError::Refused(error, id)) if id.len() == 36 => (error.status, error.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("lab-secret", "Refuse"), (400, "Zone.NotExists".into()));
    assert_eq!(refused("wrong", "AddZone"), (400, "SignatureDoesNotMatch".into()));
    let long: Params = [("A", "x".repeat(256 << 10))].into_iter().collect();
    match server.call("lab-secret", "AddZone", &long) {
        Err(CallError::Refused(error, _)) => assert_eq!(error.status, 413),
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_own_client_says_who_does_not_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let key = AccessKey::new("LTAI-lab", "lab-secret");
    let client = ApiClient { address, host: address.to_string(), key, tls: None, timeout: crate::DEADLINE };
    let runtime = Runtime::new().unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });
    let call = || runtime.block_on(client.call("2018-01-01", "AddZone", &Params::default())).unwrap_err();
    assert!(matches!(call(), CallError::NotTheApi(_, 200)));
    other.join().unwrap();
    assert!(matches!(call(), CallError::Unreachable(..)));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start();
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /?Format=JSON HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["Code"], &body["HostId"]), (&"MissingAction".into(), &"localhost".into()));
    }
}

#[test]
fn other_methods_are_refused() {
    let server = Server::start();
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        let response = server.exchange(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        assert_refused(&response, 405, "InvalidHttpMethod");
        assert!(response.contains("allow: GET, POST\r\n"), "{response}");
        assert!(!response.to_ascii_lowercase().contains("access-control"), "{response}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let server = Server::start();
    let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let response = server.exchange(format!("GET /?ZoneName=%FF {head}\r\n").as_bytes());
    assert_refused(&response, 400, "InvalidParameter");
    let raw = [format!("POST / {head}Content-Length: 4\r\n\r\nA=").as_bytes(), &[0xff, 0xfe]].concat();
    assert_refused(&server.exchange(&raw), 400, "InvalidParameter");
    server.assert_alive();
}

#[test]
fn a_body_that_is_too_long_is_refused_and_not_kept() {
    let server = Server::start();
    let body = vec![b'a'; 10 << 20];
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let response = server.exchange(&[head.as_bytes(), &body].concat());
    assert_refused(&response, 413, "RequestEntityTooLarge");
    // in pieces, so that nobody knows before how long it will be
    let piece = [b"10000\r\n".as_slice(), &[b'a'; 0x10000], b"\r\n"].concat();
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let response = server.exchange(&[head.as_slice(), &piece.repeat(160), b"0\r\n\r\n"].concat());
    assert_refused(&response, 413, "RequestEntityTooLarge");
    // announced, with nothing sent before it is asked for
    let head =
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\nExpect: 100-continue\r\n\r\n";
    assert_refused(&server.exchange(head), 413, "RequestEntityTooLarge");
    server.assert_alive();
}

/// A signed request with a document as its body, as octets: head and body.
fn signed_document(secret: &str, nonce: &str, document: &str) -> (String, Vec<u8>) {
    let params: Params = [("Mode", "MERGE")].into_iter().collect();
    let order = SigningOrder {
        action: "PvtzdImport",
        version: "2018-01-01",
        params: &params,
        now: SystemTime::now(),
        nonce,
    };
    let http =
        signer::acs3_document(&order, document.into(), &AccessKey::new("LTAI-lab", secret), "localhost");
    let mut head = format!("POST /?{} HTTP/1.1\r\nconnection: close\r\n", http.query);
    for (name, value) in &http.headers {
        head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    (head, http.body)
}

/// The head and the body as a request, with the body's length or in chunks.
fn request(head: &str, body: &[u8], chunked: bool) -> Vec<u8> {
    match chunked {
        false => [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(),
        true => {
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let chunks: Vec<u8> = body.chunks(50_000).flat_map(chunk).collect();
            [format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes(), &chunks, b"0\r\n\r\n"].concat()
        }
    }
}

#[test]
fn a_long_body_is_a_document_that_was_signed() {
    let server = Server::start();
    let value = "a".repeat(300 << 10);
    let long: Params = [("ZoneName", value.as_str())].into_iter().collect();
    match server.call("lab-secret", "AddZone", &long) {
        Err(CallError::Refused(error, _)) => {
            assert_eq!((error.status, &*error.code), (413, "RequestEntityTooLarge"))
        }
        other => panic!("a form: {other:?}"),
    }
    let document = format!("{{\"Remark\": \"{value}\"}}");
    for (at, chunked) in [false, true].into_iter().enumerate() {
        let (head, body) = signed_document("lab-secret", &format!("good-{at}"), &document);
        let response = server.exchange(&request(&head, &body, chunked));
        assert!(response.starts_with("HTTP/1.1 200 ") && response.contains(&value), "{}", response.len());
        let (head, body) = signed_document("wrong", &format!("wrong-{at}"), &document);
        let response = server.exchange(&request(&head, &body, chunked));
        assert_refused(&response, 400, "SignatureDoesNotMatch");
        let (head, mut body) = signed_document("lab-secret", &format!("other-{at}"), &document);
        body[20] = b'b';
        assert_refused(&server.exchange(&request(&head, &body, chunked)), 400, "SignatureDoesNotMatch");
    }
    // a signature that is not good is told before the body is sent
    let (head, _) = signed_document("wrong", "expect", &document);
    let head = format!("{head}expect: 100-continue\r\ncontent-length: 307211\r\n\r\n");
    assert_refused(&server.exchange(head.as_bytes()), 400, "SignatureDoesNotMatch");
    let (head, body) = signed_document("lab-secret", "long", &"a".repeat(2 << 20));
    for chunked in [false, true] {
        assert_refused(&server.exchange(&request(&head, &body, chunked)), 413, "RequestEntityTooLarge");
    }
    server.assert_alive();
}

#[test]
fn a_short_document_is_a_parameter() {
    let server = Server::start();
    let (head, body) = signed_document("lab-secret", "short", "{}");
    let response = server.exchange(&request(&head, &body, false));
    assert!(response.contains(r#""Document":"{}""#) && response.contains(r#""Mode":"MERGE""#), "{response}");
}

#[test]
fn long_documents_wait_for_their_turn_and_others_do_not() {
    let long_bodies = Arc::new(Semaphore::new(0));
    let server = Server::with(HttpLimits { long_bodies: long_bodies.clone(), ..HttpLimits::default() });
    let (head, body) = signed_document("lab-secret", "turn", &"a".repeat(300 << 10));
    let mut waiting = server.connect();
    waiting.write_all(&request(&head, &body, false)[..100_000]).unwrap();
    server.assert_alive();
    long_bodies.add_permits(1);
    waiting.write_all(&request(&head, &body, false)[100_000..]).unwrap();
    assert!(until_end(waiting).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_refusal_is_short_whatever_was_sent() {
    let server = Server::start();
    let value = "%01".repeat(25_000);
    let now = pvtzd::base::timestamp::format(SystemTime::now()).replace(':', "%3A");
    let form = format!(
        "Action=AddZone&Version=2018-01-01&AccessKeyId=LTAI-lab&Timestamp={now}&SignatureNonce=1&\
         SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&Signature=AA%3D%3D&Format=JSON&ZoneName={value}"
    );
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nconnection: close\r\n";
    let response = server.exchange(&request(head, form.as_bytes(), false));
    assert_refused(&response, 400, "SignatureDoesNotMatch");
    assert!(response.len() < 8 << 10, "{} octets", response.len());
    for (name, code, status) in
        [("SignatureMethod", "InvalidSignatureMethod", 400), ("Timestamp", "InvalidTimeStamp.Format", 400)]
    {
        let form = form.replace(&format!("{name}="), &format!("{name}={value}"));
        let response = server.exchange(&request(head, form.as_bytes(), false));
        assert_refused(&response, status, code);
        assert!(response.len() < 32 << 10, "{name}: {} octets", response.len());
    }
    let many = "a&".repeat(100_000);
    assert_refused(&server.exchange(&request(head, many.as_bytes(), false)), 400, "TooManyParameters");
    server.assert_alive();
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start();
    for (lines, passes) in [
        ("Host: 127.0.0.1", true),
        ("Host: localhost:5380", true),
        ("Host: [::1]:5380", true),
        ("Host: pvtz.aliyuncs.com", true),
        ("Host: evil.example", false),
        ("Host: localhost\r\nOrigin: http://evil.example", false),
        ("Host: localhost\r\nOrigin: null", false),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site", false),
        ("Host: localhost\r\nSec-Fetch-Site: same-site", false),
        ("Host: localhost\r\nHost: evil.example", false),
    ] {
        let response =
            server.exchange(format!("GET / HTTP/1.1\r\nconnection: close\r\n{lines}\r\n\r\n").as_bytes());
        match passes {
            true => assert!(
                response.starts_with("HTTP/1.1 400 ") && response.contains("MissingAction"),
                "{lines}: {response}"
            ),
            false => assert_refused(&response, 403, "Forbidden.Host"),
        }
    }
}

/// Clients that send long bodies and do not finish, and others that do not read, cost no more than the account.
#[test]
fn what_waits_on_all_connections_is_bounded() {
    let octets = Octets::default();
    let server = Server::with(HttpLimits { octets: octets.clone(), ..HttpLimits::default() });
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 260000\r\n\r\n";
    let body = vec![b'a'; 259_999];
    let long_head = format!("GET /?{} HTTP/1.1\r\n", "a".repeat(60_000));
    let mut held = Vec::new();
    for at in 0..100 {
        let mut stream = server.connect();
        stream.set_nonblocking(true).unwrap();
        let request =
            if at % 2 == 0 { [head.as_bytes(), &body].concat() } else { long_head.clone().into_bytes() };
        let _ = stream.write(&request); // as much as goes at once
        held.push(stream);
        assert!(octets.waiting(OctetKind::Api) <= OctetKind::Api.total() * 3 / 2);
    }
    server.assert_alive();
    drop(held);
    eventually("the octets to come back", || (octets.waiting(OctetKind::Api) == 0).then_some(()));
}

#[test]
fn slow_senders_are_cut_off() {
    let limits = HttpLimits {
        head: Duration::from_millis(100),
        body: Duration::from_millis(100),
        ..HttpLimits::default()
    };
    let server = Server::with(limits);
    let begin = Instant::now();
    assert_eq!(until_end(server.connect()), "", "silence");
    let response = server.exchange(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le");
    assert!(!response.contains("200"), "{response}");
    let response = server.exchange(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
    assert_refused(&response, 408, "RequestTimeout");
    assert!(begin.elapsed() < crate::DEADLINE, "by the deadline, not by the test's patience");
    server.assert_alive();
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let server = Server::start();
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), // TLS
        b"\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let response = server.exchange(garbage);
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{response}");
    }
    let long = format!("GET /?{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    assert!(!server.exchange(long.as_bytes()).contains(" 200 "));
    server.assert_alive();
}

#[test]
fn a_thousand_idle_connections_keep_no_client_out() {
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 4096.min(hard).max(soft);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    let server = Server::with(HttpLimits {
        connections: Connections::of_kind(OctetKind::Api, 64),
        ..HttpLimits::default()
    });
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| server.connect()).collect();
    server.assert_alive();
    // the oldest made room
    eventually("the first connection to be closed", || {
        idle[0].set_nonblocking(true).unwrap();
        match idle[0].read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            _ => Some(()),
        }
    });
    server.assert_alive();
}
