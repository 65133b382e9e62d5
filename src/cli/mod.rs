//! The command line: arguments, commands, exit codes. Each command has its own file.
//!
//! Data go to standard output, diagnostics to standard error. With `--json`, standard output contains only JSON.

mod api;
mod check;
mod compare;
mod doctor;
mod explain;
mod fleet;
mod lab;
pub mod manual;
mod query;
mod resolver;
mod run;
mod schema;
mod shown;
mod socket;
mod status;
mod table;
mod top;

use crate::base::terminal;
use crate::config::{self, Config, ConfigError, Fault};
use crate::host::metadata::MetadataChoice;
use clap::{ArgGroup, Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit codes, the same for every command.
pub mod exit {
    /// Success.
    pub const OK: u8 = 0;
    /// The command found a problem: a failed expectation, an answer that is an error.
    pub const FINDINGS: u8 = 1;
    /// The command line is invalid.
    pub const USAGE: u8 = 2;
    /// An address cannot be listened on.
    pub const BIND: u8 = 3;
    /// The server cannot be reached.
    pub const UNREACHABLE: u8 = 4;
    /// Another operating system error (`EX_OSERR`).
    pub const SYSTEM: u8 = 71;
    /// The configuration is invalid (`EX_CONFIG`; systemd shows it as CONFIG).
    pub const CONFIG: u8 = 78;
}

/// The last paragraph of the help.
const AFTER_HELP: &str = "\
Exit codes: 0 success, 1 a problem was found or the answer is an error, 2 invalid usage, 3 cannot listen,
4 the server is unreachable, 71 operating system error, 78 invalid configuration.";

/// A local DNS sidecar with the functions of Alibaba Cloud PrivateZone.
#[derive(Debug, Parser)]
#[command(name = "pvtzd", version, about, after_help = AFTER_HELP, args_conflicts_with_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    /// The command; `run` if omitted.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// Options of every command.
#[derive(Args, Debug)]
struct CommonArgs {
    /// Configuration file [default: /etc/pvtzd/pvtzd.toml if it exists, else built-in defaults]
    #[arg(short, long, global = true, value_name = "FILE", env = "PVTZD_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Run(RunArgs),
    /// Report all errors of the configuration, and verify its expected answers
    Check,
    /// Print the JSON Schema of the configuration
    Schema,
    /// Show how a name is answered, without a query
    Explain(ExplainArgs),
    /// Query the local server, or another one
    Query(QueryArgs),
    /// Send pvtzd and another server the same queries and show the differences
    Compare(Box<compare::CompareArgs>),
    /// Check each step from the configuration to the API, and say how to fix failures
    Doctor(doctor::DoctorArgs),
    /// Make this machine's programs use pvtzd, and restore the former settings
    #[command(subcommand)]
    Resolver(resolver::ResolverCommand),
    /// Show and manage the fleet: one set of zones in etcd for many machines
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Run PrivateZone, its API and stubs of other APIs on this machine, without a network
    Lab(Box<lab::LabArgs>),
    /// Zones of a running pvtzd: list, show, add, rm, bind, unbind, proxy
    Zone(api::ZoneArgs),
    /// Records of a running pvtzd: list, add, set, enable, disable, rm
    Record(api::RecordArgs),
    /// Forwarding rules of a running pvtzd: list, add, rm, bind
    Rule(api::RuleArgs),
    /// Export the zones and rules of the API to a file
    Export(api::ExportArgs),
    /// Import files into the API, as one atomic change
    Import(api::ImportArgs),
    /// Compare a file with a running pvtzd, or two files; exit code 1 if they differ
    Diff(api::DiffArgs),
    /// Open the console of a running pvtzd: print its address with a code that counts once, and start a browser
    Console(api::ConsoleArgs),
    /// Show the state of the running server
    Status(StatusArgs),
    /// Show the most frequent names, zones, clients, types, codes and upstreams of the running server
    Top(top::TopArgs),
    /// List the private zones of the running server
    Zones(SocketArgs),
    /// Remove cached answers from the running server
    Flush(FlushArgs),
    /// Reload the configuration of the running server
    Reload(SocketArgs),
    /// Print the completions for a shell
    Completions(manual::CompletionsArgs),
    /// Print the manual page as roff
    Man,
}

/// Options of `run`.
#[derive(Args, Clone, Debug, Default)]
struct RunArgs {
    /// Listen on this address instead of the configured ones; may be repeated
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Directory for persistent state [default: $STATE_DIRECTORY, else none]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The instance metadata service: an address, or "off" [default: 100.100.100.200:80]
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    metadata: Option<MetadataChoice>,
    /// Log level: error, warn, info, debug, trace; RUST_LOG overrides it
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

/// Options of `explain`.
#[derive(Args, Debug)]
struct ExplainArgs {
    /// The name
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// The type
    #[arg(default_value = "A")]
    rtype: String,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,
    /// Assume this region instead of that of the metadata service
    #[arg(long)]
    region: Option<String>,
}

/// Location of the running server.
#[derive(Args, Debug)]
struct SocketArgs {
    /// The control socket [default: as configured, else pvtzd.sock in $RUNTIME_DIRECTORY or /run/pvtzd]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Options of `status`.
#[derive(Args, Debug)]
struct StatusArgs {
    /// The control socket [default: as configured, else pvtzd.sock in $RUNTIME_DIRECTORY or /run/pvtzd]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Repeat the output, with rates
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two outputs
    #[arg(long, value_name = "SECONDS", default_value = "1", requires = "watch")]
    every: f64,
}

/// Options of `flush`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["name", "zone", "all"])))]
struct FlushArgs {
    /// Remove this name, all types
    #[arg(allow_hyphen_values = true)]
    name: Option<String>,
    /// Also remove the names below it
    #[arg(long, requires = "name")]
    subtree: bool,
    /// Remove all names at or below this one
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Remove everything
    #[arg(long)]
    all: bool,
    /// The control socket [default: as configured, else pvtzd.sock in $RUNTIME_DIRECTORY or /run/pvtzd]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Options of `query`.
#[derive(Args, Debug)]
struct QueryArgs {
    /// The name
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// The type
    #[arg(default_value = "A")]
    rtype: String,
    /// The server [default: the first listen address of the configuration]
    #[arg(short, long, value_name = "ADDRESS[:PORT]")]
    server: Option<crate::upstream::ServerAddress>,
    /// Use TCP
    #[arg(long)]
    tcp: bool,
    /// Clear the RD flag
    #[arg(long)]
    no_recursion: bool,
    /// Set the DO flag, to get DNSSEC records
    #[arg(long)]
    dnssec: bool,
}

/// The part of [`Cli`] that the server needs.
#[derive(Debug, Parser)]
#[command(name = "pvtzd")]
struct Serving {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl Serving {
    /// Parses the arguments of a server. Returns None for another command, a request for help or an error: the complete
    /// parser handles these.
    fn read(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut args: Vec<_> = args.collect();
        if args.get(1).is_some_and(|command| command == "run") {
            args.remove(1);
        }
        Self::try_parse_from(args).ok()
    }
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    // The server has a separate parser: memory and code for the other commands would stay allocated for its lifetime.
    let code = match Serving::read(std::env::args_os()) {
        Some(server) => run::run(&server.common, &server.run),
        None => carry_out(Cli::parse()),
    };
    crate::admin::log::flush();
    crate::base::print::flush(); // it reports a failure itself; the exit code is that of the command
    ExitCode::from(code)
}

/// Runs any command and returns the exit code. Separate from [`main`], whose stack frame lives as long as the server.
#[inline(never)]
fn carry_out(cli: Cli) -> u8 {
    match cli.command {
        None => run::run(&cli.common, &cli.run),
        Some(Command::Run(args)) => run::run(&cli.common, &args),
        Some(Command::Check) => check::run(&cli.common),
        Some(Command::Schema) => schema::run(),
        Some(Command::Explain(args)) => explain::run(&cli.common, &args),
        Some(Command::Query(args)) => query::run(&cli.common, &args),
        Some(Command::Compare(args)) => compare::run(&cli.common, &args),
        Some(Command::Zone(args)) => api::zone(&cli.common, &args),
        Some(Command::Record(args)) => api::record(&cli.common, &args),
        Some(Command::Rule(args)) => api::rule(&cli.common, &args),
        Some(Command::Export(args)) => api::export(&cli.common, &args),
        Some(Command::Import(args)) => api::import(&cli.common, &args),
        Some(Command::Diff(args)) => api::diff(&cli.common, &args),
        Some(Command::Console(args)) => api::console(&cli.common, &args),
        Some(Command::Doctor(args)) => doctor::run(&cli.common, &args),
        Some(Command::Resolver(command)) => resolver::run(&cli.common, &command),
        Some(Command::Fleet(command)) => code(fleet::run(&cli.common, &command)),
        Some(Command::Lab(args)) => lab::run(&cli.common, &args),
        Some(Command::Status(args)) => code(status::run(&cli.common, &args)),
        Some(Command::Top(args)) => code(top::run(&cli.common, &args)),
        Some(Command::Zones(args)) => code(socket::zones(&cli.common, args.socket.as_deref())),
        Some(Command::Flush(args)) => code(socket::flush(&cli.common, &args)),
        Some(Command::Reload(args)) => code(socket::reload(&cli.common, args.socket.as_deref())),
        Some(Command::Completions(args)) => manual::completions(&args),
        Some(Command::Man) => manual::man(),
    }
}

/// The exit code, from either result.
fn code(result: Result<u8, u8>) -> u8 {
    result.unwrap_or_else(|code| code)
}

impl CommonArgs {
    /// The configuration file: `--config`, else the system's if it exists.
    fn path(&self) -> Result<Option<PathBuf>, ConfigError> {
        match &self.config {
            Some(path) => Ok(Some(path.clone())),
            None => config::find(Path::new(config::SYSTEM)),
        }
    }

    /// The configuration and its warnings.
    fn load(&self) -> Result<(Config, Vec<Fault>), ConfigError> {
        self.path().and_then(|path| self.load_from(path.as_deref()))
    }

    /// The configuration in a file, else the built-in one.
    fn load_from(&self, path: Option<&Path>) -> Result<(Config, Vec<Fault>), ConfigError> {
        path.map_or_else(|| Ok((Config::default(), Vec::new())), config::load)
    }

    /// The configuration for a command other than `check`; errors go to standard error.
    fn load_or_tell(&self) -> Result<Config, u8> {
        self.load().map(|(config, _)| config).map_err(|error| {
            tell_config_error(&error);
            exit::CONFIG
        })
    }
}

/// Prints to standard error why the configuration could not be loaded.
fn tell_config_error(error: &ConfigError) {
    match error {
        ConfigError::Io { .. } => eprintln!("error: {error}"),
        ConfigError::Faults(faults) => {
            for fault in faults {
                eprintln!("{}", fault.render(terminal::is_styled(&io::stderr())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a command line that is a server's, by itself and as a part of the whole.
    fn both(words: &str) -> Option<(String, String)> {
        let args = || words.split_whitespace().map(OsString::from);
        let server = Serving::read(args())?;
        let cli = Cli::try_parse_from(args()).unwrap();
        let run = match cli.command {
            None => cli.run,
            Some(Command::Run(run)) => run,
            Some(other) => panic!("{words}: {other:?}"),
        };
        let shown = |common: &CommonArgs, run: &RunArgs| format!("{common:?} {run:?}");
        Some((shown(&server.common, &server.run), shown(&cli.common, &run)))
    }

    #[test]
    fn a_server_reads_its_arguments_as_the_whole_command_line_does() {
        for words in [
            "pvtzd",
            "pvtzd run",
            "pvtzd --config a.toml --metadata off",
            "pvtzd run -c a.toml -l 127.0.0.1:53 -l [::1]:53 --state-dir s --log debug --json",
        ] {
            let (server, whole) = both(words).expect(words);
            assert_eq!(server, whole, "{words}");
        }
    }

    #[test]
    fn whatever_is_no_server_is_left_to_the_whole_command_line() {
        for words in [
            "pvtzd check",
            "pvtzd man",
            "pvtzd completions zsh",
            "pvtzd --help",
            "pvtzd run --version",
            "pvtzd --nonsense",
            "pvtzd run run",
        ] {
            assert!(both(words).is_none(), "{words}");
        }
    }
}
