//! Forgetting answers: of one name, of all names below one, or all. What private zones say is not cached and thereby
//! not affected.

use crate::engine::name::{self, NameKey};
use crate::resolve::shared::SharedState;
use serde::{Deserialize, Serialize};

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum Flush {
    /// One name, of all types; or it and all names below.
    Name {
        /// The name.
        name: String,
        /// The names below too.
        #[serde(default)]
        subtree: bool,
    },
    /// Everything.
    All,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// What upstreams had said.
    pub entries: usize,
    /// Packets of the packet cache. All are removed each time, because any of them may contain the name; what they were
    /// made of is still there, so they come back at once.
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
    live.answers.clear(); // only now: no answer must be finished again with what is being forgotten
    Ok(Flushed { entries, finished })
}
