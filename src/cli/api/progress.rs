//! A line on the terminal for what takes more than a second; nothing anywhere else.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Until the line shows, and how often it is written again.
const PACE: Duration = Duration::from_secs(1);

/// The line, which goes when this is dropped.
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Begins, where standard error is a terminal.
    pub(super) fn start(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ended) = channel::<()>();
        let begun = Instant::now();
        let show = move || {
            let mut shown = false;
            while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                // A terminal that is gone is no reason to stop.
                let _ = write!(std::io::stderr(), "\r{what} … {} s", begun.elapsed().as_secs());
                shown = true;
            }
            if shown {
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show);
        Self(thread.ok().map(|thread| (end, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}
