//! Single values: converts TOML values. Each reader records an error with a correction for an invalid value, and
//! returns None.

use super::reader::{ConfigReader, Origin, Span, Spanned, listed, shortened};
use super::suggest;
use crate::upstream::ServerAddress;
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// A value with its place.
pub(super) struct Value<'a> {
    /// Where faults go.
    reader: &'a ConfigReader<'a>,
    /// Where the text lies that it was parsed from.
    pub origin: Origin,
    /// Where it is.
    pub at: Span,
    /// What TOML has.
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// A value at a place.
    pub fn new(reader: &'a ConfigReader<'a>, origin: Origin, at: Span, value: &'a DeValue<'a>) -> Self {
        Self { reader, origin, at, value }
    }

    /// What TOML has here.
    pub fn raw(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// Notes that this value is wrong.
    pub fn wrong<T>(&self, message: impl Into<String>, hint: impl Into<Option<String>>) -> Option<T> {
        self.reader.error(&self.at, message, hint);
        None
    }

    /// Notes a doubt about this value.
    pub fn warn(&self, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.reader.warning(&self.at, message, hint);
    }

    /// Notes that this value has another type than it should.
    pub fn wrong_type<T>(&self, wanted: &str, hint: impl Into<Option<String>>) -> Option<T> {
        let found = match self.value {
            DeValue::Integer(number) => format!("the integer {number}"),
            DeValue::Float(number) => format!("the number {number}"),
            DeValue::Boolean(flag) => format!("the boolean {flag}"),
            DeValue::String(text) => format!("the string \"{}\"", shortened(text)),
            DeValue::Datetime(_) => "a date".into(),
            DeValue::Array(_) => "a list".into(),
            DeValue::Table(_) => "a table".into(),
        };
        let key = self.at.path.last();
        self.wrong(format!("`{key}` must be {wanted}, found {found}"), hint)
    }

    /// A string.
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                self.wrong_type("a string", format!("put it between quotes: \"{}\"", self.plain()))
            }
            _ => self.wrong_type("a string", None),
        }
    }

    /// A boolean.
    pub fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
                self.wrong_type("true or false", format!("write {text} without quotes"))
            }
            _ => self.wrong_type("true or false", None),
        }
    }

    /// An integer within a range.
    pub fn integer(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        let range = format!("from {} to {}", allowed.start(), allowed.end());
        let DeValue::Integer(number) = self.value else {
            let hint = match self.value {
                DeValue::String(text) if text.parse::<u64>().is_ok() => {
                    format!("write {text} without quotes")
                }
                _ => format!("allowed is {range}"),
            };
            return self.wrong_type("an integer", hint);
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => self.wrong(format!("{number} is out of range"), format!("allowed is {range}")),
        }
    }

    /// Seconds, as TTLs are written (RFC 2181 section 8 has the limit).
    pub fn ttl(&self) -> Option<u32> {
        if let DeValue::String(text) = self.value
            && let Some(duration) = duration(text)
        {
            return self.wrong_type("an integer, in seconds", format!("write {}", duration.as_secs()));
        }
        self.integer(0..=i32::MAX as u64).map(|seconds| seconds as u32)
    }

    /// A duration such as "500ms", "30s", "5m", "24h", "1d", within a range.
    pub fn duration(&self, allowed: RangeInclusive<Duration>) -> Option<Duration> {
        const FORM: &str = "durations look like \"500ms\", \"30s\", \"5m\", \"24h\", \"1d\"";
        let text = match self.value {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                return self.wrong_type("a duration", format!("write \"{number}s\" for seconds; {FORM}"));
            }
            _ => return self.wrong_type("a duration", FORM.to_string()),
        };
        match duration(text) {
            Some(found) if allowed.contains(&found) => Some(found),
            Some(_) => {
                let range = format!("allowed is from {:?} to {:?}", allowed.start(), allowed.end());
                self.wrong(format!("\"{text}\" is out of range"), range)
            }
            None => self.wrong(format!("\"{}\" is not a duration", shortened(text)), FORM.to_string()),
        }
    }

    /// A number of bytes: an integer, or "32MiB" and the like.
    pub fn bytes(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        const FORM: &str = "sizes look like \"32MiB\", \"512KiB\", \"1GiB\", \"64M\", or 33554432";
        let (found, shown) = match self.value {
            DeValue::String(text) => match bytes(text) {
                Some(found) => (found, format!("\"{text}\"")),
                None => {
                    return self.wrong(format!("\"{}\" is not a size", shortened(text)), FORM.to_string());
                }
            },
            DeValue::Integer(number) => {
                // A negative number is out of every range.
                let found = u64::from_str_radix(number.as_str(), number.radix()).unwrap_or(u64::MAX);
                (found, number.to_string())
            }
            _ => return self.wrong_type("a size", FORM.to_string()),
        };
        if allowed.contains(&found) {
            return Some(found);
        }
        let range = format!("allowed is from {} to {} bytes", allowed.start(), allowed.end());
        self.wrong(format!("{shown} is out of range"), range)
    }

    /// One word of a few.
    pub fn one_of<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let DeValue::String(text) = self.value else {
            return self.wrong_type("a string", format!("allowed are {}", listed(&names)));
        };
        match words.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Some(value.clone()),
            None => self.unknown_word(text, &names),
        }
    }

    /// Notes a word that is none of those allowed.
    pub fn unknown_word<T>(&self, text: &str, names: &[&str]) -> Option<T> {
        let hint = match suggest::suggest(text, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? allowed are {}", listed(names)),
            None => format!("allowed are {}", listed(names)),
        };
        self.wrong(format!("`{}` is not a known value", shortened(text)), hint)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(array) = self.value else {
            let hint = match self.value {
                DeValue::String(text) => Some(format!("write [\"{}\"]", shortened(text))),
                _ => None,
            };
            return self.wrong_type("a list", hint);
        };
        let item = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let span = self.reader.place(self.origin, item.span());
            let at = Span { path: self.at.path.item(index), span };
            Value::new(self.reader, self.origin, at, item.get_ref())
        };
        Some(array.iter().enumerate().map(item).collect())
    }

    /// A list of things with their places. Items at fault are noted and left out.
    pub fn list<T>(&self, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<Spanned<T>>> {
        let located = |item: Value<'a>| Some(Spanned { value: read(&item)?, at: item.at });
        Some(self.items()?.into_iter().filter_map(located).collect())
    }

    /// A list that must hold something.
    pub fn some<T>(
        &self,
        empty: &str,
        hint: &str,
        read: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Option<Vec<Spanned<T>>> {
        if matches!(self.value, DeValue::Array(array) if array.is_empty()) {
            return self.wrong(empty, hint.to_string());
        }
        self.list(read)
    }

    /// A domain name.
    pub fn name(&self) -> Option<Name> {
        crate::engine::name::parse(self.text()?).or_else(|why| self.wrong(why, None).ok_or(())).ok()
    }

    /// An IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        let text = self.text()?;
        text.parse().or_else(|_| self.not_an_address(text, "127.0.0.1").ok_or(())).ok()
    }

    /// An address range, or one address.
    pub fn network(&self) -> Option<IpNet> {
        let text = self.text()?;
        let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(found) = parsed else {
            return self.not_an_address(text, "10.0.0.0/8");
        };
        if found != found.trunc() {
            let message = format!("{found} has bits set beyond its prefix; used as {}", found.trunc());
            self.reader.warning(&self.at, message, format!("write \"{}\"", found.trunc()));
        }
        Some(found.trunc())
    }

    /// The address of a listener; port 53 where none is written.
    pub fn listener(&self) -> Option<SocketAddr> {
        self.address(53)
    }

    /// An address with a port; this one where none is written.
    pub fn address(&self, port: u16) -> Option<SocketAddr> {
        let text = self.text()?;
        let with_port = text.parse::<SocketAddr>().ok();
        let address = with_port.or_else(|| Some(SocketAddr::new(text.parse().ok()?, port)));
        address.or_else(|| self.not_an_address(text, &format!("127.0.0.1:{port}")))
    }

    /// The address of an upstream server.
    pub fn server(&self) -> Option<ServerAddress> {
        let text = self.text()?;
        let server: ServerAddress = match text.parse() {
            Ok(server) => server,
            Err(why) => {
                let hint = "write the address of a server: \"100.100.2.136\", \"192.0.2.1:5353\", \"[2001:db8::1]:53\", \
                            \"tls://192.0.2.1#dns.example\"";
                return self.wrong(why.to_string(), hint.to_string());
            }
        };
        let addr = server.addr;
        if server.is_named() {
            return Some(server);
        }
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return self.wrong(
                format!("`{addr}` is not a usable server address"),
                "use a unicast address and a port from 1".to_string(),
            );
        }
        Some(server)
    }

    /// The address of a server that knows where others are: plain, and known by address itself.
    pub fn bootstrap(&self) -> Option<ServerAddress> {
        let server = self.server()?;
        if !server.is_plain() {
            return self.wrong(
                format!("a bootstrap server uses plain DNS, not {server}"),
                "write its address, like \"192.0.2.1\"".to_string(),
            );
        }
        Some(server)
    }

    /// The value as TOML would write it inside a string.
    fn plain(&self) -> String {
        match self.value {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            _ => String::new(),
        }
    }

    /// Notes a string that is no address.
    fn not_an_address<T>(&self, text: &str, example: &str) -> Option<T> {
        self.wrong(
            format!("`{}` is not an address", shortened(text)),
            format!("an address looks like \"{example}\""),
        )
    }
}

/// What a duration says; one number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// What a size says.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "" | "B" => 1,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1w", None),
            ("", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal() {
        for (text, expected) in [
            ("32MiB", Some(32 << 20)),
            ("1 GiB", Some(1 << 30)),
            ("64k", Some(64_000)),
            ("64M", Some(64_000_000)),
            ("1024", Some(1024)),
            ("1.5MiB", None),
            ("MiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
