//! The files of the system that say where names are resolved and who is trusted: ours lie over them, in here only.

use super::{InstanceError, run};
use crate::lab::ca::Authority;
use crate::lab::state::StateDir;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The system's resolver configuration. Timeout and attempts are what instances have.
const RESOLV_CONF: (&str, &str) =
    ("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:3\n");

/// Where the C library is told whom to ask.
const NSSWITCH: &str = "/etc/nsswitch.conf";

/// Services of the host that would resolve names by its own network: they are reached by sockets in here.
const RESOLVING_SERVICES: [&str; 3] = ["/run/nscd", "/var/run/nscd", "/run/systemd/resolve"];

/// The bundles of trusted CAs, by distribution; the first that is there is the system's.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Lays the files. Returns the bundle of trusted CAs: the system's with the lab's.
pub(super) fn lay(state: &StateDir, authority: &Authority) -> Result<PathBuf, InstanceError> {
    // A file system of our own: nobody outside sees it, and it goes with us.
    let folder = state.path().join("run");
    fs::create_dir_all(&folder).map_err(|error| InstanceError::System("the state directory", error))?;
    own_file_system(&folder)?;
    let services: BTreeSet<PathBuf> =
        RESOLVING_SERVICES.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for service in services.iter().filter(|path| path.is_dir()) {
        own_file_system(service)?;
    }

    let resolv_conf = write(&folder, "resolv.conf", RESOLV_CONF.1)?;
    if !lay_over(&resolv_conf, Path::new(RESOLV_CONF.0))?
        && let Ok(target) = fs::read_link(RESOLV_CONF.0)
    {
        // A link that leads nowhere, maybe since its folder is empty now. If it stays so, that is well too: a
        // system without the file asks 127.0.0.1.
        let _ = fs::write(Path::new("/etc").join(target), RESOLV_CONF.1);
    }
    if let Some(text) = fs::read_to_string(NSSWITCH).ok().and_then(|text| nsswitch(&text)) {
        lay_over(&write(&folder, "nsswitch.conf", &text)?, Path::new(NSSWITCH))?;
    }

    let system = BUNDLES.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let bundle = write(&folder, "ca-bundle.pem", &format!("{system}\n{}", authority.pem))?;
    let bundles: BTreeSet<PathBuf> = BUNDLES.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for path in bundles {
        lay_over(&bundle, &path)?;
    }
    Ok(bundle)
}

/// An empty file system over a folder.
fn own_file_system(folder: &Path) -> Result<(), InstanceError> {
    let folder = folder.display().to_string();
    run("mount", "mount", &["-t", "tmpfs", "-o", "mode=0755,size=16m", "tmpfs", &folder], "")
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, InstanceError> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| InstanceError::System("the files of the instance", error))?;
    Ok(path)
}

/// Lays a file over another; false when the other is not there.
fn lay_over(file: &Path, other: &Path) -> Result<bool, InstanceError> {
    match fs::metadata(other) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        _ => {
            let (file, other) = (file.display().to_string(), other.display().to_string());
            run("mount", "mount", &["--bind", &file, &other], "").map(|()| true)
        }
    }
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
}
