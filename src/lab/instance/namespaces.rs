//! Whether namespaces are to be had here; and if not, why, and what a user with the right can do.

use super::InstanceError;
use std::fs;
use std::io;
use std::process::Command;

/// A way to have namespaces, as arguments of `unshare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As root: no user namespace is needed, and the command stays the root that it was.
    Root,
    /// In a user namespace, as its root.
    UserNamespace,
}

impl Way {
    /// What `unshare` is told.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["--net", "--mount"],
            Self::UserNamespace => &["--user", "--map-root-user", "--net", "--mount"],
        }
    }
}

/// The way that works here: it is tried.
///
/// # Errors
/// None does.
pub(super) fn find(is_root: bool) -> Result<Way, InstanceError> {
    let ways: &[Way] = if is_root { &[Way::Root, Way::UserNamespace] } else { &[Way::UserNamespace] };
    let mut said = String::new();
    for way in ways {
        match Command::new("unshare").args(way.arguments()).arg("true").output() {
            Ok(output) if output.status.success() => return Ok(*way),
            Ok(output) => said = String::from_utf8_lossy(&output.stderr).trim().to_string(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InstanceError::Missing("unshare", "util-linux"));
            }
            Err(error) => return Err(InstanceError::Failed("unshare".into(), error.to_string())),
        }
    }
    Err(InstanceError::NotAllowed(advice(&said, &Kernel::look())))
}

/// What the kernel allows, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kernel {
    unprivileged: Option<u64>,
    apparmor: Option<u64>,
    most_users: Option<u64>,
    most_networks: Option<u64>,
    in_container: bool,
}

impl Kernel {
    fn look() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            unprivileged: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            most_users: number("/proc/sys/user/max_user_namespaces"),
            most_networks: number("/proc/sys/user/max_net_namespaces"),
            in_container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|path| fs::exists(path).unwrap_or(false))
                || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }
}

/// What to say, and what to do about it.
fn advice(said: &str, kernel: &Kernel) -> String {
    let hint = if kernel.most_users == Some(0) {
        "user namespaces are disabled: `sudo sysctl -w user.max_user_namespaces=15000` allows them, or run \
         this as root"
            .to_string()
    } else if kernel.most_networks == Some(0) {
        "network namespaces are disabled: `sudo sysctl -w user.max_net_namespaces=15000` allows them"
            .to_string()
    } else if kernel.unprivileged == Some(0) {
        "user namespaces are restricted to root: `sudo sysctl -w kernel.unprivileged_userns_clone=1` allows them to all, \
         or run this as root"
            .to_string()
    } else if kernel.in_container {
        "in a container this needs more rights: `docker run --cap-add SYS_ADMIN --security-opt \
         apparmor=unconfined` (and `--security-opt seccomp=unconfined` for a user who is not root), or \
         `privileged: true`; `pvtzd lab` itself needs none"
            .to_string()
    } else if kernel.apparmor == Some(1) {
        "AppArmor restricts user namespaces to programs with a profile: `sudo sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0` allows them to all, or run this as root"
            .to_string()
    } else {
        "run this as root, or ask the administrator to allow user, network and mount namespaces".to_string()
    };
    format!("this machine does not allow namespaces: {said}\nhint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_has_its_key_named() {
        let said = "unshare: unshare failed: Operation not permitted";
        let cases = [
            (Kernel { unprivileged: Some(0), ..Kernel::default() }, "kernel.unprivileged_userns_clone=1"),
            (Kernel { apparmor: Some(1), ..Kernel::default() }, "apparmor_restrict_unprivileged_userns=0"),
            (Kernel { most_users: Some(0), ..Kernel::default() }, "user.max_user_namespaces=15000"),
            (Kernel { most_networks: Some(0), ..Kernel::default() }, "user.max_net_namespaces=15000"),
            (Kernel { in_container: true, apparmor: Some(1), ..Kernel::default() }, "--cap-add SYS_ADMIN"),
            (
                Kernel { in_container: true, most_users: Some(0), ..Kernel::default() },
                "max_user_namespaces=15000",
            ),
            (Kernel::default(), "as root"),
        ];
        for (kernel, key) in cases {
            let advice = advice(said, &kernel);
            assert!(advice.contains(key) && advice.contains(said), "{advice}");
        }
    }
}
