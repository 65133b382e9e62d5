//! TSIG (RFC 8945): what a transfer and a NOTIFY are signed with. Pure but for the HMAC; the time is an argument.
//!
//! A request is signed by [`TsigKey::sign`], which gives a [`TsigChain`]; the chain checks the messages of the answer one
//! after another, those between two signatures included. MACs are never taken shortened.

use super::walk::{LastRecord, MessageParts};
use crate::engine::message::MessageCursor;
use crate::engine::name::NameKey;
use ring::hmac;
use std::fmt;

/// The type of a TSIG record.
const TSIG: u16 = 250;

/// Class ANY, which TSIG records have.
const ANY: u16 = 255;

/// Seconds by which the clocks of both sides may differ (RFC 8945 section 10 recommends it).
const FUDGE: u16 = 300;

/// Messages without a signature between two that have one (RFC 8945 section 5.3.1).
const MOST_UNSIGNED: usize = 99;

/// The TSIG errors (RFC 8945 section 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;

/// The algorithms that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    Sha256,
    /// `hmac-sha384`
    Sha384,
    /// `hmac-sha512`
    Sha512,
}

impl TsigAlgorithm {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// Its name in wire form.
    fn wire(self) -> Vec<u8> {
        let name = self.name().as_bytes();
        [&[name.len() as u8], name, &[0]].concat()
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A key that two servers share.
#[derive(Clone)]
pub struct TsigKey {
    name: NameKey,
    algorithm: TsigAlgorithm,
    /// What it was made of, to tell one key from another.
    secret: Vec<u8>,
    key: hmac::Key,
}

impl TsigKey {
    /// A key of this name.
    pub fn new(name: NameKey, algorithm: TsigAlgorithm, secret: &[u8]) -> Self {
        Self { name, algorithm, secret: secret.to_vec(), key: hmac::Key::new(algorithm.hmac(), secret) }
    }

    /// Its name.
    pub fn name(&self) -> &NameKey {
        &self.name
    }

    /// Signs a request; `time` is in seconds since 1970.
    pub fn sign(&self, message: &mut Vec<u8>, time: u64) -> TsigChain<'_> {
        let variables = self.variables(time, FUDGE, 0, &[]);
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(message);
        mac.update(&variables);
        let mac = mac.sign();
        self.append(message, time, FUDGE, mac.as_ref(), 0, &[]);
        TsigChain { key: self, digest: self.after(mac.as_ref()), is_first: true, unsigned: 0 }
    }

    /// Signs the answer to a request that had this MAC. An answer to a request out of time carries our time.
    pub fn sign_answer(&self, message: &mut Vec<u8>, request_mac: &[u8], time: TsigTime) {
        let (error, other) = match time {
            TsigTime::Right(_) => (0, Vec::new()),
            TsigTime::Wrong { ours, .. } => (BADTIME, ours.to_be_bytes()[2..].to_vec()),
        };
        let signed = match time {
            TsigTime::Right(time) | TsigTime::Wrong { theirs: time, .. } => time,
        };
        let mut mac = self.after(request_mac);
        mac.update(message);
        mac.update(&self.variables(signed, FUDGE, error, &other));
        let mac = mac.sign().as_ref().to_vec();
        self.append(message, signed, FUDGE, &mac, error, &other);
    }

    /// Checks a request: its MAC, and whether it is in time.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check_request(&self, signed: &Signed<'_>, now: u64) -> Result<TsigTime, TsigFault> {
        self.is_meant(signed)?;
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&signed.stripped());
        mac.update(&self.variables(signed.time, signed.fudge, signed.error, signed.other));
        self.verify(&mac.sign(), signed.mac)?;
        Ok(match signed.is_in_time(now) {
            true => TsigTime::Right(now),
            false => TsigTime::Wrong { theirs: signed.time, ours: now },
        })
    }

    /// A digest that begins with an earlier MAC.
    fn after(&self, mac: &[u8]) -> hmac::Context {
        let mut digest = hmac::Context::with_key(&self.key);
        digest.update(&(mac.len() as u16).to_be_bytes());
        digest.update(mac);
        digest
    }

    fn is_meant(&self, signed: &Signed<'_>) -> Result<(), TsigFault> {
        let named = signed.key == self.name;
        let same = named && signed.algorithm.eq_ignore_ascii_case(&self.algorithm.wire());
        if same { Ok(()) } else { Err(TsigFault::OtherKey) }
    }

    fn verify(&self, tag: &hmac::Tag, found: &[u8]) -> Result<(), TsigFault> {
        let wanted = tag.as_ref();
        // Every octet is looked at: how long it takes tells nothing of where they differ.
        let differ = wanted.iter().zip(found).fold(0, |differ, (one, two)| differ | (one ^ two));
        if wanted.len() == found.len() && differ == 0 { Ok(()) } else { Err(TsigFault::Mac) }
    }

    /// What is signed beside the message (RFC 8945 section 4.3.3).
    fn variables(&self, time: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
        let mut octets = self.name.wire().to_vec();
        octets.extend(ANY.to_be_bytes());
        octets.extend(0u32.to_be_bytes());
        octets.extend(self.algorithm.wire());
        octets.extend(&time.to_be_bytes()[2..]);
        octets.extend(fudge.to_be_bytes());
        octets.extend(error.to_be_bytes());
        octets.extend((other.len() as u16).to_be_bytes());
        octets.extend(other);
        octets
    }

    fn append(&self, message: &mut Vec<u8>, time: u64, fudge: u16, mac: &[u8], error: u16, other: &[u8]) {
        append(message, &self.name, &self.algorithm.wire(), (time, fudge), mac, error, other);
    }
}

impl PartialEq for TsigKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.algorithm, &self.secret) == (&other.name, other.algorithm, &other.secret)
    }
}

impl Eq for TsigKey {}

impl fmt::Debug for TsigKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({} {})", self.name, self.algorithm.name())
    }
}

/// Appends a TSIG record to a message.
fn append(
    message: &mut Vec<u8>,
    key: &NameKey,
    algorithm: &[u8],
    (time, fudge): (u64, u16),
    mac: &[u8],
    error: u16,
    other: &[u8],
) {
    let Some(&id) = message.first_chunk::<2>() else { return };
    let mut data = algorithm.to_vec();
    data.extend(&time.to_be_bytes()[2..]);
    data.extend(fudge.to_be_bytes());
    data.extend((mac.len() as u16).to_be_bytes());
    data.extend(mac);
    data.extend(id);
    data.extend(error.to_be_bytes());
    data.extend((other.len() as u16).to_be_bytes());
    data.extend(other);
    message.extend(key.wire());
    message.extend(TSIG.to_be_bytes());
    message.extend(ANY.to_be_bytes());
    message.extend(0u32.to_be_bytes());
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
    if let Some(count) = message.get_mut(10..12) {
        let more = u16::from_be_bytes([count[0], count[1]]).wrapping_add(1);
        count.copy_from_slice(&more.to_be_bytes());
    }
}

/// Appends a TSIG record that says why a request is not believed, without a MAC (RFC 8945 section 5.2).
pub fn append_refusal(message: &mut Vec<u8>, signed: &Signed<'_>, fault: TsigFault) {
    let error = if fault == TsigFault::OtherKey { BADKEY } else { BADSIG };
    append(message, &signed.key, signed.algorithm, (signed.time, signed.fudge), &[], error, &[]);
}

/// When a request was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigTime {
    /// In time; this is now.
    Right(u64),
    /// The clocks differ by more than is allowed.
    Wrong {
        /// The time in the request.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigFault {
    /// It has no signature, and needs one.
    Missing,
    /// Its TSIG record does not hold together.
    Malformed,
    /// It is signed with a key, or by an algorithm, that is not ours.
    OtherKey,
    /// The signature is not that of the key.
    Mac,
    /// The clocks of both sides differ by this many seconds.
    Time(u64),
    /// The other side refuses our signature, with this TSIG error.
    Refused(u16),
}

impl fmt::Display for TsigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the answer is not signed by the TSIG key"),
            Self::Malformed => f.write_str("the TSIG record of the answer is malformed"),
            Self::OtherKey => f.write_str("the answer is signed by another TSIG key or algorithm"),
            Self::Mac => {
                f.write_str("the TSIG signature of the answer is wrong: do both sides have the same secret?")
            }
            Self::Time(seconds) => {
                write!(f, "the TSIG signature is out of time: the clocks differ by {seconds} s")
            }
            Self::Refused(BADSIG) => {
                f.write_str("it refuses the TSIG signature (BADSIG): do both sides have the same secret?")
            }
            Self::Refused(BADKEY) => f.write_str("it does not know the TSIG key or its algorithm (BADKEY)"),
            Self::Refused(BADTIME) => {
                f.write_str("it finds the TSIG signature out of time (BADTIME): do the clocks differ?")
            }
            Self::Refused(error) => write!(f, "it refuses the TSIG signature with error {error}"),
        }
    }
}

/// A message with a TSIG record, taken apart.
#[derive(Debug)]
pub struct Signed<'m> {
    message: &'m [u8],
    /// Where the TSIG record begins.
    end: usize,
    original_id: [u8; 2],
    /// The key's name.
    pub key: NameKey,
    algorithm: &'m [u8],
    time: u64,
    fudge: u16,
    /// The MAC.
    pub mac: &'m [u8],
    error: u16,
    other: &'m [u8],
}

impl<'m> Signed<'m> {
    /// Takes a message apart; nothing for one without a TSIG record.
    ///
    /// # Errors
    /// The TSIG record is not where it has to be, or does not hold together.
    pub fn of(message: &'m [u8], parts: &MessageParts<'m>) -> Result<Option<Self>, TsigFault> {
        let Some(last) = parts.last_additional.as_ref().filter(|last| last.record.rtype == TSIG) else {
            return Ok(None);
        };
        Self::read(message, last).map(Some).ok_or(TsigFault::Malformed)
    }

    fn read(message: &'m [u8], last: &LastRecord<'m>) -> Option<Self> {
        let record = &last.record;
        let mut data = MessageCursor::new(record.data, 0);
        let algorithm = data.name()?; // never compressed (RFC 8945 section 4.2)
        let time = data.take(6)?.iter().fold(0, |time, &octet| time << 8 | u64::from(octet));
        let fudge = data.u16()?;
        let mac_length = data.u16()?;
        let mac = data.take(usize::from(mac_length))?;
        let original_id = *data.chunk()?;
        let error = data.u16()?;
        let other_length = data.u16()?;
        let other = data.take(usize::from(other_length))?;
        let is_whole = data.is_done() && record.class == ANY;
        let end = record.start;
        let key = NameKey::of_wire(&last.owner);
        is_whole.then_some(Self { message, end, original_id, key, algorithm, time, fudge, mac, error, other })
    }

    /// The message as it was before it was signed: with its first id, one record less, and without the record.
    fn stripped(&self) -> Vec<u8> {
        let mut message = self.message[..self.end].to_vec();
        let count = u16::from_be_bytes([message[10], message[11]]).wrapping_sub(1);
        message[..2].copy_from_slice(&self.original_id);
        message[10..12].copy_from_slice(&count.to_be_bytes());
        message
    }

    fn is_in_time(&self, now: u64) -> bool {
        self.time.abs_diff(now) <= u64::from(self.fudge)
    }
}

/// The messages of an answer, checked one after another.
pub struct TsigChain<'k> {
    key: &'k TsigKey,
    /// What the next signature is of, so far.
    digest: hmac::Context,
    is_first: bool,
    /// Messages since the last signature.
    unsigned: usize,
}

impl TsigChain<'_> {
    /// Checks the next message.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check(&mut self, message: &[u8], parts: &MessageParts<'_>, now: u64) -> Result<(), TsigFault> {
        let Some(signed) = Signed::of(message, parts)? else {
            self.unsigned += 1;
            self.digest.update(message);
            return match self.is_first || self.unsigned > MOST_UNSIGNED {
                true => Err(TsigFault::Missing),
                false => Ok(()),
            };
        };
        if signed.error != 0 {
            return Err(TsigFault::Refused(signed.error));
        }
        self.key.is_meant(&signed)?;
        let mut digest = self.digest.clone();
        digest.update(&signed.stripped());
        let variables = self.key.variables(signed.time, signed.fudge, signed.error, signed.other);
        let timers = || [&signed.time.to_be_bytes()[2..], &signed.fudge.to_be_bytes()].concat();
        digest.update(&if self.is_first { variables } else { timers() });
        self.key.verify(&digest.sign(), signed.mac)?;
        if !signed.is_in_time(now) {
            return Err(TsigFault::Time(signed.time.abs_diff(now)));
        }
        self.digest = self.key.after(signed.mac);
        (self.is_first, self.unsigned) = (false, 0);
        Ok(())
    }

    /// Ends the answer: its last message has to be signed.
    ///
    /// # Errors
    /// It is not.
    pub fn end(&self) -> Result<(), TsigFault> {
        if self.is_first || self.unsigned > 0 { Err(TsigFault::Missing) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "tsig_tests.rs"]
mod tests;
