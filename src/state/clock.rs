//! The clock that all moments come from: it never goes back, and the wall clock cannot move it. It is tokio's, which is
//! the system's monotonic clock but in tests, where it can be moved.

use crate::engine::cache::Moment;
use std::time::Instant;

/// Where the clock starts: far enough from zero that entries of a snapshot can have been stored before it.
const START_MS: u64 = 1 << 42;

/// Turns instants of the monotonic clock into moments.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: instant() }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.at(instant())
    }

    /// The moment of an instant.
    pub fn at(&self, instant: Instant) -> Moment {
        Moment(START_MS + instant.saturating_duration_since(self.started).as_millis() as u64)
    }

    /// How long the clock has been running.
    pub fn uptime(&self) -> std::time::Duration {
        instant().saturating_duration_since(self.started)
    }
}

/// The instant, on the clock that moments are made of.
pub fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}
