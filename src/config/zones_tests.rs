//! What is said about records; see `message_tests` for the form of the rows.

use crate::config::message_tests::{check, faults_of, record};

#[test]
fn records_are_checked_by_their_type() {
    let value =
        |rtype: &str, value: &str| record(&format!("name = \"@\"\ntype = \"{rtype}\"\nvalue = {value}"));
    for (rtype, text, expected) in [
        (
            "A",
            "\"192.0.2.300\"",
            "`192.0.2.300` is not an IPv4 address; a value of type A looks like `192.0.2.1`",
        ),
        (
            "A",
            "\"2001:db8::1\"",
            "`2001:db8::1` is not an IPv4 address; a value of type A looks like `192.0.2.1` | for this value write type = \"AAAA\"",
        ),
        (
            "A",
            "\"www.example\"",
            "`www.example` is not an IPv4 address; a value of type A looks like `192.0.2.1` | for this value write type = \"CNAME\"",
        ),
        (
            "CNAME",
            "\"192.0.2.1\"",
            "`192.0.2.1` is an address | the value of a CNAME is a name; for an address write type = \"A\"",
        ),
        ("MX", "\"mail.example\"", "`mail.example` has 1 of 2 fields"),
    ] {
        let found = faults_of(&value(rtype, text));
        assert_eq!(found.len(), 1, "{found:?}");
        if rtype != "MX" {
            assert_eq!(found[0], format!("6:9 zone[0].record[0].value: {expected}"));
        } else {
            assert!(found[0].ends_with("| write \"10 mail.example\", or add priority = 10"), "{found:?}");
        }
    }
    check(
        &value("CNMAE", "\"192.0.2.1\""),
        &["5:8 zone[0].record[0].type: `CNMAE` is not a type of record | did you mean \"CNAME\"?"],
    );
    check(&value("SOA", "\"x\""), &["5:8 zone[0].record[0].type: the server generates SOA records"]);
    check(&value("ANY", "\"x\""), &["5:8 zone[0].record[0].type: `ANY` is not a type of record"]);
    check(&value("A", "[]"), &["6:9 zone[0].record[0].value: no values"]);
    check(
        &format!("{}\nweight = 5\npriority = 1", value("TXT", "\"x\"")),
        &[
            "7:10 zone[0].record[0].weight: records of type TXT have no weight",
            "8:12 zone[0].record[0].priority: records of type TXT have no `priority`",
        ],
    );
    check(
        &format!("{}\npriority = 5", value("MX", "\"10 mail.example\"")),
        &["6:9 zone[0].record[0].value: "],
    );
    check(
        &format!("{}\nenabled = false", value("A", "\"nonsense.\"")),
        &["6:9 zone[0].record[0].value: `nonsense.` is not"],
    );
    check(
        &value("A", "[\"192.0.2.1\", \"192.0.2.1\"]"),
        &["6:23 zone[0].record[0].value[1]: `z.example` has this value already (192.0.2.1), see line 6"],
    );
}

#[test]
fn record_names_are_relative() {
    let name = |name: &str| record(&format!("name = \"{name}\"\ntype = \"A\"\nvalue = \"192.0.2.1\""));
    check(
        &name("www.z.example."),
        &[
            "4:8 zone[0].record[0].name: `www.z.example.` is an absolute name | record names are relative to the zone: write \"www\"",
        ],
    );
    check(
        &name("z.example."),
        &[
            "4:8 zone[0].record[0].name: `z.example.` is an absolute name | record names are relative to the zone: write \"@\"",
        ],
    );
    check(
        &name("other."),
        &[
            "4:8 zone[0].record[0].name: `other.` is an absolute name | record names are relative to the zone `z.example`",
        ],
    );
    check(
        &name("www.z.example"),
        &["warning 4:8 zone[0].record[0].name: this is the record of `www.z.example.z.example`"],
    );
    check(&name(""), &["4:8 zone[0].record[0].name: an empty name | write \"@\""]);
    check(&name("a..b"), &["4:8 zone[0].record[0].name: "]);
    check(
        &record("name = \"@\"\nrr = \"@\"\ntype = \"A\"\nvalue = \"192.0.2.1\""),
        &["4:8 zone[0].record[0].name: `name` and `rr` are the same setting"],
    );
    check(
        "[[zone]]\nname = \"z.example\"\nrecursion_proxy = true\nproxy_pattern = \"RECORD\"",
        &["4:17 zone[0].proxy_pattern: `recursion_proxy` and `proxy_pattern` are the same"],
    );
}
