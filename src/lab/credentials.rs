//! Temporary credentials of the lab's roles.
//!
//! A security token says all there is to know of its access key: id, role, session and end, under a MAC. So nothing
//! is kept for a token that was issued, however many there are, and a token that has ended is known as such for ever.
//! The keys of the MACs are made of the lab's access key: labs with the same access key take each other's tokens.

use crate::api::temporary;
use crate::api::temporary::TemporaryKeys;
use crate::api::{AccessKey, ApiError};
use data_encoding::{BASE32_NOPAD, BASE64};
use ring::{digest, hmac};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the octets of a token begin with; in Base64 it is `CAIS`, as in the product's tokens.
const MAGIC: [u8; 3] = [0x08, 0x02, 0x12];

/// Octets of a key's id, as they are in the token.
const ID_LENGTH: usize = 15;

/// Octets of the MAC at the end of a token.
const MAC_LENGTH: usize = 32;

/// Characters of the longest token: names of 64 characters each.
const MAX_TOKEN: usize = 320;

/// Issues and verifies temporary credentials.
#[derive(Debug)]
pub struct Issuer {
    token_key: hmac::Key,
    secret_key: hmac::Key,
}

/// What a role's session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The role's name.
    pub role: String,
    /// The session's name.
    pub name: String,
    /// When its credentials end, in seconds since 1970.
    pub end: u64,
}

/// Credentials of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The access key.
    pub key: AccessKey,
    /// The token that comes with it.
    pub token: String,
    /// When both end.
    pub end: SystemTime,
}

impl Issuer {
    /// An issuer whose tokens belong to the lab of this access key.
    pub fn new(key: &AccessKey) -> Self {
        let of = |purpose: &str| {
            let text = format!("{purpose}\0{}\0{}", key.id, key.secret());
            hmac::Key::new(hmac::HMAC_SHA256, digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
        };
        Self { token_key: of("token"), secret_key: of("secret") }
    }

    /// New credentials of a session of a role. The names are at most 64 characters long.
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn issue(&self, role: &str, name: &str, now: SystemTime, life: Duration) -> io::Result<Credentials> {
        let mut id = [0; ID_LENGTH];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let end = seconds(now) + life.as_secs();
        let mut octets = MAGIC.to_vec();
        octets.extend(id);
        octets.extend(end.to_be_bytes());
        for text in [role, name] {
            octets.push(u8::try_from(text.len()).map_err(io::Error::other)?);
            octets.extend(text.as_bytes());
        }
        octets.extend(hmac::sign(&self.token_key, &octets).as_ref());
        let key_id = format!("{}{}", temporary::PREFIX, BASE32_NOPAD.encode(&id));
        let secret = self.secret_of(&key_id);
        Ok(Credentials {
            key: AccessKey::new(key_id, secret),
            token: BASE64.encode(&octets),
            end: UNIX_EPOCH + Duration::from_secs(end),
        })
    }

    /// Id of the access key and session of a token, be it at its end; nothing for a text that is no token of ours.
    pub fn read(&self, token: &str) -> Option<(String, Session)> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let octets = BASE64.decode(token.as_bytes()).ok()?;
        let (said, mac) = octets.split_at_checked(octets.len().checked_sub(MAC_LENGTH)?)?;
        hmac::verify(&self.token_key, said, mac).ok()?;
        let rest = said.strip_prefix(&MAGIC)?;
        let (id, rest) = rest.split_at_checked(ID_LENGTH)?;
        let (end, rest) = rest.split_first_chunk()?;
        let (role, rest) = text(rest)?;
        let (name, _) = text(rest)?;
        let key_id = format!("{}{}", temporary::PREFIX, BASE32_NOPAD.encode(id));
        Some((key_id, Session { role, name, end: u64::from_be_bytes(*end) }))
    }

    fn secret_of(&self, id: &str) -> String {
        let tag = hmac::sign(&self.secret_key, id.as_bytes());
        BASE32_NOPAD.encode(&tag.as_ref()[..20]).to_lowercase()
    }
}

impl TemporaryKeys for Issuer {
    fn secret(&self, id: &str, token: Option<&str>, now: SystemTime) -> Result<Option<String>, ApiError> {
        let Some(token) = token else {
            return if id.starts_with(temporary::PREFIX) { Err(temporary::missing()) } else { Ok(None) };
        };
        let (key_id, session) = self.read(token).ok_or_else(temporary::malformed)?;
        if key_id != id {
            return Err(temporary::mismatch());
        }
        if seconds(now) >= session.end {
            return Err(temporary::expired());
        }
        Ok(Some(self.secret_of(id)))
    }
}

/// A text with its length before it, and what follows it.
fn text(octets: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = octets.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(900);

    fn issuer() -> Issuer {
        Issuer::new(&AccessKey::new("LABx", "secret"))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_389_098 + seconds)
    }

    fn code(issuer: &Issuer, id: &str, token: Option<&str>, now: SystemTime) -> String {
        match issuer.secret(id, token, now) {
            Ok(Some(_)) => "good".into(),
            Ok(None) => "not temporary".into(),
            Err(error) => error.code.into_owned(),
        }
    }

    #[test]
    fn a_token_counts_from_its_issue_to_its_end() {
        let issuer = issuer();
        let made = issuer.issue("app", "session", at(0), LIFE).unwrap();
        assert!(made.token.starts_with("CAIS") && made.key.id.starts_with("STS."), "{made:?}");
        assert_eq!(made.end, at(900));
        let other = issuer.issue("app", "session", at(0), LIFE).unwrap();
        for one in [&made, &other] {
            let secret = issuer.secret(&one.key.id, Some(&one.token), at(899)).unwrap();
            assert_eq!(secret.as_deref(), Some(one.key.secret()), "several are good at once");
            assert_eq!(code(&issuer, &one.key.id, Some(&one.token), at(900)), "InvalidSecurityToken.Expired");
        }
        let (id, session) = issuer.read(&made.token).unwrap();
        assert_eq!((id, session.role.as_str(), session.name.as_str()), (made.key.id, "app", "session"));
    }

    #[test]
    fn each_bad_token_has_its_code() {
        let issuer = issuer();
        let one = issuer.issue("app", "session", at(0), LIFE).unwrap();
        let other = issuer.issue("app", "session", at(0), LIFE).unwrap();
        let of = |id: &str, token| code(&issuer, id, token, at(1));
        assert_eq!(of(&one.key.id, None), "MissingSecurityToken");
        assert_eq!(of("LABx", None), "not temporary");
        assert_eq!(of(&other.key.id, Some(&one.token)), "InvalidSecurityToken.MismatchWithAccessKey");
        assert_eq!(of("LABx", Some(&one.token)), "InvalidSecurityToken.MismatchWithAccessKey");
        let long = "A".repeat(16 << 10);
        let longer = format!("{}{}", one.token, one.token);
        for bad in [" ", "x", "CAIS", "ÄÖ", &long, &longer, &one.token[..one.token.len() - 4]] {
            assert_eq!(of(&one.key.id, Some(bad)), "InvalidSecurityToken.Malformed", "{bad}");
        }
        let stranger = Issuer::new(&AccessKey::new("LABx", "another secret"));
        assert_eq!(code(&stranger, &one.key.id, Some(&one.token), at(1)), "InvalidSecurityToken.Malformed");
    }

    #[test]
    fn a_token_with_any_octet_changed_is_malformed() {
        let issuer = issuer();
        let one = issuer.issue("app", "session", at(0), LIFE).unwrap();
        for place in 0..one.token.len() {
            for other in [b'A', b'Z', b'=', b'-', b' '] {
                let mut octets = one.token.clone().into_bytes();
                if octets[place] != other {
                    octets[place] = other;
                    let token = String::from_utf8(octets).unwrap();
                    assert_eq!(
                        code(&issuer, &one.key.id, Some(&token), at(1)),
                        "InvalidSecurityToken.Malformed"
                    );
                }
            }
        }
    }

    #[test]
    fn the_longest_names_make_a_token_that_is_read() {
        let issuer = issuer();
        let name = "n".repeat(64);
        let made = issuer.issue(&name, &name, at(0), LIFE).unwrap();
        assert!(made.token.len() <= MAX_TOKEN, "{}", made.token.len());
        assert_eq!(issuer.read(&made.token).unwrap().1.name, name);
    }
}
