//! What a lab is to be: its options, and the plan that they make.

use super::super::{CommonArgs, exit, tell_config_error};
use crate::base::terminal;
use crate::config::{self, Config};
use crate::lab::access_key;
use crate::lab::ca::LabCa;
use crate::lab::running::{self, LabAddresses, LabPlan};
use crate::lab::state::StateDir;
use crate::lab::walkthrough;
use clap::Args;
use ipnet::IpNet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::SystemTime;

/// Options of a lab, in front or in the background.
#[derive(Args, Debug)]
pub(super) struct StartArgs {
    #[command(flatten)]
    places: PlaceArgs,
    /// Allow these other clients, an address or a network such as 172.18.0.0/16; may be repeated
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = network, env = "PVTZD_LAB_CLIENTS")]
    clients: Vec<IpNet>,
    /// The IPv4 address at which these clients see this machine: what API names in a VPC lead to [default: the one
    /// that packets to them leave by]
    #[arg(long, value_name = "ADDRESS", value_parser = advertised, env = "PVTZD_LAB_ADVERTISE")]
    advertise: Option<Ipv4Addr>,
    /// Serve the console without encryption at the API's address where other machines reach it, too; for a container
    /// whose port is published on loopback
    #[arg(long, env = "PVTZD_LAB_CONSOLE_BEYOND_LOOPBACK", value_parser = clap::builder::FalseyValueParser::new())]
    console_beyond_loopback: bool,
    /// Id of the VPC of clients on this machine and of those of --clients
    #[arg(long, value_name = "ID", default_value = "vpc-lab")]
    vpc: String,
    /// Region of the VPC
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    region: String,
    #[command(flatten)]
    key: KeyArgs,
    /// Keep CA, access key and the zones of the API here [default: CA and key in ~/.local/state/pvtzd/lab; with `up`
    /// nothing is kept]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Log level: error, warn, info, debug, trace; RUST_LOG overrides it
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(super) log: String,
}

/// Where the lab listens.
#[derive(Args, Debug)]
struct PlaceArgs {
    /// DNS, UDP and TCP [default: 127.0.0.1:5335, with --clients 0.0.0.0:5335]; port 0 here and below is any that is
    /// free
    #[arg(long, value_name = "ADDRESS:PORT", env = "PVTZD_LAB_DNS")]
    dns: Option<SocketAddr>,
    /// PrivateZone's API [default: port 5380 there]
    #[arg(long, value_name = "ADDRESS:PORT", env = "PVTZD_LAB_API")]
    api: Option<SocketAddr>,
    /// The other products' APIs, HTTP [default: port 5381 there]
    #[arg(long, value_name = "ADDRESS:PORT", env = "PVTZD_LAB_HTTP")]
    http: Option<SocketAddr>,
    /// The same, HTTPS [default: port 5382 there]
    #[arg(long, value_name = "ADDRESS:PORT", env = "PVTZD_LAB_HTTPS")]
    https: Option<SocketAddr>,
}

/// The variable that the secret may be in.
pub(super) const SECRET: &str = "PVTZD_LAB_SECRET";

/// The access key of the lab.
#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    /// Id of the access key [default: generated at the first start]
    #[arg(long, value_name = "ID", env = "PVTZD_LAB_KEY_ID")]
    pub(super) access_key_id: Option<String>,
    /// Secret of the access key [default: generated at the first start]
    #[arg(long, value_name = "SECRET", env = SECRET, hide_env_values = true)]
    pub(super) access_key_secret: Option<String>,
}

impl StartArgs {
    /// What the lab is made of.
    pub(super) fn plan(&self, common: &CommonArgs, walkthrough: bool) -> Result<LabPlan, u8> {
        let mut config = match &common.config {
            Some(_) if walkthrough => {
                eprintln!("error: --walkthrough uses its own configuration: omit --config");
                return Err(exit::USAGE);
            }
            Some(path) => configured(path)?,
            // Nothing is private until a zone is made through the API.
            None => Config {
                endpoints: config::Endpoints { products: Vec::new(), ..Default::default() },
                ..Default::default()
            },
        };
        let (mut vpc, mut region, mut places) =
            (self.vpc.as_str(), self.region.as_str(), self.places.chosen(&self.clients));
        if walkthrough {
            // The document's own example, on ports that are free.
            (vpc, region, places) = (walkthrough::VPC, walkthrough::REGION, any());
        }
        if config.vpcs.is_empty() {
            config.vpcs = running::vpcs(vpc, region, &self.clients);
        }
        if self.advertise.is_some() && self.clients.is_empty() {
            eprintln!("error: --advertise is for clients elsewhere");
            eprintln!("hint: name their networks by --clients, such as 172.18.0.0/16");
            return Err(exit::USAGE);
        }
        config.server.allow.extend(&self.clients);
        let clients = running::clients(&config);
        let inside = self.advertise.unwrap_or_else(|| inside(places.http.ip(), &self.clients));
        let failed = |error: &dyn std::fmt::Display| {
            eprintln!("error: {error}");
            exit::SYSTEM
        };
        let state = StateDir::open(self.state_dir.as_deref()).map_err(|error| failed(&error))?;
        let authority = LabCa::open(&state, SystemTime::now()).map_err(|error| failed(&error))?;
        let (id, secret) = (self.key.access_key_id.as_deref(), self.key.access_key_secret.as_deref());
        let key = access_key::open(&state, id, secret).map_err(|error| failed(&error))?;
        let store = self.state_dir.as_ref().filter(|_| !walkthrough).map(|_| state.path().to_path_buf());
        Ok(LabPlan {
            config,
            places,
            inside,
            clients,
            authority,
            key,
            store,
            public: None,
            instance: None,
            watcher: None,
            console_beyond_loopback: self.console_beyond_loopback,
        })
    }

    /// The words of a command line that mean the same, but for the secret: everybody may read those of a process.
    pub(super) fn words(&self) -> Vec<OsString> {
        let PlaceArgs { dns, api, http, https } = &self.places;
        let text = |shown: &dyn ToString| Some(OsString::from(shown.to_string()));
        let address = |place: &Option<SocketAddr>| place.as_ref().and_then(|place| text(place));
        let options = [
            ("--dns", address(dns)),
            ("--api", address(api)),
            ("--http", address(http)),
            ("--https", address(https)),
            ("--advertise", self.advertise.as_ref().and_then(|address| text(address))),
            ("--vpc", text(&self.vpc)),
            ("--region", text(&self.region)),
            ("--access-key-id", self.key.access_key_id.as_ref().map(OsString::from)),
            ("--state-dir", self.state_dir.as_ref().map(OsString::from)),
            ("--log", text(&self.log)),
        ];
        let clients = self.clients.iter().map(|net| ("--clients", text(net)));
        let said = options.into_iter().chain(clients).filter_map(|(name, value)| Some((name, value?)));
        let flag = self.console_beyond_loopback.then(|| OsString::from("--console-beyond-loopback"));
        said.flat_map(|(name, value)| [OsString::from(name), value]).chain(flag).collect()
    }

    /// The secret that was named, and the variable that it goes in.
    pub(super) fn secret(&self) -> Option<(&'static str, &str)> {
        self.key.access_key_secret.as_deref().map(|secret| (SECRET, secret))
    }
}

/// The address that names inside the VPC lead to: that of `--http`. An unspecified address is none that a client
/// reaches: then the one of this machine that the clients see, or the loopback address where all are on this machine.
fn inside(http: IpAddr, clients: &[IpNet]) -> Ipv4Addr {
    match http {
        IpAddr::V4(address) if !address.is_unspecified() => address,
        _ => clients.iter().find_map(own_address_towards).unwrap_or(Ipv4Addr::LOCALHOST),
    }
}

/// This machine's address on the way to a network; nothing is sent.
fn own_address_towards(network: &IpNet) -> Option<Ipv4Addr> {
    let first = network.hosts().find(IpAddr::is_ipv4)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((first, 53)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) if !own.is_unspecified() => Some(own),
        _ => None,
    }
}

/// An address or a network.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "not an address, and not a network such as 172.18.0.0/16".into())
}

/// The configuration that was named.
pub(super) fn configured(path: &std::path::Path) -> Result<Config, u8> {
    match config::load(path) {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprintln!("{}", warning.render(terminal::is_styled(&std::io::stderr())));
            }
            Ok(config)
        }
        Err(error) => {
            tell_config_error(&error);
            Err(exit::CONFIG)
        }
    }
}

/// An address that clients can ask.
fn advertised(text: &str) -> Result<Ipv4Addr, String> {
    let address: Option<Ipv4Addr> = text.parse().ok();
    let is_good =
        |address: &Ipv4Addr| !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    address.filter(is_good).ok_or_else(|| "not an IPv4 address of this machine, such as 172.18.0.1".into())
}

impl PlaceArgs {
    /// Those that were named; the others on loopback, or everywhere where there are clients elsewhere.
    fn chosen(&self, clients: &[IpNet]) -> LabAddresses {
        let host: IpAddr = match clients {
            [] => Ipv4Addr::LOCALHOST.into(),
            _ if clients.iter().all(|net| net.addr().is_ipv6()) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let place = |named: Option<SocketAddr>, port| named.unwrap_or(SocketAddr::from((host, port)));
        LabAddresses {
            dns: place(self.dns, 5335),
            api: place(self.api, 5380),
            http: place(self.http, 5381),
            https: place(self.https, 5382),
            world: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

/// Ports that are free, on loopback.
fn any() -> LabAddresses {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    LabAddresses { dns: any, api: any, http: any, https: any, world: any }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct OnlyStart {
        #[command(flatten)]
        start: StartArgs,
    }

    #[test]
    fn the_words_of_a_lab_mean_the_same_again() {
        let words = "x --dns 127.0.0.1:1 --api 127.0.0.1:2 --http 127.0.0.1:3 --https 127.0.0.1:4 --clients \
                     10.0.0.0/8,fd00::/8 --clients 192.0.2.1 --advertise 10.0.0.1 --vpc up --region cn-beijing \
                     --access-key-id id --state-dir lab --log debug --console-beyond-loopback";
        let first = OnlyStart::try_parse_from(words.split_whitespace()).unwrap();
        let again = OnlyStart::try_parse_from([OsString::from("x")].into_iter().chain(first.start.words()));
        assert_eq!(format!("{:?}", again.unwrap()), format!("{first:?}"));
        assert!(!format!("{first:?}").contains("None, api"), "each option is set");
    }

    #[test]
    fn clients_elsewhere_are_listened_to_at_all_addresses() {
        let chosen = |words: &str| {
            let args = OnlyStart::try_parse_from(words.split_whitespace()).unwrap().start;
            let places = args.places.chosen(&args.clients);
            [places.dns, places.https].map(|place| place.to_string())
        };
        assert_eq!(chosen("x"), ["127.0.0.1:5335", "127.0.0.1:5382"]);
        assert_eq!(chosen("x --clients 10.0.0.0/8 --https 10.0.0.1:443"), ["0.0.0.0:5335", "10.0.0.1:443"]);
        assert_eq!(chosen("x --clients fd00::/8"), ["[::]:5335", "[::]:5382"]);
        for bad in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::1", "host"] {
            assert!(OnlyStart::try_parse_from(["x", "--advertise", bad]).is_err(), "{bad}");
        }
    }
}
