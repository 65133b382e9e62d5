//! Answers to changes with a `ClientToken`, as all API nodes of a fleet share them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a change is known by: a digest over its action, access key and token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedToken(pub(super) String);

impl SharedToken {
    /// The token of a change.
    pub fn new(action: &str, owner: &str, token: &str) -> Self {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in [action, owner, token] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(data_encoding::HEXLOWER.encode(hash.finish().as_ref()))
    }
}

/// The answer to a change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedAnswer {
    /// Nothing where it is too long to be kept.
    pub answer: Option<Map<String, Value>>,
}

/// An answer on its way to etcd.
pub(super) type TokenStep = (String, Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_action_and_one_key() {
        let token = SharedToken::new("AddZone", "key 2018", "t");
        assert_eq!(token, SharedToken::new("AddZone", "key 2018", "t"));
        for other in
            [("AddZon", "ekey 2018", "t"), ("AddZone", "key 201", "8t"), ("AddZone", "key 2018", "u")]
        {
            assert_ne!(token, SharedToken::new(other.0, other.1, other.2));
        }
        let hostile = SharedToken::new("A", "k", "../head\n\u{202e}");
        assert!(hostile.0.len() == 64 && hostile.0.bytes().all(|octet| octet.is_ascii_hexdigit()));
    }

    #[test]
    fn an_answer_that_makes_no_sense_still_says_that_the_change_was_made() {
        let kept: SharedAnswer = serde_json::from_str(r#"{"answer":{"ZoneId":"z"},"more":1}"#).unwrap();
        assert_eq!(kept.answer.unwrap()["ZoneId"], "z");
        assert_eq!(serde_json::from_str::<SharedAnswer>("{}").unwrap().answer, None);
    }
}
