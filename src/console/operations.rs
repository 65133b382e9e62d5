//! Operations of the pages on the running server: status, top lists, explain, cache, flush, doctor.

use super::Console;
use super::reply::{CallRefusal, Told, word};
use crate::admin::explain::{ExplainedCatalog, Explanation, ShownRecord, question};
use crate::admin::flush::{self, Flush};
use crate::admin::status;
use crate::admin::top::{self, TopQuery};
use crate::api::console_access::ConsoleRole;
use crate::base::local_address::reached_at;
use crate::base::task;
use crate::config::{Config, endpoints};
use crate::engine::cache::{CacheDataOf, FailureCause, Freshness, Outcome};
use crate::engine::chain::Fetch;
use crate::engine::name::{self, NameKey, show};
use crate::engine::precheck::Precheck;
use crate::engine::rcode::show_rcode;
use crate::engine::text::{TextRecord, mnemonic, show_wire};
use crate::host::doctor::{self, Check, DoctorSettings};
use crate::host::resolver::store;
use crate::resolve::cache_entry::CacheEntry;
use hickory_proto::op::ResponseCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// The most entries of the cache that a lookup shows.
const MAX_ENTRIES: usize = 200;

/// The facts that the pages load first.
pub(super) fn info(console: &Console, role: ConsoleRole) -> Told {
    let parts = &console.parts;
    let published = parts.view.live.published();
    let vpcs: Vec<Value> = published
        .catalog
        .vpcs()
        .map(|vpc| {
            let clients: Vec<String> = vpc.clients.iter().map(ToString::to_string).collect();
            json!({ "id": vpc.id, "region": vpc.region, "clients": clients })
        })
        .collect();
    let regions: Vec<Value> = endpoints::regions()
        .iter()
        .map(|region| {
            let (names, target) = endpoints::ecs_names(region);
            json!({ "id": region, "names": names, "target": target })
        })
        .collect();
    let shown =
        |listen: &[SocketAddr]| listen.iter().map(|at| reached_at(*at).to_string()).collect::<Vec<_>>();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "role": word(role),
        "import_octets": super::import::MAX_REQUEST,
        "lab": parts.setting.lab.as_ref().map(|lab| json!({ "https_port": lab.port })),
        "dns": shown(&parts.view.listening),
        "api": shown(&parts.setting.api),
        "vpcs": vpcs,
        "regions": regions,
    }))
}

/// The state, as `pvtzd status` shows it.
pub(super) fn status(console: &Console) -> Told {
    Ok(json!(status::read(&console.parts.view)))
}

/// The top lists, as `pvtzd top` shows them.
pub(super) fn top(console: &Console, query: TopQuery) -> Told {
    Ok(json!(top::read(&console.parts.view, &TopQuery { clear: false, ..query })))
}

/// The name and type to explain.
#[derive(Debug, Deserialize)]
pub(super) struct ExplainQuery {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    /// The client's address; None for this machine.
    client: Option<IpAddr>,
}

/// An explanation with the state of the cache.
#[derive(Serialize)]
struct LiveExplanation {
    #[serde(flatten)]
    explanation: Explanation,
    /// The cache entry, if the query needs an upstream.
    cache: Option<Value>,
}

/// The path of a query as the server would answer it now.
pub(super) fn explain(console: &Console, query: &ExplainQuery) -> Told {
    let question = question(&query.name, &query.rtype).map_err(CallRefusal::invalid)?;
    let client = query.client.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical();
    let live = &console.parts.view.live;
    let published = live.published();
    let servers = |group| {
        let group = published.groups.get(&group);
        let servers = group.map(|group| group.servers().map(|server| server.snapshot().address.to_string()));
        let servers: Vec<String> = servers.into_iter().flatten().collect();
        if servers.is_empty() { "none: no upstream is configured".to_string() } else { servers.join(", ") }
    };
    let screening = Precheck { allowed: published.allows(client), version_bind: published.version_bind };
    let retain = live.cache.retained.rules();
    let explained =
        ExplainedCatalog { catalog: &published.catalog, retain: &retain, servers: &servers, screening };
    let (explanation, fetch) = explained.explain(&question, client);
    let cache = fetch.map(|fetch| cached(console, &fetch));
    Ok(json!(LiveExplanation { explanation, cache }))
}

/// The cache entry for a query to an upstream.
fn cached(console: &Console, fetch: &Fetch) -> Value {
    let live = &console.parts.view.live;
    match live.cache.get(fetch.cache_key(), live.clock.now()) {
        Some((entry, freshness)) => entry_shown(&entry, freshness),
        None => json!({ "state": "absent" }),
    }
}

/// The JSON form of a cache entry.
fn entry_shown(entry: &CacheEntry, freshness: Freshness) -> Value {
    let (state, ttl) = match freshness {
        Freshness::Fresh(seconds) => ("fresh", seconds),
        Freshness::Stale => ("stale", 0),
        Freshness::Expired => ("expired", 0),
    };
    let data = entry.entry();
    let owner = NameKey::of_suffix(entry.name()).to_name();
    let records = data.answers(&owner, ttl);
    let records: Vec<ShownRecord> = records.iter().map(|record| (&TextRecord::from(record)).into()).collect();
    let (result, rtype) = outcome_shown(&data, entry);
    json!({ "name": show_wire(entry.name()), "type": rtype, "state": state, "ttl": ttl, "result": result,
            "records": records, "dnssec": entry.dnssec() })
}

/// The result and the type of an entry.
fn outcome_shown(data: &CacheDataOf<'_>, entry: &CacheEntry) -> (String, String) {
    let rtype = entry.key().bytes().get(8..10).map_or(0, |octets| u16::from_be_bytes([octets[0], octets[1]]));
    let own = if entry.is_of_name() { "*".to_string() } else { mnemonic(rtype) };
    match &data.outcome {
        Outcome::Rrset => (show_rcode(ResponseCode::NoError, false), own),
        Outcome::Alias(to) => (format!("CNAME {}", show(to)), "CNAME".into()),
        Outcome::NoData => (show_rcode(ResponseCode::NoError, true), own),
        Outcome::NxDomain => (show_rcode(ResponseCode::NXDomain, true), "*".into()),
        Outcome::YxDomain => (show_rcode(ResponseCode::YXDomain, true), own),
        Outcome::Failure(FailureCause::Rcode(code)) => (show_rcode(*code, true), own),
        Outcome::Failure(FailureCause::Unreachable) => ("no upstream answered".into(), own),
        Outcome::Failure(FailureCause::TooManyRecords) => ("too many records".into(), own),
    }
}

/// The selection of cache entries.
#[derive(Debug, Deserialize)]
pub(super) struct CacheQuery {
    name: String,
    /// Also those of the names below.
    #[serde(default)]
    below: bool,
}

/// Entries of the cache.
pub(super) async fn cache(console: &Console, query: CacheQuery) -> Told {
    let key = NameKey::of(&name::parse(&query.name).map_err(CallRefusal::invalid)?);
    let Ok(turn) = console.slow.clone().try_acquire_owned() else {
        return Err(CallRefusal::busy("another lookup is in progress: try again"));
    };
    let live = console.parts.view.live.clone();
    let work = task::spawn_blocking(move || {
        let _turn = turn; // until the work ends, even if the page is closed
        let (now, mut found, mut all) = (live.clock.now(), Vec::new(), 0_u64);
        for entry in live.cache.entries() {
            let own = NameKey::of_suffix(entry.name());
            if own != key && !(query.below && own.is_within(&key)) {
                continue;
            }
            let Some((entry, freshness)) = live.cache.get(&entry.key(), now) else { continue };
            all += 1;
            if found.len() < MAX_ENTRIES {
                found.push(entry_shown(&entry, freshness));
            }
        }
        json!({ "entries": found, "all": all })
    });
    work.await.map_err(|error| CallRefusal::invalid(error.to_string()))
}

/// Removes cached answers, as `pvtzd flush` does.
pub(super) fn flush(console: &Console, what: &Flush) -> Told {
    let flushed = flush::flush(&console.parts.view.live, what).map_err(CallRefusal::invalid)?;
    tracing::info!(entries = flushed.entries, ?what, "the console removed cached answers");
    Ok(json!(flushed))
}

/// The checks of `pvtzd doctor`.
pub(super) async fn doctor(console: &Console) -> Told {
    let Ok(_turn) = console.slow.try_acquire() else {
        return Err(CallRefusal::busy("another lookup is in progress: try again"));
    };
    let (parts, lab) = (&console.parts, &console.parts.setting.lab);
    let config: Config = parts.publisher.config();
    let settings = DoctorSettings {
        listen: parts.view.listening.clone(),
        metadata: parts.setting.metadata,
        // a lab sends nothing outside
        vpc_resolvers: if lab.is_some() { Vec::new() } else { doctor::VPC_RESOLVERS.to_vec() },
        store: store::DIRECTORY.into(),
        api_port: lab.as_ref().map_or(443, |lab| lab.port),
        status: Some(status::read(&parts.view)),
    };
    let mut checks: Vec<Check> = Vec::new();
    doctor::examine(config, 0, settings, |check| checks.push(check)).await;
    Ok(json!({ "checks": checks }))
}
