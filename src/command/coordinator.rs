//! `skerry coordinator`

use std::path::PathBuf;

use clap::Args;
use skerry_proto::Refusal;

use super::{block_on, interrupted};
use crate::federation::{load_coordinator, start_coordinator};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The coordinator's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the coordinator until it is interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    block_on(async {
        let config = load_coordinator(&arguments.config)?;
        let coordinator = start_coordinator(config).await?;
        interrupted().await;
        coordinator.shutdown().await;
        Ok(())
    })
}
