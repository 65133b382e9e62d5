//! Files of a machine in a temporary folder: what is read, and what is put where.

use super::content::Content;
use super::machine::{Commands, Installed, Machine, NoCommands};
use std::fs;
use std::os::unix::fs::symlink;

fn machine() -> (tempfile::TempDir, Machine) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("etc")).unwrap();
    let machine = Machine::new(folder.path(), NoCommands);
    (folder, machine)
}

#[test]
fn what_is_put_is_there_and_nothing_else_is() {
    let (folder, machine) = machine();
    for content in
        [Content::file("a\n"), Content::link("../x"), Content::file("b\n"), Content::Absent, Content::Absent]
    {
        machine.put("/etc/resolv.conf", &content).unwrap();
        assert!(machine.content("/etc/resolv.conf").unwrap().is_same(&content), "{content:?}");
        let left = fs::read_dir(folder.path().join("etc")).unwrap().count();
        assert_eq!(left, usize::from(content != Content::Absent));
    }
}

#[test]
fn links_are_followed_below_the_root() {
    let (folder, machine) = machine();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("run/a")).unwrap();
    fs::write(at("run/a/conf"), "text").unwrap();
    symlink("../run/a/../b", at("etc/resolv.conf")).unwrap();
    symlink("/run/a/conf", at("run/b")).unwrap();
    assert_eq!(machine.target("/etc/resolv.conf"), "/run/a/conf");
    assert_eq!(machine.read("/etc/resolv.conf").unwrap().as_deref(), Some("text"));
    symlink("loop", at("etc/loop")).unwrap();
    assert!(machine.read("/etc/loop").is_err());
    symlink("nowhere", at("etc/dangling")).unwrap();
    assert_eq!(machine.read("/etc/dangling").unwrap(), None);
    assert!(machine.content("/etc").is_err(), "a folder is no file");
}

#[test]
fn only_regular_files_of_a_bounded_size_are_read() {
    let (folder, machine) = machine();
    let at = |path: &str| folder.path().join(path);
    let made = std::process::Command::new("mkfifo").arg(at("etc/pipe")).status().unwrap();
    assert!(made.success());
    symlink("pipe", at("etc/resolv.conf")).unwrap();
    let said = machine.read("/etc/resolv.conf").unwrap_err().to_string();
    assert!(said.contains("not a regular file"), "{said}");
    let large = vec![b'x'; (64 << 10) + 1];
    fs::create_dir_all(at("run")).unwrap();
    fs::write(at("run/resolv.conf"), &large).unwrap();
    let said = machine.content("/run/resolv.conf").unwrap_err().to_string();
    assert!(said.contains("larger than 65536 octets"), "{said}");
    fs::write(at("run/other"), &large).unwrap();
    assert!(machine.content("/run/other").is_ok() && machine.read("/run/other").is_err());
    fs::write(at("run/resolv.conf"), &large[1..]).unwrap();
    assert!(machine.read("/run/resolv.conf").unwrap().is_some());
}

#[test]
fn a_place_that_cannot_be_written_stays_as_it_was() {
    let (folder, machine) = machine();
    let trouble = machine.put("/none/resolv.conf", &Content::file("a")).unwrap_err();
    assert!(trouble.to_string().contains("cannot write /none/resolv.conf"), "{trouble}");
    assert!(!trouble.hint().is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn programs_are_run_and_heard() {
    let ran = Installed.run(&["sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
    assert_eq!((ran.success, ran.stdout.as_str(), ran.stderr.as_str()), (false, "out\n", "err\n"));
    assert!(Installed.run(&["/nonexistent/program"]).is_err());
}
