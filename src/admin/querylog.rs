//! The query log: a line for each answer, with the field names of Alibaba Cloud's own DNS log.
//!
//! The path of a query only copies the answer into a queue; a thread reads it and writes the line.

use super::client_address::ClientAddress;
use super::queue::{Queue, QueueItem};
use crate::base::auxiliary::RETRY;
use crate::base::octets::{OctetKind, Octets};
use crate::base::readiness::Readiness;
use crate::config::{Log, QueryLogFormat as Form};
use crate::engine::catalog::Vpc;
use crate::engine::name::show;
use crate::engine::text::{TextRecord, TextSections, mnemonic, read_message};
use crate::stats::recent::RecentAnswer;
use crate::stats::tap::{Client, ClientTransport, TapEvent, TapSink};
use crate::stats::zone_stats::{AnswerSource, CacheResult, StatKey};
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

/// What it is called in metrics and status.
const NAME: &str = "query_log";

/// The log, as who serves sees it.
#[derive(Debug)]
pub struct QueryLogWriter {
    queue: Queue<LogRecord>,
    /// One of this many is written.
    sample: u64,
    seen: AtomicU64,
}

/// What a line is made of.
#[derive(Debug)]
struct LogRecord {
    at: SystemTime,
    caller: Client,
    reply: Box<[u8]>,
    mark: StatKey,
    fast: bool,
    took: Duration,
    vpc: Option<Arc<Vpc>>,
}

/// What the live log shows of an answer, under the names of the query log; of many records the first ones, up to this
/// number of octets.
pub fn recent_fields(row: &RecentAnswer, client: &ClientAddress, octets: usize) -> Value {
    let message = read_message(&row.reply);
    let question = message.as_ref().and_then(|message| message.question.as_ref());
    let mut answers = String::new();
    for record in message.iter().flat_map(|message| &message.answers) {
        if answers.len() > octets {
            answers.push_str("; …");
            break;
        }
        answers += if answers.is_empty() { "" } else { "; " };
        answers.extend(shown(record).chars().take(octets));
    }
    json!({
        "time": time_shown(row.at),
        "src_addr": client.shown(row.caller.peer).0,
        "vpc_id": row.vpc.as_ref().map_or("", |vpc| vpc.id.as_str()),
        "query_name": question.map(|(name, _)| show(name)).unwrap_or_default(),
        "query_type": question.map(|(_, rtype)| mnemonic(*rtype)).unwrap_or_default(),
        "rcode": rcode_shown(&row.reply, message.as_ref()),
        "answer_rrset": answers,
        "module_type": row.mark.module(row.fast),
        "rt": milliseconds(row.took),
    })
}

impl QueryLogWriter {
    /// Starts the log: into a file, as soon as that can be opened, or to standard output.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(log: &Log, octets: &Octets, readiness: Arc<Readiness>) -> io::Result<Self> {
        let (form, file, sample) = (log.queries, log.file.clone(), log.sample);
        let client = ClientAddress::new(log.client);
        let account = octets.account(OctetKind::QueryLog, OctetKind::QueryLog.total());
        let queue = Queue::start("query-log", account, move |notes, missed| {
            LogWriter { form, client, file, out: None, opens: Some(Instant::now()), readiness, missed }
                .run(&notes);
        })?;
        Ok(Self { queue, sample: sample.max(1), seen: AtomicU64::new(0) })
    }
}

impl TapSink for QueryLogWriter {
    fn see(&self, seen: &TapEvent<'_>) {
        let Some(answered) = &seen.answer else { return };
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample) {
            return;
        }
        self.queue.offer(seen.message.len(), || LogRecord {
            at: seen.at,
            caller: *seen.caller,
            reply: seen.message.into(),
            mark: answered.mark,
            fast: answered.fast,
            took: answered.took,
            vpc: answered.view.vpc.clone(),
        });
    }

    fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn reopen(&self) {
        self.queue.reopen();
    }

    fn end(&self) {
        self.queue.drain();
    }
}

/// Where lines go.
type LogOutput = BufWriter<Box<dyn Write + Send>>;

fn open(file: Option<&Path>) -> io::Result<LogOutput> {
    let out: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        None => Box::new(io::stdout()),
    };
    Ok(BufWriter::with_capacity(64 << 10, out))
}

/// The thread that writes. What cannot be written is missed, and the file is tried again: a log that does not work is
/// no reason to stop.
struct LogWriter {
    form: Form,
    client: ClientAddress,
    file: Option<PathBuf>,
    out: Option<LogOutput>,
    /// When to open the file: at the start, after it could not be opened, and after a rotation.
    opens: Option<Instant>,
    readiness: Arc<Readiness>,
    missed: Arc<AtomicU64>,
}

impl LogWriter {
    /// Writes lines until it is told to end.
    fn run(mut self, notes: &Receiver<QueueItem<LogRecord>>) {
        loop {
            if self.opens.is_some_and(|when| when <= Instant::now()) {
                self.open();
            }
            let note = match notes.try_recv() {
                Ok(note) => note,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    self.flush(); // nothing waits behind: let out what there is
                    let patience = self.opens.map(|when| when.saturating_duration_since(Instant::now()));
                    match notes.recv_timeout(patience.unwrap_or(Duration::from_secs(3600))) {
                        Ok(note) => note,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            };
            match note {
                QueueItem::Item(line, _room) => self.write(&line),
                QueueItem::Renew => {
                    self.flush();
                    self.open();
                }
                QueueItem::Drain(done) => {
                    self.flush();
                    let _ = done.send(()); // who waits may have given up
                    return;
                }
            }
        }
    }

    /// Opens the file. Until that works the former one is written, if there is one.
    fn open(&mut self) {
        match open(self.file.as_deref()) {
            Ok(out) => {
                (self.out, self.opens) = (Some(out), None);
                self.readiness.auxiliary.works(NAME, self.at());
            }
            Err(error) => {
                self.opens = Some(Instant::now() + RETRY);
                let hint = "set file in [log] to a writable path";
                self.failed(format_args!("the query log cannot be opened: {error}; {hint}"));
            }
        }
    }

    fn write(&mut self, line: &LogRecord) {
        let Some(out) = &mut self.out else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let fields = fields(line, &self.client);
        let text = if self.form == Form::Json { Value::Object(fields).to_string() } else { plain(&fields) };
        if let Err(error) = writeln!(out, "{text}") {
            self.missed.fetch_add(1, Ordering::Relaxed);
            self.failed(format_args!("the query log cannot be written: {error}"));
        }
    }

    fn flush(&mut self) {
        match self.out.as_mut().map(Write::flush) {
            None => {}
            Some(Ok(())) if self.opens.is_none() => self.readiness.auxiliary.works(NAME, self.at()),
            Some(Ok(())) => {}
            Some(Err(error)) => self.failed(format_args!("the query log cannot be written: {error}")),
        }
    }

    fn failed(&self, fault: impl std::fmt::Display) {
        self.readiness.auxiliary.failed(NAME, self.at(), fault);
    }

    /// Where lines go, as it is shown.
    fn at(&self) -> String {
        self.file.as_ref().map_or("standard output".into(), |file| file.display().to_string())
    }
}

/// The fields of a line, in the product's order. What we do not know is empty.
fn fields(line: &LogRecord, client: &ClientAddress) -> Map<String, Value> {
    let (src_addr, src_port) = client.shown(line.caller.peer);
    let LogRecord { caller, mark, fast, vpc, .. } = line;
    let message = read_message(&line.reply);
    let question = message.as_ref().and_then(|message| message.question.as_ref());
    let rrset = |records: &[TextRecord]| records.iter().map(shown).collect::<Vec<_>>().join("; ");
    let of =
        |read: fn(&TextSections) -> &[TextRecord]| message.as_ref().map_or(String::new(), |m| rrset(read(m)));
    let edns = message.as_ref().and_then(|message| message.opt.as_ref()).map_or(String::new(), |opt| {
        let dnssec = if opt.dnssec_ok { " do" } else { "" };
        format!("udp {} version {}{dnssec}", opt.payload, opt.version)
    });
    let fields = json!({
        "time": time_shown(line.at),
        "user_id": "",
        "region_id": vpc.as_ref().and_then(|vpc| vpc.region.clone()).unwrap_or_default(),
        "vpc_id": vpc.as_ref().map_or("", |vpc| vpc.id.as_str()),
        "src_addr": src_addr,
        "src_port": src_port,
        "dst_addr": caller.local.map(|local| local.ip().to_canonical().to_string()).unwrap_or_default(),
        "dst_port": caller.local.map_or(0, |local| local.port()),
        "transport": if caller.transport == ClientTransport::Udp { "UDP" } else { "TCP" },
        "dns_msg_id": line.reply.first_chunk().map_or(0, |id| u16::from_be_bytes(*id)),
        "dns_msg_flags": flags(&line.reply),
        "query_name": question.map(|(name, _)| show(name)).unwrap_or_default(),
        "query_type": question.map(|(_, rtype)| mnemonic(*rtype)).unwrap_or_default(),
        "rcode": rcode_shown(&line.reply, message.as_ref()),
        "answer_rrset": of(|message| &message.answers),
        "authority_rrset": of(|message| &message.authorities),
        "additional_rrset": of(|message| &message.additionals),
        "edns": edns,
        "service_type": service(*mark),
        "module_type": mark.module(*fast),
        "resolve_path": path(*mark, *fast),
        "rt": milliseconds(line.took),
        "view_name": "default",
        "ecs_id": "",
        "ecs_hostname": "",
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(), // `json!({…})` makes nothing else
    }
}

/// A time with milliseconds.
fn time_shown(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = crate::base::timestamp::format(at);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), since.subsec_millis())
}

/// A duration in milliseconds, with three digits behind the point.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// The response code of a message; of one that cannot be read that of its header.
fn rcode_shown(reply: &[u8], message: Option<&TextSections>) -> String {
    let header = reply.get(3).map_or(2, |flags| u16::from(flags & 15));
    let rcode = usize::from(message.map_or(header, |message| message.rcode));
    super::metrics::rcode_name(rcode.min(crate::stats::counters::RCODES - 1))
}

/// A record as one reads it.
fn shown(entry: &TextRecord) -> String {
    format!("{} {} IN {} {}", entry.owner(), entry.ttl, entry.type_name(), entry.value())
}

/// The header's flags by their names (RFC 1035 section 4.1.1, RFC 4035 section 3).
fn flags(message: &[u8]) -> String {
    let Some(&[high, low]) = message.get(2..4).and_then(|flags| flags.first_chunk::<2>()) else {
        return String::new();
    };
    let word = u16::from_be_bytes([high, low]);
    let names = [
        (0x8000, "QR"),
        (0x400, "AA"),
        (0x200, "TC"),
        (0x100, "RD"),
        (0x80, "RA"),
        (0x20, "AD"),
        (0x10, "CD"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| word & bit != 0).map(|(_, name)| *name).collect();
    set.join(" ")
}

/// The product's word for who answers.
fn service(mark: StatKey) -> &'static str {
    match mark.service() {
        AnswerSource::Zone => "PVTZ",
        AnswerSource::Rule => "PVTZ_RESOLVER",
        AnswerSource::Local => "LOCAL_ZONE",
        AnswerSource::Other => "RESOLVER",
    }
}

/// Five flags: fast, slow, cache, forward, recursion. We never recurse ourselves.
fn path(mark: StatKey, fast: bool) -> String {
    let own = matches!(mark.service(), AnswerSource::Zone | AnswerSource::Local);
    let cache = matches!(mark.share(), CacheResult::Success | CacheResult::Denial | CacheResult::Stale);
    let parts = [own && fast, own && !fast, cache, mark.share() == CacheResult::Miss, false];
    parts.map(|part| if part { '1' } else { '0' }).iter().collect()
}

/// One line for people: `name=value`, with quotes where a value has blanks or none at all.
fn plain(fields: &Map<String, Value>) -> String {
    let shown = fields.iter().map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
            format!("{name}={text}")
        }
        other => format!("{name}={other}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::client_form::ClientForm;
    use crate::engine::name::parse;
    use hickory_proto::op::{Message, MessageType, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record, RecordType};

    fn line() -> LogRecord {
        let mut message = Message::query();
        (message.metadata.id, message.metadata.message_type) = (7, MessageType::Response);
        let name = parse("www.example").unwrap();
        message.add_query(Query::query(name.clone(), RecordType::A));
        message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        LogRecord {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            caller: Client {
                peer: "127.0.0.9:4000".parse().unwrap(),
                local: Some("127.0.0.1:53".parse().unwrap()),
                transport: ClientTransport::Udp,
            },
            reply: message.to_vec().unwrap().into(),
            mark: StatKey::new(1, AnswerSource::Zone, CacheResult::Success),
            fast: true,
            took: Duration::from_micros(1500),
            vpc: None,
        }
    }

    fn fields_of(line: &LogRecord) -> Map<String, Value> {
        fields(line, &ClientAddress::new(ClientForm::Full))
    }

    #[test]
    fn a_line_tells_no_more_of_the_client_than_is_wanted() {
        for (form, expected) in [
            (ClientForm::Prefix, " src_addr=127.0.0.0/24 src_port=0 "),
            (ClientForm::None, " src_addr=\"\" src_port=0 "),
        ] {
            let plain = plain(&fields(&line(), &ClientAddress::new(form)));
            assert!(plain.contains(expected) && !plain.contains("127.0.0.9"), "{plain}");
        }
    }

    #[test]
    fn a_line_has_the_products_fields() {
        let fields = fields_of(&line());
        let text = |name: &str| fields[name].as_str().unwrap().to_string();
        assert_eq!(text("time"), "2023-11-14T22:13:20.123Z");
        assert_eq!(
            (text("query_name"), text("query_type"), text("rcode")),
            ("www.example".into(), "A".into(), "NOERROR".into())
        );
        assert_eq!(text("answer_rrset"), "www.example 60 IN A 192.0.2.1");
        assert_eq!(
            (text("service_type"), text("module_type"), text("resolve_path")),
            ("PVTZ".into(), "CACHE".into(), "10100".into())
        );
        assert_eq!((fields["rt"].as_f64(), fields["dns_msg_id"].as_u64()), (Some(1.5), Some(7)));
        let plain = plain(&fields);
        assert!(plain.contains("answer_rrset=\"www.example 60 IN A 192.0.2.1\""), "{plain}");
        assert!(
            plain.contains(" src_addr=127.0.0.9 src_port=4000 ") && plain.contains(" ecs_id=\"\""),
            "{plain}"
        );
        assert!(!plain.contains('\n'));
    }

    #[test]
    fn records_of_any_type_are_text_and_do_not_hide_others() {
        // `a b.example A`: an answer of a type that no library knows, data of HTTPS that are none, and a SOA record
        let mut reply = b"\0\x07\x81\x80\0\x01\0\x02\0\x01\0\0\x03a b\x07example\0\0\x01\0\x01".to_vec();
        reply.extend(b"\xc0\x0c\xff\x19\0\x01\0\0\0\x3c\0\x02\x01\x02");
        reply.extend(b"\xc0\x0c\0\x41\0\x01\0\0\0\x3c\0\x02\0\x01");
        reply.extend(b"\xc0\x10\0\x06\0\x01\0\0\0\x3c\0\x1a\x01\x1b\xc0\x10\xc0\x10");
        reply.extend([1_u32, 2, 3, 4, 5].iter().flat_map(|number| number.to_be_bytes()));
        let fields = fields_of(&LogRecord { reply: reply.into(), ..line() });
        let text = |name: &str| fields[name].as_str().unwrap().to_string();
        assert_eq!(text("query_name"), "a\\032b.example");
        assert_eq!(
            text("answer_rrset"),
            "a\\032b.example 60 IN TYPE65305 \\# 2 0102; a\\032b.example 60 IN HTTPS \\# 2 0001"
        );
        assert_eq!(text("authority_rrset"), "example 60 IN SOA \\027.example example 1 2 3 4 5");
        assert!(plain(&fields).contains(" query_name=a\\032b.example "));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_still_a_line() {
        let cut = LogRecord { reply: vec![1, 2, 0x80, 5].into(), ..line() };
        assert_eq!(fields_of(&cut)["rcode"], "REFUSED");
        let nothing = LogRecord { reply: Vec::new().into(), ..line() };
        assert_eq!(fields_of(&nothing)["dns_msg_flags"], "");
    }
}
