//! What tools ask about the account: resource groups (ResourceManager 2020-03-31), bills (BssOpenApi 2017-12-14), public
//! domains (AliDNS 2015-01-09). There are two groups, no bills and no domains.

use super::common::{Page, fields, matches};
use super::resource_group::{GROUPS, no_group};
use crate::api::{ActionAnswer, ApiError, Call};
use crate::config::endpoints;
use crate::lab::ACCOUNT;
use serde_json::{Value, json};

/// When the resource groups were made.
const CREATED: &str = "2024-01-01T08:00:00+08:00";

/// `ListResourceGroups`
pub(super) fn list_groups(call: &Call) -> ActionAnswer {
    let params = &call.params;
    let page = Page::of(params, 100)?;
    let ids = params.values("ResourceGroupIds");
    let shown = GROUPS.iter().filter(|(id, name, display)| {
        let filters = [("ResourceGroupId", id), ("Name", name), ("DisplayName", display), ("Status", &"OK")];
        filters.iter().all(|(parameter, has)| matches(params, parameter, has))
            && (ids.is_empty() || ids.contains(id))
    });
    let shown = shown.map(group).collect();
    Ok(page.answer("ResourceGroups", "ResourceGroup", shown))
}

/// `GetResourceGroup`
pub(super) fn get_group(call: &Call) -> ActionAnswer {
    let id = call.params.required("ResourceGroupId")?;
    let found = GROUPS.iter().find(|(known, ..)| *known == id).ok_or_else(no_group)?;
    let mut shown = group(found);
    let regions: Vec<Value> =
        endpoints::regions().iter().map(|region| json!({ "RegionId": region, "Status": "OK" })).collect();
    shown["RegionStatuses"] = json!({ "RegionStatus": regions });
    Ok(fields(json!({ "ResourceGroup": shown })))
}

fn group((id, name, display): &(&str, &str, &str)) -> Value {
    json!({
        "Id": id, "Name": name, "DisplayName": display, "Status": "OK", "AccountId": ACCOUNT,
        "CreateDate": CREATED,
    })
}

/// `QueryAvailableInstances`: nothing was bought.
pub(super) fn query_available_instances(call: &Call) -> ActionAnswer {
    let number =
        |name: &str, default| Ok::<_, ApiError>(call.params.integer(name, 1..=300)?.unwrap_or(default));
    let (page, size) = (number("PageNum", 1)?, number("PageSize", 20)?);
    Ok(fields(json!({
        "Message": "Successful!", "Success": true,
        "Data": { "PageNum": page, "PageSize": size, "TotalCount": 0, "InstanceList": [] },
    })))
}

/// `CreateInstance`: PrivateZone is open already, and nothing else is sold.
pub(super) fn create_instance(call: &Call) -> ActionAnswer {
    match call.params.required("ProductCode")? {
        "pvtz" => Err(ApiError::new("ORDER.OPEND", "The service has been opened.")),
        _ => Err(ApiError::new("InvalidParameter.ProductCode", "The lab sells nothing but pvtz.")),
    }
}

/// `DescribeDomains`: no public domains.
pub(super) fn describe_domains(call: &Call) -> ActionAnswer {
    let page = Page::of(&call.params, 100)?;
    Ok(page.answer("Domains", "Domain", Vec::new()))
}
