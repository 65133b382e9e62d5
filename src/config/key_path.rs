//! Key paths such as `zone[2].record[0].ttl`. A file may have a million records with some values each: a path is a few
//! words that are copied, and becomes text only where it is shown.

use std::fmt;

/// Levels of the deepest path, `zone[2].record[0].value[3]`, and one to spare.
const LEVELS: usize = 4;

/// A path of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath {
    levels: [Level; LEVELS],
    len: u8,
}

/// A key, and the place in its list if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    key: &'static str,
    item: Option<u32>,
}

impl KeyPath {
    /// The path of a key below this one.
    pub fn key(mut self, key: &'static str) -> Self {
        if let Some(level) = self.levels.get_mut(usize::from(self.len)) {
            *level = Level { key, item: None };
            self.len += 1;
        }
        self
    }

    /// The path of an item of the list that this is the path of.
    pub fn item(mut self, item: usize) -> Self {
        if let Some(level) = usize::from(self.len).checked_sub(1).and_then(|last| self.levels.get_mut(last)) {
            level.item = u32::try_from(item).ok();
        }
        self
    }

    /// The path without places in lists.
    pub fn kind(mut self) -> Self {
        self.levels.iter_mut().for_each(|level| level.item = None);
        self
    }

    /// True when a key is on the path.
    pub fn has(&self, key: &str) -> bool {
        self.levels().iter().any(|level| level.key == key)
    }

    /// The last key, with its place in a list.
    pub fn last(&self) -> String {
        self.levels().last().map(Level::to_string).unwrap_or_default()
    }

    fn levels(&self) -> &[Level] {
        &self.levels[..usize::from(self.len)]
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Some(item) => write!(f, "{}[{item}]", self.key),
            None => f.write_str(self.key),
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, level) in self.levels().iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{level}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::KeyPath;

    #[test]
    fn a_path_is_shown_as_it_is_written_in_messages() {
        let record = KeyPath::default().key("zone").item(2).key("record").item(0);
        assert_eq!(record.to_string(), "zone[2].record[0]");
        assert_eq!(record.key("value").item(3).to_string(), "zone[2].record[0].value[3]");
        assert_eq!(record.key("value").item(3).last(), "value[3]");
        assert_eq!(record.kind().to_string(), "zone.record");
        assert_eq!(KeyPath::default().to_string(), "");
        assert!(record.has("record") && !record.has("ttl"));
    }
}
