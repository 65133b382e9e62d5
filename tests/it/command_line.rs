//! The command line from outside: what is printed where, and the exit codes.

use crate::server::{Server, command};
use crate::upstream::{self, Upstream};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Output;
use tempfile::TempDir;

const QUIET: &str = "[upstream]\nservers = []\n";

/// A configuration in a file that lasts as long as the folder.
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

/// Runs a command over a configuration until it ends.
fn run(config: &str, arguments: &[&str]) -> Output {
    let (_directory, path) = file(config);
    command().args(arguments).arg("--config").arg(path).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const START: [&str; 5] = ["run", "--metadata", "off", "--listen", "127.0.0.1:0"];

#[test]
fn a_broken_configuration_ends_with_78_and_every_fault() {
    let output = run("[upstream]\nservers = []\nstratgy = \"fastest\"\n[cache]\nsize = \"many\"\n", &START);
    assert_eq!(output.status.code(), Some(78));
    let said = stderr(&output);
    assert!(said.contains("stratgy") && said.contains("many") && said.contains("test.toml:3"), "{said}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_configuration_that_is_not_there_ends_with_78() {
    let arguments = ["--config", "/nonexistent/pvtzd.toml"];
    let output = command().args(START).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("/nonexistent/pvtzd.toml"), "{}", stderr(&output));
}

#[test]
fn an_address_that_is_taken_ends_with_3_and_is_named() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    for taken in [udp.local_addr().unwrap(), tcp.local_addr().unwrap()] {
        let output = run(QUIET, &["run", "--metadata", "off", "--listen", &taken.to_string()]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains(&taken.to_string()), "{}", stderr(&output));
    }
}

#[test]
fn an_address_that_another_program_has_ends_with_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(QUIET, &["run", "--metadata", "off", "--listen", &address]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in
        [&["run", "--no-such-flag"][..], &["nonsense"], &["query"], &["run", "--metadata", "maybe"]]
    {
        let output = command().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn check_ends_with_0_1_or_78() {
    let expecting =
        |answer: &str| format!("{QUIET}[[expect]]\nquery = \"localhost\"\nanswer = \"{answer}\"\n");
    for (config, code) in [
        (QUIET.to_string(), 0),
        (expecting("127.0.0.1"), 0),
        (expecting("127.0.0.2"), 1),
        (QUIET.to_string() + "nonsense = 1\n", 78),
    ] {
        let output = run(&config, &["check"]);
        assert_eq!(output.status.code(), Some(code), "{config}{}", stderr(&output));
        let output = run(&config, &["check", "--json"]);
        assert_eq!(output.status.code(), Some(code));
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
        assert_eq!(report["ok"], code == 0, "{report}");
    }
}

#[test]
fn query_ends_with_0_for_an_answer_1_for_an_error_4_for_nobody() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let config = upstream.config() + "[[zone]]\nname = \"app.example\"\n";
    let server = Server::start(&config);
    let address = server.address.to_string();
    let output = run(&config, &["query", "www.test", "--server", &address]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("192.0.2.1"), "{}", stdout(&output));
    let output = run(&config, &["query", "gone.app.example", "--server", &address, "--tcp", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
    drop(server);
    let output = run(&config, &["query", "www.test", "--server", &address]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

#[test]
fn explain_asks_nobody() {
    let upstream = Upstream::start(|_| None);
    let config = upstream.config()
        + "[[zone]]\nname = \"app.example\"\n[[zone.record]]\nname = \"www\"\ntype = \"CNAME\"\nvalue = \"far.test\"\n";
    let output = run(&config, &["explain", "www.app.example"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("far.test") && stdout(&output).contains("app.example"),
        "{}",
        stdout(&output)
    );
    assert_eq!(upstream.log.all(), [""; 0]);
}

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(QUIET);
        server.signal(signal);
        assert_eq!(server.ended(), Some(0), "{signal}");
    }
}

#[test]
fn a_plain_run_leaves_nothing_behind_and_state_is_taken_up_again() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let state = tempfile::tempdir().unwrap();
    let config = format!("[server]\nstate_dir = \"{}\"\n{}", state.path().display(), upstream.config());
    let mut first = Server::start(&config);
    first.ask("www.test", "A");
    first.signal("TERM");
    assert_eq!(first.ended(), Some(0));
    let second = Server::start(&config);
    assert_eq!(second.ask("www.test", "A").values(), ["192.0.2.1"]);
    assert_eq!(upstream.log.all().len(), 1, "the second run had it from the first");

    let mut plain = Server::start(&upstream.config());
    plain.ask("www.test", "A");
    plain.signal("TERM");
    assert_eq!(plain.ended(), Some(0));
    let folder = plain.config().parent().unwrap().to_path_buf();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "its configuration and nothing else");
}
