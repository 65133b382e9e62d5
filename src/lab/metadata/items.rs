//! What the metadata service says of an instance in a VPC, item by item, as the ECS documentation lists them.

use super::InstanceMetadata;
use crate::config::endpoints;
use crate::engine::sort;
use serde_json::json;
use std::collections::BTreeMap;

/// The id of the instance.
pub const INSTANCE_ID: &str = "i-pvtzdlab000000000000";

/// Its host name, and its instance name.
pub const HOST_NAME: &str = "pvtzd-lab";

/// Its type.
pub const INSTANCE_TYPE: &str = "ecs.t6-c1m1.large";

/// The id of its image.
pub const IMAGE_ID: &str = "pvtzd-lab";

/// The id of its network interface.
pub const NETWORK_INTERFACE_ID: &str = "eni-pvtzdlab000000000000";

/// The id of its vSwitch.
pub const VSWITCH_ID: &str = "vsw-pvtzdlab000000000000";

/// The block of its VPC, and that of its vSwitch.
pub const VPC_BLOCK: &str = "172.16.0.0/12";
/// See [`VPC_BLOCK`].
pub const VSWITCH_BLOCK: &str = "172.16.0.0/24";

/// Its serial number.
const SERIAL_NUMBER: &str = "7a1e0c52-1ab0-4b5e-9d0c-70767a64006c";

/// A public key to which there is no private key.
const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHB2dHpkLWxhYi1rZXktd2l0aG91dC1wcml2YXRlLWtl pvtzd-lab";

/// The time servers of a VPC.
const NTP_SERVERS: &str = "ntp1.aliyun.com\nntp2.aliyun.com\nntp3.aliyun.com\nntp4.aliyun.com\nntp5.aliyun.com\n\
                           ntp6.aliyun.com\nntp7.cloud.aliyuncs.com\nntp8.cloud.aliyuncs.com\n\
                           ntp9.cloud.aliyuncs.com\nntp10.cloud.aliyuncs.com\nntp11.cloud.aliyuncs.com\n\
                           ntp12.cloud.aliyuncs.com";

/// Items below a version, by their paths.
pub(super) type Items = BTreeMap<String, String>;

/// All items of an instance but its user data and its role's credentials.
pub(super) fn of(instance: &InstanceMetadata) -> Items {
    let InstanceMetadata { region, vpc, address, .. } = instance;
    let [.., third, fourth] = address.octets();
    let mac = format!("00:16:3e:00:{third:02x}:{fourth:02x}");
    let zone = endpoints::availability_zones(region).into_iter().next().unwrap_or_default();
    let address = address.to_string();
    let account = crate::lab::ACCOUNT;
    let document = json!({
        "zone-id": zone,
        "serial-number": SERIAL_NUMBER,
        "instance-id": INSTANCE_ID,
        "region-id": region,
        "private-ipv4": address,
        "owner-account-id": account,
        "mac": mac,
        "image-id": IMAGE_ID,
        "instance-type": INSTANCE_TYPE,
    });
    let basic: [(&str, &str); 23] = [
        ("dns-conf/nameservers", "100.100.2.136\n100.100.2.138"),
        ("hostname", HOST_NAME),
        ("image-id", IMAGE_ID),
        ("instance-id", INSTANCE_ID),
        ("instance/instance-name", HOST_NAME),
        ("instance/instance-type", INSTANCE_TYPE),
        ("instance/max-netbw-egress", "200000"),
        ("instance/max-netbw-ingress", "200000"),
        ("instance/virtualization-solution", "ECS Virt"),
        ("instance/virtualization-solution-version", "2.0"),
        ("mac", &mac),
        ("network-type", "vpc"),
        ("ntp-conf/ntp-servers", NTP_SERVERS),
        ("owner-account-id", account),
        ("private-ipv4", &address),
        ("public-keys/0/openssh-key", PUBLIC_KEY),
        ("region-id", region),
        ("serial-number", SERIAL_NUMBER),
        ("source-address", "http://mirrors.cloud.aliyuncs.com"),
        ("vpc-cidr-block", VPC_BLOCK),
        ("vpc-id", vpc),
        ("vswitch-id", VSWITCH_ID),
        ("zone-id", &zone),
    ];
    let own = format!("[\"{address}\"]");
    let interface: [(&str, &str); 9] = [
        ("gateway", "172.16.0.253"),
        ("netmask", "255.255.255.0"),
        ("network-interface-id", NETWORK_INTERFACE_ID),
        ("primary-ip-address", &address),
        ("private-ipv4s", &own),
        ("vpc-cidr-block", VPC_BLOCK),
        ("vpc-id", vpc),
        ("vswitch-cidr-block", VSWITCH_BLOCK),
        ("vswitch-id", VSWITCH_ID),
    ];
    let mut items: Items = sort::map(basic.map(|(name, value)| (format!("meta-data/{name}"), value.into())));
    items.insert("meta-data/vswitch-cidr-block".into(), VSWITCH_BLOCK.into());
    items.insert("dynamic/instance-identity/document".into(), document.to_string());
    let folder = format!("meta-data/network/interfaces/macs/{mac}");
    items.extend(interface.map(|(name, value)| (format!("{folder}/{name}"), value.into())));
    items
}

/// An item; or what is below a folder, a line each, folders with a slash at their end.
pub(super) fn find(items: &Items, path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    if let Some(value) = items.get(path) {
        return Some(value.clone());
    }
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    let below = items.range(folder.clone()..).map_while(|(key, _)| key.strip_prefix(folder.as_str()));
    let mut lines: Vec<String> = below
        .map(|rest| rest.split_once('/').map_or(rest.into(), |(first, _)| format!("{first}/")))
        .collect();
    lines.dedup();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
