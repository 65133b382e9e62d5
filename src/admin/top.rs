//! The top lists as the control socket gives them.

use super::{AdminView, status};
use crate::engine::name::show;
use crate::engine::rcode::show_rcode;
use crate::engine::sort;
use crate::engine::text::{mnemonic, show_wire};
use crate::stats::top::TopList;
use serde::{Deserialize, Serialize};

/// Rows of a list, at most.
const MAX_ROWS: usize = 100;

/// For how long a reading has the lists count, in milliseconds.
const LEASE_MS: u64 = 60_000;

/// Query names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopQuery {
    /// Rows of each list.
    pub count: usize,
    /// Reset the lists.
    #[serde(default)]
    pub clear: bool,
}

/// The lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopAnswer {
    /// Seconds since the last reset.
    pub seconds: f64,
    /// Counted answers.
    pub answers: u64,
    /// By name.
    pub names: Ranking,
    /// By type.
    pub types: Ranking,
    /// By private zone, forwarding rule, or other source.
    pub zones: Ranking,
    /// By client, in the form of `[top] client`.
    pub clients: Ranking,
    /// By response code.
    pub codes: Ranking,
    /// By upstream server: queries since start.
    pub upstreams: Ranking,
}

/// One list, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Maximum error of a count.
    pub error: u64,
    /// The rows.
    pub rows: Vec<Ranked>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The counted name, type, client, or other key.
    pub key: String,
    /// The count.
    pub count: u64,
}

/// Reads the lists.
pub fn read(subject: &AdminView, query: &TopQuery) -> TopAnswer {
    let live = &subject.live;
    let lists = live.top.read(query.count.min(MAX_ROWS), LEASE_MS, query.clear, live.clock.now());
    let place = |number: &u16| match live.places.place(*number) {
        Some(place) => {
            let kind = if place.is_rule { "rule" } else { "zone" };
            let vpc = place.vpc.as_deref().map(|vpc| format!(" in {vpc}")).unwrap_or_default();
            format!("{kind} {}{vpc}", show(&place.name.to_name()))
        }
        None => "upstream and special names".to_string(),
    };
    let mut servers: Vec<Ranked> = status::upstreams(subject)
        .into_iter()
        .map(|server| Ranked { key: format!("{} ({})", server.server, server.group), count: server.queries })
        .collect();
    sort::by_key(&mut servers, |row| std::cmp::Reverse(row.count));
    servers.truncate(query.count.min(MAX_ROWS));
    TopAnswer {
        seconds: lists.elapsed as f64 / 1e3,
        answers: lists.answers,
        names: ranking(&lists.names, |name| show_wire(name)),
        types: ranking(&lists.types, |rtype| mnemonic(*rtype)),
        zones: ranking(&lists.places, place),
        clients: ranking(&lists.clients, ToString::to_string),
        codes: ranking(&lists.codes, |code| show_rcode(u16::from(*code).into(), false)),
        upstreams: Ranking { error: 0, rows: servers },
    }
}

fn ranking<K>(list: &TopList<K>, shown: impl Fn(&K) -> String) -> Ranking {
    let row = |(key, count): &(K, u64)| Ranked { key: shown(key), count: *count };
    Ranking { error: list.error, rows: list.rows.iter().map(row).collect() }
}
