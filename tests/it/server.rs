//! The real program, as a process of its own.

use crate::client::{Ask, Reply};
use crate::eventually;
use pvtzd::config::{self, Servers};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A configuration without upstreams, with an API and a VPC whose clients are on 127.0.0.0/16. More tables may follow.
pub const API_CONFIG: &str = r#"
[upstream]
servers = []
[control]
listen = "127.0.0.1:0"
[[control.access_key]]
id = "test-key"
secret = "test-secret"
[[vpc]]
id = "vpc-lab"
region = "cn-hangzhou"
clients = ["127.0.0.0/16"]
"#;

/// A running server; it ends when dropped.
pub struct Server {
    process: Child,
    directory: TempDir,
    said: Arc<Mutex<Vec<String>>>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A command that runs the program and asks nobody beyond this machine.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvtzd"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Panics unless a configuration names its upstream servers, and only such as are on this machine: a test must
/// not ask the world.
pub fn assert_confined(text: &str) {
    let (config, _) = config::parse(text, Path::new("test.toml")).expect("a configuration without faults");
    let Servers::Listed(servers) = &config.upstream.servers else {
        panic!("[upstream] servers = \"system\"")
    };
    let rules = config.forwards.iter().flat_map(|rule| &rule.servers);
    for server in servers.iter().chain(rules) {
        // where a name leads, the bootstrap servers say
        assert!(server.is_named() || server.addr.ip().is_loopback(), "{server} is not on this machine");
    }
    for server in &config.upstream.bootstrap {
        assert!(server.addr.ip().is_loopback(), "{server} is not on this machine");
    }
}

impl Server {
    /// Starts with this configuration, on a free port.
    pub fn start(config: &str) -> Self {
        assert_confined(config);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("pvtzd.toml"), config).unwrap();
        let mut process = command()
            .args(["run", "--metadata", "off", "--listen", "127.0.0.1:0", "--config"])
            .arg(directory.path().join("pvtzd.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (process.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let address = eventually("the server to be ready", || {
            if let Some(code) = process.try_wait().unwrap() {
                panic!("not started, {code}: {:#?}", said.lock().unwrap());
            }
            let lines = said.lock().unwrap();
            let ready = lines.iter().find_map(|line| line.split_once("ready listen=\"")?.1.split_once('"'));
            ready.map(|(address, _)| address.parse().unwrap())
        });
        Self { process, directory, said, address }
    }

    /// Asks over UDP.
    pub fn ask(&self, name: &str, rtype: &str) -> Reply {
        Ask::new(name, rtype).over_udp(self.address).expect("an answer")
    }

    /// Where its API listens.
    pub fn api(&self) -> SocketAddr {
        eventually("the API to be ready", || {
            let lines = self.said.lock().unwrap();
            let ready =
                lines.iter().find_map(|line| line.split_once("API is ready listen=[")?.1.split_once(']'));
            ready.map(|(address, _)| address.parse().unwrap())
        })
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("pvtzd.toml")
    }

    /// Writes another configuration and has it read.
    pub fn reload(&self, config: &str) {
        // beside its place and then into it, as an editor does: the server must not see half a file
        let beside = self.directory.path().join("pvtzd.toml.new");
        std::fs::write(&beside, config).unwrap();
        std::fs::rename(&beside, self.config()).unwrap();
        self.signal("HUP");
    }

    /// Sends a signal by its name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// How many lines of what it said have this in them.
    pub fn said(&self, words: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    /// The last line of what it said with this in it.
    pub fn last_line(&self, words: &str) -> Option<String> {
        self.said.lock().unwrap().iter().rfind(|line| line.contains(words)).cloned()
    }

    /// The first line that has this in it, once there is one.
    pub fn line(&self, words: &str) -> String {
        eventually(words, || self.said.lock().unwrap().iter().find(|line| line.contains(words)).cloned())
    }

    /// Waits until it has ended by itself; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        eventually("the server to end", || self.process.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended already
        let _ = self.process.wait();
    }
}
