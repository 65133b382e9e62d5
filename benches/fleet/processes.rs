//! The processes of the bench: members of etcd, and pvtzd.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Three members.
pub struct Etcd {
    /// Where everything is kept.
    pub folder: PathBuf,
    members: Vec<Child>,
    endpoints: Vec<String>,
}

impl Etcd {
    /// Starts them, and waits until they are healthy.
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("pvtzd-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let free: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let urls: Vec<String> =
            free.iter().map(|socket| format!("http://{}", socket.local_addr().unwrap())).collect();
        drop(free);
        let (clients, peers) = urls.split_at(3);
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(place, peer)| format!("m{place}={peer}")).collect();
        let member = |place: usize| {
            let log = fs::File::create(folder.join(format!("m{place}.log"))).unwrap();
            Command::new("etcd")
                .args(["--name", &format!("m{place}"), "--data-dir"])
                .arg(folder.join(format!("m{place}")))
                .args(["--listen-client-urls", &clients[place], "--advertise-client-urls", &clients[place]])
                .args(["--listen-peer-urls", &peers[place], "--initial-advertise-peer-urls", &peers[place]])
                .args(["--initial-cluster", &cluster.join(","), "--quota-backend-bytes", "8589934592"])
                .stderr(log)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let etcd = Self { members: (0..3).map(member).collect(), endpoints: clients.to_vec(), folder };
        for _ in 0..100 {
            if etcd.ctl(&["endpoint", "health"]).is_some() {
                return etcd;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("etcd does not start: {}", etcd.folder.display());
    }

    fn ctl(&self, words: &[&str]) -> Option<String> {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoints.join(",")])
            .args(words)
            .output()
            .unwrap();
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// All revisions so far go, but for the newest, which is of another key than those of the fleet.
    pub fn compact(&self) {
        self.ctl(&["put", "/elsewhere", "x"]).unwrap();
        let found = self.ctl(&["get", "/elsewhere", "-w", "json"]).unwrap();
        let (_, rest) = found.split_once("\"mod_revision\":").unwrap();
        let revision: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.ctl(&["compaction", &revision]).unwrap();
    }

    /// The section of a node's configuration.
    pub fn section(&self, part: &str, node: &str) -> String {
        let endpoints: Vec<String> =
            self.endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        format!(
            "[fleet]\nendpoints = [{}]\nprefix = \"/pvtzd/{part}\"\nnode = \"{node}\"\nhold_mass_removal = false\n",
            endpoints.join(", ")
        )
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(end);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends a process.
pub fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// A pvtzd of this build.
pub struct Daemon {
    /// It.
    pub process: Child,
}

impl Daemon {
    /// Starts it; `section` is its [fleet].
    pub fn start(folder: &Path, name: &str, section: &str) -> Self {
        let state = folder.join(name);
        fs::create_dir_all(&state).unwrap();
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, format!("[ops]\nsocket = \"{}/socket\"\n{section}", state.display())).unwrap();
        let log = fs::File::create(folder.join(format!("{name}.log"))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_pvtzd"))
            .arg("--config")
            .arg(file)
            .args(["--metadata", "off", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(state)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }

    /// KiB that it has in memory.
    pub fn memory(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The time that its threads ran.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let ran = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.flatten().map(ran).sum())
    }
}
