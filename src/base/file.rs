//! Reads configured files and detects their changes. Only regular files of limited size are read: a FIFO, a device or a
//! file of many gigabytes is an error, and neither blocks the process nor exhausts its memory.

use nix::libc::{O_CLOEXEC, O_NONBLOCK, makedev};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders that `ProtectHome=` hides from a service.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Reads a regular file of at most this many octets.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let found = file.metadata()?;
    read_found(file, &found, most)
}

/// Reads an open file.
fn read_found(file: File, found: &Metadata, most: u64) -> io::Result<Vec<u8>> {
    if is_null(found) {
        return Ok(Vec::new()); // /dev/null is the usual name of an empty file
    }
    check_regular(found)?;
    if found.len() > most {
        return Err(too_large(most)); // before gigabytes of it are read
    }
    read_at_most(file, found.len(), most)
}

/// As [`read`]; also returns the file's state before the read, even if the read fails.
pub fn read_watched(path: &Path, most: u64) -> (Option<FileState>, io::Result<Vec<u8>>) {
    watched(path, |file, found| read_found(file, found, most))
}

/// As [`read_watched`], for text of lines. Reading stops at a line of more octets than `longest`: a sparse file or a disk
/// image costs no memory.
pub fn read_lines_watched(
    path: &Path,
    most: u64,
    longest: usize,
) -> (Option<FileState>, io::Result<Vec<u8>>) {
    watched(path, |file, found| {
        match found.is_file() && found.len() > longest as u64 && found.len() <= most {
            true => read_lines(file, found.len(), most, longest),
            false => read_found(file, found, most),
        }
    })
}

/// The state of a file before `read` reads it, and what that reads.
fn watched(
    path: &Path,
    read: impl FnOnce(File, &Metadata) -> io::Result<Vec<u8>>,
) -> (Option<FileState>, io::Result<Vec<u8>>) {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) => return (state(path), Err(error)),
    };
    match file.metadata() {
        Ok(found) => (Some(FileState::of(&found)), read(file, &found)),
        Err(error) => (None, Err(error)),
    }
}

/// Reads lines piece by piece.
fn read_lines(mut file: File, expected: u64, most: u64, longest: usize) -> io::Result<Vec<u8>> {
    let (mut content, mut line) = (Vec::new(), 0);
    loop {
        let start = content.len();
        // Room for all of it once there is more than one line.
        let room =
            if line == start { start + longest } else { usize::try_from(expected).unwrap_or_default() };
        content.reserve_exact(room.saturating_sub(start) + 1);
        (&mut file).take(longest as u64).read_to_end(&mut content)?;
        let piece = &content[start..];
        if piece.is_empty() {
            return Ok(content);
        }
        if content.len() as u64 > most {
            return Err(too_large(most));
        }
        let first = piece.iter().position(|octet| *octet == b'\n').unwrap_or(piece.len());
        if line + first > longest {
            let number = content[..start].iter().filter(|octet| **octet == b'\n').count() + 1;
            let why = format!("line {number} has more than {longest} octets");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        line = match piece.iter().rposition(|octet| *octet == b'\n') {
            Some(end) => piece.len() - end - 1,
            None => line + piece.len(),
        };
    }
}

/// As [`read`], for text.
///
/// # Errors
/// As for [`read`], and the file is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Refuses anything but a regular file.
///
/// # Errors
/// It is not a regular file; the error names its kind.
pub fn check_regular(found: &Metadata) -> io::Result<()> {
    match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::other(format!("it is {}, not a regular file", kind(found)))),
    }
}

/// Opens for reading, without waiting for the writer of a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_CLOEXEC).open(path)
}

/// Reads with a limit, because the size in the metadata may be wrong, as in /proc.
fn read_at_most(file: File, expected: u64, most: u64) -> io::Result<Vec<u8>> {
    let (mut file, expected) = (file.take(most + 1), usize::try_from(expected).unwrap_or_default());
    let mut content = vec![0; expected + 1];
    let first = match file.read(&mut content) {
        Err(error) if error.kind() == ErrorKind::Interrupted => 0,
        first => first?,
    };
    content.truncate(first);
    // where there is room left and all that was expected is there, one more call would only say so
    if first != expected || expected == 0 {
        file.read_to_end(&mut content)?;
    }
    match content.len() as u64 <= most {
        true => Ok(content),
        false => Err(too_large(most)),
    }
}

/// The error for a file above the limit.
fn too_large(most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} octets"))
}

/// True for /dev/null.
fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == makedev(1, 3)
}

/// The name of a kind of file.
fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    }
}

/// The state of a file at the last read. A copy is cheap: there may be many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    /// The path.
    pub path: Arc<Path>,
    /// The state.
    pub state: Option<FileState>,
}

impl WatchedFile {
    /// The current state. Take it before the file is read, so that no change in between is missed.
    pub fn now(path: &Path) -> Self {
        Self { path: path.into(), state: state(path) }
    }

    /// True if the file has changed.
    pub fn has_changed(&self) -> bool {
        state(&self.path) != self.state
    }
}

/// The metadata that changes with the content: device and inode, by a rename or another link target; size and times in
/// nanoseconds, by a write. The change time of the inode (ctime) cannot be set back, unlike that of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(found: &Metadata) -> Self {
        Self {
            place: (found.dev(), found.ino()),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The state of the file at a path, with links followed; None if it cannot be reached.
pub fn state(path: &Path) -> Option<FileState> {
    fs::metadata(path).ok().map(|found| FileState::of(&found))
}

/// True if there is an entry of this name, even a dangling link.
///
/// # Errors
/// The entry cannot be examined: no permission for a folder, or a dangling link in the path.
pub fn has_entry(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let links =
                path.ancestors().skip(1).find(|folder| folder.is_symlink() && fs::metadata(folder).is_err());
            if links.is_some() { Err(error) } else { Ok(false) }
        }
        Err(error) => Err(error),
    }
}

/// The part of the path that this process may not enter or read, as text; None if that cannot be determined.
pub fn obstacle(path: &Path) -> Option<String> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    for place in way {
        let folder = place.parent();
        let found = match fs::symlink_metadata(place) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return folder
                    .map(|folder| format!("this user cannot enter {}{}", folder.display(), mode(folder)));
            }
            Err(_) => return None,
        };
        if found.is_symlink() {
            let Err(error) = fs::metadata(place) else { continue };
            let target = folder.unwrap_or(Path::new("/")).join(fs::read_link(place).ok()?);
            let why = match error.kind() {
                ErrorKind::NotFound => "which does not exist".into(),
                ErrorKind::PermissionDenied => "which this user cannot access".into(),
                _ => format!("which cannot be followed: {error}"),
            };
            let hidden = if is_in_a_home(&target) { ", or the unit's ProtectHome= hides it" } else { "" };
            return Some(format!("{} is a link to {}, {why}{hidden}", place.display(), target.display()));
        }
    }
    let unreadable = open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    unreadable.then(|| format!("this user cannot read it{}", mode(path)))
}

/// True for a path that `ProtectHome=` hides from a service.
pub fn is_in_a_home(path: &Path) -> bool {
    HOMES.iter().any(|home| path.starts_with(home))
}

/// Mode and owner, for a message.
fn mode(path: &Path) -> String {
    fs::metadata(path).map_or(String::new(), |found| {
        format!(" (mode {:04o}, user {}, group {})", found.mode() & 0o7777, found.uid(), found.gid())
    })
}

/// The folders above a path and the path itself, the topmost first, with all links followed.
///
/// # Errors
/// A part of it is missing or cannot be reached.
pub fn way_to(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = fs::canonicalize(path)?;
    let mut way: Vec<PathBuf> = path.ancestors().map(Path::to_path_buf).collect();
    way.reverse();
    Ok(way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_regular_file_is_read_up_to_the_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"12345").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        assert_eq!(read(Path::new("/dev/null"), 5).unwrap(), b"");
        assert_eq!(read_text(&at("link"), 5).unwrap(), "12345");
        assert_eq!(read(&at("file"), 4).unwrap_err().to_string(), "it is larger than 4 octets");
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(obstacle(&at("pipe")), None, "and no writer is waited for");
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (path, kind) in
            [(at("pipe"), "a pipe"), (folder.path().into(), "a directory"), ("/dev/zero".into(), "a device")]
        {
            assert_eq!(
                read(&path, 100).unwrap_err().to_string(),
                format!("it is {kind}, not a regular file")
            );
        }
        assert!(read(&at("socket"), 100).is_err());
        let sparse = File::create(at("sparse")).unwrap();
        sparse.set_len(10 << 30).unwrap();
        assert!(read(&at("sparse"), 1 << 20).is_err());
        let (watched, refused) = read_lines_watched(&at("sparse"), 1 << 40, 1 << 20);
        assert_eq!(refused.unwrap_err().to_string(), "line 1 has more than 1048576 octets");
        assert_eq!(watched, state(&at("sparse")));
        fs::write(at("odd"), b"\xff").unwrap();
        assert_eq!(read_text(&at("odd"), 5).unwrap_err().to_string(), "it is not UTF-8");
    }

    #[test]
    fn lines_are_read_piece_by_piece_up_to_the_longest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_lines_watched(&path, 1000, 10).1.map_err(|error| error.to_string())
        };
        for text in [
            "",
            "12345",
            "1234567890",
            "12345\n6789\n12345\n",
            "\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
            "123456789\n1234567890",
        ] {
            assert_eq!(read(text).unwrap(), text.as_bytes(), "{text:?}");
        }
        for (text, line) in
            [("12345678901", 1), ("1\n2\n12345678901", 3), ("12345\n6789\n123456789012\n3", 3)]
        {
            assert_eq!(read(text).unwrap_err(), format!("line {line} has more than 10 octets"), "{text:?}");
        }
        assert_eq!(read(&"1\n".repeat(501)).unwrap_err(), "it is larger than 1000 octets");
    }

    #[test]
    fn every_way_to_change_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("one")).unwrap();
        fs::create_dir_all(at("two")).unwrap();
        fs::write(at("one/file"), b"same").unwrap();
        fs::write(at("two/file"), b"same").unwrap();
        symlink("one", at("..data")).unwrap();
        symlink("..data/file", at("file")).unwrap();
        let mut seen = WatchedFile::now(&at("file"));
        assert!(!seen.has_changed());
        let mut check = |what: &str| {
            assert!(seen.has_changed(), "{what}");
            seen = WatchedFile::now(&at("file"));
            assert!(!seen.has_changed(), "{what}");
        };
        symlink("two", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        check("another folder behind the link");
        fs::write(at("new"), b"same").unwrap();
        fs::rename(at("new"), at("two/file")).unwrap();
        check("renamed into its place");
        fs::write(at("two/file"), b"other").unwrap();
        check("written in place");
        fs::remove_file(at("two/file")).unwrap();
        check("removed");
        fs::create_dir(at("two/file")).unwrap();
        check("a folder in its place");
    }

    #[test]
    fn an_entry_is_there_even_if_it_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("nowhere", at("link")).unwrap();
        fs::write(at("file"), b"").unwrap();
        assert!(has_entry(&at("link")).unwrap());
        assert!(has_entry(&at("file")).unwrap());
        assert!(!has_entry(&at("none")).unwrap());
        assert!(!has_entry(&at("none/none")).unwrap());
        assert!(has_entry(&at("link/file")).is_err(), "it cannot be told");
        assert!(has_entry(&at("file/file")).is_err());
    }

    #[test]
    fn the_obstacle_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("nowhere", at("link")).unwrap();
        symlink("/home/no-such-user/of/this/name", at("home")).unwrap();
        fs::write(at("file"), b"").unwrap();
        let words = format!("is a link to {}, which does not exist", at("nowhere").display());
        assert!(obstacle(&at("link")).unwrap().ends_with(&words));
        assert!(obstacle(&at("link/file")).unwrap().ends_with(&words));
        assert!(obstacle(&at("home")).unwrap().ends_with("ProtectHome= hides it"));
        assert_eq!(obstacle(&at("file")), None);
        assert_eq!(obstacle(&at("none")), None);
    }
}
