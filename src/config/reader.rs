//! One file, being read: where things are in it, and what is wrong with it.

use super::fault::{Fault, Severity};
use super::nearest;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in the file: the key path and the bytes it covers.
#[derive(Clone, Debug, Default)]
pub(super) struct At {
    /// Such as `zone[2].record[0].ttl`.
    pub path: String,
    /// In bytes from the start of the file.
    pub span: Range<usize>,
}

/// Something with the place where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub at: At,
}

/// Collects the faults of one file.
pub(super) struct Reader<'s> {
    /// The file's name.
    file: PathBuf,
    /// What is in it.
    text: &'s str,
    /// Where the lines begin, in bytes.
    lines: Vec<usize>,
    /// What lies behind the first fault of syntax was only guessed at and is not reported on.
    limit: usize,
    /// Others than the file's owner may read it.
    open_to_others: bool,
    /// With the byte each begins at.
    faults: RefCell<Vec<(usize, Fault)>>,
    /// The keys that were asked for, by kind of section.
    known: RefCell<BTreeMap<String, Vec<&'static str>>>,
    /// Told at the end, when all known keys are known.
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that nobody took.
pub(super) struct Unknown {
    /// Where it is.
    pub at: At,
    /// The key alone.
    pub key: String,
    /// Whether it is written as a section.
    pub is_section: bool,
    /// The kind of section it is in.
    pub kind: String,
}

impl<'s> Reader<'s> {
    /// A reader of a file's text.
    pub fn new(text: &'s str, file: &Path) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            text,
            lines: std::iter::once(0).chain(breaks).collect(),
            limit: usize::MAX,
            open_to_others: false,
            faults: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// Says that others than the file's owner may read it.
    pub fn set_open_to_others(&mut self, open: bool) {
        self.open_to_others = open;
    }

    /// True when others than the file's owner may read it.
    pub fn is_open_to_others(&self) -> bool {
        self.open_to_others
    }

    /// Notes faults of syntax. From here on only what lies on the lines before the first of them is reported on.
    pub fn syntax(&mut self, errors: &[toml::de::Error]) {
        let mut told = BTreeSet::new();
        for error in errors {
            let at = At { path: String::new(), span: error.span().unwrap_or(0..0) };
            let line = self.line_of(&at);
            if error.message() == "duplicate key" {
                // The parser is not thrown off by it, so what follows is worth reporting on.
                let key = self.text.get(at.span.clone()).unwrap_or_default();
                let hint = "a key, and a section in single brackets, is written once; join the two";
                self.error(&at, format!("`{}` is there already", shortened(key)), hint.to_string());
            } else if told.insert(line) {
                // What follows on the line follows from the first fault.
                let hint = syntax_hint(error.message(), self.text_of(line));
                self.error(&at, format!("this is not TOML: {}", error.message()), hint);
            }
        }
        self.limit = told.first().map_or(usize::MAX, |line| self.lines[line - 1]);
    }

    /// False after a fault of syntax: then an absent key may be a misread one.
    pub fn is_whole(&self) -> bool {
        self.limit == usize::MAX
    }

    /// True when there was an error so far.
    pub fn has_errors(&self) -> bool {
        !self.unknown.borrow().is_empty()
            || self.faults.borrow().iter().any(|(_, fault)| fault.severity == Severity::Error)
    }

    /// Notes an error.
    pub fn error(&self, at: &At, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Error, at, message.into(), hint.into());
    }

    /// Notes a warning.
    pub fn warning(&self, at: &At, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Warning, at, message.into(), hint.into());
    }

    /// Notes a fault of another file, which is named at a place of this one.
    pub fn foreign(&self, at: &At, fault: Fault) {
        self.faults.borrow_mut().push((at.span.start, fault));
    }

    /// Notes a key that nobody took; it is told at the end.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown.borrow_mut().push(unknown);
    }

    /// Notes the keys that a kind of section can have.
    pub fn note_keys(&self, kind: String, keys: Vec<&'static str>) {
        self.known.borrow_mut().insert(kind, keys);
    }

    /// The line of a place, from 1.
    pub fn line_of(&self, at: &At) -> usize {
        self.lines.partition_point(|&start| start <= at.span.start).max(1)
    }

    /// The folder that the file is in, which paths in it are relative to.
    pub fn folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).into()
    }

    /// A line, counted from 1, without its break.
    fn text_of(&self, line: usize) -> &'s str {
        let rest = self.lines.get(line - 1).and_then(|&start| self.text.get(start..)).unwrap_or_default();
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }

    /// All faults in the order of the file.
    pub fn finish(self) -> Vec<Fault> {
        for unknown in self.unknown.take() {
            let (message, hint) = self.tell_unknown(&unknown);
            self.error(&unknown.at, message, hint);
        }
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|(start, _)| *start);
        faults.dedup();
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    /// The keys that can be in each kind of section, as far as sections of the kind were read.
    #[cfg(test)]
    pub fn known(&self) -> BTreeMap<String, Vec<&'static str>> {
        self.known.borrow().clone()
    }

    /// Notes a fault.
    fn note(&self, severity: Severity, at: &At, message: String, hint: Option<String>) {
        if at.span.start >= self.limit {
            return;
        }
        let line = self.line_of(at);
        let start = self.lines[line - 1];
        let excerpt = self.text_of(line);
        let column = chars_before(excerpt, at.span.start - start) + 1;
        let end = chars_before(excerpt, at.span.end.saturating_sub(start));
        let fault = Fault {
            severity,
            file: self.file.clone(),
            line,
            column,
            key: at.path.clone(),
            message,
            hint,
            excerpt: excerpt.into(),
            width: (end + 1).saturating_sub(column).max(1),
        };
        self.faults.borrow_mut().push((at.span.start, fault));
    }

    /// What is said of a key that nobody took.
    fn tell_unknown(&self, unknown: &Unknown) -> (String, String) {
        let known = self.known.borrow();
        let here = known.get(&unknown.kind).map(Vec::as_slice).unwrap_or_default();
        let key = &unknown.key;
        let (message, keys) = match unknown.kind.as_str() {
            "" if unknown.is_section => (format!("unknown section `{key}`"), "the sections are"),
            "" => (format!("unknown key `{key}` at the top of the file"), "the sections are"),
            kind => (format!("unknown key `{key}` in {}", heading(kind)), "the keys here are"),
        };
        // of several sections the one with the most keys: it is the one that is used most
        let elsewhere = || {
            let having = known.iter().filter(|(kind, keys)| !kind.is_empty() && keys.contains(&key.as_str()));
            having.max_by_key(|(_, keys)| keys.len())
        };
        let hint = match (nearest::of(key, here.iter().copied()), elsewhere()) {
            (Some(near), _) => format!("did you mean `{near}`? {keys} {}", listed(here)),
            (None, Some((kind, _))) => {
                format!("`{key}` belongs to {}; {keys} {}", heading(kind), listed(here))
            }
            (None, None) => format!("{keys} {}", listed(here)),
        };
        (message, hint)
    }
}

/// A list for a sentence: `a`, `b`, `c`.
pub(super) fn listed<T: AsRef<str>>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    quoted.join(", ")
}

/// Text out of the file for a sentence: long text is cut.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// How a section's header is written in the file.
pub(super) fn heading(kind: &str) -> String {
    match kind {
        "forward" | "vpc" | "zone" | "zone.record" | "expect" | "control.access_key" | "control.host" => {
            format!("[[{kind}]]")
        }
        _ => format!("[{kind}]"),
    }
}

/// How many characters of a line begin before a byte of it.
fn chars_before(line: &str, byte: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < byte).count()
}

/// The slips that happen most, by what the TOML parser says of a line.
fn syntax_hint(message: &str, line: &str) -> Option<String> {
    let hint = match message {
        _ if line.trim_start().starts_with('[') => "is the list before this line closed with a `]`?",
        m if m.contains("string values must be quoted") => "put text between quotes: key = \"text\"",
        _ => return None,
    };
    Some(hint.into())
}
