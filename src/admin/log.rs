//! Logs on standard error. A message that repeats is held back, so that no fault of the world fills a disk. A thread of
//! its own writes them, and whatever else a server has to say there: a reader that stands still keeps no other thread.

use super::queue::{Queue, QueueItem};
use crate::base::octets::OctetAccount;
use crate::base::{print, terminal};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
const MAX_WAITING_BYTES: usize = 1 << 20;

/// The queue to standard error, once logs are set up.
static QUEUE: OnceLock<Queue<Vec<u8>>> = OnceLock::new();

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
    let is_styled = terminal::is_styled(&io::stderr());
    let format = Tell { hold_back: hold_back.clone(), inner: Format::default().with_target(false) };
    let layer = subscriber_fmt::layer()
        .with_writer(writer())
        .with_ansi(is_styled)
        .event_format(format)
        .log_internal_errors(false); // it would report a failed write on the same output, and panic
    let registry = tracing_subscriber::registry().with(filter);
    registry.with(layer.with_filter(Hold(hold_back))).try_init()
}

/// Writes what waits, as far as standard error is read. For the end of the process.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.drain();
    }
}

/// Where messages go: to the thread that writes, or straight to standard error where no thread could be started.
fn writer() -> BoxMakeWriter {
    if QUEUE.get().is_none()
        && let Ok(queue) = start(io::stderr())
    {
        let _ = QUEUE.set(queue); // the first one stays
    }
    let Some(queue) = QUEUE.get() else { return BoxMakeWriter::new(io::stderr) };
    print::divert_errors(|text| {
        if let Some(queue) = QUEUE.get() {
            offer(queue, text.to_string().as_bytes());
        }
    });
    BoxMakeWriter::new(|| Slot(queue))
}

/// Starts the thread that writes messages to `sink`.
///
/// # Errors
/// No thread could be started.
fn start(sink: impl Write + Send + 'static) -> io::Result<Queue<Vec<u8>>> {
    let account = OctetAccount::alone(MAX_WAITING_BYTES);
    Queue::start("log", account, move |messages, missed| write_all(sink, &messages, &missed))
}

/// Hands a message over, if there is room; never waits.
fn offer(queue: &Queue<Vec<u8>>, message: &[u8]) {
    queue.offer(message.len(), || message.to_vec());
}

/// The thread. An error of writing has no place to be reported.
fn write_all(mut sink: impl Write, messages: &Receiver<QueueItem<Vec<u8>>>, missed: &AtomicU64) {
    let tell_missed = |sink: &mut dyn Write| {
        let count = missed.swap(0, Ordering::Relaxed);
        if count > 0 {
            let told = format!("  ({count} messages were lost: standard error was not read)\n");
            let _ = sink.write_all(told.as_bytes());
        }
    };
    loop {
        let item = match messages.try_recv() {
            Ok(item) => item,
            Err(_) => {
                tell_missed(&mut sink);
                let Ok(item) = messages.recv() else { return };
                item
            }
        };
        match item {
            QueueItem::Item(message, _room) => {
                let _ = sink.write_all(&message);
            }
            QueueItem::Renew => {}
            // Standard error stays open for the last messages.
            QueueItem::Drain(done) => {
                tell_missed(&mut sink);
                let _ = sink.flush();
                let _ = done.send(());
            }
        }
    }
}

/// Takes one message over: the formatter writes each in one piece.
struct Slot(&'static Queue<Vec<u8>>);

impl Write for Slot {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        offer(self.0, message);
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
    /// True if a message may pass now.
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

    /// The number of messages held back since the last one passed; resets it.
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
            writeln!(writer, "  ({held} similar messages were suppressed)")?;
        }
        self.inner.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::OVERHEAD;
    use super::*;
    use std::sync::mpsc::{Sender, channel};
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
        let queue = start(Standing(stands, told)).unwrap();
        let message = vec![b'x'; 1024 - OVERHEAD];
        for _ in 0..MAX_WAITING_BYTES / 1024 + 7 {
            offer(&queue, &message);
        }
        assert!(queue.waiting() <= MAX_WAITING_BYTES);
        drop(go);
        queue.drain();
        let written: Vec<String> = written.try_iter().collect();
        let (last, messages) = written.split_last().unwrap();
        assert_eq!(messages.len(), MAX_WAITING_BYTES / 1024);
        assert_eq!(last, "  (7 messages were lost: standard error was not read)\n");
        assert_eq!((queue.waiting(), queue.dropped()), (0, 0));
        offer(&queue, b"later\n");
        queue.drain();
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
