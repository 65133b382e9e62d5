//! The messages, as people read them. Each case is a file and the faults it has, as `line:column key: message`
//! and, where it says something, ` | hint`.

use super::{Severity, parse};
use std::path::Path;

/// The faults of a text, one in a line.
pub(super) fn faults_of(text: &str) -> Vec<String> {
    let faults = match parse(text, Path::new("pvtzd.toml")) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    let line = |fault: &super::Fault| {
        let mark = if fault.severity == Severity::Warning { "warning " } else { "" };
        let hint = fault.hint.as_deref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{mark}{}:{} {}: {}{hint}", fault.line, fault.column, fault.key, fault.message)
    };
    faults.iter().map(line).collect()
}

/// Compares the faults of a text with what each is to begin with.
pub(super) fn check(text: &str, expected: &[&str]) {
    let found = faults_of(text);
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(same, "{text}\nfound:\n{}\nexpected:\n{}", found.join("\n"), expected.join("\n"));
}

/// A record of a zone, from line 4 on.
pub(super) fn record(keys: &str) -> String {
    format!("[[zone]]\nname = \"z.example\"\n[[zone.record]]\n{keys}")
}

/// The rendering of the only fault.
fn rendered(text: &str) -> String {
    let faults = parse(text, Path::new("pvtzd.toml")).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

#[test]
fn an_unknown_key_says_what_was_meant() {
    let expected = r#"error: unknown key `lisen` in [server]
  --> pvtzd.toml:2:1
   |
 2 | lisen = ["127.0.0.1:53"]
   | ^^^^^
hint: did you mean `listen`? the keys here are `listen`, `allow`, `listen_tls`, `listen_https`, `listen_quic`, `listen_http3`, `certificate`, `key`, `state_dir`, `local_names`, `max_in_flight`, `max_tcp_connections`, `max_tcp_per_client`, `tcp_pipeline`, `tcp_idle`, `udp_payload`, `watch_config`, `version_bind`, `cookies`, `max_rate_per_network`"#;
    assert_eq!(rendered("[server]\nlisen = [\"127.0.0.1:53\"]\n"), expected);
}

#[test]
fn a_record_beside_a_cname_names_both_lines() {
    let text = "[[zone]]\nname = \"z.example\"\n\n[[zone.record]]\nname = \"www\"\ntype = \"CNAME\"\nvalue = \"a.example\"\n\n\
                [[zone.record]]\nname = \"WWW\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\n";
    let expected = r#"error: A beside CNAME of `www.z.example` on line 7: a CNAME excludes other records at its name
   --> pvtzd.toml:12:9
    |
 12 | value = "192.0.2.1"
    |         ^^^^^^^^^^^
hint: keep the CNAME, or keep the other records, or set enabled = false on one"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn unknown_keys_and_sections() {
    check("[sever]\nlisten = []", &["1:2 sever: unknown section `sever` | did you mean `server`?"]);
    check(
        "listen = []",
        &["1:1 listen: unknown key `listen` at the top of the file | `listen` belongs to [server]"],
    );
    check(
        "[cache]\nservers = []",
        &["2:1 cache.servers: unknown key `servers` in [cache] | `servers` belongs to [upstream]"],
    );
    check(
        &record("name = \"@\"\ntype = \"A\"\nvaule = \"192.0.2.1\""),
        &[
            "3:1 zone[0].record[0]: [[zone.record]] needs a `value` | add value = \"192.0.2.1\"",
            "6:1 zone[0].record[0].vaule: unknown key `vaule` in [[zone.record]] | did you mean `value`?",
        ],
    );
    check(
        "[zone]\nname = \"z.example\"",
        &["1:1 zone: `zone` must be a list of sections, found a table | write [[zone]]"],
    );
    check("[[server]]", &["1:1 server: `server` must be one section, found a list | write [server], once"]);
    check("server = 5", &["1:10 server: `server` must be a section, found the integer 5 | write [server]"]);
}

#[test]
fn wrong_types_say_how_to_write_it() {
    check(
        "[server]\nlisten = \"127.0.0.1\"",
        &[
            "2:10 server.listen: `listen` must be a list, found the string \"127.0.0.1\" | write [\"127.0.0.1\"]",
        ],
    );
    check(
        "[server]\nlisten = [53]",
        &[
            "2:11 server.listen[0]: `listen[0]` must be a string, found the integer 53 | put it between quotes: \"53\"",
        ],
    );
    check(
        "[server]\nmax_in_flight = \"10\"",
        &[
            "2:17 server.max_in_flight: `max_in_flight` must be an integer, found the string \"10\" | write 10 without quotes",
        ],
    );
    check(
        "[server]\nversion_bind = \"true\"",
        &[
            "2:16 server.version_bind: `version_bind` must be true or false, found the string \"true\" | write true without quotes",
        ],
    );
    check(
        "[server]\ntcp_idle = 10",
        &[
            "2:12 server.tcp_idle: `tcp_idle` must be a duration, found the integer 10 | write \"10s\" for seconds",
        ],
    );
    check(
        "[cache]\nmax_ttl = \"1d\"",
        &[
            "2:11 cache.max_ttl: `max_ttl` must be an integer, in seconds, found the string \"1d\" | write 86400",
        ],
    );
    check(
        &record("name = \"@\"\ntype = \"TXT\"\nvalue = 5"),
        &[
            "6:9 zone[0].record[0].value: `value` must be a string, found the integer 5 | put it between quotes: \"5\"",
        ],
    );
    check(
        &record("name = \"@\"\ntype = \"TXT\"\nvalue = [true]"),
        &[
            "6:10 zone[0].record[0].value[0]: `value[0]` must be a string, found the boolean true | put it between quotes: \"true\"",
        ],
    );
}

#[test]
fn impossible_values_say_what_is_allowed() {
    check(
        "[server]\nudp_payload = 65535",
        &["2:15 server.udp_payload: 65535 is out of range | allowed is from 512 to 4096"],
    );
    check(
        "[server]\nmax_in_flight = -1",
        &["2:17 server.max_in_flight: -1 is out of range | allowed is from 1 to"],
    );
    check(
        "[server]\nallow = [\"10.0.0.0/33\"]",
        &["2:10 server.allow[0]: `10.0.0.0/33` is not an address | an address looks like \"10.0.0.0/8\""],
    );
    check(
        "[server]\nlocal_names = [\"localhst\"]",
        &["2:16 server.local_names[0]: `localhst` is not a known value | did you mean \"localhost\"?"],
    );
    check("[server]\nlisten = []", &["2:10 server.listen: nothing to listen on"]);
    check(
        "[endpoints]\nregions = [\"cn-hangzou\", \"mars\"]",
        &[
            "2:12 endpoints.regions[0]: `cn-hangzou` is not a known value | did you mean \"cn-hangzhou\"?",
            "2:26 endpoints.regions[1]: `mars` is not a known value | allowed are `ap-northeast-1`",
        ],
    );
    check(
        "[endpoints]\nproducts = [\"esc\"]",
        &["2:13 endpoints.products[0]: `esc` is not a known value | did you mean \"ecs\"?"],
    );
    check(
        "[endpoints]\ntarget = \"popunify\"",
        &[
            "2:10 endpoints.target: `popunify` is not a known value | allowed are `popunify-vpc`, `product-vpc`",
        ],
    );
    check(
        "[upstream]\nstrategy = \"fail-over\"",
        &["2:12 upstream.strategy: `fail-over` is not a known value | did you mean \"failover\"?"],
    );
    check(
        "[upstream]\nservers = [\"udp://192.0.2.1\", \"0.0.0.0\"]",
        &[
            "2:12 upstream.servers[0]: `udp://192.0.2.1`",
            "2:31 upstream.servers[1]: `0.0.0.0` is not an upstream server: this is not the address of one host",
        ],
    );
    check(
        "[upstream]\nservers = [\"tls://dns.example\"]",
        &["2:12 upstream.servers[0]: the address of tls://dns.example cannot be resolved: there is no \
             bootstrap server | add bootstrap"],
    );
    check(
        "[upstream]\nbootstrap = [\"tls://192.0.2.1\"]",
        &["2:14 upstream.bootstrap[0]: a bootstrap server uses plain DNS, not tls://192.0.2.1"],
    );
    check(
        "[server]\nlisten_tls = [\"127.0.0.1\"]",
        &[
            "2:15 server.listen_tls[0]: encrypted listeners need a certificate and its key | add certificate =",
        ],
    );
    check(
        "[cache]\nsize = \"32 potatoes\"",
        &["2:8 cache.size: \"32 potatoes\" is not a size | sizes look like \"32MiB\""],
    );
    check("[cache]\nmin_ttl = 100\nmax_ttl = 60", &["2:11 cache.min_ttl: min_ttl 100 is above max_ttl 60"]);
    check(
        "[cache]\nserve_stale = false",
        &["2:15 cache.serve_stale: `serve_stale` must be a duration or \"off\""],
    );
    check("[[vpc]]\nid = \"a\"\nclients = []", &["3:11 vpc[0].clients: a VPC without clients"]);
    check(
        "[[forward]]\nzone = \"a..b\"\nservers = []",
        &[
            "2:8 forward[0].zone: `a..b` has an empty label",
            "3:11 forward[0].servers: a rule without servers",
        ],
    );
}

#[test]
fn contradictions_between_sections_name_both_places() {
    let vpcs = "[[vpc]]\nid = \"a\"\nclients = [\"10.0.0.0/8\"]\n[[vpc]]\nid = \"vpc-b\"\nclients = [\"192.168.0.0/16\"]\n";
    check(
        "[[zone]]\nname = \"z.example\"\n[[zone]]\nname = \"Z.example.\"",
        &[
            "4:8 zone[1].name: zone `Z.example` is defined already (line 2); every client sees both | join the records",
        ],
    );
    check(
        &format!(
            "{vpcs}[[zone]]\nname = \"z.example\"\nvpcs = [\"a\", \"vpc-b\"]\n[[zone]]\nname = \"z.example\"\nvpcs = [\"a\"]"
        ),
        &["11:8 zone[1].name: zone `z.example` is defined already (line 8); VPC `a` sees both"],
    );
    check(
        &format!("{vpcs}[[zone]]\nname = \"z.example\"\nvpcs = [\"vpc-c\"]"),
        &["9:9 zone[0].vpcs[0]: no VPC `vpc-c` is configured | did you mean `vpc-b`?"],
    );
    check(
        "[[zone]]\nname = \"z.example\"\nvpcs = [\"a\"]",
        &["3:9 zone[0].vpcs[0]: no VPC `a` is configured | there is no [[vpc]]; define one"],
    );
    check(
        "[[zone]]\nname = \"z.example\"\nvpcs = []",
        &["3:8 zone[0].vpcs: an empty list of VPCs: no client would see it | omit `vpcs` for all clients"],
    );
    check(
        &format!("{vpcs}[[vpc]]\nid = \"a\"\nclients = [\"10.0.0.0/8\"]"),
        &[
            "8:6 vpc[2].id: VPC `a` is defined already (line 2)",
            "9:12 vpc[2].clients[0]: 10.0.0.0/8 belongs to VPC `a` already (line 2)",
        ],
    );
    check(
        &format!("{vpcs}[[forward]]\nzone = \"f.example\"\nservers = [\"10.0.0.1\"]\nvpcs = [\"a\", \"a\"]"),
        &["10:14 forward[0].vpcs[1]: VPC `a` is listed twice"],
    );
    check(
        "[[forward]]\nzone = \"f.example\"\nservers = [\"10.0.0.1\"]\n[[forward]]\nzone = \"f.example\"\nservers = [\"10.0.0.2\"]",
        &["5:8 forward[1].zone: `f.example` has a rule already (line 2); every client sees both"],
    );
}

#[test]
fn this_server_is_no_upstream_of_its_own() {
    check(
        "[upstream]\nservers = [\"127.0.0.1:5335\"]",
        &[
            "2:12 upstream.servers[0]: 127.0.0.1:5335 is this server itself: it listens on 127.0.0.1:5335 (by default)",
        ],
    );
    check(
        "[server]\nlisten = [\"0.0.0.0:53\"]\n[[forward]]\nzone = \"f.example\"\nservers = [\"127.0.0.53\"]",
        &[
            "5:12 forward[0].servers[0]: 127.0.0.53:53 is this server itself: it listens on 0.0.0.0:53 (line 2)",
        ],
    );
    check(
        "[server]\nlisten = [\"[::]:53\"]\n[upstream]\nservers = [\"::1\"]",
        &["4:12 upstream.servers[0]: [::1]:53 is this server itself"],
    );
    check(
        "[server]\nlisten = [\"0.0.0.0:53\"]\n[upstream]\nservers = [\"100.100.2.136\", \"100.100.2.138\", \"127.0.0.1:54\"]",
        &[],
    );
    check(
        "[server]\nlisten = [\"127.0.0.1\", \"127.0.0.1:53\"]",
        &["2:24 server.listen[1]: 127.0.0.1:53 is in use by another listener (line 2)"],
    );
}

#[test]
fn doubtful_files_are_taken_with_a_warning() {
    let cname = |name: &str, value: &str| {
        format!("[[zone.record]]\nname = \"{name}\"\ntype = \"CNAME\"\nvalue = \"{value}\"\n")
    };
    check(
        &record("name = \"@\"\ntype = \"A\"\nvalue = \"192.0.2.1\"\nttl = 61"),
        &["warning 7:7 zone[0].record[0].ttl: PrivateZone does not accept a TTL of 61 | it takes 5, 30, 60"],
    );
    check(
        &record("name = \"@\"\ntype = \"CAA\"\nvalue = '0 issue \"ca.example\"'"),
        &["warning 5:8 zone[0].record[0].type: PrivateZone does not support records of type CAA"],
    );
    check(
        &record("name = \"@\"\ntype = \"CNAME\"\nvalue = \"www\""),
        &["warning 6:9 zone[0].record[0].value: names in values are absolute: this points to `www.`"],
    );
    let circle = format!(
        "[[zone]]\nname = \"a.example\"\n{}[[zone]]\nname = \"b.example\"\n{}",
        cname("x", "y.b.example"),
        cname("*", "x.a.example")
    );
    check(
        &circle,
        &["warning 6:9 zone[0].record[0].value: CNAME loop: x.a.example -> y.b.example -> x.a.example"],
    );
    check(
        &format!(
            "[[zone]]\nname = \"popunify-vpc.cn-hangzhou.aliyuncs.com\"\n{}",
            cname("@", "ecs.aliyuncs.com")
        ),
        &["warning 6:9 zone[0].record[0].value: CNAME loop"],
    );
    check(
        "[[vpc]]\nid = \"a\"\nregion = \"cn-shanghai\"\nclients = [\"10.0.0.1/8\"]\n[[zone]]\nname = \"ecs.cn-hangzhou.aliyuncs.com\"\nvpcs = [\"a\"]",
        &[
            "warning 4:12 vpc[0].clients[0]: 10.0.0.1/8 has bits set beyond its prefix",
            "warning 7:9 zone[0].vpcs[0]: `ecs.cn-hangzhou.aliyuncs.com` is a name of cn-hangzhou, but VPC `a` is in cn-shanghai | the recipe works within one region only",
        ],
    );
    check(
        "[[zone]]\nname = \"f.example\"\n[[forward]]\nzone = \"x.f.example\"\nservers = [\"10.0.0.1\"]",
        &["warning 4:8 forward[0].zone: no query reaches the rule for `x.f.example`"],
    );
    check(
        "[[zone]]\nname = \"f.example\"\nrecursion_proxy = true\n[[forward]]\nzone = \"f.example\"\nservers = [\"10.0.0.1\"]",
        &[],
    );
    check(
        "[endpoints]\nregions = [\"us-west-1\"]",
        &["warning 2:12 endpoints.regions[0]: no popunify-vpc name is documented for ecs in us-west-1; \
             its API name is not mapped | set target = \"product-vpc\""],
    );
    check("[endpoints]\nregions = [\"us-west-1\"]\ntarget = \"product-vpc\"", &[]);
}

#[test]
fn expectations_are_read_as_values() {
    let row = |keys: &str| format!("[[expect]]\nquery = \"www.example\"\n{keys}");
    check(&row("answer = \"NXDOMAIN\""), &[]);
    check(&row("answer = [\"192.0.2.1\", \"CNAME a.example\"]\nclient = \"::1\""), &[]);
    check(&row("answer = \"NXDOMIAN\""), &["3:10 expect[0].answer: `NXDOMIAN` is not an IPv4 address"]);
    check(&row("type = \"AAA\"\nanswer = \"::1\""), &["3:8 expect[0].type: `AAA` is not a type of record"]);
    check(
        &row("client = \"me\"\nanswer = \"192.0.2.1\""),
        &["3:10 expect[0].client: `me` is not an address"],
    );
    check(
        "[[expect]]",
        &["1:1 expect[0]: [[expect]] needs a `query`", "1:1 expect[0]: [[expect]] needs a `answer`"],
    );
}

#[test]
fn faults_of_syntax_have_their_place_and_hide_only_what_follows() {
    check(
        "[server]\nudp_payload = 1\nlisten = [\n[cache]\nsze = 1",
        &[
            "2:15 server.udp_payload: 1 is out of range",
            "4:2 : invalid TOML: string values must be quoted, expected literal string | is the list before this line closed",
            "5:1 : invalid TOML: missing comma",
        ],
    );
    check("[cache]\nsize = 1MiB", &["2:8 : invalid TOML: "]);
    check(
        "[[zone]]\nname = z.example",
        &[
            "2:8 : invalid TOML: string values must be quoted, expected literal string | put text between quotes",
        ],
    );
    check(
        "[cache]\nsize = \"1MiB\"\nsize = \"2MiB\"\n[server]\nudp_payload = 1\n[[zone]]\n[cache]",
        &[
            "3:1 : `size` is there already | a key, or a section in single brackets, may occur only once",
            "5:15 server.udp_payload: 1 is out of range",
            "6:1 zone[0]: [[zone]] needs a `name`",
            "7:2 : `cache` is there already",
        ],
    );
}

#[test]
fn all_faults_of_a_file_are_told_in_its_order() {
    let text = "[server]\nlisten = [\"127.0.0.1:99999\"]\nudp_payload = 100\ncolor = true\n\n[upstream]\nservers = \"sytem\"\n\n\
                [[zone]]\nname = \"z..example\"\n\n[[zone.record]]\nname = \"@\"\ntype = \"A\"\nvalue = \"192.0.2\"\nttl = 61\n\n\
                [[zone]]\nname = \"y.example\"\nvpcs = [\"nowhere\"]\n\n[zne]\n";
    check(
        text,
        &[
            "2:11 server.listen[0]: `127.0.0.1:99999` is not an address",
            "3:15 server.udp_payload: 100 is out of range",
            "4:1 server.color: unknown key `color` in [server]",
            "7:11 upstream.servers: `servers` must be \"system\" or a list of servers, found the string \"sytem\"",
            "10:8 zone[0].name: `z..example` has an empty label",
            "15:9 zone[0].record[0].value: `192.0.2` is not an IPv4 address",
            "warning 16:7 zone[0].record[0].ttl: PrivateZone does not accept a TTL of 61",
            "20:9 zone[1].vpcs[0]: no VPC `nowhere` is configured",
            "22:2 zne: unknown section `zne` | did you mean `zone`?",
        ],
    );
}

#[test]
fn columns_count_characters() {
    check("[server]\nstate_dir = \"/数据\" # 数据\n[cache]\n'数据' = 1", &["4:1 cache.数据: unknown key"]);
    check("\r\n[server]\r\n\tudp_payload = 1\r\n", &["3:16 server.udp_payload: 1 is out of range"]);
}
