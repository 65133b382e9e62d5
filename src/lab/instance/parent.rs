//! The caller's half: finds a way to have namespaces and becomes `unshare`, which becomes the other half.
//!
//! Becoming it, and not starting it, keeps process id, terminal and exit status the caller's own.

use super::namespaces;
use super::namespaces::Way;
use super::{InstanceError, RunAs};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the other half has to know of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerIds {
    /// Who is to run the command, where that is not who the other half is.
    pub run_as: Option<RunAs>,
    /// The namespaces out here, which the other half must not be in.
    pub namespaces: Namespaces,
}

/// The network and mount namespaces of a process, as the kernel names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// The network namespace.
    pub net: String,
    /// The mount namespace.
    pub mnt: String,
}

impl Namespaces {
    /// Those that we are in.
    pub(super) fn own() -> io::Result<Self> {
        let link = |kind: &str| {
            Ok::<_, io::Error>(fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string())
        };
        Ok(Self { net: link("net")?, mnt: link("mnt")? })
    }
}

/// Goes on as `pvtzd WORDS…` in namespaces of its own; `words` are made for the caller, and `variable` is one more of the environment. Comes back only when that fails.
pub fn start(
    words: impl FnOnce(&CallerIds) -> Vec<OsString>,
    variable: Option<(&str, &str)>,
) -> InstanceError {
    let caller = match fs::metadata("/proc/self") {
        Ok(metadata) => RunAs { uid: metadata.uid(), gid: metadata.gid() },
        Err(error) => return InstanceError::System("/proc is not there", error),
    };
    let way = match namespaces::find(caller.uid == 0) {
        Ok(way) => way,
        Err(error) => return error,
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return InstanceError::System("cannot find the path of this program", error),
    };
    let namespaces = match Namespaces::own() {
        Ok(namespaces) => namespaces,
        Err(error) => return InstanceError::System("/proc/self/ns is not there", error),
    };
    let run_as = (way == Way::UserNamespace && caller.uid != 0).then_some(caller);
    let mut unshare = Command::new("unshare");
    unshare
        .args(way.arguments())
        .arg("--")
        .arg(program)
        .args(words(&CallerIds { run_as, namespaces }))
        .envs(variable);
    let error = unshare.exec();
    match error.kind() {
        io::ErrorKind::NotFound => InstanceError::Missing("unshare", "util-linux"),
        _ => InstanceError::Failed("unshare".into(), error.to_string()),
    }
}
