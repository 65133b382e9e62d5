//! Tests of the whole, on loopback only: one binary, so that it links once.
//!
//! `server` starts the real program, `upstream` is who it asks, `client` is who asks it; the other modules are
//! the tests. Nothing here waits for time to pass: what must have happened is polled for, with a deadline.
#![allow(clippy::disallowed_macros, reason = "a test may print")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod client;
mod command_line;
mod console;
mod console_live;
mod control;
mod data_files;
mod documents;
mod encrypted;
mod gateway;
mod malformed;
mod manual;
mod memory;
mod operations;
mod reload;
mod repository;
mod scenario;
mod server;
mod serving;
mod structure;
mod supervised;
mod upstream;
mod worlds;

use std::time::{Duration, Instant};

/// The longest time that anything here is waited for: generous, for busy machines.
const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
///
/// # Panics
/// There is none within [`DEADLINE`].
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2)); // the pause between two looks, not the wait itself
    }
}
