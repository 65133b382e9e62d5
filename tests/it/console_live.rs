//! The console's live log and its imports over real connections, and what its answers tell caches and frames.

use crate::console::{CONFIG, act, call, get, send, session};
use crate::server::Server;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Answers are read as they are given, with the question's name as text.
#[test]
fn the_live_log_shows_answers_while_it_is_read() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    let first = call(&server, "log", &token, &json!({})).json();
    assert_eq!(first["rows"], json!([]), "nothing was kept before");
    server.ask(r"\<img\032src=x\032onerror=alert(1)\>.example", "A");
    let next = json!({ "after": first["last"], "began": first["began"] });
    let told = call(&server, "log", &token, &next).json();
    let row = &told["rows"][0];
    assert!(row["query_name"].as_str().unwrap().contains("img\\032src"), "{told}");
    assert_eq!((row["src_addr"].as_str(), row["query_type"].as_str()), (Some("127.0.0.1"), Some("A")));
    assert_eq!((told["seen"].as_u64(), told["matched"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn the_server_applies_the_filters_of_the_live_log() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    let zone = act(&server, &token, "AddZone", json!({ "ZoneName": "a.example" })).json()["ZoneId"].clone();
    let record = json!({ "ZoneId": zone, "Rr": "www", "Type": "A", "Value": "192.0.2.1" });
    assert_eq!(act(&server, &token, "AddZoneRecord", record).status, 200);
    let bind = json!({ "ZoneId": zone, "Vpcs.1.VpcId": "vpc-lab" });
    assert_eq!(act(&server, &token, "BindZoneVpc", bind).status, 200);
    for (filter, wanted) in [
        (json!({ "name": "WWW.a" }), true),
        (json!({ "name": ".a.example." }), true),
        (
            json!({ "name": "www.a.example." , "type": "a", "code": "noerror", "client": "127.0.0.0/8", "path": "auth" }),
            true,
        ),
        (json!({ "client": "127.0.0.1" }), true),
        (json!({ "code": "0" }), true),
        (json!({ "name": ".ww." }), false),
        (json!({ "type": "AAAA" }), false),
        (json!({ "code": "SERVFAIL" }), false),
        (json!({ "client": "127.0.0.2" }), false),
        (json!({ "path": "FORWARD" }), false),
    ] {
        let first = call(&server, "log", &token, &filter).json();
        server.ask("www.a.example", "A");
        server.ask("www.a.example", "A"); // from the packet cache, too
        let mut next = filter.clone();
        (next["after"], next["began"]) = (first["last"].clone(), json!(0));
        let told = call(&server, "log", &token, &next).json();
        let rows = told["rows"].as_array().unwrap().len();
        assert_eq!((rows > 0, told["seen"].as_u64()), (wanted, Some(2)), "{filter}: {told}");
        assert_eq!(told["matched"].as_u64(), Some(if wanted { 2 } else { 0 }), "{filter}: {told}");
        // Another filter of the same page begins anew.
        call(&server, "log", &token, &json!({ "name": "other" }));
    }
    for wrong in [
        json!({ "type": "NONE" }),
        json!({ "code": "FINE" }),
        json!({ "code": "99999" }),
        json!({ "name": "a..b" }),
        json!({ "name": "x".repeat(2000) }),
        json!({ "reader": "x".repeat(65) }),
        json!({ "name": 7 }),
    ] {
        assert_eq!(call(&server, "log", &token, &wrong).status, 400, "{wrong}");
    }
    let pages = (0..200).map(|reader| {
        let query = json!({ "reader": reader.to_string() });
        call(&server, "log", &token, &query).status
    });
    let statuses: Vec<u16> = pages.collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        3,
        "with the one above: {statuses:?}"
    );
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
}

/// Files of the page's user, of all kinds, with the changes shown before.
#[test]
fn an_import_takes_all_that_the_command_takes() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    let import = |files: Value, apply: Option<&Value>| {
        let body = json!({ "files": files, "mode": "MERGE", "apply": apply });
        call(&server, "import", &token, &body)
    };
    let zones = || act(&server, &token, "DescribeZones", json!({})).json()["TotalItems"].clone();
    let files = json!([
        { "name": "corp.example.zone", "text": "$TTL 60\n@ SOA ns admin 1 2 3 4 5\nwww A 192.0.2.1\nsub NS ns.x.\n" },
        { "name": "hosts", "text": "192.0.2.2 db.app.example\n" },
        { "name": "zones.toml", "text": "[[Zones]]\nZoneName = \"__proto__\"\n[[Zones.Records]]\nRr = \"constructor\"\nType = \"A\"\nValue = \"192.0.2.3\"\n" },
        { "name": "a.json", "text": "{\"ZoneId\":\"z1\",\"ZoneName\":\"real.example\",\"RecordCount\":1}" },
        { "name": "b.json", "text": "{\"Records\":{\"Record\":[{\"RecordId\":1,\"ZoneId\":\"z1\",\"Rr\":\"@\",\"Type\":\"A\",\"Value\":\"192.0.2.4\"}]}}" },
    ]);
    let planned = import(files.clone(), None);
    assert_eq!(planned.status, 200, "{}", planned.body);
    let planned = planned.json();
    assert_eq!(
        (&planned["Added"]["Zones"], &planned["Added"]["Records"]),
        (&json!(4), &json!(4)),
        "{planned}"
    );
    assert!(planned["Notes"][0].as_str().unwrap().contains("type NS"), "{planned}");
    assert_eq!(zones(), 0, "nothing is done before it is confirmed");
    let other = act(&server, &token, "AddZone", json!({ "ZoneName": "corp.example" }));
    assert_eq!(other.status, 200);
    let stale = import(files.clone(), Some(&planned["Apply"]));
    assert_eq!((stale.status, stale.json()["Code"].as_str()), (409, Some("Changed")), "{}", stale.body);
    let again = import(files.clone(), None).json();
    let done = import(files.clone(), Some(&again["Apply"]));
    assert_eq!((done.status, zones()), (200, json!(4)), "{}", done.body);
    assert_eq!(import(files, None).json()["Added"]["Records"], 0);
    for (name, text) in [
        ("a.zone", "$INCLUDE /etc/hostname\n"),
        ("a.zone", "www A 192.0.2.300\n"),
        ("x", "www A 192.0.2.1\n"),
        ("hosts", "192.0.2.1 a..b\n"),
        ("a.json", "{\"Zones\":[{\"ZoneName\":\"a..b\"}]}"),
        ("a.json", "{"),
        ("", ""),
    ] {
        let refused = import(json!([{ "name": name, "text": text }]), None);
        assert!(refused.status == 400 || text.is_empty(), "{name} {text}: {}", refused.body);
    }
}

/// A long body is read for a session that may import, and for nobody else.
#[test]
fn a_long_import_is_taken_from_a_session_alone() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    let lines: String = (0..30_000)
        .map(|number| format!("h{number} 60 A 10.0.{}.{}\n", number / 250, number % 250))
        .collect();
    let body = json!({ "files": [{ "name": "big.example.zone", "text": lines }], "mode": "MERGE" });
    assert!(body.to_string().len() > 512 << 10);
    let planned = call(&server, "import", &token, &body);
    assert_eq!(planned.status, 200, "{}", planned.body);
    let planned = planned.json();
    assert_eq!(planned["Added"]["Records"], 30_000);
    assert_eq!(
        planned["Changes"].as_array().unwrap().len() as u64 + planned["ChangesOmitted"].as_u64().unwrap(),
        30_001
    );
    for (name, token) in [("import", "guess"), ("call", token.as_str()), ("session", "")] {
        assert_eq!(refusal_of_head(&server, name, token, 1 << 20), 413, "{name}");
    }
    assert_eq!(refusal_of_head(&server, "import", &token, 21 << 20), 413);
    let read = session(&server, &["--read-only"]);
    assert_eq!(call(&server, "import", &read, &json!({ "files": [], "mode": "MERGE" })).status, 403);
    assert_eq!(refusal_of_head(&server, "import", &read, 1 << 20), 413);
}

/// The status for a request that announces so many octets and sends none of them.
fn refusal_of_head(server: &Server, name: &str, token: &str, octets: usize) -> u16 {
    let mut stream = TcpStream::connect(server.api()).unwrap();
    let host = server.api();
    let head = format!(
        "POST /console/api/{name} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {octets}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    told.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn nothing_that_is_told_is_kept_by_a_cache_or_framed() {
    let server = Server::start(CONFIG);
    let (host, token) = (server.api().to_string(), session(&server, &[]));
    let answers = [
        call(&server, "info", &token, &json!({})),
        call(&server, "info", "guess", &json!({})),
        call(&server, "none", &token, &json!({})),
        act(&server, &token, "DescribeZones", json!({})),
        get(&server, "/console/none", &[]),
        send(&server, "GET /console/", &[("host", "evil.example")], ""),
        send(&server, "TRACE /console/", &[("host", &host)], ""),
        send(&server, "OPTIONS /console/api/info", &[("host", &host), ("origin", "null")], ""),
        send(&server, "POST /console/api/info", &[("host", &host), ("origin", "null")], "{}"),
    ];
    for answer in answers {
        for header in
            ["cache-control: no-store", "x-frame-options: deny", "frame-ancestors 'none'", "nosniff"]
        {
            assert!(answer.head.contains(header), "{header}: {}", answer.head);
        }
        assert!(
            !answer.head.contains("access-control") && !answer.head.contains("set-cookie"),
            "{}",
            answer.head
        );
    }
    for method in ["TRACE", "OPTIONS", "DELETE", "CONNECT", "POST"] {
        let refused = send(&server, &format!("{method} /console/"), &[("host", &host)], "");
        assert!(refused.status == 405 || method == "CONNECT", "{method}: {}", refused.status);
        assert!(!refused.body.contains(&token), "{method}");
    }
    let head = send(&server, "HEAD /console/main.js", &[("host", &host)], "");
    assert!(head.status == 200 && head.body.is_empty());
}

/// Pages that ask for rows and never read an answer hold nobody up.
#[test]
fn readers_that_never_read_leave_room_for_others() {
    let server = Server::start(CONFIG);
    let token = session(&server, &[]);
    let first = call(&server, "log", &token, &json!({})).json();
    let body = json!({ "after": first["last"], "began": first["began"] }).to_string();
    let host = server.api();
    let request = format!(
        "POST /console/api/log HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let waiting: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = TcpStream::connect(server.api()).unwrap();
            stream.write_all(request.repeat(5).as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        server.ask("www.example.com", "A");
        assert_eq!(call(&server, "info", &token, &json!({})).status, 200);
        assert_eq!(act(&server, &token, "DescribeZones", json!({})).status, 200);
    }
    drop(waiting);
}
