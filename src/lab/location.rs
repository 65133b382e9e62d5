//! The location service 2015-06-12: in which region a product's API has which name.

use crate::api::{ActionAnswer, ApiError, Call};
use crate::config::endpoints;
use serde_json::{Map, Value, json};

/// The version.
pub const VERSION: &str = "2015-06-12";

/// Products of the lab that are not in the catalogue: what clients call them, and their public names. No name inside a
/// VPC is known for them.
const PRODUCTS: [(&str, &str); 6] = [
    ("location", "location.aliyuncs.com"),
    ("location", "location-readonly.aliyuncs.com"),
    ("resourcemanager", "resourcemanager.aliyuncs.com"),
    ("bssopenapi", "business.aliyuncs.com"),
    ("bssopenapi", "business.ap-southeast-1.aliyuncs.com"),
    ("alidns", "alidns.aliyuncs.com"),
];

/// The public names of the products that are not in the catalogue.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRODUCTS.iter().map(|(_, name)| *name)
}

/// `DescribeEndpoints`. The misspelt field is the service's own.
pub(super) fn describe_endpoints(call: &Call) -> ActionAnswer {
    let (region, product) = (call.params.required("Id")?, call.params.required("ServiceCode")?);
    let kind = call.params.text("Type").unwrap_or("openAPI");
    if !endpoints::regions().iter().any(|known| known == region) {
        return Err(ApiError::new("InvalidRegionId", "The specified region does not exist.").with_status(404));
    }
    let code = product.to_ascii_lowercase();
    let elsewhere = PRODUCTS.iter().find(|(known, _)| *known == code).map(|(_, name)| name.to_string());
    let endpoint = match (code.as_str(), region) {
        // As the service has it: the first region's API has a name from before there were others.
        ("ecs", "cn-hangzhou") => Some("ecs-cn-hangzhou.aliyuncs.com".to_string()),
        _ => endpoints::public_name(&code, region).or(elsewhere),
    };
    let endpoint =
        endpoint.ok_or_else(|| ApiError::new("Illegal Parameter", "Please check the parameters"))?;
    let answer = json!({
        "Success": true,
        "Endpoints": { "Endpoint": [{
            "Id": region,
            "Type": kind,
            "Namespace": "",
            "SerivceCode": product,
            "Endpoint": endpoint,
            "Protocols": { "Protocols": ["HTTP", "HTTPS"] },
        }]},
    });
    match answer {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Params;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::UNIX_EPOCH;

    fn ask(region: &str, product: &str) -> ActionAnswer {
        let params: Params =
            [("Id", region), ("ServiceCode", product), ("Type", "openAPI")].into_iter().collect();
        describe_endpoints(&Call {
            action: "DescribeEndpoints".into(),
            version: VERSION.into(),
            params,
            access_key: "LABx".into(),
            security_token: None,
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "location-readonly.aliyuncs.com".into(),
            now: UNIX_EPOCH,
        })
    }

    #[test]
    fn it_answers_as_sdk_cores_expect() {
        let first = |answer: ActionAnswer| answer.unwrap()["Endpoints"]["Endpoint"][0].clone();
        let found = first(ask("cn-hangzhou", "ecs"));
        assert_eq!(found["Endpoint"], "ecs-cn-hangzhou.aliyuncs.com");
        assert_eq!((&found["SerivceCode"], &found["Type"]), (&json!("ecs"), &json!("openAPI")));
        for (product, name) in [
            ("ecs", "ecs.cn-beijing.aliyuncs.com"),
            ("vpc", "vpc.cn-beijing.aliyuncs.com"),
            ("r-kvstore", "r-kvstore.cn-beijing.aliyuncs.com"),
            ("Sts", "sts.cn-beijing.aliyuncs.com"),
            ("pvtz", "pvtz.aliyuncs.com"),
            ("resourcemanager", "resourcemanager.aliyuncs.com"),
            ("BssOpenApi", "business.aliyuncs.com"),
            ("alidns", "alidns.aliyuncs.com"),
        ] {
            assert_eq!(first(ask("cn-beijing", product))["Endpoint"], name);
        }
    }

    #[test]
    fn a_region_or_a_product_that_is_not_there_is_refused() {
        let region = ask("cn-nowhere", "ecs").unwrap_err();
        assert_eq!(
            (region.code.as_ref(), region.message.as_ref()),
            ("InvalidRegionId", "The specified region does not exist.")
        );
        let product = ask("cn-beijing", "nothing").unwrap_err();
        assert_eq!(
            (product.code.as_ref(), product.message.as_ref()),
            ("Illegal Parameter", "Please check the parameters")
        );
    }
}
