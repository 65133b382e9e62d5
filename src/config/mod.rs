//! The configuration file: TOML text becomes decided values, or every fault of it at once.
//!
//! [`Config`] holds what was decided and knows all defaults. `decide` goes from the text to it: as a whole, or by `pieces`
//! where a file is long. `reader` is the file with its faults, `section` takes a table of it key by key, `value` reads what
//! stands behind a key. `again` reads a file whose zones have changed, `file` reads the sections, `zone_draft` and `zones` the private zones, `control` the API's section, `ops` those of operations; `checks` (errors) and `doubts` (warnings) hold the
//! parts against each other, `endpoints` is the built-in catalogue of API names and `catalog` makes the engine's
//! catalog of it all. A new key goes into the struct here, into `file`, and with a comment into `config/pvtzd.toml`.
//! Reads no file but those it is given and sends no query.

mod admin;
mod again;
mod api;
mod catalog;
pub mod data_file;
mod decide;
pub mod endpoints;
mod fault;
mod file;
mod fleet;
pub mod hosts_file;
mod key_path;
mod lints;
mod pieces;
mod reader;
mod retain;
mod secondary;
mod section;
mod sections;
mod server;
mod suggest;
mod validate;
mod value;
mod zone_draft;
pub mod zone_file;
mod zones;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod tests;

pub use admin::{Admin, ControlSocket, Log, QueryLogFormat, TopConfig};
pub use again::{ConfigDifference, Seen};
pub use api::{AccessKeySource, Api, ApiSecret, ConsoleMode, Host, SecretSource};
pub use catalog::GroupSpec;
pub use fault::{ConfigError, Fault, Severity};
pub use fleet::{BeforeFirst, EtcdEndpoint, Fleet};
pub use secondary::{Secondary, TsigSource};
pub use server::MAX_RATE_PER_NETWORK;

use crate::base::file::WatchedFile;
use crate::engine::catalog::{Scope, Vpc};
use crate::engine::local::LocalNames;
use crate::engine::rebinding::Rebinding;
use crate::engine::retain::RetainRules;
use crate::engine::zone::ZoneSpec;
use crate::upstream::{ServerAddress, Strategy};
use data_file::{HostsFile, ZoneFile};
use decide::parse_as;
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reader::{ConfigReader, Span};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The place of the configuration when none is named.
pub const SYSTEM: &str = "/etc/pvtzd/pvtzd.toml";

/// Octets of the largest file that is read.
const LARGEST: u64 = 256 << 20;

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The path, if the directory has an entry of that name. Whatever else is in the way is an error: a configuration
/// that is out of reach must not become the built-in one.
///
/// # Errors
/// It cannot be told whether there is a configuration.
pub fn find(path: &Path) -> Result<Option<PathBuf>, ConfigError> {
    match crate::base::file::has_entry(path) {
        Ok(found) => Ok(found.then(|| path.into())),
        Err(source) => Err(ConfigError::Io { path: path.into(), source }),
    }
}

/// Reads and decides the configuration in a file; the second part are warnings.
///
/// # Errors
/// The file cannot be read, or it has faults.
pub fn load(path: &Path) -> Result<(Config, Vec<Fault>), ConfigError> {
    load_again(path, &Config::default())
}

/// As [`load`], where a former configuration of the file is known: what has not changed is taken from it.
///
/// # Errors
/// The file cannot be read, or it has faults.
pub fn load_again(path: &Path, former: &Config) -> Result<(Config, Vec<Fault>), ConfigError> {
    let file = WatchedFile::now(path);
    let bytes = crate::base::file::read(path, LARGEST)
        .map_err(|source| ConfigError::Io { path: path.into(), source })?;
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let is_open = is_open_to_others(path);
            let (config, warnings) = match again::parse(text, path, is_open, former) {
                Some(config) => (config, Vec::new()),
                None => parse_as(text, path, is_open).map_err(ConfigError::Faults)?,
            };
            Ok((Config { file: Some(file), ..config }, warnings))
        }
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let reader = ConfigReader::new(&text, path);
            let at = Span { span: text.len()..text.len(), ..Span::default() };
            let hint = "save the file as UTF-8".to_string();
            reader.error(&at, "invalid UTF-8", hint);
            Err(ConfigError::Faults(reader.finish()))
        }
    }
}

/// Decides the configuration in a text; `file` is its name in messages. The second part are warnings.
///
/// # Errors
/// All faults, warnings among them, in the order of the file.
pub fn parse(text: &str, file: &Path) -> Result<(Config, Vec<Fault>), Vec<Fault>> {
    parse_as(text, file, false)
}

/// True when others than its owner may read a file.
fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o044 != 0)
}

/// The configuration, decided.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[endpoints]`
    pub endpoints: Endpoints,
    /// `[upstream]`
    pub upstream: UpstreamConfig,
    /// `[cache]`
    pub cache: Cache,
    /// `[control]`; nothing without the section.
    pub control: Option<Api>,
    /// `[fleet]`; nothing without the section.
    pub fleet: Option<Fleet>,
    /// `[ops]`
    pub ops: Admin,
    /// `[log]`
    pub log: Log,
    /// `[top]`
    pub top: TopConfig,
    /// `[[forward]]`
    pub forwards: Vec<Forward>,
    /// `[[vpc]]`
    pub vpcs: Vec<Vpc>,
    /// `[[zone]]`, with who sees each.
    pub zones: Vec<(ZoneSpec, Scope)>,
    /// Those of them whose records are in a zone file.
    pub zone_files: Vec<ZoneFile>,
    /// `[[secondary]]`; their zones are the last of the zones.
    pub secondaries: Vec<Secondary>,
    /// `[[retain]]`
    pub retain: RetainRules,
    /// `[[hosts]]`, the first one first.
    pub hosts: Vec<HostsFile>,
    /// `[[expect]]`
    pub expects: Vec<Expect>,
    /// The file that this was read from, as it was then.
    pub file: Option<WatchedFile>,
    /// What the file said, for reading it again.
    pub seen: again::Seen,
}

/// `[server]`: who is served where, and how much at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where UDP and TCP are listened to.
    pub listen: Vec<SocketAddr>,
    /// Where DNS over TLS is listened to; then there are a certificate and a key.
    pub listen_tls: Vec<SocketAddr>,
    /// Where DNS over HTTPS is listened to.
    pub listen_https: Vec<SocketAddr>,
    /// Where DNS over QUIC is listened to.
    pub listen_quic: Vec<SocketAddr>,
    /// Where DNS over HTTP/3 is listened to.
    pub listen_http3: Vec<SocketAddr>,
    /// The certificate of encrypted listeners, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Who may ask; others are refused.
    pub allow: Vec<IpNet>,
    /// Where state is saved on disk; without it nothing is written.
    pub state_dir: Option<PathBuf>,
    /// Special-use names that are answered here.
    pub local_names: LocalNames,
    /// Queries being worked on at a time, in all.
    pub max_in_flight: usize,
    /// TCP connections at a time, in all.
    pub max_tcp_connections: usize,
    /// TCP connections of one client at a time.
    pub max_tcp_per_client: usize,
    /// Queries being worked on at a time on one TCP connection.
    pub tcp_pipeline: usize,
    /// How long a TCP connection may be silent.
    pub tcp_idle: Duration,
    /// Largest UDP answer, and what is announced by EDNS.
    pub udp_payload: u16,
    /// Whether the configuration is read again when its file changes.
    pub watch_config: bool,
    /// Whether `version.bind` and `version.server` are answered (class CHAOS).
    pub version_bind: bool,
    /// Whether clients that send a DNS cookie get one (RFC 7873).
    pub cookies: bool,
    /// Answers over UDP a second for one network that is not this machine and shows no cookie; 0 for no limit.
    pub max_rate_per_network: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            // Not port 53: a plain run needs no rights and takes nothing from anybody.
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5335)],
            listen_tls: Vec::new(),
            listen_https: Vec::new(),
            listen_quic: Vec::new(),
            listen_http3: Vec::new(),
            certificate: None,
            key: None,
            allow: vec![
                Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
                Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
            ],
            state_dir: None,
            local_names: LocalNames::default(),
            max_in_flight: 4096,
            max_tcp_connections: 1024,
            max_tcp_per_client: 64,
            tcp_pipeline: 100,
            tcp_idle: Duration::from_secs(10),
            udp_payload: 1232, // DNS flag day 2020: fits every path without fragments
            watch_config: false,
            version_bind: false,
            cookies: true,
            // Beyond what any well-behaved machine asks, and little enough that a forger gains nothing.
            max_rate_per_network: 5000,
        }
    }
}

/// `[endpoints]`: the built-in catalogue of Alibaba Cloud API names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The regions whose names are mapped.
    pub regions: Regions,
    /// The products whose names are mapped, by their names in the catalogue; none switches it off.
    pub products: Vec<String>,
    /// What the names lead to.
    pub target: EndpointTarget,
    /// TTL of the mapping in seconds.
    pub ttl: u32,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            regions: Regions::Auto,
            products: vec!["ecs".into()],
            target: EndpointTarget::default(),
            ttl: 60,
        }
    }
}

/// The regions whose API names are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regions {
    /// The region of this instance; all of them while it is unknown.
    Auto,
    /// All of the catalogue.
    All,
    /// These.
    Listed(Vec<String>),
}

/// What API names are mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EndpointTarget {
    /// `popunify-vpc.<region>`, the gateway of the documented recipe.
    #[default]
    PopunifyVpc,
    /// `<product>-vpc.<region>`, the product's own name.
    ProductVpc,
}

/// `[upstream]`: the group that is asked where no forwarding rule says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Its servers.
    pub servers: Servers,
    /// In which order they are asked; also for `[[forward]]` rules that do not say.
    pub strategy: Strategy,
    /// Queries in flight to one server, of any group.
    pub max_in_flight: usize,
    /// The certificates that encrypted servers are held against; nothing for those of the system.
    pub tls_ca: Option<PathBuf>,
    /// Who is asked for the addresses of servers that are known by name.
    pub bootstrap: Vec<ServerAddress>,
    /// Whether they may lead names to inner addresses.
    pub rebinding: Rebinding,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            servers: Servers::System,
            strategy: Strategy::default(),
            max_in_flight: 1000,
            tls_ca: None,
            bootstrap: Vec::new(),
            rebinding: Rebinding::default(),
        }
    }
}

/// Where the servers of the default group come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// The system's resolv.conf.
    System,
    /// The file; an empty list forwards nothing.
    Listed(Vec<ServerAddress>),
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Bytes at most.
    pub size: u64,
    /// Lowest TTL in seconds; lower ones are raised.
    pub min_ttl: u32,
    /// Highest TTL in seconds; higher ones are cut.
    pub max_ttl: u32,
    /// Highest TTL of a denial in seconds.
    pub negative_max_ttl: u32,
    /// How long an expired answer may still be served; nothing switches it off (RFC 8767).
    pub serve_stale: Option<Duration>,
    /// How long a client waits for the upstreams before it gets an expired answer.
    pub stale_answer_after: Duration,
    /// How long failed upstreams are left alone for a name with an expired answer.
    pub stale_retry: Duration,
    /// TTL of an expired answer in seconds.
    pub stale_ttl: u32,
    /// Whether names in demand are asked again before they expire.
    pub prefetch: bool,
    /// Records of one RRset of an upstream at most.
    pub max_rrset_records: u16,
    /// NXDOMAIN denies the names below as well (RFC 8020).
    pub nxdomain_cut: bool,
    /// How often the cache is written to the state directory.
    pub snapshot_every: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: 32 << 20,
            min_ttl: 0,
            max_ttl: 86_400,
            negative_max_ttl: 900,
            // RFC 8767 section 5 recommends these timers; its client timer is 1.8 seconds
            serve_stale: Some(Duration::from_secs(86_400)),
            stale_answer_after: Duration::from_millis(1800),
            stale_retry: Duration::from_secs(30),
            stale_ttl: 30,
            prefetch: true,
            max_rrset_records: 100,
            nxdomain_cut: false,
            snapshot_every: Duration::from_secs(300),
        }
    }
}

/// `[[forward]]`: names at or below `zone` are asked of these servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The rule's name.
    pub zone: Name,
    /// Whom to ask; at least one.
    pub servers: Vec<ServerAddress>,
    /// In which order.
    pub strategy: Strategy,
    /// For whom.
    pub scope: Scope,
}

/// `[[expect]]`: a question whose answer `pvtzd check` compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The name asked for.
    pub query: Name,
    /// The type asked for.
    pub rtype: RecordType,
    /// The client.
    pub client: IpAddr,
    /// What is to come back.
    pub answer: Expected,
    /// The line of `answer` in the file, for the report.
    pub line: usize,
}

/// What an `[[expect]]` row wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// These values are in the answer, in any order; CNAMEs of the chain count where they are written.
    Values(Vec<RData>),
    /// `"NXDOMAIN"`
    NxDomain,
    /// `"NODATA"`
    NoData,
    /// `"FORWARD"`: the question is passed on, by a rule or to the default group.
    Forward,
}

/// What the metadata service tells; either may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceInfo {
    /// The region id of this instance.
    pub region: Option<String>,
    /// The id of its VPC.
    pub vpc_id: Option<String>,
}
