//! The reader of one file: places and errors.

use super::fault::{Fault, Severity};
use super::key_path::KeyPath;
use super::suggest;
use crate::engine::sort;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Maximum number of shown errors of each severity; more are only counted.
const MAX_SHOWN: usize = 1000;

/// Bytes between two places whose line is remembered.
const LINE_STEP: usize = 1 << 14;

/// A place in the file: the key path and the bytes it covers.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    /// Such as `zone[2].record[0].ttl`.
    pub path: KeyPath,
    /// In bytes from the start of the file.
    pub span: Range<usize>,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub at: Span,
}

/// Collects the faults of one file.
pub(super) struct ConfigReader<'s> {
    /// The file's name.
    file: PathBuf,
    /// What is in it.
    text: &'s str,
    /// Line breaks before each multiple of [`LINE_STEP`] bytes, counted once a line is told.
    breaks: OnceCell<Vec<u32>>,
    /// Where the parts of a text lie that was put together out of the file: its byte there, and in the file.
    parts: Vec<(usize, usize)>,
    /// Text after the first syntax error is unreliable, and its errors are not reported.
    limit: Cell<usize>,
    /// Other users than the file's owner can read it.
    open_to_others: bool,
    /// With the byte each begins at.
    faults: RefCell<Vec<(usize, Fault)>>,
    /// How many errors and warnings there were, those among them that are not kept.
    counts: [Cell<usize>; 2],
    /// The keys that were asked for, by kind of section.
    known: RefCell<BTreeMap<KeyPath, Vec<&'static str>>>,
    /// Told at the end, when all known keys are known.
    unknown: RefCell<Vec<Unknown>>,
}

/// A key that no code took.
pub(super) struct Unknown {
    /// Where it is.
    pub at: Span,
    /// The key alone.
    pub key: String,
    /// Whether it is written as a section.
    pub is_section: bool,
    /// The kind of section it is in.
    pub kind: KeyPath,
}

/// Where a text that is parsed on its own lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// It begins at this byte.
    At(usize),
    /// It was put together of parts, which the reader knows.
    Parts,
}

impl<'s> ConfigReader<'s> {
    /// A reader of a file's text.
    pub fn new(text: &'s str, file: &Path) -> Self {
        Self {
            file: file.into(),
            text,
            breaks: OnceCell::new(),
            parts: Vec::new(),
            limit: Cell::new(usize::MAX),
            open_to_others: false,
            faults: RefCell::default(),
            counts: Default::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// Says where the parts of [`Origin::Parts`] lie: for each its byte there, and in the file.
    pub fn set_parts(&mut self, parts: Vec<(usize, usize)>) {
        self.parts = parts;
    }

    /// Where a span of a text that was parsed lies in the file.
    pub fn place(&self, origin: Origin, span: Range<usize>) -> Range<usize> {
        let shift = match origin {
            Origin::At(start) => start,
            Origin::Parts => {
                let part = self.parts.partition_point(|part| part.0 <= span.start).saturating_sub(1);
                self.parts.get(part).map_or(0, |(there, here)| here - there)
            }
        };
        span.start + shift..span.end + shift
    }

    /// Records that other users than the file's owner can read it.
    pub fn set_open_to_others(&mut self, open: bool) {
        self.open_to_others = open;
    }

    /// True if other users than the file's owner can read it.
    pub fn is_open_to_others(&self) -> bool {
        self.open_to_others
    }

    /// Records syntax errors. From here on only errors on lines before the first of them are reported.
    pub fn syntax(&self, errors: &[toml::de::Error], origin: Origin) {
        let mut told = BTreeSet::new();
        for error in errors {
            let span = self.place(origin, error.span().unwrap_or(0..0));
            let at = Span { path: KeyPath::default(), span };
            let line = self.line_of(&at);
            if error.message() == "duplicate key" {
                // The parser is not thrown off by it, so what follows is worth reporting on.
                let key = self.text.get(at.span.clone()).unwrap_or_default();
                let hint = "a key, or a section in single brackets, may occur only once; join the two";
                self.error(&at, format!("`{}` is there already", shortened(key)), hint.to_string());
            } else if told.insert(line) {
                // What follows on the line follows from the first fault.
                let hint = syntax_hint(error.message(), self.text_of(line));
                self.error(&at, format!("invalid TOML: {}", error.message()), hint);
            }
        }
        let first = told.first().map_or(usize::MAX, |&line| self.start_of(line));
        self.limit.set(self.limit.get().min(first));
    }

    /// False after a fault of syntax: then an absent key may be a misread one.
    pub fn is_whole(&self) -> bool {
        self.limit.get() == usize::MAX
    }

    /// True when there was an error so far.
    pub fn has_errors(&self) -> bool {
        !self.unknown.borrow().is_empty() || self.counts[Severity::Error as usize].get() > 0
    }

    /// True when there was an error or a warning so far.
    pub fn has_faults(&self) -> bool {
        !self.unknown.borrow().is_empty() || self.counts.iter().any(|count| count.get() > 0)
    }

    /// Notes an error.
    pub fn error(&self, at: &Span, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Error, at, at.path.to_string(), message.into(), hint.into());
    }

    /// Notes a warning.
    pub fn warning(&self, at: &Span, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.note(Severity::Warning, at, at.path.to_string(), message.into(), hint.into());
    }

    /// Notes a fault of another file, which is named at a place of this one.
    pub fn foreign(&self, at: &Span, fault: Fault) {
        self.keep(at.span.start, fault);
    }

    /// Keeps a fault, or counts it where there are many already.
    fn keep(&self, start: usize, fault: Fault) {
        let count = &self.counts[fault.severity as usize];
        count.set(count.get() + 1);
        if count.get() <= MAX_SHOWN {
            self.faults.borrow_mut().push((start, fault));
        }
    }

    /// Notes an unknown key; it is reported at the end.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown.borrow_mut().push(unknown);
    }

    /// Notes the keys that a kind of section can have.
    pub fn note_keys(&self, kind: KeyPath, keys: Vec<&'static str>) {
        self.known.borrow_mut().insert(kind, keys);
    }

    fn breaks(&self) -> &[u32] {
        self.breaks.get_or_init(|| {
            let mut before = 0;
            let breaks = self.text.as_bytes().chunks(LINE_STEP).map(|bytes| {
                let here = before;
                before += line_breaks(bytes) as u32; // a file has fewer than 2^32 bytes
                here
            });
            breaks.collect()
        })
    }

    /// The line of a place, from 1.
    pub fn line_of(&self, at: &Span) -> usize {
        let place = at.span.start.min(self.text.len());
        let step = (place / LINE_STEP).min(self.breaks().len().saturating_sub(1));
        let before = self.breaks().get(step).map_or(0, |&breaks| breaks as usize);
        let since = self.text.as_bytes().get(step * LINE_STEP..place).unwrap_or_default();
        1 + before + line_breaks(since)
    }

    /// The byte that a line, counted from 1, begins with.
    fn start_of(&self, line: usize) -> usize {
        let step = self.breaks().partition_point(|&breaks| (breaks as usize) < line - 1).saturating_sub(1);
        let mut left =
            (line - 1).saturating_sub(self.breaks().get(step).map_or(0, |&breaks| breaks as usize));
        let begin = step * LINE_STEP;
        let mut bytes = self.text.as_bytes().get(begin..).unwrap_or_default().iter();
        let mut at = begin;
        while left > 0 {
            match bytes.next() {
                Some(b'\n') => left -= 1,
                Some(_) => {}
                None => break,
            }
            at += 1;
        }
        at
    }

    /// The folder that the file is in, which paths in it are relative to.
    pub fn folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).into()
    }

    /// A line, counted from 1, without its break.
    fn text_of(&self, line: usize) -> &'s str {
        let rest = self.text.get(self.start_of(line)..).unwrap_or_default();
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }

    /// All faults in the order of the file.
    pub fn finish(self) -> Vec<Fault> {
        for unknown in self.unknown.take() {
            let (message, hint) = self.tell_unknown(&unknown);
            let key = match unknown.at.path.to_string().as_str() {
                "" => unknown.key,
                path => format!("{path}.{}", unknown.key),
            };
            self.note(Severity::Error, &unknown.at, key, message, hint.into());
        }
        let mut faults = self.faults.take();
        sort::by_key(&mut faults, |(start, _)| *start);
        faults.dedup();
        let mut faults: Vec<Fault> = faults.into_iter().map(|(_, fault)| fault).collect();
        for (severity, word) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
            let more = self.counts[severity as usize].get().saturating_sub(MAX_SHOWN);
            if let Some(last) = faults.iter().rfind(|fault| fault.severity == severity).filter(|_| more > 0) {
                let message = format!("{more} more {word} are not shown");
                faults.push(Fault { message, hint: None, ..last.clone() });
            }
        }
        faults
    }

    /// The keys that can be in each kind of section, as far as sections of the kind were read.
    #[cfg(test)]
    pub fn known(&self) -> BTreeMap<String, Vec<&'static str>> {
        self.known.borrow().iter().map(|(kind, keys)| (kind.to_string(), keys.clone())).collect()
    }

    /// Notes a fault.
    fn note(&self, severity: Severity, at: &Span, key: String, message: String, hint: Option<String>) {
        if at.span.start >= self.limit.get() {
            return;
        }
        let line = self.line_of(at);
        let start = self.start_of(line);
        let excerpt = self.text_of(line);
        let column = chars_before(excerpt, at.span.start - start) + 1;
        let end = chars_before(excerpt, at.span.end.saturating_sub(start));
        let fault = Fault {
            severity,
            file: self.file.clone(),
            line,
            column,
            key,
            message,
            hint,
            excerpt: excerpt.into(),
            width: (end + 1).saturating_sub(column).max(1),
        };
        self.keep(at.span.start, fault);
    }

    /// The message and hint for an unknown key.
    fn tell_unknown(&self, unknown: &Unknown) -> (String, String) {
        let known = self.known.borrow();
        let here = known.get(&unknown.kind).map(Vec::as_slice).unwrap_or_default();
        let key = &unknown.key;
        let (message, keys) = match unknown.kind.to_string().as_str() {
            "" if unknown.is_section => (format!("unknown section `{key}`"), "the sections are"),
            "" => (format!("unknown key `{key}` at the top of the file"), "the sections are"),
            kind => (format!("unknown key `{key}` in {}", heading(kind)), "the keys here are"),
        };
        // of several sections the one with the most keys: it is the one that is used most
        let elsewhere = || {
            let having = known
                .iter()
                .map(|(kind, keys)| (kind.to_string(), keys))
                .filter(|(kind, keys)| !kind.is_empty() && keys.contains(&key.as_str()));
            having.max_by_key(|(_, keys)| keys.len())
        };
        let hint = match (suggest::suggest(key, here.iter().copied()), elsewhere()) {
            (Some(near), _) => format!("did you mean `{near}`? {keys} {}", listed(here)),
            (None, Some((kind, _))) => {
                format!("`{key}` belongs to {}; {keys} {}", heading(&kind), listed(here))
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
        "forward" | "vpc" | "zone" | "zone.record" | "secondary" | "tsig" | "retain" | "hosts" | "expect"
        | "control.access_key" | "control.host" => {
            format!("[[{kind}]]")
        }
        _ => format!("[{kind}]"),
    }
}

/// How many line breaks there are among some bytes.
fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// How many characters of a line begin before a byte of it.
fn chars_before(line: &str, byte: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < byte).count()
}

/// Hints for frequent mistakes, by the message of the TOML parser.
fn syntax_hint(message: &str, line: &str) -> Option<String> {
    let hint = match message {
        _ if line.trim_start().starts_with('[') => "is the list before this line closed with a `]`?",
        m if m.contains("string values must be quoted") => "put text between quotes: key = \"text\"",
        _ => return None,
    };
    Some(hint.into())
}
