//! Who called what: requests of the API by action and class of HTTP status. Actions that do not exist share one name,
//! so that callers cannot make the counters grow without end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The name for what is no action.
pub const OTHER: &str = "other";

/// The counters.
#[derive(Debug, Default)]
pub struct Calls {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Calls {
    /// A request has been answered.
    pub fn count(&self, action: &'static str, status: u16) {
        let class = match status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry((action, class)).or_default() += 1;
    }

    /// All of them: action, class, number.
    pub fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((action, class), count)| (*action, *class, *count)).collect()
    }
}
