#![doc = include_str!("../README.md")]

pub mod config;

mod catalogue;
mod federated_table;
mod finish;
mod frontier;
mod identity;
mod lineage;
mod merge;
mod noise;
mod options;
mod plan;
mod refuse;
mod regions;
mod session;
mod taint;
mod total;
mod uncertainty;
mod widen;
