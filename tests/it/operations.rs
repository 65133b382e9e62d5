//! What an operator sees: metrics, health, the control socket and its commands, the query log, statistics.

use crate::client::Ask;
use crate::eventually;
use crate::server::{Server, command};
use crate::upstream::{self, Upstream};
use pvtzd::admin::metrics::METRICS;
use pvtzd::api::client::ApiClient;
use pvtzd::api::{AccessKey, Params};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A private zone with one name.
const ZONE: &str =
    "[[zone]]\nname = \"p.example\"\n[[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n";

/// A server with metrics and a control socket.
struct Observed {
    server: Server,
    http: SocketAddr,
    socket: PathBuf,
    directory: TempDir,
}

impl Observed {
    fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let ops = format!("[ops]\nlisten = \"127.0.0.1:0\"\nsocket = \"{}\"\n", socket.display());
        let config = config.replace("DIRECTORY", &directory.path().display().to_string());
        let server = Server::start(&(ops + &config));
        let line = server.line("metrics and health are served");
        let http = line.rsplit_once("listen=").unwrap().1.parse().unwrap();
        Self { server, http, socket, directory }
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    /// Sends octets over HTTP; status and body of what comes back.
    fn send(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_string()))
    }

    /// The value of a sample; 0 when it is not there.
    fn metric(&self, sample: &str) -> f64 {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200);
        let line =
            page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ').map(str::to_string));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Runs a command of the program against the server.
    fn run(&self, arguments: &[&str]) -> Output {
        command().args(arguments).arg("--socket").arg(&self.socket).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn the_metrics_that_are_documented_are_those_that_are_shown() {
    let observed = Observed::start("[upstream]\nservers = []\n");
    let (_, page) = observed.get("/metrics");
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let documented: BTreeSet<String> =
        document.lines().filter(|line| line.starts_with("| `")).map(str::to_string).collect();
    let known = METRICS.iter().map(|metric| {
        let labels: Vec<String> = metric
            .labels
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
    });
    assert_eq!(documented, known.collect(), "docs/metrics.md and METRICS differ");
    let shown: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown.len(), names.len(), "each once: {shown:?}");
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), names);
}

#[test]
fn labels_are_those_that_are_documented() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let observed = Observed::start(&(upstream.config() + ZONE));
    observed.server.ask("www.p.example", "A");
    observed.server.ask("www.test", "A");
    let (_, page) = observed.get("/metrics");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) =
            line.rsplit_once(' ').unwrap().0.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
        let base = |ending: &str| name.strip_suffix(ending).unwrap_or(name);
        let metric = METRICS
            .iter()
            .find(|metric| [name, base("_bucket"), base("_sum"), base("_count")].contains(&metric.name))
            .unwrap_or_else(|| panic!("{line}"));
        for label in labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split('=').next()) {
            let known =
                metric.labels.split(", ").any(|known| known == label) || label == "le" || label.is_empty();
            assert!(known, "{label} of {line}");
        }
    }
}

#[test]
fn every_answer_is_counted_once_by_whatever_way() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let observed = Observed::start(&(upstream.config() + ZONE));
    let server = &observed.server;
    for _ in 0..3 {
        server.ask("www.p.example", "A"); // the second and third by the fast lane
        server.ask("none.p.example", "AAAA");
        server.ask("www.test", "A"); // the first is forwarded, the second is from the cache, then the fast lane
    }
    Ask::new("www.p.example", "A").over_tcp(server.address).unwrap();
    let request = |proto, rtype| {
        let address = server.address;
        observed.metric(&format!("pvtzd_dns_requests_total{{server=\"dns://{address}\",proto=\"{proto}\",family=\"1\",type=\"{rtype}\"}}"))
    };
    assert_eq!((request("udp", "A"), request("udp", "AAAA"), request("tcp", "A")), (6.0, 3.0, 1.0));
    assert_eq!(observed.metric("pvtzd_dns_responses_total{rcode=\"NOERROR\"}"), 7.0);
    assert_eq!(observed.metric("pvtzd_dns_responses_total{rcode=\"NXDOMAIN\"}"), 3.0);
    assert_eq!(observed.metric("pvtzd_dns_request_duration_seconds_count"), 10.0);
    assert_eq!(observed.metric("pvtzd_cache_misses_total"), 1.0);
    assert_eq!(observed.metric("pvtzd_cache_hits_total{type=\"success\"}"), 2.0);
    assert_eq!(observed.metric("pvtzd_cache_entries{type=\"success\"}"), 1.0);
    let zone = |rcode| {
        observed.metric(&format!(
            "pvtzd_zone_responses_total{{zone=\"p.example\",vpc=\"vpc-local\",rcode=\"{rcode}\"}}"
        ))
    };
    assert_eq!((zone("NOERROR"), zone("NXDOMAIN")), (4.0, 3.0));
    assert!(observed.metric("pvtzd_dns_fast_lane_responses_total") >= 5.0);
    let to = format!("proxy_name=\"default\",to=\"{}\"", upstream.address);
    assert!(observed.metric(&format!("pvtzd_proxy_request_duration_seconds_count{{{to}}}")) >= 1.0);
    assert_eq!(observed.metric(&format!("pvtzd_forward_up{{{to}}}")), 1.0);
}

#[test]
fn health_and_ready_are_told_and_nothing_else_is_there() {
    let observed = Observed::start("[upstream]\nservers = []\n");
    assert_eq!(observed.get("/health"), (200, "ok\n".into()));
    assert_eq!(observed.get("/ready"), (200, "ready\n".into()));
    assert_eq!(observed.get("/").0, 404);
    assert_eq!(observed.get("/metrics/").0, 404);
    assert_eq!(
        observed
            .send("POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .0,
        405
    );
    assert_eq!(
        observed.send("HEAD /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        (200, String::new())
    );
    assert_eq!(observed.send("nonsense\r\n\r\n").0, 400);
    let long = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(20_000));
    assert!([400, 431].contains(&observed.send(&long).0));
    // a client that says nothing keeps nobody out
    let _silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(observed.http).unwrap()).collect();
    assert_eq!(observed.get("/ready").0, 200);
}

#[test]
fn a_scraper_that_keeps_its_connection_is_answered_each_time() {
    let observed = Observed::start("[upstream]\nservers = []\n");
    let mut stream = TcpStream::connect(observed.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nuser-agent: {}\r\n\r\n", "x".repeat(4000));
    for number in 0..100 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = BufReader::new(&mut stream);
        let head: Vec<String> =
            read.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        assert!(
            head.first().is_some_and(|line| line.starts_with("HTTP/1.1 200 ")),
            "request {number}: {head:?}"
        );
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        read.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    }
}

#[test]
fn it_is_not_ready_while_queries_in_flight_end() {
    let silent = Upstream::start(|_| None);
    let mut observed = Observed::start(&silent.config());
    let (address, ask) = (observed.server.address, Ask::new("www.test", "A"));
    let client = std::thread::spawn(move || ask.over_udp(address));
    eventually("the question to be in flight", || {
        (observed.metric("pvtzd_dns_in_flight") > 0.0).then_some(())
    });
    observed.server.signal("TERM");
    eventually("503", || (observed.get("/ready").0 == 503).then_some(()));
    assert!(client.join().unwrap().is_some());
    assert_eq!(observed.server.ended(), Some(0));
    assert!(!observed.socket.exists(), "the control socket is removed");
}

#[test]
fn status_and_zones_show_what_is_there() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let observed = Observed::start(&(upstream.config() + ZONE));
    observed.server.ask("www.p.example", "A");
    observed.server.ask("www.test", "A");
    let status = observed.json(&["status"]);
    assert_eq!((&status["queries"]["asked"], &status["ready"]), (&2.into(), &true.into()), "{status}");
    assert_eq!(status["upstreams"][0]["server"], upstream.address.to_string());
    assert_eq!(status["busiest"][0]["zone"], "p.example");
    let page = text(&observed.run(&["status"]).stdout);
    for words in ["ready", "NOERROR 2", "p.example", &upstream.address.to_string()] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let zones = observed.json(&["zones"]);
    let own = zones.as_array().unwrap().iter().find(|zone| zone["zone"] == "p.example").unwrap();
    assert_eq!((&own["answers"], &own["source"]), (&1.into(), &"configuration".into()), "{own}");
    let page = text(&observed.run(&["zones"]).stdout);
    assert!(page.lines().any(|line| line.starts_with("p.example ") && line.contains("everyone")), "{page}");
}

#[test]
fn what_is_flushed_is_asked_for_again() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let observed = Observed::start(&upstream.config());
    let ask_all = || {
        for name in ["a.test", "b.a.test", "c.test"] {
            (0..3).for_each(|_| drop(observed.server.ask(name, "A")));
        }
        upstream.log.take().into_iter().filter(|line| line.contains(".test")).count()
    };
    assert_eq!((ask_all(), ask_all()), (3, 0));
    for (arguments, forgotten) in [
        (&["flush", "A.test."][..], 1),
        (&["flush", "a.test", "--subtree"], 2),
        (&["flush", "--zone", "test"], 3),
        (&["flush", "--all"], 3),
        (&["flush", "none.test"], 0),
    ] {
        let flushed = observed.json(arguments);
        assert_eq!(flushed["entries"], forgotten, "{arguments:?}");
        assert_eq!(ask_all(), forgotten, "{arguments:?}");
    }
    let wrong = observed.run(&["flush", "a..test"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
}

#[test]
fn reload_tells_how_it_went() {
    let observed = Observed::start("[upstream]\nservers = []\n");
    let path = observed.server.config();
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.clone() + ZONE).unwrap();
    assert_eq!(observed.run(&["reload"]).status.code(), Some(0));
    assert_eq!(observed.server.ask("www.p.example", "A").values(), ["10.0.0.1"]);
    std::fs::write(&path, good + "nonsense = 1\n").unwrap();
    let failed = observed.run(&["reload"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("nonsense"), "{failed:?}");
    assert_eq!(observed.metric("pvtzd_reload_last_successful"), 0.0);
    assert_eq!(
        (observed.metric("pvtzd_reload_total"), observed.metric("pvtzd_reload_failed_total")),
        (2.0, 1.0)
    );
    assert!(text(&observed.run(&["status"]).stdout).contains("THE LAST ONE FAILED"));
}

#[test]
fn without_a_server_the_commands_end_with_4_and_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for arguments in [&["status"][..], &["zones"], &["flush", "--all"], &["reload"]] {
        let output = command().args(arguments).arg("--socket").arg(&socket).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        assert!(text(&output.stderr).contains("hint: is it running"), "{output:?}");
    }
}

#[test]
fn the_query_log_has_a_line_for_each_answer_and_begins_anew() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let log = "[log]\nqueries = \"json\"\nfile = \"DIRECTORY/queries.log\"\n";
    let mut observed = Observed::start(&(upstream.config() + log + ZONE));
    for _ in 0..3 {
        observed.server.ask("www.p.example", "A");
        observed.server.ask("www.test", "A");
    }
    let path = observed.directory.path().join("queries.log");
    let lines = |path: &Path, count: usize| -> Vec<Value> {
        eventually("the lines", || {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            (text.lines().count() >= count)
                .then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
        })
    };
    let first = lines(&path, 6);
    let of = |name: &str| first.iter().filter(|line| line["query_name"] == name).collect::<Vec<_>>();
    let (zone, outside) = (of("www.p.example"), of("www.test"));
    assert_eq!((zone.len(), outside.len()), (3, 3));
    assert!(zone.iter().all(|line| line["service_type"] == "PVTZ" && line["vpc_id"] == "vpc-local"));
    let modules = |lines: &[&Value]| {
        lines.iter().map(|line| line["module_type"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(modules(&zone), ["AUTH_SLOW", "AUTH_FAST", "AUTH_FAST"]);
    assert_eq!(modules(&outside), ["FORWARD", "CACHE", "CACHE"]);
    assert_eq!(outside[0]["answer_rrset"], "www.test 300 IN A 192.0.2.1");
    assert_eq!(outside[0]["dst_port"], observed.server.address.port());

    let aside = observed.directory.path().join("queries.log.1");
    std::fs::rename(&path, &aside).unwrap();
    observed.server.signal("HUP");
    observed.server.line("reloaded");
    observed.server.ask("www.p.example", "A");
    assert_eq!(lines(&path, 1).len(), 1);
    observed.server.ask("last.p.example", "A");
    observed.server.signal("TERM");
    assert_eq!(observed.server.ended(), Some(0));
    assert_eq!(lines(&path, 2)[1]["rcode"], "NXDOMAIN", "what is left is written at the end");
}

#[test]
fn one_of_n_is_logged() {
    let log =
        "[upstream]\nservers = []\n[log]\nqueries = \"text\"\nsample = 5\nfile = \"DIRECTORY/queries.log\"\n";
    let mut observed = Observed::start(&(log.to_string() + ZONE));
    (0..20).for_each(|_| drop(observed.server.ask("www.p.example", "A")));
    observed.server.signal("TERM");
    assert_eq!(observed.server.ended(), Some(0));
    let text = std::fs::read_to_string(observed.directory.path().join("queries.log")).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(" query_name=www.p.example query_type=A rcode=NOERROR "), "{text}");
}

#[test]
fn statistics_are_the_numbers_of_the_server() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let control = format!(
        "[upstream]\nservers = []\n[control]\nlisten = \"127.0.0.1:{port}\"\n[[control.access_key]]\nid = \"key\"\nsecret = \"secret\"\n"
    );
    let observed = Observed::start(&(control + ZONE));
    for name in ["www.p.example", "www.p.example", "none.p.example"] {
        observed.server.ask(name, "A");
    }
    let client = ApiClient {
        address: ([127, 0, 0, 1], port).into(),
        host: format!("127.0.0.1:{port}"),
        key: AccessKey::new("key", "secret"),
        tls: None,
        timeout: Duration::from_secs(10),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let call = |action: &str, params: &[(&str, String)]| -> Value {
        let params: Params = params.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        Value::Object(runtime.block_on(client.call("2018-01-01", action, &params)).unwrap())
    };
    let summary = call("DescribeStatisticSummary", &[]);
    assert_eq!(summary["TotalCount"], 3, "{summary}");
    assert_eq!(summary["ZoneRequestTops"]["ZoneRequestTop"][0]["ZoneName"], "p.example");
    assert_eq!(summary["VpcRequestTops"]["VpcRequestTop"][0]["VpcId"], "vpc-local");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let zones = call("DescribeZones", &[]);
    let id = zones["Zones"]["Zone"]
        .as_array()
        .unwrap()
        .iter()
        .find(|zone| zone["ZoneName"] == "p.example")
        .unwrap()["ZoneId"]
        .as_str()
        .unwrap()
        .to_string();
    let graph = call(
        "DescribeRequestGraph",
        &[
            ("StartTimestamp", (now - 600_000).to_string()),
            ("EndTimestamp", (now + 60_000).to_string()),
            ("ZoneId", id),
        ],
    );
    let points = graph["RequestDetails"]["ZoneRequestTop"].as_array().unwrap();
    assert!((11..=12).contains(&points.len()), "a point a minute: {graph}");
    assert_eq!(points.iter().map(|point| point["RequestCount"].as_u64().unwrap()).sum::<u64>(), 3);

    let overview = call("DescribePvtzStatisticsGlobalOverview", &[]);
    assert_eq!(
        (&overview["Data"]["TotalResolveCount"], &overview["Data"]["AvgSuccessRatio"]),
        (&3.into(), &100.into())
    );
    let top = call("DescribePvtzStatisticsSummary", &[("StatisticalType", "RCODE".into())]);
    assert_eq!(
        (&top["PageData"][0]["Rcode"], &top["PageData"][0]["Count"]),
        (&"NOERROR".into(), &2.into()),
        "{top}"
    );
    let top = call("DescribePvtzStatisticsSummary", &[("Rcode", "NXDOMAIN".into())]);
    assert_eq!(
        (&top["PageData"][0]["ZoneName"], &top["PageData"][0]["Count"]),
        (&"p.example".into(), &1.into()),
        "{top}"
    );
    let history = call("DescribePvtzStatisticsHistory", &[("ZoneName", "p.example".into())]);
    let all: u64 =
        history["Data"].as_array().unwrap().iter().map(|point| point["Count"].as_u64().unwrap()).sum();
    assert_eq!(all, 3, "{history}");
    assert_eq!(call("DescribePvtzStatisticsZoneOverview", &[])["Data"]["SuddenDropDomainCount"], 0);

    assert_eq!(
        observed.metric("pvtzd_api_requests_total{action=\"DescribeStatisticSummary\",code=\"2xx\"}"),
        1.0
    );
}
