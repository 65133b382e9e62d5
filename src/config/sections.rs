//! Common functions for several sections: nested sections, and kinds of values.

use super::key_path::KeyPath;
use super::reader::{ConfigReader, Span, Spanned};
use super::section::Section;
use super::value::Value;
use toml::de::{DeTable, DeValue};

/// Reads a section that occurs at most once; an absent one is an empty one.
pub(super) fn read_one<'a, T>(
    reader: &'a ConfigReader<'a>,
    top: &mut Section<'a>,
    key: &'static str,
    read: impl FnOnce(&mut Section<'a>) -> T,
) -> T {
    static EMPTY: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);
    let found = top.value(key).and_then(|value| match value.raw() {
        DeValue::Table(table) => Some((table, value.at)),
        DeValue::Array(_) => value.wrong_type("one section", format!("write [{key}], once")),
        _ => value.wrong_type("a section", format!("write [{key}] on a line of its own")),
    });
    let absent = Span { path: KeyPath::default().key(key), span: 0..0 };
    let (table, at) = found.unwrap_or((&EMPTY, absent));
    let mut section = Section::new(reader, table, top.origin(), at);
    let value = read(&mut section);
    section.finish();
    value
}

/// Reads a section that may occur several times.
pub(super) fn read_each<'a, T>(
    reader: &'a ConfigReader<'a>,
    above: &mut Section<'a>,
    key: &'static str,
    read: impl FnMut(&mut Section<'a>) -> Option<T>,
) -> Vec<T> {
    read_each_from(reader, above, key, 0, read)
}

/// The same where `first` of these sections are in tables that were read before.
pub(super) fn read_each_from<'a, T>(
    reader: &'a ConfigReader<'a>,
    above: &mut Section<'a>,
    key: &'static str,
    first: usize,
    mut read: impl FnMut(&mut Section<'a>) -> Option<T>,
) -> Vec<T> {
    let kind = above.kind().key(key);
    let hint = format!("write [[{kind}]], with two brackets, before each");
    let Some(value) = above.value(key) else { return Vec::new() };
    let DeValue::Array(array) = value.raw() else {
        value.wrong_type::<()>("a list of sections", hint);
        return Vec::new();
    };
    let mut all = Vec::new();
    for (index, item) in array.iter().enumerate() {
        let span = reader.place(value.origin, item.span());
        let at = Span { path: value.at.path.item(first + index), span };
        let DeValue::Table(table) = item.get_ref() else {
            Value::new(reader, value.origin, at, item.get_ref()).wrong_type::<()>("a section", hint.clone());
            continue;
        };
        let mut section = Section::new(reader, table, value.origin, at);
        all.extend(read(&mut section));
        section.finish();
    }
    all
}

/// `vpcs` of a zone or a rule.
pub(super) fn vpc_ids(value: &Value) -> Option<Vec<Spanned<String>>> {
    value.some("an empty list of VPCs: no client would see it", "omit `vpcs` for all clients", |item| {
        Some(item.text()?.to_string())
    })
}

/// A string that says something.
pub(super) fn not_empty(value: &Value) -> Option<String> {
    match value.text()? {
        "" => value.wrong("an empty string", None),
        text => Some(text.into()),
    }
}

/// `server_names`: the hosts that requests over HTTP may name.
pub(super) fn server_names(section: &mut Section) -> Vec<String> {
    let names = section.take("server_names", |value| {
        value.list(|item| {
            let text = not_empty(item)?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            match text.chars().all(is_name) && text != "." {
                true => Some(text),
                false => item.wrong(
                    format!("`{text}` is not a host name"),
                    "write only the name, such as \"metrics.corp.example\": no scheme, port or *".to_string(),
                ),
            }
        })
    });
    values(names.unwrap_or_default())
}

/// A path; one that is not absolute is looked up beside the file.
pub(super) fn path(section: &mut Section, key: &'static str) -> Option<std::path::PathBuf> {
    let folder = section.reader().folder();
    section.take(key, not_empty).map(|path| folder.join(path))
}

/// The values without their places.
pub(super) fn values<T>(items: Vec<Spanned<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}
