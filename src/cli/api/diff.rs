//! `pvtzd diff A [B]`: what two documents differ in, or a document and a running pvtzd.
//!
//! A document is taken apart into sections, a zone or a rule each, and those into lines; what makes no difference is
//! made alike first: defaults that are not written, the order, the case of names.

use super::progress::Progress;
use super::{ApiArgs, ApiCommands, CommandFailure, exit, file, shown, transfer};
use crate::account::value;
use crate::api::document::{Document, DocumentRecord, DocumentRule, DocumentVpc, DocumentZone, Handle};
use crate::base::terminal::{self, Style};
use crate::cli::CommonArgs;
use crate::engine::sort;
use crate::engine::text::printable;
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::PathBuf;

/// Options of `diff`.
#[derive(Args, Debug)]
pub(in crate::cli) struct DiffArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// A document, TOML or JSON
    a: PathBuf,
    /// Another document [default: the running pvtzd]
    b: Option<PathBuf>,
    /// Print every difference, not only their number in each zone
    #[arg(short, long)]
    verbose: bool,
}

/// A section in which two documents differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ApiDifference {
    /// `zone a.example`, `rule b.example`, …
    section: String,
    /// Lines of the first alone.
    removed: Vec<String>,
    /// Lines of the second alone.
    added: Vec<String>,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &DiffArgs) -> Result<u8, CommandFailure> {
    let first = file::read(&args.a)?;
    let (second, name) = match &args.b {
        Some(path) => (file::read(path)?, path.display().to_string()),
        None => {
            let api = ApiCommands::new(common, &args.api)?;
            let progress = Progress::start("fetching");
            let fetched = transfer::fetch(&api, &[], false);
            drop(progress);
            (fetched?, format!("pvtzd at {}", api.client.address))
        }
    };
    let found = differences(&first, &second);
    if common.json {
        shown::json(&found);
    } else if !found.is_empty() {
        print(&args.a.display().to_string(), &name, &found, args.verbose);
    }
    Ok(if found.is_empty() { exit::OK } else { exit::FINDINGS })
}

fn print(first: &str, second: &str, found: &[ApiDifference], verbose: bool) {
    let lines: usize = found.iter().map(|difference| difference.removed.len() + difference.added.len()).sum();
    let is_short = !verbose && lines as u64 >= transfer::MANY;
    let is_styled = terminal::is_styled(&io::stdout());
    let line = |style: Style, line: String| println!("{}", style.paint(is_styled, &printable(&line)));
    line(Style::Bold, format!("--- {first}"));
    line(Style::Bold, format!("+++ {second}"));
    for ApiDifference { section, removed, added } in found {
        if is_short {
            line(Style::Cyan, format!("@@ {section}: {} removed, {} added", removed.len(), added.len()));
            continue;
        }
        line(Style::Cyan, format!("@@ {section}"));
        let removed = removed.iter().map(|text| (text, '-'));
        let mut all: Vec<(&String, char)> = removed.chain(added.iter().map(|text| (text, '+'))).collect();
        // What is about the same thing stands together, as it was before as it is.
        sort::by_key(&mut all, |(text, sign)| (text.split(' ').next(), *sign == '+', text.as_str()));
        for (text, sign) in all {
            line(if sign == '-' { Style::Red } else { Style::Green }, format!("{sign} {text}"));
        }
    }
}

/// Sections and their lines.
type DiffSections = BTreeMap<String, BTreeSet<String>>;

fn differences(first: &Document, second: &Document) -> Vec<ApiDifference> {
    let twice: HashSet<String> = doubles(first).union(&doubles(second)).cloned().collect();
    let (first, second) = (sections(first, &twice), sections(second, &twice));
    let names: BTreeSet<&String> = sort::set(first.keys().chain(second.keys()));
    let nothing = BTreeSet::new();
    let difference = |section: &String| {
        let (a, b) = (first.get(section).unwrap_or(&nothing), second.get(section).unwrap_or(&nothing));
        let (removed, added) = (a.difference(b).cloned().collect(), b.difference(a).cloned().collect());
        ApiDifference { section: section.clone(), removed, added }
    };
    let all = names.into_iter().map(difference);
    all.filter(|difference| !difference.removed.is_empty() || !difference.added.is_empty()).collect()
}

/// Names of zones and rules that a document has more than once.
fn doubles(document: &Document) -> HashSet<String> {
    let mut seen = HashSet::new();
    handles(document)
        .filter(|(kind, handle)| !seen.insert((*kind, handle.name.clone())))
        .map(|(_, h)| h.name)
        .collect()
}

fn handles(document: &Document) -> impl Iterator<Item = (&'static str, Handle)> {
    let zones = document.zones.iter().map(|zone| ("zone", Handle::of_zone(zone)));
    zones.chain(document.rules.iter().map(|rule| ("rule", Handle::of_rule(rule))))
}

fn sections(document: &Document, twice: &HashSet<String>) -> DiffSections {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut titles = handles(document).map(|(kind, handle)| {
        let Handle { name, vpc } = handle;
        let title = match twice.contains(&name) {
            false => return format!("{kind} {name}"),
            true if vpc.is_empty() => format!("{kind} {name} (no VPC)"),
            true => format!("{kind} {name} ({vpc})"),
        };
        let number = numbers.entry(title.clone()).or_default();
        *number += 1;
        if *number == 1 { title } else { format!("{title} #{number}") }
    });
    let mut sections = DiffSections::new();
    for zone in &document.zones {
        sections.insert(titles.next().unwrap_or_default(), zone_lines(zone));
    }
    for rule in &document.rules {
        sections.insert(titles.next().unwrap_or_default(), rule_lines(rule));
    }
    for line in &document.custom_lines {
        let mut lines = sort::set(line.ipv4s.iter().map(|range| format!("Ipv4s {range}")));
        lines.insert(format!("DnsCategory {}", line.dns_category.as_deref().unwrap_or("AUTH")));
        sections.insert(format!("custom line {}", line.name), lines);
    }
    sections
}

fn zone_lines(zone: &DocumentZone) -> BTreeSet<String> {
    let word = |text: &Option<String>, default: &str| text.as_deref().unwrap_or(default).to_uppercase();
    let mut lines = sort::set([
        format!("ProxyPattern {}", word(&zone.proxy_pattern, "ZONE")),
        format!("DnsGroup {}", word(&zone.dns_group, "FAST_ZONE")),
    ]);
    for (name, text) in
        [("Remark", &zone.remark), ("ZoneTag", &zone.zone_tag), ("ResourceGroupId", &zone.resource_group_id)]
    {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            lines.insert(format!("{name} {text}"));
        }
    }
    if let Some(task) = &zone.sync_ecs_host_task {
        let regions: Vec<&str> = task.regions.iter().map(|region| region.region_id.as_str()).collect();
        lines.insert(format!("SyncEcsHostTask {} {}", task.status.to_uppercase(), regions.join(" ")));
    }
    lines.extend(zone.bind_vpcs.iter().map(vpc_line));
    lines.extend(zone.tags.iter().map(|tag| format!("Tag {} = {}", tag.key, tag.value)));
    lines.extend(zone.lba_status.iter().map(|set| {
        let line = set.line.as_deref().unwrap_or(value::DEFAULT_LINE);
        format!("LbaStatus {} {} Line {line}", set.rr.to_lowercase(), set.rtype.to_uppercase())
    }));
    lines.extend(zone.records.iter().map(record_line));
    lines
}

/// The region is left out: a file need not write it, and the VPC's id is enough.
fn vpc_line(vpc: &DocumentVpc) -> String {
    match vpc.vpc_type.as_deref() {
        None | Some("STANDARD") => format!("BindVpcs {}", vpc.vpc_id),
        Some(kind) => format!("BindVpcs {} {kind}", vpc.vpc_id),
    }
}

fn record_line(record: &DocumentRecord) -> String {
    let rtype = record.rtype.to_uppercase();
    let priority = record.priority.and_then(|priority| u16::try_from(priority).ok());
    let (value, priority) = match value::data(&rtype, &record.value, priority).map(|data| value::show(&data))
    {
        Ok((_, text, priority)) if rtype == "TXT" => (text, priority.map(i64::from)),
        Ok((_, value, priority)) => (value.to_lowercase(), priority.map(i64::from)),
        Err(_) => (record.value.clone(), record.priority),
    };
    let mut line = format!("{} {rtype} {value} Ttl {}", record.rr.to_lowercase(), record.ttl.unwrap_or(60));
    let mut more = |name: &str, text: Option<String>| {
        if let Some(text) = text {
            line += &format!(" {name} {text}");
        }
    };
    more("Priority", priority.map(|priority| priority.to_string()));
    more("Weight", record.weight.filter(|weight| *weight != 1).map(|weight| weight.to_string()));
    more("Line", record.line.clone().filter(|line| line != value::DEFAULT_LINE));
    more("Status", record.status.as_deref().map(str::to_uppercase).filter(|status| status != "ENABLE"));
    more("Remark", record.remark.clone().filter(|remark| !remark.is_empty()));
    line
}

fn rule_lines(rule: &DocumentRule) -> BTreeSet<String> {
    let targets = rule
        .forward_ips
        .iter()
        .map(|target| format!("ForwardIps {} {}", target.ip, target.port.unwrap_or(53)));
    targets.chain(rule.bind_vpcs.iter().map(vpc_line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &str, second: &str, expected: &[&str]) {
        let (first, second) = (Document::parse(first).unwrap(), Document::parse(second).unwrap());
        let mut told = Vec::new();
        for ApiDifference { section, removed, added } in differences(&first, &second) {
            told.push(section);
            told.extend(removed.iter().map(|text| format!("- {text}")));
            told.extend(added.iter().map(|text| format!("+ {text}")));
        }
        assert_eq!(told, expected);
    }

    #[test]
    fn defaults_order_and_case_are_no_difference() {
        check(
            "[[Zones]]\nZoneName = \"A.example.\"\n[[Zones.Records]]\nRr = \"www\"\nType = \"a\"\nValue = \"192.0.2.1\"\n\
             [[Zones.Records]]\nRr = \"@\"\nType = \"CNAME\"\nValue = \"B.example.\"\n",
            "{\"Zones\":[{\"ZoneName\":\"a.example\",\"ProxyPattern\":\"ZONE\",\"DnsGroup\":\"FAST_ZONE\",\"Records\":[\
             {\"Rr\":\"@\",\"Type\":\"CNAME\",\"Value\":\"b.example\",\"Ttl\":60,\"Status\":\"ENABLE\"},\
             {\"Rr\":\"WWW\",\"Type\":\"A\",\"Value\":\"192.0.2.1\",\"Weight\":1,\"Line\":\"default\"}]}]}",
            &[],
        );
    }

    #[test]
    fn differences_are_told_by_zone() {
        let zone = |name: &str, ttl: u32, vpc: &str| {
            format!(
                "[[Zones]]\nZoneName = \"{name}\"\n[[Zones.BindVpcs]]\nVpcId = \"{vpc}\"\n\
                 [[Zones.Records]]\nRr = \"@\"\nType = \"A\"\nValue = \"192.0.2.1\"\nTtl = {ttl}\n"
            )
        };
        check(
            &zone("a", 60, "v"),
            &zone("a", 5, "w"),
            &["zone a", "- @ A 192.0.2.1 Ttl 60", "- BindVpcs v", "+ @ A 192.0.2.1 Ttl 5", "+ BindVpcs w"],
        );
        // Two of a name are told apart by their first VPC.
        let two = zone("a", 60, "v") + &zone("a", 60, "w");
        let other = zone("a", 60, "w") + &zone("a", 5, "v");
        check(&two, &other, &["zone a (v)", "- @ A 192.0.2.1 Ttl 60", "+ @ A 192.0.2.1 Ttl 5"]);
    }
}
