//! Reading a table of the file key by key. What cannot be taken is noted as a fault and reads as absent, so that
//! one run finds all faults; keys that nobody took are faults too.

use super::reader::{At, Located, Reader, Unknown, heading};
use super::value::Value;
use toml::de::{DeTable, DeValue};

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
                self.reader.unknown(unknown);
            }
        }
        self.reader.note_keys(self.kind, self.asked);
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
