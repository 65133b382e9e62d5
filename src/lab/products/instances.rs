//! ECS 2014-05-26: regions, zones, and the one instance that there may be, on which the command of `pvtzd lab exec` runs.

use super::common::{Page, fields, matches, region, time};
use crate::api::{ActionAnswer, ApiError, Call, Params};
use crate::config::endpoints;
use crate::lab::metadata::items::{
    HOST_NAME, IMAGE_ID, INSTANCE_ID, INSTANCE_TYPE, NETWORK_INTERFACE_ID, VSWITCH_ID,
};
use crate::lab::regions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Ids in one request.
const MAX_IDS: usize = 100;

/// The instance that the command runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabInstance {
    /// Its region.
    pub region: String,
    /// Its VPC.
    pub vpc: String,
    /// Its address.
    pub address: Ipv4Addr,
}

impl LabInstance {
    /// Its private names: that of its id, and that of its address.
    pub fn names(&self) -> [String; 2] {
        let [a, b, c, d] = self.address.octets();
        let region = &self.region;
        [format!("{INSTANCE_ID}.{region}.ecs.internal"), format!("ip-{a}-{b}-{c}-{d}.{region}.ecs.internal")]
    }

    /// Its availability zone: the first of its region, in which its vSwitch lies.
    fn zone(&self) -> String {
        endpoints::availability_zones(&self.region).into_iter().next().unwrap_or_default()
    }
}

/// `DescribeRegions`
pub(super) fn regions(_: &Call) -> ActionAnswer {
    Ok(regions::all())
}

/// `DescribeZones`
pub(super) fn zones(call: &Call) -> ActionAnswer {
    let region = region(&call.params)?;
    let zone = |id: String| {
        json!({
            "ZoneId": id, "LocalName": id, "ZoneType": "AvailabilityZone",
            "AvailableResourceCreation": { "ResourceTypes": ["VSwitch", "IoOptimized", "Instance", "Disk"] },
            "AvailableInstanceTypes": { "InstanceTypes": [INSTANCE_TYPE] },
            "AvailableDiskCategories": { "DiskCategories": ["cloud_efficiency", "cloud_ssd", "cloud_essd"] },
            "AvailableVolumeCategories": { "VolumeCategories": [] },
            "AvailableDedicatedHostTypes": { "DedicatedHostType": [] },
            "DedicatedHostGenerations": { "DedicatedHostGeneration": [] },
            "AvailableResources": { "ResourcesInfo": [] },
        })
    };
    let zones: Vec<Value> = endpoints::availability_zones(&region).into_iter().map(zone).collect();
    Ok(fields(json!({ "Zones": { "Zone": zones } })))
}

/// `DescribeInstances`
pub(super) fn instances(here: Option<&LabInstance>, call: &Call) -> ActionAnswer {
    let params = &call.params;
    let region = region(params)?;
    let page = Page::of(params, 100)?;
    let (ids, addresses) = (id_list(params, "InstanceIds")?, id_list(params, "PrivateIpAddresses")?);
    let is_meant = |instance: &&LabInstance| {
        let filters = [
            ("VpcId", instance.vpc.as_str()),
            ("VSwitchId", VSWITCH_ID),
            ("ZoneId", &instance.zone()),
            ("InstanceName", HOST_NAME),
            ("InstanceType", INSTANCE_TYPE),
            ("ImageId", IMAGE_ID),
            ("Status", "Running"),
            ("InstanceNetworkType", "vpc"),
            ("SecurityGroupId", ""),
        ];
        instance.region == region
            && filters.iter().all(|(parameter, has)| matches(params, parameter, has))
            && ids.as_ref().is_none_or(|ids| ids.contains(INSTANCE_ID))
            && addresses.as_ref().is_none_or(|list| list.contains(&instance.address.to_string()))
            && params.items("Tag").is_empty()
    };
    let shown = here.into_iter().filter(is_meant).map(shape).collect();
    let mut answer = page.answer("Instances", "Instance", shown);
    answer.insert("NextToken".into(), "".into());
    Ok(answer)
}

fn shape(instance: &LabInstance) -> Value {
    let LabInstance { region, vpc, address, .. } = instance;
    let [.., third, fourth] = address.octets();
    let network = json!({
        "VpcAttributes": {
            "VpcId": vpc, "VSwitchId": VSWITCH_ID, "NatIpAddress": "",
            "PrivateIpAddress": { "IpAddress": [address.to_string()] },
        },
        "NetworkInterfaces": { "NetworkInterface": [{
            "NetworkInterfaceId": NETWORK_INTERFACE_ID, "PrimaryIpAddress": address.to_string(), "Type": "Primary",
            "MacAddress": format!("00:16:3e:00:{third:02x}:{fourth:02x}"),
            "PrivateIpSets": { "PrivateIpSet": [{ "PrivateIpAddress": address.to_string(), "Primary": true }] },
        }] },
        "PublicIpAddress": { "IpAddress": [] }, "InnerIpAddress": { "IpAddress": [] },
        "EipAddress": { "AllocationId": "", "IpAddress": "", "InternetChargeType": "" },
        "SecurityGroupIds": { "SecurityGroupId": [] }, "OperationLocks": { "LockReason": [] },
    });
    let machine = json!({
        "InstanceType": INSTANCE_TYPE, "ImageId": IMAGE_ID, "InstanceTypeFamily": "ecs.t6", "Cpu": 2, "Memory": 1024,
        "OSType": "linux", "OSName": "Linux", "IoOptimized": true, "Recyclable": false, "DeviceAvailable": true,
        "InternetMaxBandwidthIn": 0, "InternetMaxBandwidthOut": 0, "SerialNumber": "",
    });
    let mut shown = fields(json!({
        "InstanceId": INSTANCE_ID, "InstanceName": HOST_NAME, "HostName": HOST_NAME, "Description": "",
        "RegionId": region, "ZoneId": instance.zone(), "Status": "Running", "InstanceNetworkType": "vpc",
        "InstanceChargeType": "PostPaid", "InternetChargeType": "PayByTraffic", "CreationTime": time(0),
        "StartTime": time(0), "ExpiredTime": "", "StoppedMode": "Not-applicable", "Tags": { "Tag": [] },
        "ResourceGroupId": super::resource_group::DEFAULT_GROUP,
    }));
    shown.extend(fields(network));
    shown.extend(fields(machine));
    Value::Object(shown)
}

/// A parameter that is a JSON list of texts.
pub(super) fn id_list(params: &Params, parameter: &str) -> Result<Option<BTreeSet<String>>, ApiError> {
    let Some(text) = params.text(parameter) else { return Ok(None) };
    let list: Option<Vec<String>> = serde_json::from_slice(text.as_bytes()).ok();
    match list.filter(|list| list.len() <= MAX_IDS) {
        Some(list) => Ok(Some(list.into_iter().collect())),
        None => {
            let why = format!("The specified {parameter} is no JSON list of at most {MAX_IDS} texts.");
            Err(ApiError::new(format!("Invalid{parameter}.Malformed"), why))
        }
    }
}
