//! The servers that files of the system name, in a temporary folder.

use super::*;
use std::fs;

/// A folder with an /etc/resolv.conf and, if not empty, one behind the stub.
fn folder(resolv_conf: &str, behind_stub: &str) -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths {
        resolv_conf: dir.path().join("resolv.conf"),
        behind_stub: dir.path().join("resolved.conf"),
        remembered: vec![dir.path().join(REMEMBERED)],
    };
    fs::write(&paths.resolv_conf, resolv_conf).unwrap();
    if !behind_stub.is_empty() {
        fs::write(&paths.behind_stub, behind_stub).unwrap();
    }
    (dir, paths)
}

/// The servers found, as text.
fn found(resolv_conf: &str, behind_stub: &str, own: &[&str]) -> (Vec<String>, String) {
    let (_dir, paths) = folder(resolv_conf, behind_stub);
    let own: Vec<SocketAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
    let found = discover(&paths, &own);
    (found.servers.iter().map(ToString::to_string).collect(), found.notes.join("\n"))
}

#[test]
fn the_servers_behind_the_stub_are_used() {
    let (servers, notes) = found("nameserver 127.0.0.53", "nameserver 192.0.2.1", &[]);
    assert_eq!(servers, ["192.0.2.1"]);
    assert!(notes.contains("127.0.0.53 is ignored: it is the stub"), "{notes}");
    let (servers, _) = found("nameserver 127.0.0.54\nnameserver 192.0.2.7", "nameserver 192.0.2.1", &[]);
    assert_eq!(servers, ["192.0.2.7"]);
}

#[test]
fn our_own_addresses_and_repetitions_are_left_out() {
    let conf = "nameserver 127.0.0.1\nnameserver 192.0.2.1\nnameserver 192.0.2.1";
    let (servers, notes) = found(conf, "", &["127.0.0.1:53"]);
    assert_eq!(servers, ["192.0.2.1"]);
    assert!(notes.contains("itself listens") && notes.contains("listed twice"), "{notes}");
    for wildcard in ["0.0.0.0:53", "[::]:53"] {
        assert_eq!(found(conf, "", &[wildcard]).0, ["192.0.2.1"], "{wildcard}");
    }
    assert_eq!(found(conf, "", &["127.0.0.1:5335"]).0, ["127.0.0.1", "192.0.2.1"]);
}

#[test]
fn nothing_usable_is_said_and_no_error() {
    let (servers, notes) = found("", "", &[]);
    assert!(servers.is_empty() && notes.contains("has no usable upstream server"), "{notes}");
    let missing = Paths {
        resolv_conf: "/nonexistent/a".into(),
        behind_stub: "/nonexistent/b".into(),
        remembered: vec!["/nonexistent/c".into()],
    };
    let found = discover(&missing, &[]);
    assert!(found.servers.is_empty() && found.notes[0].contains("cannot read /nonexistent/a"));
}

#[test]
fn what_is_no_file_or_without_end_is_said_and_not_waited_for() {
    let (dir, paths) = folder("nameserver 192.0.2.1", "");
    fs::remove_file(&paths.resolv_conf).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&paths.resolv_conf).status().unwrap().success());
    let notes = |paths: &Paths| discover(paths, &[]).notes.join("\n");
    assert!(notes(&paths).contains("not a regular file"));
    let endless = Paths { resolv_conf: "/dev/zero".into(), ..paths.clone() };
    assert!(notes(&endless).contains("not a regular file"));
    let large = Paths { resolv_conf: dir.path().join("large"), ..paths };
    fs::write(&large.resolv_conf, "nameserver 192.0.2.1\n".repeat(4000)).unwrap();
    assert!(notes(&large).contains("larger than 65536 octets"));
}

#[test]
fn servers_remembered_by_a_take_are_asked_once_no_other_is_left() {
    let (dir, paths) = folder("nameserver 127.0.0.1", "");
    fs::write(dir.path().join(REMEMBERED), "nameserver 192.0.2.5\nnameserver 127.0.0.1\n").unwrap();
    let own = ["127.0.0.1:53".parse().unwrap()];
    let shown = |own: &[SocketAddr]| -> Vec<String> {
        discover(&paths, own).servers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&own), ["192.0.2.5"]);
    assert!(!discover(&paths, &own).notes.iter().any(|note| note.contains("resolv.conf: 127.0.0.1")));
    fs::write(&paths.resolv_conf, "nameserver 192.0.2.6").unwrap();
    assert_eq!(shown(&own), ["192.0.2.6"], "another server was named since");
}

#[test]
fn the_next_networks_servers_come_before_the_remembered_ones() {
    let (dir, paths) = folder("nameserver 127.0.0.1", "");
    let at = |name: &str| dir.path().join(name);
    let text = format!(
        "# follow resolv.conf {}\n# follow leases {}\nnameserver fe80::1%eth0\n",
        at("manager").display(),
        at("leases").display()
    );
    fs::write(at(REMEMBERED), text).unwrap();
    let own = ["127.0.0.1:53".parse().unwrap()];
    let shown = || -> Vec<String> {
        let found = discover(&paths, &own);
        assert!(found.notes.is_empty() || found.servers.is_empty(), "{:?}", found.notes);
        found.servers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(), ["[fe80::1%eth0]:53"], "nothing to follow yet");
    fs::write(at("leases"), "lease {\n option domain-name-servers 192.0.2.8;\n}\n").unwrap();
    assert_eq!(shown(), ["192.0.2.8"]);
    fs::write(at("manager"), "nameserver 127.0.0.1\nnameserver 127.0.0.53\n").unwrap();
    assert_eq!(shown(), ["192.0.2.8"], "a source that leads to us names no server");
    fs::write(at("manager"), "nameserver 127.0.0.1\nnameserver fe80::2%eth1\n").unwrap();
    assert_eq!(shown(), ["[fe80::2%eth1]:53"]);
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    fs::rename(at("pipe"), at("manager")).unwrap();
    assert_eq!(shown(), ["192.0.2.8"], "a pipe is not waited for");
}

#[tokio::test(start_paused = true)]
async fn files_that_a_take_names_are_watched_from_then_on() {
    let (dir, paths) = folder("nameserver 127.0.0.1", "");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("records")).unwrap();
    let mut watch = paths.watch();
    let quiet = Duration::from_secs(60);
    fs::write(at("records/eth0"), "nameserver 192.0.2.7\n").unwrap();
    assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err(), "it is not named yet");
    fs::write(at(REMEMBERED), format!("# follow resolv.conf {}\n", at("records").display())).unwrap();
    watch.changed().await;
    assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    for step in 0..4 {
        match step {
            0 => fs::write(at("records/eth0"), "nameserver 192.0.2.17\n").unwrap(),
            1 => fs::write(at("records/eth1"), "nameserver 192.0.2.8\n").unwrap(),
            2 => fs::remove_file(at("records/eth0")).unwrap(),
            _ => fs::remove_dir_all(at("records")).unwrap(),
        }
        watch.changed().await;
    }
    assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_any_kind_is_noticed_and_quiet_is_not() {
    let (dir, paths) = folder("nameserver 192.0.2.1", "");
    let mut watch = paths.watch();
    let quiet = Duration::from_secs(60);
    assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
    fs::write(&paths.resolv_conf, "nameserver 192.0.2.11").unwrap();
    watch.changed().await;
    let replacement = dir.path().join("new");
    fs::write(&replacement, "nameserver 192.0.2.12").unwrap();
    fs::rename(&replacement, &paths.resolv_conf).unwrap();
    watch.changed().await;
    fs::remove_file(&paths.resolv_conf).unwrap();
    watch.changed().await;
    std::os::unix::fs::symlink(&paths.behind_stub, &paths.resolv_conf).unwrap();
    watch.changed().await;
    fs::write(&paths.behind_stub, "nameserver 192.0.2.1").unwrap();
    watch.changed().await;
    assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
}
