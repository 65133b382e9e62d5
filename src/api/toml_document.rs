//! A document in TOML, read as JSON: so the types of a document are read by one reader. What is wrong with it is told by
//! its place in the TOML.

use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Deepest nesting that is written; the reader of JSON refuses less.
const DEEPEST: usize = 200;

/// Reads a document.
///
/// # Errors
/// It is no TOML, or says what such a document cannot say.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let writer = JsonWriter::of(text, false)?;
    serde_json::from_slice(writer.json.as_bytes()).map_err(|error| {
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&suffix).unwrap_or(&message);
        // All of the JSON is on one line.
        let end = error.column();
        let places = JsonWriter::of(text, true).unwrap_or_default().places;
        let place = places.into_iter().take_while(|(start, _)| *start <= end).last();
        place.map_or_else(|| message.to_string(), |(_, place)| located(text, place, message))
    })
}

/// The message with the line that it is about, in the form of the TOML parser's own.
fn located(text: &str, place: Range<usize>, message: &str) -> String {
    let start = text.floor_char_boundary(place.start);
    let before = &text[..start];
    let number = before.matches('\n').count() + 1;
    let first = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[first..].lines().next().unwrap_or_default();
    let column = text[first..start].chars().count();
    let rest = line.chars().count().saturating_sub(column);
    let marks = text.get(place).map_or(1, |marked| marked.chars().count()).clamp(1, rest.max(1));
    let margin = " ".repeat(number.to_string().len());
    format!(
        "TOML parse error at line {number}, column {}\n{margin} |\n{number} | {line}\n{margin} | {}{}\n{message}\n",
        column + 1,
        " ".repeat(column),
        "^".repeat(marks)
    )
}

/// TOML as JSON.
#[derive(Default)]
struct JsonWriter {
    json: String,
    /// Places are noted: at a fault only, since a document may have a million records.
    is_located: bool,
    /// Where in the JSON each key and value begins, and where it is in the TOML.
    places: Vec<(usize, Range<usize>)>,
}

impl JsonWriter {
    /// The JSON of a TOML text.
    fn of(text: &str, is_located: bool) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?;
        let mut writer = Self { is_located, ..Self::default() };
        writer.table(table.get_ref(), 0);
        Ok(writer)
    }

    fn table(&mut self, table: &DeTable<'_>, depth: usize) {
        self.json.push('{');
        for (n, (key, value)) in table.iter().enumerate() {
            if n > 0 {
                self.json.push(',');
            }
            self.begin(key.span());
            self.text(key.get_ref());
            self.json.push(':');
            self.value(value, depth + 1);
        }
        self.json.push('}');
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) {
        self.begin(value.span());
        match value.get_ref() {
            DeValue::String(text) => self.text(text),
            DeValue::Boolean(value) => self.json += if *value { "true" } else { "false" },
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => self.json += &number.to_string(),
                Err(_) => self.json += "1e999", // out of range there, too
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => self.json += &format!("{number:?}"),
                _ => self.json += "null",
            },
            DeValue::Array(list) if depth < DEEPEST => {
                self.json.push('[');
                for (n, item) in list.iter().enumerate() {
                    if n > 0 {
                        self.json.push(',');
                    }
                    self.value(item, depth + 1);
                }
                self.json.push(']');
            }
            DeValue::Table(table) if depth < DEEPEST => self.table(table, depth),
            // What a document has no place for.
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => self.json += "{}",
        }
    }

    fn begin(&mut self, place: Range<usize>) {
        if self.is_located {
            self.places.push((self.json.len(), place));
        }
    }

    fn text(&mut self, text: &str) {
        self.json += &serde_json::Value::from(text).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;
    use serde_json::{Value, json};

    fn why(text: &str) -> String {
        read::<Document>(text).unwrap_err()
    }

    #[test]
    fn values_are_what_they_were() {
        let text = "a = 1\nb = 0x10\nc = -7\nd = 1_000.5\ne = true\nf = [\"x\", \"\\u00e9\\\"\\n\"]\n[g.h]\ni = 9223372036854775807\n";
        let read: Value = read(text).unwrap();
        let wanted = json!({
            "a": 1, "b": 16, "c": -7, "d": 1000.5, "e": true, "f": ["x", "é\"\n"],
            "g": { "h": { "i": 9_223_372_036_854_775_807_i64 } },
        });
        assert_eq!(read, wanted);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let told = why("[[Zones]]\nZoneName = \"a.example\"\n\nTypo = 1\n");
        assert!(
            told.starts_with(
                "TOML parse error at line 4, column 1\n  |\n4 | Typo = 1\n  | ^^^^\nunknown field"
            ),
            "{told}"
        );
        let told = why("[[Zones]]\nZoneName = 7\n");
        assert!(told.contains("at line 2, column 12\n"), "{told}");
        assert!(
            told.contains("2 | ZoneName = 7\n  |            ^\ninvalid type: integer `7`, expected a string"),
            "{told}"
        );
        let told = why(
            "[[Zones]]\nZoneName = \"a.example\"\n[[Zones.Records]]\nRr = \"w\"\nType = \"A\"\nValue = \"x\"\nTtl = 99999999999999999999\n",
        );
        assert!(told.contains("at line 7"), "{told}");
        let told = why("[[Zones]\n");
        assert!(told.starts_with("TOML parse error at line 1"), "{told}");
        let told = why("[[Zones]]\nZoneName = 1979-05-27\n");
        assert!(told.contains("at line 2, column 12"), "{told}");
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let text = format!("a = {}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(read::<Value>(&text).is_err());
    }
}
