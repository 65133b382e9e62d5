//! The report of `compare`: a table for people, the same as JSON, and the exit code.

use super::super::table;
use super::answer::{AnswerDifference, ComparedAnswer};
use super::scratch::{Point, ScratchVerdict};
use crate::cli::{exit, shown};
use crate::engine::record::show_type;
use crate::engine::request::Question;
use crate::engine::sort;
use crate::engine::text::show;
use serde::Serialize;
use std::net::SocketAddr;

/// One question, and what the two servers answered.
#[derive(Serialize)]
pub(super) struct Compared {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    /// What pvtzd answered; absent if it did not.
    ours: Option<ComparedAnswer>,
    /// What the other server answered; absent if it did not.
    theirs: Option<ComparedAnswer>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    differences: Vec<AnswerDifference>,
}

/// One question about the scratch zones, and which readings the answer matches.
#[derive(Serialize)]
pub(super) struct Judged {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    /// The point that the product's documentation leaves open.
    about: &'static str,
    /// What pvtzd answers with its defaults.
    ours: String,
    /// What the other server answered; absent if it did not.
    theirs: Option<ComparedAnswer>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// `same`, `switch`, `other` or `none`.
    verdict: &'static str,
    /// The settings that answer so, if not all do.
    settings: Vec<String>,
}

/// What was found.
#[derive(Serialize)]
pub(super) struct CompareReport {
    /// The program that asked.
    pvtzd: &'static str,
    /// This pvtzd, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// The other server.
    with: String,
    /// The name above the scratch zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    scratch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<Compared>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<Judged>,
}

impl Compared {
    pub(super) fn new(
        question: &Question,
        ours: Result<ComparedAnswer, String>,
        theirs: Result<ComparedAnswer, String>,
    ) -> Self {
        let differences = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours.differences(theirs),
            _ => Vec::new(),
        };
        let failure = match (&ours, &theirs) {
            (Err(why), _) => Some(format!("no answer from pvtzd: {why}")),
            (_, Err(why)) => Some(format!("no answer from the other server: {why}")),
            _ => None,
        };
        let (name, rtype) = (show(&question.name), show_type(question.rtype));
        Self { name, rtype, ours: ours.ok(), theirs: theirs.ok(), failure, differences }
    }

    fn is_of_data(&self) -> bool {
        self.failure.is_some() || self.differences.iter().any(|difference| difference.is_of_data())
    }

    fn row(&self) -> Vec<String> {
        let brief = |answer: &Option<ComparedAnswer>| {
            answer.as_ref().map_or("no answer".into(), ComparedAnswer::brief)
        };
        let words: Vec<&str> = self.differences.iter().map(|difference| difference.word()).collect();
        let (name, rtype) = (self.name.clone(), self.rtype.clone());
        vec![name, rtype, words.join(" "), brief(&self.ours), brief(&self.theirs)]
    }

    /// What is beside the data, as both have it.
    fn beside(&self) -> Vec<Vec<String>> {
        let ttls = |answer: &ComparedAnswer| {
            answer.chain.iter().map(|set| set.ttl.to_string()).collect::<Vec<_>>().join(" ")
        };
        let soa = |answer: &ComparedAnswer| {
            answer.soa.as_ref().map_or("none".into(), |soa| format!("{} minimum {}", soa.zone, soa.minimum))
        };
        let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) else { return Vec::new() };
        let row = |difference: &AnswerDifference| {
            let both = match difference {
                AnswerDifference::Ttl => [ttls(ours), ttls(theirs)],
                AnswerDifference::Soa => [soa(ours), soa(theirs)],
                AnswerDifference::Aa => {
                    [ours.aa, theirs.aa].map(|aa| if aa { "set" } else { "not set" }.into())
                }
                AnswerDifference::Code | AnswerDifference::Chain => return None,
            };
            let [ours, theirs] = both;
            Some(vec![self.name.clone(), self.rtype.clone(), difference.word().into(), ours, theirs])
        };
        self.differences.iter().filter_map(row).collect()
    }
}

impl Judged {
    pub(super) fn new(point: &Point, seen: Result<ComparedAnswer, String>, verdict: &ScratchVerdict) -> Self {
        let failure = seen.as_ref().err().cloned();
        let (word, settings) = match verdict {
            _ if failure.is_some() => ("none", Vec::new()),
            ScratchVerdict::Same => ("same", Vec::new()),
            ScratchVerdict::Switch(settings) => ("switch", settings.clone()),
            ScratchVerdict::Other => ("other", Vec::new()),
        };
        Self {
            name: show(&point.question.name),
            rtype: show_type(point.question.rtype),
            about: point.about,
            ours: point.here(),
            theirs: seen.ok(),
            failure,
            verdict: word,
            settings,
        }
    }

    fn row(&self) -> Vec<String> {
        let seen = match (&self.theirs, &self.failure) {
            (Some(answer), _) => {
                let soa = answer.soa.as_ref().map(|soa| format!(" (SOA {})", soa.zone)).unwrap_or_default();
                format!("{}{soa}", answer.brief())
            }
            (None, why) => format!("no answer: {}", why.as_deref().unwrap_or_default()),
        };
        let verdict = match self.verdict {
            "same" => "as pvtzd".to_string(),
            "switch" => self.settings.join(", "),
            "other" => "no setting matches".to_string(),
            _ => "unknown".to_string(),
        };
        let about = self.about.to_string();
        vec![self.name.clone(), self.rtype.clone(), about, self.ours.clone(), seen, verdict]
    }
}

impl CompareReport {
    pub(super) fn of_answers(server: SocketAddr, with: SocketAddr, questions: Vec<Compared>) -> Self {
        let (server, with) = (Some(server.to_string()), with.to_string());
        Self { pvtzd: env!("CARGO_PKG_VERSION"), server, with, scratch: None, questions, points: Vec::new() }
    }

    pub(super) fn of_points(with: SocketAddr, scratch: &str, points: Vec<Judged>) -> Self {
        let (scratch, with) = (Some(scratch.to_string()), with.to_string());
        Self { pvtzd: env!("CARGO_PKG_VERSION"), server: None, with, scratch, questions: Vec::new(), points }
    }

    /// 0 if all is the same, 4 if a server answered nothing at all, else 1.
    pub(super) fn code(&self) -> u8 {
        let silent = |mut answers: Box<dyn Iterator<Item = bool> + '_>| answers.all(|answered| !answered);
        let is_silent = match self.points.is_empty() {
            true => {
                silent(Box::new(self.questions.iter().map(|row| row.ours.is_some())))
                    || silent(Box::new(self.questions.iter().map(|row| row.theirs.is_some())))
            }
            false => silent(Box::new(self.points.iter().map(|row| row.theirs.is_some()))),
        };
        let differs = self.questions.iter().any(Compared::is_of_data)
            || self.points.iter().any(|row| row.verdict != "same");
        match (is_silent, differs) {
            (true, _) => exit::UNREACHABLE,
            (false, true) => exit::FINDINGS,
            (false, false) => exit::OK,
        }
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            return shown::json(self);
        }
        if self.points.is_empty() { self.print_answers() } else { self.print_points() }
    }

    fn print_answers(&self) {
        let server = self.server.as_deref().unwrap_or_default();
        let differ: Vec<_> =
            self.questions.iter().filter(|row| row.is_of_data()).map(Compared::row).collect();
        table::print(&["NAME", "TYPE", "DIFFERS", "PVTZD", &self.with.to_uppercase()], &differ);
        let beside: Vec<_> = self.questions.iter().flat_map(Compared::beside).collect();
        if !beside.is_empty() {
            println!("{}Other differences:", if differ.is_empty() { "" } else { "\n" });
            table::print(&["NAME", "TYPE", "DIFFERS", "PVTZD", &self.with.to_uppercase()], &beside);
        }
        let (all, differ) = (self.questions.len(), differ.len());
        eprintln!("{all} queries to {server} and {}: {differ} different answers", self.with);
    }

    fn print_points(&self) {
        println!("pvtzd {}, test zones below {}", self.pvtzd, self.scratch.as_deref().unwrap_or_default());
        println!();
        let rows: Vec<_> = self.points.iter().map(Judged::row).collect();
        table::print(&["NAME", "TYPE", "POINT", "PVTZD", "SEEN", "MATCHES"], &rows);
        let mut settings: Vec<&str> =
            self.points.iter().flat_map(|point| &point.settings).map(String::as_str).collect();
        sort::ascending(&mut settings);
        settings.dedup();
        println!();
        match settings.as_slice() {
            [] => println!("settings that match {}: unknown", self.with),
            some => println!("settings that match {}: {}", self.with, some.join(", ")),
        }
    }
}
