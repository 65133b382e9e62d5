//! The lab's access key: made at the first start and kept with the lab's state. Outside the lab there is none.

use super::state::StateDir;
use crate::api::AccessKey;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use std::io;

/// The file that it is kept in.
const KEPT: &str = "access-key.json";

/// The key as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptKey {
    id: String,
    secret: String,
}

/// The kept key, or a new one; an id or a secret that was given counts instead.
///
/// # Errors
/// The state directory cannot be read or written, or there is no randomness.
pub fn open(state: &StateDir, id: Option<&str>, secret: Option<&str>) -> io::Result<AccessKey> {
    if let (Some(id), Some(secret)) = (id, secret) {
        return Ok(AccessKey::new(id, secret));
    }
    let kept = state.keep(KEPT, "the lab's access key", read, make)?;
    Ok(AccessKey::new(id.unwrap_or(&kept.id), secret.unwrap_or(&kept.secret)))
}

fn read(text: &str) -> Result<KeptKey, String> {
    let key: KeptKey = serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    if key.id.is_empty() || key.secret.is_empty() { Err("it is empty".into()) } else { Ok(key) }
}

/// A key that looks as the cloud's do, but for its first letters.
fn make() -> io::Result<String> {
    let mut random = [0; 30];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let letters = BASE32_NOPAD.encode(&random);
    let (id, secret) = letters.split_at(16);
    let key = KeptKey { id: format!("LAB{id}"), secret: secret.to_lowercase() };
    serde_json::to_string(&key).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_until_another_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path())).unwrap();
        let first = open(&state, None, None).unwrap();
        assert_eq!(first, open(&state, None, None).unwrap());
        assert!(first.id.starts_with("LAB") && first.secret().len() >= 30, "{first:?}");
        let named = open(&state, Some("LABx"), None).unwrap();
        assert_eq!((named.id.as_str(), named.secret()), ("LABx", first.secret()));
        std::fs::write(state.path().join(KEPT), "{}").unwrap();
        assert_ne!(first, open(&state, None, None).unwrap());
    }
}
