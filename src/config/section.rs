//! Reads a table of the file key by key. An invalid value is recorded as an error and treated as absent, so that one
//! run finds all errors; unknown keys are errors too.

use super::key_path::KeyPath;
use super::reader::{ConfigReader, Origin, Span, Spanned, Unknown, heading};
use super::value::Value;
use std::fmt::Display;
use toml::de::{DeTable, DeValue};

/// A table of the file, being read.
pub(super) struct Section<'a> {
    /// Where faults go.
    reader: &'a ConfigReader<'a>,
    /// What TOML has.
    table: &'a DeTable<'a>,
    /// Where the text lies that the table was parsed from.
    origin: Origin,
    /// Its header.
    pub at: Span,
    /// The keys that were asked for.
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The table at a place.
    pub fn new(reader: &'a ConfigReader<'a>, table: &'a DeTable<'a>, origin: Origin, at: Span) -> Self {
        Self { reader, table, origin, at, asked: Vec::with_capacity(8) }
    }

    /// The value of a key, parsed by `read`; None if the key is absent or its value is invalid.
    pub fn take<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        read(&self.value(key)?)
    }

    /// Like [`Section::take`], with the place of the value.
    pub fn take_located<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        Some(Spanned { value: read(&value)?, at: value.at })
    }

    /// Like [`Section::take_located`] for a key that must be there.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        example: impl Display,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        if !self.table.contains_key(key) && self.reader.is_whole() {
            let hint = format!("add {key} = {example}");
            self.reader.error(
                &self.at,
                format!("{} needs a `{key}`", heading(&self.kind().to_string())),
                hint,
            );
        }
        self.take_located(key, read)
    }

    /// Its path without indices.
    pub fn kind(&self) -> KeyPath {
        self.at.path.kind()
    }

    /// Where the text lies that it was parsed from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Counts a key as known that is read only where it is there.
    pub fn allow(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    /// True when the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The reader that faults go to.
    pub fn reader(&self) -> &'a ConfigReader<'a> {
        self.reader
    }

    /// The raw value of a key, which counts as known from here on.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let (_, value) = self.table.get_key_value(key)?;
        let span = self.reader.place(self.origin, value.span());
        let at = Span { path: self.at.path.key(key), span };
        Some(Value::new(self.reader, self.origin, at, value.get_ref()))
    }

    /// Ends the reading: keys that were not asked for are unknown.
    pub fn finish(self) {
        for (key, value) in self.table.iter() {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let at = Span { path: self.at.path, span: self.reader.place(self.origin, key.span()) };
                let key = key.get_ref().to_string();
                let unknown = Unknown { at, key, is_section: is_section(value.get_ref()), kind: self.kind() };
                self.reader.unknown(unknown);
            }
        }
        self.reader.note_keys(self.kind(), self.asked);
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
