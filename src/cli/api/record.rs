//! `pvtzd record …`: the records of the zones of a running pvtzd.

use super::super::table;
use super::{ApiArgs, ApiCommands, CommandFailure, found, text};
use crate::cli::{CommonArgs, exit, shown};
use crate::engine::text::printable;
use clap::{Args, Subcommand};
use serde_json::Value;

/// Options of `record`.
#[derive(Args, Debug)]
pub(in crate::cli) struct RecordArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    /// List the records of a zone
    List {
        /// The zone's name or id
        zone: String,
        /// Only records of this host record
        rr: Option<String>,
    },
    /// Add a record
    Add {
        /// The zone's name or id
        zone: String,
        /// Host record: @ for the zone itself, *, www
        rr: String,
        /// A, AAAA, CNAME, TXT, MX, PTR or SRV
        #[arg(value_name = "TYPE")]
        rtype: String,
        /// The value
        value: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Change a record
    Set {
        #[command(flatten)]
        which: Which,
        /// The new value
        #[arg(long)]
        value: Option<String>,
        /// The new host record
        #[arg(long)]
        rr: Option<String>,
        #[command(flatten)]
        fields: Fields,
    },
    /// Enable a record
    Enable(Which),
    /// Disable a record
    Disable(Which),
    /// Delete a record
    Rm(Which),
}

/// What a record has beside host record, type and value.
#[derive(Args, Debug)]
struct Fields {
    /// TTL in seconds, 5 to 86400 [default for a new record: 60]
    #[arg(long)]
    ttl: Option<u32>,
    /// Preference of an MX record, 1 to 99
    #[arg(long)]
    priority: Option<u16>,
    /// Weight, 1 to 100
    #[arg(long)]
    weight: Option<u8>,
    /// A custom line, by name or id
    #[arg(long)]
    line: Option<String>,
    /// Free text, at most 50 characters
    #[arg(long)]
    remark: Option<String>,
}

/// A record, by its id or by what it is.
#[derive(Args, Debug)]
struct Which {
    /// The record: its id, or `ZONE RR TYPE [VALUE]`
    #[arg(required = true, num_args = 1..=4, value_name = "ID | ZONE RR TYPE [VALUE]")]
    which: Vec<String>,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &RecordArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    match &args.command {
        RecordCommand::List { zone, rr } => {
            let zone = found::zone(&api, zone)?;
            let records = all(&api, &zone.id, rr.as_deref())?;
            if api.json {
                shown::json(&records);
            } else {
                print(&records);
                if records.is_empty() {
                    eprintln!("no records");
                }
            }
            Ok(exit::OK)
        }
        RecordCommand::Add { zone, rr, rtype, value, fields } => add(&api, zone, rr, rtype, value, fields),
        RecordCommand::Set { which, value, rr, fields } => {
            set(&api, which, value.as_deref(), rr.as_deref(), fields)
        }
        RecordCommand::Enable(which) => switch(&api, which, "ENABLE", "enabled"),
        RecordCommand::Disable(which) => switch(&api, which, "DISABLE", "disabled"),
        RecordCommand::Rm(which) => {
            let record = find(&api, which)?;
            let answer = api.call("DeleteZoneRecord", &[("RecordId", &text(&record, "RecordId"))])?;
            Ok(api.done(answer, &format!("record {} deleted", in_words(&record))))
        }
    }
}

/// The records of a zone.
pub(super) fn all(api: &ApiCommands, zone: &str, rr: Option<&str>) -> Result<Vec<Value>, CommandFailure> {
    let params = [("ZoneId", zone), ("Keyword", rr.unwrap_or_default())];
    api.pages("DescribeZoneRecords", &params, &["Records", "Record"])
}

/// Prints records as a table.
pub(super) fn print(records: &[Value]) {
    let row = |record: &Value| {
        let status = if text(record, "Status") == "DISABLE" { "disabled" } else { "" };
        let mut row: Vec<String> = ["Rr", "Type", "Value", "Ttl", "Priority", "Weight", "Line"]
            .iter()
            .map(|field| text(record, field))
            .collect();
        row.extend([text(record, "RecordId"), status.into(), text(record, "Remark")]);
        row
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    let heads = ["RR", "TYPE", "VALUE", "TTL", "PRIO", "WEIGHT", "LINE", "ID", "STATUS", "REMARK"];
    table::print(&heads, &rows);
}

impl Fields {
    /// As parameters; a line by its id.
    fn params(&self, api: &ApiCommands) -> Result<Vec<(&'static str, String)>, CommandFailure> {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let line = self.line.as_deref().map(|line| line_id(api, line)).transpose()?;
        let fields = [
            ("Ttl", number(self.ttl)),
            ("Priority", number(self.priority.map(u32::from))),
            ("Weight", number(self.weight.map(u32::from))),
            ("Line", line),
        ];
        Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// The id of a custom line that is named by it or by its name.
fn line_id(api: &ApiCommands, word: &str) -> Result<String, CommandFailure> {
    if word == "default" {
        return Ok(word.into());
    }
    let lines = api.pages("DescribeCustomLines", &[], &["CustomLines", "CustomLine"])?;
    let found = lines.iter().find(|line| text(line, "LineId") == word || text(line, "Name") == word);
    found
        .map(|line| text(line, "LineId"))
        .ok_or_else(|| CommandFailure::finding(format!("there is no custom line {word}")))
}

fn add(
    api: &ApiCommands,
    zone: &str,
    rr: &str,
    rtype: &str,
    value: &str,
    fields: &Fields,
) -> Result<u8, CommandFailure> {
    let zone = found::zone(api, zone)?;
    let remark = fields.remark.clone().unwrap_or_default();
    let own = fields.params(api)?;
    let mut params = vec![
        ("ZoneId", zone.id.as_str()),
        ("Rr", rr),
        ("Type", rtype),
        ("Value", value),
        ("Remark", &remark),
    ];
    params.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
    let answer = api.call("AddZoneRecord", &params)?;
    let id = answer.get("RecordId").map(ToString::to_string).unwrap_or_default();
    let words = format!("record {rr} {} {value} added to {}, id {id}", rtype.to_uppercase(), zone.name);
    Ok(api.done(answer, &words))
}

fn set(
    api: &ApiCommands,
    which: &Which,
    value: Option<&str>,
    rr: Option<&str>,
    fields: &Fields,
) -> Result<u8, CommandFailure> {
    let record = find(api, which)?;
    let own = fields.params(api)?;
    if own.is_empty() && value.is_none() && rr.is_none() && fields.remark.is_none() {
        let message =
            "nothing to change: give --value, --rr, --ttl, --priority, --weight, --line or --remark";
        return Err(CommandFailure::usage(message));
    }
    let (id, rtype) = (text(&record, "RecordId"), text(&record, "Type"));
    let (former_rr, former_value) = (text(&record, "Rr"), text(&record, "Value"));
    let mut answer = serde_json::Map::new();
    if !own.is_empty() || value.is_some() || rr.is_some() {
        let mut params = vec![
            ("RecordId", id.as_str()),
            ("Type", &rtype),
            ("Rr", rr.unwrap_or(&former_rr)),
            ("Value", value.unwrap_or(&former_value)),
        ];
        params.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
        answer = api.call("UpdateZoneRecord", &params)?;
    }
    if let Some(remark) = &fields.remark {
        answer = api.call("UpdateRecordRemark", &[("RecordId", &id), ("Remark", remark)])?;
    }
    let now = Value::Object(api.call("DescribeZoneRecord", &[("RecordId", &id)])?);
    Ok(api.done(answer, &format!("record {} changed, TTL {}", in_words(&now), text(&now, "Ttl"))))
}

fn switch(api: &ApiCommands, which: &Which, status: &str, word: &str) -> Result<u8, CommandFailure> {
    let record = find(api, which)?;
    let params = [("RecordId", text(&record, "RecordId")), ("Status", status.to_string())];
    let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = api.call("SetZoneRecordStatus", &params)?;
    Ok(api.done(answer, &format!("record {} {word}", in_words(&record))))
}

/// The record that a command names.
fn find(api: &ApiCommands, which: &Which) -> Result<Value, CommandFailure> {
    let (zone, rr, rtype, value) = match &which.which[..] {
        [id] => {
            if id.parse::<u64>().is_err() {
                return Err(CommandFailure::usage(format!(
                    "{id} is not the id of a record: write ZONE RR TYPE [VALUE]"
                )));
            }
            return Ok(Value::Object(api.call("DescribeZoneRecord", &[("RecordId", id)])?));
        }
        [zone, rr, rtype] => (zone, rr, rtype, None),
        [zone, rr, rtype, value] => (zone, rr, rtype, Some(value)),
        _ => return Err(CommandFailure::usage("write the record's id, or ZONE RR TYPE [VALUE]")),
    };
    let zone = found::zone(api, zone)?;
    let same = |record: &Value| {
        text(record, "Type").eq_ignore_ascii_case(rtype)
            && value.is_none_or(|value| text(record, "Value") == *value)
    };
    let records = all(api, &zone.id, Some(rr))?;
    let mut found: Vec<Value> = records.into_iter().filter(same).collect();
    if found.len() > 1 {
        let lines =
            found.iter().map(|record| format!("  {}  {}", text(record, "RecordId"), in_words(record)));
        let lines = lines.collect::<Vec<_>>().join("\n");
        let message = format!("{} records of {} match:\n{lines}", found.len(), zone.name);
        return Err(CommandFailure::finding(message).hint("name it by its id, or add its VALUE"));
    }
    found.pop().ok_or_else(|| {
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        let message = format!("{} has no record {rr} {}{value}", zone.name, rtype.to_uppercase());
        CommandFailure::finding(message).hint(format!("`pvtzd record list {}` lists its records", zone.name))
    })
}

fn in_words(record: &Value) -> String {
    let words = format!("{} {} {}", text(record, "Rr"), text(record, "Type"), text(record, "Value"));
    printable(&words).into_owned()
}
