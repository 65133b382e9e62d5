//! What can go wrong with the resolver configuration, each with what to do.

use nix::errno::Errno;
use std::fmt;
use std::io;

/// A wish that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

impl Refusal {
    /// Error and remedy.
    pub fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: hint.into() }
    }
}

/// Why a take or a give-back did not come about.
#[derive(Debug)]
pub enum ResolverError {
    /// Reading or writing failed.
    Io {
        /// The operation, such as `write`.
        doing: &'static str,
        /// The path.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A required command failed.
    Command {
        /// The command and its arguments.
        words: String,
        /// Its result.
        problem: String,
    },
    /// The change is refused.
    Refused(Refusal),
    /// The saved record cannot be parsed.
    Record {
        /// Its path.
        path: String,
        /// The fault.
        problem: String,
    },
    /// The change was made, but programs do not reach pvtzd.
    Check(String),
    /// Another `pvtzd resolver` is running.
    Busy,
}

impl ResolverError {
    /// An error of the kernel.
    pub fn io(doing: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// The remedy.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { path, source, .. } => match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EROFS) => format!(
                    "the file system of {path} is read-only: remount it for writing (`mount -o remount,rw …`); in a \
                     container give pvtzd's address by the container's own DNS settings instead"
                ),
                Some(Errno::EPERM) => {
                    format!(
                        "if {path} is immutable (`lsattr {path}` shows `i`): `chattr -i {path}`, then try again"
                    )
                }
                Some(Errno::EACCES) => "run this as root".into(),
                Some(Errno::ENOSPC | Errno::EDQUOT) => {
                    format!("there is no room for {path}: make some, or name another folder with --state-dir")
                }
                _ => format!("see what is wrong with {path}, then try again"),
            },
            Self::Command { words, .. } => format!("run `{words}` by hand and see what it says"),
            Self::Refused(refusal) => refusal.hint.clone(),
            Self::Record { path, .. } => format!(
                "nothing was changed. If the file was damaged, restore /etc/resolv.conf by hand (the servers of a \
                 VPC are 100.100.2.136 and 100.100.2.138) and remove {path}"
            ),
            Self::Check(_) => "`pvtzd doctor` shows the failing step; --force skips the check".into(),
            Self::Busy => "wait until it has ended".into(),
        }
    }
}

impl fmt::Display for ResolverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => write!(f, "cannot {doing} {path}: {source}"),
            Self::Command { words, problem } => write!(f, "`{words}` failed: {problem}"),
            Self::Refused(refusal) => f.write_str(&refusal.why),
            Self::Record { path, problem } => write!(f, "{path} is not what pvtzd wrote: {problem}"),
            Self::Check(problem) => write!(f, "the check failed, all changes were reverted: {problem}"),
            Self::Busy => f.write_str("another `pvtzd resolver` is running"),
        }
    }
}

impl std::error::Error for ResolverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
