//! An import of the page: documents, zone files, hosts files and answers of the product's API become one document, which
//! the API's own action compares and carries out. What was shown is what is done: an apply names the changes that it
//! was shown, and is refused if they would be others by now.

use super::Console;
use super::reply::{CallRefusal, Told};
use super::request::{api_call, body};
use crate::api::actions::MAX_BODY;
use crate::api::document::Document;
use crate::api::sources::{self, ImportedDocument, SourceFault, SourceKind};
use crate::api::{ApiReply, Params};
use crate::engine::name;
use crate::http::pages::PageRequest;
use data_encoding::HEXLOWER;
use hickory_proto::rr::Name;
use hyper::StatusCode;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The name of the call.
pub(super) const CALL: &str = "import";

/// Octets of its request: a document as long as the API takes, as text in JSON.
pub(super) const MAX_REQUEST: usize = MAX_BODY + MAX_BODY / 4;

/// Files of one import.
const MAX_FILES: usize = 1000;

/// What becomes an import.
#[derive(Debug, Deserialize)]
struct Asked {
    files: Vec<ImportText>,
    /// What they are; by their names and beginnings where it is not told.
    #[serde(default)]
    format: Option<TextFormat>,
    /// The zone of a zone file or hosts file.
    #[serde(default)]
    zone: String,
    /// VPCs are left out.
    #[serde(default)]
    without_vpcs: bool,
    /// MERGE or REPLACE.
    mode: String,
    /// The changes that were shown and are to be made; without them nothing is done.
    #[serde(default)]
    apply: Option<String>,
}

/// A file of the page's user.
#[derive(Debug, Deserialize)]
struct ImportText {
    name: String,
    text: String,
}

/// What files are said to be.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TextFormat {
    Document,
    Zone,
    Hosts,
    Describe,
}

impl From<TextFormat> for SourceKind {
    fn from(format: TextFormat) -> Self {
        match format {
            TextFormat::Document => Self::Document,
            TextFormat::Zone => Self::Zone,
            TextFormat::Hosts => Self::Hosts,
            TextFormat::Describe => Self::Describe,
        }
    }
}

/// Compares, and carries out what was shown.
pub(super) async fn import(console: &Console, request: &PageRequest) -> Told {
    let asked: Asked = body(request)?;
    let (mode, apply) = (asked.mode.clone(), asked.apply.clone());
    let made = tokio::task::spawn_blocking(move || {
        let ImportedDocument { document, notes } = gather(asked)?;
        let document = serde_json::to_string(&document).map_err(|error| error.to_string())?;
        match document.len() <= MAX_BODY {
            true => Ok((document, notes)),
            false => Err(format!(
                "the document is too long: {} MiB as JSON; the limit is {}; merge it in parts",
                document.len() >> 20,
                MAX_BODY >> 20
            )),
        }
    });
    let (document, notes) = made
        .await
        .map_err(|error| CallRefusal::invalid(error.to_string()))?
        .map_err(|why: String| CallRefusal::new(StatusCode::BAD_REQUEST, "Document.Invalid", why))?;
    let act = async |dry: bool| {
        let params = [
            ("Document", document.as_str()),
            ("Mode", &mode),
            ("DryRun", if dry { "true" } else { "false" }),
        ];
        let params: Params = params.into_iter().collect();
        let call = api_call("PvtzdImport".into(), params, request.peer);
        answer_of(console.parts.actions.call(call).await)
    };
    let mut planned = act(true).await?;
    let changes = changes_digest(&planned);
    if let Some(shown) = apply {
        if shown != changes {
            let message = "the account has changed since: look at the changes again";
            return Err(CallRefusal::new(StatusCode::CONFLICT, "Changed", message));
        }
        planned = act(false).await?;
    }
    planned["Notes"] = json!(notes);
    planned["Apply"] = json!(changes);
    Ok(planned)
}

/// All files as one document.
fn gather(asked: Asked) -> Result<ImportedDocument, String> {
    if asked.files.len() > MAX_FILES {
        return Err(format!("more than {MAX_FILES} files"));
    }
    let zone = match asked.zone.trim() {
        "" => None,
        zone => Some(name::parse(zone)?),
    };
    let mut whole = ImportedDocument { document: Document::default(), notes: Vec::new() };
    // What the product prints comes in several files, which only together tell whose records they are.
    let mut answers = String::new();
    for ImportText { name, text } in asked.files {
        let path = Path::new(&name);
        let kind = asked.format.map_or_else(|| SourceKind::of(path, &text), SourceKind::from);
        if kind == SourceKind::Describe {
            answers += &text;
            answers.push('\n');
            continue;
        }
        let made = read(kind, path, text, zone.as_ref())?;
        whole.notes.extend(made.notes.iter().map(|note| format!("{name}: {note}")));
        whole.document.zones.extend(made.document.zones);
        whole.document.rules.extend(made.document.rules);
        whole.document.custom_lines.extend(made.document.custom_lines);
    }
    if !answers.is_empty() {
        let none = "no answers of DescribeZones, DescribeZoneInfo or DescribeZoneRecords";
        let made = sources::of_answers(&answers).ok_or(none)??;
        whole.notes.extend(made.notes);
        whole.document.zones.extend(made.document.zones);
    }
    if asked.without_vpcs {
        whole.document.zones.iter_mut().for_each(|zone| zone.bind_vpcs.clear());
        whole.document.rules.iter_mut().for_each(|rule| rule.bind_vpcs.clear());
    }
    Ok(whole)
}

/// One file as a document.
fn read(
    kind: SourceKind,
    path: &Path,
    text: String,
    zone: Option<&Name>,
) -> Result<ImportedDocument, String> {
    let told = |fault| match fault {
        SourceFault::NoZoneName(why) | SourceFault::Wrong(why) => why,
    };
    match kind {
        SourceKind::Zone => sources::of_zone_text(path, text, zone).map_err(told),
        SourceKind::Hosts => sources::of_hosts_text(path, &text, zone).map_err(told),
        SourceKind::Document | SourceKind::Describe => {
            let document = Document::parse(&text)
                .map_err(|why| format!("{} is not a zone document: {}", path.display(), why.trim_end()))?;
            Ok(ImportedDocument { document, notes: Vec::new() })
        }
    }
}

/// What the action answered.
///
/// # Errors
/// Its refusal.
fn answer_of(reply: ApiReply) -> Told {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status == 200 {
        return Ok(answer);
    }
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_string();
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Err(CallRefusal::new(status, text("Code"), text("Message")))
}

/// What stands for the changes of an answer.
fn changes_digest(answer: &Value) -> String {
    let fields = ["Added", "Changed", "Removed", "Changes", "ChangesOmitted", "ChangedZones"];
    let changes = fields.map(|field| answer[field].to_string()).join("\n");
    HEXLOWER.encode(&digest(&SHA256, changes.as_bytes()).as_ref()[..16])
}
