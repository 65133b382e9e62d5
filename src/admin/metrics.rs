//! The page `/metrics`. Metrics have the names and labels of CoreDNS with the prefix `pvtzd_`, so that its dashboards
//! can be reused; others follow its naming scheme. No label contains a client or a query name.

use super::process::Process;
pub use super::prometheus::{Metric, MetricKind};
use super::prometheus::{MetricsPage, counter, gauge, histogram};
use super::secondary;
use super::{AdminView, ApiView};
use crate::engine::name::show;
use crate::engine::rcode;
use crate::engine::sort;
use crate::stats::counters::{ARRIVALS, OUTCOME_NAMES, OUTCOMES, TYPES};
use crate::stats::zone_stats::{CacheResult, OVERFLOW};
use crate::upstream::{ServerHealth, ServerSnapshot};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// All metrics, in the order of the page.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    gauge("pvtzd_build_info", "version", "Always 1; the label is the version."),
    gauge("pvtzd_ready", "", "1 while listeners are bound and the catalog is loaded, 0 while stopping."),
    counter("pvtzd_dns_requests_total", "server, proto, family, type", "Queries received, by listening address, transport, address family (1 IPv4, 2 IPv6) and type."),
    counter("pvtzd_dns_responses_total", "rcode", "Answers by response code."),
    histogram("pvtzd_dns_request_duration_seconds", "", "Time from the receipt of a query to its answer. Answers without an upstream query are timed per batch of datagrams."),
    counter("pvtzd_dns_fast_lane_responses_total", "", "Answers from the packet cache."),
    counter("pvtzd_dns_dropped_total", "", "Packets without an answer because they are not queries."),
    gauge("pvtzd_dns_in_flight", "", "Queries that wait for an upstream."),
    counter("pvtzd_dns_overload_total", "", "Queries beyond the limit of queries that wait for an upstream."),
    counter("pvtzd_dns_tcp_rejected_total", "", "Connections rejected because of a limit or of `allow`."),
    counter("pvtzd_dns_rate_limited_total", "", "UDP queries beyond the rate limit of their network: answered with TC only, or dropped."),
    counter("pvtzd_panics_total", "", "Packets whose processing panicked because of a defect in pvtzd."),
    gauge("pvtzd_zones", "source", "Private zones, by source: the configuration or the API."),
    counter("pvtzd_zone_responses_total", "zone, vpc, rcode", "Answers for names of a private zone, by VPC of the client; the 1000 busiest series, all others as zone other."),
    counter("pvtzd_rule_responses_total", "zone, vpc, rcode", "Answers for names of a forwarding rule, by VPC of the client; limited in the same way."),
    gauge("pvtzd_cache_entries", "type", "Cache entries: success, or denial (including failures)."),
    gauge("pvtzd_cache_size_bytes", "store", "Memory of the caches: upstream answers (upstream) and the packet cache (finished)."),
    gauge("pvtzd_cache_finished_entries", "", "Entries of the packet cache, without answers written from a cache entry."),
    counter("pvtzd_cache_requests_total", "", "Answers that involved a cache lookup: hits and misses."),
    counter("pvtzd_cache_hits_total", "type", "Cache hits, by type: success or denial."),
    counter("pvtzd_cache_misses_total", "", "Answers that required an upstream query."),
    counter("pvtzd_cache_served_stale_total", "", "Expired answers served because no upstream answered (RFC 8767)."),
    counter("pvtzd_cache_prefetch_total", "", "Cache entries refreshed before they expired."),
    counter("pvtzd_cache_evictions_total", "store", "Entries evicted to free memory."),
    counter("pvtzd_forward_requests_total", "proxy_name, to", "Queries sent to an upstream server."),
    counter("pvtzd_forward_responses_total", "proxy_name, to, result", "Upstream queries by result: answer, bad_rcode, timeout, network_error, garbled, local_error."),
    histogram("pvtzd_proxy_request_duration_seconds", "proxy_name, to", "Reply time of an upstream server."),
    gauge("pvtzd_forward_up", "proxy_name, to", "1 while the upstream server is considered up."),
    gauge("pvtzd_forward_rtt_seconds", "proxy_name, to", "Smoothed round-trip time, once measured."),
    counter("pvtzd_forward_max_concurrent_rejects_total", "proxy_name, to", "Queries not sent to the server because of its limit of queries in flight."),
    counter("pvtzd_forward_mismatches_total", "proxy_name, to", "Datagrams from the server's address that match no query."),
    counter("pvtzd_forward_tcp_fallbacks_total", "proxy_name, to", "Queries retried over TCP after UDP."),
    counter("pvtzd_forward_healthcheck_broken_total", "", "Queries whose group had no server that was up."),
    counter("pvtzd_reload_total", "", "Reloads of the configuration, successful and failed."),
    counter("pvtzd_reload_failed_total", "", "Reloads rejected because of an error."),
    gauge("pvtzd_reload_last_successful", "", "0 after a failed reload: the file differs from the configuration in force."),
    gauge("pvtzd_reload_last_success_timestamp_seconds", "", "Time at which the configuration in force was loaded."),
    gauge("pvtzd_data_files", "", "Watched files: zone files and the files that they include, hosts files, the configuration."),
    gauge("pvtzd_data_files_faulty", "", "Zone files and hosts files with an error, whose former content is served."),
    counter("pvtzd_data_file_reads_total", "result", "Reads of changed zone files and hosts files: taken, or refused because of an error."),
    gauge("pvtzd_retained_names", "", "Names whose last good answer is retained."),
    gauge("pvtzd_retained_bytes", "", "Memory of retained answers."),
    counter("pvtzd_retained_refreshes_total", "", "Retained answers refreshed before they expired."),
    counter("pvtzd_retained_denials_total", "result", "Negative answers for retained names: held back, or confirmed."),
    counter("pvtzd_retained_served_total", "", "Retained answers used instead of a failure."),
    gauge("pvtzd_secondary_up", "zone, vpcs", "1 while the copy of a secondary zone is served; the first 1000 of them."),
    gauge("pvtzd_secondary_serial", "zone, vpcs", "Serial of the copy of a secondary zone."),
    gauge("pvtzd_secondary_expires_seconds", "zone, vpcs", "Seconds until the copy expires unless a primary confirms it."),
    counter("pvtzd_secondary_transfers_total", "zone, vpcs, result", "Refreshes by result: current, full, incremental, failed."),
    counter("pvtzd_secondary_notifies_total", "result", "NOTIFY messages: taken or refused."),
    counter("pvtzd_api_requests_total", "action, code", "Requests to the PrivateZone API, by action and class of HTTP status."),
    gauge("pvtzd_fleet_revision", "", "The revision of the fleet's head whose rows are served. No samples without [fleet], here and below."),
    gauge("pvtzd_fleet_behind_seconds", "", "For how long it is not certain that etcd has nothing newer; 0 while the node follows."),
    gauge("pvtzd_fleet_state", "state", "1 for the state that the node is in: starting, synchronising, following, away, held, schema."),
    gauge("pvtzd_fleet_rows", "", "Rows of the fleet that this node has."),
    gauge("pvtzd_fleet_bad_rows", "", "Rows that make no sense to this version; their last good value is served."),
    gauge("pvtzd_fleet_digest_matches", "", "1 while the digest of the rows is that of the head."),
    gauge("pvtzd_fleet_snapshot_up", "", "1 while the snapshot can be written."),
    counter("pvtzd_fleet_applied_total", "", "Changes of the fleet that came into force here."),
    counter("pvtzd_fleet_compared_total", "", "Comparisons of all rows with those in etcd."),
    counter("pvtzd_fleet_failures_total", "", "Times that etcd could not be reached, or a watch ended."),
    counter("pvtzd_fleet_commits_total", "", "Changes that were made through the API of this node."),
    counter("pvtzd_fleet_lost_races_total", "", "Decisions that were taken again since another node was first."),
    counter("pvtzd_watch_dropped_total", "watcher", "Messages that the query log or dnstap lost because it was too slow."),
    gauge("pvtzd_auxiliary_up", "service, at", "1 while an auxiliary service works: metrics, api, control_socket, query_log, dnstap."),
    counter("pvtzd_auxiliary_failures_total", "service, at", "Failures of an auxiliary service, each followed by a retry."),
    counter("process_cpu_seconds_total", "", "User and system CPU time."),
    gauge("process_resident_memory_bytes", "", "Resident memory."),
    gauge("process_virtual_memory_bytes", "", "Virtual memory."),
    gauge("process_threads", "", "Threads."),
    gauge("process_open_fds", "", "Open file descriptors."),
    gauge("process_max_fds", "", "Maximum number of open file descriptors."),
    gauge("process_start_time_seconds", "", "Start time of the process."),
];

/// Zones and rules that have series of their own.
const LABELLED: usize = 1000;

/// The page.
pub fn render(subject: &AdminView) -> String {
    let mut page = MetricsPage::of(METRICS);
    page.metric("pvtzd_build_info").sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.metric("pvtzd_ready").count(&[], u64::from(subject.readiness.is_ready()));
    requests(&mut page, subject);
    zones(&mut page, subject);
    cache(&mut page, subject);
    upstreams(&mut page, subject);
    let (readiness, (reloads, failed)) = (&subject.readiness, subject.readiness.reloads());
    page.metric("pvtzd_reload_total").count(&[], reloads);
    page.metric("pvtzd_reload_failed_total").count(&[], failed);
    page.metric("pvtzd_reload_last_successful").count(&[], u64::from(readiness.is_current()));
    page.metric("pvtzd_reload_last_success_timestamp_seconds").count(&[], readiness.changed());
    let (watched, reads, refused) = readiness.data_files.counts();
    page.metric("pvtzd_data_files").count(&[], watched);
    page.metric("pvtzd_data_files_faulty").count(&[], readiness.data_files.read().len() as u64);
    page.metric("pvtzd_data_file_reads_total");
    page.count(&[("result", "taken")], reads.saturating_sub(refused));
    page.count(&[("result", "refused")], refused);
    let retained = subject.live.cache.retained.state(0);
    page.metric("pvtzd_retained_names").count(&[], retained.names as u64);
    page.metric("pvtzd_retained_bytes").count(&[], retained.bytes as u64);
    page.metric("pvtzd_retained_refreshes_total").count(&[], retained.refreshed);
    page.metric("pvtzd_retained_denials_total");
    page.count(&[("result", "held")], retained.held).count(&[("result", "confirmed")], retained.confirmed);
    page.metric("pvtzd_retained_served_total").count(&[], retained.served);
    secondary::render(&mut page, subject);
    page.metric("pvtzd_api_requests_total");
    if let Some(ApiView { calls, .. }) = &subject.api {
        for (action, class, count) in calls.read() {
            page.count(&[("action", action), ("code", class)], count);
        }
    }
    super::fleet::metrics(&mut page, subject);
    page.metric("pvtzd_watch_dropped_total");
    for watcher in subject.live.watch.watchers() {
        page.count(&[("watcher", watcher.name())], watcher.dropped());
    }
    let auxiliary = subject.readiness.auxiliary.read();
    page.metric("pvtzd_auxiliary_up");
    for service in &auxiliary {
        page.count(&[("service", service.name), ("at", &service.at)], u64::from(service.fault.is_none()));
    }
    page.metric("pvtzd_auxiliary_failures_total");
    for service in &auxiliary {
        page.count(&[("service", service.name), ("at", &service.at)], service.failures);
    }
    process(&mut page);
    page.finish()
}

fn requests(page: &mut MetricsPage, subject: &AdminView) {
    let live = &subject.live;
    let sum = live.tallies.sum();
    page.metric("pvtzd_dns_requests_total");
    for (address, types) in &sum.requests {
        let server = format!("dns://{address}");
        let names = TYPES.iter().map(|(_, name)| *name).chain(["other"]);
        for (name, arrivals) in names.zip(types) {
            for ((proto, family), count) in ARRIVALS.iter().zip(arrivals).filter(|(_, count)| **count > 0) {
                let labels =
                    [("server", server.as_str()), ("proto", proto), ("family", family), ("type", name)];
                page.count(&labels, *count);
            }
        }
    }
    page.metric("pvtzd_dns_responses_total");
    for (code, count) in sum.rcodes.iter().enumerate().filter(|(_, count)| **count > 0) {
        page.count(&[("rcode", &rcode_name(code))], *count);
    }
    page.metric("pvtzd_dns_request_duration_seconds").histogram(&[], &sum.durations);
    page.metric("pvtzd_dns_fast_lane_responses_total").count(&[], sum.known);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    page.metric("pvtzd_dns_dropped_total").count(&[], read(&live.counters.dropped));
    page.metric("pvtzd_dns_in_flight").count(&[], live.limits.in_flight() as u64);
    page.metric("pvtzd_dns_overload_total").count(&[], read(&live.counters.overload));
    page.metric("pvtzd_dns_rate_limited_total").count(&[], live.guard.held_back());
    page.metric("pvtzd_dns_tcp_rejected_total").count(&[], read(&live.counters.tcp_rejected));
    page.metric("pvtzd_panics_total").count(&[], read(&live.counters.panics));
}

/// The name of a response code's cell. Codes from 10 to 15 have kept the names under which they were counted first.
pub(super) fn rcode_name(code: usize) -> String {
    match code {
        10..16 => format!("reserved{code}"),
        code => rcode::rcode_name(code as u16).unwrap_or("other").into(),
    }
}

fn zones(page: &mut MetricsPage, subject: &AdminView) {
    let live = &subject.live;
    let configured = live.published().catalog.zones().len() as u64;
    page.metric("pvtzd_zones").count(&[("source", "configuration")], configured);
    let made = subject.account().map_or(0, |account| account.zone_count() as u64);
    page.count(&[("source", "api")], made);
    let mut places = live.tallies.places();
    sort::by_key(&mut places, |(number, counts)| (std::cmp::Reverse(counts.iter().sum::<u64>()), *number));
    for (metric, rules) in [("pvtzd_zone_responses_total", false), ("pvtzd_rule_responses_total", true)] {
        page.metric(metric);
        let (mut shown, mut rest) = (0, [0u64; OUTCOMES]);
        for (number, counts) in &places {
            let place = live.places.place(*number);
            match place {
                Some(place) if place.is_rule != rules => {}
                Some(place) if shown < LABELLED => {
                    shown += 1;
                    let name = show(&place.name.to_name());
                    let vpc = place.vpc.as_deref().unwrap_or_default();
                    outcomes(page, &name, vpc, counts);
                }
                // keys beyond the numbered ones are counted with the zones
                None if rules || *number != OVERFLOW => {}
                _ => rest.iter_mut().zip(counts).for_each(|(sum, more)| *sum += more),
            }
        }
        outcomes(page, "other", "", &rest);
    }
}

fn outcomes(page: &mut MetricsPage, zone: &str, vpc: &str, counts: &[u64; OUTCOMES]) {
    for (rcode, count) in OUTCOME_NAMES.iter().zip(counts).filter(|(_, count)| **count > 0) {
        page.count(&[("zone", zone), ("vpc", vpc), ("rcode", rcode)], *count);
    }
}

fn cache(page: &mut MetricsPage, subject: &AdminView) {
    let live = &subject.live;
    let sum = live.tallies.sum();
    let (data, denials) = live.cache.kinds();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (success, denial) = (sum.share(CacheResult::Success), sum.share(CacheResult::Denial));
    let misses = sum.share(CacheResult::Miss) + sum.share(CacheResult::Stale);
    page.metric("pvtzd_cache_entries");
    page.count(&[("type", "success")], data as u64).count(&[("type", "denial")], denials as u64);
    page.metric("pvtzd_cache_size_bytes");
    page.count(&[("store", "upstream")], live.cache.bytes())
        .count(&[("store", "finished")], live.answers.bytes());
    page.metric("pvtzd_cache_finished_entries").count(&[], live.answers.len() as u64);
    page.metric("pvtzd_cache_requests_total").count(&[], success + denial + misses);
    page.metric("pvtzd_cache_hits_total");
    page.count(&[("type", "success")], success).count(&[("type", "denial")], denial);
    page.metric("pvtzd_cache_misses_total").count(&[], misses);
    page.metric("pvtzd_cache_served_stale_total").count(&[], read(&live.counters.stale));
    page.metric("pvtzd_cache_prefetch_total").count(&[], read(&live.counters.prefetched));
    page.metric("pvtzd_cache_evictions_total");
    page.count(&[("store", "upstream")], live.cache.evictions());
    page.count(&[("store", "finished")], live.answers.evictions());
}

/// All upstream servers with the names of their groups, each pair once.
pub(super) fn servers(subject: &AdminView) -> Vec<(String, ServerSnapshot)> {
    let published = subject.live.published();
    let mut groups: Vec<_> = published.groups.iter().collect();
    sort::by_key(&mut groups, |(key, _)| (**key != published.catalog.default_group(), **key));
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for (key, group) in groups {
        let mut name = group.name().to_string();
        if !names.insert(name.clone()) {
            name = format!("{name} #{}", key.0); // two rules for one name and different VPCs
        }
        all.extend(group.servers().map(|server| (name.clone(), server.snapshot())));
    }
    all
}

fn upstreams(page: &mut MetricsPage, subject: &AdminView) {
    let servers = servers(subject);
    let shown: Vec<(&str, String, &ServerSnapshot)> =
        servers.iter().map(|(name, server)| (name.as_str(), server.address.to_string(), server)).collect();
    let mut each = |metric, read: fn(&ServerSnapshot) -> Option<f64>| {
        page.metric(metric);
        for (name, to, server) in &shown {
            if let Some(value) = read(server) {
                page.sample(&[("proxy_name", name), ("to", to)], value);
            }
        }
    };
    each("pvtzd_forward_requests_total", |server| Some(server.counts.queries as f64));
    each("pvtzd_forward_up", |server| {
        Some(f64::from(u8::from(server.standing == ServerHealth::Up && !server.looping)))
    });
    each("pvtzd_forward_rtt_seconds", |server| server.srtt.map(|rtt| rtt.as_secs_f64()));
    each("pvtzd_forward_max_concurrent_rejects_total", |server| Some(server.counts.at_limit as f64));
    each("pvtzd_forward_mismatches_total", |server| Some(server.counts.mismatches as f64));
    each("pvtzd_forward_tcp_fallbacks_total", |server| Some(server.counts.tcp_fallbacks as f64));
    page.metric("pvtzd_forward_responses_total");
    for (name, to, server) in &shown {
        let counts = &server.counts;
        for (result, count) in [
            ("answer", counts.successes),
            ("bad_rcode", counts.bad_rcodes),
            ("timeout", counts.timeouts),
            ("network_error", counts.network_errors),
            ("garbled", counts.garbled),
            ("local_error", counts.local_errors),
        ] {
            page.count(&[("proxy_name", name), ("to", to), ("result", result)], count);
        }
    }
    page.metric("pvtzd_proxy_request_duration_seconds");
    for (name, to, server) in &shown {
        page.histogram(&[("proxy_name", name), ("to", to)], &server.durations);
    }
    let broken = subject.live.counters.broken.load(Ordering::Relaxed);
    page.metric("pvtzd_forward_healthcheck_broken_total").count(&[], broken);
}

fn process(page: &mut MetricsPage) {
    let process = Process::read();
    let mut one = |metric, value: Option<f64>| {
        page.metric(metric);
        if let Some(value) = value {
            page.sample(&[], value);
        }
    };
    one("process_cpu_seconds_total", process.cpu_seconds);
    one("process_resident_memory_bytes", process.resident_bytes.map(|bytes| bytes as f64));
    one("process_virtual_memory_bytes", process.virtual_bytes.map(|bytes| bytes as f64));
    one("process_threads", process.threads.map(|threads| threads as f64));
    one("process_open_fds", process.open_fds.map(|fds| fds as f64));
    one("process_max_fds", process.max_fds.map(|fds| fds as f64));
    one("process_start_time_seconds", process.start_seconds);
}
