//! The actions of PrivateZone's API, version 2018-01-01: `pvtz`.
//!
//! An action that reads is a plain function of a snapshot; one that writes is a plain function to a list of
//! edits, which the [`AccountWriter`] makes durable and publishes before the answer goes out. A new action is a new row
//! in `ACTIONS`. The product's words (`ZONE`, `RECORD`, `ENABLE`) end in this folder.

mod authorisation;
mod bound_names;
mod changelog;
mod config_ids;
mod config_zones;
mod context;
mod endpoint;
mod format;
pub mod import_plan;
mod line;
mod page;
pub mod plan;
mod plan_hosts;
mod plan_records;
mod plan_zone;
mod record;
mod record_list;
mod revision;
mod rule;
mod statistics;
pub(super) mod sync;
mod tag;
mod token;
mod transfer;
mod vpc;
mod writer;
mod zone;
mod zone_list;

#[cfg(test)]
mod tests;

pub use config_ids::ConfigIds;
pub use context::{ActionContext, ActionResult, ObservedCounts};
pub use writer::{AccountWriter, Persistence};

use super::calls::OTHER;
use super::console_access::{self, ConsoleAccess};
use super::document::MAX_ITEMS;
use super::{ActionAnswer, ApiError, ApiService, Call, Params};
use crate::fleet::SharedToken;
use crate::resolve::shared::SharedState;
use async_trait::async_trait;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use token::Tokens;
use tokio::sync::Semaphore;

/// The version that is served.
pub const VERSION: &str = "2018-01-01";

/// Octets of a document: 10,000 zones with 10 records each. It is read once the signature of its digest was found good;
/// how many as long as this are held at a time is the server's to say.
pub const MAX_BODY: usize = 16 << 20;

/// What an action does.
#[derive(Clone, Copy)]
pub enum Action {
    /// Looks.
    Read(fn(&ActionContext, &Params) -> ActionAnswer),
    /// Changes.
    Write(fn(&ActionContext, &Params) -> Result<ActionResult, ApiError>),
    /// Reads much before it changes something, which other changes need not wait for.
    Prepare(fn(&Params) -> Result<Decide, ApiError>),
}

/// A decision to take, which may be taken several times.
pub type Decide = Box<dyn Fn(&ActionContext) -> Result<ActionResult, ApiError> + Send>;

pub use Action::{Prepare, Read, Write};

/// All actions, by the names of the product's own documentation; then two of our own.
const ACTIONS: &[(&str, Action)] = &[
    ("AddZone", Write(zone::add)),
    ("DeleteZone", Write(zone::delete)),
    ("SetProxyPattern", Write(zone::set_proxy_pattern)),
    ("UpdateZoneRemark", Write(zone::update_remark)),
    ("ChangeZoneDnsGroup", Write(zone::change_dns_group)),
    ("MoveResourceGroup", Write(zone::move_resource_group)),
    ("CheckZoneName", Read(zone::check_name)),
    ("DescribeZones", Read(zone_list::zones)),
    ("DescribeZoneInfo", Read(zone_list::info)),
    ("DescribeZoneVpcTree", Read(zone_list::vpc_tree)),
    ("AddZoneRecord", Write(record::add)),
    ("UpdateZoneRecord", Write(record::update)),
    ("SetZoneRecordStatus", Write(record::set_status)),
    ("DeleteZoneRecord", Write(record::delete)),
    ("UpdateRecordRemark", Write(record::update_remark)),
    ("UpdateZoneRecordWeight", Write(record::update_weight)),
    ("SetZoneLbaStatus", Write(record::set_lba_status)),
    ("DescribeZoneRecords", Read(record_list::records)),
    ("DescribeZoneRecord", Read(record_list::record)),
    ("BindZoneVpc", Write(vpc::bind)),
    ("DescribeRegions", Read(vpc::regions)),
    ("DescribeIntranetUserCanAnalysisVpcs", Read(vpc::analysable)),
    ("DescribeSyncEcsHostTask", Read(sync::describe)),
    ("UpdateSyncEcsHostTask", Write(sync::update)),
    ("ListTagResources", Read(tag::list)),
    ("TagResources", Write(tag::tag)),
    ("UntagResources", Write(tag::untag)),
    ("DescribeTags", Read(tag::describe)),
    ("AddResolverEndpoint", Write(endpoint::add)),
    ("UpdateResolverEndpoint", Write(endpoint::update)),
    ("DeleteResolverEndpoint", Write(endpoint::delete)),
    ("DescribeResolverEndpoint", Read(endpoint::describe)),
    ("DescribeResolverEndpoints", Read(endpoint::list)),
    ("DescribeResolverAvailableZones", Read(endpoint::available_zones)),
    ("AddResolverRule", Write(rule::add)),
    ("UpdateResolverRule", Write(rule::update)),
    ("DeleteResolverRule", Write(rule::delete)),
    ("DescribeResolverRule", Read(rule::describe)),
    ("DescribeResolverRules", Read(rule::list)),
    ("BindResolverRuleVpc", Write(rule::bind)),
    ("AddUserVpcAuthorization", Write(authorisation::add)),
    ("DescribeUserVpcAuthorizations", Read(authorisation::list)),
    ("DeleteUserVpcAuthorization", Write(authorisation::delete)),
    ("DescribeUserServiceStatus", Read(authorisation::service_status)),
    ("DescribeChangeLogs", Read(changelog::list)),
    ("AddCustomLine", Write(line::add)),
    ("UpdateCustomLine", Write(line::update)),
    ("DeleteCustomLine", Write(line::delete)),
    ("DescribeCustomLineInfo", Read(line::info)),
    ("DescribeCustomLines", Read(line::list)),
    ("SearchCustomLines", Read(line::search)),
    ("PvtzdExport", Read(transfer::export)),
    ("PvtzdImport", Prepare(transfer::import)),
    ("DescribeStatisticSummary", Read(statistics::summary)),
    ("DescribeRequestGraph", Read(statistics::graph)),
    ("DescribePvtzStatisticsGlobalOverview", Read(statistics::global_overview)),
    ("DescribePvtzStatisticsZoneOverview", Read(statistics::zone_overview)),
    ("DescribePvtzStatisticsSummary", Read(statistics::top)),
    ("DescribePvtzStatisticsHistory", Read(statistics::history)),
];

/// The product's API.
#[derive(Debug)]
pub struct PrivateZone {
    live: Arc<SharedState>,
    writer: Arc<AccountWriter>,
    tokens: Tokens,
    console: Option<Arc<ConsoleAccess>>,
    /// A permit for each item of a document that is read and waits for its turn.
    items: Semaphore,
}

/// Items of all documents that are read at a time: those of two of the longest.
const ITEMS: usize = 2 * MAX_ITEMS;

/// The fewest octets of an item in JSON, with the comma behind it.
const ITEM_OCTETS: usize = 3;

impl PrivateZone {
    /// The API over a ledger; and who may use the console, if it is served.
    pub fn new(writer: Arc<AccountWriter>, console: Option<Arc<ConsoleAccess>>) -> Self {
        let (tokens, items) = (Tokens::default(), Semaphore::new(ITEMS));
        Self { live: writer.live().clone(), writer, tokens, console, items }
    }
}

#[async_trait]
impl ApiService for PrivateZone {
    fn serves_version(&self, version: &str) -> bool {
        version == VERSION
    }

    fn body_limit(&self) -> usize {
        MAX_BODY
    }

    fn known_action(&self, action: &str) -> &'static str {
        let found = ACTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(action));
        let is_console = action.eq_ignore_ascii_case(console_access::ACTION);
        found.map_or(if is_console { console_access::ACTION } else { OTHER }, |(name, _)| name)
    }

    fn is_change(&self, _: &str, action: &str) -> bool {
        let found = ACTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(action));
        !matches!(found, Some((_, Read(_))))
    }

    fn revision(&self) -> Option<i64> {
        self.writer.fleet().map(|fleet| fleet.revision())
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        if call.action.eq_ignore_ascii_case(console_access::ACTION) {
            return console_access::code(self.console.as_deref(), &call.params);
        }
        let action = ACTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&call.action));
        let Some((name, action_kind)) = action else { return Err(ApiError::unknown_action()) };
        self.carry_out(name, *action_kind, call).await
    }
}

impl PrivateZone {
    /// Carries out an action on the account, be it of another product; `name` is the action's.
    pub async fn carry_out(&self, name: &'static str, action_kind: Action, call: Call) -> ActionAnswer {
        revision::wait(self.writer.fleet(), &call.params).await?;
        let caller = ApiCaller::new(call.access_key, call.source, call.now)?;
        match action_kind {
            Read(read) => {
                let account = self.writer.account();
                let hosts = self.writer.hosts();
                let published = self.live.published();
                read(
                    &ActionContext {
                        account: &account,
                        catalog: &published.catalog,
                        config_ids: self.writer.config_ids(),
                        hosts: &hosts,
                        caller: &caller,
                        counts: ObservedCounts::from(&*self.live),
                    },
                    &call.params,
                )
            }
            Write(_) | Prepare(_) => {
                // Products have actions of one name.
                let owner = format!("{} {}", caller.access_key, call.version);
                let token = self.tokens.key(name, &owner, &call.params);
                let _turn = match &token {
                    Some(token) => Some(self.tokens.turn(token).await),
                    None => None,
                };
                // A fleet keeps answers beside its rows: a restored backup takes both back.
                let is_alone = self.writer.fleet().is_none();
                if let Some(answer) =
                    token.as_ref().filter(|_| is_alone).and_then(|token| self.tokens.answer(token))
                {
                    return Ok(answer);
                }
                let _room = match action_kind {
                    Prepare(_) => self.items.acquire_many(most_items(&call.params)).await.ok(),
                    _ => None,
                };
                let decide = decision(action_kind, call.params).await?;
                let shared =
                    token.as_ref().map(|(action, owner, token)| SharedToken::new(action, owner, token));
                let answer = self.writer.write_once(caller, shared, decide).await;
                if let (true, Some(token), Ok(answer)) = (is_alone, token, &answer) {
                    self.tokens.keep(token, answer.clone());
                }
                answer
            }
        }
    }

    /// The names of all actions.
    pub fn actions() -> impl Iterator<Item = &'static str> {
        ACTIONS.iter().map(|(name, _)| *name).chain([console_access::ACTION])
    }
}

/// The most items that the document of a request can have: in memory they take much more than as text.
fn most_items(params: &Params) -> u32 {
    let octets = params.text("Document").map_or(0, str::len);
    (octets / ITEM_OCTETS).clamp(1, MAX_ITEMS) as u32 // fits
}

/// The decision that a changing action takes with its parameters.
async fn decision(action: Action, params: Params) -> Result<Decide, ApiError> {
    match action {
        Read(_) => Err(ApiError::internal()), // changes nothing
        Write(write) => Ok(Box::new(move |context| write(context, &params))),
        Prepare(prepare) => {
            let prepared = tokio::task::spawn_blocking(move || prepare(&params)).await;
            prepared.unwrap_or_else(|_| Err(ApiError::internal()))
        }
    }
}

/// Who calls, and when.
#[derive(Clone, Debug)]
pub struct ApiCaller {
    /// The access key.
    pub access_key: String,
    /// From where.
    pub source: IpAddr,
    /// Milliseconds since 1970.
    pub now: u64,
    /// Random octets, out of which ids are made.
    pub entropy: [u8; 16],
}

impl ApiCaller {
    /// Any caller, at a fixed time.
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn new(access_key: String, source: IpAddr, now: SystemTime) -> Result<Self, ApiError> {
        let mut entropy = [0; 16];
        getrandom::fill(&mut entropy).map_err(|_| ApiError::internal())?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Ok(Self { access_key, source, now, entropy })
    }

    /// pvtzd itself, now.
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn ourselves() -> Result<Self, ApiError> {
        Self::new("pvtzd".into(), IpAddr::V4(Ipv4Addr::LOCALHOST), SystemTime::now())
    }
}
