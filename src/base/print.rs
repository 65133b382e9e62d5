//! Standard output and standard error. A failed write does not panic: the reader of a pipe may end first, a disk may be
//! full. `print!`, `println!` and `eprintln!` of this crate replace the standard library's, which panic.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The current [`Output`].
static OUTPUT: AtomicU8 = AtomicU8::new(Output::Open as u8);

/// The state of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Output {
    /// All writes succeeded.
    Open,
    /// The reader of the pipe has ended, for example `head`.
    Closed,
    /// A write failed for another reason, which was reported.
    Failed,
}

impl Output {
    /// The current state of standard output.
    pub fn now() -> Self {
        match OUTPUT.load(Ordering::Relaxed) {
            0 => Self::Open,
            1 => Self::Closed,
            _ => Self::Failed,
        }
    }
}

/// Writes to standard output; does nothing after a failed write.
pub fn output(text: fmt::Arguments<'_>) {
    if Output::now() == Output::Open {
        note(io::stdout().lock().write_fmt(text));
    }
}

/// Flushes the buffer, and returns the state of standard output.
pub fn flush() -> Output {
    if Output::now() == Output::Open {
        note(io::stdout().lock().flush());
    }
    Output::now()
}

/// The replacement of standard error.
static ERRORS: OnceLock<fn(fmt::Arguments<'_>)> = OnceLock::new();

/// Sends text for standard error to `sink`, which must not wait.
pub fn divert_errors(sink: fn(fmt::Arguments<'_>)) {
    let _ = ERRORS.set(sink); // the first one stays
}

/// Writes to standard error or its replacement. A failure cannot be reported.
pub fn error(text: fmt::Arguments<'_>) {
    match ERRORS.get() {
        Some(sink) => sink(text),
        None => drop(io::stderr().lock().write_fmt(text)),
    }
}

/// Records a failed write.
fn note(written: io::Result<()>) {
    let Err(cause) = written else { return };
    if cause.kind() == ErrorKind::BrokenPipe {
        OUTPUT.store(Output::Closed as u8, Ordering::Relaxed);
    } else {
        OUTPUT.store(Output::Failed as u8, Ordering::Relaxed);
        error(format_args!("error: cannot write to standard output: {cause}\n"));
    }
}

/// As the standard library's, without its panic.
macro_rules! print {
    ($($text:tt)*) => { $crate::base::print::output(::std::format_args!($($text)*)) };
}

/// As the standard library's, without its panic.
macro_rules! println {
    () => { $crate::base::print::output(::std::format_args!("\n")) };
    ($($text:tt)*) => { $crate::base::print::output(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// As the standard library's, without its panic.
macro_rules! eprintln {
    () => { $crate::base::print::error(::std::format_args!("\n")) };
    ($($text:tt)*) => { $crate::base::print::error(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}
