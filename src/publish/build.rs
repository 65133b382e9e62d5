//! Builds the active configuration.

use crate::account::{Account, Dirty};
use crate::base::address_set::AddressSet;
use crate::config::{Config, InstanceInfo, Servers};
use crate::engine::catalog::GroupKey;
use crate::resolve::shared::ActiveConfig;
use crate::upstream::network::Network;
use crate::upstream::{Group, GroupOptions, ServerAddress, Strategy, Trust};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Further inputs of [`build`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The answer of the metadata service.
    pub instance: InstanceInfo,
    /// The system's upstream servers, for `servers = "system"`.
    pub system: Vec<ServerAddress>,
    /// The network that upstream servers are in.
    pub network: Network,
    /// It is not known yet which names are private: nothing goes to the default servers.
    pub withheld: bool,
}

/// Builds the active configuration of a configuration and an account. Reuses unchanged groups of `previous` with the
/// state of their servers. `serial` differs for each publication and becomes the serial of the zones' SOA.
pub fn build(
    config: &Config,
    around: &Environment,
    account: &Account,
    previous: Option<&ActiveConfig>,
    serial: u32,
) -> ActiveConfig {
    let trust = trust(config, account);
    let mut groups = HashMap::new();
    let mut add = |key: GroupKey, name: String, servers: Vec<ServerAddress>, strategy: Strategy| {
        let trust = trust.clone().filter(|_| servers.iter().any(|server| !server.is_plain()));
        let max_in_flight = config.upstream.max_in_flight;
        let bootstrap = config.upstream.bootstrap.clone();
        let network = around.network.clone();
        let options =
            GroupOptions { strategy, max_in_flight, trust, bootstrap, network, ..Default::default() };
        let alive = previous.and_then(|previous| previous.groups.get(&key)).filter(|group| {
            *group.options() == options && group.servers().map(|server| server.address()).eq(servers.iter())
        });
        groups.insert(key, alive.cloned().unwrap_or_else(|| Arc::new(Group::new(name, servers, options))));
    };
    let default = match &config.upstream.servers {
        _ if around.withheld => Vec::new(),
        Servers::System => around.system.clone(),
        Servers::Listed(servers) => servers.clone(),
    };
    let configured = config.groups();
    let configured_keys: HashSet<GroupKey> = configured.iter().map(|group| group.key).collect();
    let is_configured = |key: GroupKey| configured_keys.contains(&key);
    let default_key = match previous.filter(|_| default.is_empty()) {
        // Between two networks resolv.conf lists no server: until it does, the last answers are still true.
        Some(previous) if config.upstream.servers == Servers::System => previous.catalog.default_group(),
        _ => ServerAddress::group_key(&[b"default"], &default),
    };
    let default_key = default_key.unless(is_configured);
    add(default_key, "default".into(), default, config.upstream.strategy);
    let made_vpcs = account.catalog_vpcs();
    let mut catalog = config.catalog_with(&around.instance, serial, &made_vpcs);
    catalog.set_default_group(default_key);
    let made = account.place_all(&mut catalog, |key| key == default_key || is_configured(key));
    for group in configured {
        add(group.key, group.name, group.servers, group.strategy);
    }
    for (key, rule) in made {
        let strategy = if rule.is_ordered() { Strategy::Failover } else { config.upstream.strategy };
        add(key, format!("{} ({})", rule.zone, rule.id), rule.servers(), strategy);
    }
    ActiveConfig {
        catalog,
        generation: serial,
        groups,
        allow: AddressSet::from(&config.server.allow[..]),
        udp_payload: config.server.udp_payload,
        version_bind: config.server.version_bind,
    }
}

/// True where an upstream server is encrypted.
pub fn has_encrypted(config: &Config, account: &Account) -> bool {
    let default: &[ServerAddress] = match &config.upstream.servers {
        Servers::System => &[],
        Servers::Listed(servers) => servers,
    };
    let mut all = default.iter().chain(config.forwards.iter().flat_map(|rule| &rule.servers));
    let mut made = account.rules().values().flat_map(|rule| rule.servers());
    all.any(|server| !server.is_plain()) || made.any(|server| !server.is_plain())
}

/// The CA certificates for encrypted servers, reread each time; None if all servers are plain.
fn trust(config: &Config, account: &Account) -> Option<Arc<Trust>> {
    has_encrypted(config, account).then(|| {
        let trust = Trust::load(config.upstream.tls_ca.as_deref());
        if let Some(problem) = trust.problem() {
            tracing::error!(problem, "cannot query encrypted upstream servers");
        }
        Arc::new(trust)
    })
}

/// What is published once an account has changed, in zones alone: all but these is shared with `previous`.
pub fn amend(
    previous: &ActiveConfig,
    before: &Account,
    after: &Account,
    dirty: &Dirty,
    serial: u32,
) -> ActiveConfig {
    let mut amended = ActiveConfig { generation: serial, ..previous.clone() };
    after.place_changes(before, dirty, &mut amended.catalog);
    amended
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        crate::config::parse(text, Path::new("test.toml")).unwrap().0
    }

    #[test]
    fn groups_that_mean_the_same_live_on() {
        let text = "[upstream]\nservers = [\"192.0.2.1\"]\n[[forward]]\nzone = \"a.example\"\nservers = [\"192.0.2.2\"]\n";
        let first = build(&config(text), &Environment::default(), &Account::default(), None, 1);
        let same = build(&config(text), &Environment::default(), &Account::default(), Some(&first), 2);
        assert_eq!(first.groups.len(), 2);
        for (key, group) in &first.groups {
            assert!(Arc::ptr_eq(group, &same.groups[key]));
        }
    }

    /// The key of the default group.
    fn default_key(text: &str, system: &[&str], previous: Option<&ActiveConfig>) -> GroupKey {
        let system = system.iter().map(|server| server.parse().unwrap()).collect();
        let around = Environment { system, ..Default::default() };
        let published = build(&config(text), &around, &Account::default(), previous, 1);
        let key = published.catalog.default_group();
        assert!(published.groups.contains_key(&key));
        key
    }

    #[test]
    fn the_default_group_is_what_its_servers_are() {
        let key = |upstream: &str| default_key(&format!("[upstream]\n{upstream}\n"), &[], None);
        let one = key("servers = [\"192.0.2.1\"]");
        let two = key("servers = [\"192.0.2.1\", \"192.0.2.2\"]");
        assert_ne!(one, two);
        assert_eq!(one, key("servers = [\"192.0.2.1:53\"]\nstrategy = \"fastest\"\nmax_in_flight = 7"));
        assert_eq!(two, key("servers = [\"192.0.2.2\", \"192.0.2.1\"]"), "the order is how, not who");
        let others = ["192.0.2.9", "192.0.2.1:5353", "tls://192.0.2.1", "tls://192.0.2.1#a.example"];
        let mut keys = others.map(|other| key(&format!("servers = [\"{other}\"]"))).to_vec();
        keys.extend([one, two, key("servers = []")]);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), others.len() + 3);
        assert_eq!(
            key("servers = [\"tls://192.0.2.1#a.example\"]"),
            key("servers = [\"TLS://192.0.2.1:853#A.Example\"]")
        );
    }

    #[test]
    fn the_systems_answers_last_while_resolv_conf_names_no_server() {
        let around = Environment { system: vec!["192.0.2.53".parse().unwrap()], ..Default::default() };
        let before = build(&Config::default(), &around, &Account::default(), None, 1);
        let key = before.catalog.default_group();
        assert_eq!(key, default_key("[upstream]\nservers = [\"192.0.2.53\"]\n", &[], None));
        assert_eq!(default_key("", &[], Some(&before)), key);
        assert_ne!(default_key("", &["192.0.2.54"], Some(&before)), key);
        assert_ne!(default_key("[upstream]\nservers = []\n", &[], Some(&before)), key);
    }

    #[test]
    fn the_systems_servers_are_the_default_group() {
        let around = Environment { system: vec!["192.0.2.53".parse().unwrap()], ..Default::default() };
        let published = build(&Config::default(), &around, &Account::default(), None, 1);
        let servers: Vec<String> = published.groups[&published.catalog.default_group()]
            .servers()
            .map(|server| server.address().to_string())
            .collect();
        assert_eq!(servers, ["192.0.2.53"]);
    }
}
