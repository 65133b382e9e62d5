//! Files that name the servers of the present network once resolv.conf names pvtzd alone: what a DHCP client or a
//! network manager wrote last. `pvtzd resolver take` lists these files in the file of the former servers.

use super::resolv_conf;
use crate::base::file;
use crate::engine::sort;
use crate::upstream::ServerAddress;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Octets of the largest file of leases that is read. dhclient rewrites its file after some twenty leases.
const LARGEST_LEASES: u64 = 1 << 20;

/// How many files of a folder are read.
const MAX_FILES: usize = 64;

/// How many entries of a folder are looked at.
const MAX_ENTRIES: usize = 1024;

/// The beginning of a line that names a source.
const MARK: &str = "# follow ";

/// A place where servers are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", content = "path", rename_all = "kebab-case")]
pub enum FollowedSource {
    /// A file in the form of resolv.conf, or a folder of such files.
    ResolvConf(PathBuf),
    /// A file of leases in dhclient's form, or a folder of such files, of which the newest is used.
    Leases(PathBuf),
}

impl fmt::Display for FollowedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResolvConf(path) => write!(f, "{MARK}resolv.conf {}", path.display()),
            Self::Leases(path) => write!(f, "{MARK}leases {}", path.display()),
        }
    }
}

impl FollowedSource {
    /// The sources that a file names, in order.
    pub fn named_in(text: &str) -> Vec<Self> {
        let source = |line: &str| {
            let (form, path) = line.strip_prefix(MARK)?.split_once(' ')?;
            let path = PathBuf::from(path.trim());
            match form {
                _ if !path.is_absolute() => None,
                "resolv.conf" => Some(Self::ResolvConf(path)),
                "leases" => Some(Self::Leases(path)),
                _ => None,
            }
        };
        text.lines().filter_map(source).collect()
    }

    /// The same source on a machine whose files are below this folder.
    pub fn below(&self, root: &Path) -> Self {
        let at = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        match self {
            Self::ResolvConf(path) => Self::ResolvConf(at(path)),
            Self::Leases(path) => Self::Leases(at(path)),
        }
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        let (Self::ResolvConf(path) | Self::Leases(path)) = self;
        path
    }

    /// The files: the path itself, or for a folder the files in it, sorted by name.
    pub fn files(&self) -> Vec<PathBuf> {
        let path = self.path();
        let Ok(entries) = fs::read_dir(path) else { return vec![path.to_path_buf()] };
        let counts = |path: &PathBuf| match self {
            Self::ResolvConf(_) => !is_hidden(path),
            Self::Leases(_) => is_of_leases(path),
        };
        let found = entries.flatten().take(MAX_ENTRIES).map(|entry| entry.path());
        let mut files: Vec<PathBuf> = found.filter(counts).collect();
        sort::ascending(&mut files);
        files.truncate(MAX_FILES);
        files
    }

    /// The servers that the files name.
    pub fn servers(&self) -> Vec<ServerAddress> {
        match self {
            Self::ResolvConf(_) => {
                let read = |path: PathBuf| file::read(&path, resolv_conf::MAX_BYTES).ok();
                let texts = self.files().into_iter().filter_map(read);
                texts.flat_map(|text| resolv_conf::parse(&String::from_utf8_lossy(&text)).servers).collect()
            }
            Self::Leases(_) => {
                let written = |path: &PathBuf| fs::metadata(path).and_then(|found| found.modified());
                let mut files: Vec<(SystemTime, PathBuf)> =
                    self.files().into_iter().filter_map(|path| Some((written(&path).ok()?, path))).collect();
                sort::ascending(&mut files);
                let read = |(_, path): (SystemTime, PathBuf)| file::read(&path, LARGEST_LEASES).ok();
                let texts = files.into_iter().rev().filter_map(read);
                let mut servers = texts.map(|text| leased(&String::from_utf8_lossy(&text)));
                servers.find(|servers| !servers.is_empty()).unwrap_or_default()
            }
        }
    }
}

/// True for a file that is still being written under a name of its own.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// True for the name of a file of leases.
fn is_of_leases(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains("dhclient") && [".lease", ".leases"].iter().any(|ending| name.ends_with(ending))
}

/// The servers of the last lease in dhclient's file (dhclient.leases(5)).
fn leased(text: &str) -> Vec<ServerAddress> {
    let (mut depth, mut interface) = (0usize, None);
    let (mut now, mut last): (Vec<ServerAddress>, Vec<ServerAddress>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line = line.trim();
        let value = |name: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix(char::is_whitespace)?;
            Some(rest.trim().trim_end_matches(';').trim())
        };
        if line.ends_with('{') {
            if depth == 0 {
                (now, interface) = (Vec::new(), None);
            }
            depth += 1;
        } else if line.starts_with('}') {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                last = std::mem::take(&mut now);
            }
        } else if let Some(name) = value("interface") {
            interface = Some(name.trim_matches('"').to_string());
        } else if let Some(list) =
            value("option domain-name-servers").or_else(|| value("option dhcp6.name-servers"))
        {
            now.extend(list.split(',').filter_map(|word| server(word.trim(), interface.as_deref())));
        }
    }
    last
}

/// A server of a lease; a link-local one is reached by the interface of the lease.
fn server(word: &str, interface: Option<&str>) -> Option<ServerAddress> {
    let text = match (interface, word.to_ascii_lowercase().starts_with("fe80:")) {
        (Some(interface), true) if !word.contains('%') => format!("{word}%{interface}"),
        _ => word.to_string(),
    };
    resolv_conf::parse(&format!("nameserver {text}")).servers.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASES: &str = r#"default-duid "\000\001";
lease {
  interface "eth0";
  fixed-address 10.9.9.7;
  option domain-name-servers 192.0.2.1,192.0.2.2;
  expire 6 2026/11/28 12:00:00;
}
lease {
  interface "eth0";
  option domain-name-servers 198.51.100.1;
}
"#;

    fn shown(servers: &[ServerAddress]) -> Vec<String> {
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_lease_counts() {
        assert_eq!(shown(&leased(LEASES)), ["198.51.100.1"]);
        assert_eq!(
            shown(&leased(&LEASES.replace("198.51.100.1;", "x, 198.51.100.1 , 198.51.100.2;"))).len(),
            2
        );
        let without = format!("{LEASES}lease {{\n  interface \"eth0\";\n}}\n");
        assert!(leased(&without).is_empty(), "the last one names none");
        let six = "lease6 {\n interface \"eth0\";\n ia-na 00:01 {\n  starts 1;\n iaaddr ::1 {\n }\n }\n \
                   option dhcp6.name-servers fe80::53,2001:db8::53;\n}\n";
        assert_eq!(shown(&leased(six)), ["[fe80::53%eth0]:53", "[2001:db8::53]:53"]);
        for odd in [
            "",
            "}",
            "lease {",
            "option domain-name-servers 192.0.2.1;",
            "lease {\n option domain-name-servers\n}",
        ] {
            assert!(leased(odd).is_empty(), "{odd}");
        }
    }

    #[test]
    fn sources_are_named_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (conf, leases) =
            (FollowedSource::ResolvConf(at("no-stub")), FollowedSource::Leases(folder.path().into()));
        let text = format!(
            "# x\n{conf}\n{leases}\n# follow leases relative\n# follow x /y\n# follow\nnameserver 192.0.2.9\n"
        );
        assert_eq!(FollowedSource::named_in(&text), [conf.clone(), leases.clone()]);
        assert!(conf.servers().is_empty() && leases.servers().is_empty());
        fs::write(at("no-stub"), "search a\nnameserver 192.0.2.7\n").unwrap();
        assert_eq!(shown(&conf.servers()), ["192.0.2.7"]);
        fs::write(at("dhclient.eth0.leases"), LEASES).unwrap();
        fs::write(at("other.leases"), LEASES.replace("198.51.100.1", "203.0.113.1")).unwrap();
        assert_eq!(shown(&leases.servers()), ["198.51.100.1"]);
        fs::write(at("dhclient--uuid-eth1.lease"), LEASES.replace("198.51.100.1", "203.0.113.9")).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(at("dhclient--uuid-eth1.lease"))
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(shown(&leases.servers()), ["203.0.113.9"], "it was written last");
        fs::create_dir(at("interface")).unwrap();
        fs::write(at("interface/eth0.dhclient"), "nameserver 192.0.2.1\n").unwrap();
        fs::write(at("interface/lo.pvtzd"), "nameserver 127.0.0.1\n").unwrap();
        fs::write(at("interface/.eth0.dhclient"), "nameserver 192.0.2.99\n").unwrap();
        assert_eq!(shown(&FollowedSource::ResolvConf(at("interface")).servers()), ["192.0.2.1", "127.0.0.1"]);
    }
}
