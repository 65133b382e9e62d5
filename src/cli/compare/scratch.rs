//! The scratch zones: three private zones below one name, whose records tell apart the readings of what the product's
//! documentation leaves open (docs/semantics.md).
//!
//! The same records are printed, made through the API, and answered here by the engine under every combination of the
//! switches. So a server's answer names the switches that match it.

use super::answer::{ComparedAnswer, Soa};
use crate::config::{self, InstanceInfo};
use crate::engine::chain::{DryRunEnd, dry_run};
use crate::engine::request::Question;
use crate::engine::text::{TextRecord, TextSections};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Zones: the part before the scratch name, and whether the recursion proxy is on.
const ZONES: [(&str, bool); 3] = [("", false), ("proxy", true), ("zone", false)];

/// Records: the zone's part, host record, type, value. `{}` is the scratch name.
const RECORDS: [(&str, &str, &str, &str); 13] = [
    ("", "only-parent.proxy", "A", "192.0.2.9"),
    ("proxy", "host", "A", "192.0.2.1"),
    ("proxy", "*.wild", "A", "192.0.2.2"),
    ("proxy", "deep.er.here", "A", "192.0.2.3"),
    ("proxy", "to-zone", "CNAME", "host.zone.{}"),
    ("zone", "host", "A", "192.0.2.4"),
    ("zone", "deep.er.here", "A", "192.0.2.5"),
    ("zone", "*.wild", "A", "192.0.2.6"),
    ("zone", "loop1", "CNAME", "loop2.zone.{}"),
    ("zone", "loop2", "CNAME", "loop1.zone.{}"),
    ("zone", "to-nothing", "CNAME", "none.zone.{}"),
    ("zone", "two", "A", "192.0.2.7"),
    ("zone", "two", "A", "192.0.2.8"),
];

/// The TTL of every record, in seconds.
const TTL: u32 = 60;

/// Questions: name before the scratch name, type, and the point that the documentation leaves open.
const POINTS: [(&str, &str, &str); 18] = [
    ("host.proxy", "AAAA", "proxy on, the name exists, the type does not"),
    ("x.wild.proxy", "A", "proxy on, and a wildcard record"),
    ("x.wild.proxy", "AAAA", "proxy on, a wildcard record of another type"),
    ("only-parent.proxy", "A", "proxy on, no record, in a zone below another private zone that has the name"),
    ("none.proxy", "A", "proxy on, no record"),
    ("here.proxy", "A", "proxy on, an empty non-terminal"),
    ("proxy", "A", "proxy on, the apex without records"),
    ("to-zone.proxy", "A", "a CNAME to a name of another private zone"),
    ("here.zone", "A", "proxy off, an empty non-terminal"),
    ("none.zone", "A", "proxy off, no record: SOA of the negative answer"),
    ("host.zone", "AAAA", "proxy off, the type does not exist: SOA of the negative answer"),
    ("below.host.zone", "A", "proxy off, below a name with records"),
    ("x.wild.zone", "A", "proxy off, and a wildcard record"),
    ("to-nothing.zone", "A", "a CNAME to a name that does not exist"),
    ("loop1.zone", "A", "a CNAME loop"),
    ("two.zone", "A", "two values of one name"),
    ("zone", "A", "proxy off, the apex without records"),
    ("zone", "SOA", "the SOA record of a private zone"),
];

/// A record of the scratch zones.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ScratchRecord {
    /// The zone.
    pub(super) zone: String,
    /// The host record.
    pub(super) rr: &'static str,
    /// The type.
    #[serde(rename = "type")]
    pub(super) rtype: &'static str,
    /// The value.
    pub(super) value: String,
    /// Seconds.
    pub(super) ttl: u32,
}

/// What the engine says of a point under one combination of the switches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prediction {
    /// The zones answer.
    Here(ComparedAnswer),
    /// The question goes to a forwarding rule or an upstream.
    Outside,
}

/// A combination of the switches and how they are written.
const SWITCHES: [(&str, &str); 4] = [
    ("nodata", "always"),
    ("forward", "always"),
    ("nodata", "off-with-proxy"),
    ("forward", "off-with-proxy"),
];

/// A question about the scratch zones.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// What is asked.
    pub(super) question: Question,
    /// The point that it is about.
    pub(super) about: &'static str,
    /// By combination of the switches.
    predictions: Vec<Prediction>,
}

/// How an answer stands to the readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScratchVerdict {
    /// As pvtzd answers, whatever the switches say.
    Same,
    /// As pvtzd answers with these settings.
    Switch(Vec<String>),
    /// As no setting answers.
    Other,
}

/// The zone's name.
fn below(part: &str, scratch: &str) -> String {
    if part.is_empty() { scratch.to_string() } else { format!("{part}.{scratch}") }
}

/// The zones by name, and whether the recursion proxy is on.
pub(super) fn zones(scratch: &str) -> Vec<(String, bool)> {
    ZONES.iter().map(|(part, proxy)| (below(part, scratch), *proxy)).collect()
}

/// All records.
pub(super) fn records(scratch: &str) -> Vec<ScratchRecord> {
    let record = |&(part, rr, rtype, value): &(&str, &'static str, &'static str, &str)| ScratchRecord {
        zone: below(part, scratch),
        rr,
        rtype,
        value: value.replace("{}", scratch),
        ttl: TTL,
    };
    RECORDS.iter().map(record).collect()
}

/// All points, with what pvtzd answers.
///
/// # Errors
/// The scratch name cannot be a zone's.
pub(super) fn points(scratch: &str) -> Result<Vec<Point>, String> {
    let mut points = Vec::new();
    for (name, rtype, about) in POINTS {
        let question = crate::admin::explain::question(&below(name, scratch), rtype)?;
        points.push(Point { question, about, predictions: Vec::new() });
    }
    for (on_missing_type, wildcards) in SWITCHES {
        let (config, _) = config::parse(&text(scratch, on_missing_type, wildcards), Path::new("scratch"))
            .map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())?;
        let catalog = config.catalog(&InstanceInfo::default(), 1);
        let view = catalog.view(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for point in &mut points {
            let outline = dry_run(view, &point.question);
            point.predictions.push(match outline.end {
                DryRunEnd::Forwarded(_) => Prediction::Outside,
                DryRunEnd::Answered(rcode) => Prediction::Here(ComparedAnswer::of(&TextSections {
                    rcode: rcode.into(),
                    answers: outline.records.iter().map(TextRecord::from).collect(),
                    ..TextSections::default()
                })),
            });
        }
    }
    Ok(points)
}

/// The configuration with the scratch zones.
fn text(scratch: &str, on_missing_type: &str, wildcards: &str) -> String {
    let mut text = String::new();
    for (zone, proxy) in zones(scratch) {
        text += &format!(
            "[[zone]]\nname = '{zone}'\nrecursion_proxy = {proxy}\non_missing_type = '{on_missing_type}'\n\
             wildcards = '{wildcards}'\n"
        );
        for record in records(scratch).into_iter().filter(|record| record.zone == zone) {
            let ScratchRecord { rr, rtype, value, ttl, .. } = record;
            text += &format!(
                "[[zone.record]]\nname = '{rr}'\ntype = '{rtype}'\nvalue = '{value}'\nttl = {ttl}\n"
            );
        }
    }
    text
}

impl Point {
    /// What pvtzd answers as it is installed, in a line.
    pub(super) fn here(&self) -> String {
        match self.predictions.first() {
            Some(Prediction::Here(answer)) => answer.brief(),
            _ => "resolved outside".into(),
        }
    }

    /// Which readings a server's answer matches.
    pub(super) fn judge(&self, answer: &ComparedAnswer, scratch: &str) -> ScratchVerdict {
        let matching: Vec<(&str, &str)> = SWITCHES
            .into_iter()
            .zip(&self.predictions)
            .filter(|(_, prediction)| prediction.matches(answer, scratch))
            .map(|(switches, _)| switches)
            .collect();
        if matching.is_empty() {
            return ScratchVerdict::Other;
        }
        if matching.len() == SWITCHES.len() {
            return ScratchVerdict::Same;
        }
        let same = |part: fn(&(&'static str, &'static str)) -> &'static str, key: &str| {
            let words: Vec<&str> = SWITCHES.iter().filter(|at| matching.contains(at)).map(part).collect();
            let first = *words.first()?;
            words.iter().all(|word| *word == first).then(|| format!("{key} = \"{first}\""))
        };
        let settings = [same(|at| at.0, "on_missing_type"), same(|at| at.1, "wildcards")];
        ScratchVerdict::Switch(settings.into_iter().flatten().collect())
    }
}

impl Prediction {
    fn matches(&self, answer: &ComparedAnswer, scratch: &str) -> bool {
        let is_here = |zone: &str| zone == scratch || zone.ends_with(&format!(".{scratch}"));
        let denied_here = |soa: &Option<Soa>| soa.as_ref().is_none_or(|soa| is_here(&soa.zone));
        match self {
            Self::Here(expected) if expected.chain.iter().any(|set| set.rtype == "SOA") => {
                answer.code == "NOERROR" && answer.chain.iter().any(|set| set.rtype == "SOA")
            }
            Self::Here(expected) => {
                let differs = expected.differences(answer).iter().any(|difference| difference.is_of_data());
                !differs && (answer.code == "NOERROR" || denied_here(&answer.soa))
            }
            // The public DNS has no such name: a denial from elsewhere, or no answer at all.
            Self::Outside => answer.chain.is_empty() && (answer.soa.is_none() || !denied_here(&answer.soa)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRATCH: &str = "scratch.test";

    fn point(name: &str, rtype: &str) -> Point {
        let points = points(SCRATCH).unwrap();
        let question = crate::admin::explain::question(&format!("{name}.{SCRATCH}"), rtype).unwrap();
        points
            .into_iter()
            .find(|point| point.question.name == question.name && point.question.rtype == question.rtype)
            .unwrap()
    }

    fn denial(code: &str, zone: &str) -> ComparedAnswer {
        let soa = Some(Soa { zone: zone.into(), ttl: 60, minimum: 60 });
        ComparedAnswer { code: code.into(), soa, ..ComparedAnswer::default() }
    }

    #[test]
    fn the_type_that_is_missing_names_its_switch() {
        let point = point("host.proxy", "AAAA");
        let nodata = denial("NODATA", "proxy.scratch.test");
        assert_eq!(
            point.judge(&nodata, SCRATCH),
            ScratchVerdict::Switch(vec!["on_missing_type = \"nodata\"".into()])
        );
        let forwarded = ScratchVerdict::Switch(vec!["on_missing_type = \"forward\"".into()]);
        assert_eq!(point.judge(&denial("NXDOMAIN", ""), SCRATCH), forwarded);
        assert_eq!(point.judge(&denial("NODATA", "test"), SCRATCH), forwarded);
        assert_eq!(point.judge(&denial("NXDOMAIN", "proxy.scratch.test"), SCRATCH), ScratchVerdict::Other);
    }

    #[test]
    fn the_wildcard_names_its_switch() {
        let point = point("x.wild.proxy", "A");
        let off = ScratchVerdict::Switch(vec!["wildcards = \"off-with-proxy\"".into()]);
        assert_eq!(point.judge(&denial("NXDOMAIN", ""), SCRATCH), off);
        assert_eq!(point.here(), "A 192.0.2.2");
    }

    #[test]
    fn a_point_without_a_switch_is_the_same_or_another_reading() {
        let point = point("here.zone", "A");
        assert_eq!(point.judge(&denial("NODATA", "zone.scratch.test"), SCRATCH), ScratchVerdict::Same);
        assert_eq!(point.judge(&denial("NXDOMAIN", "zone.scratch.test"), SCRATCH), ScratchVerdict::Other);
    }

    #[test]
    fn every_record_is_in_a_zone_and_every_point_has_all_readings() {
        assert_eq!(records(SCRATCH).len(), RECORDS.len());
        assert!(points(SCRATCH).unwrap().iter().all(|point| point.predictions.len() == SWITCHES.len()));
        assert!(points("bad name'").is_err());
    }
}
