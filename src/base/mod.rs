//! What everything else is built on and what knows nothing of DNS policy: clock, files, output, times of day.

pub mod auxiliary;
pub mod condition;
pub mod timestamp;
