//! An ECS instance without a public network, for one command: namespaces of its own, and in them the lab.
//!
//! ```text
//!  pvtzd lab exec ── unshare ─▶ pvtzd lab inside ─┬─ network: addresses on lo; all others swallow packets
//!    (the caller)    (root of its own             ├─ files: resolv.conf, nsswitch.conf, trusted CAs
//!                     namespaces, no more)        ├─ the lab: DNS on 53, APIs, metadata service
//!                                                 └─ unshare ─▶ the command, as the caller
//! ```
//!
//! The programs `unshare`, `mount` and `ip` do what needs the kernel. This keeps a command from reaching out by
//! accident; it is no fence against one that wants out.

mod child;
mod command;
mod files;
mod java;
mod namespaces;
mod network;
mod parent;
mod unreached;

pub use child::enter;
pub use parent::{CallerIds, Namespaces, start};

use super::ca::LabCa;
use super::state::StateDir;
use crate::api::AccessKey;
use crate::config::Config;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The instance's own address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 10);

/// What the names inside the VPC lead to.
const INSIDE: Ipv4Addr = Ipv4Addr::new(100, 100, 0, 80);

/// The resolvers of a VPC. They know the public names and those inside a VPC, and no private zones.
const RESOLVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 2, 136), Ipv4Addr::new(100, 100, 2, 138)];

/// The metadata service.
const METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// Who runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What an instance is made of.
#[derive(Debug)]
pub struct InstancePlan {
    /// The sidecar's configuration, without what the instance decides.
    pub config: Config,
    /// The region.
    pub region: String,
    /// The VPC.
    pub vpc: String,
    /// The metadata service tells nothing without a token.
    pub hardened: bool,
    /// The role of the instance, if it has one.
    pub role: Option<String>,
    /// How long credentials of the role live.
    pub credential_life: Duration,
    /// The user data.
    pub user_data: Option<Vec<u8>>,
    /// The instance has a public network: public API names lead to the stub.
    pub public: bool,
    /// The access key is not in the command's environment.
    pub without_key: bool,
    /// Unreachable API names are not listed.
    pub quiet: bool,
    /// Where the VPC was made and zones are kept; without it the lab starts from nothing.
    pub store: Option<PathBuf>,
    /// What is kept from start to start.
    pub state: StateDir,
    /// The CA.
    pub authority: LabCa,
    /// The access key that the APIs accept.
    pub key: AccessKey,
    /// Who called.
    pub caller: CallerIds,
    /// The command.
    pub command: Vec<OsString>,
}

/// Why there is no instance.
#[derive(Debug)]
pub enum InstanceError {
    /// Namespaces are not to be had; what to do about it.
    NotAllowed(String),
    /// A program is missing; the package that has it.
    Missing(&'static str, &'static str),
    /// A program failed: its words.
    Failed(String, String),
    /// Something in here is not available.
    System(&'static str, io::Error),
    /// The lab does not start.
    Lab(super::running::LabError),
}

impl fmt::Display for InstanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(advice) => f.write_str(advice),
            Self::Missing(program, package) => {
                write!(f, "the program `{program}` is missing\nhint: install the package {package}")
            }
            Self::Failed(command, words) => write!(f, "`{command}` failed: {words}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Lab(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InstanceError {}

/// Runs a program to its end, with a text as its input.
fn run(
    program: &'static str,
    package: &'static str,
    words: &[&str],
    input: &str,
) -> Result<(), InstanceError> {
    let failed = |words: String| InstanceError::Failed(program.into(), words);
    let path = std::env::var("PATH").unwrap_or_default();
    let child = Command::new(program)
        .args(words)
        .env("PATH", format!("{path}:/usr/sbin:/sbin")) // which plain users may be without
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(InstanceError::Missing(program, package));
        }
        other => other.map_err(|error| failed(error.to_string()))?,
    };
    if let Some(mut pipe) = child.stdin.take() {
        let _ = io::Write::write_all(&mut pipe, input.as_bytes()); // one that ends early says why by itself
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            Err(InstanceError::Failed(format!("{program} {}", words.join(" ")), said))
        }
    }
}
