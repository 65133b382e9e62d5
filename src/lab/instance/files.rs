//! The files of the system that say where names are resolved and who is trusted. The command has an /etc of its own:
//! the host's entries bound into a file system of ours, and our files among them. A file laid over one of the host's
//! would be gone as soon as the host renames another to its name.

use super::{InstanceError, java, run};
use crate::base::file;
use crate::lab::ca::LabCa;
use crate::lab::state::StateDir;
use crate::lab::trust;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The folder that becomes our own.
const ETC: &str = "/etc";

/// The system's resolver configuration. Timeout and attempts are what instances have.
const RESOLV_CONF: (&str, &str) = ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:3\n");

/// Where the C library is told whom to ask.
const NSSWITCH: &str = "nsswitch.conf";

/// Services of the host that would resolve names by its own network: they are reached by sockets in here.
const RESOLVING_SERVICES: [&str; 3] = ["/run/nscd", "/var/run/nscd", "/run/systemd/resolve"];

/// Octets of the largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Files of ours, by their paths below the folder that they are in.
type InstanceFiles = BTreeMap<PathBuf, Vec<u8>>;

/// Lays the files. Returns the bundle of trusted CAs: the system's with the lab's.
pub(super) fn lay(state: &StateDir, authority: &LabCa) -> Result<PathBuf, InstanceError> {
    // A file system of this process: it is not visible outside and ends with the process.
    let folder = state.path().join("run");
    fs::create_dir_all(&folder).map_err(|error| InstanceError::System("the state directory", error))?;
    own_file_system(&folder)?;
    let services: BTreeSet<PathBuf> =
        RESOLVING_SERVICES.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for service in services.iter().filter(|path| path.is_dir()) {
        own_file_system(service)?;
    }

    let mut files = InstanceFiles::from([(RESOLV_CONF.0.into(), RESOLV_CONF.1.into())]);
    let nsswitch_conf = Path::new(ETC).join(NSSWITCH);
    if let Ok(text) = file::read_text(&nsswitch_conf, LARGEST) {
        files.insert(NSSWITCH.into(), nsswitch(&text).unwrap_or(text).into_bytes());
    }
    let text = trust::bundle(&authority.pem);
    let (bundle, java_store) = (folder.join("ca-bundle.pem"), folder.join("truststore.p12"));
    let octets = file::read(&authority.java_store, LARGEST).map_err(failed)?;
    fs::write(&bundle, &text).and_then(|()| fs::write(&java_store, &octets)).map_err(failed)?;
    let bundles = trust::BUNDLES.iter().flat_map(|path| places(Path::new(path)));
    let bundles = bundles.map(|place| (place, (&bundle, text.as_bytes())));
    let java_stores = java::stores().into_iter().map(|place| (place, (&java_store, octets.as_slice())));
    let mut elsewhere = BTreeMap::new();
    for (place, (source, content)) in bundles.chain(java_stores) {
        match place.strip_prefix(ETC) {
            Ok(below) => drop(files.insert(below.into(), content.to_vec())),
            Err(_) => drop(elsewhere.insert(place, source)),
        }
    }
    own_etc(&folder, &files)?;
    for (place, source) in elsewhere {
        let bound = mount(&["--bind".as_ref(), source, &place]);
        match bound {
            // one of many JDKs, which may not be the command's
            Err(error) if source == &java_store => eprintln!("note: {}: {error}", place.display()),
            bound => bound?,
        }
    }
    Ok(bundle)
}

/// Where a file is, if it is there: its name in its folder, and where a link of that name leads.
fn places(path: &Path) -> Vec<PathBuf> {
    let Ok(target) = fs::canonicalize(path) else { return Vec::new() };
    let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let named = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    named.into_iter().chain([target]).collect()
}

/// Creates a separate directory and mounts it over /etc.
fn own_etc(folder: &Path, files: &InstanceFiles) -> Result<(), InstanceError> {
    let (theirs, ours) = (folder.join("etc-of-the-host"), folder.join("etc"));
    for made in [&theirs, &ours] {
        fs::create_dir(made).map_err(failed)?;
    }
    mount(&["--rbind".as_ref(), Path::new(ETC), &theirs])?;
    own_file_system(&ours)?;
    let mut table = String::new();
    fill(&theirs, &ours, Path::new(""), files, &mut table).map_err(failed)?;
    for (below, text) in files {
        let file = ours.join(below);
        let parent = file.parent().unwrap_or(&ours);
        fs::create_dir_all(parent).and_then(|()| fs::write(&file, text)).map_err(failed)?;
    }
    let list = folder.join("fstab");
    fs::write(&list, table).map_err(failed)?;
    mount(&["--all".as_ref(), "--fstab".as_ref(), &list])?;
    mount(&["--move".as_ref(), &ours, Path::new(ETC)])
}

/// Makes for each of their entries one of ours: a link as it is, all others to be bound, as told to `table`. A folder
/// that has one of our files in it is made and filled in turn.
fn fill(
    theirs: &Path,
    ours: &Path,
    below: &Path,
    files: &InstanceFiles,
    table: &mut String,
) -> io::Result<()> {
    for entry in fs::read_dir(theirs.join(below))? {
        let entry = entry?;
        let below = below.join(entry.file_name());
        let (source, target) = (entry.path(), ours.join(&below));
        if files.contains_key(&below) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
            let is_ours = files.keys().any(|file| file.starts_with(&below));
            if is_ours && fs::read_dir(&source).is_ok() {
                fill(theirs, ours, &below, files, table)?;
                continue;
            }
        } else {
            File::create(&target)?;
        }
        // writing to a string does not fail
        let _ = writeln!(table, "{} {} none rbind 0 0", escaped(&source), escaped(&target));
    }
    Ok(())
}

/// A path as fstab(5) has it.
fn escaped(path: &Path) -> String {
    let mut text = Vec::new();
    for &octet in path.as_os_str().as_bytes() {
        match octet {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' | b'"' => text.extend(format!("\\{octet:03o}").bytes()),
            _ => text.push(octet),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// An empty file system over a folder.
fn own_file_system(folder: &Path) -> Result<(), InstanceError> {
    let words = ["-t", "tmpfs", "-o", "mode=0755,size=16m", "tmpfs"].map(Path::new);
    mount(&[&words[..], &[folder]].concat())
}

/// Mounts, and leaves no note of it in /run of the host.
fn mount(words: &[&Path]) -> Result<(), InstanceError> {
    let words: Vec<String> =
        [&[Path::new("--no-mtab")], words].concat().iter().map(|word| word.display().to_string()).collect();
    run("mount", "mount", &words.iter().map(String::as_str).collect::<Vec<_>>(), "")
}

fn failed(error: io::Error) -> InstanceError {
    InstanceError::System("the files of the instance", error)
}

/// The file with `hosts: files dns`; nothing where it asks no more than these.
fn nsswitch(text: &str) -> Option<String> {
    let is_hosts = |line: &str| line.trim_start().starts_with("hosts:");
    let asks_others = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace().skip(1);
        is_hosts(line)
            && !(words.next() == Some("files") && words.next() == Some("dns") && words.next().is_none())
    };
    text.lines().any(asks_others).then(|| {
        let lines = text.lines().map(|line| if is_hosts(line) { "hosts: files dns" } else { line });
        lines.map(|line| format!("{line}\n")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_resolves_by_the_hosts_network_is_left_out() {
        let text = "passwd: files\nhosts:  files mymachines resolve [!UNAVAIL=return] dns\nnetworks: files\n";
        assert_eq!(nsswitch(text).unwrap(), "passwd: files\nhosts: files dns\nnetworks: files\n");
        assert_eq!(nsswitch("hosts: files\n").unwrap(), "hosts: files dns\n");
        assert_eq!(nsswitch("hosts:   files dns # as it was\n"), None);
        assert_eq!(nsswitch("passwd: files\n"), None, "the default is good");
    }

    #[test]
    fn the_hosts_entries_are_bound_but_for_links_and_our_files() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("our s"));
        fs::create_dir_all(theirs.join("ssl/certs/deep")).unwrap();
        fs::create_dir_all(theirs.join("other/folder")).unwrap();
        fs::create_dir(&ours).unwrap();
        for name in ["hosts", "ssl/openssl.cnf", "ssl/certs/bundle", "ssl/certs/one.pem"] {
            fs::write(theirs.join(name), "theirs").unwrap();
        }
        symlink("nowhere", theirs.join("resolv.conf")).unwrap();
        symlink("../usr/lib/os-release", theirs.join("os-release")).unwrap();
        let files = InstanceFiles::from(
            ["resolv.conf", "ssl/certs/bundle"].map(|path| (path.into(), b"ours".to_vec())),
        );
        let mut table = String::new();
        fill(&theirs, &ours, Path::new(""), &files, &mut table).unwrap();
        let mut lines: Vec<&str> = table.lines().collect();
        lines.sort_unstable();
        let bound = |name: &str| {
            format!("{0}/theirs/{name} {0}/our\\040s/{name} none rbind 0 0", folder.path().display())
        };
        assert_eq!(
            lines,
            ["hosts", "other", "ssl/certs/deep", "ssl/certs/one.pem", "ssl/openssl.cnf"].map(bound)
        );
        assert_eq!(fs::read_link(ours.join("os-release")).unwrap(), Path::new("../usr/lib/os-release"));
        assert!(
            fs::symlink_metadata(ours.join("resolv.conf")).is_err(),
            "written later, and by nothing of theirs"
        );
        assert!(fs::symlink_metadata(ours.join("ssl/certs/bundle")).is_err());
    }
}
