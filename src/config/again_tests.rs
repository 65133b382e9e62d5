//! Tests of reading again: a file means the same as one that is read for the first time.

use super::super::Fault;
use super::*;
use crate::config;
use std::fs;

fn zones(count: usize, more: impl Fn(usize) -> String) -> String {
    let zone = |n: usize| {
        let records: String = (0..10)
            .map(|r| format!("[[zone.record]]\nname = \"r{r}\"\ntype = \"A\"\nvalue = \"10.0.0.{r}\"\n"))
            .collect();
        format!("[[zone]]\nname = \"z{n}.example\"\n{records}{}", more(n))
    };
    let rest = "[upstream]\nservers = []\n[[vpc]]\nid = \"v\"\nclients = [\"10.0.0.0/8\"]\n";
    format!("{rest}{}[log]\n", (0..count).map(zone).collect::<String>())
}

fn first(text: &str) -> (Config, Vec<Fault>) {
    config::parse(text, Path::new("x")).unwrap()
}

fn again(text: &str, former: &Config) -> Option<Config> {
    parse(text, Path::new("x"), false, former)
}

fn record(name: &str, rtype: &str, value: &str) -> String {
    format!("[[zone.record]]\nname = \"{name}\"\ntype = \"{rtype}\"\nvalue = \"{value}\"\n")
}

#[test]
fn a_changed_zone_is_read_alone_and_means_the_same() {
    let text = zones(500, |_| String::new());
    let (former, warnings) = first(&text);
    assert_eq!(warnings, []);
    for more in [
        record("new", "A", "192.0.2.1"),
        record("in", "CNAME", "r1.z7.example") + &record("out", "CNAME", "www.elsewhere.test"),
        String::new(),
    ] {
        let changed = zones(500, |n| if n == 7 { more.clone() } else { String::new() });
        let found = again(&changed, &former).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", first(&changed).0));
        let expected = if more.is_empty() { vec![] } else { vec![7] };
        assert_eq!(found.difference(&former), Some(ConfigDifference { zones: expected, hosts: vec![] }));
        // and once more from there
        let back = again(&text, &found).unwrap();
        assert_eq!(format!("{back:?}"), format!("{former:?}"));
    }
    assert_eq!(first(&text).0.difference(&former), None, "another reading of the whole");
}

#[test]
fn what_a_zone_cannot_tell_alone_is_read_as_a_whole() {
    let text = zones(500, |_| String::new());
    let (former, _) = first(&text);
    for more in [
        record("bad", "A", "192.0.2.300"),
        record("doubt", "A", "192.0.2.1") + "ttl = 61\n",
        record("a", "CNAME", "b.z7.example") + &record("b", "CNAME", "a.z7.example"),
        record("a", "CNAME", "r1.z8.example"),
        record("a", "CNAME", "ecs.cn-hangzhou.aliyuncs.com"),
        "[[zone]]\nname = \"more.example\"\n".into(),
        "value = \n".into(),
    ] {
        assert!(
            again(&zones(500, |n| if n == 7 { more.clone() } else { String::new() }), &former).is_none(),
            "{more}"
        );
    }
    for (from, to) in [
        ("\"z7.example\"", "\"z7b.example\""),
        ("\"z7.example\"", "\"z7.example\"\nvpcs = [\"v\"]"),
        ("\"z7.example\"", "\"z7.example\"\nrecursion_proxy = true"),
        ("[log]", "[log]\n[[forward]]\nzone = \"f.example\"\nservers = [\"192.0.2.1\"]"),
    ] {
        assert!(again(&text.replace(from, to), &former).is_none(), "{to}");
    }
    let mut forgotten = former.clone();
    forgotten.forget_file();
    assert!(again(&text, &forgotten).is_none());
}

#[test]
fn a_zone_file_is_read_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pvtzd.toml");
    let text = zones(500, |_| String::new()) + "[[zone]]\nname = \"file.example\"\nfile = \"file.zone\"\n";
    fs::write(&path, &text).unwrap();
    fs::write(folder.path().join("file.zone"), "a A 192.0.2.1\n").unwrap();
    let (former, _) = config::load(&path).unwrap();
    let same = parse(&text, &path, false, &former).unwrap();
    assert_eq!(same.difference(&former), Some(ConfigDifference::default()));
    fs::write(folder.path().join("new"), "a A 192.0.2.1\nb A 192.0.2.2\n").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("file.zone")).unwrap();
    let found = parse(&text, &path, false, &former).unwrap();
    assert_eq!(found.difference(&former), Some(ConfigDifference { zones: vec![500], hosts: vec![] }));
    assert_eq!(found.zones[500].0.record_count(), 2);
    assert!(!found.zone_files[0].files.iter().any(|file| file.has_changed()));
    fs::write(folder.path().join("file.zone"), "a A nonsense\n").unwrap();
    assert!(parse(&text, &path, false, &found).is_none(), "its fault is to be told");
}
