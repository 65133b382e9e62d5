//! The engine decides. It is pure: plain functions over data, with `now` as an argument where time matters;
//! no async, no socket, no clock, no lock, no log. What is decided here is carried out by `server`, `resolve` and
//! `upstream`.
//!
//! In reading order: `message` is the cursor that reads a message in place; `request` and `precheck` admit a question;
//! `decide` says who answers for a name, by the `catalog` of `zone`s and rules and by `local` names; `chain` follows
//! CNAMEs hop by hop into an `answer`; `decode` takes an upstream's message apart, `response` says what is believed of
//! it and `cache` how long; `reply` writes the answer, by the encoder in `wire`; `cached_packet` keeps complete
//! answers. `name` and `record` are the words, and `text` is how people write them.

pub mod answer;
pub mod cache;
pub mod cache_key;
pub mod cached_packet;
pub mod catalog;
mod catalog_outline;
pub mod chain;
pub mod cookie;
pub mod decide;
pub mod decode;
pub mod hosts;
pub mod local;
pub mod master;
pub mod message;
pub mod name;
pub mod ordered;
pub mod packet_key;
pub mod padding;
pub mod plain_answer;
pub mod precheck;
pub mod rcode;
pub mod rebinding;
pub mod record;
pub mod records;
pub mod reply;
pub mod request;
pub mod response;
pub mod retain;
pub mod rrset;
mod sections;
pub mod sharded;
pub mod sort;
pub mod special_address;
pub mod text;
pub mod view;
pub mod wire;
mod work;
pub mod zone;
pub mod zone_build;
pub mod zone_record;
