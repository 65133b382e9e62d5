//! `pvtzd lab exec`, `lab shell`: a command on an ECS instance that exists for it alone.

use super::super::{CommonArgs, exit};
use super::runtime;
use super::start::{KeyArgs, SECRET, configured};
use crate::admin::log;
use crate::base::file;
use crate::config::{self, Config, EndpointTarget, Endpoints, Regions, endpoints};
use crate::engine::zone::ZoneSemantics;
use crate::lab::access_key;
use crate::lab::ca::LabCa;
use crate::lab::instance::{self, CallerIds, InstanceError, InstancePlan, Namespaces, RunAs};
use crate::lab::state::StateDir;
use crate::lab::sts;
use crate::store::{self, Store};
use clap::Args;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The products whose names lead to the stub: those that it has, and PrivateZone's own API.
const PRODUCTS: [&str; 4] = ["ecs", "vpc", "sts", "pvtz"];

/// What `--role` has for an instance without a role.
const NO_ROLE: &str = "none";

/// Octets of the longest user data, as on an instance.
const MAX_USER_DATA: u64 = 32 << 10;

/// What the instance is.
#[derive(Args, Debug)]
struct InstanceArgs {
    /// Region of the VPC
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    region: String,
    /// The id of its VPC
    #[arg(long, value_name = "ID", default_value = "vpc-lab")]
    vpc: String,
    /// Without the recipe's zones: API names lead out of the VPC, where no server answers
    #[arg(long)]
    without_privatezone: bool,
    /// With a public network: public API names lead to the stub too
    #[arg(long)]
    public: bool,
    /// The metadata service tells nothing without a token
    #[arg(long)]
    hardened: bool,
    /// The role whose credentials the metadata service hands out, or `none`
    #[arg(long, value_name = "NAME", default_value = "pvtzd-lab", value_parser = role)]
    role: String,
    /// How long these credentials live, from 5s to 12h; there are new ones after half of it
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = credential_ttl)]
    credential_ttl: Duration,
    /// Leave the access key out of the environment, so that clients take the role's credentials
    #[arg(long)]
    no_key: bool,
    /// The instance's user data
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Do not list unreachable API names at the end
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// Keep CA and access key here [default: ~/.local/state/pvtzd/lab]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Log level: error, warn, info, debug, trace; RUST_LOG overrides it
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
pub(super) fn exec(common: &CommonArgs, args: &ExecArgs) -> u8 {
    begin(common, &args.instance, &args.command)
}

/// `lab shell`
pub(super) fn shell(common: &CommonArgs, args: &ShellArgs) -> u8 {
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
fn begin(common: &CommonArgs, args: &InstanceArgs, command: &[OsString]) -> u8 {
    if !endpoints::regions().contains(&args.region) {
        eprintln!("error: no region `{}` in the catalogue", args.region);
        eprintln!("hint: there are {}", endpoints::regions().join(", "));
        return exit::USAGE;
    }
    // Faults of the configuration and of the state directory are told here, where they are the caller's.
    let state = match config(common, args).and_then(|_| user_data(args)).and_then(|_| open(args)) {
        Ok((state, ..)) => state,
        Err(code) => return code,
    };
    // Not among the words: everybody may read those.
    let secret = args.key.access_key_secret.as_deref().map(|secret| (SECRET, secret));
    tell(&instance::start(|caller| words(common, args, &state, caller, command), secret))
}

/// The command line of the other half.
fn words(
    common: &CommonArgs,
    args: &InstanceArgs,
    state: &StateDir,
    caller: &CallerIds,
    command: &[OsString],
) -> Vec<OsString> {
    let Namespaces { net, mnt } = &caller.namespaces;
    let mut words: Vec<OsString> = ["lab", "inside", "--outside", net, mnt].map(OsString::from).to_vec();
    let mut option = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
    option("--region", args.region.clone().into());
    option("--vpc", args.vpc.clone().into());
    option("--state-dir", state.path().into());
    option("--log", args.log.clone().into());
    option("--role", args.role.clone().into());
    option("--credential-ttl", format!("{}s", args.credential_ttl.as_secs()).into());
    if let Some(path) = &args.user_data {
        option("--user-data", path.into());
    }
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
    let flags = [
        ("--without-privatezone", args.without_privatezone),
        ("--public", args.public),
        ("--hardened", args.hardened),
        ("--no-key", args.no_key),
        ("--quiet", args.quiet),
    ];
    words.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| OsString::from(name)));
    words.push("--".into());
    words.extend(command.iter().cloned());
    words
}

/// The half in the namespaces.
pub(super) fn inside(common: &CommonArgs, args: &InsideArgs) -> u8 {
    if log::set_up(&args.instance.log).is_err() {
        eprintln!("error: logging was initialised twice");
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

fn plan(common: &CommonArgs, args: &InsideArgs) -> Result<InstancePlan, u8> {
    let config = config(common, &args.instance)?;
    let (state, authority, key) = open(&args.instance)?;
    let store = made_vpc(&state, &args.instance)?;
    let run_as = match args.run_as.as_slice() {
        [uid, gid] => Some(RunAs { uid: *uid, gid: *gid }),
        _ => None,
    };
    let namespaces = match args.outside.as_slice() {
        [net, mnt] => Namespaces { net: net.clone(), mnt: mnt.clone() },
        _ => return Err(exit::USAGE),
    };
    Ok(InstancePlan {
        config,
        region: args.instance.region.clone(),
        vpc: args.instance.vpc.clone(),
        hardened: args.instance.hardened,
        role: Some(args.instance.role.clone()).filter(|role| role != NO_ROLE),
        credential_life: args.instance.credential_ttl,
        user_data: user_data(&args.instance)?,
        public: args.instance.public,
        without_key: args.instance.no_key,
        quiet: args.instance.quiet,
        store,
        state,
        authority,
        key,
        caller: CallerIds { run_as, namespaces },
        command: args.command.clone(),
    })
}

/// The state directory, where the VPC was made by the API of a lab that keeps its zones there.
fn made_vpc(state: &StateDir, args: &InstanceArgs) -> Result<Option<PathBuf>, u8> {
    if !is_made(&args.vpc) || !state.path().join(store::FILE).exists() {
        return Ok(None);
    }
    let opened = Store::open(state.path(), ZoneSemantics::default()).map_err(|error| {
        eprintln!("error: cannot look up the VPC {}: {error}", args.vpc);
        eprintln!("hint: stop the lab that runs with this state directory first");
        exit::SYSTEM
    })?;
    match opened.account.vpc(&args.vpc) {
        Some(row) if row.common.region != args.region => {
            eprintln!("error: the VPC {} is in the region {}", args.vpc, row.common.region);
            eprintln!("hint: add --region {}", row.common.region);
            Err(exit::USAGE)
        }
        Some(_) => Ok(Some(state.path().to_path_buf())),
        None => Ok(None),
    }
}

/// True for ids that `CreateVpc` gives.
fn is_made(vpc: &str) -> bool {
    vpc.strip_prefix("vpc-bp1")
        .is_some_and(|rest| rest.len() == 18 && rest.bytes().all(|octet| octet.is_ascii_alphanumeric()))
}

/// The user data, if there is any.
fn user_data(args: &InstanceArgs) -> Result<Option<Vec<u8>>, u8> {
    let Some(path) = &args.user_data else { return Ok(None) };
    let octets = file::read(path, MAX_USER_DATA).map_err(|error| {
        eprintln!("error: --user-data {}: {error}", path.display());
        eprintln!("hint: user data is a file of at most {} KiB", MAX_USER_DATA >> 10);
        exit::USAGE
    })?;
    Ok(Some(octets))
}

/// A role's name, or that there is none.
fn role(text: &str) -> Result<String, String> {
    match sts::is_role_name(text) {
        true => Ok(text.into()),
        false => Err("a role name has 1 to 64 letters, digits, `.`, `-` and `_`; `none` for no role".into()),
    }
}

/// How long credentials live.
fn credential_ttl(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|octet| octet.is_ascii_digit()));
    let seconds = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    match seconds.filter(|seconds| (5..=43_200).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("a time from 5s to 12h, such as 15m".into()),
    }
}

/// The sidecar's configuration: the one named; else the recipe's zones for the region.
fn config(common: &CommonArgs, args: &InstanceArgs) -> Result<Config, u8> {
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
    let instance = config::InstanceInfo { region: Some(region.into()), vpc_id: None };
    let documented =
        Config { endpoints: Endpoints { regions: Regions::Auto, ..endpoints.clone() }, ..Config::default() };
    match documented.endpoint_notes(&instance).is_empty() {
        true => endpoints,
        false => Endpoints { target: EndpointTarget::ProductVpc, ..endpoints },
    }
}

/// What is kept.
fn open(args: &InstanceArgs) -> Result<(StateDir, LabCa, crate::api::AccessKey), u8> {
    let failed = |error: &dyn std::fmt::Display| {
        eprintln!("error: {error}");
        exit::SYSTEM
    };
    let state = StateDir::open(args.state_dir.as_deref()).map_err(|error| failed(&error))?;
    let authority = LabCa::open(&state, SystemTime::now()).map_err(|error| failed(&error))?;
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
    fn the_life_of_credentials_is_a_number_and_a_unit() {
        let seconds = |text| credential_ttl(text).ok().map(|life| life.as_secs());
        assert_eq!(
            ["15m", "5s", "12h", "43200s"].map(seconds),
            [Some(900), Some(5), Some(43_200), Some(43_200)]
        );
        for bad in
            ["", "15", "4s", "43201s", "13h", "-5m", "+5m", "1.5h", "5 m", "m", "99999999999999999999h"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_region_has_its_names_mapped() {
        for region in endpoints::regions() {
            let config = Config { endpoints: recipe(&region), ..Config::default() };
            let zones = config.catalog(&config::InstanceInfo::default(), 1);
            let names: Vec<String> = zones.zones().iter().map(|(zone, _)| zone.apex().to_string()).collect();
            for name in
                [&format!("ecs.{region}.aliyuncs.com"), "ecs-cn-hangzhou.aliyuncs.com", "pvtz.aliyuncs.com"]
            {
                assert!(names.iter().any(|known| known == name), "{region}: {name} of {names:?}");
            }
        }
    }
}
