//! Take, status and give-back on a machine in a temporary folder: every manager, crashes at every step,
//! changes by others. Each time everything comes back to the octet.

use super::enable::{Enabled, PlaceState, enable, restore};
use super::machine::{Commands, Machine, Ran};
use super::store::RecordStore;
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Programs that only say what they are told to say, and keep what they were asked.
#[derive(Clone, Default)]
pub(super) struct Recorded {
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    /// What these say; a name that begins so succeeds.
    pub(super) says: Arc<Mutex<BTreeMap<&'static str, Result<&'static str, &'static str>>>>,
}

impl Commands for Recorded {
    fn run(&self, words: &[&str]) -> io::Result<Ran> {
        let line = words.join(" ");
        self.asked.lock().unwrap().push(line.clone());
        let says = self.says.lock().unwrap();
        let (success, text) = match says.iter().find(|(start, _)| line.starts_with(**start)) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some((_, Ok(stdout))) => (true, stdout.to_string()),
            Some((_, Err(stderr))) => (false, stderr.to_string()),
        };
        Ok(Ran { success, stdout: text.clone(), stderr: text })
    }
}

/// A child that another test has forked holds our lock until it has become its program.
pub(super) fn unless_forked<T>(attempt: impl Fn() -> Result<T, ResolverError>) -> Result<T, ResolverError> {
    let begun = std::time::Instant::now();
    loop {
        match attempt() {
            Err(ResolverError::Busy) if begun.elapsed().as_secs() < 5 => std::thread::yield_now(),
            came_of_it => return came_of_it,
        }
    }
}

/// A machine in a folder.
pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) commands: Recorded,
}

impl World {
    /// With these files (`-> x` is a link) and programs.
    pub(super) fn new(
        files: &[(&str, &str)],
        says: &[(&'static str, Result<&'static str, &'static str>)],
    ) -> Self {
        let commands = Recorded::default();
        commands.says.lock().unwrap().extend(says.iter().copied());
        let world = Self { folder: tempfile::tempdir().unwrap(), commands };
        fs::create_dir_all(world.at("/etc")).unwrap();
        for (path, text) in files {
            world.put(path, text);
        }
        world
    }

    pub(super) fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    pub(super) fn put(&self, path: &str, text: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&at);
        match text.strip_prefix("-> ") {
            Some(target) => symlink(target, at).unwrap(),
            None => fs::write(at, text).unwrap(),
        }
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    pub(super) fn machine(&self) -> Machine {
        Machine::new(self.folder.path(), self.commands.clone())
    }

    pub(super) fn store(&self) -> RecordStore {
        RecordStore::new(self.at("/var/lib/pvtzd-resolver"))
    }

    pub(super) fn enable(&self, wish: &ResolverTarget) -> Result<Enabled, ResolverError> {
        let attempt = || enable(&self.machine(), &self.store(), wish, 1, |_| Ok(()));
        unless_forked(attempt)
    }

    pub(super) fn restore(&self, force: bool) -> Option<super::enable::Restored> {
        unless_forked(|| restore(&self.machine(), &self.store(), force)).unwrap()
    }

    pub(super) fn status(&self) -> ResolverStatus {
        status(&self.machine(), &self.store(), "127.0.0.1".parse().unwrap(), &[]).unwrap()
    }

    /// Everything below the folder: links, octets and modes.
    pub(super) fn picture(&self) -> BTreeMap<String, String> {
        let (mut found, mut open) = (BTreeMap::new(), vec![self.folder.path().to_path_buf()]);
        while let Some(at) = open.pop() {
            let metadata = fs::symlink_metadata(&at).unwrap();
            let name = at.strip_prefix(self.folder.path()).unwrap().display().to_string();
            let shown = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&at).unwrap().display())
            } else if metadata.is_dir() {
                open.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
                "folder".into()
            } else {
                format!("{:o} {:?}", metadata.permissions().mode(), fs::read(&at).unwrap())
            };
            // the folders that hold the store stay, as they do on every machine
            if !["", "var", "var/lib"].contains(&name.as_str()) {
                found.insert(name, shown);
            }
        }
        found
    }
}

pub(super) fn wish() -> ResolverTarget {
    ResolverTarget { address: "127.0.0.1".parse().unwrap(), scope: Names::All, zones: Vec::new() }
}

pub(super) const PLAIN: &str =
    "# mine\nsearch a.example\nnameserver 100.100.2.136\nnameserver 100.100.2.138\noptions rotate\n";

/// A machine of each manager.
pub(super) fn worlds() -> Vec<(&'static str, World)> {
    let stub = "nameserver 127.0.0.53\noptions edns0\n";
    let behind = "nameserver 100.100.2.136\nnameserver 100.100.2.138\n";
    let resolved: &[(&str, Result<&str, &str>)] = &[
        ("systemctl is-active --quiet systemd-resolved", Ok("")),
        ("systemctl is-active --quiet systemd-networkd", Ok("")),
        ("systemctl reload-or-restart systemd-resolved", Ok("")),
        ("resolvectl flush-caches", Ok("")),
    ];
    let network_manager: &[(&str, Result<&str, &str>)] = &[
        ("systemctl is-active --quiet NetworkManager", Ok("")),
        ("systemctl reload NetworkManager", Ok("")),
    ];
    let generated = "# Generated by NetworkManager\nnameserver 100.100.2.136\n";
    vec![
        ("plain", World::new(&[("/etc/resolv.conf", PLAIN)], &[])),
        ("none", World::new(&[], &[])),
        ("link", World::new(&[("/etc/resolv.conf", "-> resolv.static"), ("/etc/resolv.static", PLAIN)], &[])),
        ("dangling", World::new(&[("/etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf")], &[])),
        (
            "resolved",
            World::new(
                &[
                    ("/run/systemd/resolve/stub-resolv.conf", stub),
                    ("/run/systemd/resolve/resolv.conf", behind),
                    ("/etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
                    ("/etc/systemd/resolved.conf", "[Resolve]\nDomains=corp.example\n"),
                ],
                resolved,
            ),
        ),
        (
            "resolved without its stub",
            World::new(
                &[
                    ("/run/systemd/resolve/stub-resolv.conf", stub),
                    ("/run/systemd/resolve/resolv.conf", behind),
                    ("/etc/resolv.conf", "-> /run/systemd/resolve/resolv.conf"),
                ],
                resolved,
            ),
        ),
        (
            "NetworkManager",
            World::new(
                &[("/etc/resolv.conf", generated), ("/etc/NetworkManager/NetworkManager.conf", "[main]\n")],
                network_manager,
            ),
        ),
        (
            "NetworkManager by a link",
            World::new(
                &[
                    ("/etc/resolv.conf", "-> /run/NetworkManager/resolv.conf"),
                    ("/run/NetworkManager/resolv.conf", generated),
                    ("/etc/NetworkManager/conf.d/x.conf", "[main]\n"),
                ],
                network_manager,
            ),
        ),
        (
            "dhclient",
            World::new(
                &[
                    ("/etc/resolv.conf", PLAIN),
                    ("/etc/dhcp/dhclient.conf", "timeout 300;"),
                    ("/etc/dhcp/dhclient-enter-hooks.d/README", "x"),
                    ("/proc/7/comm", "dhclient\n"),
                ],
                &[],
            ),
        ),
        (
            "dhclient without hooks",
            World::new(
                &[
                    ("/etc/resolv.conf", PLAIN),
                    ("/etc/dhcp/dhclient.conf", "timeout 300;"),
                    ("/proc/7/comm", "dhclient\n"),
                ],
                &[],
            ),
        ),
        (
            "cloud-init",
            World::new(
                &[("/etc/resolv.conf", PLAIN), ("/etc/cloud/cloud.cfg", "manage_resolv_conf: true\n")],
                &[],
            ),
        ),
    ]
}

#[test]
fn every_manager_is_taken_and_given_back_to_the_octet() {
    for (name, world) in worlds() {
        let before = world.picture();
        world.enable(&wish()).unwrap();
        let standing = world.status();
        assert_eq!(standing.leads, Routing::Us, "{name}");
        assert!(standing.taken.unwrap().in_force, "{name}: {:?}", standing.notes);
        assert_ne!(world.picture(), before, "{name}");
        assert!(matches!(world.enable(&wish()).unwrap(), Enabled::Already(_)), "{name}");
        let returned = world.restore(false).unwrap();
        assert!(returned.places.iter().all(|place| place.state == PlaceState::Ours), "{name}: {returned:?}");
        assert_eq!(world.picture(), before, "{name}");
        assert!(world.restore(false).is_none(), "{name}");
        assert_eq!(world.picture(), before, "{name}");
    }
}

#[test]
fn the_former_servers_are_remembered_for_the_daemon() {
    for (name, world) in worlds() {
        world.enable(&wish()).unwrap();
        let remembered = world.read("/var/lib/pvtzd-resolver/resolver-upstream.conf");
        let expected = !["none", "dangling"].contains(&name);
        assert_eq!(remembered.contains("nameserver 100.100.2.136\n"), expected, "{name}: {remembered}");
        assert!(!remembered.contains("127.0.0"), "{name}");
    }
}

#[test]
fn a_crash_after_any_step_is_undone_or_begun_again() {
    for again in [false, true] {
        let count = worlds().len();
        for index in 0..count {
            for done in 0.. {
                let (name, world) = worlds().swap_remove(index);
                let before = world.picture();
                world.enable(&wish()).unwrap();
                let (record, after) = (world.store().read().unwrap().unwrap(), world.picture());
                world.restore(false).unwrap();
                if done > record.steps.len() {
                    break;
                }
                // what the process had written when it was killed
                fs::create_dir_all(world.at("/var/lib/pvtzd-resolver")).unwrap();
                world.store().write(&record).unwrap();
                for step in &record.steps[..done] {
                    match step {
                        HostStep::MakeDirectory { path } => world.machine().make_directory(path).unwrap(),
                        HostStep::Edit(edit) => world.machine().put(&edit.path, &edit.after).unwrap(),
                        HostStep::Command { .. } => {}
                    }
                }
                world.put("/etc/.pvtzd-resolv.conf", "half of a temporary file");
                if again {
                    world.enable(&wish()).unwrap();
                    let mut now = world.picture();
                    now.retain(|path, _| path != "etc/.pvtzd-resolv.conf");
                    let without_lock = |mut picture: BTreeMap<String, String>| {
                        picture.retain(|path, _| !path.starts_with("var/"));
                        picture
                    };
                    assert_eq!(without_lock(now), without_lock(after), "{name} after {done} steps");
                }
                world.restore(false).unwrap();
                let _ = fs::remove_file(world.at("/etc/.pvtzd-resolv.conf")); // where resolv.conf is not replaced
                assert_eq!(world.picture(), before, "{name} after {done} steps, again: {again}");
            }
        }
    }
}

#[test]
fn a_later_change_is_left_alone_and_reported_unless_forced() {
    for forced in [false, true] {
        let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
        world.enable(&wish()).unwrap();
        world.put("/etc/resolv.conf", "nameserver 192.0.2.77\n");
        let standing = world.status();
        assert_eq!(standing.leads, Routing::Elsewhere);
        assert!(standing.notes.iter().any(|note| note.contains("changed /etc/resolv.conf since")));
        assert!(!standing.taken.unwrap().in_force);
        let returned = world.restore(forced).unwrap();
        assert_eq!(returned.places[0].state, PlaceState::Modified);
        if forced {
            assert_eq!(world.read("/etc/resolv.conf"), PLAIN);
            assert!(world.store().read().unwrap().is_none());
        } else {
            assert_eq!(world.read("/etc/resolv.conf"), "nameserver 192.0.2.77\n");
            world.restore(true).unwrap();
            assert_eq!(world.read("/etc/resolv.conf"), PLAIN, "it was still remembered");
        }
    }
}

#[test]
fn a_take_after_a_later_change_remembers_that_change() {
    let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
    world.enable(&wish()).unwrap();
    world.put("/etc/resolv.conf", "nameserver 192.0.2.77\n");
    world.enable(&wish()).unwrap();
    assert_eq!(world.status().leads, Routing::Us);
    world.restore(false).unwrap();
    assert_eq!(world.read("/etc/resolv.conf"), "nameserver 192.0.2.77\n");
}

#[test]
fn our_lines_are_taken_out_of_a_dhclient_conf_that_was_changed() {
    let (_, world) = worlds().into_iter().find(|(name, _)| *name == "dhclient without hooks").unwrap();
    world.enable(&wish()).unwrap();
    let with_ours = world.read("/etc/dhcp/dhclient.conf");
    world.put("/etc/dhcp/dhclient.conf", &format!("# by an admin\n{with_ours}retry 5;\n"));
    assert!(world.status().taken.unwrap().in_force, "it does its work still");
    let returned = world.restore(false).unwrap();
    assert!(returned.places.iter().any(|place| place.state == PlaceState::Embedded));
    assert_eq!(world.read("/etc/dhcp/dhclient.conf"), "# by an admin\ntimeout 300;retry 5;\n");
    assert!(world.store().read().unwrap().is_none());
}

#[test]
fn a_failed_check_and_a_failed_reload_undo_everything() {
    let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
    let before = world.picture();
    let failed =
        enable(&world.machine(), &world.store(), &wish(), 1, |_| Err("no answer".into())).unwrap_err();
    assert!(failed.to_string().contains("all changes were reverted: no answer"), "{failed}");
    assert_eq!(world.picture(), before);
    let (_, world) = worlds().into_iter().find(|(name, _)| *name == "resolved").unwrap();
    let before = world.picture();
    world.commands.says.lock().unwrap().insert("systemctl reload-or-restart", Err("Unit is masked.\n"));
    let failed = world.enable(&wish()).unwrap_err();
    assert!(failed.to_string().contains("Unit is masked."), "{failed}");
    assert_eq!(world.picture(), before);
    let reloads = world.commands.asked.lock().unwrap().iter().filter(|line| line.contains("reload")).count();
    assert_eq!(reloads, 2, "and it is told again, of what it had before");
}

#[test]
fn what_is_immutable_is_refused_before_anything_is_written() {
    let world = World::new(
        &[("/etc/resolv.conf", PLAIN)],
        &[("lsattr -d", Ok("----i---------e------- /etc/resolv.conf\n"))],
    );
    let before = world.picture();
    let refused = world.enable(&wish()).unwrap_err();
    assert!(refused.to_string().contains("immutable") && refused.hint().contains("chattr -i"), "{refused}");
    assert_eq!(world.picture(), before);
}

#[test]
fn a_damaged_record_changes_nothing() {
    let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
    world.enable(&wish()).unwrap();
    for damage in ["{", "{\"version\": 9}", ""] {
        fs::write(world.store().path(), damage).unwrap();
        let before = world.picture();
        let trouble = restore(&world.machine(), &world.store(), true).unwrap_err();
        assert!(trouble.to_string().contains("resolver.json is not what pvtzd wrote"), "{trouble}");
        assert!(world.enable(&wish()).is_err());
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn two_at_once_are_one_too_many() {
    let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
    let _lock = world.store().lock().unwrap();
    let taken = enable(&world.machine(), &world.store(), &wish(), 1, |_| Ok(()));
    assert!(matches!(taken, Err(ResolverError::Busy)));
    assert_eq!(world.read("/etc/resolv.conf"), PLAIN);
}

#[test]
fn another_wish_takes_the_place_of_the_first() {
    let (_, world) = worlds().into_iter().find(|(name, _)| *name == "resolved").unwrap();
    let before = world.picture();
    world.enable(&wish()).unwrap();
    let only = ResolverTarget { scope: Names::Only(vec!["a.example".into()]), ..wish() };
    world.enable(&only).unwrap();
    assert_eq!(world.status().leads, Routing::Mapped);
    world.restore(false).unwrap();
    assert_eq!(world.picture(), before);
}

#[test]
fn mode_and_owner_stay() {
    let world = World::new(&[("/etc/resolv.conf", PLAIN)], &[]);
    fs::set_permissions(world.at("/etc/resolv.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    world.enable(&wish()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.at("/etc/resolv.conf")), 0o640);
    world.restore(false).unwrap();
    assert_eq!(mode(&world.at("/etc/resolv.conf")), 0o640);
}
