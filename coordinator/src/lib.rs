#![doc = include_str!("../README.md")]

pub mod config;

mod catalogue;
mod federated_table;
mod frontier;
mod lineage;
mod options;
mod plan;
mod refuse;
mod regions;
mod session;
