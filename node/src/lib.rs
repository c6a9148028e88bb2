#![doc = include_str!("../README.md")]

mod answer;
mod catalogue;
pub mod config;
mod data_files;
mod data_version;
pub mod doctor;
mod execute;
mod identity;
pub mod ingest;
pub mod ledger;
mod node;
mod pass;
pub mod pipeline;
pub mod plan;
pub mod prepared;
mod quotes;
mod serve;
mod service;
mod statistics;

pub use catalogue::CatalogueError;
pub use execute::{Cluster, RegionCodec};
pub use identity::COORDINATOR_NAME;
pub use node::{Node, StartError};
pub use serve::{RunningNode, quiet_panics, serve, serve_on};
pub use service::STACK_BYTES;
