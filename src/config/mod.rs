//! The configuration file: parses TOML text into a validated configuration, or reports all errors at once.
//!
//! [`Config`] has the validated values and all defaults. `decide` parses a text as a whole, or in `pieces` if it is
//! long, whose `plain` sections take no parser. `reader` is the file with its errors, `section` reads a table key by key, `value` a single value. `again`
//! rereads a file with changed zones, `file` reads the sections, `zone_draft` and `zones` the private zones, `api` the
//! section of the API, `admin` those of operations; `validate` (errors) and `lints` (warnings) check the parts against
//! each other, `endpoints` is the built-in catalogue of API names and `catalog` builds the engine's catalog. A new key
//! goes into the struct here, into `file`, and with a comment into `config/pvtzd.toml`. Reads only the given files and
//! sends no queries.

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
mod plain;
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
mod zone_pieces;
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
use std::sync::Arc;
use std::time::Duration;

/// The default path of the configuration.
pub const SYSTEM: &str = "/etc/pvtzd/pvtzd.toml";

/// Maximum octets of the file.
const LARGEST: u64 = 256 << 20;

/// The byte order mark of some editors.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The path, if the directory has an entry of that name. Any other obstacle is an error: the built-in configuration
/// must not replace an inaccessible one.
///
/// # Errors The existence of a configuration cannot be determined.
pub fn find(path: &Path) -> Result<Option<PathBuf>, ConfigError> {
    match crate::base::file::has_entry(path) {
        Ok(found) => Ok(found.then(|| path.into())),
        Err(source) => Err(ConfigError::Io { path: path.into(), source }),
    }
}

/// Reads and validates the configuration in a file; the second part is warnings.
///
/// # Errors
/// The file cannot be read, or it has faults.
pub fn load(path: &Path) -> Result<(Config, Vec<Fault>), ConfigError> {
    load_again(path, &Config::default())
}

/// As [`load`], with a former configuration of the file: reuses its unchanged parts.
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

/// Validates the configuration in a text; `file` is its name in messages. The second part is warnings.
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

/// The validated configuration.
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
    /// `[control]`; None without the section.
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
    /// `[[zone]]`, with the VPCs of each. Copies of a configuration share them: there may be many.
    pub zones: Vec<(Arc<ZoneSpec>, Scope)>,
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
    /// The file and its state when it was read.
    pub file: Option<WatchedFile>,
    /// The content of the file, for a reload.
    pub seen: again::Seen,
}

/// `[server]`: listeners, clients and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Addresses of UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Addresses of DNS over TLS; requires a certificate and a key.
    pub listen_tls: Vec<SocketAddr>,
    /// Addresses of DNS over HTTPS.
    pub listen_https: Vec<SocketAddr>,
    /// Addresses of DNS over QUIC.
    pub listen_quic: Vec<SocketAddr>,
    /// Addresses of DNS over HTTP/3.
    pub listen_http3: Vec<SocketAddr>,
    /// The certificate of encrypted listeners, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Allowed clients; others are refused.
    pub allow: Vec<IpNet>,
    /// Where state is saved on disk; without it nothing is written.
    pub state_dir: Option<PathBuf>,
    /// Special-use names that are answered locally.
    pub local_names: LocalNames,
    /// Limit of queries in flight, in total.
    pub max_in_flight: usize,
    /// Limit of TCP connections, in total.
    pub max_tcp_connections: usize,
    /// Limit of TCP connections of one client.
    pub max_tcp_per_client: usize,
    /// Limit of queries in progress on one TCP connection.
    pub tcp_pipeline: usize,
    /// Idle timeout of a TCP connection.
    pub tcp_idle: Duration,
    /// Largest UDP answer, and the payload size announced by EDNS.
    pub udp_payload: u16,
    /// Whether the configuration is reloaded when its file changes.
    pub watch_config: bool,
    /// Whether `version.bind` and `version.server` are answered (class CHAOS).
    pub version_bind: bool,
    /// Whether clients that send a DNS cookie get one (RFC 7873).
    pub cookies: bool,
    /// UDP answers per second for one network without a valid cookie, except this machine; 0 for no limit.
    pub max_rate_per_network: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            // Not port 53, so that a run needs no privileges and conflicts with no other server.
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
            // Higher than the rate of any well-behaved machine, and too low to be useful for an attack.
            max_rate_per_network: 5000,
        }
    }
}

/// `[endpoints]`: the built-in catalogue of Alibaba Cloud API names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The regions whose names are mapped.
    pub regions: Regions,
    /// The mapped products, by their names in the catalogue; none disables it.
    pub products: Vec<String>,
    /// The target of the names.
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
    /// The region of this instance; all regions while it is unknown.
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

/// `[upstream]`: the default group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Its servers.
    pub servers: Servers,
    /// The strategy, also the default of `[[forward]]` rules.
    pub strategy: Strategy,
    /// Queries in flight to one server, of any group.
    pub max_in_flight: usize,
    /// The CA certificates for encrypted servers; None for those of the system.
    pub tls_ca: Option<PathBuf>,
    /// Servers that resolve the names of encrypted servers.
    pub bootstrap: Vec<ServerAddress>,
    /// The rebind protection.
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

/// The source of the servers of the default group.
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
    /// Minimum TTL in seconds.
    pub min_ttl: u32,
    /// Maximum TTL in seconds.
    pub max_ttl: u32,
    /// Maximum TTL of a negative answer in seconds.
    pub negative_max_ttl: u32,
    /// How long an expired answer may be served; None disables stale answers (RFC 8767).
    pub serve_stale: Option<Duration>,
    /// How long a client waits for the upstreams before it gets an expired answer.
    pub stale_answer_after: Duration,
    /// How long a name with an expired answer is not refreshed after a failure.
    pub stale_retry: Duration,
    /// TTL of an expired answer in seconds.
    pub stale_ttl: u32,
    /// Whether requested names are refreshed before they expire.
    pub prefetch: bool,
    /// Maximum number of records in an upstream's RRset.
    pub max_rrset_records: u16,
    /// NXDOMAIN denies the names below as well (RFC 8020).
    pub nxdomain_cut: bool,
    /// Interval at which the cache is written to the state directory.
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

/// `[[forward]]`: queries for names at or below `zone` go to these servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The rule's name.
    pub zone: Name,
    /// The servers; at least one.
    pub servers: Vec<ServerAddress>,
    /// The strategy.
    pub strategy: Strategy,
    /// For whom.
    pub scope: Scope,
}

/// `[[expect]]`: a question whose answer `pvtzd check` verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The name asked for.
    pub query: Name,
    /// The type asked for.
    pub rtype: RecordType,
    /// The client.
    pub client: IpAddr,
    /// The expected answer.
    pub answer: Expected,
    /// The line of `answer` in the file, for the report.
    pub line: usize,
}

/// The expected answer of an `[[expect]]` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// These values are in the answer, in any order; CNAMEs of the chain count where they are written.
    Values(Vec<RData>),
    /// `"NXDOMAIN"`
    NxDomain,
    /// `"NODATA"`
    NoData,
    /// `"FORWARD"`: the question is forwarded, by a rule or to the default group.
    Forward,
}

/// The answer of the metadata service; either may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceInfo {
    /// The region id of this instance.
    pub region: Option<String>,
    /// The id of its VPC.
    pub vpc_id: Option<String>,
}
