#![doc = include_str!("../README.md")]

mod client;
mod codec;
mod executor;
mod scheduler;

pub use client::BallistaCluster;
pub use executor::{ExecutorOptions, run_executor};
pub use scheduler::{SchedulerOptions, run_scheduler};

/// Stack of the threads that plan and run: expressions are nested, and so are the functions that read and
/// evaluate them.
pub const STACK_BYTES: usize = 64 << 20;

/// A part of the cluster can't run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// What the cluster itself says.
    #[error("{0}")]
    Ballista(#[from] ballista_core::error::BallistaError),
    /// An address.
    #[error("{0} is no address with a port")]
    Address(String),
}
