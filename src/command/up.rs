//! `skerry up`

use std::path::PathBuf;

use clap::Args;
use skerry_proto::Refusal;

use super::{block_on, interrupted};
use crate::{federation::start, output::print};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The federation, as `skerry init` wrote it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs a federation until it is interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    block_on(async {
        let federation = start(&arguments.folder).await?;
        let folder = arguments.folder.display();
        print(&format!(
            "{} regions and a coordinator at {}; Ctrl-C ends them\n  \
             skerry query --federation {folder} \"SELECT …\"",
            federation.regions().len(),
            federation.url(),
        ))?;
        interrupted().await;
        federation.stop().await;
        Ok(())
    })
}
