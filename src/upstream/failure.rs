//! Why no server gave a usable answer, as a message and as an Extended DNS Error.

use std::fmt;

use hickory_proto::op::ResponseCode;

use super::ServerAddress;
use crate::engine::answer::ExtendedError;
use crate::engine::rcode::show_rcode;

/// No server of the group gave a usable answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What each server did, in the order they were first asked.
    pub attempts: Vec<Attempt>,
    /// The reason as a whole.
    pub kind: FailureKind,
}

/// What one server did with the question.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The server.
    pub server: ServerAddress,
    /// Number of queries.
    pub tries: u32,
    /// The result of the last try.
    pub outcome: AttemptError,
}

/// How one try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// Nothing usable came in time.
    TimedOut,
    /// The network or the server's host said no.
    Network(String),
    /// It was reached, but no trusted TLS session with it came about.
    Tls(String),
    /// It speaks HTTP, and says so with another status than 200.
    Http(u16),
    /// This machine could not send: out of descriptors, ports, memory.
    Local(String),
    /// The server replied with a failing rcode.
    Rcode(ResponseCode),
    /// It points elsewhere instead of resolving for us.
    Referral,
    /// What it sent cannot be read, or was not what was asked.
    Garbled,
    /// Not asked: as many queries to it are under way as may be.
    AtLimit,
    /// Not queried: forwarding loop.
    Looping,
}

/// The reason of a failure as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The group has no servers.
    NoServers,
    /// No server replied in time.
    Timeout,
    /// No server could be reached.
    Network,
    /// Servers were reached, but no trusted TLS session with any came about.
    Tls,
    /// Servers replied, but with a failing rcode; this is the last one.
    Rcode(ResponseCode),
    /// Servers replied, but none resolves for us.
    Referral,
    /// This machine, or the number of queries under way, did not allow to ask.
    Overloaded,
    /// Every server is in a forwarding loop.
    Looping,
}

impl Failure {
    /// Finds the reason in what the servers did: the one that says most comes first.
    pub(super) fn new(attempts: Vec<Attempt>, last_rcode: Option<ResponseCode>) -> Self {
        let any = |f: fn(&AttemptError) -> bool| attempts.iter().any(|attempt| f(&attempt.outcome));
        let kind = if let Some(rcode) = last_rcode {
            FailureKind::Rcode(rcode)
        } else if attempts.is_empty() {
            FailureKind::NoServers
        } else if any(|o| matches!(o, AttemptError::TimedOut | AttemptError::Garbled)) {
            FailureKind::Timeout
        } else if any(|o| matches!(o, AttemptError::Referral)) {
            FailureKind::Referral
        } else if any(|o| matches!(o, AttemptError::Tls(_))) {
            FailureKind::Tls
        } else if any(|o| matches!(o, AttemptError::Network(_) | AttemptError::Http(_))) {
            FailureKind::Network
        } else if any(|o| matches!(o, AttemptError::AtLimit | AttemptError::Local(_))) {
            FailureKind::Overloaded
        } else {
            FailureKind::Looping
        };
        Self { attempts, kind }
    }
}

impl FailureKind {
    /// The info-code of the Extended DNS Error to tell a client (RFC 8914 section 5.2).
    pub fn extended_error(self) -> u16 {
        match self {
            Self::NoServers | Self::Timeout | Self::Rcode(_) | Self::Referral | Self::Looping => {
                ExtendedError::NO_REACHABLE_AUTHORITY
            }
            Self::Network | Self::Tls => ExtendedError::NETWORK_ERROR,
            Self::Overloaded => ExtendedError::OTHER,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServers => f.write_str("no upstream server is configured"),
            Self::Timeout => f.write_str("no upstream server answered in time"),
            Self::Network => f.write_str("no upstream server can be reached"),
            Self::Tls => f.write_str("no upstream server passed verification"),
            Self::Rcode(rcode) => write!(f, "the upstream servers answer {}", show_rcode(*rcode, false)),
            Self::Referral => {
                f.write_str("the upstream servers do not offer recursion: they answer with referrals")
            }
            Self::Overloaded => f.write_str("too many queries are in flight"),
            Self::Looping => f.write_str("every upstream server is in a forwarding loop with this one"),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer"),
            Self::Network(error) => f.write_str(error),
            Self::Http(status) => write!(f, "HTTP status {status}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Local(error) => write!(f, "could not be queried: {error}"),
            Self::Rcode(rcode) => f.write_str(&show_rcode(*rcode, false)),
            Self::Referral => f.write_str("a referral"),
            Self::Garbled => f.write_str("unreadable reply"),
            Self::AtLimit => f.write_str("not queried, too many queries in flight"),
            Self::Looping => f.write_str("not queried, forwarding loop"),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.outcome)?;
        if self.tries > 1 {
            write!(f, " ({} tries)", self.tries)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}{attempt}", if index == 0 { " (" } else { "; " })?;
        }
        if self.attempts.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(outcomes: &[AttemptError], rcode: Option<ResponseCode>) -> Failure {
        let attempt = |(n, outcome): (usize, &AttemptError)| Attempt {
            server: format!("192.0.2.{n}").parse().unwrap(),
            tries: n as u32 + 1,
            outcome: outcome.clone(),
        };
        Failure::new(outcomes.iter().enumerate().map(attempt).collect(), rcode)
    }

    #[test]
    fn the_most_telling_reason_wins() {
        let servfail = ResponseCode::ServFail;
        let unreachable = || AttemptError::Network("network unreachable".to_owned());
        let rows = [
            (vec![], None, FailureKind::NoServers),
            (
                vec![AttemptError::TimedOut, AttemptError::Rcode(servfail)],
                Some(servfail),
                FailureKind::Rcode(servfail),
            ),
            (vec![unreachable(), AttemptError::TimedOut], None, FailureKind::Timeout),
            (vec![unreachable(), AttemptError::Tls(String::new())], None, FailureKind::Tls),
            (vec![AttemptError::AtLimit, unreachable()], None, FailureKind::Network),
            (vec![AttemptError::AtLimit, AttemptError::Looping], None, FailureKind::Overloaded),
            (vec![AttemptError::Looping, AttemptError::Looping], None, FailureKind::Looping),
        ];
        for (outcomes, rcode, kind) in rows {
            assert_eq!(failure(&outcomes, rcode).kind, kind, "{outcomes:?}");
        }
    }

    #[test]
    fn the_text_names_each_server_with_what_it_did() {
        let failure = failure(&[AttemptError::Rcode(ResponseCode::Refused), AttemptError::TimedOut], None);
        assert_eq!(
            failure.to_string(),
            "no upstream server answered in time (192.0.2.0: REFUSED; 192.0.2.1: no answer (2 tries))"
        );
    }
}
