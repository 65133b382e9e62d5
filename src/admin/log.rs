//! Logs on standard error. A message that repeats is held back, so that no fault of the world fills a disk. A thread of
//! its own writes them, and whatever else a server has to say there: a reader that stands still keeps no other thread.

use crate::base::print;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt as subscriber_fmt};

/// Messages from one place in the program that pass in each window.
const BURST: u32 = 5;

/// The library of the lab's DNS servers.
const LAB_SERVER: &str = "hickory_server";

/// The window.
const WINDOW: Duration = Duration::from_secs(10);

/// Octets of messages that wait for the thread that writes. What does not fit is lost, and counted.
const ROOM: usize = 1 << 20;

/// Octets that a message takes beside its own.
const OVERHEAD: usize = 64;

/// How long the end of the process waits for messages to be written.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The way to standard error, once logs are set up.
static OUTBOX: OnceLock<Arc<Outbox>> = OnceLock::new();

/// Sets logs up for the process. `level` comes from the command line, `RUST_LOG` goes before it: a level, or one for
/// each target, such as `warn,pvtzd::upstream=debug`.
///
/// # Errors
/// Logs were set up already.
pub fn set_up(level: &str) -> Result<(), TryInitError> {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| {
        let given = level.parse().unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
        // It logs each query that the lab's servers get, at the level info.
        if level.contains(LAB_SERVER) { given } else { given.with_target(LAB_SERVER, Level::ERROR) }
    });
    let hold_back = Arc::new(HoldBack::default());
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let format = Tell { hold_back: hold_back.clone(), inner: Format::default().with_target(false) };
    let layer = subscriber_fmt::layer()
        .with_writer(writer())
        .with_ansi(terminal)
        .event_format(format)
        .log_internal_errors(false); // it would report a failed write where the write failed, and panic
    let registry = tracing_subscriber::registry().with(filter);
    registry.with(layer.with_filter(Hold(hold_back))).try_init()
}

/// Writes what waits, as far as standard error is read. For the end of the process.
pub fn flush() {
    if let Some(outbox) = OUTBOX.get() {
        outbox.flush();
    }
}

/// Where messages go: to the thread that writes, or straight to standard error where no thread could be started.
fn writer() -> BoxMakeWriter {
    let outbox = match OUTBOX.get() {
        Some(outbox) => Ok(outbox.clone()),
        None => Outbox::start(io::stderr()),
    };
    match outbox {
        Ok(outbox) => {
            let outbox = OUTBOX.get_or_init(|| outbox);
            print::divert_errors(|text| {
                if let Some(outbox) = OUTBOX.get() {
                    outbox.offer(text.to_string().as_bytes());
                }
            });
            BoxMakeWriter::new(|| Slot(outbox))
        }
        Err(_) => BoxMakeWriter::new(io::stderr),
    }
}

/// What the thread that writes is told.
enum Note {
    /// Write this.
    Message(Vec<u8>),
    /// Say when all before this was written.
    Flush(Sender<()>),
}

/// A bounded way to a thread that writes.
struct Outbox {
    sender: Sender<Note>,
    /// Octets that wait.
    waiting: Arc<AtomicUsize>,
    /// Messages that found no room and were not told of yet.
    lost: Arc<AtomicU64>,
}

impl Outbox {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread could be started.
    fn start(sink: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let (sender, notes) = channel();
        let (waiting, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let outbox = Arc::new(Self { sender, waiting: waiting.clone(), lost: lost.clone() });
        thread::Builder::new().name("log".into()).spawn(move || write_all(sink, &notes, &waiting, &lost))?;
        Ok(outbox)
    }

    /// Hands a message over, if there is room; never waits.
    fn offer(&self, message: &[u8]) {
        let size = message.len() + OVERHEAD;
        let has_room = self.waiting.fetch_add(size, Ordering::Relaxed) + size <= ROOM;
        if !has_room || self.sender.send(Note::Message(message.to_vec())).is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all before this was written, but not for long.
    fn flush(&self) {
        let (done, is_done) = channel();
        if self.sender.send(Note::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(TIMEOUT); // its reader may stand still; then the rest is lost
        }
    }
}

/// The thread. An error of writing has no place to be reported.
fn write_all(mut sink: impl Write, notes: &Receiver<Note>, waiting: &AtomicUsize, lost: &AtomicU64) {
    let tell_lost = |sink: &mut dyn Write| {
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let told = format!("  ({count} messages were lost: standard error was not read)\n");
            let _ = sink.write_all(told.as_bytes());
        }
    };
    loop {
        let note = match notes.try_recv() {
            Ok(note) => note,
            Err(_) => {
                tell_lost(&mut sink);
                let Ok(note) = notes.recv() else { return };
                note
            }
        };
        match note {
            Note::Message(message) => {
                let _ = sink.write_all(&message);
                waiting.fetch_sub(message.len() + OVERHEAD, Ordering::Relaxed);
            }
            Note::Flush(done) => {
                tell_lost(&mut sink);
                let _ = sink.flush();
                let _ = done.send(());
            }
        }
    }
}

/// Takes one message over: the formatter writes each in one piece.
struct Slot(&'static Outbox);

impl Write for Slot {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.offer(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How often each place in the program logged, and how much was held back.
#[derive(Default)]
struct HoldBack {
    places: Mutex<HashMap<Identifier, SpanPlace>>,
}

struct SpanPlace {
    window: Instant,
    passed: u32,
    held: u64,
}

impl HoldBack {
    /// True when a message may pass now.
    fn admits(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(SpanPlace { window: now, passed: 0, held: 0 });
        if now.duration_since(place.window) >= WINDOW {
            (place.window, place.passed) = (now, 0);
        }
        if place.passed < BURST {
            place.passed += 1;
            return true;
        }
        place.held += 1;
        false
    }

    /// How many messages were held back since one passed; said once.
    fn take_held(&self, place: Identifier) -> u64 {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get_mut(&place).map_or(0, |place| std::mem::take(&mut place.held))
    }
}

/// Lets messages pass.
struct Hold(Arc<HoldBack>);

impl<S> Filter<S> for Hold {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(event.metadata().callsite(), Instant::now())
    }
}

/// Writes a message, and with the first after a silence how many were held back.
struct Tell {
    hold_back: Arc<HoldBack>,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for Tell
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let held = self.hold_back.take_held(event.metadata().callsite());
        if held > 0 {
            writeln!(writer, "  ({held} more like the next were held back)")?;
        }
        self.inner.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite;

    fn place() -> Identifier {
        struct Here;
        impl Callsite for Here {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                unreachable!("only its identity counts")
            }
        }
        static HERE: Here = Here;
        Identifier(&HERE)
    }

    /// A sink that stands still until it is let go.
    struct Standing(Receiver<()>, Sender<String>);

    impl Write for Standing {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(String::from_utf8_lossy(octets).into_owned());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nothing_and_what_is_lost_is_told() {
        let ((go, stands), (told, written)) = (channel(), channel());
        let outbox = Outbox::start(Standing(stands, told)).unwrap();
        let message = vec![b'x'; 1024 - OVERHEAD];
        for _ in 0..ROOM / 1024 + 7 {
            outbox.offer(&message);
        }
        assert!(outbox.waiting.load(Ordering::Relaxed) <= ROOM);
        drop(go);
        outbox.flush();
        let written: Vec<String> = written.try_iter().collect();
        let (last, messages) = written.split_last().unwrap();
        assert_eq!(messages.len(), ROOM / 1024);
        assert_eq!(last, "  (7 messages were lost: standard error was not read)\n");
        assert_eq!((outbox.waiting.load(Ordering::Relaxed), outbox.lost.load(Ordering::Relaxed)), (0, 0));
        outbox.offer(b"later\n");
        outbox.flush();
    }

    #[test]
    fn a_repeating_message_is_held_back_and_counted() {
        let hold_back = HoldBack::default();
        let now = Instant::now();
        let passed = (0..100).filter(|_| hold_back.admits(place(), now)).count();
        assert_eq!(passed, BURST as usize);
        assert!(hold_back.admits(place(), now + WINDOW));
        assert_eq!(hold_back.take_held(place()), 100 - u64::from(BURST));
        assert_eq!(hold_back.take_held(place()), 0);
    }
}
