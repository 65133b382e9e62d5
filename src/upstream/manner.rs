//! How a server wants to be asked: what was learned of its EDNS, its letter case, its cookies. Pure data; every
//! lesson expires, so that a server that was repaired or replaced gets its protection back.

use std::time::{Duration, Instant};

/// Length of a client cookie (RFC 7873 section 4).
pub(super) const CLIENT_COOKIE_LEN: usize = 8;

/// The client's half of a DNS cookie.
pub(super) type ClientCookie = [u8; CLIENT_COOKIE_LEN];

/// How long a server that rejected EDNS is asked without.
const NO_EDNS_FOR: Duration = Duration::from_secs(15 * 60);
/// How long a server that folds case is asked in lower case.
const FOLDS_CASE_FOR: Duration = Duration::from_secs(60 * 60);
/// How often folded case must have been the truth (TCP agreed) before it is believed.
const FOLDS_TO_BELIEVE: u32 = 3;
/// How long a server cookie is held against a server that no longer sends one.
const COOKIE_FOR: Duration = Duration::from_secs(60 * 60);

/// How one query is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// With an OPT record.
    pub(super) edns: bool,
    /// With letters in random case (0x20).
    pub(super) mix_case: bool,
    /// Our half of the cookie.
    pub(super) client_cookie: Option<ClientCookie>,
    /// The server's half, if it ever gave us one.
    pub(super) server_cookie: Option<Vec<u8>>,
    /// Its length made a multiple of 128 octets (RFC 8467 section 4.1).
    pub(super) padded: bool,
}

impl Manner {
    /// The same on a road that is encrypted: nobody can forge there, so that case and cookie are of no use, but
    /// somebody may look at lengths.
    pub(super) fn encrypted(self) -> Self {
        Self { mix_case: false, client_cookie: None, server_cookie: None, padded: true, ..self }
    }

    /// A reply over UDP without a cookie would be suspicious.
    pub(super) fn expects_cookie(&self) -> bool {
        self.edns && self.server_cookie.is_some()
    }
}

/// What is remembered of one server.
#[derive(Debug)]
pub(super) struct Memory {
    /// Our cookie for this server alone, so that two servers cannot tell we are one client by it.
    client_cookie: Option<ClientCookie>,
    /// The server's cookie, and when it last came.
    server_cookie: Option<(Vec<u8>, Instant)>,
    /// Asked without EDNS until then.
    no_edns_until: Option<Instant>,
    /// Asked in lower case until then.
    folds_case_until: Option<Instant>,
    /// Proven cases of folding since the case was last echoed.
    folds: u32,
}

impl Memory {
    /// Nothing known yet.
    pub(super) fn new(client_cookie: Option<ClientCookie>) -> Self {
        Self { client_cookie, server_cookie: None, no_edns_until: None, folds_case_until: None, folds: 0 }
    }

    /// How to ask now.
    pub(super) fn manner(&self, now: Instant) -> Manner {
        let in_force = |until: Option<Instant>| until.is_some_and(|until| now < until);
        let fresh = |(cookie, seen): &(Vec<u8>, Instant)| (now < *seen + COOKIE_FOR).then(|| cookie.clone());
        Manner {
            edns: !in_force(self.no_edns_until),
            mix_case: !in_force(self.folds_case_until),
            client_cookie: self.client_cookie,
            server_cookie: self.server_cookie.as_ref().and_then(fresh),
            padded: false,
        }
    }

    /// The server does not speak EDNS: it failed with, and answered without.
    pub(super) fn rejected_edns(&mut self, now: Instant) {
        self.no_edns_until = Some(now + NO_EDNS_FOR);
    }

    /// The server gave another case back, and TCP has shown that it was no forgery.
    pub(super) fn folded_case(&mut self, now: Instant) {
        self.folds += 1;
        if self.folds >= FOLDS_TO_BELIEVE {
            self.folds = 0;
            self.folds_case_until = Some(now + FOLDS_CASE_FOR);
        }
    }

    /// The server gave our random case back.
    pub(super) fn echoed_case(&mut self) {
        self.folds = 0;
    }

    /// A cookie came with an answer.
    pub(super) fn learned_cookie(&mut self, cookie: Vec<u8>, now: Instant) {
        self.server_cookie = Some((cookie, now));
    }

    /// The server has answered over TCP without a cookie: it no longer uses them.
    pub(super) fn gave_up_cookies(&mut self) {
        self.server_cookie = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_given_up_after_three_proofs_in_a_row_and_for_an_hour() {
        let now = Instant::now();
        let mut memory = Memory::new(None);
        memory.folded_case(now);
        memory.folded_case(now);
        memory.echoed_case();
        memory.folded_case(now);
        memory.folded_case(now);
        assert!(memory.manner(now).mix_case);
        memory.folded_case(now);
        assert!(!memory.manner(now).mix_case);
        assert!(memory.manner(now + FOLDS_CASE_FOR).mix_case);
    }

    #[test]
    fn edns_comes_back_after_its_time() {
        let now = Instant::now();
        let mut memory = Memory::new(None);
        memory.rejected_edns(now);
        assert!(!memory.manner(now).edns);
        assert!(memory.manner(now + NO_EDNS_FOR).edns);
    }

    #[test]
    fn a_cookie_is_expected_only_from_who_gave_one_lately() {
        let now = Instant::now();
        let mut memory = Memory::new(Some([1; 8]));
        assert!(!memory.manner(now).expects_cookie());
        memory.learned_cookie(vec![2; 8], now);
        assert!(memory.manner(now).expects_cookie());
        assert!(!memory.manner(now + COOKIE_FOR).expects_cookie());
        memory.gave_up_cookies();
        assert!(!memory.manner(now).expects_cookie());
    }
}
