//! The client of the control socket; `pvtzd zones`, `flush` and `reload`.

use super::{CommonArgs, FlushArgs, exit, shown, table};
use crate::admin::flush::{Flush, Flushed};
use crate::admin::socket;
use crate::admin::socket::{SocketCommand, SocketReply};
use crate::admin::status::{Status, ZoneStatus};
use crate::config::{Config, ControlSocket};
use crate::engine::name;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Timeout of a command. A reload may take longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The same for a look at its state among others.
const PATIENCE_OF_DOCTOR: Duration = Duration::from_secs(5);

/// A connection to the running server.
pub(super) struct SocketClient {
    reader: BufReader<UnixStream>,
}

impl SocketClient {
    /// Connects to the server, or prints the error and the remedy.
    pub(super) fn open(common: &CommonArgs, named: Option<&Path>) -> Result<Self, u8> {
        let path = match named {
            Some(path) => path.to_path_buf(),
            None => place(common)?,
        };
        let connected = UnixStream::connect(&path).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Self { reader: BufReader::new(stream) }),
            Err(error) => {
                eprintln!("error: no running pvtzd at {}: {error}", path.display());
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        eprintln!("hint: run this as root, or as the user that pvtzd runs as");
                    }
                    _ => eprintln!(
                        "hint: is it running (`pvtzd run`, `systemctl start pvtzd`)? `--socket PATH` \
                         selects another socket; `socket` in [ops] sets it"
                    ),
                }
                Err(exit::UNREACHABLE)
            }
        }
    }

    /// Executes a command.
    pub(super) fn call(&mut self, command: &SocketCommand) -> Result<Value, u8> {
        let asked = (|| {
            let mut text = serde_json::to_string(command).map_err(io::Error::other)?;
            text.push('\n');
            self.reader.get_mut().write_all(text.as_bytes())?;
            let mut line = String::new();
            match self.reader.read_line(&mut line)? {
                0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                _ => serde_json::from_slice(line.as_bytes()).map_err(io::Error::other),
            }
        })();
        match asked {
            Ok(SocketReply::Ok(value)) => Ok(value),
            Ok(SocketReply::Error(error)) => {
                eprintln!("error: {error}");
                Err(exit::FINDINGS)
            }
            Err(error) => {
                eprintln!("error: the running pvtzd does not answer: {error}");
                eprintln!(
                    "hint: only root and the user that pvtzd runs as can use it; is it another version?"
                );
                Err(exit::UNREACHABLE)
            }
        }
    }
}

/// The state of the server that runs by this configuration; nothing where it cannot be asked.
pub(super) fn status_if_running(config: &Config) -> Option<Status> {
    let path = match &config.ops.socket {
        ControlSocket::Usual => socket::usual(),
        ControlSocket::At(path) => path.clone(),
        ControlSocket::Off => return None,
    };
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(PATIENCE_OF_DOCTOR)).ok()?;
    stream.set_write_timeout(Some(PATIENCE_OF_DOCTOR)).ok()?;
    let mut text = serde_json::to_string(&SocketCommand::Status).ok()?;
    text.push('\n');
    stream.write_all(text.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    match serde_json::from_slice(line.as_bytes()).ok()? {
        SocketReply::Ok(value) => of_value(&value).ok(),
        SocketReply::Error(_) => None,
    }
}

/// Where the socket is, by the configuration.
fn place(common: &CommonArgs) -> Result<PathBuf, u8> {
    match common.load_or_tell()?.ops.socket {
        ControlSocket::Usual => Ok(socket::usual()),
        ControlSocket::At(path) => Ok(path),
        ControlSocket::Off => {
            eprintln!("error: the control socket is disabled in the configuration");
            eprintln!("hint: remove `socket = \"off\"` from [ops] and restart pvtzd");
            Err(exit::UNREACHABLE)
        }
    }
}

/// What an answer says, as a type.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, u8> {
    of_value(&value).map_err(|error| {
        eprintln!("error: cannot parse the reply of the running pvtzd: {error}");
        eprintln!("hint: restart it after an upgrade");
        exit::UNREACHABLE
    })
}

/// A type read from the text of a value: all types have one reader in the program, that of text.
fn of_value<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    serde_json::from_slice(value.to_string().as_bytes())
}

/// `pvtzd zones`
pub(super) fn zones(common: &CommonArgs, named: Option<&Path>) -> Result<u8, u8> {
    let value = SocketClient::open(common, named)?.call(&SocketCommand::Zones)?;
    if common.json {
        shown::json(&value);
        return Ok(exit::OK);
    }
    let zones: Vec<ZoneStatus> = read(value)?;
    let rows: Vec<Vec<String>> = zones
        .iter()
        .map(|zone| {
            let seen_by = match &zone.vpcs {
                None => "everyone".into(),
                Some(vpcs) if vpcs.is_empty() => "no client".into(),
                Some(vpcs) => vpcs.join(","),
            };
            let proxy = if zone.recursion_proxy { "on" } else { "off" };
            let unicode = name::parse(&zone.zone).ok().and_then(|name| name::unicode(&name));
            let shown = unicode.map_or_else(|| zone.zone.clone(), |text| format!("{} ({text})", zone.zone));
            vec![shown, proxy.into(), zone.source.clone(), zone.answers.to_string(), seen_by]
        })
        .collect();
    print!("{}", table::text(&["ZONE", "PROXY", "FROM", "ANSWERS", "SEEN BY"], &rows));
    Ok(exit::OK)
}

/// `pvtzd flush`
pub(super) fn flush(common: &CommonArgs, args: &FlushArgs) -> Result<u8, u8> {
    let what = match (&args.name, &args.zone) {
        (Some(name), _) => Flush::Name { name: name.clone(), subtree: args.subtree },
        (_, Some(zone)) => Flush::Name { name: zone.clone(), subtree: true },
        (None, None) => Flush::All,
    };
    let value = SocketClient::open(common, args.socket.as_deref())?.call(&SocketCommand::Flush(what))?;
    if common.json {
        shown::json(&value);
    } else {
        let Flushed { entries, finished } = read(value)?;
        println!("{entries} cache entries and {finished} packets removed");
    }
    Ok(exit::OK)
}

/// `pvtzd reload`
pub(super) fn reload(common: &CommonArgs, named: Option<&Path>) -> Result<u8, u8> {
    let value = SocketClient::open(common, named)?.call(&SocketCommand::Reload)?;
    match (common.json, value.as_str()) {
        (false, Some(text)) => println!("{text}"),
        _ => shown::json(&value),
    }
    Ok(exit::OK)
}
