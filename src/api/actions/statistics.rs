//! Statistics, from the numbers of the running server: what was answered in private zones and by forwarding rules,
//! minute by minute, for a day and the day before it.
//!
//! Names that were asked, addresses that asked and types come from the top lists, while these count; they are not told by
//! time, VPC or code. Where they do not count, the lists are empty.

use super::context::ActionContext;
use super::format;
use super::page::{ResultPage, object};
use crate::account::ZoneEntry;
use crate::api::{ActionAnswer, ApiError, Params};
use crate::engine::name::{self, NameKey, show};
use crate::engine::sort;
use crate::engine::text::{mnemonic, show_wire};
use crate::stats::counters::{OUTCOME_NAMES, OUTCOMES};
use crate::stats::history::{DAY, MINUTES, Minute};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// Minutes of an hour: longer graphs have a point for each.
const HOUR: u64 = 60;

/// Items of a list of the busiest.
const TOP: usize = 10;

/// Rows of a top list.
const LISTED: usize = 1000;

/// How much more or less than before is sudden, and how many answers it takes to be told.
const SUDDEN: u64 = 2;
const WORTH_TELLING: u64 = 100;

/// Who is meant.
#[derive(Debug, Default)]
struct StatisticsQuery {
    /// A zone (false) or a rule (true) of this name.
    name: Option<(bool, NameKey)>,
    /// Clients of these VPCs; of all when there is none.
    vpcs: Vec<String>,
    /// Answers with this outcome alone.
    outcome: Option<usize>,
}

/// A series of answers.
type OutcomeCounts = [u64; OUTCOMES];

/// `DescribeStatisticSummary`: the last day.
pub fn summary(context: &ActionContext, _: &Params) -> ActionAnswer {
    let (minutes, _) = periods(context, DAY as u64, DAY as u64);
    let zones = by(context, &minutes, |_, name, _| Some(name.to_string()), false);
    let vpcs = by(context, &minutes, |_, _, vpc| vpc.map(str::to_string), false);
    let region =
        |id: &str| context.catalog.vpcs().find(|vpc| vpc.id == id).and_then(|vpc| vpc.region.clone());
    let total: u64 = zones.iter().map(|(_, counts)| sum(counts)).sum();
    let zones: Vec<Value> = zones
        .iter()
        .take(TOP)
        .map(
            |(zone, counts)| json!({ "ZoneName": zone, "RequestCount": sum(counts), "BizType": "AUTH_ZONE" }),
        )
        .collect();
    let vpcs: Vec<Value> = vpcs
        .iter()
        .take(TOP)
        .map(|(vpc, counts)| {
            let region = region(vpc).unwrap_or_default();
            json!({
                "VpcId": vpc, "RegionId": region, "RegionName": region, "VpcType": "STANDARD", "TunnelId": "",
                "RequestCount": sum(counts),
            })
        })
        .collect();
    Ok(object(json!({
        "TotalCount": total,
        "ZoneRequestTops": { "ZoneRequestTop": zones },
        "VpcRequestTops": { "VpcRequestTop": vpcs },
    })))
}

/// `DescribeRequestGraph`: a point for each minute, beyond two hours for each hour.
pub fn graph(context: &ActionContext, params: &Params) -> ActionAnswer {
    let (from, to) = (time(params.required("StartTimestamp")?)?, time(params.required("EndTimestamp")?)?);
    let mut wanted = StatisticsQuery::default();
    wanted.vpcs.extend(params.text("VpcId").map(str::to_string));
    let is_rule = params.text("BizType").is_some_and(|kind| kind.to_ascii_uppercase().contains("RULE"));
    match params.text("BizId").or(params.text("ZoneId")) {
        Some(id) if is_rule => wanted.name = Some((true, rule_name(context, id)?)),
        Some(id) => wanted.name = Some((false, zone_name(context, id)?)),
        None => {}
    }
    let points: Vec<Value> = series(context, &wanted, from, to)?
        .into_iter()
        .map(
            |(at, counts)| json!({ "Time": format::minute(at), "Timestamp": at, "RequestCount": sum(&counts) }),
        )
        .collect();
    Ok(object(json!({ "RequestDetails": { "ZoneRequestTop": points } })))
}

/// `DescribePvtzStatisticsGlobalOverview`: all that was answered, and how it compares with the period before; with
/// `PvtzdCompare` DAY with the same period of the day before, whose numbers are then in `PvtzdDayBefore`.
pub fn global_overview(context: &ActionContext, params: &Params) -> ActionAnswer {
    let by_day = match params.text("PvtzdCompare").map(str::to_ascii_uppercase).as_deref() {
        None | Some("PERIOD") => false,
        Some("DAY") => true,
        Some(_) => return Err(ApiError::invalid("PvtzdCompare", "it must be PERIOD or DAY")),
    };
    let length = period(params);
    let (now, before) = periods(context, length, if by_day { DAY as u64 } else { length });
    let figures = |minutes: &[Arc<Minute>]| {
        let (mut counts, mut took) = ([0; OUTCOMES], (0, 0));
        for minute in minutes {
            add(&mut counts, &minute.answers);
            took = (took.0 + minute.took.0, took.1 + minute.took.1);
        }
        let all = sum(&counts);
        let latency = took.0.checked_div(took.1).unwrap_or(0).div_ceil(1_000_000); // milliseconds
        (all, ratio(counts[0] + counts[1], all), latency)
    };
    let ((all, success, latency), (old_all, old_success, old_latency)) = (figures(&now), figures(&before));
    let mut data = json!({
        "TotalResolveCount": all,
        "TotalResolveCountTrend": trend(all, old_all),
        "AvgSuccessRatio": success,
        "AvgSuccessRatioTrend": trend(success, old_success),
        "AvgResolveLatency": latency,
        "AvgResolveLatencyTrend": trend(latency, old_latency),
    });
    if by_day {
        data["PvtzdDayBefore"] = json!({
            "TotalResolveCount": old_all, "AvgSuccessRatio": old_success, "AvgResolveLatency": old_latency,
        });
    }
    Ok(object(json!({ "Data": data })))
}

/// `DescribePvtzStatisticsZoneOverview`: zones whose traffic changed suddenly.
pub fn zone_overview(context: &ActionContext, params: &Params) -> ActionAnswer {
    let length = period(params);
    let (now, before) = periods(context, length, length);
    let by_zone = |minutes: &[Arc<Minute>]| -> BTreeMap<String, u64> {
        let zones = by(context, minutes, |_, name, _| Some(name.to_string()), false);
        sort::map(zones.into_iter().map(|(zone, counts)| (zone, sum(&counts))))
    };
    let (now, before) = (by_zone(&now), by_zone(&before));
    let grew = |more: &BTreeMap<String, u64>, less: &BTreeMap<String, u64>| {
        let grown = |(zone, count): &(&String, &u64)| {
            **count >= WORTH_TELLING && **count >= SUDDEN * less.get(*zone).copied().unwrap_or(0).max(1)
        };
        more.iter().filter(grown).count()
    };
    Ok(object(json!({ "Data": {
        "RefusedDomainCount": 0, // a private zone refuses no client that may ask
        "SuddenIncreaseDomainCount": grew(&now, &before),
        "SuddenDropDomainCount": grew(&before, &now),
    } })))
}

/// `DescribePvtzStatisticsSummary`: the busiest, by zone, VPC or response code, with the same time of the day before.
pub fn top(context: &ActionContext, params: &Params) -> ActionAnswer {
    let page = ResultPage::of(params)?;
    let wanted = wanted(params)?;
    let [minutes, before] = span(context, params)?;
    let kind = params.text("StatisticalType").unwrap_or("ZONE").to_ascii_uppercase();
    let is_by_minute = ["VPC", "RCODE", "ZONE"].iter().any(|known| kind.contains(known));
    let (mut rows, before) = match is_by_minute {
        true => (busiest(context, &kind, &wanted, &minutes), busiest(context, &kind, &wanted, &before)),
        false => (top_list(context, &kind, &wanted), Vec::new()),
    };
    let before: BTreeMap<String, u64> =
        before.into_iter().map(|(row, count)| (row.to_string(), count)).collect();
    rows.retain(|(_, count)| *count > 0);
    sort::by_key(&mut rows, |(_, count)| std::cmp::Reverse(*count));
    let all: u64 = rows.iter().map(|(_, count)| count).sum();
    let mut answer = page.other_fields(rows.len());
    let at = minutes.last().map_or(0, |minute| minute.at * MINUTE);
    let shown = page.cut(rows).map(|(row, count)| {
        let previous = before.get(&row.to_string()).copied().unwrap_or(0);
        // Clients' models know these fields; what is not kept is empty.
        let mut whole = json!({
            "AggrTimestamp": at, "Count": count, "Ratio": ratio(count, all), "PreviousCount": previous,
            "FluctuationValue": trend(count, previous), "Latency": 0, "Module": "AUTH_ZONE", "ZoneId": "", "ZoneName": "", "VpcId": "",
            "Rcode": "", "DomainName": "", "Line": "", "Protocol": "", "Qtype": "", "SourceIp": "", "SourceIsp": "",
            "SourceRegion": "",
        });
        for (field, value) in row.as_object().into_iter().flatten() {
            whole[field.as_str()] = value.clone();
        }
        whole
    });
    answer.insert("PageData".into(), shown.collect());
    Ok(answer)
}

/// The rows of a list by VPC, response code or zone, out of these minutes.
fn busiest(
    context: &ActionContext,
    kind: &str,
    wanted: &StatisticsQuery,
    minutes: &[Arc<Minute>],
) -> Vec<(Value, u64)> {
    if kind.contains("VPC") {
        let in_zone = |_, name: &str, vpc: Option<&str>| {
            wanted.names(name).then(|| vpc.unwrap_or_default().to_string())
        };
        let found = by(context, minutes, in_zone, false);
        return found.iter().map(|(vpc, counts)| (json!({ "VpcId": vpc }), wanted.take(counts))).collect();
    }
    if kind.contains("RCODE") {
        let mut all = [0; OUTCOMES];
        for minute in minutes {
            add(&mut all, &wanted.of(context, minute));
        }
        let rows = OUTCOME_NAMES.iter().zip(all);
        return rows.map(|(rcode, count)| (json!({ "Rcode": rcode }), count)).collect();
    }
    let in_vpc = |name: &str, vpc: Option<&str>| wanted.names(name) && wanted.is_for(vpc);
    let found = by(context, minutes, |_, name, vpc| in_vpc(name, vpc).then(|| name.to_string()), false);
    let id = |zone: &str| context.account.zones_named(zone).next().map(|entry| entry.row.id.clone());
    let row = |zone: &str| json!({ "ZoneName": zone, "ZoneId": id(zone).unwrap_or_default() });
    found.iter().map(|(zone, counts)| (row(zone), wanted.take(counts))).collect()
}

/// The rows of a top list; nothing for what is not counted, or not by what is wanted.
fn top_list(context: &ActionContext, kind: &str, wanted: &StatisticsQuery) -> Vec<(Value, u64)> {
    let (top, now) = context.counts.top;
    let Some(lists) = top.peek(LISTED, now).filter(|_| wanted.vpcs.is_empty() && wanted.outcome.is_none())
    else {
        return Vec::new();
    };
    if kind.contains("DOMAIN") {
        let is_wanted =
            |wire: &[u8]| wanted.name.as_ref().is_none_or(|(_, zone)| NameKey::of_wire(wire).is_within(zone));
        let rows = lists.names.rows.into_iter().filter(|(wire, _)| is_wanted(wire));
        return rows.map(|(wire, count)| (json!({ "DomainName": show_wire(&wire) }), count)).collect();
    }
    if wanted.name.is_some() {
        return Vec::new();
    }
    if kind.contains("SOURCE") || kind.contains("IP") {
        let rows = lists.clients.rows.into_iter();
        return rows.map(|(client, count)| (json!({ "SourceIp": client.to_string() }), count)).collect();
    }
    if kind.contains("TYPE") {
        let rows = lists.types.rows.into_iter();
        return rows.map(|(rtype, count)| (json!({ "Qtype": mnemonic(rtype) }), count)).collect();
    }
    Vec::new() // lines are not counted
}

/// `DescribePvtzStatisticsHistory`: how it went over time.
pub fn history(context: &ActionContext, params: &Params) -> ActionAnswer {
    let wanted = wanted(params)?;
    let now = context.now();
    let from =
        params.text("StartTimestamp").map(time).transpose()?.unwrap_or(now.saturating_sub(HOUR * MINUTE));
    let to = params.text("EndTimestamp").map(time).transpose()?.unwrap_or(now);
    let zone = params.text("ZoneName").unwrap_or_default();
    let points: Vec<Value> = series(context, &wanted, from, to)?
        .into_iter()
        .map(|(at, counts)| {
            let (all, good) = (sum(&counts), counts[0] + counts[1]);
            json!({
                "Timestamp": at, "ZoneName": zone, "Count": all, "SuccessCount": good, "FailCount": all - good,
                "Ratio": ratio(good, all), "DomainName": "", "Protocol": "", "Qtype": "",
            })
        })
        .collect();
    Ok(object(json!({ "Data": points })))
}

impl StatisticsQuery {
    fn names(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|(_, wanted)| show(&wanted.to_name()) == name)
    }

    fn is_for(&self, vpc: Option<&str>) -> bool {
        self.vpcs.is_empty() || vpc.is_some_and(|vpc| self.vpcs.iter().any(|wanted| wanted == vpc))
    }

    /// The answers with the wanted outcome.
    fn take(&self, counts: &OutcomeCounts) -> u64 {
        self.outcome.map_or(sum(counts), |outcome| counts[outcome])
    }

    /// What a minute had for it.
    fn of(&self, context: &ActionContext, minute: &Minute) -> OutcomeCounts {
        let mut all = [0; OUTCOMES];
        for (number, counts) in &minute.places {
            let Some(place) = context.counts.places.place(*number) else { continue };
            let named = match &self.name {
                Some((is_rule, name)) => place.is_rule == *is_rule && place.name == *name,
                None => !place.is_rule,
            };
            if named && self.is_for(place.vpc.as_deref()) {
                add(&mut all, &counts.map(u64::from));
            }
        }
        match self.outcome {
            None => all,
            Some(only) => std::array::from_fn(|at| if at == only { all[at] } else { 0 }),
        }
    }
}

/// What the newer actions filter by.
fn wanted(params: &Params) -> Result<StatisticsQuery, ApiError> {
    let key = |text| {
        name::parse(text).map(|name| NameKey::of(&name)).map_err(|why| ApiError::invalid("ZoneName", why))
    };
    let name = params.text("ZoneName").map(key).transpose()?.map(|name| (false, name));
    let networks = params.items("NetworkParams");
    let vpcs = networks.iter().filter_map(|network| network.text("VpcId").map(str::to_string)).collect();
    let outcome = params.text("Rcode").map(|rcode| {
        OUTCOME_NAMES.iter().position(|name| name.eq_ignore_ascii_case(rcode)).unwrap_or(OUTCOMES - 1)
    });
    Ok(StatisticsQuery { name, vpcs, outcome })
}

/// The minutes of the last two days.
fn minutes(context: &ActionContext) -> Vec<Arc<Minute>> {
    context.counts.history.minutes(context.counts.tallies, context.now() / MINUTE)
}

/// The minutes between `StartTimestamp` and `EndTimestamp`, the last hour without them; and those a day before.
fn span(context: &ActionContext, params: &Params) -> Result<[Vec<Arc<Minute>>; 2], ApiError> {
    let now = context.now();
    let from =
        params.text("StartTimestamp").map(time).transpose()?.unwrap_or(now.saturating_sub(HOUR * MINUTE));
    let to = params.text("EndTimestamp").map(time).transpose()?.unwrap_or(now);
    let minutes = minutes(context);
    let within = |later: u64| {
        let is_in = |minute: &&Arc<Minute>| (from / MINUTE..=to / MINUTE).contains(&(minute.at + later));
        minutes.iter().filter(is_in).cloned().collect()
    };
    Ok([within(0), within(DAY as u64)])
}

/// The minutes of the period asked for: a day where the word says so, else an hour.
fn period(params: &Params) -> u64 {
    let period = params.text("OverviewPeriod").unwrap_or_default().to_ascii_lowercase();
    if period.contains('d') || period.contains("24") { DAY as u64 } else { HOUR }
}

/// The last `length` minutes, and as many that ended `earlier` by that number of minutes.
fn periods(context: &ActionContext, length: u64, earlier: u64) -> (Vec<Arc<Minute>>, Vec<Arc<Minute>>) {
    let end = context.now() / MINUTE + 1;
    let minutes = minutes(context);
    let until = |end: u64| {
        let is_in = |minute: &&Arc<Minute>| (end.saturating_sub(length)..end).contains(&minute.at);
        minutes.iter().filter(is_in).cloned().collect()
    };
    (until(end), until(end.saturating_sub(earlier)))
}

/// Sums up by what `key` makes of number, name and VPC of a place; the busiest first.
fn by(
    context: &ActionContext,
    minutes: &[Arc<Minute>],
    key: impl Fn(u16, &str, Option<&str>) -> Option<String>,
    rules: bool,
) -> Vec<(String, OutcomeCounts)> {
    let mut places: BTreeMap<u16, OutcomeCounts> = BTreeMap::new();
    for minute in minutes {
        for (number, counts) in &minute.places {
            add(places.entry(*number).or_default(), &counts.map(u64::from));
        }
    }
    let mut sums: BTreeMap<String, OutcomeCounts> = BTreeMap::new();
    for (number, counts) in places {
        let Some(place) = context.counts.places.place(number).filter(|place| place.is_rule == rules) else {
            continue;
        };
        let name = show(&place.name.to_name());
        if let Some(key) = key(number, &name, place.vpc.as_deref()) {
            add(sums.entry(key).or_default(), &counts);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sort::by_key(&mut sums, |(_, counts)| std::cmp::Reverse(sum(counts)));
    sums
}

/// A point for each minute or hour between two times, in milliseconds; those without answers too.
fn series(
    context: &ActionContext,
    wanted: &StatisticsQuery,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, OutcomeCounts)>, ApiError> {
    if to < from {
        return Err(ApiError::invalid("EndTimestamp", "it is before StartTimestamp"));
    }
    let now = context.now() / MINUTE;
    let oldest = (now + 1).saturating_sub(MINUTES as u64);
    let (from, to) = ((from / MINUTE).max(oldest), (to / MINUTE).min(now));
    let step = if to.saturating_sub(from) > 2 * HOUR { HOUR } else { 1 };
    let mut points: BTreeMap<u64, OutcomeCounts> = BTreeMap::new();
    let mut at = from / step * step;
    while at <= to {
        points.insert(at, [0; OUTCOMES]);
        at += step;
    }
    for minute in minutes(context).iter().filter(|minute| (from..=to).contains(&minute.at)) {
        add(points.entry(minute.at / step * step).or_default(), &wanted.of(context, minute));
    }
    Ok(points.into_iter().map(|(at, counts)| (at * MINUTE, counts)).collect())
}

/// A time in milliseconds since 1970, also written in seconds.
fn time(text: &str) -> Result<u64, ApiError> {
    match text.parse::<u64>() {
        Ok(seconds) if seconds < 100_000_000_000 => Ok(seconds * 1000),
        Ok(milliseconds) => Ok(milliseconds),
        Err(_) => {
            Err(ApiError::invalid("StartTimestamp or EndTimestamp", "it must be milliseconds since 1970"))
        }
    }
}

/// The name of a zone's id.
fn zone_name(context: &ActionContext, id: &str) -> Result<NameKey, ApiError> {
    if let Some((row, _)) = context.config_ids.zone(context.catalog, id) {
        let name = name::parse(&row.name).map_err(|_| ApiError::internal())?;
        return Ok(NameKey::of(&name));
    }
    context.zone(id).map(|entry: &Arc<ZoneEntry>| entry.zone().apex().clone())
}

/// The name of a rule's id.
fn rule_name(context: &ActionContext, id: &str) -> Result<NameKey, ApiError> {
    let unknown = || ApiError::new("ResolverRule.NotExists", "The resolver rule does not exist.");
    let rule = context.account.rules().get(id).ok_or_else(unknown)?;
    let name = name::parse(&rule.zone).map_err(|_| ApiError::internal())?;
    Ok(NameKey::of(&name))
}

fn add(all: &mut OutcomeCounts, more: &OutcomeCounts) {
    all.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn sum(counts: &OutcomeCounts) -> u64 {
    counts.iter().sum()
}

/// Percent; all of nothing is 100.
fn ratio(part: u64, all: u64) -> u64 {
    (part * 100).checked_div(all).unwrap_or(100)
}

/// Change in percent against before; nothing to compare with is no change.
fn trend(now: u64, before: u64) -> i64 {
    let (now, before) = (i64::try_from(now).unwrap_or(i64::MAX), i64::try_from(before).unwrap_or(i64::MAX));
    (now - before).saturating_mul(100).checked_div(before).unwrap_or(0)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
