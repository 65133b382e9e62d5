//! The command: started as the caller, its signals passed on, its exit status taken over.

use super::{InstanceError, RunAs};
use crate::base::task;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// What is passed on to the command.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Variables that would lead clients past the lab.
const UNSET: [&str; 14] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALICLOUD_SECURITY_TOKEN",
    "SECURITY_TOKEN",
    "SSL_CERT_DIR",
];

/// Starts the command and waits for its end. Variables of `unset` that are not in `environment` are taken away. Must be called on the thread that ends last, within a tokio runtime:
/// when the thread ends, so does the command.
pub(super) async fn run(
    command: &[OsString],
    run_as: Option<RunAs>,
    environment: &[(&str, String)],
    unset: &[&str],
) -> Result<u8, InstanceError> {
    let failed = |error: io::Error| InstanceError::System("the command cannot be started", error);
    // Handlers first: a signal between start and handler would end us and not the command.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for number in PASSED_ON {
        let mut stream = signal(SignalKind::from_raw(number as i32)).map_err(failed)?;
        let tell = tell.clone();
        task::spawn(async move { while stream.recv().await.is_some() && tell.send(number).is_ok() {} });
    }
    let mut words = prefix(run_as).into_iter().chain(command.iter().cloned());
    let mut child = Command::new(words.next().unwrap_or_default());
    child.args(words);
    for name in UNSET.iter().chain(unset) {
        child.env_remove(name);
    }
    child.envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
    let child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = command.first().map(|name| name.display().to_string()).unwrap_or_default();
            eprintln!("error: cannot run {name}: {error}");
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut ended = wait(child);
    loop {
        tokio::select! {
            status = &mut ended => {
                let status = status.unwrap_or_else(|_| Err(io::Error::other("the waiting thread is gone")));
                return status.map(code).map_err(failed);
            }
            Some(number) = told.recv() => {
                if !comes_from_keyboard(number) {
                    let _ = kill(pid, number); // it may have ended just now
                }
            }
        }
    }
}

/// Waits on a thread of its own.
fn wait(mut child: Child) -> oneshot::Receiver<io::Result<ExitStatus>> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || tell.send(child.wait()));
    told
}

/// True for a signal that a terminal sends to the command too, since it goes to all of the foreground.
fn comes_from_keyboard(number: Signal) -> bool {
    matches!(number, Signal::SIGINT | Signal::SIGQUIT) && File::open("/dev/tty").is_ok()
}

/// The exit status as shells have it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// What stands before the command, so that it runs as the caller and does not outlive us. Older programs do not
/// know all of the options: the first that works is taken.
fn prefix(run_as: Option<RunAs>) -> Vec<OsString> {
    let user = run_as.map_or(Vec::new(), |RunAs { uid, gid }| {
        ["unshare", "--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--"]
            .map(OsString::from)
            .to_vec()
    });
    let ends_with_us = ["setpriv", "--pdeathsig", "TERM", "--"].map(OsString::from).to_vec();
    let choices = [[user.clone(), ends_with_us.clone()].concat(), user.clone(), ends_with_us, Vec::new()];
    let works = |words: &Vec<OsString>| {
        let mut words = words.iter().cloned().chain(["true".into()]);
        let mut probe = Command::new(words.next().unwrap_or_default());
        probe.args(words).output().is_ok_and(|output| output.status.success())
    };
    let chosen = choices.into_iter().find(works).unwrap_or_default();
    if !user.is_empty() && !chosen.starts_with(&user) {
        eprintln!(
            "note: this `unshare` cannot map users; the command runs as root of its namespace, with your rights"
        );
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_as_shells_have_it() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
    }

    #[tokio::test]
    async fn the_command_has_its_environment_and_its_status() {
        let words = ["sh", "-c", "test \"$PVTZD_TEST\" = yes && exit 3"].map(OsString::from);
        let environment = [("PVTZD_TEST", "yes".to_string())];
        assert_eq!(run(&words, None, &environment, &[]).await.unwrap(), 3);
        let killed = ["sh", "-c", "kill -9 $$"].map(OsString::from);
        assert_eq!(run(&killed, None, &[], &[]).await.unwrap(), 137);
        let missing = ["/nowhere/at/all"].map(OsString::from);
        assert_eq!(run(&missing, None, &[], &[]).await.unwrap(), 127);
    }
}
