//! `pvtzd lab exec`, `lab shell`: a command on an ECS instance that exists for it alone.

use super::super::{Common, exit};
use super::{KeyArgs, configured, runtime};
use crate::admin::log;
use crate::config::{self, Config, Endpoints, Regions, Target, endpoints};
use crate::lab::access_key;
use crate::lab::ca::Authority;
use crate::lab::instance::{self, Caller, InstanceError, Namespaces, Plan, RunAs};
use crate::lab::state::StateDir;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::SystemTime;

/// The products whose names lead to the stub: those that it has, and PrivateZone's own API.
const PRODUCTS: [&str; 3] = ["ecs", "sts", "pvtz"];

/// What the instance is.
#[derive(Args, Debug)]
struct InstanceArgs {
    /// Its region
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    region: String,
    /// The id of its VPC
    #[arg(long, value_name = "ID", default_value = "vpc-lab")]
    vpc: String,
    /// Without the recipe's zones: API names lead out of the VPC, where nobody answers
    #[arg(long)]
    without_privatezone: bool,
    /// The metadata service tells nothing without a token
    #[arg(long)]
    hardened: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// Keep CA and access key here [default: ~/.local/state/pvtzd/lab]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace; RUST_LOG goes before it
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

/// Options of `lab exec`.
#[derive(Args, Debug)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Options of `lab shell`.
#[derive(Args, Debug)]
pub(super) struct ShellArgs {
    #[command(flatten)]
    instance: InstanceArgs,
}

/// Options of the half in the namespaces.
#[derive(Args, Debug)]
pub(super) struct InsideArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Who runs the command
    #[arg(long, num_args = 2, value_names = ["UID", "GID"])]
    run_as: Vec<u32>,
    /// The namespaces of the caller
    #[arg(long, num_args = 2, required = true, value_names = ["NET", "MNT"])]
    outside: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// `lab exec`
pub(super) fn exec(common: &Common, args: &ExecArgs) -> u8 {
    begin(common, &args.instance, &args.command)
}

/// `lab shell`
pub(super) fn shell(common: &Common, args: &ShellArgs) -> u8 {
    let shell =
        std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    if io::stdin().is_terminal() {
        let InstanceArgs { region, vpc, .. } = &args.instance;
        eprintln!("An instance in {vpc}, {region}, without a public network; `exit` leaves it. Try:");
        eprintln!("  ping -c1 ecs.{region}.aliyuncs.com");
        eprintln!("  curl http://100.100.100.200/latest/meta-data/region-id");
    }
    begin(common, &args.instance, &[shell])
}

/// The caller's half.
fn begin(common: &Common, args: &InstanceArgs, command: &[OsString]) -> u8 {
    if !endpoints::regions().contains(&args.region) {
        eprintln!("error: no region `{}` in the catalogue", args.region);
        eprintln!("hint: there are {}", endpoints::regions().join(", "));
        return exit::USAGE;
    }
    // Faults of the configuration and of the state directory are told here, where they are the caller's.
    let state = match config(common, args).and_then(|_| open(args)) {
        Ok((state, ..)) => state,
        Err(code) => return code,
    };
    // Not among the words: everybody may read those.
    let secret = args.key.access_key_secret.as_deref().map(|secret| (super::SECRET, secret));
    tell(&instance::start(|caller| words(common, args, &state, caller, command), secret))
}

/// The command line of the other half.
fn words(
    common: &Common,
    args: &InstanceArgs,
    state: &StateDir,
    caller: &Caller,
    command: &[OsString],
) -> Vec<OsString> {
    let Namespaces { net, mnt } = &caller.namespaces;
    let mut words: Vec<OsString> = ["lab", "inside", "--outside", net, mnt].map(OsString::from).to_vec();
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    option("--region", args.region.clone().into());
    option("--vpc", args.vpc.clone().into());
    option("--state-dir", state.path().into());
    option("--log", args.log.clone().into());
    if let Some(path) = &common.config {
        option("--config", path.into());
    }
    if let Some(id) = &args.key.access_key_id {
        option("--access-key-id", id.into());
    }
    if let Some(RunAs { uid, gid }) = caller.run_as {
        option("--run-as", uid.to_string().into());
        words.push(gid.to_string().into());
    }
    let flags = [("--without-privatezone", args.without_privatezone), ("--hardened", args.hardened)];
    words.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| OsString::from(name)));
    words.push("--".into());
    words.extend(command.iter().cloned());
    words
}

/// The half in the namespaces.
pub(super) fn inside(common: &Common, args: &InsideArgs) -> u8 {
    if log::set_up(&args.instance.log).is_err() {
        eprintln!("error: logs were set up twice");
        return exit::SYSTEM;
    }
    let prepared = runtime().and_then(|runtime| Ok((runtime, plan(common, args)?)));
    let (runtime, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let code = runtime.block_on(instance::enter(plan)).unwrap_or_else(|error| tell(&error));
    runtime.shutdown_background(); // threads that wait for datagrams end with the process
    code
}

fn plan(common: &Common, args: &InsideArgs) -> Result<Plan, u8> {
    let config = config(common, &args.instance)?;
    let (state, authority, key) = open(&args.instance)?;
    let run_as = match args.run_as.as_slice() {
        [uid, gid] => Some(RunAs { uid: *uid, gid: *gid }),
        _ => None,
    };
    let namespaces = match args.outside.as_slice() {
        [net, mnt] => Namespaces { net: net.clone(), mnt: mnt.clone() },
        _ => return Err(exit::USAGE),
    };
    Ok(Plan {
        config,
        region: args.instance.region.clone(),
        vpc: args.instance.vpc.clone(),
        hardened: args.instance.hardened,
        state,
        authority,
        key,
        caller: Caller { run_as, namespaces },
        command: args.command.clone(),
    })
}

/// The sidecar's configuration: the one named; else the recipe's zones for the region.
fn config(common: &Common, args: &InstanceArgs) -> Result<Config, u8> {
    let mut config = match &common.config {
        Some(path) => configured(path)?,
        None => Config { endpoints: recipe(&args.region), ..Config::default() },
    };
    if args.without_privatezone {
        config.endpoints.products = Vec::new();
        config.zones = Vec::new();
    }
    Ok(config)
}

/// The names of the region; where the documented gateway is not, each product's own name inside the VPC.
fn recipe(region: &str) -> Endpoints {
    let endpoints = Endpoints {
        regions: Regions::Listed(vec![region.into()]),
        products: PRODUCTS.map(String::from).to_vec(),
        ..Endpoints::default()
    };
    let instance = config::Instance { region: Some(region.into()), vpc_id: None };
    let documented =
        Config { endpoints: Endpoints { regions: Regions::Auto, ..endpoints.clone() }, ..Config::default() };
    match documented.endpoint_notes(&instance).is_empty() {
        true => endpoints,
        false => Endpoints { target: Target::ProductVpc, ..endpoints },
    }
}

/// What is kept.
fn open(args: &InstanceArgs) -> Result<(StateDir, Authority, crate::api::AccessKey), u8> {
    let failed = |error: &dyn std::fmt::Display| {
        eprintln!("error: {error}");
        exit::SYSTEM
    };
    let state = StateDir::open(args.state_dir.as_deref()).map_err(|error| failed(&error))?;
    let authority = Authority::open(&state, SystemTime::now()).map_err(|error| failed(&error))?;
    let (id, secret) = (args.key.access_key_id.as_deref(), args.key.access_key_secret.as_deref());
    let key = access_key::open(&state, id, secret).map_err(|error| failed(&error))?;
    Ok((state, authority, key))
}

fn tell(error: &InstanceError) -> u8 {
    eprintln!("error: {error}");
    exit::SYSTEM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_its_names_mapped() {
        for region in endpoints::regions() {
            let config = Config { endpoints: recipe(&region), ..Config::default() };
            let zones = config.catalog(&config::Instance::default(), 1);
            let names: Vec<String> = zones.zones().iter().map(|(zone, _)| zone.apex().to_string()).collect();
            for name in
                [&format!("ecs.{region}.aliyuncs.com"), "ecs-cn-hangzhou.aliyuncs.com", "pvtz.aliyuncs.com"]
            {
                assert!(names.iter().any(|known| known == name), "{region}: {name} of {names:?}");
            }
        }
    }
}
