//! The nonces of past requests: a recorded request cannot be sent again.
//!
//! A nonce is kept until the timestamp of its request is too old, so none can be replayed while the process runs; a
//! restart forgets them. Only requests with a valid signature come here, so only the holder of a key can fill its
//! share. Further requests of a key with a full share are refused: to forget a nonce would allow a replay. Reads no
//! clock.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest difference of a request's timestamp and the clock, either way.
pub const SKEW: Duration = Duration::from_secs(15 * 60);

/// Nonces of one key at a time; at 15 minutes each that is 1,165 requests a second, and about 20 MB.
pub const MAX_NONCES: usize = 1 << 20;

/// The reason why a nonce is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceFault {
    /// It was used before.
    Used,
    /// The key has used too many in the last minutes.
    Full,
}

/// The nonces of every key.
#[derive(Debug)]
pub struct Nonces {
    /// By the id of the key.
    keys: HashMap<String, Used>,
    /// Nonces of one key at most.
    most: usize,
    /// A hash with a random key, so that callers cannot compute collisions; 64 bits of each nonce are kept.
    hasher: RandomState,
}

/// The nonces of one key, by the minute (since 1970) after which they can be forgotten.
type Used = BTreeMap<u64, HashSet<u64>>;

impl Nonces {
    /// A store for this many nonces of each key.
    pub fn new(most: usize) -> Self {
        Self { keys: HashMap::new(), most, hasher: RandomState::new() }
    }

    /// Records a nonce of a request with a valid timestamp.
    ///
    /// # Errors
    /// It was used, or there is no room.
    pub fn admit(
        &mut self,
        key: &str,
        nonce: &str,
        timestamp: SystemTime,
        now: SystemTime,
    ) -> Result<(), NonceFault> {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.into(), Used::new());
        }
        let Some(used) = self.keys.get_mut(key) else { return Err(NonceFault::Full) };
        let this_minute = minute(now);
        while used.first_key_value().is_some_and(|(&end, _)| end < this_minute) {
            used.pop_first();
        }
        let nonce = self.hasher.hash_one(nonce);
        if used.values().any(|nonces| nonces.contains(&nonce)) {
            return Err(NonceFault::Used);
        }
        if used.values().map(HashSet::len).sum::<usize>() >= self.most {
            return Err(NonceFault::Full);
        }
        used.entry(minute(timestamp + SKEW)).or_default().insert(nonce);
        Ok(())
    }
}

/// The minute of a time.
fn minute(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: SystemTime = UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_nonce_is_taken_once_per_key() {
        let mut nonces = Nonces::new(10);
        assert_eq!(nonces.admit("a", "n", at(0), at(0)), Ok(()));
        assert_eq!(nonces.admit("a", "n", at(0), at(1)), Err(NonceFault::Used));
        assert_eq!(nonces.admit("a", "n", at(500), at(500)), Err(NonceFault::Used), "another timestamp");
        assert_eq!(nonces.admit("b", "n", at(0), at(1)), Ok(()), "another key");
    }

    #[test]
    fn a_nonce_is_kept_while_its_timestamp_is_good() {
        for ahead in [0, 899] {
            let mut nonces = Nonces::new(10);
            assert_eq!(nonces.admit("a", "n", at(ahead), at(0)), Ok(()));
            // the gateway refuses the timestamp after that
            assert_eq!(nonces.admit("a", "n", at(ahead), at(ahead + 900)), Err(NonceFault::Used));
            assert_eq!(nonces.admit("a", "n", at(ahead + 1000), at(ahead + 1000)), Ok(()));
        }
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let mut nonces = Nonces::new(2);
        assert_eq!(nonces.admit("a", "1", at(0), at(0)), Ok(()));
        assert_eq!(nonces.admit("a", "2", at(0), at(0)), Ok(()));
        assert_eq!(nonces.admit("a", "3", at(0), at(0)), Err(NonceFault::Full));
        assert_eq!(nonces.admit("a", "1", at(0), at(0)), Err(NonceFault::Used), "nothing was forgotten");
        assert_eq!(nonces.admit("b", "3", at(0), at(0)), Ok(()), "others are not hurt");
        assert_eq!(nonces.admit("a", "3", at(1000), at(1000)), Ok(()));
    }
}
