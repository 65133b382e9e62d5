//! `pvtzd export` and `pvtzd import`: everything out as one document, and a document in, as one change.

use super::file::{self, FileFormat, InputSource};
use super::progress::Progress;
use super::{ApiArgs, ApiCommands, CommandFailure, borrowed, counted, exit, text};
use crate::api::actions::MAX_BODY;
use crate::api::document::Document;
use crate::api::sources;
use crate::base::print;
use crate::base::print::Output;
use crate::cli::CommonArgs;
use crate::engine::name;
use crate::engine::text::printable;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Options of `export`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The file [default: standard output]
    file: Option<PathBuf>,
    /// Only this zone, without rules; may be repeated
    #[arg(long, value_name = "NAME")]
    zone: Vec<String>,
    /// Include the zones of the configuration file, which an import does not change
    #[arg(long)]
    all: bool,
    /// The format [default: by the extension of FILE, else toml]
    #[arg(long)]
    format: Option<FileFormat>,
}

/// Options of `import`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ImportArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Documents, zone files, hosts files, or what the product's DescribeZones, DescribeZoneInfo and
    /// DescribeZoneRecords print; - for standard input
    #[arg(required = true)]
    file: Vec<PathBuf>,
    /// Format of the files [default: by their names and first characters]
    #[arg(long, value_enum)]
    format: Option<InputSource>,
    /// Zone of a zone file or hosts file
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Omit the bindings to VPCs
    #[arg(long)]
    without_vpcs: bool,
    /// Print every change, not only their number in each zone
    #[arg(short, long)]
    verbose: bool,
    /// Remove everything that is not in the document
    #[arg(long, conflicts_with = "merge")]
    replace: bool,
    /// Keep everything that is not in the document (the default)
    #[arg(long)]
    merge: bool,
    /// Print the changes without applying them
    #[arg(long)]
    dry_run: bool,
}

/// Carries `export` out.
pub(super) fn export(common: &CommonArgs, args: &ExportArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    let document = fetch(&api, &args.zone, args.all)?;
    let by_name = if common.json { FileFormat::Json } else { FileFormat::of(args.file.as_deref()) };
    let text = file::write(&document, args.format.unwrap_or(by_name))?;
    match &args.file {
        None => {
            print!("{text}");
            if print::flush() == Output::Failed {
                return Ok(exit::SYSTEM); // the text is the work, and it is not whole
            }
        }
        Some(path) => {
            std::fs::write(path, text).map_err(|error| CommandFailure {
                code: exit::SYSTEM,
                message: format!("cannot write {}: {error}", path.display()),
                hint: None,
            })?;
            let records: usize = document.zones.iter().map(|zone| zone.records.len()).sum();
            let parts = [(document.zones.len(), "zone"), (records, "record"), (document.rules.len(), "rule")];
            let parts = parts.map(|(number, thing)| counted(number as u64, thing));
            eprintln!("{}: {}", path.display(), parts.join(", "));
        }
    }
    Ok(exit::OK)
}

/// What a running pvtzd has.
pub(super) fn fetch(api: &ApiCommands, zones: &[String], all: bool) -> Result<Document, CommandFailure> {
    let mut params: Vec<(String, String)> =
        (1..).zip(zones).map(|(at, zone)| (format!("ZoneName.{at}"), zone.clone())).collect();
    params.push(("All".into(), all.to_string()));
    let mut answer = api.call("PvtzdExport", &borrowed(&params))?;
    let document = answer.remove("Document").unwrap_or_default();
    serde_json::from_value(document).map_err(|error| {
        CommandFailure::finding(format!("the export is from another version of pvtzd: {error}"))
    })
}

/// From this many changes on only their number in each zone is told.
pub(super) const MANY: u64 = 50;

/// All files as one document. What was left out of them is told.
fn gather(args: &ImportArgs) -> Result<Document, CommandFailure> {
    let zone = args.zone.as_deref().map(name::parse).transpose().map_err(CommandFailure::usage)?;
    // What the product prints comes in several files, which only together tell whose records they are.
    let mut whole = Document::default();
    let mut answers = String::new();
    for path in &args.file {
        let made = match file::answers(path, args.format)? {
            Some(text) => {
                answers += &text;
                answers.push('\n');
                continue;
            }
            None => file::read_any(path, args.format, zone.as_ref())?,
        };
        made.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
        whole.zones.extend(made.document.zones);
        whole.rules.extend(made.document.rules);
        whole.custom_lines.extend(made.document.custom_lines);
    }
    if let Some(made) = sources::of_answers(&answers) {
        let made = made.map_err(CommandFailure::finding)?;
        made.notes.iter().for_each(|note| eprintln!("{note}"));
        whole.zones.extend(made.document.zones);
    }
    if args.without_vpcs {
        whole.zones.iter_mut().for_each(|zone| zone.bind_vpcs.clear());
        whole.rules.iter_mut().for_each(|rule| rule.bind_vpcs.clear());
    }
    Ok(whole)
}

/// How many changes there are in each zone.
fn print_by_zone(answer: &Value) {
    for zone in answer["ChangedZones"].as_array().into_iter().flatten() {
        let parts =
            ["Added", "Changed", "Removed"].map(|field| (zone[field].as_u64().unwrap_or_default(), field));
        let parts: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, field)| format!("{} {}", counted(*number, "record"), field.to_lowercase()))
            .collect();
        println!("zone {}: {}", printable(&text(zone, "ZoneName")), parts.join(", "));
    }
    if answer["ChangedZonesOmitted"].as_u64().is_some_and(|more| more > 0) {
        println!("and {} more zones", text(answer, "ChangedZonesOmitted"));
    }
}

/// Carries `import` out.
pub(super) fn import(common: &CommonArgs, args: &ImportArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    let document = gather(args)?;
    let document =
        serde_json::to_string(&document).map_err(|error| CommandFailure::finding(error.to_string()))?;
    let length = document.len();
    if length > MAX_BODY {
        let message = format!(
            "the document is too long: {} MiB as JSON; the limit of the API is {}",
            length >> 20,
            MAX_BODY >> 20
        );
        return Err(CommandFailure::finding(message).hint("import it in parts, without --replace"));
    }
    let mode = if args.replace { "REPLACE" } else { "MERGE" };
    let dry = args.dry_run.to_string();
    let progress = Progress::start("importing");
    let answer = api.call_with("PvtzdImport", &[("Mode", mode), ("DryRun", &dry)], Some(document));
    drop(progress);
    let answer = answer?;
    if api.json {
        return Ok(api.done(answer, ""));
    }
    let answer = Value::Object(answer);
    let changes = answer["Changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let omitted = answer["ChangesOmitted"].as_u64().unwrap_or_default();
    if args.verbose || changes.len() as u64 + omitted < MANY {
        for change in changes.iter().filter_map(Value::as_str) {
            println!("{}", printable(change));
        }
        if omitted > 0 {
            println!("and {} more", text(&answer, "ChangesOmitted"));
        }
    } else {
        print_by_zone(&answer);
    }
    let part = |field: &str| {
        let kinds = [("Zones", "zone"), ("Records", "record"), ("Rules", "rule"), ("CustomLines", "line")];
        let number = |kind: &str| answer[field][kind].as_u64().unwrap_or_default();
        let counts = kinds.iter().filter(|(kind, _)| number(kind) > 0);
        let counts: Vec<String> = counts.map(|(kind, thing)| counted(number(kind), thing)).collect();
        (!counts.is_empty()).then(|| format!("{} {}", counts.join(", "), field.to_lowercase()))
    };
    let parts: Vec<String> = ["Added", "Changed", "Removed"].iter().filter_map(|field| part(field)).collect();
    let what = if parts.is_empty() { "nothing to change".to_string() } else { parts.join("; ") };
    eprintln!("{what}{}", if args.dry_run { " (dry run: nothing was changed)" } else { "" });
    Ok(exit::OK)
}
