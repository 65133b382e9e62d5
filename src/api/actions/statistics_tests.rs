//! Tests of statistics over two days.

use super::super::{ApiCaller, ConfigIds, ObservedCounts};
use super::*;
use crate::account::Account;
use crate::config;
use crate::config::InstanceInfo;
use crate::engine::cache::Timestamp;
use crate::stats::counters::Counters;
use crate::stats::history::History;
use crate::stats::top::TopLists;
use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey, ZoneStats};
use std::path::Path;

const NOW: u64 = 28_000_000;

/// What an action says after `answers` of a zone in each of these minutes, counted backwards from now.
fn told(
    answers: &[(u64, u64)],
    action: fn(&ActionContext, &Params) -> ActionAnswer,
    params: &[(&str, &str)],
) -> Value {
    let text = "[upstream]\nservers = []\n[endpoints]\nproducts = []\n";
    let config = config::parse(text, Path::new("test.toml")).unwrap().0;
    let catalog = config.catalog(&InstanceInfo::default(), 1);
    let (tallies, places, history) = (Counters::default(), ZoneStats::default(), History::default());
    let zone = NameKey::of(&name::parse("a.example").unwrap());
    let key = StatKey::new(places.number(false, &zone, None), AnswerSource::Zone, CacheResult::None);
    let mut answers = answers.to_vec();
    answers.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
    for (ago, count) in answers {
        (0..count).for_each(|_| tallies.tasks.answered(0, key));
        history.end_minute(&tallies, NOW - ago);
    }
    let top = TopLists::default();
    let counts =
        ObservedCounts { tallies: &tallies, places: &places, history: &history, top: (&top, Timestamp(0)) };
    let caller = ApiCaller {
        access_key: "key".into(),
        source: std::net::IpAddr::from([127, 0, 0, 1]),
        now: NOW * MINUTE,
        entropy: [0; 16],
    };
    let context = ActionContext {
        account: &Account::default(),
        catalog: &catalog,
        config_ids: &ConfigIds::default(),
        hosts: &[],
        caller: &caller,
        counts,
    };
    let params: Params = params.iter().copied().collect();
    Value::Object(action(&context, &params).unwrap())
}

/// Answers in the last hour, the hour before, and the same hours a day before.
const ANSWERS: [(u64, u64); 5] =
    [(5, 30), (70, 10), (5 + DAY as u64, 20), (70 + DAY as u64, 7), (30 + 2 * DAY as u64, 9)];

#[test]
fn an_hour_is_compared_with_the_one_before_or_with_that_of_the_day_before() {
    let hour = told(&ANSWERS, global_overview, &[("OverviewPeriod", "1h")]);
    assert_eq!(
        (&hour["Data"]["TotalResolveCount"], &hour["Data"]["TotalResolveCountTrend"]),
        (&json!(30), &json!(200))
    );
    assert_eq!(hour["Data"]["PvtzdDayBefore"], Value::Null);
    let by_day = told(&ANSWERS, global_overview, &[("OverviewPeriod", "1h"), ("PvtzdCompare", "DAY")]);
    assert_eq!(by_day["Data"]["PvtzdDayBefore"]["TotalResolveCount"], 20);
    assert_eq!(by_day["Data"]["TotalResolveCountTrend"], 50);
    for compare in [&[("OverviewPeriod", "24h")][..], &[("OverviewPeriod", "24h"), ("PvtzdCompare", "day")]] {
        let day = told(&ANSWERS, global_overview, compare);
        assert_eq!(
            (&day["Data"]["TotalResolveCount"], &day["Data"]["TotalResolveCountTrend"]),
            (&json!(40), &json!(48))
        );
    }
    assert_eq!(told(&ANSWERS, summary, &[])["TotalCount"], 40, "the last day alone");
}

#[test]
fn the_busiest_have_their_number_of_the_day_before() {
    let (from, to) = (((NOW - 30) * MINUTE).to_string(), (NOW * MINUTE).to_string());
    let params = [("StartTimestamp", from.as_str()), ("EndTimestamp", &to), ("StatisticalType", "ZONE")];
    let row = &told(&ANSWERS, top, &params)["PageData"][0];
    let shown = ["ZoneName", "Count", "PreviousCount", "FluctuationValue"].map(|field| row[field].clone());
    assert_eq!(shown, [json!("a.example"), json!(30), json!(20), json!(50)]);
}

#[test]
fn the_time_of_the_day_before_can_be_asked_for() {
    let day = DAY as u64;
    let (from, to) = (((NOW - day - 60) * MINUTE).to_string(), ((NOW - day) * MINUTE).to_string());
    let points = told(&ANSWERS, super::history, &[("StartTimestamp", &from), ("EndTimestamp", &to)]);
    let counts: u64 =
        points["Data"].as_array().unwrap().iter().filter_map(|point| point["Count"].as_u64()).sum();
    assert_eq!(counts, 20);
}
