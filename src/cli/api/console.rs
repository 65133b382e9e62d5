//! `pvtzd console`: the address of the console with a one-time code, in a browser where there is a desktop.

use super::{ApiArgs, ApiCommands, CommandFailure, text};
use crate::cli::{CommonArgs, exit, shown};
use crate::console;
use clap::Args;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Options of `console`.
#[derive(Args, Debug)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// For a session that changes nothing
    #[arg(long)]
    read_only: bool,
    /// Start no browser
    #[arg(long)]
    no_browser: bool,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &ConsoleArgs) -> Result<u8, CommandFailure> {
    let api = ApiCommands::new(common, &args.api)?;
    let read_only = if args.read_only { "true" } else { "false" };
    let answer = Value::Object(api.call("PvtzdConsoleCode", &[("ReadOnly", read_only)])?);
    // Behind the # it is no part of any request: no log and no Referer has it.
    let place = match answer["ConsoleHttpsPort"].as_u64() {
        Some(port) => format!("https://{}", SocketAddr::new(api.client.address.ip(), port as u16)),
        None => format!("http://{}", api.client.host),
    };
    let address = format!("{place}{}#code={}", console::PATH, text(&answer, "ConsoleCode"));
    if common.json {
        shown::json(&json!({ "address": address, "expires_in": answer["ExpiresIn"] }));
        return Ok(exit::OK);
    }
    println!("{address}");
    eprintln!("The code counts once, within {} seconds.", text(&answer, "ExpiresIn"));
    if !args.no_browser && has_desktop() {
        match open(&address) {
            Ok(()) => eprintln!("A browser was started."),
            Err(error) => eprintln!("hint: no browser could be started ({error}): open the address yourself"),
        }
    }
    Ok(exit::OK)
}

/// True where a person sits at a desktop of their own: a browser is not to run as root.
fn has_desktop() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0)
        && !is_set("SSH_CONNECTION")
        && (is_set("WAYLAND_DISPLAY") || is_set("DISPLAY"))
}

/// Opens an address in the browser. All users of the machine see the words of a command, so the address is in a file
/// that only its owner reads.
fn open(address: &str) -> io::Result<()> {
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("XDG_RUNTIME_DIR is not set"))?;
    let path = directory.join("pvtzd-console.html");
    let _ = std::fs::remove_file(&path); // that of the last time
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let escaped = address.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    writeln!(file, "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={escaped}\">")?;
    let quiet = Stdio::null;
    let mut opener =
        Command::new("xdg-open").arg(&path).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()?;
    match opener.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("xdg-open failed")),
    }
}
