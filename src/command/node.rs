//! `skerry node`

use std::path::PathBuf;

use clap::Args;
use skerry_node::config::NodeConfig;
use skerry_proto::Refusal;

use super::{block_on, interrupted};
use crate::federation::start_node;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs a region's node until it is interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    block_on(async {
        let config = NodeConfig::load(&arguments.config)?;
        let node = start_node(config).await?;
        interrupted().await;
        node.stop().await;
        Ok(())
    })
}
