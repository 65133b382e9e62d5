//! What is counted: queries and answers by thread, by zone and VPC, and by minute; and the tap that shows queries and
//! answers to logs.

pub mod answer_filter;
pub mod counters;
pub mod history;
pub mod recent;
pub mod tap;
pub mod top;
pub mod zone_stats;
