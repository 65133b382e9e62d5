//! Unreachable API names that the command queried: public ones, and those that the lab does not have.

use crate::engine::name;
use crate::engine::text::read_message;
use crate::lab::fake_dns::PUBLIC;
use crate::stats::tap::{TapEvent, TapSink};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that are counted; of the names that do not exist there is no end.
const MAX_NAMES: usize = 200;

/// Names that are told.
const TOLD: usize = 20;

/// What API names end in.
const SUFFIX: &str = "aliyuncs.com";

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It leads to a public address.
    Public,
    /// It does not exist.
    Unknown,
}

/// Counts answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreached(Arc<Mutex<BTreeMap<(Why, String), u64>>>);

impl TapSink for Unreached {
    fn see(&self, seen: &TapEvent<'_>) {
        if seen.answer.is_some()
            && let Some((why, name)) = unreached(seen.message)
        {
            self.count(why, name);
        }
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn name(&self) -> &'static str {
        "lab"
    }

    fn reopen(&self) {}

    fn end(&self) {}
}

impl Unreached {
    fn count(&self, why: Why, name: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MAX_NAMES || counts.contains_key(&(why, name.clone())) {
            *counts.entry((why, name)).or_default() += 1;
        }
    }

    /// What there is to say, once the command has ended; nothing where every name led somewhere.
    pub(super) fn report(&self) -> Option<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (why, message) in [
            (Why::Public, "this instance has no public network; packets to these API names were dropped:"),
            (Why::Unknown, "these API names do not exist in the lab:"),
        ] {
            let names = || counts.iter().filter(|((other, _), _)| *other == why);
            let width = names().map(|((_, name), _)| name.len()).max().unwrap_or_default();
            for (place, ((_, name), count)) in names().enumerate().take(TOLD) {
                if place == 0 {
                    let _ = writeln!(text, "note: {message}"); // writing to a string does not fail
                }
                let times = if *count == 1 { "once".to_string() } else { format!("{count} times") };
                let _ = writeln!(text, "  {name:width$}  asked for {times}");
            }
            let more = names().count().saturating_sub(TOLD);
            if more > 0 {
                let _ = writeln!(text, "  and {more} more");
            }
            if why == Why::Public && !text.is_empty() {
                text += "hint: name an endpoint inside the VPC (`--endpoint`, Terraform's `endpoints {}`), or give \
                         the instance a public network by `pvtzd lab exec --public`\n";
            }
        }
        (!text.is_empty()).then(|| text + "hint: `--quiet` suppresses this list\n")
    }
}

/// The API name that an answer leads nowhere for.
fn unreached(answer: &[u8]) -> Option<(Why, String)> {
    let answer = read_message(answer)?;
    let public = PUBLIC.octets();
    let is_a = |rtype: u16| RecordType::from(rtype) == RecordType::A;
    let mut addresses = answer.answers.iter().filter(|entry| is_a(entry.rtype));
    if let Some(entry) = addresses.find(|entry| entry.data == public) {
        return Some((Why::Public, entry.owner().to_ascii_lowercase()));
    }
    let (name, rtype) = answer.question?;
    let name = name::show(&name).trim_end_matches('.').to_ascii_lowercase();
    let is_below = name.strip_suffix(SUFFIX)?.ends_with('.');
    let is_denied = answer.rcode == u16::from(ResponseCode::NXDomain) && is_a(rtype);
    (is_below && is_denied).then_some((Why::Unknown, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fake_dns::FakeDns;
    use hickory_proto::op::{Message, Query};
    use std::net::Ipv4Addr;

    /// What the answer of the lab's public DNS leads to.
    fn answered(text: &str, rtype: RecordType) -> Option<(Why, String)> {
        let mut query = Message::query();
        query.add_query(Query::query(name::parse(text).unwrap(), rtype));
        let world = FakeDns::new(Ipv4Addr::new(100, 100, 0, 80));
        unreached(&world.answer(&query.to_vec().unwrap()))
    }

    #[test]
    fn names_that_lead_out_and_names_that_are_not_there_are_found() {
        let location = "location-readonly.aliyuncs.com";
        assert_eq!(
            answered("Location-ReadOnly.aliyuncs.com", RecordType::A),
            Some((Why::Public, location.into()))
        );
        assert_eq!(answered(location, RecordType::AAAA), None, "asked beside A");
        let unknown = "nosuch.aliyuncs.com";
        assert_eq!(answered(unknown, RecordType::A), Some((Why::Unknown, unknown.into())));
        assert_eq!(answered("ecs-vpc.cn-hangzhou.aliyuncs.com", RecordType::A), None, "it is inside");
        assert_eq!(answered("www.example.com", RecordType::A), None);
        assert_eq!(answered("notaliyuncs.com", RecordType::A), None);
        assert_eq!(unreached(b"no message"), None);
    }

    #[test]
    fn the_report_counts_and_ends() {
        let unreached = Unreached::default();
        assert_eq!(unreached.report(), None);
        unreached.count(Why::Public, "a.aliyuncs.com".into());
        (0..3).for_each(|_| unreached.count(Why::Public, "bcd.aliyuncs.com".into()));
        let text = unreached.report().unwrap();
        assert!(
            text.contains(
                "\n  a.aliyuncs.com    asked for once\n  bcd.aliyuncs.com  asked for 3 times\nhint: "
            )
        );
        assert!(text.contains("--public") && text.contains("--endpoint") && !text.contains("do not exist"));
        (0..1000).for_each(|number| unreached.count(Why::Unknown, format!("x{number}.aliyuncs.com")));
        assert_eq!(unreached.0.lock().unwrap().len(), MAX_NAMES);
        assert!(unreached.report().unwrap().contains("  and 178 more\n"));
    }
}
