//! The systemd unit of pvtzd as it is installed here, and what its restrictions mean for a configuration: whether the
//! service may read the files, and whether the cache fits into the memory that it may use.

use crate::base::file;
use crate::config::{Config, SecretSource};
use crate::engine::sort;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where units are, the one that counts first.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// The unit.
const NAME: &str = "pvtzd.service";

/// Octets of a unit file that are read at most.
const LARGEST: u64 = 1 << 20;

/// Memory beside the cache with the default settings: the process's own, and the kernel's buffers for its sockets.
const BESIDE_CACHE: u64 = 64 << 20;

/// Room between what is needed and the `MemoryHigh=` that is recommended.
const ROOM: u64 = 32 << 20;

/// Room between that and `MemoryMax=`.
const ROOM_BEYOND: u64 = 64 << 20;

/// `[Service]` of the unit with its drop-ins: for each key what was written last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    keys: HashMap<String, String>,
}

/// Whom the kernel takes the service for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnitIdentity {
    /// User and group; None for a dynamic user.
    user: Option<(u32, u32)>,
}

impl Unit {
    /// The unit installed below a folder, `/` except in tests; None if there is none.
    pub fn installed(root: &Path) -> Option<Self> {
        let folders = FOLDERS.map(|folder| root.join(folder.trim_start_matches('/')));
        let main = folders.iter().find_map(|folder| file::read_text(&folder.join(NAME), LARGEST).ok())?;
        let mut unit = Self::default();
        unit.read(&main);
        // Of two drop-ins with one name the first folder's is used; they are read in the order of their names.
        let mut drop_ins: Vec<PathBuf> = Vec::new();
        for folder in &folders {
            let entries = fs::read_dir(folder.join(format!("{NAME}.d"))).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let is_new = drop_ins.iter().all(|other| other.file_name() != path.file_name());
                if is_new && path.extension().is_some_and(|extension| extension == "conf") {
                    drop_ins.push(path);
                }
            }
        }
        sort::by(&mut drop_ins, |a, b| a.file_name().cmp(&b.file_name()));
        for text in drop_ins.iter().filter_map(|path| file::read_text(path, LARGEST).ok()) {
            unit.read(&text);
        }
        Some(unit)
    }

    /// Adds the settings of a file.
    fn read(&mut self, text: &str) {
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            } else if let (Some((key, value)), "[Service]", false) =
                (line.split_once('='), section, line.starts_with(['#', ';']))
            {
                self.keys.insert(key.trim().into(), value.trim().into());
            }
        }
    }

    fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }

    fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key).to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1")
    }

    /// The problems of the service with this configuration, as text; empty if there are none.
    pub fn doubts(&self, file: &Path, config: &Config) -> Vec<String> {
        let mut doubts = Vec::new();
        let identity = self.identity(Path::new("/etc/passwd"));
        let mut files = vec![(file, "")];
        files.extend(
            [&config.server.certificate, &config.server.key]
                .into_iter()
                .flatten()
                .map(|path| (path.as_path(), "")),
        );
        for key in config.control.iter().flat_map(|control| &control.keys) {
            if let SecretSource::File(path) = &key.secret {
                files.push((
                    path,
                    ", or keep it readable for root only and use `secret_credential` with \
                                   LoadCredential=",
                ));
            }
        }
        for (path, instead) in files {
            if let Some(doubt) = self.doubt_of(path, identity) {
                doubts.push(format!("{doubt}{instead}"));
            }
        }
        doubts.extend(self.doubt_of_memory(config));
        doubts
    }

    /// The user of the service.
    fn identity(&self, passwd: &Path) -> Option<UnitIdentity> {
        let name = match self.get("User") {
            "" if self.is_on("DynamicUser") => "pvtzd",
            "" | "root" | "0" => return None, // root reads everything
            name => name,
        };
        let passwd = file::read_text(passwd, LARGEST).unwrap_or_default();
        let user = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let &[user, _, uid, gid, ..] = fields.as_slice() else { return None };
            (user == name).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
        });
        Some(UnitIdentity { user })
    }

    /// The reason why the service cannot read a file that this process may read.
    fn doubt_of(&self, path: &Path, identity: Option<UnitIdentity>) -> Option<String> {
        let way = file::way_to(path).ok()?; // a missing file is reported elsewhere
        let is_home_hidden =
            !matches!(self.get("ProtectHome"), "" | "no" | "false" | "off" | "0" | "read-only");
        if let Some(target) = way.last().filter(|target| is_home_hidden && file::is_in_a_home(target)) {
            return Some(format!(
                "the service cannot read {}: its unit hides {} (ProtectHome=); move the file, such as to /etc/pvtzd",
                path.display(),
                target.display()
            ));
        }
        let identity = identity?;
        let last = way.len().saturating_sub(1);
        let barred = way.iter().enumerate().find_map(|(number, place)| {
            let found = fs::metadata(place).ok()?;
            (!identity.may(&found, if number == last { 4 } else { 1 })).then_some((
                place,
                found,
                number == last,
            ))
        });
        let (place, found, is_file) = barred?;
        let (deed, right) = if is_file { ("read", "o+r") } else { ("enter", "o+x") };
        let place = place.display();
        Some(format!(
            "the service cannot read {}: its user may not {deed} {place} (mode {:04o}); `chmod {right} {place}` lets it",
            path.display(),
            found.mode() & 0o7777,
        ))
    }

    /// Checks the size of the cache against the service's memory limit.
    fn doubt_of_memory(&self, config: &Config) -> Option<String> {
        let needs = config.cache.size.saturating_add(BESIDE_CACHE);
        let (key, limit) = ["MemoryHigh", "MemoryMax"]
            .into_iter()
            .filter_map(|key| Some((key, octets(self.get(key))?)))
            .min_by_key(|(_, limit)| *limit)?;
        let mib = |octets: u64| octets.div_ceil(1 << 20);
        (needs > limit).then(|| {
            format!(
                "the cache of {} MiB does not fit into {key}={} of the unit: with `systemctl edit pvtzd` set \
                 MemoryHigh={}M and MemoryMax={}M, or make [cache] size smaller",
                mib(config.cache.size),
                self.get(key),
                mib(needs.saturating_add(ROOM)),
                mib(needs.saturating_add(ROOM + ROOM_BEYOND)),
            )
        })
    }
}

impl UnitIdentity {
    /// True if the mode grants a permission: 4 to read, 1 to enter.
    fn may(self, found: &Metadata, right: u32) -> bool {
        let shift = match self.user {
            Some((uid, _)) if uid == found.uid() => 6,
            Some((_, gid)) if gid == found.gid() => 3,
            _ => 0,
        };
        found.mode() >> shift & right == right
    }
}

/// A size as systemd writes it; nothing for one without a limit, and for a share of the machine's memory.
fn octets(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn unit(text: &str) -> Unit {
        let mut unit = Unit::default();
        unit.read(&format!("[Unit]\nUser=no\n[Service]\n{text}"));
        unit
    }

    #[test]
    fn drop_ins_count_in_the_order_of_their_names_and_the_first_folder_hides_the_others() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Unit::installed(root.path()), None);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "lib/systemd/system/pvtzd.service",
            "[Service]\n# User=no\nMemoryMax=1M\nUser=one\n[Install]\nUser=x\n",
        );
        write("lib/systemd/system/pvtzd.service.d/20.conf", "[Service]\nMemoryMax=2M\n");
        write("etc/systemd/system/pvtzd.service.d/10.conf", "[Service]\nMemoryMax = 3M\nMemoryHigh=1M\n");
        write("run/systemd/system/pvtzd.service.d/10.conf", "[Service]\nMemoryHigh=9M\n");
        let unit = Unit::installed(root.path()).unwrap();
        let found = ["MemoryMax", "MemoryHigh", "User"].map(|key| unit.get(key));
        assert_eq!(found, ["2M", "1M", "one"]);
    }

    #[test]
    fn a_cache_that_does_not_fit_is_found() {
        let mut config = Config::default();
        let mut shipped = Unit::default();
        shipped.read(include_str!("../../systemd/pvtzd.service"));
        assert_eq!(shipped.doubt_of_memory(&config), None, "the defaults fit");
        config.cache.size = 1 << 30;
        assert!(shipped.doubt_of_memory(&config).unwrap().contains("1024 MiB does not fit into MemoryHigh="));
        config.cache.size = 32 << 20;
        let small = unit("MemoryMax=1M").doubt_of_memory(&config).unwrap();
        assert!(small.contains("MemoryHigh=128M and MemoryMax=192M"), "as shipped: {small}");
        for unlimited in ["", "MemoryMax=infinity", "MemoryMax=50%"] {
            assert_eq!(unit(unlimited).doubt_of_memory(&config), None, "{unlimited}");
        }
        let sizes = ["16777216", "16384K", "16M", "1G", "x", "M"].map(octets);
        assert_eq!(sizes, [Some(1 << 24), Some(1 << 24), Some(1 << 24), Some(1 << 30), None, None]);
    }

    #[test]
    fn what_the_services_user_may_not_read_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pvtzd.toml");
        fs::write(&file, "").unwrap();
        let set = |folder_mode, file_mode| {
            fs::set_permissions(&file, PermissionsExt::from_mode(file_mode)).unwrap();
            fs::set_permissions(folder.path(), PermissionsExt::from_mode(folder_mode)).unwrap();
        };
        let owner = fs::metadata(&file).unwrap();
        let dynamic = Some(UnitIdentity { user: None });
        let one = Some(UnitIdentity { user: Some((owner.uid(), owner.gid())) });
        let unit = unit("DynamicUser=yes\nProtectHome=yes");
        set(0o755, 0o644);
        assert_eq!(unit.doubt_of(&file, dynamic), None);
        set(0o755, 0o640);
        assert!(unit.doubt_of(&file, dynamic).unwrap().contains("may not read"));
        assert_eq!(unit.doubt_of(&file, one), None);
        assert_eq!(unit.doubt_of(&file, None), None, "root");
        set(0o700, 0o644);
        assert!(unit.doubt_of(&file, dynamic).unwrap().contains("may not enter"));
        assert_eq!(unit.doubt_of(&folder.path().join("missing"), dynamic), None, "it is reported elsewhere");
    }

    #[test]
    fn the_services_user_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let passwd = folder.path().join("passwd");
        fs::write(&passwd, "root:x:0:0:::\nodd\npvtzd:x:7:8:::\n").unwrap();
        let known = |text| unit(text).identity(&passwd);
        assert_eq!(known("DynamicUser=yes"), Some(UnitIdentity { user: Some((7, 8)) }));
        assert_eq!(known("User=none"), Some(UnitIdentity { user: None }));
        assert_eq!((known(""), known("User=root")), (None, None));
    }
}
