//! The commands that manage a running pvtzd: clients of its API, as any other program is one.
//!
//! This module has the access to it: the address of the API, the access key, and the messages for errors.

mod console;
mod diff;
mod file;
mod found;
mod parts;
mod progress;
mod record;
mod rule;
mod transfer;
mod zone;

pub(super) use console::ConsoleArgs;
pub(super) use diff::DiffArgs;
pub(super) use record::RecordArgs;
pub(super) use rule::RuleArgs;
pub(super) use transfer::{ExportArgs, ImportArgs};
pub(super) use zone::ZoneArgs;

use super::{CommonArgs, exit, shown};
use crate::api::actions::VERSION;
use crate::api::client::{ApiClient, CallError};
use crate::api::sources::SourceFault;
use crate::api::{AccessKey, Keys};
use crate::base::local_address::reached_at;
use crate::config::Config;
use crate::engine::text::printable;
use clap::Args;
use serde_json::{Map, Value};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A call takes milliseconds, the import of a hundred thousand records seconds.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Items of a page: as many as the API gives.
const PAGE: usize = 100;

/// Options of every command that calls the API.
#[derive(Args, Debug)]
pub(super) struct ApiArgs {
    /// Address of the API [default: the first listen address of `[control]` in the configuration]
    #[arg(long, global = true, value_name = "ADDRESS:PORT", env = "PVTZD_ENDPOINT")]
    endpoint: Option<ApiEndpoint>,
}

/// Where the API is: an address and a port, or a host name, which the system resolves. Port 80 where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ApiEndpoint {
    /// As the request names it.
    host: String,
    /// Where it goes.
    address: SocketAddr,
}

impl FromStr for ApiEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As a URL too, such as `pvtzd lab up` prints it.
        let text = text.strip_prefix("http://").map_or(text, |rest| rest.trim_end_matches('/'));
        if let Ok(address) = text.parse() {
            return Ok(Self { host: text.to_string(), address });
        }
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        let found = match text.rsplit_once(':').filter(|(_, port)| is_port(port)) {
            Some(_) => text.to_socket_addrs(),
            None => (text, 80).to_socket_addrs(),
        };
        let mut found = found.map_err(|error| format!("`{}` has no address: {error}", printable(text)))?;
        let address = found.next().ok_or_else(|| format!("`{}` has no address", printable(text)))?;
        Ok(Self { host: text.to_string(), address })
    }
}

/// Why a command did not do what it was to do.
#[derive(Debug)]
pub(super) struct CommandFailure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl CommandFailure {
    /// The command worked, and what it was to find is not there.
    pub(super) fn finding(message: impl Into<String>) -> Self {
        Self { code: exit::FINDINGS, message: message.into(), hint: None }
    }

    /// A text that becomes no document.
    fn source(fault: SourceFault) -> Self {
        match fault {
            SourceFault::NoZoneName(message) => Self::usage(message).hint("set it: --zone corp.example"),
            SourceFault::Wrong(message) => Self::finding(message),
        }
    }

    /// Wrong usage that only shows once the arguments are looked at.
    fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into(), hint: None }
    }

    /// The same of one of several parts that are imported one after another.
    fn of_part(self, number: usize, count: usize) -> Self {
        let message = format!("part {number} of {count}: {}", self.message);
        let hint = match number {
            1 => self.hint,
            _ => Some(
                "the parts before it are imported; import all again, which changes nothing of these".into(),
            ),
        };
        Self { message, hint, ..self }
    }

    /// Why, in a sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Tells it on standard error; the exit code.
    pub(super) fn tell(self) -> u8 {
        ended(Err(self))
    }

    /// The same with what can be done.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// `pvtzd zone`
pub(super) fn zone(common: &CommonArgs, args: &ZoneArgs) -> u8 {
    ended(zone::run(common, args))
}

/// `pvtzd record`
pub(super) fn record(common: &CommonArgs, args: &RecordArgs) -> u8 {
    ended(record::run(common, args))
}

/// `pvtzd rule`
pub(super) fn rule(common: &CommonArgs, args: &RuleArgs) -> u8 {
    ended(rule::run(common, args))
}

/// `pvtzd export`
pub(super) fn export(common: &CommonArgs, args: &ExportArgs) -> u8 {
    ended(transfer::export(common, args))
}

/// `pvtzd import`
pub(super) fn import(common: &CommonArgs, args: &ImportArgs) -> u8 {
    ended(transfer::import(common, args))
}

/// `pvtzd console`
pub(super) fn console(common: &CommonArgs, args: &ConsoleArgs) -> u8 {
    ended(console::run(common, args))
}

/// `pvtzd diff`
pub(super) fn diff(common: &CommonArgs, args: &DiffArgs) -> u8 {
    ended(diff::run(common, args))
}

/// Names and types that a document lists, with a name and a type that it does not have beside each.
pub(super) fn document_names(path: &Path) -> Result<Vec<(String, String)>, CommandFailure> {
    let mut names = Vec::new();
    for zone in file::read(path)?.zones {
        names.push((zone.zone_name.clone(), "SOA".to_string()));
        names.push((format!("pvtzd-absent.{}", zone.zone_name), "A".to_string()));
        for record in zone.records {
            let name = match record.rr.as_str() {
                "@" => zone.zone_name.clone(),
                rr => format!("{}.{}", rr.replacen('*', "pvtzd-any", 1), zone.zone_name),
            };
            let missing = if record.rtype == "TXT" { "MX" } else { "TXT" };
            names.push((name.clone(), record.rtype));
            names.push((name, missing.to_string()));
        }
    }
    Ok(names)
}

/// Tells how a command ended, and makes an exit code of it.
fn ended(result: Result<u8, CommandFailure>) -> u8 {
    result.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            eprintln!("error: {}", shown::lines(&failure.message));
        }
        if let Some(hint) = failure.hint {
            eprintln!("hint: {}", shown::lines(&hint));
        }
        failure.code
    })
}

/// The API, with a key to it.
pub(super) struct ApiCommands {
    client: ApiClient,
    runtime: Runtime,
    /// JSON is wanted.
    json: bool,
}

impl ApiCommands {
    /// Finds out where it is and what to sign with; sends no request yet.
    pub(super) fn new(common: &CommonArgs, args: &ApiArgs) -> Result<Self, CommandFailure> {
        let key = key_of_environment();
        let config = match (&args.endpoint, &key) {
            (Some(_), Some(_)) => Config::default(),
            // What is wrong with the configuration was told already.
            _ => common.load_or_tell().map_err(|code| CommandFailure {
                code,
                message: String::new(),
                hint: None,
            })?,
        };
        let control = config.control.as_ref();
        let endpoint = match (&args.endpoint, control.and_then(|control| control.listen.first())) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(listen)) => {
                let address = reached_at(*listen);
                ApiEndpoint { host: address.to_string(), address }
            }
            (None, None) => return Err(no_control(common)),
        };
        let key = match (key, control) {
            (Some(key), _) => key,
            (None, Some(control)) => {
                let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                let first = control.keys.get(..1).unwrap_or_default();
                let loaded = Keys::load(first, credentials.as_deref()).map_err(|faults| {
                    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    let failure =
                        CommandFailure { code: exit::CONFIG, message: faults.join("\n"), hint: None };
                    failure
                        .hint("ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET override it")
                })?;
                match loaded.0.first() {
                    Some(key) => key.clone(),
                    None => return Err(no_control(common)),
                }
            }
            (None, None) => return Err(no_control(common)),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                CommandFailure { code: exit::SYSTEM, message: format!("cannot start: {error}"), hint: None }
            })?;
        let ApiEndpoint { host, address } = endpoint;
        Ok(Self {
            client: ApiClient { address, host, key, tls: None, timeout: TIMEOUT },
            runtime,
            json: common.json,
        })
    }

    /// Calls an action.
    pub(super) fn call(
        &self,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<Map<String, Value>, CommandFailure> {
        self.call_with(action, params, None)
    }

    /// Calls an action with a JSON document as the body.
    fn call_with(
        &self,
        action: &str,
        params: &[(&str, &str)],
        document: Option<String>,
    ) -> Result<Map<String, Value>, CommandFailure> {
        let params = params.iter().copied().collect();
        let answer = self.runtime.block_on(self.client.call_with(VERSION, action, &params, document));
        answer.map_err(|error| match &error {
            CallError::Refused(refusal, _) if refusal.code == "Document.Invalid" => {
                CommandFailure::finding(refusal.message.clone())
            }
            CallError::Refused(..) => CommandFailure::finding(error.to_string()),
            CallError::Unreachable(address, _) | CallError::NotTheApi(address, _) => {
                let hint = format!(
                    "is pvtzd running there, with [control] in its configuration and listen = \"{address}\"? \
                     --endpoint ADDRESS:PORT or PVTZD_ENDPOINT selects another address"
                );
                CommandFailure { code: exit::UNREACHABLE, message: error.to_string(), hint: Some(hint) }
            }
        })
    }

    /// All pages of a list. `list` is the path to it, such as `["Zones", "Zone"]`.
    pub(super) fn pages(
        &self,
        action: &str,
        params: &[(&str, &str)],
        list: &[&str],
    ) -> Result<Vec<Value>, CommandFailure> {
        let (mut items, size) = (Vec::new(), PAGE.to_string());
        for number in 1_usize.. {
            let number = number.to_string();
            let paging = [("PageNumber", number.as_str()), ("PageSize", &size)];
            let mut answer = Value::Object(self.call(action, &[params, &paging].concat())?);
            let mut page = &mut answer;
            for step in list {
                page = &mut page[*step];
            }
            let Value::Array(page) = page.take() else { break };
            let is_last = page.len() < PAGE;
            items.extend(page);
            if is_last {
                break;
            }
        }
        Ok(items)
    }

    /// Tells of what was done: to people in words, to programs as the API answered.
    fn done(&self, answer: Map<String, Value>, words: &str) -> u8 {
        match self.json {
            true => shown::json(&answer),
            false => println!("{}", shown::lines(words)),
        }
        exit::OK
    }
}

/// The key in the variables that the official clients read.
fn key_of_environment() -> Option<AccessKey> {
    let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(AccessKey::new(value("ALIBABA_CLOUD_ACCESS_KEY_ID")?, value("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?))
}

fn no_control(common: &CommonArgs) -> CommandFailure {
    let file = common.path().ok().flatten();
    let file = file.map_or("the built-in configuration".into(), |path| path.display().to_string());
    let message =
        format!("{file} has no [control], and therefore neither an address of the API nor an access key");
    let hint = "add [control] with [[control.access_key]] and restart pvtzd; or set --config, or \
                --endpoint ADDRESS:PORT with ALIBABA_CLOUD_ACCESS_KEY_ID and \
                ALIBABA_CLOUD_ACCESS_KEY_SECRET";
    CommandFailure { code: exit::UNREACHABLE, message, hint: None }.hint(hint)
}

/// A field as text: numbers as they are written, nothing as nothing.
pub(super) fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `1 zone`, `2 zones`.
fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// VPCs as people write them, `ID` or `ID@REGION`, as parameters of a list.
pub(super) fn vpc_params(list: &str, vpcs: &[String]) -> Vec<(String, String)> {
    let mut params = Vec::new();
    for (at, vpc) in (1..).zip(vpcs) {
        let (id, region) = vpc.split_once('@').unwrap_or((vpc, ""));
        params.push((format!("{list}.{at}.VpcId"), id.to_string()));
        params.push((format!("{list}.{at}.RegionId"), region.to_string()));
    }
    params
}

/// Borrowed as [`ApiCommands::call`] takes them.
pub(super) fn borrowed(params: &[(String, String)]) -> Vec<(&str, &str)> {
    params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
