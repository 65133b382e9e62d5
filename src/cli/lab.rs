//! `pvtzd lab`: PrivateZone, its API and an API behind it on this machine alone; and the recipe walked through.

mod instance;

use super::{CommonArgs, exit, is_colour_wanted, shown, tell_config_error};
use crate::admin::log;
use crate::config::{self, Config};
use crate::engine::catalog::Vpc;
use crate::lab::access_key;
use crate::lab::ca::LabCa;
use crate::lab::running;
use crate::lab::running::{Lab, LabAddresses, LabError, LabPlan, OTHER_CLIENT};
use crate::lab::state::StateDir;
use crate::lab::walkthrough::{self, WalkStep};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::json;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::SystemTime;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Options of `lab`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct LabArgs {
    #[command(subcommand)]
    command: Option<LabCommand>,
    /// Walk through the documented recipe in a lab of its own, then end; exit code 1 if a step fails
    #[arg(long)]
    walkthrough: bool,
    #[command(flatten)]
    places: PlaceArgs,
    /// Clients elsewhere that may ask too, as an address or a network such as 172.18.0.0/16; may be repeated
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    clients: Vec<IpNet>,
    /// The id of the VPC of clients on this machine and of those of --clients
    #[arg(long, value_name = "ID", default_value = "vpc-lab")]
    vpc: String,
    /// Its region
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    region: String,
    #[command(flatten)]
    key: KeyArgs,
    /// Keep CA, access key and the zones of the API here [default: CA and key in ~/.local/state/pvtzd/lab]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace; RUST_LOG goes before it
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

/// Where the lab listens.
#[derive(Args, Debug)]
struct PlaceArgs {
    /// DNS, UDP and TCP; port 0 here and below is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5335")]
    dns: SocketAddr,
    /// PrivateZone's API
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5380")]
    api: SocketAddr,
    /// The stub of the ECS API, HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5381")]
    http: SocketAddr,
    /// The stub of the ECS API, HTTPS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5382")]
    https: SocketAddr,
}

/// The variable that the secret may be in.
const SECRET: &str = "PVTZD_LAB_SECRET";

/// The access key of the lab.
#[derive(Args, Debug)]
struct KeyArgs {
    /// The id of the access key [default: one made at the first start]
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// Its secret [default: one made at the first start]
    #[arg(long, value_name = "SECRET", env = SECRET, hide_env_values = true)]
    access_key_secret: Option<String>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Run a command as on an ECS instance without a public network; its exit status is the command's
    Exec(instance::ExecArgs),
    /// The same with a shell
    Shell(instance::ShellArgs),
    /// The half of `exec` that runs in the namespaces
    #[command(hide = true)]
    Inside(instance::InsideArgs),
}

/// Carries the command out.
pub(super) fn run(common: &CommonArgs, args: &LabArgs) -> u8 {
    match &args.command {
        None => alone(common, args),
        Some(LabCommand::Exec(args)) => instance::exec(common, args),
        Some(LabCommand::Shell(args)) => instance::shell(common, args),
        Some(LabCommand::Inside(args)) => instance::inside(common, args),
    }
}

/// The lab by itself.
fn alone(common: &CommonArgs, args: &LabArgs) -> u8 {
    if log::set_up(&args.log).is_err() {
        eprintln!("error: logs were set up twice");
        return exit::SYSTEM;
    }
    let prepared = runtime().and_then(|runtime| Ok((runtime, plan(common, args)?)));
    let (runtime, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let code = runtime.block_on(async {
        match Lab::start(plan).await {
            Ok(lab) if args.walkthrough => walk(common, &lab).await,
            Ok(lab) => serve(common, &lab).await,
            Err(error) => {
                eprintln!("error: {error}");
                match error {
                    LabError::Dns(_) | LabError::Place(..) => exit::BIND,
                    LabError::Store(_) | LabError::System(_) => exit::SYSTEM,
                }
            }
        }
    });
    runtime.shutdown_background(); // threads that wait for datagrams end with the process
    code
}

/// What runs tasks.
fn runtime() -> Result<Runtime, u8> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("async").build().map_err(|error| {
        eprintln!("error: cannot start threads: {error}");
        exit::SYSTEM
    })
}

/// What the lab is made of.
fn plan(common: &CommonArgs, args: &LabArgs) -> Result<LabPlan, u8> {
    let mut config = match &common.config {
        Some(_) if args.walkthrough => {
            eprintln!("error: --walkthrough starts from nothing: leave --config out");
            return Err(exit::USAGE);
        }
        Some(path) => configured(path)?,
        // Nothing is private until a zone is made through the API.
        None => Config {
            endpoints: config::Endpoints { products: Vec::new(), ..Default::default() },
            ..Default::default()
        },
    };
    let (mut vpc, mut region, mut places) = (args.vpc.as_str(), args.region.as_str(), args.places.chosen());
    if args.walkthrough {
        // The document's own example, on ports that are free.
        (vpc, region, places) = (walkthrough::VPC, walkthrough::REGION, PlaceArgs::any());
    }
    if config.vpcs.is_empty() {
        config.vpcs = running::vpcs(vpc, region, &args.clients);
    }
    config.server.allow.extend(&args.clients);
    let inside = inside(places.http.ip(), &args.clients);
    let failed = |error: &dyn std::fmt::Display| {
        eprintln!("error: {error}");
        exit::SYSTEM
    };
    let state = StateDir::open(args.state_dir.as_deref()).map_err(|error| failed(&error))?;
    let authority = LabCa::open(&state, SystemTime::now()).map_err(|error| failed(&error))?;
    let (id, secret) = (args.key.access_key_id.as_deref(), args.key.access_key_secret.as_deref());
    let key = access_key::open(&state, id, secret).map_err(|error| failed(&error))?;
    let store = args.state_dir.as_ref().filter(|_| !args.walkthrough).map(|_| state.path().to_path_buf());
    Ok(LabPlan { config, places, inside, authority, key, store, public: None, instance: None, watcher: None })
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
fn configured(path: &std::path::Path) -> Result<Config, u8> {
    match config::load(path) {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprintln!("{}", warning.render(is_colour_wanted()));
            }
            Ok(config)
        }
        Err(error) => {
            tell_config_error(&error);
            Err(exit::CONFIG)
        }
    }
}

impl PlaceArgs {
    fn chosen(&self) -> LabAddresses {
        let world = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        LabAddresses { dns: self.dns, api: self.api, http: self.http, https: self.https, world }
    }

    fn any() -> LabAddresses {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        LabAddresses { dns: any, api: any, http: any, https: any, world: any }
    }
}

/// Walks through the recipe.
async fn walk(common: &CommonArgs, lab: &Lab) -> u8 {
    let mut steps = Vec::new();
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let ok = walkthrough::perform(lab, |step| {
        steps.push(step.clone());
        if !common.json {
            println!("{}", paint(steps.len(), step, colour));
        }
    })
    .await;
    if common.json {
        shown::json(&json!({ "ok": ok, "steps": steps }));
    } else if ok {
        println!("All {} steps went as documented.\n", steps.len());
        println!(
            "Current SDKs and the `aliyun` command ask ecs-cn-hangzhou.aliyuncs.com in this region: on the real"
        );
        println!(
            "service that name needs a zone of its own. `pvtzd lab exec` and a plain `pvtzd` have both."
        );
    } else {
        println!("Step {} failed.", steps.len());
    }
    if ok { exit::OK } else { exit::FINDINGS }
}

/// A step for people.
fn paint(number: usize, step: &WalkStep, colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_string(),
    };
    let mut text =
        format!("{}\n  {}\n", paint("1", &format!("{number}. {}", step.title)), paint("36", &step.request));
    for line in &step.effect {
        text += &format!("    {line}\n");
    }
    let (mark, code) = if step.ok { ("ok", "32") } else { ("FAILED", "31") };
    text + &format!("  {}: {}\n", paint(code, mark), step.result)
}

/// Says where everything is, and stays until it is told to stop.
async fn serve(common: &CommonArgs, lab: &Lab) -> u8 {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: signals cannot be heard");
        return exit::SYSTEM;
    };
    if common.json {
        println!("{}", ready(lab));
    } else {
        greet(lab);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    exit::OK
}

/// All that a program needs, on one line.
fn ready(lab: &Lab) -> String {
    let LabAddresses { dns, api, http, https, .. } = &lab.places;
    json!({
        "dns": dns,
        "api": format!("http://{api}"),
        "http": format!("http://{http}"),
        "https": format!("https://{https}"),
        "access_key_id": lab.key.id,
        "access_key_secret": lab.key.secret(),
        "ca": lab.authority.path,
        "vpcs": vpcs(lab),
        "java_truststore": lab.authority.java_store,
    })
    .to_string()
}

/// The VPCs, and whose clients are in them.
fn vpcs(lab: &Lab) -> Vec<serde_json::Value> {
    let shown = |vpc: &Vpc| {
        let clients: Vec<String> = vpc.clients.iter().map(IpNet::to_string).collect();
        json!({ "id": vpc.id, "region": vpc.region, "clients": clients })
    };
    lab.vpcs().iter().map(shown).collect()
}

/// All that a person needs.
fn greet(lab: &Lab) {
    let LabAddresses { dns, api, http, https, .. } = &lab.places;
    let (ca, key) = (lab.authority.path.display(), &lab.key);
    println!("pvtzd {} lab, until Ctrl-C. Nothing here leaves this machine.\n", env!("CARGO_PKG_VERSION"));
    println!("  DNS              {dns} (UDP and TCP)");
    println!("  PrivateZone API  http://{api}");
    println!("  stub ECS API     http://{http}  https://{https}");
    for vpc in lab.vpcs() {
        let clients: Vec<String> = vpc.clients.iter().map(IpNet::to_string).collect();
        println!("  VPC {:<12} clients on {}", vpc.id, clients.join(", "));
    }
    println!();
    println!("  dig @{} -p {} ecs.cn-hangzhou.aliyuncs.com", dns.ip(), dns.port());
    println!(
        "  dig @{} -p {} -b {OTHER_CLIENT} ecs.cn-hangzhou.aliyuncs.com   # as another VPC\n",
        dns.ip(),
        dns.port()
    );
    println!("For clients:");
    println!("  export ALIBABA_CLOUD_ACCESS_KEY_ID={}", key.id);
    println!("  export ALIBABA_CLOUD_ACCESS_KEY_SECRET={}", key.secret());
    println!("  export REQUESTS_CA_BUNDLE={ca} SSL_CERT_FILE={ca}   # Python, Go");
    println!("  export NODE_EXTRA_CA_CERTS={ca}   # Node");
    let store = lab.authority.java_store.display();
    println!("  export JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore={store}   # Java");
    println!("  export CURL_CA_BUNDLE={ca}   # curl\n");
    println!(
        "`pvtzd lab --walkthrough` shows the recipe; `pvtzd lab exec -- COMMAND` runs a command inside it."
    );
}
