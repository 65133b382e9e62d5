//! What is counted: queries and answers by thread, by zone and VPC, and by minute; and the tap that shows queries and
//! answers to logs.

pub mod history;
pub mod place;
pub mod tally;
pub mod watch;
