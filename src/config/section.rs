//! Reading a table of the file key by key. What cannot be taken is noted as a fault and reads as absent, so that
//! one run finds all faults; keys that nobody took are faults too.

use super::fault::{Fault, Severity};
use super::nearest;
use super::value::{Value, shortened};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

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
    /// With the byte each begins at.
    faults: RefCell<Vec<(usize, Fault)>>,
    /// The keys that were asked for, by kind of section.
    known: RefCell<BTreeMap<String, Vec<&'static str>>>,
    /// Told at the end, when all known keys are known.
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that nobody took.
struct Unknown {
    /// Where it is.
    at: At,
    /// The key alone.
    key: String,
    /// Whether it is written as a section.
    is_section: bool,
    /// The kind of section it is in.
    kind: String,
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
            faults: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
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

/// A table of the file, being read.
pub(super) struct Section<'a> {
    /// Where faults go.
    reader: &'a Reader<'a>,
    /// What TOML has.
    table: &'a DeTable<'a>,
    /// Its header.
    pub at: At,
    /// Its path without indices: `zone.record`.
    kind: String,
    /// The keys that were asked for.
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The table at a place.
    pub fn new(reader: &'a Reader<'a>, table: &'a DeTable<'a>, at: At) -> Self {
        let kind = kind_of(&at.path);
        Self { reader, table, at, kind, asked: Vec::new() }
    }

    /// The value of a key as `read` makes it; nothing when the key is absent or its value is at fault.
    pub fn take<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        read(&self.value(key)?)
    }

    /// Like [`Section::take`], with the place of the value.
    pub fn take_located<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Located<T>> {
        let value = self.value(key)?;
        Some(Located { value: read(&value)?, at: value.at })
    }

    /// Like [`Section::take_located`] for a key that must be there.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Located<T>> {
        if !self.table.contains_key(key) && self.reader.is_whole() {
            let hint = format!("add {key} = {example}");
            self.reader.error(&self.at, format!("{} needs a `{key}`", heading(&self.kind)), hint);
        }
        self.take_located(key, read)
    }

    /// Its path without indices.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Counts a key as known that is read only where it is there.
    pub fn knows(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    /// True when the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The reader that faults go to.
    pub fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// The raw value of a key, which counts as known from here on.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let (_, value) = self.table.get_key_value(key)?;
        let path = joined(&self.at.path, key);
        Some(Value::new(self.reader, At { path, span: value.span() }, value.get_ref()))
    }

    /// Ends the reading: keys that were not asked for are unknown.
    pub fn finish(self) {
        for (key, value) in self.table.iter() {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let at = At { path: joined(&self.at.path, key.get_ref()), span: key.span() };
                let key = key.get_ref().to_string();
                let unknown =
                    Unknown { at, key, is_section: is_section(value.get_ref()), kind: self.kind.clone() };
                self.reader.unknown.borrow_mut().push(unknown);
            }
        }
        self.reader.known.borrow_mut().insert(self.kind, self.asked);
    }
}

/// True for what is written under a header.
fn is_section(value: &DeValue) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()),
        _ => false,
    }
}

/// A list for a sentence: `a`, `b`, `c`.
pub(super) fn listed<T: AsRef<str>>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    quoted.join(", ")
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

/// A key below a path.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// A path without its indices.
fn kind_of(path: &str) -> String {
    let mut kind = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if !inside => kind.push(c),
            _ => {}
        }
    }
    kind
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
