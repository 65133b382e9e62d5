//! Forgetting answers: of one name, of all names below one, or all. What private zones say is not cached and thereby
//! not affected.

use crate::engine::name::{self, NameKey};
use crate::resolve::shared::SharedState;
use serde::{Deserialize, Serialize};

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum Flush {
    /// One name with all types, or a name and all names below it.
    Name {
        /// The name.
        name: String,
        /// Also the names below.
        #[serde(default)]
        subtree: bool,
    },
    /// All names.
    All,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Removed entries of the cache.
    pub entries: usize,
    /// Removed packets of the packet cache. Each flush removes all, because any of them may contain the name; they are
    /// made again from the remaining entries.
    pub finished: usize,
}

/// Forgets.
///
/// # Errors
/// The name is none.
pub fn flush(live: &SharedState, flush: &Flush) -> Result<Flushed, String> {
    let entries = match flush {
        Flush::All => live.cache.forget(|_| true),
        Flush::Name { name, subtree } => {
            let key = NameKey::of(&name::parse(name)?);
            live.cache.forget(|entry| match subtree {
                true => entry.name().is_within(&key),
                false => entry.wire() == key.wire(),
            })
        }
    };
    let finished = live.answers.len();
    live.answers.clear(); // last, so that no packet is made again from an entry that is being removed
    Ok(Flushed { entries, finished })
}
