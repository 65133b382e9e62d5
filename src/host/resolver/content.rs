//! What lies at a path: nothing, a link, or a file with its octets, mode and owner. As it is remembered, and as it
//! is compared. Touches no disk.

use serde::{Deserialize, Serialize};

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// No file.
    Absent,
    /// A symbolic link.
    Link {
        /// Its target, as written in it.
        target: FileOctets,
    },
    /// A file.
    File {
        /// Its content.
        octets: FileOctets,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl Content {
    /// A file of root that all users may read.
    pub fn file(text: impl Into<String>) -> Self {
        Self::File { octets: FileOctets(text.into().into_bytes()), mode: 0o644, uid: 0, gid: 0 }
    }

    /// A link.
    pub fn link(target: &str) -> Self {
        Self::Link { target: FileOctets(target.as_bytes().to_vec()) }
    }

    /// The octets of a file.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::File { octets, .. } => Some(&octets.0),
            _ => None,
        }
    }

    /// The text of a file; octets that are not UTF-8 are escaped.
    pub fn text(&self) -> Option<String> {
        self.octets().map(|octets| String::from_utf8_lossy(octets).into_owned())
    }

    /// Replaces the file and keeps mode and owner. Creates a missing file.
    pub fn with_octets(&self, octets: Vec<u8>) -> Self {
        match self {
            Self::File { mode, uid, gid, .. } => {
                Self::File { octets: FileOctets(octets), mode: *mode, uid: *uid, gid: *gid }
            }
            _ => Self::File { octets: FileOctets(octets), mode: 0o644, uid: 0, gid: 0 },
        }
    }

    /// True if both have the same text. Mode and owner are not compared: a restore must also replace a file with
    /// another mode.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Link { target: one }, Self::Link { target: two }) => one == two,
            (Self::File { octets: one, .. }, Self::File { octets: two, .. }) => one == two,
            _ => false,
        }
    }

    /// True for a file whose writing in place, from `before` to `after`, was interrupted by a crash: a first part of
    /// the new octets, followed by the rest of the old ones.
    pub fn is_torn(&self, before: &Self, after: &Self) -> bool {
        let (Some(now), Some(old), Some(new)) = (self.octets(), before.octets(), after.octets()) else {
            return false;
        };
        (0..=new.len()).any(|written| {
            let rest = old.get(written..).unwrap_or_default();
            now.len() == written + rest.len() && now.starts_with(&new[..written]) && now.ends_with(rest)
        })
    }
}

/// Octets that are shown as text where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenContent", into = "WrittenContent")]
pub struct FileOctets(pub Vec<u8>);

/// How [`FileOctets`] are written down.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenContent {
    /// UTF-8, the usual case.
    Text(String),
    /// Other octets.
    Bytes(Vec<u8>),
}

impl From<WrittenContent> for FileOctets {
    fn from(written: WrittenContent) -> Self {
        match written {
            WrittenContent::Text(text) => Self(text.into_bytes()),
            WrittenContent::Bytes(bytes) => Self(bytes),
        }
    }
}

impl From<FileOctets> for WrittenContent {
    fn from(octets: FileOctets) -> Self {
        String::from_utf8(octets.0).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_survives_being_written_down() {
        let odd = Content::File { octets: FileOctets(vec![0, 159, 146, 150]), mode: 0o600, uid: 5, gid: 6 };
        for content in [Content::Absent, Content::link("../run/x"), Content::file("a\nb\n"), odd] {
            let text = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), content, "{text}");
        }
    }

    #[test]
    fn a_torn_file_is_known_at_each_octet_and_a_foreign_one_is_not() {
        for (old, new) in [("nameserver 192.0.2.1\n", "short\n"), ("a\n", "something longer\n"), ("", "x")] {
            let (before, after) = (Content::file(old), Content::file(new));
            for written in 0..=new.len() {
                let now = format!("{}{}", &new[..written], old.get(written..).unwrap_or(""));
                assert!(Content::file(now.clone()).is_torn(&before, &after), "{now:?}");
            }
            assert!(!Content::file("nameserver 192.0.2.9\n").is_torn(&before, &after));
        }
        assert!(!Content::Absent.is_torn(&Content::file("a"), &Content::file("b")));
    }
}
