//! Counters of API requests by action and class of HTTP status. Unknown actions share one name, which bounds the number
//! of counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The name of unknown actions.
pub const OTHER: &str = "other";

/// The counters.
#[derive(Debug, Default)]
pub struct Calls {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Calls {
    /// Counts an answered request.
    pub fn count(&self, action: &'static str, status: u16) {
        let class = match status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry((action, class)).or_default() += 1;
    }

    /// All counters: action, class, number.
    pub fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((action, class), count)| (*action, *class, *count)).collect()
    }
}
