#![doc = include_str!("../README.md")]

pub mod accuracy;
pub mod answer;
pub mod client;
pub mod config;
pub mod question;
pub mod standards;

mod bounding;
mod bounds;
mod caller;
mod canonical;
mod catalogue;
mod clipping;
mod consistency;
mod dispatch;
mod explain;
mod federated_table;
mod finish;
mod flight;
mod frontier;
mod grouping_sets;
mod identity;
mod lineage;
mod local;
mod merge;
mod noise;
mod options;
mod plan;
mod prune;
mod refuse;
mod regions;
mod samples;
mod server;
mod service;
mod session;
mod statistic;
mod statistics;
mod store;
mod taint;
mod threshold;
mod total;
mod tree;
mod uncertainty;
mod widen;

pub use flight::{ACTION_BUDGET, ACTION_CATALOGUE};
pub use server::{RunningCoordinator, serve};
