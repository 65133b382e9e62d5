//! How a server wants to be asked: what was learned of its EDNS, its letter case, its cookies. Pure data; every
//! lesson expires, so that a server that was repaired or replaced gets its protection back.

use crate::engine::name::NameKey;
use std::time::{Duration, Instant};

/// Length of a client cookie (RFC 7873 section 4).
pub(super) const CLIENT_COOKIE_LEN: usize = 8;

/// The client's half of a DNS cookie.
pub(super) type OwnCookie = [u8; CLIENT_COOKIE_LEN];

/// How long a server that rejected EDNS is asked without.
const NO_EDNS_FOR: Duration = Duration::from_secs(15 * 60);
/// How long a server that folds case is asked in lower case.
const FOLDS_CASE_FOR: Duration = Duration::from_secs(60 * 60);
/// How much a proven case of folding weighs against one reply in the case that was sent. A server that repeats the case
/// of who asked first folds only some of its replies.
const FOLD_WEIGHT: u32 = 8;
/// The weight at which folding is believed: three proven cases, if little else came meanwhile.
const FOLDS_TO_BELIEVE: u32 = 3 * FOLD_WEIGHT;
/// This many names must have failed with EDNS and been answered without, and no reply had EDNS in it meanwhile, before
/// the server is asked without.
const NAMES_TO_BELIEVE: usize = 3;
/// How long a server cookie is held against a server that no longer sends one.
const COOKIE_FOR: Duration = Duration::from_secs(60 * 60);

/// How one query is to be asked.
#[derive(Clone, Debug)]
pub(super) struct QueryOptions {
    /// With an OPT record.
    pub(super) edns: bool,
    /// With letters in random case (0x20).
    pub(super) mix_case: bool,
    /// Our half of the cookie.
    pub(super) client_cookie: Option<OwnCookie>,
    /// The server's half, if it ever gave us one.
    pub(super) server_cookie: Option<Vec<u8>>,
    /// Its length made a multiple of 128 octets (RFC 8467 section 4.1).
    pub(super) padded: bool,
}

impl QueryOptions {
    /// The same on a road that is encrypted: it cannot be forged, so that case and cookie are of no use, but
    /// lengths are visible.
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
pub(super) struct Capabilities {
    /// Our cookie for this server alone, so that two servers cannot tell we are one client by it.
    client_cookie: Option<OwnCookie>,
    /// The server's cookie, and when it last came.
    server_cookie: Option<(Vec<u8>, Instant)>,
    /// Asked without EDNS until then.
    no_edns_until: Option<Instant>,
    /// Asked in lower case until then.
    folds_case_until: Option<Instant>,
    /// The weight of proven cases of folding.
    folds: u32,
    /// The last names whose folding is proven by a second datagram only.
    folded_names: Vec<NameKey>,
    /// Names that failed with EDNS and were answered without, since the last reply with EDNS.
    edns_failures: Vec<NameKey>,
}

/// What shows that a server itself folds case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It answered over TCP.
    Tcp,
    /// It has no TCP, and answered the same question in lower case, from another port.
    Datagram,
}

impl Capabilities {
    /// Nothing known yet.
    pub(super) fn new(client_cookie: Option<OwnCookie>) -> Self {
        Self {
            client_cookie,
            server_cookie: None,
            no_edns_until: None,
            folds_case_until: None,
            folds: 0,
            folded_names: Vec::new(),
            edns_failures: Vec::new(),
        }
    }

    /// How to ask now.
    pub(super) fn query_options(&self, now: Instant) -> QueryOptions {
        let in_force = |until: Option<Instant>| until.is_some_and(|until| now < until);
        let fresh = |(cookie, seen): &(Vec<u8>, Instant)| (now < *seen + COOKIE_FOR).then(|| cookie.clone());
        QueryOptions {
            edns: !in_force(self.no_edns_until),
            mix_case: !in_force(self.folds_case_until),
            client_cookie: self.client_cookie,
            server_cookie: self.server_cookie.as_ref().and_then(fresh),
            padded: false,
        }
    }

    /// A question failed with EDNS and was answered without. That may be the name's doing; of several names it is the
    /// server's, which does not speak EDNS then.
    pub(super) fn rejected_edns(&mut self, name: &NameKey, now: Instant) {
        if !self.edns_failures.contains(name) {
            self.edns_failures.push(name.clone());
        }
        if self.edns_failures.len() >= NAMES_TO_BELIEVE {
            self.edns_failures.clear();
            self.no_edns_until = Some(now + NO_EDNS_FOR);
        }
    }

    /// A reply that is as it should be: in random case if it was sent so, and with EDNS perhaps.
    pub(super) fn confirm(&mut self, mixed_case: bool, edns: bool) {
        if mixed_case {
            self.echoed_case();
        }
        if edns {
            self.spoke_edns();
        }
    }

    /// A reply had EDNS in it: the server speaks it.
    fn spoke_edns(&mut self) {
        self.edns_failures.clear();
    }

    /// The server gave a name back in another case, and `proof` has shown that it was no forgery.
    pub(super) fn folded_case(&mut self, name: &NameKey, proof: Proof, now: Instant) {
        if proof == Proof::Datagram {
            if self.folded_names.contains(name) {
                return; // one name is one piece of evidence, however often it is asked for
            }
            self.folded_names.push(name.clone());
        }
        self.folds += FOLD_WEIGHT;
        if self.folds >= FOLDS_TO_BELIEVE {
            self.folds = 0;
            self.folded_names.clear();
            self.folds_case_until = Some(now + FOLDS_CASE_FOR);
        }
    }

    /// The server gave our random case back.
    fn echoed_case(&mut self) {
        self.folds = self.folds.saturating_sub(1);
        if self.folds == 0 {
            self.folded_names.clear();
        }
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

    fn name(number: usize) -> NameKey {
        NameKey::of(&crate::engine::name::parse(&format!("n{number}.example")).unwrap())
    }

    #[test]
    fn case_is_given_up_after_three_proofs_and_for_an_hour() {
        let now = Instant::now();
        let mut memory = Capabilities::new(None);
        memory.folded_case(&name(1), Proof::Tcp, now);
        memory.folded_case(&name(1), Proof::Tcp, now);
        assert!(memory.query_options(now).mix_case);
        memory.folded_case(&name(1), Proof::Tcp, now);
        assert!(!memory.query_options(now).mix_case);
        assert!(memory.query_options(now + FOLDS_CASE_FOR).mix_case);
    }

    #[test]
    fn datagrams_alone_prove_folding_by_several_names_only() {
        let now = Instant::now();
        let mut memory = Capabilities::new(None);
        (0..20).for_each(|_| memory.folded_case(&name(1), Proof::Datagram, now));
        memory.folded_case(&name(2), Proof::Datagram, now);
        assert!(memory.query_options(now).mix_case);
        memory.folded_case(&name(3), Proof::Datagram, now);
        assert!(!memory.query_options(now).mix_case);
    }

    #[test]
    fn folding_is_believed_of_who_folds_a_part_of_its_replies_and_not_of_who_was_forged_once() {
        let now = Instant::now();
        // the case of who asked first: one reply in four
        let mut memory = Capabilities::new(None);
        for number in 0..6 {
            memory.folded_case(&name(number), Proof::Tcp, now);
            (0..3).for_each(|_| memory.echoed_case());
        }
        assert!(!memory.query_options(now).mix_case);
        // a lucky guess in a hundred thousand
        let mut memory = Capabilities::new(None);
        for number in 0..9 {
            memory.folded_case(&name(number), Proof::Tcp, now);
            (0..100).for_each(|_| memory.echoed_case());
        }
        assert!(memory.query_options(now).mix_case);
    }

    #[test]
    fn edns_is_given_up_for_several_names_without_a_reply_that_has_it_and_comes_back() {
        let now = Instant::now();
        let mut memory = Capabilities::new(None);
        (0..9).for_each(|_| memory.rejected_edns(&name(1), now));
        memory.rejected_edns(&name(2), now);
        memory.spoke_edns();
        memory.rejected_edns(&name(3), now);
        memory.rejected_edns(&name(1), now);
        assert!(memory.query_options(now).edns);
        memory.rejected_edns(&name(2), now);
        assert!(!memory.query_options(now).edns);
        assert!(memory.query_options(now + NO_EDNS_FOR).edns);
    }

    #[test]
    fn a_cookie_is_expected_only_from_who_gave_one_lately() {
        let now = Instant::now();
        let mut memory = Capabilities::new(Some([1; 8]));
        assert!(!memory.query_options(now).expects_cookie());
        memory.learned_cookie(vec![2; 8], now);
        assert!(memory.query_options(now).expects_cookie());
        assert!(!memory.query_options(now + COOKIE_FOR).expects_cookie());
        memory.gave_up_cookies();
        assert!(!memory.query_options(now).expects_cookie());
    }
}
