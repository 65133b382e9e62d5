//! The console over real connections: whom it answers, what it says to browsers, and what it changes.

use crate::server::{Server, command};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A server with an API, and thus with the console.
pub(crate) use crate::server::API_CONFIG as CONFIG;

/// A response: status, head in lower case, body.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A request as it is written, with its `Host` as the headers say.
pub(crate) fn send(server: &Server, line: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = TcpStream::connect(server.api()).unwrap();
    let mut text = format!("{line} HTTP/1.1\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let (head, body) = told.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {told}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.to_lowercase(), body: body.into() }
}

/// Gets a page.
pub(crate) fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let host = server.api().to_string();
    send(server, &format!("GET {path}"), &[&[("host", host.as_str())], headers].concat(), "")
}

/// Calls as a page does.
pub(crate) fn call(server: &Server, name: &str, token: &str, body: &Value) -> Response {
    let (host, bearer) = (server.api().to_string(), format!("Bearer {token}"));
    let origin = format!("http://{host}");
    let headers = [
        ("host", host.as_str()),
        ("origin", &origin),
        ("sec-fetch-site", "same-origin"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ];
    send(server, &format!("POST /console/api/{name}"), &headers, &body.to_string())
}

/// A code, as `pvtzd console` prints it.
fn code(server: &Server, words: &[&str]) -> String {
    let done = command()
        .args(["console", "--json", "--config"])
        .arg(server.config())
        .args(["--endpoint", &server.api().to_string()])
        .args(words)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    let told: Value = serde_json::from_str(&told)
        .unwrap_or_else(|_| panic!("{told}{}", String::from_utf8_lossy(&done.stderr)));
    let address = told["address"].as_str().unwrap();
    let (place, code) = address.split_once("#code=").unwrap();
    assert_eq!(place, format!("http://{}/console/", server.api()));
    code.into()
}

/// The token of a session.
pub(crate) fn session(server: &Server, words: &[&str]) -> String {
    let begun = call(server, "session", "", &json!({ "code": code(server, words) }));
    assert_eq!(begun.status, 200, "{}", begun.body);
    begun.json()["token"].as_str().unwrap().into()
}

/// An action of the API.
pub(crate) fn act(server: &Server, token: &str, action: &str, params: Value) -> Response {
    call(server, "call", token, &json!({ "action": action, "params": params }))
}

#[test]
fn pages_come_with_a_strict_policy_and_no_cookie() {
    let server = Server::start(CONFIG);
    for (path, kind) in [
        ("/console/", "text/html; charset=utf-8"),
        ("/console/main.js", "text/javascript; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
    ] {
        let page = get(&server, path, &[]);
        assert_eq!(page.status, 200, "{path}");
        for header in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
            "require-trusted-types-for 'script'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
        ] {
            assert!(page.head.contains(header), "{path}: {header}: {}", page.head);
        }
        for header in ["set-cookie", "access-control"] {
            assert!(!page.head.contains(header), "{path}: {}", page.head);
        }
    }
    let moved = get(&server, "/console", &[]);
    assert!(moved.status == 308 && moved.head.contains("location: /console/"), "{}", moved.head);
    for path in ["/console/../etc/passwd", "/console/%2e%2e/mod.rs", "/console/none.js", "/console//main.js"]
    {
        assert_eq!(get(&server, path, &[]).status, 404, "{path}");
    }
    // The API beside it is as before.
    assert_eq!(get(&server, "/other", &[]).status, 404);
    assert!(
        get(&server, "/", &[]).body.contains("IncompleteSignature") || get(&server, "/", &[]).status >= 400
    );
}

#[test]
fn a_rebound_host_is_not_served() {
    let server = Server::start(CONFIG);
    let port = server.api().port();
    for host in ["evil.example", "127.0.0.1.evil.example", "pvtz.aliyuncs.com", "pvtzd", "192.0.2.1"] {
        for named in [host.to_string(), format!("{host}:{port}")] {
            let page = send(&server, "GET /console/", &[("host", &named)], "");
            assert_eq!(page.status, 421, "{named}");
            let origin = format!("http://{named}");
            let headers = [
                ("host", named.as_str()),
                ("origin", &origin),
                ("sec-fetch-site", "same-origin"),
                ("content-type", "application/json"),
            ];
            let body = json!({ "code": code(&server, &[]) }).to_string();
            assert_eq!(send(&server, "POST /console/api/session", &headers, &body).status, 421, "{named}");
        }
    }
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "127.0.0.1".into()] {
        assert_eq!(send(&server, "GET /console/", &[("host", &host)], "").status, 200, "{host}");
    }
    assert!(send(&server, "GET /console/", &[], "").status >= 400, "without a host");
}

#[test]
fn only_pages_of_the_console_may_call() {
    let server = Server::start(CONFIG);
    let (host, token) = (server.api().to_string(), session(&server, &[]));
    let bearer = format!("Bearer {token}");
    let own = format!("http://{host}");
    let json = ("content-type", "application/json");
    let base = [("host", host.as_str()), ("authorization", bearer.as_str())];
    let with = |more: &[(&str, &str)]| {
        let headers = [&base[..], more].concat();
        send(&server, "POST /console/api/info", &headers, "{}").status
    };
    assert_eq!(with(&[json, ("origin", &own), ("sec-fetch-site", "same-origin")]), 200);
    for (origin, site) in [
        ("http://evil.example", "cross-site"),
        ("http://127.0.0.1:1", "same-site"),
        ("null", "cross-site"),
        (own.as_str(), "cross-site"),
        ("http://evil.example", "same-origin"),
    ] {
        assert_eq!(with(&[json, ("origin", origin), ("sec-fetch-site", site)]), 403, "{origin} {site}");
    }
    // What a form of another page can send.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        assert_eq!(with(&[("content-type", kind), ("origin", &own)]), 415, "{kind}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer =
            send(&server, &format!("{method} /console/api/info"), &[base.as_slice(), &[json]].concat(), "");
        assert_eq!(answer.status, 405, "{method}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    let upgrade = [("host", host.as_str()), ("connection", "upgrade"), ("upgrade", "h2c")];
    assert_eq!(send(&server, "GET /console/", &upgrade, "").status, 400);
    let long = "x".repeat(300 << 10);
    assert_eq!(
        send(&server, "POST /console/api/info", &[base.as_slice(), &[json]].concat(), &long).status,
        413
    );
}

#[test]
fn a_code_counts_once_and_a_session_ends() {
    let server = Server::start(CONFIG);
    assert_eq!(call(&server, "info", "", &json!({})).status, 401);
    assert_eq!(call(&server, "info", "guess", &json!({})).status, 401);
    let code = code(&server, &[]);
    let begun = call(&server, "session", "", &json!({ "code": code }));
    let token = begun.json()["token"].as_str().unwrap().to_string();
    let stolen = call(&server, "session", "", &json!({ "code": code }));
    assert_eq!((stolen.status, stolen.json()["Code"].as_str()), (403, Some("BadCode")), "{}", stolen.body);
    assert_eq!(call(&server, "info", &token, &json!({})).status, 200);
    assert_eq!(call(&server, "session/end", &token, &json!({})).status, 200);
    assert_eq!(call(&server, "info", &token, &json!({})).status, 401);
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(call(&server, "session", "", &json!({ "code": "guess" })).status == 429);
    }
    assert!(refused >= 10, "{refused}");
    // A session makes no codes for others.
    let denied = act(&server, &token, "PvtzdConsoleCode", json!({}));
    assert_eq!(denied.status, 401);
}

#[test]
fn what_the_console_changes_is_the_apis_and_in_its_log() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    assert_eq!(act(&server, &token, "PvtzdConsoleCode", json!({})).status, 403);
    let zone = act(&server, &token, "AddZone", json!({ "ZoneName": "a.example" })).json()["ZoneId"].clone();
    let record = json!({ "ZoneId": zone, "Rr": "www", "Type": "A", "Value": "192.0.2.1" });
    assert_eq!(act(&server, &token, "AddZoneRecord", record).status, 200);
    let wrong = json!({ "ZoneId": zone, "Rr": "www", "Type": "A", "Value": "192.0.2.300" });
    let wrong = act(&server, &token, "AddZoneRecord", wrong);
    assert_eq!((wrong.status, wrong.json()["Code"].as_str()), (400, Some("Record.Invalid.Value")));
    let bind = json!({ "ZoneId": zone, "Vpcs.1.VpcId": "vpc-lab", "Vpcs.1.RegionId": "cn-hangzhou" });
    assert_eq!(act(&server, &token, "BindZoneVpc", bind).status, 200);
    assert_eq!(server.ask("www.a.example", "A").values(), ["192.0.2.1"]);
    let log = act(&server, &token, "DescribeChangeLogs", json!({})).json();
    let log = log["ChangeLogs"]["ChangeLog"].as_array().unwrap();
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(
        log.iter().all(|line| line["CreatorId"] == "console" && line["OperIp"] == "127.0.0.1"),
        "{log:?}"
    );

    let told = call(&server, "explain", &token, &json!({ "name": "www.a.example", "type": "A" })).json();
    assert_eq!(
        (told["hops"][0]["source"].as_str(), told["result"].as_str()),
        (Some("zone"), Some("NOERROR"))
    );
    assert_eq!(told["vpc"], "vpc-lab");
    let status = call(&server, "status", &token, &json!({})).json();
    assert!(status["queries"]["asked"].as_u64().unwrap() >= 1, "{status}");
    for (name, body) in [
        ("top", json!({ "count": 5 })),
        ("cache", json!({ "name": "www.a.example" })),
        ("flush", json!({ "what": "all" })),
        ("info", json!({})),
    ] {
        assert_eq!(call(&server, name, &token, &body).status, 200, "{name}");
    }
    for (name, body) in [
        ("explain", json!({ "name": "..", "type": "A" })),
        ("explain", json!({ "name": "a", "type": "NONE" })),
        ("cache", json!({ "name": ".." })),
        ("test", json!({ "name": "localhost" })),
        ("test", json!({ "name": "bucket.oss-cn-hangzhou.aliyuncs.com" })),
        ("call", json!([])),
        ("call", json!({ "action": "NoSuch" })),
        ("log", json!({ "after": -1 })),
    ] {
        let refused = call(&server, name, &token, &body);
        assert!((400..500).contains(&refused.status), "{name} {body}: {}", refused.body);
    }
}

#[test]
fn a_read_only_console_shows_and_changes_nothing() {
    for (config, words) in [
        (CONFIG.replace("[control]\n", "[control]\nconsole = \"read\"\n"), &[][..]),
        (CONFIG.to_string(), &["--read-only"][..]),
    ] {
        let server = Server::start(&config);
        let token = session(&server, words);
        assert_eq!(call(&server, "info", &token, &json!({})).json()["role"], "read");
        for action in ["AddZone", "PvtzdImport", "addzone", "NoSuchAction", "AddZone\0"] {
            let told = act(&server, &token, action, json!({ "ZoneName": "a.example", "Document": "{}" }));
            assert_eq!((told.status, told.json()["Code"].as_str()), (403, Some("ReadOnly")), "{action}");
        }
        assert_eq!(call(&server, "flush", &token, &json!({ "what": "all" })).status, 403);
        assert_eq!(act(&server, &token, "DescribeZones", json!({})).status, 200);
    }
}

#[test]
fn without_the_console_there_are_no_pages() {
    let server = Server::start(&CONFIG.replace("[control]\n", "[control]\nconsole = false\n"));
    assert_eq!(get(&server, "/console/", &[]).status, 404);
    let done = command()
        .args(["console", "--config"])
        .arg(server.config())
        .args(["--endpoint", &server.api().to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && told.contains("console = true"), "{told}");
}
