//! The zone that a command names, and who sees it.

use super::{ApiCommands, CommandFailure, text};
use serde_json::Value;
use std::collections::HashMap;

/// A zone that a command names.
pub(super) struct FoundItem {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
}

/// The zone of a name or an id.
pub(super) fn zone(api: &ApiCommands, word: &str) -> Result<FoundItem, CommandFailure> {
    let name = word.strip_suffix('.').unwrap_or(word).to_lowercase();
    let zones =
        api.pages("DescribeZones", &[("Keyword", &name), ("SearchMode", "EXACT")], &["Zones", "Zone"])?;
    if let [zone] = &zones[..] {
        return Ok(FoundItem { id: text(zone, "ZoneId"), name: text(zone, "ZoneName") });
    }
    if zones.len() > 1 {
        let bound = bindings(api)?;
        let ids = zones.iter().map(|zone| {
            let id = text(zone, "ZoneId");
            let vpcs = bound.get(&id).map_or("no VPC", String::as_str);
            format!("  {id}  ({vpcs})")
        });
        let ids = ids.collect::<Vec<_>>().join("\n");
        let message = format!("{} zones have the name {name}:\n{ids}", zones.len());
        return Err(CommandFailure::finding(message).hint("name the zone by its id"));
    }
    // Ids have no dots, and most zone names have.
    if !word.contains('.')
        && let Ok(zone) = api.call("DescribeZoneInfo", &[("ZoneId", word)])
    {
        let zone = Value::Object(zone);
        return Ok(FoundItem { id: text(&zone, "ZoneId"), name: text(&zone, "ZoneName") });
    }
    Err(CommandFailure::finding(format!("there is no zone {word}")).hint("`pvtzd zone list` lists the zones"))
}

/// The VPCs of all zones, by the id of the zone.
pub(super) fn bindings(api: &ApiCommands) -> Result<HashMap<String, String>, CommandFailure> {
    let tree = Value::Object(api.call("DescribeZoneVpcTree", &[])?);
    let zones = tree["Zones"]["Zone"].as_array().into_iter().flatten();
    let of = |zone: &Value| (text(zone, "ZoneId"), vpcs(&zone["Vpcs"]["Vpc"]));
    Ok(zones.map(of).filter(|(_, vpcs)| !vpcs.is_empty()).collect())
}

/// VPC ids in a row.
pub(super) fn vpcs(list: &Value) -> String {
    let ids = list.as_array().into_iter().flatten().map(|vpc| text(vpc, "VpcId"));
    ids.collect::<Vec<_>>().join(", ")
}
