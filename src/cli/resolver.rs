//! `pvtzd resolver take|status|give-back`: the resolver settings of this machine.

use super::{CommonArgs, exit, shown};
use crate::config::{Config, InstanceInfo};
use crate::host::doctor::{mapped, public};
use crate::host::metadata::MetadataChoice;
use crate::host::resolver::enable::{
    EditedPlace, Enabled, PlaceState, dry_run, dry_run_restore, enable, restore,
};
use crate::host::resolver::machine::{Machine, NoCommands};
use crate::host::resolver::store::{self, RecordStore};
use crate::host::resolver::{
    HostPlan, HostStep, Names, ResolverError, ResolverStatus, ResolverTarget, Routing, detect, diff,
    search_domains, status, verify,
};
use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the check after a take may last.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What to do about the machine's resolver.
#[derive(Debug, Subcommand)]
pub(super) enum ResolverCommand {
    /// Show the manager of resolv.conf, the servers that programs query, and the state of a take
    Status(ResolverPlace),
    /// Make this machine's programs use pvtzd, and save the former settings
    #[command(visible_alias = "enable")]
    Take(TakeArgs),
    /// Restore the settings before the take
    #[command(visible_alias = "restore")]
    GiveBack(GiveBackArgs),
}

/// Paths and addresses.
#[derive(Args, Debug)]
pub(super) struct ResolverPlace {
    /// Address on which pvtzd answers on port 53 [default: from the configuration]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Directory for the saved former state
    #[arg(long, value_name = "DIR", default_value = store::DIRECTORY)]
    state_dir: PathBuf,
    /// Use the files below this directory as the machine's; run no program
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
}

/// Options of `resolver enable`.
#[derive(Args, Debug)]
pub(super) struct TakeArgs {
    /// Direct only the mapped names to pvtzd (needs systemd-resolved)
    #[arg(long)]
    only_mapped: bool,
    /// Show the changes without applying them
    #[arg(long)]
    dry_run: bool,
    /// Skip the checks before and after the change
    #[arg(long)]
    force: bool,
    /// The instance metadata service: an address, or "off" [default: 100.100.100.200:80]
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    metadata: Option<MetadataChoice>,
    #[command(flatten)]
    place: ResolverPlace,
}

/// Options of `resolver give-back`.
#[derive(Args, Debug)]
pub(super) struct GiveBackArgs {
    /// Show the changes without applying them
    #[arg(long)]
    dry_run: bool,
    /// Also restore files that were changed since
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: ResolverPlace,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, command: &ResolverCommand) -> u8 {
    let result = match command {
        ResolverCommand::Status(place) => print_status(common, place),
        ResolverCommand::Take(args) => take_over(common, args),
        ResolverCommand::GiveBack(args) => hand_back(common, args),
    };
    result.unwrap_or_else(|code| code)
}

impl ResolverPlace {
    /// The machine, and where is remembered what was there.
    fn open(&self) -> (Machine, RecordStore) {
        match &self.root {
            None => (Machine::this(), RecordStore::new(&self.state_dir)),
            Some(root) => {
                let machine = Machine::new(root, NoCommands);
                let store = RecordStore::new(machine.at(&self.state_dir.to_string_lossy()));
                (machine, store)
            }
        }
    }

    /// Where pvtzd answers: as said, else the first listen address on port 53.
    fn address(&self, config: &Config) -> Option<IpAddr> {
        let listening = config.server.listen.iter().filter(|listen| listen.port() == 53);
        let mut reached = listening.map(|listen| match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        });
        self.address.or_else(|| reached.next())
    }
}

/// `status`
fn print_status(common: &CommonArgs, place: &ResolverPlace) -> Result<u8, u8> {
    let (machine, store) = place.open();
    // The status is shown even with an invalid configuration.
    let config = common.load().map(|(config, _)| config).unwrap_or_default();
    let address = place.address(&config).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    // Names of the region are omitted: status does not wait for the metadata service.
    let zones = mapped::zones(&config, &InstanceInfo::default());
    let standing = status(&machine, &store, address, &zones).map_err(tell)?;
    if common.json {
        shown::json(&standing);
    } else {
        print_resolver_status(&standing);
    }
    let broken = standing.taken.as_ref().is_some_and(|taken| !taken.in_force);
    Ok(if broken { exit::FINDINGS } else { exit::OK })
}

/// `enable`
fn take_over(common: &CommonArgs, args: &TakeArgs) -> Result<u8, u8> {
    let config = common.load_or_tell()?;
    let (machine, store) = args.place.open();
    let Some(address) = args.place.address(&config) else {
        let listen = config.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        eprintln!("error: programs query port 53 only, but pvtzd is configured to listen on {listen}");
        eprintln!(
            "hint: set `listen = [\"127.0.0.1:53\"]` in [server] and restart it, or set its address with \
             --address"
        );
        return Err(exit::FINDINGS);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        eprintln!("error: cannot start: {error}");
        exit::SYSTEM
    })?;
    let instance = runtime.block_on(mapped::instance(&config, MetadataChoice::or_default(args.metadata)));
    let instance = instance.unwrap_or_default();
    let names = mapped::names(&config, &instance);
    let zones = mapped::zones(&config, &instance);
    let scope = match args.only_mapped {
        true => Names::Only(zones.clone()),
        false => Names::All,
    };
    let wish = ResolverTarget { address, scope, zones };
    if args.dry_run {
        let (plan, taken) = dry_run(&machine, &store, &wish).map_err(tell)?;
        print_plan(common, &plan, taken);
        return Ok(exit::OK);
    }
    let trying = !args.force && machine.is_this();
    let expected = match trying {
        true => runtime.block_on(answered(SocketAddr::new(address, 53), &names))?,
        false => None,
    };
    // With all names led to pvtzd, those that it does not know must be resolved too, if they were until now.
    let former = match trying && wish.scope == Names::All {
        true => former(&machine, &store, address).map_err(tell)?,
        false => Former::default(),
    };
    let server = SocketAddr::new(address, 53);
    let resolves = || match former.servers.is_empty() {
        true => Ok(()),
        false => runtime.block_on(async {
            let public = public::resolved(server, &former.servers).await;
            public.map_err(|problem| format!("does not resolve public names: {problem}"))?;
            let known =
                public::keeps_search_domains(server, &former.servers, &former.domains, &wish.zones).await;
            known.map_err(|problem| {
                format!(
                    "does not resolve a search domain that this machine's current servers resolve: {problem}"
                )
            })
        }),
    };
    if let Err(problem) = resolves() {
        let servers =
            former.servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(", ");
        eprintln!("error: pvtzd at {address} {problem}");
        eprintln!(
            "hint: list {servers}, this machine's current servers, in [upstream] servers (`pvtzd doctor` \
             shows the failing step); --force skips this check; nothing was changed"
        );
        return Err(exit::FINDINGS);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let taken = enable(&machine, &store, &wish, now, |finding| {
        if !trying {
            return Ok(());
        }
        let leads = crate::host::resolver::where_it_leads(finding, address);
        if !matches!(leads, Routing::Us | Routing::Mapped) {
            return Err(format!("{}, not only to pvtzd at {address}", words(leads)));
        }
        if let Some((name, addresses)) = &expected {
            verify::agrees(name, addresses, TIMEOUT)?;
        }
        resolves().map_err(|problem| format!("pvtzd at {address} {problem}"))
    })
    .map_err(tell)?;
    match taken {
        Enabled::Already(_) => eprintln!("nothing to do: this machine's programs already use pvtzd"),
        Enabled::Now(plan) => {
            print_plan(common, &plan, false);
            eprintln!(
                "this machine's programs now use pvtzd at {address}; `pvtzd resolver give-back` reverts this"
            );
        }
    }
    Ok(exit::OK)
}

/// `give-back`
fn hand_back(common: &CommonArgs, args: &GiveBackArgs) -> Result<u8, u8> {
    let (machine, store) = args.place.open();
    if args.dry_run {
        let Some(record) = store.read().map_err(tell)? else { return Ok(nothing_taken(common)) };
        for (place, change) in dry_run_restore(&machine, &record, args.force).map_err(tell)? {
            match change {
                Some(edit) => print!("{}", diff::of(&edit)),
                None => eprintln!("{}", fate(&place, args.force)),
            }
        }
        return Ok(exit::OK);
    }
    let Some(returned) = restore(&machine, &store, args.force).map_err(tell)? else {
        return Ok(nothing_taken(common));
    };
    if common.json {
        shown::json(&returned);
    }
    for place in &returned.places {
        eprintln!("{}", fate(place, args.force));
    }
    for note in &returned.notes {
        eprintln!("warning: {note}");
    }
    for hint in &returned.hints {
        eprintln!("note: {hint}");
    }
    let left = !args.force && returned.places.iter().any(|place| place.state == PlaceState::Modified);
    if left {
        eprintln!(
            "hint: compare the files; `pvtzd resolver give-back --force` restores their content before the take"
        );
    }
    Ok(if left || !returned.notes.is_empty() { exit::FINDINGS } else { exit::OK })
}

/// Says that there is nothing to give back.
fn nothing_taken(common: &CommonArgs) -> u8 {
    if common.json {
        shown::json(&serde_json::json!({ "places": [], "notes": [], "hints": [] }));
    }
    eprintln!("nothing to restore: no take is in force");
    exit::OK
}

/// A mapped name that pvtzd answers, and its addresses there: what programs must get afterwards. Nothing if it has
/// no such name.
async fn answered(server: SocketAddr, names: &[String]) -> Result<Option<(String, BTreeSet<IpAddr>)>, u8> {
    match mapped::first_answered(server, names).await {
        Ok(found) => Ok(found),
        Err(mapped::Unanswered::Unreachable(error)) => {
            eprintln!("error: pvtzd does not answer on {server}: {error}");
            eprintln!("hint: start it first (`pvtzd doctor` shows the failing step); nothing was changed");
            Err(exit::UNREACHABLE)
        }
        Err(mapped::Unanswered::Failed(problem)) => {
            eprintln!("error: pvtzd on {server} answers incorrectly: {problem}");
            eprintln!(
                "hint: `pvtzd doctor` shows the failing step; --force skips this check; nothing was changed"
            );
            Err(exit::FINDINGS)
        }
    }
}

/// The machine's servers and search domains, or those before the take.
#[derive(Default)]
struct Former {
    /// The servers.
    servers: Vec<SocketAddr>,
    /// The search domains.
    domains: Vec<String>,
}

/// The machine's servers and search domains, or those before the take.
fn former(machine: &Machine, store: &RecordStore, address: IpAddr) -> Result<Former, ResolverError> {
    let finding = detect(machine, address)?;
    let mut servers = finding.upstream;
    if servers.is_empty() {
        servers = store.read()?.map(|record| record.upstream).unwrap_or_default();
    }
    let servers = servers.iter().filter_map(|server| server.server().target().ok()).collect();
    Ok(Former { servers, domains: search_domains(finding.resolv_conf.as_deref().unwrap_or_default()) })
}

/// Prints the error and the remedy; returns the exit code.
fn tell(trouble: ResolverError) -> u8 {
    eprintln!("error: {trouble}");
    eprintln!("hint: {}", trouble.hint());
    match trouble {
        ResolverError::Refused(_) | ResolverError::Check(_) | ResolverError::Busy => exit::FINDINGS,
        _ => exit::SYSTEM,
    }
}

/// What a plan changes, on standard output.
fn print_plan(common: &CommonArgs, plan: &HostPlan, taken: bool) {
    if common.json {
        let steps: Vec<&HostStep> = plan.steps.iter().collect();
        shown::json(&serde_json::json!({
            "manager": plan.manager, "taken": taken, "steps": steps, "notes": plan.notes,
        }));
    } else {
        for step in &plan.steps {
            match step {
                HostStep::MakeDirectory { path } => println!("create the directory {path}"),
                HostStep::Edit(edit) => print!("{}", diff::of(edit)),
                HostStep::Command { words, .. } => println!("run {}", words.join(" ")),
            }
        }
    }
    for note in &plan.notes {
        eprintln!("note: {note}");
    }
    if taken {
        eprintln!("note: a take is already in force; these are the additional changes");
    }
}

/// The status as text.
fn print_resolver_status(standing: &ResolverStatus) {
    let ResolverStatus { manager, nameservers, leads, taken, notes, .. } = standing;
    let servers: Vec<String> = nameservers.iter().map(ToString::to_string).collect();
    println!("managed by   {}", manager.title());
    println!("resolv.conf  {}", if servers.is_empty() { "no nameserver".into() } else { servers.join(", ") });
    println!("programs     {}", words(*leads));
    match taken {
        None => println!("taken        no"),
        Some(taken) => {
            println!(
                "taken        yes, for {}{}",
                taken.address,
                if taken.in_force { "" } else { ", NOT in force" }
            );
            for place in &taken.places {
                println!("  {}  {}", place.path, state_words(place.state));
            }
            let upstream: Vec<String> = taken.upstream.iter().map(ToString::to_string).collect();
            println!(
                "  before     {}",
                if upstream.is_empty() { "none".into() } else { upstream.join(", ") }
            );
        }
    }
    for note in notes {
        eprintln!("note: {note}");
    }
}

/// The routing of queries as text.
pub(super) fn words(leads: Routing) -> &'static str {
    match leads {
        Routing::Us => "queries go only to pvtzd",
        Routing::Mapped => "queries for mapped names go to pvtzd, others elsewhere",
        Routing::Both => "queries go to pvtzd and to other servers",
        Routing::Elsewhere => "queries go to other servers",
        Routing::Nowhere => "resolv.conf lists no server",
    }
}

/// The state of a path as text.
fn state_words(state: PlaceState) -> &'static str {
    match state {
        PlaceState::Ours => "as pvtzd wrote it",
        PlaceState::Partial => "partially written (crash)",
        PlaceState::Embedded => "changed since, pvtzd's lines remain",
        PlaceState::Former => "as it was before the take",
        PlaceState::Modified => "changed since",
    }
}

/// The result for a path as text.
fn fate(place: &EditedPlace, force: bool) -> String {
    let what = match place.state {
        PlaceState::Ours | PlaceState::Partial => "restored",
        PlaceState::Embedded => "pvtzd's lines removed, later changes kept",
        PlaceState::Former => "unchanged",
        PlaceState::Modified if force => "restored, later change overwritten",
        PlaceState::Modified => "not restored: changed since the take",
    };
    format!("{}: {what}", place.path)
}
