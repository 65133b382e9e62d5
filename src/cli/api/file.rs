//! Documents in files: TOML or JSON, with PrivateZone's own field names.

use super::{Failure, exit};
use crate::api::document::Document;
use crate::base::file;
use clap::ValueEnum;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// TOML
    Toml,
    /// JSON
    Json,
}

impl Format {
    /// By the ending of a file's name; TOML where it has none.
    pub(super) fn of(path: Option<&Path>) -> Self {
        let is_json =
            path.and_then(Path::extension).is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        if is_json { Self::Json } else { Self::Toml }
    }
}

/// Octets of the largest document that is read: a million records.
const LARGEST: u64 = 256 << 20;

/// Reads a document; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let (read, hint_of_pipe) = match path.as_os_str() == "-" {
        true => (standard_input(), None),
        false => {
            let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
            let hint = "write `-` in place of the file and lead the pipe to standard input";
            (file::read_text(path, LARGEST), is_pipe.then(|| hint.to_string()))
        }
    };
    let path = path.display();
    let text = read.map_err(|error| Failure {
        code: exit::SYSTEM,
        message: format!("cannot read {path}: {error}"),
        hint: hint_of_pipe,
    })?;
    parse(&text).map_err(|why| {
        let failure = Failure::finding(format!("{path} is not a document of zones: {}", why.trim_end()));
        failure.hint(hint(&text))
    })
}

/// All of standard input, up to the bound.
fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(LARGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= LARGEST {
        true => Ok(text),
        false => Err(io::Error::other(format!("it is larger than {LARGEST} octets"))),
    }
}

/// A document in either form: JSON begins with a brace, which TOML never does.
pub(super) fn parse(text: &str) -> Result<Document, String> {
    match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => toml::from_str(text).map_err(|error| error.to_string()),
    }
}

fn hint(text: &str) -> &'static str {
    let is_ours = text.lines().any(|line| ["[[zone]]", "[control]", "[server]"].contains(&line.trim()));
    if is_ours {
        "this looks like a configuration file of pvtzd: its zones are served by `pvtzd run --config` and need no \
         import; `pvtzd export --all` of a pvtzd that runs with it writes them as a document"
    } else {
        "a document has [[Zones]] with ZoneName and [[Zones.Records]] with Rr, Type and Value, as `pvtzd export` \
         writes them"
    }
}

/// Writes a document down.
pub(super) fn write(document: &Document, format: Format) -> Result<String, Failure> {
    let written = match format {
        Format::Json => {
            serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        Format::Toml => toml::to_string(document).map_err(|error| error.to_string()),
    };
    written.map_err(|message| Failure { code: exit::SYSTEM, message, hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[Zones]]\nZoneName = \"a.example\"\nProxyPattern = \"RECORD\"\n\n[[Zones.BindVpcs]]\n\
        VpcId = \"v\"\n\n[[Zones.Records]]\nRr = \"@\"\nType = \"TXT\"\nValue = \"a \\\"b\\\"\"\nTtl = 60\n";

    #[test]
    fn both_forms_say_the_same() {
        let document = parse(TEXT).unwrap();
        for format in [Format::Toml, Format::Json] {
            assert_eq!(parse(&write(&document, format).unwrap()).unwrap(), document);
        }
        assert_eq!(write(&document, Format::Toml).unwrap().lines().next(), Some("[[Zones]]"));
        let empty = Document::default();
        for format in [Format::Toml, Format::Json] {
            assert_eq!(parse(&write(&empty, format).unwrap()).unwrap(), empty);
        }
    }

    #[test]
    fn a_configuration_file_is_told_apart() {
        assert!(parse("[[zone]]\nname = \"a\"\n").is_err());
        assert!(hint("[[zone]]\nname = \"a\"\n").contains("configuration file"));
        assert!(hint("[[Zone]]\n").contains("[[Zones]]"));
    }
}
