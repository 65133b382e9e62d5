//! Documents in files: TOML or JSON, with PrivateZone's own field names.

use super::{CommandFailure, exit};
use crate::api::document::Document;
use crate::api::sources::{self, ImportedDocument, SourceKind};
use crate::base::file;
use crate::engine::master;
use clap::ValueEnum;
use hickory_proto::rr::Name;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// TOML
    Toml,
    /// JSON
    Json,
}

/// What a file is that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum InputSource {
    /// A document, TOML or JSON
    Document,
    /// A zone file (RFC 1035)
    Zone,
    /// A hosts file, as /etc/hosts
    Hosts,
    /// JSON output of DescribeZones, DescribeZoneInfo and DescribeZoneRecords of the real API
    Describe,
}

impl From<InputSource> for SourceKind {
    fn from(source: InputSource) -> Self {
        match source {
            InputSource::Document => Self::Document,
            InputSource::Zone => Self::Zone,
            InputSource::Hosts => Self::Hosts,
            InputSource::Describe => Self::Describe,
        }
    }
}

impl FileFormat {
    /// By the ending of a file's name; TOML where it has none.
    pub(super) fn of(path: Option<&Path>) -> Self {
        let is_json =
            path.and_then(Path::extension).is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        if is_json { Self::Json } else { Self::Toml }
    }
}

/// Octets of the largest document that is read: a million records.
const LARGEST: u64 = 256 << 20;

/// Reads a file of any kind as a document. What kind it is follows from its name and from what it begins with.
pub(super) fn read_any(
    path: &Path,
    source: Option<InputSource>,
    zone: Option<&Name>,
) -> Result<ImportedDocument, CommandFailure> {
    let (text, is_utf8) = match text(path) {
        Ok(text) => (text, true),
        Err(failure) => match file::read(path, LARGEST) {
            Ok(octets) => (master::text_of(octets), false),
            Err(_) => return Err(failure),
        },
    };
    let source = source.map_or_else(|| SourceKind::of(path, &text), SourceKind::from);
    if !is_utf8 && !matches!(source, SourceKind::Zone | SourceKind::Hosts) {
        return Err(CommandFailure::finding(format!("{} is not UTF-8", path.display())));
    }
    if matches!(source, SourceKind::Zone | SourceKind::Hosts) && path.as_os_str() == "-" {
        return Err(CommandFailure::usage(
            "zone files and hosts files are read by name, not from standard input",
        ));
    }
    match source {
        SourceKind::Zone => sources::of_zone_file(path, &text, zone).map_err(CommandFailure::source),
        SourceKind::Hosts => sources::of_hosts_file(path, zone).map_err(CommandFailure::source),
        SourceKind::Describe => match sources::of_answers(&text) {
            Some(made) => made.map_err(|why| CommandFailure::finding(format!("{}: {why}", path.display()))),
            None => {
                let why = format!(
                    "{} is not a response of DescribeZones, DescribeZoneInfo or DescribeZoneRecords",
                    path.display()
                );
                Err(CommandFailure::finding(why))
            }
        },
        SourceKind::Document => Ok(ImportedDocument { document: document(path, &text)?, notes: Vec::new() }),
    }
}

/// The text of a file that has answers of the product, or is said to have them.
pub(super) fn answers(path: &Path, source: Option<InputSource>) -> Result<Option<String>, CommandFailure> {
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if source.is_some_and(|source| source != InputSource::Describe) || (source.is_none() && !is_json) {
        return Ok(None);
    }
    let text = text(path)?;
    Ok((sources::of_answers(&text).is_some()).then_some(text))
}

/// Reads a document; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Document, CommandFailure> {
    document(path, &text(path)?)
}

/// The text of a file; `-` is standard input.
fn text(path: &Path) -> Result<String, CommandFailure> {
    let (read, hint_of_pipe) = match path.as_os_str() == "-" {
        true => (standard_input(), None),
        false => {
            let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
            let hint = "write `-` instead of the file and redirect the pipe to standard input";
            (file::read_text(path, LARGEST), is_pipe.then(|| hint.to_string()))
        }
    };
    read.map_err(|error| CommandFailure {
        code: exit::SYSTEM,
        message: format!("cannot read {}: {error}", path.display()),
        hint: hint_of_pipe,
    })
}

fn document(path: &Path, text: &str) -> Result<Document, CommandFailure> {
    let path = path.display();
    Document::parse(text).map_err(|why| {
        let failure = CommandFailure::finding(format!("{path} is not a zone document: {}", why.trim_end()));
        failure.hint(hint(text))
    })
}

/// All of standard input, up to the bound.
fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(LARGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= LARGEST {
        true => Ok(text),
        false => Err(io::Error::other(format!("it has more than {LARGEST} octets"))),
    }
}

fn hint(text: &str) -> &'static str {
    let is_ours = text.lines().any(|line| ["[[zone]]", "[control]", "[server]"].contains(&line.trim()));
    if is_ours {
        "this is a configuration file of pvtzd: `pvtzd run --config` serves its zones without an import; \
         `pvtzd export --all` of a pvtzd that runs with it writes them as a document"
    } else {
        "a document has [[Zones]] with ZoneName and [[Zones.Records]] with Rr, Type and Value, as `pvtzd export` \
         writes them"
    }
}

/// Writes a document down.
pub(super) fn write(document: &Document, format: FileFormat) -> Result<String, CommandFailure> {
    let written = match format {
        FileFormat::Json => {
            serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        FileFormat::Toml => toml::to_string(document).map_err(|error| error.to_string()),
    };
    written.map_err(|message| CommandFailure { code: exit::SYSTEM, message, hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[Zones]]\nZoneName = \"a.example\"\nProxyPattern = \"RECORD\"\n\n[[Zones.BindVpcs]]\n\
        VpcId = \"v\"\n\n[[Zones.Records]]\nRr = \"@\"\nType = \"TXT\"\nValue = \"a \\\"b\\\"\"\nTtl = 60\n";

    #[test]
    fn both_forms_say_the_same() {
        let document = Document::parse(TEXT).unwrap();
        for format in [FileFormat::Toml, FileFormat::Json] {
            assert_eq!(Document::parse(&write(&document, format).unwrap()).unwrap(), document);
        }
        assert_eq!(write(&document, FileFormat::Toml).unwrap().lines().next(), Some("[[Zones]]"));
        let empty = Document::default();
        for format in [FileFormat::Toml, FileFormat::Json] {
            assert_eq!(Document::parse(&write(&empty, format).unwrap()).unwrap(), empty);
        }
    }

    #[test]
    fn a_configuration_file_is_told_apart() {
        assert!(Document::parse("[[zone]]\nname = \"a\"\n").is_err());
        assert!(hint("[[zone]]\nname = \"a\"\n").contains("configuration file"));
        assert!(hint("[[Zone]]\n").contains("[[Zones]]"));
    }
}
