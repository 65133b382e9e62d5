//! `pvtzd rule …`: the forwarding rules of a running pvtzd.

use super::super::table;
use super::{ApiArgs, ApiCommands, CommandFailure, borrowed, found, text, vpc_params};
use crate::cli::{CommonArgs, exit, shown};
use crate::upstream::ServerAddress;
use clap::{Args, Subcommand};
use serde_json::Value;

/// Options of `rule`.
#[derive(Args, Debug)]
pub(in crate::cli) struct RuleArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: RuleCommand,
}

#[derive(Debug, Subcommand)]
enum RuleCommand {
    /// List forwarding rules
    List,
    /// Make a rule: queries for names at or below a name go to these servers
    Add {
        /// The name; . for all names
        zone: String,
        /// The servers, at most 6
        #[arg(required = true, value_name = "ADDRESS[:PORT]")]
        servers: Vec<ServerAddress>,
        /// Display name [default: the zone name]
        #[arg(long)]
        name: Option<String>,
        /// Bind it to this VPC; may be repeated
        #[arg(long, value_name = "VPC[@REGION]")]
        vpc: Vec<String>,
    },
    /// Delete a rule
    Rm {
        /// The rule's id, name, or zone name
        rule: String,
    },
    /// Bind a rule to VPCs, in addition to the current ones
    Bind {
        /// The rule's id, name, or zone name
        rule: String,
        /// The VPCs; with --only and no VPC, the rule is unbound
        #[arg(value_name = "VPC[@REGION]", required_unless_present = "only")]
        vpcs: Vec<String>,
        /// Replace the current VPCs
        #[arg(long)]
        only: bool,
    },
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &RuleArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    match &args.command {
        RuleCommand::List => {
            let rules = all(&api)?;
            if api.json {
                shown::json(&rules);
            } else {
                print(&rules);
            }
            Ok(exit::OK)
        }
        RuleCommand::Add { zone, servers, name, vpc } => {
            let mut params = vec![
                ("ZoneName".to_string(), zone.clone()),
                ("Name".to_string(), name.clone().unwrap_or_default()),
                ("Type".to_string(), "OUTBOUND".to_string()),
            ];
            for (at, server) in (1..).zip(servers) {
                params.push((format!("ForwardIp.{at}.Ip"), server.addr.ip().to_string()));
                params.push((format!("ForwardIp.{at}.Port"), server.addr.port().to_string()));
            }
            params.extend(vpc_params("Vpcs", vpc));
            let answer = api.call("AddResolverRule", &borrowed(&params))?;
            let id = text(&Value::Object(answer.clone()), "RuleId");
            Ok(api.done(answer, &format!("rule for {zone} added, id {id}")))
        }
        RuleCommand::Rm { rule } => {
            let rule = find(&api, rule)?;
            let answer = api.call("DeleteResolverRule", &[("RuleId", &text(&rule, "Id"))])?;
            Ok(api.done(answer, &format!("rule for {} deleted", text(&rule, "ZoneName"))))
        }
        RuleCommand::Bind { rule, vpcs, only } => {
            let rule = find(&api, rule)?;
            let (id, mode) = (text(&rule, "Id"), if *only { "REPLACE" } else { "ADD" });
            let list = vpc_params("Vpc", vpcs);
            let head = [("RuleId", id.as_str()), ("PvtzdMode", mode)];
            let answer = api.call("BindResolverRuleVpc", &[&head, &borrowed(&list)[..]].concat())?;
            let now = Value::Object(api.call("DescribeResolverRule", &[("RuleId", &id)])?);
            let bound = match found::vpcs(&now["BindVpcs"]) {
                none if none.is_empty() => "no VPC: it applies to no client".to_string(),
                some => some,
            };
            Ok(api.done(answer, &format!("rule for {} is bound to {bound}", text(&rule, "ZoneName"))))
        }
    }
}

fn all(api: &ApiCommands) -> Result<Vec<Value>, CommandFailure> {
    api.pages("DescribeResolverRules", &[], &["Rules"])
}

fn print(rules: &[Value]) {
    let row = |rule: &Value| {
        let targets = rule["ForwardIps"].as_array().into_iter().flatten();
        let targets: Vec<String> = targets.map(target).collect();
        let vpcs = match found::vpcs(&rule["BindVpcs"]) {
            none if none.is_empty() => "-".to_string(),
            some => some,
        };
        vec![text(rule, "ZoneName"), targets.join(", "), vpcs, text(rule, "Name"), text(rule, "Id")]
    };
    let rows: Vec<_> = rules.iter().map(row).collect();
    table::print(&["ZONE", "SERVERS", "VPCS", "NAME", "ID"], &rows);
    if rows.is_empty() {
        eprintln!("no rules");
    }
}

/// A server as people write it.
fn target(target: &Value) -> String {
    match (text(target, "Ip"), text(target, "Port").as_str()) {
        (ip, "53") => ip,
        (ip, port) if ip.contains(':') => format!("[{ip}]:{port}"),
        (ip, port) => format!("{ip}:{port}"),
    }
}

/// The rule that a command names.
fn find(api: &ApiCommands, word: &str) -> Result<Value, CommandFailure> {
    let rules = all(api)?;
    if let Some(rule) = rules.iter().find(|rule| text(rule, "Id") == word) {
        return Ok(rule.clone());
    }
    let name = if word == "." { word } else { word.strip_suffix('.').unwrap_or(word) };
    let is_meant =
        |rule: &&Value| text(rule, "Name") == word || text(rule, "ZoneName").eq_ignore_ascii_case(name);
    let found: Vec<&Value> = rules.iter().filter(is_meant).collect();
    match found[..] {
        [rule] => Ok(rule.clone()),
        [] => {
            let failure = CommandFailure::finding(format!("there is no rule {word}"));
            Err(failure.hint("`pvtzd rule list` lists the rules"))
        }
        _ => {
            let ids = found.iter().map(|rule| {
                format!("  {}  {} ({})", text(rule, "Id"), text(rule, "Name"), found::vpcs(&rule["BindVpcs"]))
            });
            let ids = ids.collect::<Vec<_>>().join("\n");
            let failure = CommandFailure::finding(format!("{} rules match {word}:\n{ids}", found.len()));
            Err(failure.hint("name the rule by its id"))
        }
    }
}
