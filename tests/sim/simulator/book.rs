//! What happened in a run: the trace, and all that was ever truly said to us. The invariants are held against it.

use super::held::Given;
use super::plan::{Group, Plan};
use hickory_proto::rr::{RData, RecordType};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// A run that broke an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen instead.
    pub why: String,
}

impl Broken {
    /// An invariant is broken.
    pub fn new(invariant: &'static str, why: impl Into<String>) -> Self {
        Self { invariant, why: why.into() }
    }
}

/// What a server said of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A record.
    Record(RData),
    /// Nothing of this type.
    NoData(RecordType),
    /// No such name, whatever the type.
    NxDomain,
}

/// Something that a server truly said.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Whose truth it is.
    pub universe: u8,
    /// Which of its servers said it.
    pub server: u8,
    /// Of which name, in lower case.
    pub name: String,
    /// What.
    pub what: What,
    /// The TTL it had, as we may keep it.
    pub ttl: u32,
    /// When it reached us.
    pub at: u64,
}

/// One line of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A configuration was published.
    Published(usize),
    /// The machine slept for so many milliseconds.
    Slept(u64),
    /// A client asked.
    Asked(usize, Vec<u8>),
    /// It was answered.
    Answered(usize, Vec<u8>),
    /// A question went to a server, from this port or (0) over TCP.
    Sent(u16, SocketAddr, Vec<u8>),
    /// Something came back, true or not.
    Came(u16, SocketAddr, &'static str, Vec<u8>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(number) => write!(f, "configuration {number} is published"),
            Self::Slept(length) => write!(f, "the machine slept for {length} ms"),
            Self::Asked(number, packet) => write!(f, "query {number}: {}", Shown(packet)),
            Self::Answered(number, packet) => write!(f, "answer {number}: {}", Shown(packet)),
            Self::Sent(0, server, packet) => write!(f, "over TCP to {server}: {}", Shown(packet)),
            Self::Sent(port, server, packet) => write!(f, "{port} > {server}: {}", Shown(packet)),
            Self::Came(port, server, kind, packet) => {
                write!(f, "{port} < {server} ({kind}): {}", Shown(packet))
            }
        }
    }
}

/// A message for people.
struct Shown<'p>(&'p [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(message) = hickory_proto::op::Message::from_vec(self.0) else {
            return write!(f, "{} octets that are no message", self.0.len());
        };
        write!(f, "#{} {:?}", message.metadata.id, message.metadata.response_code)?;
        for query in &message.queries {
            write!(f, " {} {}?", query.name(), query.query_type())?;
        }
        for record in message.answers.iter().chain(&message.authorities) {
            write!(f, " | {} {} {} {}", record.name, record.ttl, record.record_type(), record.data)?;
        }
        if message.metadata.truncation {
            write!(f, " | TC")?;
        }
        if let Some(edns) = &message.edns {
            write!(f, " | OPT")?;
            for (code, _) in edns.options().as_ref() {
                write!(f, " {}", u16::from(*code))?;
            }
        }
        Ok(())
    }
}

/// The book of a run.
#[derive(Debug)]
pub struct Book {
    /// When the run began.
    pub start: Instant,
    /// All that happened, by the millisecond.
    pub trace: Vec<(u64, Event)>,
    /// What was truly said.
    pub facts: Vec<Fact>,
    /// The configurations, each from a moment on.
    pub plans: Vec<(u64, Arc<Plan>)>,
    /// Which VPC a client of asked, and when.
    pub asked: Vec<(u64, Option<u8>)>,
    /// What was given to clients.
    pub given: Vec<Given>,
    /// Milliseconds for which the machine slept.
    pub asleep: u64,
    /// What broke first.
    pub broken: Option<Broken>,
}

impl Book {
    /// An empty book.
    pub fn begin() -> Self {
        Self {
            start: Instant::now(),
            trace: Vec::new(),
            facts: Vec::new(),
            plans: Vec::new(),
            asked: Vec::new(),
            given: Vec::new(),
            asleep: 0,
            broken: None,
        }
    }

    /// Milliseconds since the run began, those asleep among them.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + self.asleep
    }

    /// Writes down what happens.
    pub fn note(&mut self, event: Event) {
        let now = self.now();
        self.trace.push((now, event));
    }

    /// Writes down how an invariant fared.
    pub fn hold(&mut self, outcome: Result<(), Broken>) {
        if let (Err(broken), None) = (outcome, &self.broken) {
            self.broken = Some(broken);
        }
    }

    /// The configurations that counted at some moment between two.
    pub fn plans_between(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<Plan>> {
        let ends = self.plans.iter().skip(1).map(|(begins, _)| *begins).chain([u64::MAX]);
        let counted = self.plans.iter().zip(ends);
        counted.filter(move |((begins, _), ends)| *begins <= to && *ends >= from).map(|((_, plan), _)| plan)
    }

    /// When one of the servers of a group said something of a name, and with which TTL.
    pub fn said(&self, group: &Group, name: &str, what: &What) -> Vec<(u64, u32)> {
        let of_group = |fact: &Fact| fact.universe == group.universe && group.servers.contains(&fact.server);
        let of_it = |fact: &&Fact| of_group(fact) && fact.name == name && fact.what == *what;
        self.facts.iter().filter(of_it).map(|fact| (fact.at, fact.ttl)).collect()
    }

    /// The trace as text.
    pub fn told(&self) -> String {
        self.trace.iter().map(|(at, event)| format!("{:>9} ms  {event}\n", at)).collect()
    }
}
