//! The regions as `DescribeRegions` lists them: ids of the catalogue, with the names that people know them by.

use crate::config::endpoints;
use serde_json::{Map, Value, json};

/// What the regions are called in English.
const NAMES: [(&str, &str); 40] = [
    ("ap-northeast-1", "Japan (Tokyo)"),
    ("ap-northeast-2", "South Korea (Seoul)"),
    ("ap-south-1", "India (Mumbai) Closed Down"),
    ("ap-southeast-1", "Singapore"),
    ("ap-southeast-2", "Australia (Sydney) Closed Down"),
    ("ap-southeast-3", "Malaysia (Kuala Lumpur)"),
    ("ap-southeast-5", "Indonesia (Jakarta)"),
    ("ap-southeast-6", "Philippines (Manila)"),
    ("ap-southeast-7", "Thailand (Bangkok)"),
    ("ap-southeast-8", "Malaysia (Johor)"),
    ("cn-beijing", "China (Beijing)"),
    ("cn-beijing-finance-1", "China (Beijing) Finance"),
    ("cn-chengdu", "China (Chengdu)"),
    ("cn-fuzhou", "China (Fuzhou) Closing Down"),
    ("cn-guangzhou", "China (Guangzhou)"),
    ("cn-hangzhou", "China (Hangzhou)"),
    ("cn-heyuan", "China (Heyuan)"),
    ("cn-heyuan-acdr-1", "China (Heyuan ACDR)"),
    ("cn-hongkong", "China (Hong Kong)"),
    ("cn-huhehaote", "China (Hohhot)"),
    ("cn-nanjing", "China (Nanjing) Closing Down"),
    ("cn-north-2-gov-1", "China North 2 Ali Gov 1"),
    ("cn-qingdao", "China (Qingdao)"),
    ("cn-shanghai", "China (Shanghai)"),
    ("cn-shanghai-finance-1", "China (Shanghai) Finance"),
    ("cn-shenzhen", "China (Shenzhen)"),
    ("cn-shenzhen-finance-1", "China (Shenzhen) Finance"),
    ("cn-wuhan-lr", "China (Wuhan)"),
    ("cn-wulanchabu", "China (Ulanqab)"),
    ("cn-zhangjiakou", "China (Zhangjiakou)"),
    ("cn-zhengzhou-jva", "China (Zhengzhou)"),
    ("cn-zhongwei", "China (Zhongwei)"),
    ("eu-central-1", "Germany (Frankfurt)"),
    ("eu-west-1", "UK (London)"),
    ("me-central-1", "Saudi Arabia (Riyadh)"),
    ("me-east-1", "UAE (Dubai)"),
    ("na-south-1", "Mexico"),
    ("us-east-1", "US (Virginia)"),
    ("us-southeast-1", "US (Atlanta)"),
    ("us-west-1", "US (Silicon Valley)"),
];

/// One region as the API describes it.
fn describe(region: &str) -> Value {
    let name = NAMES.iter().find(|(id, _)| *id == region).map_or(region, |(_, name)| name);
    json!({
        "RegionId": region,
        "LocalName": name,
        "RegionEndpoint": endpoints::public_name("ecs", region).unwrap_or_default(),
        "Status": "available",
    })
}

/// `Regions` of the answer to `DescribeRegions`.
pub(super) fn all() -> Map<String, Value> {
    let list: Vec<Value> = endpoints::regions().iter().map(|region| describe(region)).collect();
    let mut fields = Map::new();
    fields.insert("Regions".into(), json!({ "Region": list }));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_of_the_catalogue_has_a_name() {
        let ids: Vec<&str> = NAMES.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, endpoints::regions());
        assert_eq!(describe("cn-hangzhou")["RegionEndpoint"], "ecs.cn-hangzhou.aliyuncs.com");
    }
}
