//! The machine as this module sees it: files below a root, and programs. The only place here that changes a disk.

use super::content::{Content, FileOctets};
use super::trouble::ResolverError;
use crate::base::file;
use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Links over which a path may lead, as in the kernel.
const MAX_LINKS: usize = 40;

/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Octets of the largest file that is read. One that is larger is an error: half of it must not be put back.
const LARGEST: u64 = 4 << 20;

/// The same for a resolv.conf, by whatever name: one that names three servers has a few hundred.
const LARGEST_RESOLV_CONF: u64 = 64 << 10;

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code was 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs programs.
pub trait Commands {
    /// Runs a program until it ends.
    ///
    /// # Errors
    /// The program is missing, or does not end in time.
    fn run(&self, words: &[&str]) -> io::Result<Ran>;
}

/// The programs of this machine.
#[derive(Debug)]
pub struct Installed;

/// No programs at all: for a root folder that is not this machine's.
#[derive(Debug)]
pub struct NoCommands;

/// Files below a root, and programs.
pub struct Machine {
    root: PathBuf,
    commands: Box<dyn Commands + Send + Sync>,
}

impl Machine {
    /// The files below `root`.
    pub fn new(root: impl Into<PathBuf>, commands: impl Commands + Send + Sync + 'static) -> Self {
        Self { root: root.into(), commands: Box::new(commands) }
    }

    /// This machine.
    pub fn this() -> Self {
        Self::new("/", Installed)
    }

    /// True for the machine of this process, whose resolver can be tested.
    pub fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The path of a machine's file for this process.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Runs a program.
    ///
    /// # Errors
    /// The program is missing, or does not end in time.
    pub fn run(&self, words: &[&str]) -> io::Result<Ran> {
        self.commands.run(words)
    }

    /// The content of a path, without following links.
    ///
    /// # Errors
    /// It cannot be read, or is neither file nor link.
    pub fn content(&self, path: &str) -> Result<Content, ResolverError> {
        let at = self.at(path);
        let failed = |source| ResolverError::Io { doing: "read", path: path.to_string(), source };
        let metadata = match fs::symlink_metadata(&at) {
            Ok(metadata) => metadata,
            Err(error) if is_nothing(&error) => return Ok(Content::Absent),
            Err(error) => return Err(failed(error)),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(&at).map_err(failed)?;
            return Ok(Content::Link { target: FileOctets(target.into_os_string().into_vec()) });
        }
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let most = if path.ends_with("/resolv.conf") { LARGEST_RESOLV_CONF } else { LARGEST };
        let octets = file::read(&at, most).map_err(failed)?;
        let mode = metadata.mode() & 0o7777;
        Ok(Content::File { octets: FileOctets(octets), mode, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// The path with all links followed, as on the machine.
    pub fn target(&self, path: &str) -> String {
        let mut path = path.to_string();
        for _ in 0..MAX_LINKS {
            let Ok(Content::Link { target }) = self.content(&path) else { break };
            let target = String::from_utf8_lossy(&target.0).into_owned();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            path = tidy(&if target.starts_with('/') { target } else { format!("{folder}/{target}") });
        }
        path
    }

    /// The text of a resolv.conf with links followed; None if there is no file.
    ///
    /// # Errors
    /// The target cannot be read, or is not a regular file.
    pub fn read(&self, path: &str) -> Result<Option<String>, ResolverError> {
        let target = self.target(path);
        match self.content(&target)? {
            Content::File { octets, .. } if octets.0.len() as u64 > LARGEST_RESOLV_CONF => {
                Err(ResolverError::io("read", path)(io::Error::from(io::ErrorKind::FileTooLarge)))
            }
            Content::Link { .. } => {
                Err(ResolverError::io("read", path)(io::Error::from_raw_os_error(Errno::ELOOP as i32)))
            }
            content => Ok(content.text()),
        }
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(&self, path: &str) -> Result<(), ResolverError> {
        match fs::create_dir(self.at(path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(ResolverError::io("make the folder", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a folder, if it is empty.
    pub fn remove_directory(&self, path: &str) {
        let _ = fs::remove_dir(self.at(path)); // a folder with other files stays
    }

    /// Removes a file, a link, or a folder with its content.
    pub fn discard(&self, path: &str) {
        let at = self.at(path);
        let removed = match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&at),
            _ => fs::remove_file(&at),
        };
        let _ = removed; // an unused leftover, which disappears at the next boot
    }

    /// The root folder of the machine's files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces a path: atomically, or (a file that is mounted over, as in containers) octet by octet.
    ///
    /// # Errors
    /// The replacement failed; the former content is unchanged or restored.
    pub fn put(&self, path: &str, content: &Content) -> Result<(), ResolverError> {
        let at = self.at(path);
        let beside = beside(&at);
        let _ = fs::remove_file(&beside); // left by a crash
        let prepared = match content {
            Content::Absent => {
                return match fs::remove_file(&at) {
                    Err(error) if !is_nothing(&error) => Err(ResolverError::io("remove", path)(error)),
                    _ => self.settle(&at, path),
                };
            }
            Content::Link { target } => symlink(std::ffi::OsStr::from_bytes(&target.0), &beside)
                .map_err(ResolverError::io("write", path)),
            Content::File { octets, mode, uid, gid } => {
                write_new(&beside, &octets.0, *mode, *uid, *gid).map_err(ResolverError::io("write", path))
            }
        };
        let placed = prepared.and_then(|()| match (fs::rename(&beside, &at), content) {
            (Err(error), Content::File { octets, .. })
                if error.raw_os_error() == Some(Errno::EBUSY as i32) =>
            {
                write_over(&at, &octets.0).map_err(ResolverError::io("write", path))
            }
            (result, _) => result.map_err(ResolverError::io("replace", path)),
        });
        let _ = fs::remove_file(&beside); // there only if it was not renamed
        placed?;
        self.settle(&at, path)
    }

    /// Syncs a folder's entries to disk.
    fn settle(&self, at: &Path, path: &str) -> Result<(), ResolverError> {
        let folder = at.parent().unwrap_or(Path::new("/"));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(ResolverError::io("make durable", path))
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A new file, durable, with everything it is to have.
fn write_new(at: &Path, octets: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
    file.write_all(octets)?;
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) != (uid, gid) {
        // Without root the owner cannot be set: the file then belongs to this user.
        match chown(at, Some(uid), Some(gid)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// New octets in the same file, for one that cannot be replaced. It is made shorter last: what a crash leaves in
/// between is recognised ([`Content::is_torn`]).
fn write_over(at: &Path, octets: &[u8]) -> io::Result<()> {
    let mut former = Vec::new();
    open(File::options().read(true), at)?.take(LARGEST).read_to_end(&mut former)?;
    let write = |octets: &[u8]| {
        let mut file = open(OpenOptions::new().write(true), at)?;
        file.write_all(octets)?;
        file.set_len(octets.len() as u64)?;
        file.sync_all()
    };
    write(octets).inspect_err(|_| {
        let _ = write(&former); // these octets fitted before
    })
}

/// Opens what is there, follows no link, and waits for no other end of a pipe.
fn open(options: &mut OpenOptions, at: &Path) -> io::Result<File> {
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC).open(at)
}

/// The place where a new file is prepared.
fn beside(at: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".pvtzd-");
    name.push(at.file_name().unwrap_or_default());
    at.with_file_name(name)
}

/// Nothing is there.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A path without `.` and `..`.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Commands for Installed {
    fn run(&self, words: &[&str]) -> io::Result<Ran> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C") // the output is parsed
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            if begun.elapsed() > TIMEOUT {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }
}

impl Commands for NoCommands {
    fn run(&self, _words: &[&str]) -> io::Result<Ran> {
        Err(io::ErrorKind::NotFound.into())
    }
}
