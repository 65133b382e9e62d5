//! The stub of the APIs that a client of the recipe calls: ECS `DescribeRegions`, and what SDKs and tools ask
//! beside it, the location service and STS. It knows no instances and changes nothing.
//!
//! Keys, times and signatures are the gateway's business, as with PrivateZone's own API.

use super::regions;
use crate::config::endpoints;
use crate::control::{Answer, ApiError, Call, Service};
use serde_json::{Map, Value, json};

/// The version of ECS.
const ECS: &str = "2014-05-26";
/// The version of the location service.
const LOCATION: &str = "2015-06-12";
/// The version of STS.
const STS: &str = "2015-04-01";

/// The account that every key of the lab belongs to.
pub(super) const ACCOUNT: &str = "1000000000000000";
/// The user of that account that signs.
const USER: &str = "200000000000000000";

/// The stub.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stub;

impl Service for Stub {
    fn serves_version(&self, version: &str) -> bool {
        [ECS, LOCATION, STS].contains(&version)
    }

    async fn call(&self, call: Call) -> Answer {
        let is =
            |version: &str, action: &str| call.version == version && call.action.eq_ignore_ascii_case(action);
        if is(ECS, "DescribeRegions") {
            Ok(regions::all())
        } else if is(ECS, "DescribeInstances") {
            no_instances(&call)
        } else if is(LOCATION, "DescribeEndpoints") {
            endpoints_of(&call)
        } else if is(STS, "GetCallerIdentity") {
            Ok(caller())
        } else {
            Err(ApiError::unknown_action())
        }
    }
}

/// `DescribeInstances`: a page of nothing.
fn no_instances(call: &Call) -> Answer {
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

/// `DescribeEndpoints`: where a product's API is in a region. The misspelt field is the service's own.
fn endpoints_of(call: &Call) -> Answer {
    let (region, product) = (call.params.required("Id")?, call.params.required("ServiceCode")?);
    let kind = call.params.text("Type").unwrap_or("openAPI");
    if !endpoints::regions().iter().any(|known| known == region) {
        return Err(ApiError::new("InvalidRegionId", "The specified region does not exist.").with_status(404));
    }
    let endpoint = endpoints::public_name(&product.to_ascii_lowercase(), region)
        .ok_or_else(|| ApiError::new("Illegal Parameter", "Please check the parameters"))?;
    // As the service has it: the first region's API has a name from before there were others.
    let endpoint = match (product.to_ascii_lowercase().as_str(), region) {
        ("ecs", "cn-hangzhou") => "ecs-cn-hangzhou.aliyuncs.com".to_string(),
        _ => endpoint,
    };
    Ok(fields(json!({
        "Success": true,
        "Endpoints": { "Endpoint": [{
            "Id": region,
            "Type": kind,
            "Namespace": "",
            "SerivceCode": product,
            "Endpoint": endpoint,
            "Protocols": { "Protocols": ["HTTP", "HTTPS"] },
        }]},
    })))
}

/// `GetCallerIdentity`: who signed.
fn caller() -> Map<String, Value> {
    fields(json!({
        "AccountId": ACCOUNT,
        "UserId": USER,
        "PrincipalId": USER,
        "IdentityType": "RAMUser",
        "Arn": format!("acs:ram::{ACCOUNT}:user/pvtzd-lab"),
    }))
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
    use crate::control::Params;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::UNIX_EPOCH;

    async fn call(version: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        let params: Params = params.iter().copied().collect();
        let call = Call {
            action: action.into(),
            version: version.into(),
            params,
            access_key: "LABx".into(),
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
        assert_eq!(call(STS, "DescribeRegions", &[]).await.unwrap_err().code, "InvalidAction.NotFound");
        assert_eq!(call(ECS, "RunInstances", &[]).await.unwrap_err().code, "InvalidAction.NotFound");
        assert!(!Stub.serves_version("2018-01-01"));
    }

    #[tokio::test]
    async fn the_location_service_answers_as_sdk_cores_expect() {
        let ask = async |region, product| {
            call(
                LOCATION,
                "DescribeEndpoints",
                &[("Id", region), ("ServiceCode", product), ("Type", "openAPI")],
            )
            .await
        };
        let first = |answer: Answer| answer.unwrap()["Endpoints"]["Endpoint"][0].clone();
        let found = first(ask("cn-hangzhou", "ecs").await);
        assert_eq!(found["Endpoint"], "ecs-cn-hangzhou.aliyuncs.com");
        assert_eq!((&found["SerivceCode"], &found["Type"]), (&json!("ecs"), &json!("openAPI")));
        assert_eq!(first(ask("cn-beijing", "ecs").await)["Endpoint"], "ecs.cn-beijing.aliyuncs.com");
        let region = ask("cn-nowhere", "ecs").await.unwrap_err();
        assert_eq!(
            (region.code.as_ref(), region.message.as_ref()),
            ("InvalidRegionId", "The specified region does not exist.")
        );
        let product = ask("cn-beijing", "nothing").await.unwrap_err();
        assert_eq!(
            (product.code.as_ref(), product.message.as_ref()),
            ("Illegal Parameter", "Please check the parameters")
        );
    }

    #[tokio::test]
    async fn who_calls_and_which_instances_there_are() {
        let identity = call(STS, "GetCallerIdentity", &[]).await.unwrap();
        assert!(identity["Arn"].as_str().unwrap().contains(ACCOUNT));
        let page =
            call(ECS, "DescribeInstances", &[("RegionId", "cn-beijing"), ("PageSize", "50")]).await.unwrap();
        assert_eq!((&page["TotalCount"], &page["PageSize"]), (&json!(0), &json!(50)));
        assert_eq!(call(ECS, "DescribeInstances", &[]).await.unwrap_err().code, "MissingRegionId");
    }
}
