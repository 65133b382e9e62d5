//! The engine decides. It is pure: plain functions over data, with `now` as an argument where time matters;
//! no async, no socket, no clock, no lock, no log. What is decided here is carried out by `serve`, `upstream`
//! and `state`.
//!
//! In reading order: `request` and `screen` admit a question; `decide` says who answers for a name, by the
//! `catalog` of `zone`s and rules and by `local` names; `chain` follows CNAMEs hop by hop into an `answer`;
//! `decode` takes an upstream's message apart, `reading` says what is believed of it and `cache` what that is worth over
//! time; `reply` is the way out, by the encoder in `wire`; `lane` keeps finished answers. `name` and `record` are the
//! words, and `text` is how people write them.

pub mod answer;
pub mod cache;
pub mod cache_key;
pub mod cached_packet;
pub mod catalog;
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
pub mod rebinding;
pub mod record;
pub mod records;
pub mod reply;
pub mod request;
pub mod response;
pub mod rrset;
mod sections;
pub mod sharded;
pub mod text;
pub mod view;
pub mod wire;
mod work;
pub mod zone;
pub mod zone_build;
