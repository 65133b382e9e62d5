//! Logs on stderr. A message that repeats is held back, so that no fault of the world fills a disk.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
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
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .event_format(format)
        .log_internal_errors(false); // it would report a failed write where the write failed, and panic
    let registry = tracing_subscriber::registry().with(filter);
    registry.with(layer.with_filter(Hold(hold_back))).try_init()
}

/// How often each place in the program logged, and how much was held back.
#[derive(Default)]
struct HoldBack {
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    window: Instant,
    passed: u32,
    held: u64,
}

impl HoldBack {
    /// True when a message may pass now.
    fn admits(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place { window: now, passed: 0, held: 0 });
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
