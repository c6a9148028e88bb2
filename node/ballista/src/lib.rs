#![doc = include_str!("../README.md")]

mod client;
mod codec;
mod executor;
mod scheduler;

pub use client::BallistaCluster;
pub use executor::{ExecutorOptions, run_executor};
pub use scheduler::{SchedulerOptions, run_scheduler};

/// A part of the cluster can't run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// What the cluster itself says.
    #[error("{0}")]
    Ballista(#[from] ballista_core::error::BallistaError),
    /// The folder for what is exchanged.
    #[error("{0}: {1}")]
    Folder(std::path::PathBuf, #[source] std::io::Error),
    /// An address.
    #[error("{0} is no address with a port")]
    Address(String),
}
