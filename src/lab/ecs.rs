//! The stub of the API that a client of the recipe calls: ECS `DescribeRegions`. It knows no instances and changes
//! nothing.
//!
//! Keys, times and signatures are the gateway's business, as with PrivateZone's own API.

use super::regions;
use crate::api::{ActionAnswer, ApiError, ApiService, Call};
use serde_json::{Map, Value, json};

/// The version of ECS.
const ECS: &str = "2014-05-26";

/// The account that every key of the lab belongs to.
pub(super) const ACCOUNT: &str = "1000000000000000";

/// The stub.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stub;

impl ApiService for Stub {
    fn serves_version(&self, version: &str) -> bool {
        version == ECS
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        let is =
            |version: &str, action: &str| call.version == version && call.action.eq_ignore_ascii_case(action);
        if is(ECS, "DescribeRegions") {
            Ok(regions::all())
        } else if is(ECS, "DescribeInstances") {
            no_instances(&call)
        } else {
            Err(ApiError::unknown_action())
        }
    }
}

/// `DescribeInstances`: a page of nothing.
fn no_instances(call: &Call) -> ActionAnswer {
    call.params.required("RegionId")?;
    let page = call.params.integer("PageNumber", 1..=u64::from(u32::MAX))?.unwrap_or(1);
    let size = call.params.integer("PageSize", 1..=100)?.unwrap_or(10);
    Ok(fields(json!({
        "TotalCount": 0,
        "PageNumber": page,
        "PageSize": size,
        "NextToken": "",
        "Instances": { "Instance": [] },
    })))
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Params;
    use crate::config::endpoints;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::UNIX_EPOCH;

    async fn call(version: &str, action: &str, params: &[(&str, &str)]) -> ActionAnswer {
        let params: Params = params.iter().copied().collect();
        let call = Call {
            action: action.into(),
            version: version.into(),
            params,
            access_key: "LABx".into(),
            security_token: None,
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "ecs.cn-hangzhou.aliyuncs.com".into(),
            now: UNIX_EPOCH,
        };
        Stub.call(call).await
    }

    #[tokio::test]
    async fn regions_are_described_whatever_the_case_of_the_action() {
        for action in ["DescribeRegions", "describeregions"] {
            let answer = call(ECS, action, &[]).await.unwrap();
            let list = answer["Regions"]["Region"].as_array().unwrap();
            assert_eq!(list.len(), endpoints::regions().len());
            assert!(list.iter().all(|region| region["RegionEndpoint"].as_str().unwrap().starts_with("ecs.")));
        }
    }

    #[tokio::test]
    async fn an_action_belongs_to_its_version() {
        assert_eq!(
            call("2015-04-01", "DescribeRegions", &[]).await.unwrap_err().code,
            "InvalidAction.NotFound"
        );
        assert_eq!(call(ECS, "RunInstances", &[]).await.unwrap_err().code, "InvalidAction.NotFound");
        assert!(!Stub.serves_version("2018-01-01"));
    }

    #[tokio::test]
    async fn which_instances_there_are() {
        let page =
            call(ECS, "DescribeInstances", &[("RegionId", "cn-beijing"), ("PageSize", "50")]).await.unwrap();
        assert_eq!((&page["TotalCount"], &page["PageSize"]), (&json!(0), &json!(50)));
        assert_eq!(call(ECS, "DescribeInstances", &[]).await.unwrap_err().code, "MissingRegionId");
    }
}
