//! `[control]`: listeners and access keys of the PrivateZone API. Secrets in files are not read here, so that a
//! configuration can be checked on a machine without them.

use super::reader::{Span, Spanned};
use super::section::Section;
use super::sections;
use super::value::Value;
use crate::engine::zone::ZoneSemantics;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// The port where none is written.
const PORT: u16 = 5380;

/// `[control]`: the PrivateZone API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The hosts that requests may name, beside those that always may and the names of the APIs.
    pub server_names: Vec<String>,
    /// The access keys; at least one.
    pub keys: Vec<AccessKeySource>,
    /// The hosts that host-name synchronisation finds.
    pub hosts: Vec<Host>,
    /// How zones made through the API read what is not documented.
    pub reading: ZoneSemantics,
    /// What the console may do.
    pub console: ConsoleMode,
}

/// `console`: whether pages are served beside the API, and what they may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleMode {
    /// There are none.
    #[default]
    Off,
    /// They show what there is.
    Read,
    /// They change what the API changes.
    On,
}

/// `[[control.access_key]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeySource {
    /// Its public name.
    pub id: String,
    /// Where its secret is.
    pub secret: SecretSource,
}

/// The source of the secret of an access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration itself.
    Written(ApiSecret),
    /// In a file of its own.
    File(PathBuf),
    /// In the credential of this name, which the service manager provides.
    Credential(String),
}

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSecret(String);

impl ApiSecret {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ApiSecret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ApiSecret {
    /// Without the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `[[control.host]]`: a host that a zone's synchronisation may find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, relative to the zone.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// The region it is in.
    pub region: String,
}

/// Reads the section; the second part is where it listens, with places.
pub(super) fn control(section: &mut Section) -> (Api, Vec<Spanned<SocketAddr>>) {
    let listen = section.take("listen", listen).unwrap_or_else(|| {
        let value = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
        vec![Spanned { value, at: Span::default() }]
    });
    let server_names = sections::server_names(section);
    let has_keys = section.has("access_key");
    let folder = section.reader().folder();
    let keys = sections::read_each(section.reader(), section, "access_key", |key| access_key(key, &folder));
    // What is no section at all was told of already, and has no place.
    if !has_keys && section.reader().is_whole() && !section.at.span.is_empty() {
        let hint = "add [[control.access_key]] with id = \"…\" and secret_file = \"…\"; or leave [control] out, \
                    for no API";
        section.reader().error(
            &section.at,
            "[control] has no access key: every call of the API would be refused",
            hint.to_string(),
        );
    }
    for (place, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..place].iter().find(|first| first.0.value == key.0.value) {
            let message = format!(
                "access key `{}` is defined already (line {})",
                key.0.value,
                section.reader().line_of(&first.0.at)
            );
            section.reader().error(&key.0.at, message, "remove one".to_string());
        }
    }
    let hosts = sections::read_each(section.reader(), section, "host", host);
    let reading = super::zones::reading(section);
    let console = console(section, &listen);
    let keys = keys.into_iter().map(|(id, secret)| AccessKeySource { id: id.value, secret }).collect();
    let addresses = listen.iter().map(|item| item.value).collect();
    (Api { listen: addresses, server_names, keys, hosts, reading, console }, listen)
}

/// `console` and `console_beyond_loopback`. Without the key the console is on where no other machine can
/// reach the listener.
fn console(section: &mut Section, listen: &[Spanned<SocketAddr>]) -> ConsoleMode {
    let wanted = section.take_located("console", |value| match value.raw() {
        DeValue::Boolean(true) => Some(ConsoleMode::On),
        DeValue::Boolean(false) => Some(ConsoleMode::Off),
        DeValue::String(_) => value.one_of(&[("read", ConsoleMode::Read)]),
        _ => value.wrong_type("true, false or \"read\"", None),
    });
    let beyond = section.take("console_beyond_loopback", Value::flag).unwrap_or_default();
    let open = listen.iter().find(|item| !item.value.ip().to_canonical().is_loopback());
    match (wanted, open) {
        (None, None) => ConsoleMode::On,
        (None, Some(_)) => ConsoleMode::Off,
        (Some(wanted), Some(open)) if wanted.value != ConsoleMode::Off && !beyond => {
            let message = format!(
                "the console would be served on {}, which other machines can reach, without encryption",
                open.value
            );
            let hint = "listen on 127.0.0.1 and forward the port by SSH; or set console_beyond_loopback = true, where \
                        only trusted machines reach the address";
            section.reader().error(&wanted.at, message, hint.to_string());
            ConsoleMode::Off
        }
        (Some(wanted), _) => wanted.value,
    }
}

/// `listen`: an address or a list of them.
fn listen(value: &Value) -> Option<Vec<Spanned<SocketAddr>>> {
    let found = match value.raw() {
        DeValue::Array(_) => {
            let hint = "leave `listen` out for 127.0.0.1:5380, or [control] for no API";
            value.some("nothing to listen on", hint, address)?
        }
        DeValue::String(_) => vec![Spanned { value: address(value)?, at: value.at.clone() }],
        _ => {
            return value
                .wrong_type("an address or a list of addresses", "write \"127.0.0.1:5380\"".to_string());
        }
    };
    Some(found)
}

/// One address to listen on; others than this machine's own can be reached by others.
fn address(value: &Value) -> Option<SocketAddr> {
    let address = value.address(PORT)?;
    if !address.ip().to_canonical().is_loopback() {
        value.warn(
            format!("{address} can be reached from other machines, and the API is not encrypted"),
            "listen on 127.0.0.1, or let only trusted machines reach it".to_string(),
        );
    }
    Some(address)
}

/// `[[control.access_key]]`
fn access_key(section: &mut Section, folder: &Path) -> Option<(Spanned<String>, SecretSource)> {
    let id = section.require("id", "\"LTAI…\"", word);
    let secret = secret(section, "[[control.access_key]]", folder);
    Some((id?, secret?))
}

/// Where the secret of a section is: exactly one of three keys says so.
pub(super) fn secret(section: &mut Section, heading: &str, folder: &Path) -> Option<SecretSource> {
    let keys = ["secret", "secret_file", "secret_credential"];
    let written: Vec<&str> = keys.into_iter().filter(|key| section.has(key)).collect();
    let secret = section.take("secret", word);
    if secret.is_some() && section.reader().is_open_to_others() {
        // At the section: the line of the secret itself is not to be shown.
        section.reader().warning(
            &section.at,
            "`secret` is in a file that other users can read",
            "write it to a file of mode 0600 and set secret_file, or secret_credential under systemd; or \
             chmod 600 this file"
                .to_string(),
        );
    }
    let file = section.take("secret_file", sections::not_empty);
    let credential = section.take("secret_credential", |value| {
        let name = word(value)?;
        match name.contains('/') || name == "." || name == ".." {
            true => value.wrong(
                format!("`{name}` is a path, not the name of a credential"),
                "write the name that the unit's LoadCredential= has; for a file use secret_file".to_string(),
            ),
            false => Some(name),
        }
    });
    match written[..] {
        [_] => {}
        [] => section.reader().error(
            &section.at,
            format!("{heading} needs a secret"),
            "add secret_file = \"FILE\", secret_credential = \"NAME\", or secret = \"…\"".to_string(),
        ),
        _ => section.reader().error(
            &section.at,
            format!("the secret is given {} times: {}", written.len(), super::reader::listed(&written)),
            "keep one of them".to_string(),
        ),
    }
    secret
        .map(|secret| SecretSource::Written(secret.into()))
        .or(file.map(|path| SecretSource::File(folder.join(path))))
        .or(credential.map(SecretSource::Credential))
}

/// `[[control.host]]`
fn host(section: &mut Section) -> Option<Host> {
    let name = section.require("name", "\"web-1\"", |value| {
        let name = sections::not_empty(value)?;
        value.name()?;
        match name.ends_with('.') {
            true => value.wrong(
                format!("`{name}` is absolute"),
                "a host's name is relative to the zones it appears in: \"web-1\"".to_string(),
            ),
            false => Some(name),
        }
    });
    let ip = section.require("ip", "\"10.0.0.5\"", Value::ip);
    let region = section.require("region", "\"cn-hangzhou\"", sections::not_empty);
    Some(Host { name: name?.value, ip: ip?.value, region: region?.value })
}

/// A string without blanks.
fn word(value: &Value) -> Option<String> {
    let text = sections::not_empty(value)?;
    match text.contains(char::is_whitespace) {
        true => value.wrong("it contains blanks", "leave them out".to_string()),
        false => Some(text),
    }
}
