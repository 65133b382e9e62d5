//! The live log: answers as they are given, in batches. A page asks again with the number of the last row it has; a
//! request waits until there are more, for a few seconds.

use super::Console;
use super::reply::{CallRefusal, Told};
use crate::admin::querylog::recent_fields;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long answers are kept and the top lists count after the last request, in milliseconds.
const LEASE_MS: u64 = 15_000;

/// How long a request waits for rows.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often it looks for them.
const LOOK: Duration = Duration::from_millis(250);

/// Rows of a batch.
const MAX_ROWS: usize = 200;

/// What a page asks for.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    /// The number of its last row.
    #[serde(default)]
    after: u64,
}

/// Reads the answers behind a number.
pub(super) async fn read(console: &Console, query: LogQuery) -> Told {
    let Ok(_place) = console.viewers.try_acquire() else {
        return Err(CallRefusal::busy("as many pages read the live log as may: close one"));
    };
    let live = &console.parts.view.live;
    let begun = Instant::now();
    loop {
        let now = live.clock.now();
        live.top.lease(LEASE_MS, now);
        let page = live.top.recent.read(query.after, LEASE_MS, now);
        if !page.rows.is_empty() || query.after == 0 || begun.elapsed() >= PATIENCE {
            let skipped = page.rows.len().saturating_sub(MAX_ROWS);
            let rows: Vec<Value> = page
                .rows
                .iter()
                .skip(skipped)
                .map(|row| Value::Object(recent_fields(row, &console.client)))
                .collect();
            return Ok(json!({ "rows": rows, "last": page.last, "seen": page.seen }));
        }
        sleep(LOOK).await;
    }
}
