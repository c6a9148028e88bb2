//! `skerry init`

use std::path::PathBuf;

use clap::Args;
use skerry_proto::{Refusal, RegionId};

use crate::{
    init::{InitOptions, init},
    output::print,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The regions, as in north,south; left out: those of the data files
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    regions: Vec<RegionId>,
    /// Draft the tables from FOLDER/TABLE/region=ID.parquet or FOLDER/region=ID.parquet; with
    /// --policy: where its paths start from
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The column that says whose row it is, for the draft
    #[arg(long, value_name = "COLUMN")]
    unit: Option<String>,
    /// Take the tables from this file for every region, or from PATH/REGION/policy.toml
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// The coordinator's port; the nodes have the ones after it. 0: free ones at each start
    #[arg(long, default_value_t = 7500, value_name = "N")]
    port: u16,
}

/// Writes a federation, and says what to do next.
pub fn run(arguments: Arguments) -> Result<(), Refusal> {
    let options = InitOptions {
        folder: arguments.folder,
        regions: arguments.regions,
        data: arguments.data,
        unit: arguments.unit,
        policy: arguments.policy,
        port: arguments.port,
    };
    let written = init(&options)?;
    let folder = options.folder.display();
    let regions: Vec<&str> = written.regions.iter().map(RegionId::as_str).collect();
    let first = regions.first().copied().unwrap_or("REGION");
    let count = regions.len();
    let mut text = format!(
        "{folder}: a federation of {count} region{} ({})\n  \
         <region>/node.toml  what each owner lets be asked, and how much\n  \
         coordinator.toml    where researchers ask\n  \
         researcher/         a researcher's key and certificate\n  \
         authority/          the keys that sign all others: keep them off these machines\n\nNext:\n",
        if count == 1 { "" } else { "s" },
        regions.join(", ")
    );
    if written.drafted {
        text.push_str(&format!(
            "  fill in the tables, then check them: skerry doctor {folder}/{first}/node.toml\n"
        ));
    }
    text.push_str(&format!(
        "  skerry up {folder}\n  skerry catalog --federation {folder}"
    ));
    print(&text)
}
