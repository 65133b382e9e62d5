//! Tests of `[[hosts]]`.

use super::*;
use crate::config::{Config, parse};
use crate::engine::hosts::HostsLookup;
use crate::engine::name::{self, NameKey};
use hickory_proto::rr::RecordType;
use std::fs;

const VPC: &str = "[[vpc]]\nid = \"v\"\nclients = [\"10.0.0.0/8\"]\n";

/// A configuration beside these files.
fn config(text: &str, files: &[(&str, &str)]) -> Result<(Config, Vec<Fault>), Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    parse(text, &folder.path().join("pvtzd.toml"))
}

fn told(result: Result<(Config, Vec<Fault>), Vec<Fault>>) -> Vec<String> {
    let faults = result.map(|(_, warnings)| warnings).unwrap_or_else(|faults| faults);
    let file = |fault: &Fault| fault.file.file_name().unwrap_or_default().display().to_string();
    faults.iter().map(|fault| format!("{}:{} {}", file(fault), fault.line, fault.message)).collect()
}

#[test]
fn hosts_files_are_read_in_order_for_who_sees_them() {
    let text =
        format!("{VPC}[[hosts]]\nfile = \"one\"\nvpcs = [\"v\"]\nttl = 5\n[[hosts]]\nfile = \"two\"\n");
    let (config, warnings) =
        config(&text, &[("one", "192.0.2.1 a\n"), ("two", "192.0.2.2 a\n192.0.2.3 b\n")]).unwrap();
    assert_eq!(warnings, []);
    let catalog = config.catalog(&Default::default(), 1);
    let look = |client: &str, name: &str| {
        let key = NameKey::of(&name::parse(name).unwrap());
        match catalog.view(client.parse().unwrap()).hosts_of(&key, RecordType::A) {
            HostsLookup::Rrset(set) => format!("{} {set}", set.ttl),
            other => format!("{other:?}"),
        }
    };
    assert!(look("10.0.0.1", "a").contains("5 A 192.0.2.1"), "{}", look("10.0.0.1", "a"));
    assert!(look("192.0.2.9", "a").contains("60 A 192.0.2.2"));
    assert!(look("10.0.0.1", "b").contains("A 192.0.2.3"));
}

#[test]
fn faults_are_told_by_file_and_line() {
    let section = "[[hosts]]\nfile = \"hosts\"\n";
    let check = |text: &str, hosts: &str, expected: &str| {
        let told = told(config(text, &[("hosts", hosts)]));
        assert!(told.iter().any(|line| line.starts_with(expected)), "{told:?}");
    };
    check(section, "192.0.2.1 a\nx y\n", "hosts:2 `x` is not an IP address");
    check(section, "fe80::1%lo0 a\n", "hosts:1 fe80::1%lo0 is ignored");
    check("[[hosts]]\nfile = \"none\"\n", "", "pvtzd.toml:2 cannot read ");
    check("[[hosts]]\nttl = 5\n", "", "pvtzd.toml:1 [[hosts]] needs a `file`");
    check("[[hosts]]\nfile = \"hosts\"\nvpcs = [\"w\"]\n", "", "pvtzd.toml:3 no VPC `w`");
    check("[[hosts]]\nfile = \".\"\n", "", "pvtzd.toml:2 cannot read ");
    let many = "x\n".repeat(30);
    check(section, &many, "pvtzd.toml:2 the file has 10 more errors");
}
