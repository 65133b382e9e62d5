//! Who may use the console: one-time codes, and the sessions that they begin.
//!
//! A code is given for a signed call of the API, counts once and for five minutes. It begins a session, whose token the page
//! keeps as long as its tab is open. Codes and tokens are random; only their digests are kept and compared.

use super::{ActionAnswer, ApiError, Params};
use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The action that gives a code; an action of our own.
pub const ACTION: &str = "PvtzdConsoleCode";

/// How long a code counts.
const CODE_LIFE: Duration = Duration::from_secs(300);

/// How long a session lasts.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Codes that count at a time; the oldest makes room.
const MAX_CODES: usize = 16;

/// Sessions at a time; the oldest makes room.
const MAX_SESSIONS: usize = 32;

/// Codes that were refused in a minute; then all are, until it is over.
const MAX_FAILURES: u32 = 10;

/// The time of [`MAX_FAILURES`].
const MINUTE: Duration = Duration::from_secs(60);

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleRole {
    /// All that the API can do.
    Full,
    /// Look.
    Read,
}

/// Why a code begins no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFault {
    /// There is no such code: it was used, is too old, or never was.
    Unknown,
    /// Too many wrong codes came.
    TooMany,
}

/// The SHA-256 of a code or token.
type Digest = [u8; 32];

/// A code or a session.
#[derive(Clone, Debug)]
struct Grant {
    digest: Digest,
    role: ConsoleRole,
    ends: Instant,
}

/// Codes and sessions.
#[derive(Debug)]
pub struct ConsoleAccess {
    role: ConsoleRole,
    /// The port of HTTPS that the console is at, if it is not beside the API.
    https_port: OnceLock<u16>,
    grants: Mutex<Grants>,
}

#[derive(Debug, Default)]
struct Grants {
    codes: VecDeque<Grant>,
    sessions: VecDeque<Grant>,
    /// When the minute began in which failures are counted, and how many there were.
    failures: Option<(Instant, u32)>,
}

impl ConsoleAccess {
    /// No codes and no sessions yet; `role` is the most that a session may have.
    pub fn new(role: ConsoleRole) -> Self {
        Self { role, https_port: OnceLock::new(), grants: Mutex::default() }
    }

    /// The console is not beside the API, but at this port of HTTPS.
    pub fn is_at_https(&self, port: u16) {
        let _ = self.https_port.set(port); // a second port has no meaning
    }

    /// Makes a code.
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn code(&self, wanted: ConsoleRole, now: Instant) -> Result<String, getrandom::Error> {
        let role = if self.role == ConsoleRole::Read { ConsoleRole::Read } else { wanted };
        let (code, digest) = secret(24)?;
        let mut grants = self.lock();
        push(&mut grants.codes, Grant { digest, role, ends: now + CODE_LIFE }, MAX_CODES);
        Ok(code)
    }

    /// Begins a session: its token and its role.
    ///
    /// # Errors
    /// The code does not count.
    pub fn begin(&self, code: &str, now: Instant) -> Result<(String, ConsoleRole), CodeFault> {
        let wanted = digest_of(code);
        let mut grants = self.lock();
        if grants.failures.is_some_and(|(begun, _)| now.saturating_duration_since(begun) >= MINUTE) {
            grants.failures = None;
        }
        if grants.failures.is_some_and(|(_, count)| count >= MAX_FAILURES) {
            return Err(CodeFault::TooMany);
        }
        let found = grants.codes.iter().position(|code| code.digest == wanted);
        let grant = found.and_then(|at| grants.codes.remove(at)).filter(|code| now < code.ends);
        let Some(Grant { role, .. }) = grant else {
            let (begun, count) = grants.failures.unwrap_or((now, 0));
            grants.failures = Some((begun, count + 1));
            return Err(CodeFault::Unknown);
        };
        let (token, digest) = secret(32).map_err(|_| CodeFault::Unknown)?;
        push(&mut grants.sessions, Grant { digest, role, ends: now + SESSION_LIFE }, MAX_SESSIONS);
        Ok((token, role))
    }

    /// The role of the session that a token belongs to.
    pub fn session(&self, token: &str, now: Instant) -> Option<ConsoleRole> {
        let wanted = digest_of(token);
        let grants = self.lock();
        let found = grants.sessions.iter().find(|session| session.digest == wanted);
        found.filter(|session| now < session.ends).map(|session| session.role)
    }

    /// Ends a session.
    pub fn end(&self, token: &str) {
        let wanted = digest_of(token);
        self.lock().sessions.retain(|session| session.digest != wanted);
    }

    fn lock(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `PvtzdConsoleCode`: a code for the console; with `ReadOnly` for a session that only looks.
pub fn code(access: Option<&ConsoleAccess>, params: &Params) -> ActionAnswer {
    let access = access.ok_or_else(|| {
        let message = "The console is not served here: set console = true in [control], and restart pvtzd.";
        ApiError::new("Console.NotServed", message).with_status(404)
    })?;
    let wanted = match params.boolean("ReadOnly")? {
        Some(true) => ConsoleRole::Read,
        _ => ConsoleRole::Full,
    };
    let code = access.code(wanted, Instant::now()).map_err(|_| ApiError::internal())?;
    let fields = [("ConsoleCode", Value::from(code)), ("ExpiresIn", Value::from(CODE_LIFE.as_secs()))];
    let port = access.https_port.get().map(|port| ("ConsoleHttpsPort", Value::from(*port)));
    let mut code = Map::new();
    code.extend(fields.into_iter().chain(port).map(|(name, value)| (name.to_string(), value)));
    Ok(code)
}

/// Adds a grant; the oldest makes room.
fn push(grants: &mut VecDeque<Grant>, grant: Grant, most: usize) {
    while grants.len() >= most {
        grants.pop_front();
    }
    grants.push_back(grant);
}

/// Random octets as text, and the digest of that text.
fn secret(octets: usize) -> Result<(String, Digest), getrandom::Error> {
    let mut random = [0; 32];
    let random = &mut random[..octets.min(32)];
    getrandom::fill(random)?;
    let text = BASE64URL_NOPAD.encode(random);
    let digest = digest_of(&text);
    Ok((text, digest))
}

/// The digest under which a secret is kept. Comparing digests tells nothing of the secrets.
fn digest_of(text: &str) -> Digest {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_counts_once_and_for_five_minutes() {
        let (access, now) = (ConsoleAccess::new(ConsoleRole::Full), Instant::now());
        let code = access.code(ConsoleRole::Full, now).unwrap();
        let (token, role) = access.begin(&code, now).unwrap();
        assert_eq!((role, access.session(&token, now)), (ConsoleRole::Full, Some(ConsoleRole::Full)));
        assert_eq!(access.begin(&code, now), Err(CodeFault::Unknown), "used");
        let late = access.code(ConsoleRole::Full, now).unwrap();
        assert_eq!(access.begin(&late, now + CODE_LIFE), Err(CodeFault::Unknown), "expired");
        assert_eq!(access.session(&token, now + SESSION_LIFE), None);
        access.end(&token);
        assert_eq!(access.session(&token, now), None);
        assert_eq!(access.session(&code, now), None, "a code is no token");
    }

    #[test]
    fn who_guesses_is_kept_waiting() {
        let (access, now) = (ConsoleAccess::new(ConsoleRole::Full), Instant::now());
        for _ in 0..MAX_FAILURES {
            assert_eq!(access.begin("guess", now), Err(CodeFault::Unknown));
        }
        let code = access.code(ConsoleRole::Full, now).unwrap();
        assert_eq!(access.begin(&code, now), Err(CodeFault::TooMany));
        assert!(access.begin(&code, now + MINUTE).is_ok(), "the code was not lost");
    }

    #[test]
    fn a_console_that_is_read_only_gives_no_more() {
        let now = Instant::now();
        let role = |most, wanted| {
            let access = ConsoleAccess::new(most);
            access.begin(&access.code(wanted, now).unwrap(), now).unwrap().1
        };
        assert_eq!(role(ConsoleRole::Read, ConsoleRole::Full), ConsoleRole::Read);
        assert_eq!(role(ConsoleRole::Full, ConsoleRole::Read), ConsoleRole::Read);
    }

    #[test]
    fn codes_and_sessions_are_bounded() {
        let (access, now) = (ConsoleAccess::new(ConsoleRole::Full), Instant::now());
        let first = access.code(ConsoleRole::Full, now).unwrap();
        let (token, _) = access.begin(&first, now).unwrap();
        for _ in 0..1000 {
            let code = access.code(ConsoleRole::Full, now).unwrap();
            access.begin(&code, now).unwrap();
            access.code(ConsoleRole::Full, now).unwrap();
        }
        let grants = access.lock();
        assert_eq!((grants.codes.len(), grants.sessions.len()), (MAX_CODES, MAX_SESSIONS));
        drop(grants);
        assert_eq!(access.session(&token, now), None, "the oldest made room");
    }
}
