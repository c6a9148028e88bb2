//! `skerry demo`

use std::{path::Path, time::Instant};

use clap::Args;
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::{ErrorCode, Refusal, RegionId};

use super::{block_on, interrupted, synth::with_progress};
use crate::{
    federation::start,
    init::{InitOptions, init},
    output::{answer_table, colours, print, privacy_lines},
    progress::waiting,
    synth::{Summary, SynthOptions},
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Show the comparison and end
    #[arg(long)]
    once: bool,
    /// Synthetic people in all regions together
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    people: u64,
    /// The same seed gives the same people; the noise is new each time
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
}

/// What the demo asks: two releases, and arithmetic on them.
const QUESTION: &str = "\
WITH admitted AS (
       SELECT region, COUNT(DISTINCT patient_id) AS admitted
       FROM episodes
       WHERE service = 'hospital_admission' AND urgent AND start_date >= '2024-01-01'
       GROUP BY region),
     everybody AS (
       SELECT region, COUNT(*) AS people FROM patients GROUP BY region)
SELECT region, people, admitted, 1000.0 * admitted / people AS per_1000
FROM admitted JOIN everybody USING (region)
ORDER BY per_1000 DESC";

/// Starts a synthetic federation, compares its regions, and serves until interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let folder = tempfile::Builder::new()
        .prefix("skerry-demo-")
        .tempdir()
        .map_err(|error| {
            Refusal::new(
                ErrorCode::Configuration,
                format!("no temporary folder can be made: {error}"),
                "",
            )
        })?;
    let mut options = SynthOptions::new(folder.path(), arguments.people);
    options.seed = arguments.seed;
    let summary = with_progress(&options)?;
    make_federation(folder.path(), &summary)?;
    block_on(show(folder.path(), &summary, arguments.once))
}

fn make_federation(folder: &Path, summary: &Summary) -> Result<(), Refusal> {
    let regions: Result<Vec<RegionId>, _> = summary.regions.iter().map(|id| id.parse()).collect();
    let regions = regions.map_err(|error: skerry_proto::IdError| {
        Refusal::new(ErrorCode::Configuration, error.to_string(), "")
    })?;
    init(&InitOptions {
        folder: folder.to_owned(),
        regions,
        data: None,
        unit: None,
        policy: Some(folder.to_owned()),
        port: 0,
    })?;
    Ok(())
}

async fn show(folder: &Path, summary: &Summary, once: bool) -> Result<(), Refusal> {
    let federation = start(folder).await?;
    let shown = folder.display();
    print(&format!(
        "{} synthetic regions with {} people and {} episodes; no person is real. Each region has\n\
         a node of its own, which alone reads its rows, and adds the noise.\n\n\
         Where are most people admitted acutely, for each 1,000 who live there?\n\n{}\n",
        summary.regions.len(),
        summary.people,
        summary.episodes,
        indented(QUESTION)
    ))?;
    let identity = Credentials::load(&folder.join("researcher"))?;
    let client = Client::connect(&federation.url(), &identity).await?;
    let bar = waiting("the regions are answering");
    let asked = Instant::now();
    let answer = client.query(&Question::new(QUESTION)).await;
    let took = asked.elapsed();
    bar.finish_and_clear();
    let answer = answer?;
    let table = indented(&answer_table(&answer, colours()));
    let privacy = indented(&privacy_lines(&answer));
    let took = took.as_millis();
    print(&format!("{table}\n\n{privacy}\n\n  Answered in {took} ms."))?;
    if !once {
        print(&format!(
            "\nThe federation runs until Ctrl-C.\n  \
             ask       skerry query --federation {shown} \"SELECT region, COUNT(*) AS n FROM patients GROUP BY region\"\n  \
             explore   skerry catalog --federation {shown}\n  \
             connect   Arrow Flight SQL at {}, with the key and certificate in {shown}/researcher\n  \
             truth     {shown}/truth.json, which no answer shows",
            federation.url()
        ))?;
        interrupted().await;
    }
    drop(client);
    federation.stop().await;
    Ok(())
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| format!("  {line}"))
        .collect();
    lines.join("\n").replace("\n  \n", "\n\n")
}
