//! `pvtzd lab up`, `lab down`: a lab in the background, for jobs and containers.
//!
//! `up` starts `pvtzd lab` in a process group of its own, waits until the lab says that it is ready, and repeats what
//! it said. The record that `down` reads is the lab's standard input, so that its lock is the lab's too. Without
//! `--state-dir` all that the lab has is in a directory that is made for it and removed with it.

use super::super::{CommonArgs, exit};
use super::start::StartArgs;
use crate::base::file;
use crate::base::print::Output;
use crate::lab::state::StateDir;
use crate::lab::up_record::{RunningRecord, UpRecord, UpState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The file that says which lab it is.
const RECORD: &str = "up.json";

/// The file that the lab's messages go to.
const LOG: &str = "up.log";

/// What the lab keeps, in a directory of its own.
const KEPT: &str = "pvtzd";

/// A lab is ready or has failed within this.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A lab that is told to end does so within this; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before the record is read again.
const POLL: Duration = Duration::from_millis(20);

/// Octets of the longest line that a lab says.
const MAX_LINE: u64 = 1 << 20;

/// Octets of the messages of a lab that are repeated.
const MAX_MESSAGES: u64 = 64 << 10;

/// An exit code, and what to say.
type Failed = (u8, String);

/// `lab up`
pub(super) fn up(common: &CommonArgs, args: &StartArgs) -> u8 {
    told(start(common, args))
}

/// `lab down`
pub(super) fn down(state_dir: Option<&Path>) -> u8 {
    told(end(&LabFolder::new(state_dir)))
}

/// The exit code; why it failed, on standard error.
fn told(result: Result<(), Failed>) -> u8 {
    match result {
        Ok(()) => exit::OK,
        Err((code, message)) => {
            eprintln!("{message}");
            code
        }
    }
}

/// A failure of the system, with what it is about.
fn failed(what: impl Display, error: impl Display) -> Failed {
    (exit::SYSTEM, format!("error: {what}: {error}"))
}

/// Where the record is, and what the lab keeps.
struct LabFolder {
    path: PathBuf,
    /// The directory is this lab's alone, and goes with it.
    is_own: bool,
}

impl LabFolder {
    fn new(state_dir: Option<&Path>) -> Self {
        let path = state_dir.map_or_else(|| StateDir::own_path("up"), Path::to_path_buf);
        Self { path: std::path::absolute(&path).unwrap_or(path), is_own: state_dir.is_none() }
    }

    /// The directory, made if it is not there.
    fn make(&self) -> Result<(), Failed> {
        let opened = if self.is_own { StateDir::open_own("up") } else { StateDir::open(Some(&self.path)) };
        opened.map(|_| ()).map_err(|error| (exit::SYSTEM, format!("error: {error}")))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes what `up` and its lab left, the record last: whoever finds none makes a new one.
    fn clear(&self, record: UpRecord) -> io::Result<()> {
        gone(fs::remove_file(self.file(LOG)))?;
        if self.is_own {
            gone(fs::remove_dir_all(self.file(KEPT)))?;
        }
        record.remove()?;
        match self.is_own {
            // Another `up` may have made the next record by now.
            true => match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => gone(removed),
            },
            false => Ok(()),
        }
    }
}

/// That something is not there is no failure of its removal.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Starts the lab, and prints the line that it says when it is ready.
fn start(common: &CommonArgs, args: &StartArgs) -> Result<(), Failed> {
    let folder = LabFolder::new(args.state_dir.as_deref());
    let path = folder.file(RECORD);
    let record = loop {
        folder.make()?;
        match UpRecord::open(&path, true) {
            Ok(UpState::Free(record)) => break record,
            Ok(UpState::Running(running)) => return Err(runs_already(&running, &path)),
            // The directory was removed by `down` meanwhile.
            Ok(UpState::Absent) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path.display(), error)),
        }
    };
    let mut record = record;
    let result = launch(common, args, &folder, &mut record);
    if result.is_err() {
        let _ = folder.clear(record); // the reason is told already
    }
    result
}

/// A second lab is not started.
fn runs_already(running: &RunningRecord, path: &Path) -> Failed {
    let pid = running.pid().ok().flatten();
    let pid = pid.map_or_else(|| "it is being started".into(), |pid| format!("process {pid}"));
    let message = format!(
        "error: a lab is up already ({pid})\nhint: {} has what it said; `pvtzd lab down` ends it; another beside it takes \
         another --state-dir and other ports",
        path.display()
    );
    (exit::FINDINGS, message)
}

/// Starts the process, and waits until it is ready.
fn launch(
    common: &CommonArgs,
    args: &StartArgs,
    folder: &LabFolder,
    record: &mut UpRecord,
) -> Result<(), Failed> {
    let log = new_log(&folder.file(LOG)).map_err(|error| failed(folder.file(LOG).display(), error))?;
    let program = std::env::current_exe().map_err(|error| failed("cannot find this program", error))?;
    let mut command = Command::new(program);
    command.arg("--json");
    if let Some(path) = &common.config {
        command.arg("--config").arg(path);
    }
    command.arg("lab").args(args.words());
    command.envs(args.secret());
    if folder.is_own {
        command.env("XDG_STATE_HOME", &folder.path);
    }
    let handle = record.handle().map_err(|error| failed(folder.file(RECORD).display(), error))?;
    command.process_group(0).stdin(handle).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(|error| failed("cannot start the lab", error))?;
    let written = record.write(child.id(), Map::new());
    let ready = written.map_err(|error| failed(folder.file(RECORD).display(), error)).and_then(|_| {
        let said = ready(&mut child).ok_or_else(|| why(&mut child, folder))?;
        let written = record.write(child.id(), said);
        println!("{}", written.map_err(|error| failed(folder.file(RECORD).display(), error))?);
        match Output::now() {
            Output::Open => Ok(()),
            // A lab that its caller does not know of is not left behind.
            _ => Err(failed("the lab is ended", "standard output cannot be written")),
        }
    });
    if ready.is_err() {
        abandon(&mut child);
    }
    ready
}

/// A new file for the lab's messages; what is there under its name is replaced.
fn new_log(path: &Path) -> io::Result<File> {
    gone(fs::remove_file(path))?;
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Waits until the lab says that it is ready: what it said. Nothing where it ended or was too slow.
fn ready(child: &mut Child) -> Option<Map<String, Value>> {
    let output = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output.take(MAX_LINE)).read_line(&mut line);
        let _ = tell.send(read.map(|_| line)); // after the timeout it is read no more
    });
    let line = told.recv_timeout(START_TIMEOUT).ok()?.ok()?;
    match serde_json::from_slice(line.as_bytes()) {
        Ok(Value::Object(said)) => Some(said),
        _ => None,
    }
}

/// Why a lab is not ready: its own messages and exit code, where it has any.
fn why(child: &mut Child, folder: &LabFolder) -> Failed {
    let status = wait(child, Duration::from_secs(1));
    let code = status.and_then(|status| u8::try_from(status.code()?).ok()).filter(|code| *code != exit::OK);
    let code = code.unwrap_or(exit::SYSTEM);
    let (path, messages) = (folder.file(LOG), messages(folder));
    if !messages.is_empty() {
        return (code, messages);
    }
    let probe = OpenOptions::new().append(true).open(&path).and_then(|mut log| log.write_all(b"\n"));
    match (probe, status) {
        (Err(error), _) => failed(path.display(), error),
        (Ok(()), Some(status)) => failed("the lab ended before it was ready", status),
        (Ok(()), None) => {
            let seconds = START_TIMEOUT.as_secs();
            (exit::SYSTEM, format!("error: the lab was not ready within {seconds} s"))
        }
    }
}

/// What the lab wrote to its log; nothing where that is too long to be of use.
fn messages(folder: &LabFolder) -> String {
    let octets = file::read(&folder.file(LOG), MAX_MESSAGES).unwrap_or_default();
    String::from_utf8_lossy(&octets).trim_end().to_string()
}

/// Waits for the end of a process, at most so long.
fn wait(child: &mut Child, timeout: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < timeout => std::thread::sleep(POLL),
            _ => return None,
        }
    }
}

/// Ends a lab that is of no use.
fn abandon(child: &mut Child) {
    let _ = child.kill(); // it may have ended by itself
    let _ = child.wait();
}

/// Ends the lab that is up, and removes what it left.
fn end(folder: &LabFolder) -> Result<(), Failed> {
    let path = folder.file(RECORD);
    if folder.is_own && file::has_entry(&folder.path).unwrap_or(true) {
        // Anybody may make a directory of this name: what it says counts only if it is this user's.
        folder.make()?;
    }
    let begun = Instant::now();
    let record = loop {
        match UpRecord::open(&path, false).map_err(|error| failed(path.display(), error))? {
            UpState::Absent => {
                eprintln!("no lab is up: there is no {}", path.display());
                if folder.is_own {
                    let _ = fs::remove_dir(&folder.path); // it may be in use by now, or not be there
                }
                return Ok(());
            }
            UpState::Free(record) => {
                eprintln!("the lab had ended already; its files are removed");
                let messages = messages(folder);
                if !messages.is_empty() {
                    eprintln!("its messages were:\n{messages}");
                }
                break record;
            }
            UpState::Running(running) => {
                match running.pid().map_err(|error| failed(path.display(), error))? {
                    Some(pid) => break stop(running, pid)?,
                    None if begun.elapsed() < START_TIMEOUT => std::thread::sleep(POLL),
                    None => return Err(failed(path.display(), "a lab is being started all the time")),
                }
            }
        }
    };
    folder.clear(record).map_err(|error| failed(folder.path.display(), error))
}

/// Ends the process of a record; the record, once no process has it any more.
fn stop(mut running: RunningRecord, pid: i32) -> Result<UpRecord, Failed> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if !running.is_held_by(pid) {
            // It ends at this moment; or it is a lab of another container, with other numbers.
            return running.wait(POLL).map_err(|_| {
                let hint = "hint: end it where it was started, as the user who did";
                (exit::SYSTEM, format!("error: the lab is no process that is seen here ({pid})\n{hint}"))
            });
        }
        let _ = kill(Pid::from_raw(pid), signal); // it may have ended just now
        match running.wait(STOP_TIMEOUT) {
            Ok(record) => return Ok(record),
            Err(still) => running = still,
        }
    }
    Err(failed(format!("the process {pid}"), "it does not end"))
}
