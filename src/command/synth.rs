//! `skerry synth`

use std::path::PathBuf;

use clap::Args;
use skerry_proto::{ErrorCode, Refusal};

use crate::{
    output::print,
    progress::counting,
    synth::{REGIONS, Summary, SynthOptions, generate},
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write DIR/REGION/TABLE.parquet, the policies, and truth.json
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// People in all regions together; about 10 episodes each
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    people: u64,
    /// The same seed gives the same rows
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// How many regions
    #[arg(long, default_value_t = REGIONS.len(), value_name = "N")]
    regions: usize,
    /// Write each person's episodes together
    #[arg(long)]
    sorted: bool,
}

/// Generates, and says what was written.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let mut options = SynthOptions::new(&arguments.folder, arguments.people);
    options.seed = arguments.seed;
    options.regions = arguments.regions;
    options.sorted = arguments.sorted;
    let summary = with_progress(&options)?;
    let folder = arguments.folder.display();
    print(&format!(
        "{folder}: {} people, {} episodes, {} synthetic regions ({})\n\n\
         Next, a federation over them:\n  skerry init {folder} --policy {folder} && skerry up {folder}",
        summary.people,
        summary.episodes,
        summary.regions.len(),
        summary.regions.join(", ")
    ))
}

/// Generates with a bar on the terminal.
pub fn with_progress(options: &SynthOptions) -> Result<Summary, Refusal> {
    let bar = counting("episodes", options.people.saturating_mul(10));
    let summary = generate(options, &|progress| {
        bar.set_length(progress.expected);
        bar.set_position(progress.episodes);
    });
    bar.finish_and_clear();
    summary.map_err(|error| Refusal::new(ErrorCode::Configuration, error.to_string(), ""))
}
