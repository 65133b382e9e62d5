//! `pvtzd zone …`: the zones of a running pvtzd.

use super::super::table;
use super::{ApiArgs, ApiCommands, CommandFailure, borrowed, found, record, text, vpc_params};
use crate::cli::{CommonArgs, exit, shown};
use crate::engine::text::printable;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// Options of `zone`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ZoneArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: ZoneCommand,
}

#[derive(Debug, Subcommand)]
enum ZoneCommand {
    /// List zones
    List {
        /// Only zones whose name contains this
        keyword: Option<String>,
    },
    /// Show a zone with its records
    Show {
        /// The zone's name or id
        zone: String,
    },
    /// Make a zone
    Add {
        /// The zone's name
        name: String,
        /// Forward names without a record in the zone (ProxyPattern RECORD)
        #[arg(long)]
        proxy: bool,
        /// Bind it to this VPC; may be repeated
        #[arg(long, value_name = "VPC[@REGION]")]
        vpc: Vec<String>,
        /// Free text, at most 50 characters
        #[arg(long)]
        remark: Option<String>,
        /// Make it although a zone of that name exists, for another VPC
        #[arg(long)]
        another: bool,
    },
    /// Delete a zone with its records
    Rm {
        /// The zone's name or id
        zone: String,
        /// Unbind the zone first; a bound zone is not deleted otherwise
        #[arg(long)]
        unbind: bool,
    },
    /// Bind a zone to VPCs, in addition to the current ones
    Bind {
        /// The zone's name or id
        zone: String,
        /// The VPCs
        #[arg(required = true, value_name = "VPC[@REGION]")]
        vpcs: Vec<String>,
        /// Replace the current VPCs
        #[arg(long)]
        only: bool,
    },
    /// Unbind a zone from VPCs, or from all
    Unbind {
        /// The zone's name or id
        zone: String,
        /// The VPCs; all if omitted
        #[arg(value_name = "VPC")]
        vpcs: Vec<String>,
    },
    /// Switch the recursion proxy of a zone
    Proxy {
        /// The zone's name or id
        zone: String,
        /// On: what the zone does not have is asked of others
        state: Switch,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &ZoneArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    match &args.command {
        ZoneCommand::List { keyword } => list(&api, keyword.as_deref()),
        ZoneCommand::Show { zone } => show(&api, zone),
        ZoneCommand::Add { name, proxy, vpc, remark, another } => {
            add(&api, name, *proxy, vpc, remark.as_deref(), *another)
        }
        ZoneCommand::Rm { zone, unbind } => remove(&api, zone, *unbind),
        ZoneCommand::Bind { zone, vpcs, only } => {
            bind(&api, zone, vpcs, if *only { "REPLACE" } else { "ADD" })
        }
        ZoneCommand::Unbind { zone, vpcs } => {
            bind(&api, zone, vpcs, if vpcs.is_empty() { "REPLACE" } else { "REMOVE" })
        }
        ZoneCommand::Proxy { zone, state } => {
            let zone = found::zone(&api, zone)?;
            let (pattern, word) = match state {
                Switch::On => ("RECORD", "on"),
                Switch::Off => ("ZONE", "off"),
            };
            let answer = api.call("SetProxyPattern", &[("ZoneId", &zone.id), ("ProxyPattern", pattern)])?;
            Ok(api.done(answer, &format!("zone {}: recursion proxy {word}", zone.name)))
        }
    }
}

fn list(api: &ApiCommands, keyword: Option<&str>) -> Result<u8, CommandFailure> {
    let zones =
        api.pages("DescribeZones", &[("Keyword", keyword.unwrap_or_default())], &["Zones", "Zone"])?;
    if api.json {
        shown::json(&zones);
        return Ok(exit::OK);
    }
    let bound = found::bindings(api)?;
    let row = |zone: &Value| {
        let id = text(zone, "ZoneId");
        let vpcs = bound.get(&id).cloned().unwrap_or_else(|| "-".into());
        let note = match text(zone, "Creator").as_str() {
            "configuration-file" => "(configuration file)".into(),
            _ => text(zone, "Remark"),
        };
        vec![text(zone, "ZoneName"), proxy(zone).into(), text(zone, "RecordCount"), vpcs, id, note]
    };
    let rows: Vec<_> = zones.iter().map(row).collect();
    table::print(&["ZONE", "PROXY", "RECORDS", "VPCS", "ID", "REMARK"], &rows);
    if rows.is_empty() {
        eprintln!("no zones");
    }
    Ok(exit::OK)
}

fn proxy(zone: &Value) -> &'static str {
    if text(zone, "ProxyPattern") == "RECORD" { "on" } else { "off" }
}

fn show(api: &ApiCommands, zone: &str) -> Result<u8, CommandFailure> {
    let found = found::zone(api, zone)?;
    let mut zone = Value::Object(api.call("DescribeZoneInfo", &[("ZoneId", &found.id)])?);
    let records = record::all(api, &found.id, None)?;
    if api.json {
        zone["Records"] = json!({ "Record": records });
        shown::json(&zone);
        return Ok(exit::OK);
    }
    let vpcs = match found::vpcs(&zone["BindVpcs"]["Vpc"]) {
        none if none.is_empty() => "none: no client sees the zone".to_string(),
        some => some,
    };
    println!("{}, id {}", printable(&found.name), printable(&found.id));
    let mut fields = vec![("recursion proxy", proxy(&zone).to_string()), ("VPCs", vpcs)];
    for (field, label) in [("Remark", "remark"), ("CreateTime", "made"), ("UpdateTime", "changed")] {
        let value = text(&zone, field);
        if !value.is_empty() && !value.starts_with("1970") {
            fields.push((label, value));
        }
    }
    table::print_fields(&fields);
    if !records.is_empty() {
        println!();
    }
    record::print(&records);
    Ok(exit::OK)
}

fn add(
    api: &ApiCommands,
    name: &str,
    proxy: bool,
    vpcs: &[String],
    remark: Option<&str>,
    another: bool,
) -> Result<u8, CommandFailure> {
    let plain = name.strip_suffix('.').unwrap_or(name).to_lowercase();
    let same = [("Keyword", plain.as_str()), ("SearchMode", "EXACT")];
    if !another && let Some(zone) = api.pages("DescribeZones", &same, &["Zones", "Zone"])?.first() {
        let message = format!("zone {plain} exists already, id {}", text(zone, "ZoneId"));
        return Err(CommandFailure::finding(message).hint(
            "--another creates one more zone of that name, for \
                                                   another VPC",
        ));
    }
    let pattern = if proxy { "RECORD" } else { "ZONE" };
    let answer = api.call("AddZone", &[("ZoneName", name), ("ProxyPattern", pattern)])?;
    let id = text(&Value::Object(answer.clone()), "ZoneId");
    let rest = || {
        if let Some(remark) = remark {
            api.call("UpdateZoneRemark", &[("ZoneId", &id), ("Remark", remark)])?;
        }
        if !vpcs.is_empty() {
            let params = vpc_params("Vpcs", vpcs);
            api.call("BindZoneVpc", &[&[("ZoneId", id.as_str())], &borrowed(&params)[..]].concat())?;
        }
        Ok(())
    };
    if let Err(failure) = rest() {
        // Half a zone is none.
        let _ = api.call("DeleteZone", &[("ZoneId", &id)]);
        return Err(failure);
    }
    Ok(api.done(answer, &format!("zone {plain} added, id {id}")))
}

fn remove(api: &ApiCommands, zone: &str, unbind: bool) -> Result<u8, CommandFailure> {
    let zone = found::zone(api, zone)?;
    if unbind {
        api.call("BindZoneVpc", &[("ZoneId", &zone.id)])?;
    }
    let answer = api.call("DeleteZone", &[("ZoneId", &zone.id)]).map_err(|failure| {
        let bound = failure.message.starts_with("Zone.VpcExists");
        if bound { failure.hint("use --unbind to unbind it from its VPCs first") } else { failure }
    })?;
    Ok(api.done(answer, &format!("zone {} deleted", zone.name)))
}

fn bind(api: &ApiCommands, zone: &str, vpcs: &[String], mode: &str) -> Result<u8, CommandFailure> {
    let zone = found::zone(api, zone)?;
    let list = vpc_params("Vpcs", vpcs);
    let head = [("ZoneId", zone.id.as_str()), ("PvtzdMode", mode)];
    let answer = api.call("BindZoneVpc", &[&head, &borrowed(&list)[..]].concat())?;
    if api.json {
        return Ok(api.done(answer, ""));
    }
    let info = Value::Object(api.call("DescribeZoneInfo", &[("ZoneId", &zone.id)])?);
    let bound = match found::vpcs(&info["BindVpcs"]["Vpc"]) {
        none if none.is_empty() => "is bound to no VPC: no client sees it".to_string(),
        some => format!("is bound to {some}"),
    };
    Ok(api.done(answer, &format!("zone {} {bound}", zone.name)))
}
