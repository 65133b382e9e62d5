//! `pvtzd schema`: prints the JSON Schema of the configuration, for editors and other validators.

use super::exit;
use crate::base::print::{self, Output};

/// Made by `packaging/schema` out of docs/configuration.md.
const SCHEMA: &str = include_str!("../../config/pvtzd.schema.json");

/// Runs the command.
pub(super) fn run() -> u8 {
    print!("{SCHEMA}");
    if print::flush() == Output::Failed { exit::SYSTEM } else { exit::OK }
}
