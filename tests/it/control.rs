//! The commands that manage a running server through its API, against a real one.

use crate::server::{API_CONFIG, Server, command};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// A second VPC, with clients on 127.8.0.0/16, and a zone of the file.
const FAR_VPC: &str = r#"
[[vpc]]
id = "vpc-far"
clients = ["127.8.0.0/16"]
[[zone]]
name = "file.example"
"#;

/// A server and the way to command it.
struct Lab(Server);

impl Lab {
    fn new() -> Self {
        Self(Server::start(&[API_CONFIG, FAR_VPC].concat()))
    }

    /// Runs a command against the server.
    fn run(&self, line: &str) -> Output {
        let words = line.split_whitespace();
        let api = self.0.api().to_string();
        command()
            .args(words)
            .arg("--config")
            .arg(self.0.config())
            .env("PVTZD_ENDPOINT", api)
            .output()
            .unwrap()
    }

    /// What a command prints, which ends with this code.
    fn expect(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {told}");
        let data = String::from_utf8_lossy(&output.stdout).into_owned();
        if code == 0 || line.starts_with("diff") { data } else { data + &told }
    }

    /// The same as JSON.
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.expect(0, &format!("{line} --json"))).expect("JSON and nothing else")
    }

    /// A file beside the configuration.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.config().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.config().with_file_name(name)).unwrap()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_zone_is_made_filled_bound_and_resolved() {
    let lab = Lab::new();
    lab.expect(0, "zone add ecs.cn-test.example --proxy --vpc vpc-lab@cn-hangzhou --remark hello");
    let added = lab.expect(0, "record add ecs.cn-test.example @ CNAME popunify-vpc.cn-test.example --ttl 30");
    assert!(
        added.starts_with("record @ CNAME popunify-vpc.cn-test.example added to ecs.cn-test.example, id ")
    );
    lab.expect(0, "zone add cn-test.example --vpc vpc-lab");
    lab.expect(0, "record add cn-test.example popunify-vpc A 192.0.2.9 --weight 7");
    let reply = lab.0.ask("ecs.cn-test.example", "A");
    assert_eq!(reply.values(), ["popunify-vpc.cn-test.example", "192.0.2.9"]);

    let listed = lab.expect(0, "zone list ecs");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ZONE") && !listed.contains('\x1b'), "{listed}");
    assert!(lines[1].contains("vpc-lab") && lines[1].ends_with("hello"), "{listed}");
    let zones = lab.json("zone list");
    assert_eq!(zones.as_array().unwrap().len(), 3, "with that of the file: {zones}");
    assert_eq!(zones[0]["ZoneName"], "cn-test.example");
    let zone = lab.json("zone show ecs.cn-test.example");
    assert_eq!(zone["BindVpcs"]["Vpc"][0]["RegionId"], "cn-hangzhou");
    assert_eq!(zone["Records"]["Record"][0]["Ttl"], 30);
    assert!(lab.expect(0, "zone show ecs.cn-test.example").contains("recursion proxy  on"));

    lab.expect(0, "zone proxy ecs.cn-test.example off");
    lab.expect(0, "zone unbind ecs.cn-test.example");
    assert_ne!(
        lab.0.ask("ecs.cn-test.example", "A").values().first().map(String::as_str),
        Some("popunify-vpc.cn-test.example")
    );
    lab.expect(0, "zone bind ecs.cn-test.example vpc-lab");
    lab.expect(0, "zone bind ecs.cn-test.example vpc-far");
    lab.expect(0, "zone unbind ecs.cn-test.example vpc-lab");
    assert_eq!(lab.json("zone show ecs.cn-test.example")["BindVpcs"]["Vpc"][0]["VpcId"], "vpc-far");
    let refused = lab.expect(1, "zone rm ecs.cn-test.example");
    assert!(refused.contains("Zone.VpcExists") && refused.contains("--unbind"), "{refused}");
    lab.expect(0, "zone rm ecs.cn-test.example --unbind");
    assert!(lab.expect(1, "zone show ecs.cn-test.example").contains("there is no zone ecs.cn-test.example"));
    assert!(lab.expect(1, "zone rm file.example").contains("Zone.ReadOnly"));
    let half = lab.expect(1, "zone add half.example --vpc vpc-none");
    assert!(half.contains("ZoneVpc.NotExists.VpcId"), "{half}");
    assert_eq!(lab.json("zone list half"), Value::Array(Vec::new()));
}

#[test]
fn records_are_changed_by_what_they_are_or_by_id() {
    let lab = Lab::new();
    lab.expect(0, "zone add a.example --vpc vpc-lab");
    lab.expect(0, "record add a.example www A 192.0.2.1");
    lab.expect(0, "record add a.example www A 192.0.2.2 --remark two");
    let several = lab.expect(1, "record rm a.example www A");
    assert!(several.contains("2 records of a.example match") && several.contains("VALUE"), "{several}");
    lab.expect(0, "record set a.example www a 192.0.2.2 --value 192.0.2.3 --ttl 5 --remark three");
    lab.expect(0, "record disable a.example www A 192.0.2.1");
    assert_eq!(lab.0.ask("www.a.example", "A").values(), ["192.0.2.3"]);
    let records = lab.json("record list a.example www");
    assert_eq!((&records[1]["Ttl"], &records[1]["Remark"]), (&Value::from(5), &Value::from("three")));
    let id = records[0]["RecordId"].to_string();
    lab.expect(0, &format!("record enable {id}"));
    lab.expect(0, &format!("record rm {id}"));
    assert_eq!(lab.0.ask("www.a.example", "A").values(), ["192.0.2.3"]);
    assert!(lab.expect(1, "record add a.example x A nonsense").contains("Record.Invalid.Value"));
    assert!(lab.expect(1, "record rm a.example none A").contains("no record none A"));
    lab.expect(2, "record rm a.example www");
    lab.expect(2, "record set a.example www A");
}

#[test]
fn a_name_that_several_zones_have_is_told_apart_by_id() {
    let lab = Lab::new();
    lab.expect(0, "zone add a.example --vpc vpc-lab");
    assert!(lab.expect(1, "zone add a.example").contains("--another"));
    lab.expect(0, "zone add a.example --another --vpc vpc-far");
    let told = lab.expect(1, "record add a.example @ A 192.0.2.1");
    let zones = lab.json("zone list a.example");
    for zone in zones.as_array().unwrap() {
        assert!(told.contains(zone["ZoneId"].as_str().unwrap()), "{told}");
    }
    let id = zones[0]["ZoneId"].as_str().unwrap();
    lab.expect(0, &format!("record add {id} @ A 192.0.2.1"));
}

#[test]
fn rules_are_made_bound_and_deleted() {
    let lab = Lab::new();
    lab.expect(0, "rule add corp.example 127.0.0.9:5399 --name corp --vpc vpc-lab");
    assert!(lab.expect(0, "rule bind corp vpc-far").contains("vpc-lab, vpc-far"));
    let rules = lab.json("rule list");
    assert_eq!(rules[0]["ForwardIps"][0]["Port"], 5399);
    assert!(lab.expect(0, "rule list").contains("127.0.0.9:5399"));
    assert!(lab.expect(0, "rule bind corp.example --only").contains("no VPC"));
    lab.expect(0, "rule rm corp");
    assert!(lab.expect(1, "rule rm corp").contains("there is no rule corp"));
}

#[test]
fn what_is_exported_is_imported_and_compared() {
    let lab = Lab::new();
    lab.expect(0, "zone add a.example --vpc vpc-lab --proxy");
    lab.expect(0, "record add a.example @ MX mail.example --priority 5");
    lab.expect(0, "rule add corp.example 127.0.0.9 --vpc vpc-lab");
    let (toml, json) = (shown(&lab.file("all.toml", "")), shown(&lab.file("all.json", "")));
    lab.expect(0, &format!("export {toml}"));
    lab.expect(0, &format!("export {json}"));
    assert!(lab.read("all.toml").contains("[[Zones.Records]]"), "{}", lab.read("all.toml"));
    assert!(lab.read("all.json").starts_with('{'));
    assert!(!lab.read("all.toml").contains("file.example"));
    assert!(lab.expect(0, "export --all").contains("file.example"));
    assert_eq!(lab.expect(0, &format!("diff {toml} {json}")), "");
    assert_eq!(lab.expect(0, &format!("diff {toml}")), "");

    lab.expect(0, "record add a.example www A 192.0.2.1");
    lab.expect(0, "zone add b.example");
    let told = lab.expect(1, &format!("diff {toml}"));
    assert!(told.contains("@@ zone a.example\n+ www A 192.0.2.1 Ttl 60\n@@ zone b.example\n+ "), "{told}");
    let output = lab.run(&format!("diff {toml} --json"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["Added"][0], "www A 192.0.2.1 Ttl 60");

    let planned = lab.expect(0, &format!("import {toml} --replace --dry-run"));
    assert_eq!(planned, "- record www.a.example A 192.0.2.1\n- zone b.example\n");
    lab.expect(1, &format!("diff {toml}"));
    lab.expect(0, &format!("import {toml}"));
    lab.expect(1, &format!("diff {toml}"));
    let done: Value =
        serde_json::from_str(&lab.expect(0, &format!("import {toml} --replace --json"))).unwrap();
    assert_eq!((&done["Removed"]["Zones"], &done["Removed"]["Records"]), (&Value::from(1), &Value::from(1)));
    lab.expect(0, &format!("diff {toml}"));

    // Another server, and only a part.
    lab.expect(0, "zone add c.example");
    lab.expect(0, "record add c.example @ A 192.0.2.7");
    let part = lab.expect(0, "export --zone c.example --format json");
    let part = shown(&lab.file("part.json", &part));
    let other = Lab::new();
    other.expect(0, &format!("import {part}"));
    assert_eq!(other.json("zone list").as_array().unwrap().len(), 2);
    assert!(lab.expect(1, "export --zone none.example").contains("Zone.NotExists"));
}

#[test]
fn an_import_with_faults_changes_nothing_and_tells_them_all() {
    let lab = Lab::new();
    let bad = "[[Zones]]\nZoneName = \"a.example\"\n[[Zones.Records]]\nRr = \"@\"\nType = \"A\"\nValue = \"192.0.2.1\"\n\
               [[Zones.Records]]\nRr = \"www\"\nType = \"A\"\nValue = \"nonsense\"\n\
               [[Zones]]\nZoneName = \"b.example\"\nProxyPattern = \"PERHAPS\"\n";
    let bad = shown(&lab.file("bad.toml", bad));
    let told = lab.expect(1, &format!("import {bad}"));
    assert!(told.contains("2 faults"), "{told}");
    assert!(told.contains("zone a.example, record 2 (www A nonsense): Record.Invalid.Value"), "{told}");
    assert!(told.contains("zone b.example: InvalidParameter"), "{told}");
    assert_eq!(lab.json("zone list").as_array().unwrap().len(), 1, "that of the file alone");
    let ours = shown(&lab.0.config());
    assert!(lab.expect(1, &format!("import {ours}")).contains("configuration file of pvtzd"));
    let unknown = shown(&lab.file("unknown.json", "{\"Zones\":[{\"Zonename\":\"a\"}]}"));
    assert!(lab.expect(1, &format!("import {unknown}")).contains("unknown field `Zonename`"));
    lab.expect(71, "import /nonexistent/x.toml");
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let lab = Lab::new();
    lab.expect(0, "zone add a.example");
    let api = lab.0.api().to_string();
    let start = |line: String| {
        let mut command = command();
        command.args(line.split_whitespace()).arg("--config").arg(lab.0.config()).env("PVTZD_ENDPOINT", &api);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut writers: Vec<_> =
        (0..8).map(|n| start(format!("record add a.example h{n} A 192.0.2.{n}"))).collect();
    writers.extend(["vpc-lab", "vpc-far"].map(|vpc| start(format!("zone bind a.example {vpc}"))));
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    let zone = lab.json("zone show a.example");
    assert_eq!(zone["Records"]["Record"].as_array().unwrap().len(), 8);
    assert_eq!(zone["BindVpcs"]["Vpc"].as_array().unwrap().len(), 2);
}

#[test]
fn more_than_a_page_is_read() {
    let lab = Lab::new();
    let records: String = (0..250)
        .map(|n| format!("[[Zones.Records]]\nRr = \"h{n}\"\nType = \"A\"\nValue = \"10.0.0.{n}\"\n"))
        .collect();
    let many = shown(&lab.file("many.toml", &format!("[[Zones]]\nZoneName = \"a.example\"\n{records}")));
    lab.expect(0, &format!("import {many}"));
    assert_eq!(lab.json("record list a.example").as_array().unwrap().len(), 250);
}

#[test]
fn who_cannot_be_reached_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.toml");
    std::fs::write(&plain, "[upstream]\nservers = []\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = command().args(arguments).arg("--config").arg(&plain).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = run(&["zone", "list"]);
    assert!(code == Some(4) && told.contains("has no [control]") && told.contains("hint: "), "{told}");

    let lab = Lab::new();
    let api = lab.0.api().to_string();
    let asked = |id: &str, secret: &str, endpoint: &str| {
        let mut command = command();
        command.args(["zone", "list", "--endpoint", endpoint]);
        command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", id).env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(asked("test-key", "test-secret", &api).0, Some(0), "without any configuration");
    let (code, told) = asked("test-key", "wrong", &api);
    assert!(code == Some(1) && told.contains("SignatureDoesNotMatch"), "{told}");
    let (code, told) = asked("unknown", "wrong", &api);
    assert!(code == Some(1) && told.contains("InvalidAccessKeyId.NotFound"), "{told}");
    drop(lab);
    let (code, told) = asked("test-key", "test-secret", &api);
    assert!(code == Some(4) && told.contains("is pvtzd running there"), "{told}");
}
