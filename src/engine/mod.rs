//! The engine decides. It is pure: plain functions over data, with `now` as an argument where time matters;
//! no async, no socket, no clock, no lock, no log. What is decided here is carried out by `serve`, `upstream`
//! and `state`.

pub mod answer;
pub mod cache;
pub mod catalog;
pub mod chain;
pub mod decide;
pub mod lane;
pub mod local;
pub mod name;
pub mod reading;
pub mod record;
pub mod reply;
pub mod request;
pub mod screen;
pub mod wire;
pub mod zone;
