//! `[control]`: what it means, and the messages.

use super::message_tests::{check, faults_of};
use super::*;

const KEY: &str = "[[control.access_key]]\nid = \"LTAI\"\nsecret = \"hush\"\n";

/// The section of a file without errors.
fn control(text: &str) -> Api {
    parse(text, Path::new("/etc/pvtzd/pvtzd.toml")).unwrap().0.control.unwrap()
}

#[test]
fn without_the_section_there_is_no_api() {
    assert_eq!(parse("", Path::new("x")).unwrap().0.control, None);
    let control = control(KEY);
    assert_eq!(control.listen, ["127.0.0.1:5380".parse().unwrap()]);
    assert_eq!(control.hosts, []);
}

#[test]
fn the_section_has_two_names_and_a_file_keeps_to_one() {
    let renamed = KEY.replace("control", "api");
    assert_eq!(control(&renamed), control(KEY));
    let both = format!("[control]\nlisten = \"127.0.0.1\"\n[api]\nlisten = \"127.0.0.2\"\n{renamed}");
    let faults = faults_of(&both).join("\n");
    assert!(faults.starts_with("1:1 control: [control] is the older name of [api]"), "{faults}");
    assert!(faults.contains("line 3"), "{faults}");
}

#[test]
fn the_console_stays_on_this_machine_unless_it_is_told_otherwise() {
    let with = |keys: &str| control(&format!("[control]\n{keys}\n{KEY}")).console;
    assert_eq!(with(""), ConsoleMode::On);
    assert_eq!(with("console = true"), ConsoleMode::On);
    assert_eq!(with("console = \"read\""), ConsoleMode::Read);
    assert_eq!(with("console = false"), ConsoleMode::Off);
    assert_eq!(with("listen = \"0.0.0.0\""), ConsoleMode::Off, "others can reach it");
    assert_eq!(with("listen = [\"127.0.0.1\", \"192.0.2.1\"]"), ConsoleMode::Off);
    assert_eq!(with("listen = \"0.0.0.0\"\nconsole = false"), ConsoleMode::Off);
    let told = "listen = \"0.0.0.0\"\nconsole = true\nconsole_beyond_loopback = true";
    assert_eq!(with(told), ConsoleMode::On);
    for value in ["true", "\"read\""] {
        let faults =
            faults_of(&format!("[control]\nlisten = \"0.0.0.0\"\nconsole = {value}\n{KEY}")).join("\n");
        assert!(faults.contains("the console would be served on 0.0.0.0:5380"), "{faults}");
        assert!(faults.contains("console_beyond_loopback = true"), "{faults}");
    }
    for value in ["\"yes\"", "1"] {
        assert_eq!(faults_of(&format!("[control]\nconsole = {value}\n{KEY}")).len(), 1, "{value}");
    }
}

#[test]
fn one_address_or_several() {
    let with = |listen: &str| control(&format!("[control]\nlisten = {listen}\n{KEY}")).listen;
    assert_eq!(with("\"127.0.0.1\""), ["127.0.0.1:5380".parse().unwrap()]);
    assert_eq!(
        with("[\"127.0.0.2:81\", \"::1\"]"),
        ["127.0.0.2:81".parse().unwrap(), "[::1]:5380".parse().unwrap()]
    );
}

#[test]
fn secrets_are_in_one_of_three_places() {
    let secret = |key: &str| {
        let keys = control(&format!("[[control.access_key]]\nid = \"LTAI\"\n{key}")).keys;
        assert_eq!((keys.len(), keys[0].id.as_str()), (1, "LTAI"));
        keys[0].secret.clone()
    };
    assert_eq!(secret("secret = \"hush\""), SecretSource::Written("hush".to_string().into()));
    assert_eq!(secret("secret_file = \"/run/s\""), SecretSource::File("/run/s".into()));
    assert_eq!(secret("secret_file = \"keys/s\""), SecretSource::File("/etc/pvtzd/keys/s".into()));
    assert_eq!(secret("secret_credential = \"s\""), SecretSource::Credential("s".into()));
    let entry = |keys: &str| format!("[[control.access_key]]\nid = \"LTAI\"\n{keys}");
    check(
        &entry(""),
        &["1:1 control.access_key[0]: [[control.access_key]] needs a secret | add secret_file"],
    );
    check(
        &entry("secret = \"x\"\nsecret_file = \"y\""),
        &[
            "1:1 control.access_key[0]: the secret is given 2 times: `secret`, `secret_file` | keep one of them",
        ],
    );
    check(
        &entry("secret_credential = \"/etc/x\""),
        &["3:21 control.access_key[0].secret_credential: `/etc/x` is a path, not the name of a credential"],
    );
    check(&entry("secret = \"two words\""), &["3:10 control.access_key[0].secret: it contains blanks"]);
    let shown = faults_of(&entry("secret = \"hush hush\"")).join("\n");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn an_api_without_keys_is_a_fault() {
    check(
        "[control]\nlisten = \"127.0.0.1\"",
        &[
            "1:1 control: [control] has no access key: every call of the API would be refused | add [[control.access_key]]",
        ],
    );
    check(
        &format!("{KEY}{KEY}"),
        &["5:6 control.access_key[1].id: access key `LTAI` is defined already (line 2) | remove one"],
    );
    check(
        "[[control.access_key]]\nsecret = \"x\"",
        &["1:1 control.access_key[0]: [[control.access_key]] needs a `id` | add id = \"LTAI…\""],
    );
}

#[test]
fn addresses_that_others_reach_are_doubted() {
    check(
        &format!("[control]\nlisten = \"0.0.0.0:5380\"\n{KEY}"),
        &[
            "warning 2:10 control.listen: 0.0.0.0:5380 can be reached from other machines, and the API is not encrypted",
        ],
    );
    check(
        &format!("[control]\nlisten = \"127.0.0.1:5335\"\n{KEY}"),
        &["2:10 control.listen: 127.0.0.1:5335 is in use by another listener (by default)"],
    );
    check(
        &format!("[control]\nlisten = 5380\n{KEY}"),
        &["2:10 control.listen: `listen` must be an address or a list"],
    );
    check("control = 5", &["1:11 control: `control` must be a section, found the integer 5"]);
    check(&format!("[control]\nlisten = []\n{KEY}"), &["2:10 control.listen: nothing to listen on"]);
}

#[test]
fn hosts_are_names_with_addresses() {
    let host = |keys: &str| format!("{KEY}[[control.host]]\n{keys}");
    let found = control(&host("name = \"web-1\"\nip = \"10.0.0.5\"\nregion = \"cn-hangzhou\"")).hosts;
    let expected =
        Host { name: "web-1".into(), ip: "10.0.0.5".parse().unwrap(), region: "cn-hangzhou".into() };
    assert_eq!(found, [expected]);
    check(
        &host("name = \"web-1.example.\"\nip = \"10.0.0\"\nzone = \"x\""),
        &[
            "4:1 control.host[0]: [[control.host]] needs a `region`",
            "5:8 control.host[0].name: `web-1.example.` is absolute",
            "6:6 control.host[0].ip: `10.0.0` is not an address",
            "7:1 control.host[0].zone: unknown key `zone` in [[control.host]]",
        ],
    );
}

#[test]
fn a_secret_in_a_file_that_others_may_read_is_doubtful() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pvtzd.toml");
    let warnings = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        load(&path).unwrap().1
    };
    for mode in [0o644, 0o640, 0o604] {
        let told = warnings(KEY, mode);
        assert_eq!(told.len(), 1, "{mode:o}: {told:?}");
        let shown = told[0].render(false);
        assert!(shown.contains("chmod 600") && !shown.contains("hush"), "{shown}");
    }
    assert_eq!(warnings(KEY, 0o600), []);
    let elsewhere = "[[control.access_key]]\nid = \"LTAI\"\nsecret_file = \"s\"\n";
    assert_eq!(warnings(elsewhere, 0o644), []);
}
