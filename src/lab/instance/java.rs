//! Where the JDKs of this machine have their trusted CAs.
//!
//! The store replaces the JDK's file without messages, while `JAVA_TOOL_OPTIONS` and `JDK_JAVA_OPTIONS` make each JVM
//! write a line to standard error. JDKs since 8 tell by the content whether a file is JKS or PKCS #12.

use crate::engine::sort;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Variables that name a JDK.
const VARIABLES: [&str; 3] = ["JAVA_HOME", "JDK_HOME", "GRAALVM_HOME"];

/// Folders with JDKs in them, by packages and installers.
const FOLDERS: [&str; 5] = ["/usr/lib/jvm", "/usr/lib64/jvm", "/usr/java", "/opt/java", "/opt"];

/// The same below a home.
const FOLDERS_AT_HOME: [&str; 4] =
    [".sdkman/candidates/java", ".jdks", ".gradle/jdks", ".local/share/mise/installs/java"];

/// Where a JDK looks for its CAs; the first that is there counts. JDK 8 has them below `jre`.
const STORES: [&str; 4] = [
    "lib/security/jssecacerts",
    "lib/security/cacerts",
    "jre/lib/security/jssecacerts",
    "jre/lib/security/cacerts",
];

/// Stores at most.
const MAX_STORES: usize = 64;

/// The files with the CAs of all JDKs that are found, links followed.
pub(super) fn stores() -> BTreeSet<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = VARIABLES.iter().filter_map(|name| variable(name)).map(PathBuf::from);
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|folder| {
        let program = fs::canonicalize(folder.join("java")).ok()?;
        Some(program.parent()?.parent()?.to_path_buf())
    });
    let home = variable("HOME").map(PathBuf::from);
    let at_home = home.iter().flat_map(|home| FOLDERS_AT_HOME.map(|folder| home.join(folder)));
    let folders = FOLDERS.map(PathBuf::from).into_iter().chain(at_home);
    let homes = named.chain(on_path).chain(folders.flat_map(|folder| entries(&folder)));
    below(homes)
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).take(1000).collect()
}

/// The stores below the homes of JDKs.
fn below(homes: impl Iterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    // where `java` is that of a JRE inside a JDK 8
    let homes = homes.flat_map(|home| {
        let jdk = home.ends_with("jre").then(|| home.parent().map(Path::to_path_buf)).flatten();
        jdk.into_iter().chain([home])
    });
    let stores = homes.flat_map(|home| STORES.map(|store| home.join(store)));
    let files = stores.filter_map(|store| fs::canonicalize(store).ok()).filter(|path| path.is_file());
    sort::set(files.take(MAX_STORES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_stores_of_each_kind_of_jdk_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().canonicalize().unwrap().join(path);
        for path in ["etc", "17/lib/security", "8/jre/lib/security", "21/lib/security", "none/lib"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for file in ["etc/cacerts", "8/jre/lib/security/cacerts", "21/lib/security/jssecacerts"] {
            fs::write(at(file), "").unwrap();
        }
        symlink(at("etc/cacerts"), at("17/lib/security/cacerts")).unwrap();
        symlink(at("nowhere"), at("21/lib/security/cacerts")).unwrap();
        let homes = ["17", "8/jre", "8", "21", "none", "missing"].map(at);
        let found: Vec<PathBuf> = below(homes.into_iter()).into_iter().collect();
        assert_eq!(
            found,
            ["21/lib/security/jssecacerts", "8/jre/lib/security/cacerts", "etc/cacerts"].map(at)
        );
    }
}
