//! Errors of a configuration file, with the place, the found value, and the correction. All errors of a file are
//! reported at once; this module does not decide whether the program continues.

use crate::base::terminal::Style;
use crate::engine::text::{is_hazard, printable};
use serde::{Serialize, Serializer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Columns of a source line that are shown; longer lines are cut around the fault.
const SHOWN: usize = 140;

/// The severity of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, but probably contains a mistake.
    Warning,
}

/// One fault of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, such as `zone[2].record[0].ttl`; empty for faults of syntax.
    pub key: String,
    /// The found value and the error.
    pub message: String,
    /// The allowed values, or the correction.
    pub hint: Option<String>,
    /// The source line, without its line break.
    #[serde(skip)]
    pub excerpt: String,
    /// How many characters of the line are at fault.
    #[serde(skip)]
    pub width: usize,
}

impl Fault {
    /// The fault for people, over several lines, without a line break at the end.
    pub fn render(&self, color: bool) -> String {
        let paint = |style: Style, text: &str| style.paint(color, text);
        let (word, style) = match self.severity {
            Severity::Error => ("error", Style::BoldRed),
            Severity::Warning => ("warning", Style::BoldYellow),
        };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let bar = paint(Style::BoldBlue, "|");
        let (shown, before, width) = self.window();
        let mut text = format!(
            "{}: {}\n{gutter} {} {}:{}:{}\n{gutter}  {bar}\n{} {bar} {shown}\n{gutter}  {bar} {before}{}",
            paint(style, word),
            paint(Style::Bold, &printable(&self.message)),
            paint(Style::BoldBlue, "-->"),
            printable(&self.file.display().to_string()),
            self.line,
            self.column,
            paint(Style::BoldBlue, &format!(" {number}")),
            paint(style, &"^".repeat(width)),
        );
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n{}: {}", paint(Style::BoldCyan, "hint"), printable(hint)));
        }
        text
    }

    /// The part of the line that is shown, the blanks before the carets, and the number of carets.
    fn window(&self) -> (String, String, usize) {
        let chars: Vec<char> = self.excerpt.chars().map(tame).collect();
        let at = (self.column - 1).min(chars.len());
        let from = if chars.len() <= SHOWN { 0 } else { at.saturating_sub(SHOWN / 2) };
        let to = chars.len().min(from + SHOWN);
        let mut shown: String = chars[from..to].iter().collect();
        // A tab stays a tab under the line, so that the carets stand where the fault is.
        let mut before: String =
            chars[from..at].iter().map(|&c| if c == '\t' { '\t' } else { ' ' }).collect();
        if from > 0 {
            shown.insert(0, '…');
            before.push(' ');
        }
        if to < chars.len() {
            shown.push('…');
        }
        (shown, before, self.width.min(to.saturating_sub(at)).max(1))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Why a configuration could not be loaded.
#[derive(Debug)]
pub enum ConfigError {
    /// The file could not be read.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The errors of the file, in its order, including warnings.
    Faults(Vec<Fault>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } if path.as_os_str().is_empty() => {
                f.write_str("the path of the configuration is empty")
            }
            Self::Io { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())?;
                match crate::base::file::obstacle(path) {
                    Some(obstacle) => write!(f, "; {obstacle}"),
                    None => Ok(()),
                }
            }
            Self::Faults(faults) => {
                let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&shown.join("\n\n"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Faults(_) => None,
        }
    }
}

/// A path as text even where it is not UTF-8: a report must not fail over a file's name.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A character of the line that is shown: as it is, or a mark of the same width.
fn tame(c: char) -> char {
    if is_hazard(c) && c != '\t' { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault {
            severity: Severity::Error,
            file: "pvtzd.toml".into(),
            line: 12,
            column: 3,
            key: "server.lisen".into(),
            message: "unknown key `lisen`".into(),
            hint: Some("did you mean `listen`?".into()),
            excerpt: "\t lisen = []".into(),
            width: 5,
        }
    }

    #[test]
    fn a_fault_shows_the_place_in_the_line() {
        let expected = "error: unknown key `lisen`\n   --> pvtzd.toml:12:3\n    |\n 12 | \t lisen = []\n    | \t ^^^^^\n\
                        hint: did you mean `listen`?";
        assert_eq!(fault().to_string(), expected);
    }

    #[test]
    fn a_file_cannot_write_to_the_terminal() {
        let evil = Fault {
            message: "\x1b[2J".into(),
            hint: Some("\x07".into()),
            excerpt: "\x1b]0;x\x07".into(),
            file: "a\nb".into(),
            ..fault()
        };
        assert!(!evil.render(false).chars().any(|c| c.is_control() && c != '\n'), "{evil}");
        assert!(fault().render(true).contains("\x1b[1;31merror\x1b[0m"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let long = Fault { excerpt: "x".repeat(5000), column: 4000, width: 900, ..fault() };
        assert!(long.to_string().lines().all(|line| line.chars().count() < 160), "{long}");
        let beyond = Fault { excerpt: String::new(), column: 40, ..fault() };
        assert!(beyond.to_string().contains('^'));
    }

    #[test]
    fn json_has_what_a_program_needs() {
        let json = serde_json::to_string(&fault()).unwrap();
        assert_eq!(
            json,
            r#"{"severity":"error","file":"pvtzd.toml","line":12,"column":3,"key":"server.lisen","message":"unknown key `lisen`","hint":"did you mean `listen`?"}"#
        );
    }
}
