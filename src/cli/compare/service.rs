//! Makes the scratch zones through the PrivateZone API, and removes them again.

use super::scratch;
use crate::cli::CommonArgs;
use crate::cli::api::{ApiArgs, ApiCommands, CommandFailure, borrowed, text, vpc_params};
use serde_json::Value;

/// The remark of a scratch zone, by which it is known as one.
const REMARK: &str = "pvtzd compare";

/// The scratch zones of an account. They are removed when it is dropped.
pub(super) struct ScratchRows {
    api: ApiCommands,
    /// Zone ids, in the order they were made.
    zones: Vec<String>,
}

impl ScratchRows {
    /// Makes the zones with their records and binds them to VPCs.
    ///
    /// # Errors
    /// The API cannot be reached or refuses. What was made until then is removed.
    pub(super) fn new(
        common: &CommonArgs,
        args: &ApiArgs,
        scratch: &str,
        vpcs: &[String],
    ) -> Result<Self, CommandFailure> {
        let mut made = Self { api: ApiCommands::new(common, args)?, zones: Vec::new() };
        let records = scratch::records(scratch);
        for (zone, proxy) in scratch::zones(scratch) {
            let same = [("Keyword", zone.as_str()), ("SearchMode", "EXACT")];
            if let Some(found) = made.api.pages("DescribeZones", &same, &["Zones", "Zone"])?.first() {
                let message = format!("zone {zone} exists already, id {}", text(found, "ZoneId"));
                return Err(CommandFailure::finding(message).hint("use another test zone: --scratch NAME"));
            }
            let pattern = if proxy { "RECORD" } else { "ZONE" };
            let answer = made.api.call("AddZone", &[("ZoneName", &zone), ("ProxyPattern", pattern)])?;
            let id = text(&Value::Object(answer), "ZoneId");
            made.zones.push(id.clone());
            made.api.call("UpdateZoneRemark", &[("ZoneId", &id), ("Remark", REMARK)])?;
            for record in records.iter().filter(|record| record.zone == zone) {
                let ttl = record.ttl.to_string();
                let params = [
                    ("ZoneId", id.as_str()),
                    ("Rr", record.rr),
                    ("Type", record.rtype),
                    ("Value", &record.value),
                    ("Ttl", &ttl),
                ];
                made.api.call("AddZoneRecord", &params)?;
            }
            if !vpcs.is_empty() {
                let params = vpc_params("Vpcs", vpcs);
                made.api
                    .call("BindZoneVpc", &[&[("ZoneId", id.as_str())], &borrowed(&params)[..]].concat())?;
            }
        }
        Ok(made)
    }
}

impl Drop for ScratchRows {
    fn drop(&mut self) {
        for id in self.zones.iter().rev() {
            let unbind = [("ZoneId", id.as_str()), ("BindType", "REPLACE")];
            let removed = self
                .api
                .call("BindZoneVpc", &unbind)
                .and_then(|_| self.api.call("DeleteZone", &[("ZoneId", id)]));
            if let Err(failure) = removed {
                eprintln!("warning: the test zone {id} was not deleted: {}", failure.message());
                eprintln!("hint: `pvtzd zone rm {id} --unbind` removes it");
            }
        }
    }
}
