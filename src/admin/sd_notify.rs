//! Telling the supervisor how we are: the protocol of `sd_notify`(3), datagrams of `NAME=value` lines to the socket
//! that `$NOTIFY_SOCKET` names.
//!
//! Without a supervisor every message goes nowhere. A message that cannot be delivered is no reason to stop: the
//! supervisor draws its own conclusion from silence. When to feed the watchdog is decided in [`super::watchdog`].

use sd_notify::NotifyState;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The supervisor that started the process, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    line: Option<Arc<SupervisorSocket>>,
    /// The timeout of the watchdog, if there is one.
    pub watchdog: Option<Duration>,
}

/// The way to the supervisor.
#[derive(Debug)]
struct SupervisorSocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// The supervisor that the environment names. The variables are kept, because pvtzd starts no process that could
    /// inherit them.
    ///
    /// # Errors
    /// A supervisor is named, but its socket is not available.
    pub fn from_environment() -> io::Result<Self> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let line = match value("NOTIFY_SOCKET") {
            None => None,
            Some(place) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?; // a supervisor that does not read must not block pvtzd
                Some(Arc::new(SupervisorSocket { socket, address: address(&place)? }))
            }
        };
        let watchdog =
            watchdog(value("WATCHDOG_USEC").as_deref(), value("WATCHDOG_PID").as_deref(), std::process::id());
        Ok(Self { watchdog: watchdog.filter(|_| line.is_some()), line })
    }

    /// Sends READY: the configuration is served.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// Sends RELOADING; [`Supervisor::ready`] follows after success and failure.
    pub fn reloading(&self) {
        // The time lets systemd tell this reload from an earlier one (Type=notify-reload, from version 253 on).
        let now = NotifyState::monotonic_usec_now().unwrap_or(NotifyState::MonotonicUsec(0));
        self.send(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration")]);
    }

    /// Sends STOPPING, with the reason of a delay.
    pub fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// Sends WATCHDOG.
    pub fn alive(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Sends a message, if there is a supervisor. sd_notify::notify would open a new socket each time, and block if the
    /// supervisor does not read.
    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(line) = &self.line else { return };
        let mut message = String::new();
        for (number, state) in states.iter().enumerate() {
            let end_of_line = if number > 0 { "\n" } else { "" };
            let _ = write!(message, "{end_of_line}{state}");
        }
        if let Err(error) = line.socket.send_to_addr(message.as_bytes(), &line.address) {
            tracing::debug!(%error, "cannot notify the service manager");
        }
    }
}

/// The address that `$NOTIFY_SOCKET` means: a path, or with `@` before it a name in the abstract namespace.
fn address(place: &str) -> io::Result<SocketAddr> {
    match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(place),
    }
}

/// How long the watchdog waits, if it is there and means the process `own`.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None; // the variable is meant for the parent process
    }
    let microseconds = microseconds?.parse().ok().filter(|microseconds| *microseconds > 0)?;
    Some(Duration::from_micros(microseconds))
}

/// A text that cannot be taken for another line of the message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor that listens in the abstract namespace, and the one who talks to it.
    fn pair(name: &str) -> (UnixDatagram, Supervisor) {
        let address = address(&format!("@pvtzd-{name}-{}", std::process::id())).unwrap();
        let hears = UnixDatagram::bind_addr(&address).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        (hears, Supervisor { line: Some(Arc::new(SupervisorSocket { socket, address })), watchdog: None })
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_life_is_told_in_order() {
        let (hears, supervisor) = pair("life");
        supervisor.ready("all\nis well");
        supervisor.alive();
        supervisor.reloading();
        supervisor.stopping("bye");
        assert_eq!(heard(&hears), "READY=1\nSTATUS=all is well");
        assert_eq!(heard(&hears), "WATCHDOG=1");
        let reloading = heard(&hears);
        let moment = reloading.lines().nth(1).and_then(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(reloading.starts_with("RELOADING=1\n") && moment.parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(heard(&hears), "STOPPING=1\nSTATUS=bye");
    }

    #[test]
    fn without_a_supervisor_nothing_is_said() {
        Supervisor::default().ready("no supervisor");
    }

    #[test]
    fn a_supervisor_that_has_gone_costs_nothing() {
        let (hears, supervisor) = pair("gone");
        drop(hears);
        supervisor.alive();
    }

    #[test]
    fn the_watchdog_counts_only_when_it_means_us() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("1000000"), Some("x"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(None, Some("7"), 7), None);
    }
}
