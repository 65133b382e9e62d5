//! `pvtzd export` and `pvtzd import`: everything out as one document, and a document in, as one change.

use super::file::{self, FileFormat, InputSource};
use super::progress::Progress;
use super::{ApiArgs, ApiCommands, CommandFailure, borrowed, counted, exit, parts, text};
use crate::api::actions::MAX_BODY;
use crate::api::document::{self, Document};
use crate::api::sources;
use crate::base::print;
use crate::base::print::Output;
use crate::cli::CommonArgs;
use crate::engine::name;
use crate::engine::text::printable;
use clap::Args;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;

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
    // As text: so the types of a document are read by one reader.
    let text = document.to_string();
    drop((document, answer));
    serde_json::from_slice(text.as_bytes()).map_err(|error| {
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

/// Imports a document: as one change where one request holds it, else in parts.
fn send(
    api: &ApiCommands,
    document: Document,
    mode: &str,
    dry: bool,
) -> Result<Map<String, Value>, CommandFailure> {
    let dry_run = dry.to_string();
    let call = |text| api.call_with("PvtzdImport", &[("Mode", mode), ("DryRun", &dry_run)], Some(text));
    let records: usize = document.zones.iter().map(|zone| zone.records.len()).sum();
    let mut size = format!("it has more than {} items", document::MAX_ITEMS);
    if records <= document::MAX_ITEMS {
        let text = written(&document)?;
        if text.len() > MAX_BODY {
            size = format!("{} MiB as JSON; the limit of the API is {}", text.len() >> 20, MAX_BODY >> 20);
        } else if !document::has_more_items(&text, document::MAX_ITEMS) {
            return call(text);
        }
    }
    let refuse = |why: &str, hint| {
        Err(CommandFailure::finding(format!("the document is too long{why}: {size}")).hint(hint))
    };
    if mode == "REPLACE" {
        return refuse(" for --replace", "import it without --replace");
    }
    let zones = document.zones.len();
    let parts = match parts::split(document) {
        Ok(parts) => parts,
        Err(name) => {
            let why = format!(", and has several zones named {name}");
            return refuse(&why, "import these in files of their own");
        }
    };
    let count = parts.len();
    thread::scope(|scope| {
        // the next part is written while the API has one
        let (sender, texts) = sync_channel(1);
        scope.spawn(move || parts.iter().try_for_each(|part| sender.send(written(part))));
        let mut total = ImportedParts::default();
        for (number, text) in (1..).zip(texts) {
            let answer = call(text?).map_err(|failure| failure.of_part(number, count))?;
            total.add(Value::Object(answer));
        }
        Ok(total.answer(dry, zones))
    })
}

/// A document as JSON.
fn written(document: &Document) -> Result<String, CommandFailure> {
    serde_json::to_string(document).map_err(|error| CommandFailure::finding(error.to_string()))
}

/// The answers to several parts, as one.
#[derive(Default)]
struct ImportedParts {
    /// How many of each kind were added, changed and removed.
    counts: BTreeMap<(&'static str, &'static str), u64>,
    changes: Vec<Value>,
    omitted: u64,
    /// Records of each zone, likewise.
    zones: BTreeMap<String, [u64; 3]>,
    zones_omitted: u64,
}

impl ImportedParts {
    fn add(&mut self, mut answer: Value) {
        for change in CHANGES {
            for (kind, _) in KINDS {
                *self.counts.entry((change, kind)).or_default() +=
                    answer[change][kind].as_u64().unwrap_or_default();
            }
        }
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        self.omitted += number(&answer["ChangesOmitted"]);
        self.zones_omitted += number(&answer["ChangedZonesOmitted"]);
        for zone in answer["ChangedZones"].as_array().into_iter().flatten() {
            let counts = self.zones.entry(text(zone, "ZoneName")).or_default();
            for (count, change) in counts.iter_mut().zip(CHANGES) {
                *count += number(&zone[change]);
            }
        }
        if let Value::Array(changes) = answer["Changes"].take() {
            let room = MAX_CHANGES.saturating_sub(self.changes.len());
            self.omitted += changes.len().saturating_sub(room) as u64;
            self.changes.extend(changes.into_iter().take(room));
        }
    }

    /// The whole. In a dry run each part adds a zone that goes on over several parts.
    fn answer(mut self, dry: bool, zones: usize) -> Map<String, Value> {
        if let Some(added) = self.counts.get_mut(&("Added", "Zones")) {
            *added = (*added).min(zones as u64);
        }
        let mut answer = Map::new();
        for change in CHANGES {
            let kinds = KINDS
                .map(|(kind, _)| (kind.to_string(), Value::from(self.counts.get(&(change, kind)).copied())));
            answer.insert(change.into(), Value::Object(kinds.into_iter().collect()));
        }
        let zones = self.zones.into_iter().map(|(name, [added, changed, removed])| {
            json!({ "ZoneName": name, "Added": added, "Changed": changed, "Removed": removed })
        });
        answer.insert("ChangedZones".into(), zones.collect());
        answer.insert("ChangedZonesOmitted".into(), self.zones_omitted.into());
        answer.insert("Changes".into(), self.changes.into());
        answer.insert("ChangesOmitted".into(), self.omitted.into());
        answer.insert("DryRun".into(), dry.into());
        answer
    }
}

/// Changes that are kept of all parts, as many as the API tells of one.
const MAX_CHANGES: usize = 1000;

/// What may happen to a thing, as the API calls it.
const CHANGES: [&str; 3] = ["Added", "Changed", "Removed"];

/// The kinds of things, as the API calls them and in words.
const KINDS: [(&str, &str); 4] =
    [("Zones", "zone"), ("Records", "record"), ("Rules", "rule"), ("CustomLines", "line")];

/// Carries `import` out.
pub(super) fn import(common: &CommonArgs, args: &ImportArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    let document = gather(args)?;
    let mode = if args.replace { "REPLACE" } else { "MERGE" };
    let progress = Progress::start("importing");
    let answer = send(&api, document, mode, args.dry_run);
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
        let number = |kind: &str| answer[field][kind].as_u64().unwrap_or_default();
        let counts = KINDS.iter().filter(|(kind, _)| number(kind) > 0);
        let counts: Vec<String> = counts.map(|(kind, thing)| counted(number(kind), thing)).collect();
        (!counts.is_empty()).then(|| format!("{} {}", counts.join(", "), field.to_lowercase()))
    };
    let parts: Vec<String> = CHANGES.iter().filter_map(|field| part(field)).collect();
    let what = if parts.is_empty() { "nothing to change".to_string() } else { parts.join("; ") };
    eprintln!("{what}{}", if args.dry_run { " (dry run: nothing was changed)" } else { "" });
    Ok(exit::OK)
}
