//! What the kernel says of this process, under the names that every Prometheus client library has for it.

use nix::sys::resource::{Resource, getrlimit};
use std::fs;

/// Ticks a second in which the kernel counts time for programs: the same on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// The numbers; what cannot be read is nothing.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// The current values.
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())
        });
        let started = field(&stat, 22).map(|ticks| ticks / TICKS);
        Self {
            cpu_seconds: field(&stat, 14).zip(field(&stat, 15)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: kibibytes(&status, "VmRSS:"),
            virtual_bytes: kibibytes(&status, "VmSize:"),
            threads: field(&stat, 20).map(|threads| threads as u64),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            start_seconds: booted.zip(started).map(|(booted, started)| booted + started),
        }
    }
}

/// A field of `/proc/self/stat`, counted from 1; the second is a name in brackets that may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// A size of `/proc/self/status` in bytes.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|size| size * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_all_of_them() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some() && process.max_fds.is_some(), "{process:?}");
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 16), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes && process.threads >= Some(1));
        assert!(process.open_fds >= Some(3) && process.start_seconds.is_some_and(|start| start > 1e9));
    }

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        assert_eq!(field("7 (a) b (c)) S 1 2", 4), Some(1.0));
        assert_eq!(field("", 4), None);
    }
}
