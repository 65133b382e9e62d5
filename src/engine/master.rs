//! Zone files (RFC 1035 section 5): entries out of text, in the order of the file.
//!
//! `$ORIGIN`, `$TTL` (RFC 2308 section 4) and `$INCLUDE` are followed. Names in the data of records are relative to the
//! origin unless they end in a dot. The use of the entries and the source of included files are up to the [`Sink`].
//! Entries without anything to resolve, which is nearly all of a long file, are read in place.

use super::record::{self, is_meta};
use super::text;
use hickory_proto::rr::{Name, RecordType};
use std::borrow::Cow;
use std::net::IpAddr;

/// TTL of a record where neither it nor anything before it says one: the product's default.
const DEFAULT_TTL: u32 = 60;

/// Octets of the longest entry: the generic form of the longest data is about twice as long as this data.
const MAX_ENTRY_BYTES: usize = 1 << 18;

/// A record of a zone file.
#[derive(Debug)]
pub struct MasterEntry<'e> {
    /// The owner in wire form, with its case.
    pub owner: &'e [u8],
    /// The type.
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// The data in uncompressed wire form.
    pub data: &'e [u8],
    /// The line that it begins on, from 1.
    pub line: usize,
}

/// Takes what a zone file says.
pub trait Sink {
    /// A record.
    fn record(&mut self, entry: &MasterEntry<'_>);

    /// Something that is wrong on a line.
    fn fault(&mut self, line: usize, message: String);

    /// `$INCLUDE`: reads another file, with [`read`], from a state of its own; its state at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    fn include(&mut self, path: &str, state: MasterState) -> Result<MasterState, String>;
}

/// What an entry may leave out.
#[derive(Clone, Debug)]
pub struct MasterState {
    origin: Name,
    /// The same in wire form.
    origin_wire: Vec<u8>,
    /// The owner of the last record in wire form; empty before the first.
    owner: Vec<u8>,
    /// `$TTL`.
    default_ttl: Option<u32>,
    /// The TTL of the last record that said one.
    last_ttl: Option<u32>,
}

impl MasterState {
    /// The state at the beginning of a file.
    pub fn new(origin: &Name) -> Self {
        let (owner, default_ttl, last_ttl) = (Vec::new(), None, None);
        Self { origin: origin.clone(), origin_wire: wire_of(origin), owner, default_ttl, last_ttl }
    }

    fn set_origin(&mut self, origin: Name) {
        self.origin_wire = wire_of(&origin);
        self.origin = origin;
    }
}

/// Text out of the octets of a zone file: those that are no UTF-8, as in older files, are written as `\DDD`.
pub fn text_of(octets: Vec<u8>) -> String {
    let octets = match String::from_utf8(octets) {
        Ok(text) => return text,
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(octets.len() + octets.len() / 8);
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        for octet in chunk.invalid() {
            let slashes = text.bytes().rev().take_while(|octet| *octet == b'\\').count();
            if !slashes.is_multiple_of(2) {
                text.pop(); // it made the octet literal, as \DDD does
            }
            text.push_str(&format!("\\{octet:03}"));
        }
    }
    text
}

/// Reads a zone file; the state at its end.
pub fn read(text: &str, mut state: MasterState, sink: &mut impl Sink) -> MasterState {
    let mut reader = MasterReader { owner: Vec::new(), data: Vec::new() };
    let (mut rest, mut line) = (text.strip_prefix('\u{feff}').unwrap_or(text), 1);
    while !rest.is_empty() {
        let (entry, behind, lines) = match next_entry(rest) {
            Ok(found) => found,
            Err(message) => {
                sink.fault(line, message); // where the entry ends is not known
                break;
            }
        };
        if let Err(message) = reader.entry(&entry, line, &mut state, sink) {
            sink.fault(line, message);
        }
        (rest, line) = (behind, line + lines);
    }
    state
}

/// The next entry as one line without comments and parentheses, what follows it, and how many lines it has.
fn next_entry(text: &str) -> Result<(Cow<'_, str>, &str, usize), String> {
    let (first, behind) = text.split_once('\n').unwrap_or((text, ""));
    if !first.bytes().any(|octet| matches!(octet, b'"' | b'(' | b')' | b';' | b'\\')) {
        bounded(first.len())?;
        return Ok((Cow::Borrowed(first.trim_end_matches('\r')), behind, 1));
    }
    let (mut flat, mut is_open, mut is_quoted, mut lines) = (String::new(), false, false, 1);
    let mut chars = text.char_indices();
    while let Some((_, char)) = chars.next() {
        bounded(flat.len())?;
        match char {
            '\\' => {
                flat.push(char);
                flat.extend(chars.next().map(|(_, char)| char));
            }
            '"' => {
                is_quoted = !is_quoted;
                flat.push(char);
            }
            '\n' if is_quoted => return Err("a quoted string without its closing quote".into()),
            '\n' if !is_open => return Ok((Cow::Owned(flat), chars.as_str(), lines)),
            '\n' => {
                lines += 1;
                flat.push(' ');
            }
            _ if is_quoted => flat.push(char),
            '(' | ')' if (char == '(') == is_open => {
                return Err(format!("an unmatched `{char}`; \\{char} is the character"));
            }
            '(' | ')' => {
                is_open = !is_open;
                flat.push(' ');
            }
            ';' => {
                let behind = chars.as_str();
                let end = behind.find('\n').unwrap_or(behind.len());
                chars = behind[end..].char_indices();
            }
            '\r' => flat.push(' '),
            _ => flat.push(char),
        }
    }
    match (is_open, is_quoted) {
        (true, _) => Err("an opening parenthesis without the closing one".into()),
        (_, true) => Err("a quoted string without its closing quote".into()),
        _ => Ok((Cow::Owned(flat), "", lines)),
    }
}

fn bounded(octets: usize) -> Result<(), String> {
    match octets {
        0..=MAX_ENTRY_BYTES => Ok(()),
        _ => Err(format!("an entry of more than {MAX_ENTRY_BYTES} octets, the maximum")),
    }
}

/// Buffers that serve one entry after another.
struct MasterReader {
    owner: Vec<u8>,
    data: Vec<u8>,
}

impl MasterReader {
    fn entry(
        &mut self,
        entry: &str,
        line: usize,
        state: &mut MasterState,
        sink: &mut impl Sink,
    ) -> Result<(), String> {
        let is_continued = entry.starts_with([' ', '\t']);
        let mut rest = entry;
        let Some(first) = next_word(&mut rest) else { return Ok(()) };
        if first.starts_with('$') {
            return directive(first, rest, state, sink);
        }
        if is_continued {
            rest = entry;
            if state.owner.is_empty() {
                return Err("the first record has no owner; begin the line with a name, or with @".into());
            }
        } else {
            self.owner.clear();
            push_name(&mut self.owner, first, state)?;
            state.owner.clone_from(&self.owner);
        }
        let (mut ttl, mut class) = (None, None);
        let rtype = loop {
            let Some(word) = next_word(&mut rest) else {
                return Err("an entry without a type".into());
            };
            if class.is_none() && is_class(word) {
                class = Some(word);
            } else if ttl.is_none() && word.starts_with(|char: char| char.is_ascii_digit()) {
                ttl = Some(read_ttl(word)?);
            } else {
                let rtype = record::parse_type(word).filter(|rtype| !is_meta(*rtype));
                let quoted = text::printable(word);
                break rtype.ok_or_else(|| format!("`{quoted}` is not a type of record"))?;
            }
        };
        let is_in = |class: &str| class.eq_ignore_ascii_case("IN") || class.eq_ignore_ascii_case("CLASS1");
        if let Some(class) = class.filter(|class| !is_in(class)) {
            return Err(format!("records of class {class} are not served; the class is IN"));
        }
        self.data.clear();
        push_data(&mut self.data, rtype, rest, state)?;
        state.last_ttl = ttl.or(state.last_ttl);
        if rtype == RecordType::SOA && ttl.is_none() && state.default_ttl.is_none() {
            // RFC 1035 section 3.3.13: where no TTL is said, it is the minimum; for all records, as in BIND
            state.default_ttl = self.data.last_chunk().map(|octets| u32::from_be_bytes(*octets));
            state.default_ttl = state.default_ttl.filter(|ttl| *ttl <= i32::MAX as u32);
        }
        let ttl = ttl.or(state.default_ttl).or(state.last_ttl).unwrap_or(DEFAULT_TTL);
        sink.record(&MasterEntry { owner: &state.owner, rtype, ttl, data: &self.data, line });
        Ok(())
    }
}

/// `$ORIGIN`, `$TTL`, `$INCLUDE`.
fn directive(
    word: &str,
    mut rest: &str,
    state: &mut MasterState,
    sink: &mut impl Sink,
) -> Result<(), String> {
    let argument = next_word(&mut rest);
    let missing = |what: &str| format!("{word} without {what}");
    match word.to_ascii_uppercase().as_str() {
        "$ORIGIN" => {
            let origin = name_of(argument.ok_or_else(|| missing("a name"))?, state)?;
            state.set_origin(origin);
        }
        "$TTL" => state.default_ttl = Some(read_ttl(argument.ok_or_else(|| missing("a TTL"))?)?),
        "$INCLUDE" => {
            let path = argument.ok_or_else(|| missing("a file"))?;
            let mut inner = state.clone();
            if let Some(origin) = next_word(&mut rest) {
                inner.set_origin(name_of(origin, state)?);
            }
            let after = sink.include(path.trim_matches('"'), inner)?;
            // Origin and owner are those of the file again (RFC 1035 section 5.1); TTLs go on, as in BIND and NSD.
            (state.default_ttl, state.last_ttl) = (after.default_ttl, after.last_ttl);
        }
        "$GENERATE" => return Err("$GENERATE is not read; write the records one by one".into()),
        _ => {
            let quoted = text::printable(word);
            return Err(format!("unknown directive `{quoted}`; known are $ORIGIN, $TTL, $INCLUDE"));
        }
    }
    match next_word(&mut rest) {
        Some(more) => Err(format!("`{}` behind the end of {word}", text::printable(more))),
        None => Ok(()),
    }
}

/// The next word, with its quotes and escapes; what follows it is left.
fn next_word<'t>(rest: &mut &'t str) -> Option<&'t str> {
    let text = rest.trim_start_matches([' ', '\t']);
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = text.bytes().position(|octet| {
        let ends = matches!(octet, b' ' | b'\t') && !is_quoted && !is_escaped;
        is_quoted ^= octet == b'"' && !is_escaped;
        is_escaped = octet == b'\\' && !is_escaped;
        ends
    });
    let (word, behind) = text.split_at(end.unwrap_or(text.len()));
    *rest = behind;
    (!word.is_empty()).then_some(word)
}

/// True for the mnemonics of classes (RFC 1035 section 3.2.4), and for the generic form.
fn is_class(word: &str) -> bool {
    let is = |class: &str| word.eq_ignore_ascii_case(class);
    let is_generic = || {
        let number = word.get(..5).filter(|start| start.eq_ignore_ascii_case("CLASS")).map(|_| &word[5..]);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit()))
    };
    is("IN") || is("CH") || is("HS") || is("CS") || is_generic()
}

/// A TTL: seconds, or numbers with units as in `1h30m`.
fn read_ttl(word: &str) -> Result<u32, String> {
    let seconds = text::seconds(word).filter(|seconds| *seconds <= i32::MAX as u32); // RFC 2181 section 8
    seconds.ok_or_else(|| {
        format!("`{}` is not a TTL; write seconds, such as 3600, or 1h", text::printable(word))
    })
}

/// The wire form of a name.
fn wire_of(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        wire.push(label.len() as u8); // a label has at most 63 octets
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// A name of a zone file: relative to the origin unless it ends in a dot.
fn name_of(word: &str, state: &MasterState) -> Result<Name, String> {
    match word {
        "@" => Ok(state.origin.clone()),
        _ if text::is_absolute(word) => text::parse(word),
        _ => text::parse_below(word, &state.origin),
    }
}

/// Appends a name in wire form.
fn push_name(wire: &mut Vec<u8>, word: &str, state: &MasterState) -> Result<(), String> {
    let start = wire.len();
    if push_plain(wire, word, &state.origin_wire) {
        return Ok(());
    }
    wire.truncate(start);
    wire.extend(wire_of(&name_of(word, state)?));
    Ok(())
}

/// Appends a name of letters, digits, hyphens and underscores; false, and something undefined appended, for any other.
pub fn push_plain(wire: &mut Vec<u8>, word: &str, origin: &[u8]) -> bool {
    let start = wire.len();
    let (relative, word) = match word.strip_suffix('.') {
        Some(word) => (false, word),
        None => (true, word),
    };
    for label in word.split('.') {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'*');
        if !(1..=63).contains(&label.len()) || !label.bytes().all(plain) {
            return false;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.extend_from_slice(if relative { origin } else { &[0] });
    wire.len() - start <= 255
}

/// Appends record data in wire form.
fn push_data(data: &mut Vec<u8>, rtype: RecordType, rest: &str, state: &MasterState) -> Result<(), String> {
    let trimmed = rest.trim_matches([' ', '\t']);
    let is_word = !trimmed.is_empty() && !trimmed.starts_with("\\#") && !trimmed.contains([' ', '\t']);
    match rtype {
        RecordType::A | RecordType::AAAA if is_word => match (rtype, trimmed.parse::<IpAddr>()) {
            (RecordType::A, Ok(IpAddr::V4(address))) => data.extend(address.octets()),
            (RecordType::AAAA, Ok(IpAddr::V6(address))) => data.extend(address.octets()),
            _ => {
                let what = if rtype == RecordType::A { "an IPv4 address" } else { "an IPv6 address" };
                return Err(format!("`{}` is not {what}", text::printable(trimmed)));
            }
        },
        RecordType::CNAME | RecordType::NS | RecordType::PTR if is_word => push_name(data, trimmed, state)?,
        _ => {
            let start = data.len();
            data.extend(text::read_data_below(rtype.into(), trimmed, &state.origin)?);
            if trimmed.starts_with("\\#") {
                record::from_wire(rtype, &data[start..])?; // any octets can be written so
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
