//! Text as zone files have it (RFC 1035 section 5.1), both ways: names, types and the data of records.
//!
//! Everything works on the octets that go over the wire, so any octet can be written and any answer can be shown.
//! What is not here: which types a private zone takes (`record`).

mod escape;
mod forms;
mod labels;
mod layout;
mod message;
mod mnemonics;
mod parts;
mod print;
mod read;
mod svcb;
mod tokens;
mod types;

pub use self::escape::{is_hazard, printable, printable_octets, quoted};
pub use self::labels::{is_absolute, is_plain, parse, parse_below, show, show_wire, unicode};
pub use self::message::{Opt, ReadExtendedError, TextRecord, TextSections, read as read_message};
pub use self::parts::seconds;
pub use self::print::{generic, is_well_formed, show as show_data};
pub use self::read::{
    has_text_form, read as read_data, read_below as read_data_below, read_generic, strings,
};
pub use self::types::{mnemonic, parse as parse_type};
