//! `[ops]` and `[log]`: what an operator sees of the running server, and where.

use super::reader::{Span, Spanned};
use super::section::Section;
use super::sections;
use super::value::Value;
use crate::base::client_form::ClientForm;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::de::DeValue;

/// The port where none is written: the one that CoreDNS has for its metrics.
const PORT: u16 = 9153;

/// `[ops]`: numbers, health, and the control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where `/metrics`, `/health` and `/ready` are; nowhere by default.
    pub listen: Vec<SocketAddr>,
    /// The hosts that requests may name, beside those that always may: addresses, names without a dot, this machine's.
    pub server_names: Vec<String>,
    /// Where the control socket is.
    pub socket: ControlSocket,
}

/// Where the control socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// In `$RUNTIME_DIRECTORY`, else `/run/pvtzd`; none where that directory is not available.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// There, or it is an error.
    At(PathBuf),
}

/// `[log]`: queries as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// In which form they are written.
    pub queries: QueryLogFormat,
    /// One of this many is written.
    pub sample: u64,
    /// How clients' addresses are told, by dnstap too.
    pub client: ClientForm,
    /// Into which file; standard output without one.
    pub file: Option<PathBuf>,
    /// The Unix socket of who takes dnstap.
    pub dnstap: Option<PathBuf>,
    /// Who we say we are in dnstap; the host's name without it.
    pub identity: Option<String>,
}

/// The form of the query log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryLogFormat {
    /// Nothing is written.
    #[default]
    Off,
    /// Names and values in one line.
    Text,
    /// A JSON object in one line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            queries: QueryLogFormat::Off,
            sample: 1,
            client: ClientForm::Full,
            file: None,
            dnstap: None,
            identity: None,
        }
    }
}

/// How `[top]` lists clients: its lists are of addresses, which leaves no room for pseudonyms.
const TOP_CLIENT_FORMS: [(&str, ClientForm); 3] =
    [("full", ClientForm::Full), ("prefix", ClientForm::Prefix), ("none", ClientForm::None)];

/// `[top]`: the top lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopConfig {
    /// They count always, not only while `pvtzd top` reads them.
    pub enabled: bool,
    /// How clients are listed.
    pub client: ClientForm,
}

/// Reads `[top]`.
pub(super) fn top(section: &mut Section) -> TopConfig {
    TopConfig {
        enabled: section.take("enabled", Value::flag).unwrap_or_default(),
        client: section.take("client", |value| value.one_of(&TOP_CLIENT_FORMS)).unwrap_or_default(),
    }
}

/// Reads `[ops]`.
pub(super) fn ops(section: &mut Section) -> Admin {
    let listen = section.take("listen", listen).unwrap_or_default();
    let server_names = sections::server_names(section);
    let socket = section.take("socket", |value| match value.text()? {
        "off" => Some(ControlSocket::Off),
        text if text.starts_with('/') => Some(ControlSocket::At(text.into())),
        _ => value.wrong(
            "the control socket needs an absolute path",
            "write \"/run/pvtzd/pvtzd.sock\", or \"off\" for none".to_string(),
        ),
    });
    let listen = listen.iter().map(|item| item.value).collect();
    Admin { listen, server_names, socket: socket.unwrap_or_default() }
}

/// `listen`: an address or a list of them.
fn listen(value: &Value) -> Option<Vec<Spanned<SocketAddr>>> {
    match value.raw() {
        DeValue::Array(_) => value.some("nothing to listen on", "leave `listen` out for no HTTP", address),
        DeValue::String(_) => Some(vec![Spanned { value: address(value)?, at: Span::default() }]),
        _ => value.wrong_type("an address or a list of addresses", "write \"127.0.0.1:9153\"".to_string()),
    }
}

/// One address; others than this machine's own can be read by others.
fn address(value: &Value) -> Option<SocketAddr> {
    let address = value.address(PORT)?;
    if !address.ip().to_canonical().is_loopback() {
        value.warn(
            format!(
                "{address} can be read from other machines: names of zones and servers are in the metrics"
            ),
            "listen on 127.0.0.1, or let only your monitoring reach it".to_string(),
        );
    }
    Some(address)
}

/// Reads `[log]`.
pub(super) fn log(section: &mut Section) -> Log {
    let default = Log::default();
    let folder = section.reader().folder();
    let forms =
        [("off", QueryLogFormat::Off), ("text", QueryLogFormat::Text), ("json", QueryLogFormat::Json)];
    let clients = [
        ("full", ClientForm::Full),
        ("prefix", ClientForm::Prefix),
        ("pseudonym", ClientForm::Pseudonym),
        ("none", ClientForm::None),
    ];
    Log {
        queries: section.take("queries", |value| value.one_of(&forms)).unwrap_or(default.queries),
        sample: section.take("sample", |value| value.integer(1..=1_000_000_000)).unwrap_or(default.sample),
        client: section.take("client", |value| value.one_of(&clients)).unwrap_or(default.client),
        file: section.take("file", sections::not_empty).map(|path| folder.join(path)),
        dnstap: section.take("dnstap", sections::not_empty).map(|path| folder.join(path)),
        identity: section.take("identity", sections::not_empty),
    }
}
