//! What the metadata service tells, and to whom.

use super::*;
use crate::api::AccessKey;
use crate::api::temporary::TemporaryKeys;
use crate::config;
use crate::host::metadata::instance;
use crate::lab::credentials::Issuer;
use serde_json::Value;

fn metadata(hardened: bool) -> Metadata {
    with(hardened, None, None)
}

fn with(hardened: bool, user_data: Option<&[u8]>, role: Option<Role>) -> Metadata {
    let (region, vpc, address) = ("cn-hangzhou".into(), "vpc-lab".into(), Ipv4Addr::new(172, 16, 0, 10));
    let user_data = user_data.map(<[u8]>::to_vec);
    Metadata::new(&InstanceMetadata { region, vpc, address, hardened, user_data }, role)
}

/// The same moment by both clocks.
fn at(seconds: u64) -> (Instant, SystemTime) {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let since = Duration::from_secs(seconds);
    (*START + since, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_389_098) + since)
}

fn request(
    metadata: &Metadata,
    method: Method,
    path: &str,
    header: &[(&'static str, &str)],
    at: (Instant, SystemTime),
) -> (u16, String) {
    let headers =
        header.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let (status, text) = metadata.answer(&method, path, &headers, at);
    (status.as_u16(), String::from_utf8(text.to_vec()).unwrap())
}

#[test]
fn items_and_folders_are_told() {
    let (metadata, now) = (metadata(false), at(0));
    let get = |path: &str| request(&metadata, Method::GET, path, &[], now);
    assert_eq!(get("/latest/meta-data/vpc-id"), (200, "vpc-lab".into()));
    assert_eq!(get("/latest/meta-data/private-ipv4").1, "172.16.0.10");
    assert_eq!(
        get("/latest/meta-data/instance/").1,
        "instance-name\ninstance-type\nmax-netbw-egress\nmax-netbw-ingress\n\
         virtualization-solution\nvirtualization-solution-version"
    );
    assert!(get("/latest/meta-data/").1.contains("\ninstance/\n"));
    assert_eq!(get("/latest/meta-data").1, get("/latest/meta-data/").1);
    assert_eq!(get("/latest/meta-data/eipv4").0, 404);
    assert_eq!(request(&metadata, Method::POST, "/latest/meta-data/vpc-id", &[], now).0, 405);
}

#[test]
fn a_token_counts_until_it_ends() {
    let (metadata, now) = (metadata(true), at(0));
    let life = "x-aliyun-ecs-metadata-token-ttl-seconds";
    let put = |value| request(&metadata, Method::PUT, "/latest/api/token", &[(life, value)], now);
    assert_eq!(put("0").0, 400);
    assert_eq!(put("21601").0, 400);
    let (status, token) = put("60");
    assert_eq!(status, 200);
    let get = |token: &str, at| {
        let header = [("x-aliyun-ecs-metadata-token", token)];
        request(&metadata, Method::GET, "/latest/meta-data/region-id", &header, at).0
    };
    assert_eq!(get(&token, now), 200);
    assert_eq!(get("another", now), 403);
    assert_eq!(get("", now), 403);
    assert_eq!(get(&token, at(60)), 403);
}

#[tokio::test]
async fn the_sidecar_learns_from_it_where_it_is() {
    let expected =
        config::InstanceInfo { region: Some("cn-hangzhou".into()), vpc_id: Some("vpc-lab".into()) };
    for hardened in [false, true] {
        let mut tasks = JoinSet::new();
        let any = Some("127.0.0.1:0".parse().unwrap());
        let address = serve(metadata(hardened), any, &mut tasks).await.unwrap();
        assert_eq!(instance(address).await.unwrap(), expected);
    }
}

#[test]
fn both_versions_have_the_same_items_and_no_others() {
    let metadata = metadata(false);
    let get = |path: &str| request(&metadata, Method::GET, path, &[], at(0));
    assert_eq!(get("/"), (200, "2016-01-01/\nlatest/".into()));
    for version in VERSIONS {
        let get = |path: &str| get(&format!("/{version}{path}"));
        assert_eq!(get(""), (200, "dynamic/\nmeta-data/".into()));
        assert_eq!(get("/").1, get("").1);
        let document: Value = serde_json::from_str(&get("/dynamic/instance-identity/document").1).unwrap();
        assert_eq!(document["instance-id"], get("/meta-data/instance-id").1);
        assert_eq!(document["zone-id"], "cn-hangzhou-b");
        let macs = get("/meta-data/network/interfaces/macs/").1;
        assert_eq!(macs, "00:16:3e:00:00:0a/");
        assert_eq!(get(&format!("/meta-data/network/interfaces/macs/{macs}netmask")).1, "255.255.255.0");
        assert_eq!(get("/meta-data/public-keys/").1, "0/");
        assert!(get("/meta-data/public-keys/0/openssh-key").1.starts_with("ssh-ed25519 "));
        assert!(get("/meta-data/ntp-conf/ntp-servers").1.starts_with("ntp1.aliyun.com\n"));
        assert_eq!(get("/meta-data/serial-number").0, 200);
        for none in [
            "/meta-data/eipv4",
            "/meta-data/public-ipv4",
            "/meta-data/ram/security-credentials/",
            "/user-data",
            "/dynamic/instance-identity/pkcs7",
            "/meta-data/vpc",
        ] {
            assert_eq!(get(none).0, 404, "{none}");
        }
    }
    for none in ["/2015-01-01/meta-data/", "/latest2/meta-data/vpc-id", "/meta-data/vpc-id", "//latest", "*"]
    {
        assert_eq!(get(none).0, 404, "{none}");
    }
}

#[test]
fn every_line_of_a_folder_leads_somewhere() {
    let role = Role::new("app".into(), Issuer::new(&AccessKey::new("LABx", "s")), Duration::from_secs(60));
    let metadata = with(false, Some(b"data"), Some(role));
    let mut folders = vec!["/".to_string()];
    let mut items = 0;
    while let Some(folder) = folders.pop() {
        let (status, text) = request(&metadata, Method::GET, &folder, &[], at(0));
        assert_eq!(status, 200, "{folder}");
        for line in text.lines() {
            match line.ends_with('/') {
                true => folders.push(format!("{folder}{line}")),
                false => {
                    items += 1;
                    let path = format!("{folder}{line}");
                    assert_eq!(request(&metadata, Method::GET, &path, &[], at(0)).0, 200, "{path}");
                }
            }
        }
    }
    assert!(items > 60, "{items}");
}

#[test]
fn user_data_is_told_as_it_is() {
    let metadata = with(false, Some(b"#!/bin/sh\n\xff"), None);
    let (status, body) = metadata.answer(&Method::GET, "/latest/user-data", &HeaderMap::new(), at(0));
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"#!/bin/sh\n\xff"[..]));
    assert!(request(&metadata, Method::GET, "/latest/", &[], at(0)).1.ends_with("\nuser-data"));
}

#[test]
fn a_role_has_new_credentials_before_the_former_end() {
    let issuer = || Issuer::new(&AccessKey::new("LABx", "secret"));
    let metadata = with(false, None, Some(Role::new("app".into(), issuer(), Duration::from_secs(60))));
    let get = |path: &str, now| request(&metadata, Method::GET, path, &[], now);
    let roles = "/latest/meta-data/ram/security-credentials/";
    assert_eq!(get(roles, at(0)), (200, "app".into()));
    assert_eq!(get(&format!("{roles}other"), at(0)).0, 404);
    let credentials = |now| -> Value { serde_json::from_str(&get(&format!("{roles}app"), now).1).unwrap() };
    let first = credentials(at(0));
    assert_eq!((&first["Code"], &first["Expiration"]), (&"Success".into(), &"2026-11-22T23:12:38Z".into()));
    assert_eq!(credentials(at(29)), first);
    let second = credentials(at(30));
    assert_ne!(second["SecurityToken"], first["SecurityToken"]);
    for (one, until) in [(&first, 59), (&second, 89)] {
        let text = |name: &str| one[name].as_str().unwrap();
        let good = issuer().secret(text("AccessKeyId"), Some(text("SecurityToken")), at(until).1);
        assert_eq!(good.unwrap().as_deref(), Some(text("AccessKeySecret")));
        assert!(issuer().secret(text("AccessKeyId"), Some(text("SecurityToken")), at(until + 1).1).is_err());
    }
    assert_ne!(credentials(at(20)), second, "the clock was set back");
}
