//! `pvtzd explain NAME [TYPE]`: the complete dry run of a question, without a query.

use super::run::service_state_dir;
use super::{CommonArgs, ExplainArgs, exit, shown};
use crate::admin::explain::{ExplainedCatalog, Explanation, question};
use crate::base::address_set::AddressSet;
use crate::base::clock::Clock;
use crate::config::InstanceInfo;
use crate::daemon::secondaries;
use crate::engine::precheck::Precheck;
use crate::engine::text::printable;

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &ExplainArgs) -> u8 {
    let mut config = match common.load_or_tell() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let state_dir = config.server.state_dir.clone().or_else(service_state_dir);
    secondaries::restore(&mut config, state_dir.as_deref(), Clock::start().now());
    let question = match question(&args.name, &args.rtype) {
        Ok(question) => question,
        Err(error) => {
            eprintln!("error: {error}");
            return 2;
        }
    };
    let instance = InstanceInfo { region: args.region.clone(), vpc_id: None };
    let catalog = config.catalog(&instance, 1);
    let client = args.client.to_canonical();
    let allowed = AddressSet::from(&config.server.allow[..]).contains(client);
    let screening = Precheck { allowed, version_bind: config.server.version_bind };
    let servers = |group| shown::servers(&config, group);
    let explained =
        ExplainedCatalog { catalog: &catalog, retain: &config.retain, servers: &servers, screening };
    let (explanation, _) = explained.explain(&question, client);
    if common.json {
        shown::json(&explanation)
    } else {
        print(&explanation)
    }
    exit::OK
}

fn print(explanation: &Explanation) {
    if let [hop] = &explanation.hops[..]
        && hop.source == "refused"
    {
        return println!("client {}: {}, since {}", explanation.client, explanation.result, hop.why);
    }
    let vpc = match (&explanation.vpc, &explanation.region) {
        (Some(vpc), Some(region)) => format!("in VPC {vpc} ({region})"),
        (Some(vpc), None) => format!("in VPC {vpc} (region unknown)"),
        (None, _) => "in no VPC".to_string(),
    };
    println!("client {} is {vpc}", explanation.client);
    for (number, hop) in explanation.hops.iter().enumerate() {
        let unicode = hop.unicode.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        println!("{}. {} {}{unicode}", number + 1, hop.name, hop.rtype);
        println!("   {}", printable(&hop.why));
    }
    match &explanation.asks {
        Some(asks) => println!(
            "result: would query {} for {} {}; the upstream sets the response code",
            asks.servers, asks.name, asks.rtype
        ),
        None => println!("result: {}", explanation.result),
    }
}
