//! The live log: answers as they are given, in batches. A page asks again with the number of the last row it has; a
//! request waits until there are more, for a few seconds. Filters are applied before rows are kept, so that a rare name
//! is found among many others.

use super::Console;
use super::reply::{CallRefusal, Told};
use crate::admin::client_address::ClientPattern;
use crate::admin::querylog::recent_fields;
use crate::engine::name::{self, NameKey};
use crate::engine::rcode::rcode_name;
use crate::engine::text::{is_absolute, parse_type, printable};
use crate::stats::answer_filter::{AnswerFilter, ClientMatch, NamePart};
use crate::stats::recent::{LEASE_MS, LogReading, RecentAnswer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a request waits for rows.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often it looks for them; a page draws once a second.
const LOOK: Duration = Duration::from_millis(500);

/// Rows of a batch, and octets of their text; those behind them are in the next batch.
const MAX_ROWS: usize = 200;
const MAX_OCTETS: usize = 128 << 10;

/// Octets of a reader's name, and of a filter.
const MAX_WORD: usize = 64;
const MAX_FILTER: usize = 255;

/// Octets of the records that a row shows.
const MAX_ANSWER: usize = 200;

/// What a page asks for.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    /// What it calls itself, as long as it is open.
    #[serde(default)]
    reader: String,
    /// The number of its last row.
    #[serde(default)]
    after: u64,
    /// The reading that this row is of.
    #[serde(default)]
    began: u64,
    #[serde(flatten)]
    filter: LogFilter,
}

/// The filters of the page; an empty one is none.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct LogFilter {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    code: String,
    client: String,
    path: String,
}

/// Reads the answers behind a number.
pub(super) async fn read(console: &Console, query: LogQuery) -> Told {
    if query.reader.len() > MAX_WORD {
        return Err(CallRefusal::invalid(format!("reader has more than {MAX_WORD} octets")));
    }
    let asked = json!(query.filter).to_string();
    if asked.len() > MAX_FILTER * 5 {
        return Err(CallRefusal::invalid(format!("a filter has more than {MAX_FILTER} octets")));
    }
    let Ok(_place) = console.log_requests.try_acquire() else { return Err(too_many()) };
    let live = &console.parts.view.live;
    let (begun, mut only) = (Instant::now(), None);
    loop {
        let now = live.clock.now();
        live.top.lease(LEASE_MS, now);
        let reading = LogReading { reader: &query.reader, asked: &asked, after: query.after, only };
        let Some(page) = live.top.recent.read(reading, now, || filter(console, &query.filter))? else {
            return match only {
                Some(_) => {
                    Ok(json!({ "rows": [], "last": query.after, "began": 0, "seen": 0, "matched": 0 }))
                }
                None => Err(too_many()),
            };
        };
        only = Some(page.began);
        if !page.rows.is_empty() || page.began != query.began || begun.elapsed() >= PATIENCE {
            let rows = shown(console, &page.rows);
            let last = page.rows.get(rows.len().wrapping_sub(1)).map_or(query.after, |row| row.number);
            let (began, seen, matched) = (page.began, page.seen, page.matched);
            return Ok(
                json!({ "rows": rows, "last": last, "began": began, "seen": seen, "matched": matched }),
            );
        }
        sleep(LOOK).await;
    }
}

/// There are as many readers as may be.
fn too_many() -> CallRefusal {
    CallRefusal::busy("as many pages read the live log as may: close one")
}

/// The oldest rows, as many as a batch has.
fn shown(console: &Console, rows: &[Arc<RecentAnswer>]) -> Vec<Value> {
    let (mut batch, mut octets) = (Vec::new(), 0);
    for row in rows.iter().take(MAX_ROWS) {
        let fields = recent_fields(row, &console.client, MAX_ANSWER);
        octets += ["query_name", "answer_rrset"]
            .iter()
            .filter_map(|field| fields[field].as_str())
            .map(str::len)
            .sum::<usize>();
        batch.push(fields);
        if octets >= MAX_OCTETS {
            break;
        }
    }
    batch
}

/// What filters mean.
///
/// # Errors
/// What is wrong with one.
fn filter(console: &Console, asked: &LogFilter) -> Result<AnswerFilter, CallRefusal> {
    let word = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_string());
    let wrong = |what: &str, text: &str| {
        let text: String = text.chars().take(40).collect();
        CallRefusal::invalid(format!("`{}` is no {what}", printable(&text)))
    };
    let rtype =
        |text: String| parse_type(&text.to_ascii_uppercase()).ok_or_else(|| wrong("record type", &text));
    let code = |text: String| {
        let by_name = |code: &u16| rcode_name(*code).is_some_and(|name| name.eq_ignore_ascii_case(&text));
        let found = (0..=23).find(by_name).or_else(|| text.parse().ok().filter(|code| *code < 1 << 12));
        found.ok_or_else(|| wrong("response code", &text))
    };
    let client = |text: String| -> Box<dyn ClientMatch> {
        Box::new(ClientPattern::new(console.client.clone(), &text))
    };
    Ok(AnswerFilter {
        name: word(&asked.name).map(|text| name_wanted(&text)).transpose()?,
        rtype: word(&asked.rtype).map(rtype).transpose()?,
        code: word(&asked.code).map(code).transpose()?,
        client: word(&asked.client).map(client),
        module: word(&asked.path).map(|text| text.to_ascii_uppercase()),
    })
}

/// A part of a name: a dot before it begins a label with it, a dot behind it ends the name with it.
fn name_wanted(text: &str) -> Result<NamePart, CallRefusal> {
    let inner = text.strip_prefix('.').filter(|inner| !inner.is_empty()).unwrap_or(text);
    let part = name::parse(inner).map_err(CallRefusal::invalid)?;
    let ends = is_absolute(inner);
    Ok(NamePart::new(&NameKey::of(&part), inner.len() < text.len(), ends))
}
