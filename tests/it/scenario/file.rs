//! The form of a scenario file. Whatever is odd about one is a panic that names the line.

use crate::client::Ask;
use crate::upstream;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pvtzd::engine::name::{NameKey, parse};
use pvtzd::engine::record::{parse_type, parse_value};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// The file's name.
    pub name: String,
    /// What it shows: the text before the first section, in one line.
    pub idea: String,
    /// The configuration; `$role` stands for the address of an upstream server.
    config: String,
    /// What upstream servers say.
    script: Vec<Cue>,
    /// What is asked.
    pub steps: Vec<Step>,
}

/// What one server says of one name and type.
#[derive(Debug)]
struct Cue {
    from: u64,
    role: String,
    name: NameKey,
    rtype: RecordType,
    says: Says,
}

/// What a server says.
#[derive(Debug)]
enum Says {
    Nothing,
    Message { rcode: ResponseCode, authentic: bool, answers: Vec<Record>, authorities: Vec<Record> },
}

/// A question and what must come of it.
#[derive(Debug)]
pub struct Step {
    /// Its line in the file.
    pub line: usize,
    /// When, in milliseconds.
    pub at: u64,
    /// The question.
    pub ask: Ask,
    /// It is asked over TCP.
    pub over_tcp: bool,
    /// Asked again it would be answered otherwise.
    pub once: bool,
    /// The answer, as [`crate::client::Reply::lines`] has it.
    pub expected: Vec<String>,
    /// What upstreams are asked, in this order.
    pub asked: Vec<String>,
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut scenario =
            Self { name, idea: String::new(), config: String::new(), script: Vec::new(), steps: Vec::new() };
        let (mut section, mut from) = ("idea", 0);
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if let Some(title) = line.strip_prefix("--- ") {
                section = title.trim();
                continue;
            }
            if section == "config" {
                scenario.config += line;
                scenario.config += "\n";
                continue;
            }
            let blank = line.trim().is_empty() || line.trim_start().starts_with('#');
            let words: Vec<&str> = line.split_whitespace().collect();
            let indented = line.starts_with(' ');
            let done = match section {
                _ if blank => Some(()),
                "idea" => {
                    scenario.idea = format!("{} {}", scenario.idea, line.trim()).trim().into();
                    Some(())
                }
                "upstream" if indented => scenario.cue_record(&words),
                "upstream" if words[0] == "from" => seconds(words.get(1)).map(|at| from = at),
                "upstream" => cue(&words, from).map(|cue| scenario.script.push(cue)),
                "steps" if indented => scenario.expectation(&words),
                "steps" => step(&words, number).map(|step| scenario.steps.push(step)),
                other => panic!("{}:{number}: no section `{other}`", scenario.name),
            };
            assert!(done.is_some(), "{}:{number}: cannot be read: {line}", scenario.name);
        }
        assert!(!scenario.idea.is_empty(), "{}: say what it shows", scenario.name);
        assert!(!scenario.steps.is_empty(), "{}: no steps", scenario.name);
        assert!(scenario.steps.is_sorted_by_key(|step| step.at), "{}: time goes back", scenario.name);
        scenario
    }

    /// The names of the upstream servers.
    pub fn roles(&self) -> BTreeSet<String> {
        let quoted = self.config.split("\"$").skip(1);
        quoted.map(|rest| rest.split('"').next().unwrap_or_default().to_string()).collect()
    }

    /// The configuration with addresses in the place of roles.
    pub fn config(&self, address_of: impl Fn(&str) -> SocketAddr) -> String {
        let mut config = self.config.clone();
        for role in self.roles() {
            config = config.replace(&format!("\"${role}\""), &format!("\"{}\"", address_of(&role)));
        }
        config
    }

    /// What a server says to a query at a moment; `Err` when the script has nothing about it.
    pub fn says(&self, role: &str, query: &Message, at: u64) -> Result<Option<Message>, ()> {
        let question = &query.queries[0];
        let (name, rtype) = (NameKey::of(question.name()), question.query_type());
        let about = |cue: &&Cue| {
            let any = cue.rtype == RecordType::ANY;
            cue.role == role && cue.name == name && (cue.rtype == rtype || any) && cue.from <= at
        };
        let cue = self.script.iter().filter(about).max_by_key(|cue| cue.from).ok_or(())?;
        let Says::Message { rcode, authentic, answers, authorities } = &cue.says else { return Ok(None) };
        let mut message = upstream::empty(query, *rcode);
        message.metadata.authentic_data = *authentic;
        message.answers.clone_from(answers);
        message.authorities.clone_from(authorities);
        Ok(Some(message))
    }

    /// A record of the last cue.
    fn cue_record(&mut self, words: &[&str]) -> Option<()> {
        let Says::Message { answers, authorities, .. } = &mut self.script.last_mut()?.says else {
            return None;
        };
        match words.split_first()? {
            (&"authority", rest) => authorities.push(record(rest)?),
            _ => answers.push(record(words)?),
        }
        Some(())
    }

    /// A line below the last step.
    fn expectation(&mut self, words: &[&str]) -> Option<()> {
        let step = self.steps.last_mut()?;
        match words.split_first()? {
            (&"asked", rest) => step.asked.push(rest.join(" ")),
            _ => step.expected.push(words.join(" ")),
        }
        Some(())
    }
}

/// All scenarios, by name.
pub fn all() -> Vec<std::sync::Arc<Scenario>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let only = std::env::var("SCENARIO").ok();
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scn"))
        .filter(|path| only.as_ref().is_none_or(|only| path.to_string_lossy().contains(only)))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenario");
    paths.iter().map(|path| Scenario::read(path).into()).collect()
}

/// `role name type [code] [ad]`, or `role name type silence`; `*` for every type.
fn cue(words: &[&str], from: u64) -> Option<Cue> {
    let [role, name, rtype, rest @ ..] = words else { return None };
    let rtype = if *rtype == "*" { RecordType::ANY } else { parse_type(rtype)? };
    let mut says = Says::Message {
        rcode: ResponseCode::NoError,
        authentic: false,
        answers: Vec::new(),
        authorities: Vec::new(),
    };
    for word in rest {
        match (&mut says, *word) {
            (says, "silence") => *says = Says::Nothing,
            (Says::Message { authentic, .. }, "ad") => *authentic = true,
            (Says::Message { rcode, .. }, code) => {
                *rcode = match code {
                    "NOERROR" => ResponseCode::NoError,
                    "NXDOMAIN" => ResponseCode::NXDomain,
                    "SERVFAIL" => ResponseCode::ServFail,
                    "REFUSED" => ResponseCode::Refused,
                    "YXDOMAIN" => ResponseCode::YXDomain,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    Some(Cue { from, role: (*role).into(), name: NameKey::of(&parse(name).ok()?), rtype, says })
}

/// `owner ttl type value`; of a SOA the value is its MINIMUM.
fn record(words: &[&str]) -> Option<Record> {
    let [owner, ttl, rtype, value @ ..] = words else { return None };
    let data = if *rtype == "SOA" {
        let minimum = value.first()?.parse().ok()?;
        RData::SOA(SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, minimum))
    } else {
        parse_value(parse_type(rtype)?, &value.join(" ")).ok()?
    };
    Some(Record::from_rdata(parse(owner).ok()?, ttl.parse().ok()?, data))
}

/// `at 0s 127.0.0.1 asks name type [+norec] [+do] [+cd] [+ad] [+noedns] [+bufsize=N] [+tcp] [+once]`.
fn step(words: &[&str], line: usize) -> Option<Step> {
    let ["at", at, client, "asks", name, rtype, options @ ..] = words else { return None };
    let mut step = Step {
        line,
        at: seconds(Some(at))?,
        ask: Ask { client: client.parse().ok()?, ..Ask::new(name, rtype) },
        over_tcp: false,
        once: false,
        expected: Vec::new(),
        asked: Vec::new(),
    };
    for option in options {
        match *option {
            "+norec" => step.ask.recursion = false,
            "+do" => step.ask.dnssec_ok = true,
            "+cd" => step.ask.checking_disabled = true,
            "+ad" => step.ask.authentic_data = true,
            "+noedns" => step.ask.edns = None,
            "+tcp" => step.over_tcp = true,
            "+once" => step.once = true,
            other => step.ask.edns = Some(other.strip_prefix("+bufsize=")?.parse().ok()?),
        }
    }
    Some(step)
}

/// `65s` or `0.5s` in milliseconds.
fn seconds(word: Option<&&str>) -> Option<u64> {
    let seconds: f64 = word?.strip_suffix('s')?.parse().ok()?;
    Some((seconds * 1000.0).round() as u64)
}
