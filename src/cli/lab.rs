//! `pvtzd lab`: runs PrivateZone, its API and stubs of other APIs on this machine, and performs the recipe.

mod background;
mod instance;
mod start;

use super::{CommonArgs, exit, shown};
use crate::admin::log;
use crate::api::console_access::ConsoleRole;
use crate::base::print::Output;
use crate::base::terminal::{self, Style};
use crate::console;
use crate::engine::catalog::Vpc;
use crate::lab::running::{Lab, LabAddresses, LabError, OTHER_CLIENT};
use crate::lab::walkthrough::{self, WalkStep};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::json;
use start::StartArgs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Options of `lab`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct LabArgs {
    #[command(subcommand)]
    command: Option<LabCommand>,
    /// Perform the documented recipe in a separate lab; exit code 1 if a step fails
    #[arg(long)]
    walkthrough: bool,
    #[command(flatten)]
    start: StartArgs,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Run a command as on an ECS instance without a public network; its exit status is the command's
    Exec(instance::ExecArgs),
    /// Run a shell as on an ECS instance without a public network
    Shell(instance::ShellArgs),
    /// Start a lab in the background, wait until it is ready, and print one line of JSON: addresses, key, CA, VPCs
    Up(Box<StartArgs>),
    /// Stop the lab that `up` started, and remove its files
    Down(DownArgs),
    /// The half of `exec` that runs in the namespaces
    #[command(hide = true)]
    Inside(instance::InsideArgs),
}

/// Options of `lab down`.
#[derive(Args, Debug)]
struct DownArgs {
    /// The directory of `lab up`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &LabArgs) -> u8 {
    match &args.command {
        None => alone(common, args),
        Some(LabCommand::Exec(args)) => instance::exec(common, args),
        Some(LabCommand::Shell(args)) => instance::shell(common, args),
        Some(LabCommand::Up(args)) => background::up(common, args),
        Some(LabCommand::Down(args)) => background::down(args.state_dir.as_deref()),
        Some(LabCommand::Inside(args)) => instance::inside(common, args),
    }
}

/// The lab as a server.
fn alone(common: &CommonArgs, args: &LabArgs) -> u8 {
    if log::set_up(&args.start.log).is_err() {
        eprintln!("error: logging was initialised twice");
        return exit::SYSTEM;
    }
    let prepared = runtime().and_then(|runtime| Ok((runtime, args.start.plan(common, args.walkthrough)?)));
    let (runtime, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let inside = plan.inside;
    let code = runtime.block_on(async {
        match Lab::start(plan).await {
            Ok(lab) if args.walkthrough => walk(common, &lab).await,
            Ok(lab) => serve(common, &lab, inside).await,
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

/// Performs the recipe.
async fn walk(common: &CommonArgs, lab: &Lab) -> u8 {
    let mut steps = Vec::new();
    let is_styled = terminal::is_styled(&io::stdout());
    let ok = walkthrough::perform(lab, |step| {
        steps.push(step.clone());
        if !common.json {
            println!("{}", paint(steps.len(), step, is_styled));
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
        println!("service that name needs a separate zone. `pvtzd lab exec` and `pvtzd` have both.");
    } else {
        println!("Step {} failed.", steps.len());
    }
    if ok { exit::OK } else { exit::FINDINGS }
}

/// A step as text.
fn paint(number: usize, step: &WalkStep, is_styled: bool) -> String {
    let paint = |style: Style, text: &str| style.paint(is_styled, text);
    let mut text = format!(
        "{}\n  {}\n",
        paint(Style::Bold, &format!("{number}. {}", step.title)),
        paint(Style::Cyan, &step.request)
    );
    for line in &step.effect {
        text += &format!("    {line}\n");
    }
    let (mark, style) = if step.ok { ("ok", Style::Green) } else { ("FAILED", Style::Red) };
    text + &format!("  {}: {}\n", paint(style, mark), step.result)
}

/// Says where everything is, and stays until it is told to stop.
async fn serve(common: &CommonArgs, lab: &Lab, inside: Ipv4Addr) -> u8 {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: cannot receive signals");
        return exit::SYSTEM;
    };
    let places = shown_places(lab, inside);
    if common.json {
        println!("{}", ready(lab, &places));
    } else {
        greet(lab, &places);
    }
    if common.json && Output::now() != Output::Open {
        return exit::SYSTEM; // the program that wanted a lab has ended
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    exit::OK
}

/// Where clients ask: at no unspecified address, but at the one that names inside the VPC lead to.
fn shown_places(lab: &Lab, inside: Ipv4Addr) -> LabAddresses {
    let shown = |place: SocketAddr| match place.ip().is_unspecified() {
        true => SocketAddr::from((inside, place.port())),
        false => place,
    };
    let LabAddresses { dns, api, http, https, world } = lab.places;
    LabAddresses { dns: shown(dns), api: shown(api), http: shown(http), https: shown(https), world }
}

/// The JSON line for programs.
fn ready(lab: &Lab, places: &LabAddresses) -> String {
    let LabAddresses { dns, api, http, https, .. } = places;
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
        "console": console_address(lab, places),
    })
    .to_string()
}

/// Where the console is: beside the API, or where that is not served to others without encryption, at the stub's HTTPS.
fn console_address(lab: &Lab, places: &LabAddresses) -> String {
    let LabAddresses { api, https, .. } = places;
    let place = if lab.console_is_plain { format!("http://{api}") } else { format!("https://{https}") };
    place + console::PATH
}

/// The VPCs, and whose clients are in them.
fn vpcs(lab: &Lab) -> Vec<serde_json::Value> {
    let shown = |vpc: &Vpc| {
        let clients: Vec<String> = vpc.clients.iter().map(IpNet::to_string).collect();
        json!({ "id": vpc.id, "region": vpc.region, "clients": clients })
    };
    lab.vpcs().iter().map(shown).collect()
}

/// The text for a terminal.
fn greet(lab: &Lab, places: &LabAddresses) {
    let LabAddresses { dns, api, http, https, .. } = places;
    let (ca, key) = (lab.authority.path.display(), &lab.key);
    println!("pvtzd {} lab, until Ctrl-C. Nothing leaves this machine.\n", env!("CARGO_PKG_VERSION"));
    println!("  DNS              {dns} (UDP and TCP)");
    println!("  PrivateZone API  http://{api}");
    println!("  stub ECS API     http://{http}  https://{https}");
    if let Ok(code) = lab.console.code(ConsoleRole::Full, Instant::now()) {
        println!("  console          {}#code={code}", console_address(lab, places));
        if lab.console_is_plain && lab.places.api.ip().is_unspecified() {
            let published = SocketAddr::from((Ipv4Addr::LOCALHOST, api.port()));
            println!("  or, published    http://{published}{}#code={code}", console::PATH);
        }
        println!("                   (counts once, for five minutes; then: pvtzd console --endpoint {api})");
    }
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
