//! Under a supervisor: sockets that it hands over, what it is told, and its watchdog.

use crate::client::Ask;
use crate::server::{assert_confined, command};
use crate::{DEADLINE, eventually};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const CONFIGURATION: &str = "[upstream]\nservers = []\n[endpoints]\nproducts = []\n\
    [[zone]]\nname = \"one.example\"\n[[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\n";

/// What systemd is to a service.
struct Supervisor {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    hears: UnixDatagram,
    heard: Vec<String>,
    directory: TempDir,
}

/// A service of it; it ends when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}

impl Supervisor {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hears = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        hears.set_read_timeout(Some(DEADLINE)).unwrap();
        let (udp, tcp) = eventually("a port that is free for both", || {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        });
        let address = udp.local_addr().unwrap();
        Self { udp, tcp, address, hears, heard: Vec::new(), directory }
    }

    /// Writes the configuration.
    fn configure(&self, text: &str) {
        std::fs::write(self.directory.path().join("pvtzd.toml"), text).unwrap();
    }

    /// The command line, with the sockets in the place of standard input and output: only descriptors that std
    /// passes on can be handed over here, which is what the variable for the first one is for.
    fn command(&self) -> Command {
        let mut command = command();
        command
            .args(["run", "--metadata", "off", "--log", "error", "--config"])
            .arg(self.directory.path().join("pvtzd.toml"))
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDS_FIRST_FD", "0")
            .env("NOTIFY_SOCKET", self.directory.path().join("notify"))
            .stdin(Stdio::from(OwnedFd::from(self.udp.try_clone().unwrap())))
            .stdout(Stdio::from(OwnedFd::from(self.tcp.try_clone().unwrap())));
        command
    }

    fn start(&mut self, extra: &[(&str, &str)]) -> Service {
        let service = Service(self.command().envs(extra.iter().copied()).spawn().unwrap());
        self.hear("READY=1");
        service
    }

    /// Waits for a message that begins like this; others before it are passed over.
    fn hear(&mut self, wanted: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let length = self.hears.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("waited too long for {wanted}: {error}; heard {:?}", self.heard)
            });
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.heard.push(message.clone());
            if message.starts_with(wanted) {
                return message;
            }
        }
    }

    /// Stops a service and waits for its end.
    fn stop(&mut self, mut service: Service) {
        signal(&service, "TERM");
        self.hear("STOPPING=1");
        let code = eventually("the service to end", || service.0.try_wait().unwrap());
        assert!(code.success(), "{code}");
    }
}

fn signal(service: &Service, name: &str) {
    let kill = format!("kill -{name} {}", service.0.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn what_comes_between_two_runs_is_answered_by_the_second() {
    assert_confined(CONFIGURATION);
    let mut supervisor = Supervisor::new();
    supervisor.configure(CONFIGURATION);
    let first = supervisor.start(&[]);
    assert_eq!(
        Ask::new("www.one.example", "A").over_udp(supervisor.address).unwrap().values(),
        ["192.0.2.1"]
    );
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    supervisor.stop(first);

    let ask = Ask::new("www.one.example", "A");
    client.send_to(&ask.packet(), supervisor.address).unwrap();
    let over_tcp = {
        let (ask, address) = (ask.clone(), supervisor.address);
        std::thread::spawn(move || ask.over_tcp(address))
    };
    let second = supervisor.start(&[]);
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reply = [0; 512];
    let length = client.recv(&mut reply).unwrap();
    assert_eq!(ask.take(&reply[..length]).unwrap().values(), ["192.0.2.1"]);
    assert_eq!(over_tcp.join().unwrap().unwrap().values(), ["192.0.2.1"]);
    supervisor.stop(second);
}

#[test]
fn a_supervisor_hears_of_every_turn() {
    let mut supervisor = Supervisor::new();
    supervisor.configure(CONFIGURATION);
    let service = supervisor.start(&[]);
    let ready = supervisor.heard.pop().unwrap();
    assert_eq!(
        ready,
        format!("READY=1\nSTATUS=on {}: 1 zones; nothing: no upstream servers", supervisor.address)
    );
    signal(&service, "HUP");
    supervisor.hear("RELOADING=1\nMONOTONIC_USEC=");
    assert_eq!(supervisor.hear("READY=1"), ready);
    supervisor.configure("[nonsense]\n");
    signal(&service, "HUP");
    supervisor.hear("RELOADING=1");
    assert!(supervisor.hear("READY=1").contains("has errors and is not used"));
    supervisor.stop(service);
}

#[test]
fn the_watchdog_is_fed_as_long_as_queries_are_answered() {
    let mut supervisor = Supervisor::new();
    supervisor.configure(CONFIGURATION);
    let service = supervisor.start(&[("WATCHDOG_USEC", "400000")]);
    for _ in 0..3 {
        supervisor.hear("WATCHDOG=1");
    }
    supervisor.stop(service);
}

#[test]
fn another_process_watchdog_is_not_ours() {
    let mut supervisor = Supervisor::new();
    supervisor.configure(CONFIGURATION);
    let service = supervisor.start(&[("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1")]);
    // a reload gives it time for several signs of life
    for _ in 0..3 {
        signal(&service, "HUP");
        supervisor.hear("RELOADING=1");
        supervisor.hear("READY=1");
    }
    assert!(supervisor.heard.iter().all(|message| !message.contains("WATCHDOG")), "{:?}", supervisor.heard);
    supervisor.stop(service);
}

#[test]
fn sockets_for_other_things_are_refused_with_what_to_do() {
    let supervisor = Supervisor::new();
    supervisor.configure(CONFIGURATION);
    let output = supervisor.command().stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("socket number 1 of the service manager is neither UDP nor TCP"), "{said}");
    supervisor.hears.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let nothing = supervisor.hears.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "it never said that it was ready");
}
