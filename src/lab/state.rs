//! What the lab keeps on disk from one start to the next: its CA and its access key.
//!
//! Each thing is one file of mode 0600, made when it is not there and made anew when it is of no use any more.
//! Several labs may start at once: the file that is there first counts for all of them.

use crate::base::file;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Octets of the largest file that is read.
const LARGEST: u64 = 16 << 20;

/// The directory that the lab keeps its things in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// The directory is not available.
#[derive(Debug)]
pub struct StateError {
    path: PathBuf,
    cause: io::Error,
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cannot save the lab's state: {}: {}\nhint: set another directory with --state-dir",
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl StateDir {
    /// The directory that was named; else `$XDG_STATE_HOME/pvtzd/lab`; else `~/.local/state/pvtzd/lab`; and for
    /// who has no home, one in the directory for temporary files that no other user can have made.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn open(named: Option<&Path>) -> Result<Self, StateError> {
        if let Some(path) = named {
            return Self::at(path).map_err(|cause| StateError { path: path.into(), cause });
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
        if let Some(path) = state.filter(|path| path.is_absolute())
            && let Ok(directory) = Self::at(&path.join("pvtzd/lab"))
        {
            return Ok(directory);
        }
        Self::open_own("lab")
    }

    /// A directory below the one for temporary files that is this user's, for a purpose: it is made, or it must be
    /// this user's and closed to others.
    ///
    /// # Errors
    /// It is not, or it cannot be made.
    pub fn open_own(purpose: &str) -> Result<Self, StateError> {
        let path = Self::own_path(purpose);
        Self::private(&path, user()).map_err(|cause| StateError { path, cause })
    }

    /// Where [`Self::open_own`] has it.
    pub fn own_path(purpose: &str) -> PathBuf {
        std::env::temp_dir().join(format!("pvtzd-{purpose}-{}", user().unwrap_or_default()))
    }

    /// A directory that is made if it is not there, and can be written.
    fn at(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let probe = path.join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, "")?;
        fs::remove_file(&probe)?;
        Ok(Self(path.canonicalize()?))
    }

    /// A directory where everybody may write: it must be ours, and closed to others.
    fn private(path: &Path, who: io::Result<u32>) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() || found.uid() != who? || found.mode() & 0o077 != 0 {
            return Err(io::Error::other("it belongs to another user, or other users can access it"));
        }
        Self::at(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is kept in the file `name` as `read` understands it; where it does not, or there is no file, the text
    /// that `make` returns is kept from now on. `what` is what to call it in a message.
    ///
    /// # Errors
    /// The file cannot be read or written, or `make` failed.
    pub fn keep<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Result<T, String>,
        make: impl Fn() -> io::Result<String>,
    ) -> io::Result<T> {
        let path = self.0.join(name);
        // Others may make or replace the file meanwhile, but not without end.
        for _ in 0..10 {
            match file::read(&path, LARGEST) {
                Ok(bytes) => match read(&String::from_utf8_lossy(&bytes)) {
                    Ok(kept) => return Ok(kept),
                    Err(why) => {
                        eprintln!("{what} in {} is unusable ({why}); generating a new one", path.display());
                        remove(&path)?;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.put_first(&path, &make()?)?;
        }
        Err(io::Error::other(format!("{what} in {} is changed again and again", path.display())))
    }

    /// Writes a file that was not there; where it is there by now, it stays as it is.
    fn put_first(&self, path: &Path, text: &str) -> io::Result<()> {
        let draft = self.draft(text.as_bytes(), 0o600)?;
        let linked = match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        remove(&draft)?;
        linked
    }

    /// Writes a file that anybody may read, whole or not at all, unless it says the same already.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn publish(&self, name: &str, octets: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if file::read(&path, LARGEST).ok().as_deref() != Some(octets) {
            fs::rename(self.draft(octets, 0o644)?, &path)?;
        }
        Ok(path)
    }

    /// A file with a unique name.
    fn draft(&self, octets: &[u8], mode: u32) -> io::Result<PathBuf> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(io::Error::other)?;
        let draft = self.0.join(format!(".draft-{:016x}", u64::from_ne_bytes(number)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(octets)?;
        Ok(draft)
    }
}

/// The user of this process.
fn user() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|metadata| metadata.uid())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }

    #[test]
    fn what_is_kept_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(&folder.path().join("a/b"))).unwrap();
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            Ok("7".to_string())
        };
        assert_eq!(state.keep("n", "the number", number, make).unwrap(), 7);
        assert_eq!(state.keep("n", "the number", number, make).unwrap(), 7);
        assert_eq!(made.get(), 1);
        let mode = fs::metadata(state.path().join("n")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn what_is_damaged_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path())).unwrap();
        fs::write(folder.path().join("n"), b"\xff odd").unwrap();
        assert_eq!(state.keep("n", "the number", number, || Ok("8".into())).unwrap(), 8);
        assert_eq!(fs::read_to_string(folder.path().join("n")).unwrap(), "8");
    }

    #[test]
    fn many_that_start_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path())).unwrap();
        let kept: Vec<u32> = std::thread::scope(|scope| {
            let state = &state;
            let threads: Vec<_> = (0..16)
                .map(|at| scope.spawn(move || state.keep("n", "it", number, || Ok(at.to_string())).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(kept.iter().all(|one| *one == kept[0]), "{kept:?}");
    }

    #[test]
    fn a_directory_of_others_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let who = fs::metadata("/proc/self").unwrap().uid();
        assert!(StateDir::private(&path, Ok(who)).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(StateDir::private(&path, Ok(who)).is_ok());
        assert!(StateDir::private(&path, Ok(who + 1)).is_err());
    }
}
