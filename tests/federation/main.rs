//! What the system promises, as its users meet it: whole federations over mutual TLS, on real
//! data, and the command as people run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod accuracy;
mod budget;
mod certificates;
#[cfg(feature = "ballista")]
mod cluster;
mod command_line;
mod consistent;
mod coverage;
mod crash;
mod doctor;
mod documents;
mod explain;
mod hostile_plans;
mod ingest;
mod name_codec;
mod randhie;
mod sites;
mod six_questions;
mod sql;
mod standing;
mod studies;
mod support;
mod threats;
mod twins;
mod views;
mod wire;
