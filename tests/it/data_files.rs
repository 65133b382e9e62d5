//! Files that are read again when they change: zone files, hosts files, the configuration.

use crate::eventually;
use crate::server::Server;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const NOBODY: &str = "[upstream]\nservers = []\n[endpoints]\nproducts = []\n";

/// A folder of files that a configuration names, and what is done to them.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes in place, as a careless editor does.
    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes beside and renames, as a careful one does.
    fn replace(&self, name: &str, text: &str) {
        self.write("beside", text);
        fs::rename(self.at("beside"), self.at(name)).unwrap();
    }
}

/// A `[[zone]]` or `[[hosts]]` of a file.
fn zone(apex: &str, file: &Path) -> String {
    format!("[[zone]]\nname = \"{apex}\"\nfile = \"{}\"\n", file.display())
}

fn hosts(file: &Path) -> String {
    format!("[[hosts]]\nfile = \"{}\"\n", file.display())
}

fn becomes(server: &Server, name: &str, rtype: &str, value: &str) {
    eventually(&format!("{name} to become {value}"), || {
        (server.ask(name, rtype).values() == [value]).then_some(())
    });
}

#[test]
fn a_zone_file_is_served_anew_however_it_changes() {
    let files = Files::new(&[("a.zone", "$INCLUDE inner\nwww A 10.0.0.1\n"), ("inner", "in A 10.1.0.1\n")]);
    let other =
        "[[zone]]\nname = \"b.example\"\n[[zone.record]]\nname = \"@\"\ntype = \"A\"\nvalue = \"10.2.0.1\"\n";
    let server = Server::start(&format!("{NOBODY}{}{other}", zone("a.example", &files.at("a.zone"))));
    assert_eq!(server.ask("www.a.example", "A").values(), ["10.0.0.1"]);
    files.write("a.zone", "$INCLUDE inner\nwww A 10.0.0.2\n");
    becomes(&server, "www.a.example", "A", "10.0.0.2");
    files.replace("a.zone", "$INCLUDE inner\nwww A 10.0.0.3\n");
    becomes(&server, "www.a.example", "A", "10.0.0.3");
    files.write("inner", "in A 10.1.0.2\n");
    becomes(&server, "in.a.example", "A", "10.1.0.2");
    assert_eq!(server.ask("b.example", "A").values(), ["10.2.0.1"]);
    assert_eq!(server.said("reloaded"), 0, "the configuration was not read again");
    let logged = || (server.said("the new content of the zone file is in force") == 3).then_some(());
    eventually("each change to be logged", logged);
}

#[test]
fn a_faulty_file_leaves_what_it_had_and_is_told_once() {
    let files = Files::new(&[("a.zone", "www A 10.0.0.1\n"), ("hosts", "10.0.1.1 h.example\n")]);
    let config = format!("{NOBODY}{}{}", zone("a.example", &files.at("a.zone")), hosts(&files.at("hosts")));
    let server = Server::start(&config);
    let long = format!("www A {}\n", "x".repeat(10 << 20));
    for (text, part) in [
        ("www A 10.0.0.2\nmail MX\n", "a.zone:2:"),
        ("www A 10.0.0.2\nx TXT \"cut in the midd", "a.zone:2:"),
        (&long, "a.zone:1:"),
        ("", "a.zone is empty"),
    ] {
        files.replace("a.zone", text);
        server.line(part);
        assert_eq!(server.ask("www.a.example", "A").values(), ["10.0.0.1"], "{part}");
    }
    fs::remove_file(files.at("a.zone")).unwrap();
    server.line("No such file");
    files.write("hosts", "10.0.1.2 h.example\nh.example 10.0.1.2\n");
    assert!(server.line("hosts:2: ").contains("the former content stays in force"));
    assert_eq!(server.ask("www.a.example", "A").values(), ["10.0.0.1"]);
    assert_eq!(server.ask("h.example", "A").values(), ["10.0.1.1"]);
    files.write("a.zone", "www A 10.0.0.9\n");
    files.write("hosts", "10.0.1.9 h.example\n");
    becomes(&server, "www.a.example", "A", "10.0.0.9");
    becomes(&server, "h.example", "A", "10.0.1.9");
    assert_eq!(server.said("hosts:2: "), 1);
}

#[test]
fn a_folder_that_is_swapped_behind_a_link_changes_all_its_files() {
    // As the files of a ConfigMap: name -> ..data/name, ..data -> ..1
    let files = Files::new(&[("..1/a.zone", "www A 10.0.0.1\n"), ("..1/hosts", "10.0.1.1 h.example\n")]);
    files.write("..2/a.zone", "www A 10.0.0.2\n");
    files.write("..2/hosts", "10.0.1.2 h.example\n");
    symlink("..1", files.at("..data")).unwrap();
    for name in ["a.zone", "hosts"] {
        symlink(format!("..data/{name}"), files.at(name)).unwrap();
    }
    let config = format!("{NOBODY}{}{}", zone("a.example", &files.at("a.zone")), hosts(&files.at("hosts")));
    let server = Server::start(&config);
    symlink("..2", files.at("..data_tmp")).unwrap();
    fs::rename(files.at("..data_tmp"), files.at("..data")).unwrap();
    fs::remove_dir_all(files.at("..1")).unwrap();
    becomes(&server, "www.a.example", "A", "10.0.0.2");
    becomes(&server, "h.example", "A", "10.0.1.2");
    assert_eq!(server.said("former content"), 0);
}

#[test]
fn hosts_files_answer_before_zones_and_only_for_their_names() {
    let text = "10.0.1.1 www.a.example www\n10.0.1.1 other\n2001:db8::1 www.a.example\n127.0.0.1 localhost\n";
    let files = Files::new(&[("hosts", text)]);
    let records = "[[zone]]\nname = \"a.example\"\n[[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.9.9.9\"\n\
         [[zone.record]]\nname = \"alias\"\ntype = \"CNAME\"\nvalue = \"www\"\n";
    let server = Server::start(&format!("{NOBODY}{}{records}", hosts(&files.at("hosts"))));
    for (name, rtype, expected) in [
        ("www.a.example", "A", "10.0.1.1"),
        ("www.a.example", "AAAA", "2001:db8::1"),
        ("www", "A", "10.0.1.1"),
        ("localhost", "A", "127.0.0.1"),
        ("1.1.0.10.in-addr.arpa", "PTR", "www.a.example"),
    ] {
        let reply = server.ask(name, rtype);
        assert_eq!(reply.values(), [expected], "{name} {rtype}");
        assert!(reply.message.metadata.authoritative, "{name} {rtype}");
    }
    assert_eq!(server.ask("alias.a.example", "A").values().last().unwrap(), "10.0.1.1");
    let denied = server.ask("www.a.example", "TXT");
    assert_eq!((denied.lines()[0].as_str(), denied.message.authorities.len()), ("NOERROR aa", 1));
    assert_eq!(server.ask("x.a.example", "A").lines()[0], "NXDOMAIN aa");
    assert_eq!(server.ask("1.0.10.in-addr.arpa", "PTR").lines()[0], "NOERROR aa", "a name is below it");
    files.write("hosts", "10.0.1.5 other\n");
    becomes(&server, "www.a.example", "A", "10.9.9.9");
}

#[test]
fn the_configuration_is_read_again_when_it_changes_if_that_is_wanted() {
    let text = |watch: bool, value: &str| {
        format!(
            "[server]\nwatch_config = {watch}\n{NOBODY}[[zone]]\nname = \"a.example\"\n[[zone.record]]\nname = \"@\"\n\
             type = \"A\"\nvalue = \"{value}\"\n"
        )
    };
    let server = Server::start(&text(true, "10.0.0.1"));
    let write = |text: &str| fs::write(server.config(), text).unwrap();
    write("[server]\nwatch_config = tr");
    server.line("the former one stays in force");
    for last in 2..12 {
        write(&text(true, &format!("10.0.0.{last}")));
    }
    becomes(&server, "a.example", "A", "10.0.0.11");
    fs::remove_file(server.config()).unwrap();
    server.line("cannot read the configuration");
    write(&text(false, "10.0.0.20"));
    becomes(&server, "a.example", "A", "10.0.0.20");
    write(&text(false, "10.0.0.21"));
    server.signal("HUP");
    becomes(&server, "a.example", "A", "10.0.0.21");
    assert_eq!(server.said("the configuration file has changed"), 4, "ten writes at once count once");
}

#[test]
fn a_reload_refused_for_a_zone_file_is_made_up_for_once_that_is_mended() {
    let files = Files::new(&[("a.zone", "www A x\n")]);
    let server = Server::start(&format!("[server]\nwatch_config = true\n{NOBODY}"));
    let config = format!("[server]\nwatch_config = true\n{NOBODY}{}", zone("a.example", &files.at("a.zone")));
    fs::write(server.config(), config).unwrap();
    server.line("the former one stays in force");
    files.write("a.zone", "www A 10.0.0.1\n");
    becomes(&server, "www.a.example", "A", "10.0.0.1");
}
