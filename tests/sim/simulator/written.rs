//! A plan as the configuration that means it: decided, as a run needs it, and as a file, for people. That both are the
//! same is a test; reading the file in each run would take half of its time.

use super::plan::{Group, Plan, Rule};
use super::world::Settings;
use pvtzd::config::{Config, Forward, Servers};
use pvtzd::engine::catalog::{Scope, Vpc};
use pvtzd::engine::name::parse;
use pvtzd::engine::record::parse_value;
use pvtzd::engine::zone::{MissingType, Wildcards, Zone, ZoneMode, ZoneRecord, ZoneSpec};
use pvtzd::upstream::{ServerAddress, Strategy};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The configuration, decided.
pub fn config(plan: &Plan, settings: &Settings) -> Config {
    let mut config = Config::default();
    config.server.allow = vec!["10.0.0.0/8".parse().unwrap()];
    config.server.max_in_flight = settings.in_flight;
    config.endpoints.products.clear();
    config.cache.size = settings.cache as u64;
    config.cache.min_ttl = settings.min_ttl;
    config.cache.max_ttl = settings.max_ttl;
    config.cache.negative_max_ttl = settings.negative_max_ttl;
    config.cache.serve_stale =
        (settings.max_stale > 0).then(|| Duration::from_secs(u64::from(settings.max_stale)));
    config.cache.stale_ttl = settings.stale_ttl;
    config.cache.prefetch = settings.prefetch;
    config.upstream.servers = Servers::Listed(servers(&plan.default));
    config.upstream.strategy = strategy(&plan.default);
    config.upstream.max_in_flight = settings.per_server;
    config.vpcs = (0..2)
        .map(|vpc| {
            let clients = vec![format!("10.{vpc}.0.0/16").parse().unwrap()];
            Vpc { id: format!("vpc-{vpc}"), region: None, clients }
        })
        .collect();
    let rule = |rule: &Rule| Forward {
        zone: parse(rule.suffix).unwrap(),
        servers: servers(&rule.group),
        strategy: strategy(&rule.group),
        scope: scope(rule.vpc),
    };
    config.forwards = plan.rules.iter().map(rule).collect();
    for zone in &plan.zones {
        let mode = if zone.proxied { ZoneMode::RecursionProxy } else { ZoneMode::Override };
        let mut spec = ZoneSpec::new(parse(zone.apex).unwrap(), mode);
        if zone.forwards_types {
            spec.on_missing_type = MissingType::Forward;
        }
        if zone.wildcards_off {
            spec.wildcards = Wildcards::OffWithProxy;
        }
        for set in &zone.sets {
            for value in &set.values {
                let (owner, data) = (parse(&set.owner).unwrap(), parse_value(set.rtype, value).unwrap());
                spec.records.push(ZoneRecord { owner, ttl: set.ttl, data, weight: None });
            }
        }
        // put together, as a file's zones are once they were read
        let packed = Zone::build(spec.clone(), 0).unwrap().packed(false);
        let spec = ZoneSpec { packed: Some(packed), ..spec.without_records() };
        config.zones.push((spec.into(), scope(zone.vpc)));
    }
    config
}

fn servers(group: &Group) -> Vec<ServerAddress> {
    let address = |server: &u8| SocketAddr::from((Ipv4Addr::new(10, 53, group.universe, *server), 53)).into();
    group.servers.iter().map(address).collect()
}

fn strategy(group: &Group) -> Strategy {
    match group.strategy {
        "fastest" => Strategy::Fastest,
        "parallel" => Strategy::Parallel,
        _ => Strategy::Failover,
    }
}

fn scope(vpc: Option<u8>) -> Scope {
    vpc.map_or(Scope::Everyone, |vpc| Scope::Vpcs(vec![format!("vpc-{vpc}")]))
}

/// The configuration as a file.
pub fn file(plan: &Plan, settings: &Settings) -> String {
    let stale = match settings.max_stale {
        0 => "off".to_string(),
        seconds => format!("{seconds}s"),
    };
    let Settings { min_ttl, max_ttl, negative_max_ttl, stale_ttl, prefetch, cache, .. } = settings;
    let (in_flight, per_server) = (settings.in_flight, settings.per_server);
    let listed = |group: &Group| {
        let servers = group.servers.iter().map(|server| format!("\"10.53.{}.{server}\"", group.universe));
        servers.collect::<Vec<_>>().join(", ")
    };
    let seen_by = |vpc: Option<u8>| vpc.map_or(String::new(), |vpc| format!("vpcs = [\"vpc-{vpc}\"]\n"));
    let (servers, strategy) = (listed(&plan.default), plan.default.strategy);
    let mut text = format!(
        "[server]\nallow = [\"10.0.0.0/8\"]\nmax_in_flight = {in_flight}\n\n[endpoints]\nproducts = []\n\n\
         [cache]\nsize = {cache}\nmin_ttl = {min_ttl}\nmax_ttl = {max_ttl}\nnegative_max_ttl = {negative_max_ttl}\n\
         serve_stale = \"{stale}\"\nstale_ttl = {stale_ttl}\nprefetch = {prefetch}\n\n\
         [upstream]\nservers = [{servers}]\nstrategy = \"{strategy}\"\nmax_in_flight = {per_server}\n"
    );
    for vpc in 0..2 {
        write!(text, "\n[[vpc]]\nid = \"vpc-{vpc}\"\nclients = [\"10.{vpc}.0.0/16\"]\n").unwrap();
    }
    for Rule { suffix, vpc, group } in &plan.rules {
        let (servers, strategy) = (listed(group), group.strategy);
        write!(text, "\n[[forward]]\nzone = \"{suffix}\"\nservers = [{servers}]\n").unwrap();
        write!(text, "strategy = \"{strategy}\"\n{}", seen_by(*vpc)).unwrap();
    }
    for zone in &plan.zones {
        let (apex, proxied) = (zone.apex, zone.proxied);
        let missing = if zone.forwards_types { "forward" } else { "nodata" };
        let wildcards = if zone.wildcards_off { "off-with-proxy" } else { "always" };
        write!(text, "\n[[zone]]\nname = \"{apex}\"\nrecursion_proxy = {proxied}\n{}", seen_by(zone.vpc))
            .unwrap();
        write!(text, "on_missing_type = \"{missing}\"\nwildcards = \"{wildcards}\"\n").unwrap();
        for set in &zone.sets {
            let below = set.owner.strip_suffix(apex).unwrap();
            let name = if below.is_empty() { "@" } else { below.trim_end_matches('.') };
            for value in &set.values {
                let (rtype, ttl) = (set.rtype, set.ttl);
                write!(text, "\n[[zone.record]]\nname = \"{name}\"\ntype = \"{rtype}\"\n").unwrap();
                write!(text, "value = \"{value}\"\nttl = {ttl}\n").unwrap();
            }
        }
    }
    text
}

#[test]
fn the_file_means_the_same() {
    for seed in 0..100 {
        let mut dice = super::dice::Dice::of_seed(seed);
        let settings = Settings::draw(&mut dice);
        let plan = Plan::draw(&mut dice, &settings);
        let text = file(&plan, &settings);
        match pvtzd::config::parse(&text, std::path::Path::new("simulated.toml")) {
            Ok((read, _)) => {
                assert_eq!(format!("{read:?}"), format!("{:?}", config(&plan, &settings)), "{text}")
            }
            Err(faults) => panic!("{faults:#?}\n{text}"),
        }
    }
}
