//! How far private answers are from the truth, noise and clipping together: the same SQL over the
//! same files, by Skerry at one ε and by plain DataFusion.
//!
//! ```text
//! cargo bench --bench accuracy -- --people 1000000 --regions 5 --runs 20
//! cargo bench --bench accuracy -- --studies --people 100000 --runs 100
//! ```
//!
//! The total error of a column is Σ|answer − truth| / Σ|truth| over its rows. Bounds on what a
//! person contributes are chosen by Skerry, and paid for, in each run anew.
//!
//! With `--studies` each study is asked as it comes, and what is measured is how often its 95 %
//! intervals hold the exact figures.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use datafusion::prelude::SessionContext;
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
    synth::{self, SynthOptions},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    study,
};

mod data;
mod questions;
mod studies;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Options {
    /// People in all regions together; about 10 episodes each
    #[arg(long, default_value_t = 20_000)]
    people: u64,
    /// Regions, each with a node of its own
    #[arg(long, default_value_t = 5)]
    regions: usize,
    /// Fresh answers to each question
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// ε of each answer
    #[arg(long, default_value_t = 1.0)]
    epsilon: f64,
    /// What goes into `OPTIONS(…)` of each question, for example `bounds = 'declared'`
    #[arg(long)]
    options: Option<String>,
    /// The studies, with ε, δ and parameters of their own
    #[arg(long)]
    studies: bool,
    /// Questions or studies whose name holds this [default: all]
    #[arg(long, default_value = "")]
    only: String,
    /// Where the data are written, or were [default: a folder that is removed]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let folder = tempfile::tempdir()?;
    let data = options
        .data
        .clone()
        .unwrap_or_else(|| folder.path().join("data"));
    if !data.join("truth.json").exists() {
        let mut wanted = SynthOptions::new(&data, options.people);
        wanted.regions = options.regions;
        synth::generate(&wanted, &|_| ())?;
    }
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("truth.json"))?)?;
    let regions: Vec<String> = truth["regions"]
        .as_object()
        .map_or_else(Vec::new, |regions| regions.keys().cloned().collect());
    // The budget has to last for all runs.
    let policy = folder.path().join("policy");
    data::with_large_budget(&data, &policy)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let exact = data::pooled(&data, &regions).await?;
        let federations = Federations {
            folder: folder.path(),
            policy: &policy,
            regions: &regions,
        };
        if options.studies {
            all_studies(&options, &exact, &federations).await?;
        } else {
            all_questions(&options, &exact, &federations).await?;
        }
        println!(
            "{} people, {} episodes, {} regions, {} runs",
            truth["people"],
            truth["episodes"],
            regions.len(),
            options.runs
        );
        Ok::<_, Failure>(())
    })
}

/// New federations over the same data, each with a budget of its own.
struct Federations<'a> {
    folder: &'a Path,
    policy: &'a Path,
    regions: &'a [String],
}

impl Federations<'_> {
    async fn start(&self, name: &str) -> Result<(Federation, Client), Failure> {
        let home = self.folder.join(name);
        let regions = self.regions.iter().map(|id| id.parse());
        init(&InitOptions {
            folder: home.clone(),
            regions: regions.collect::<Result<_, _>>()?,
            data: None,
            unit: None,
            policy: Some(self.policy.to_owned()),
            port: 0,
        })?;
        let federation = federation::start(&home).await?;
        let credentials = Credentials::load(&home.join("researcher"))?;
        let client = Client::connect(&federation.url(), &credentials).await?;
        Ok((federation, client))
    }
}

fn aligned(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

async fn all_questions(
    options: &Options,
    exact: &SessionContext,
    federations: &Federations<'_>,
) -> Result<(), Failure> {
    let (federation, client) = federations.start("questions").await?;
    let mut table = aligned(&[
        "question",
        "rows",
        "total error",
        "worst run",
        "intervals hold",
        "low by (said)",
    ]);
    let asked = questions::QUESTIONS
        .into_iter()
        .filter(|(name, ..)| name.contains(&options.only));
    for (name, keys, sql) in asked {
        eprintln!("{name}");
        table.add_row(questions::measure(name, keys, sql, options, exact, &client).await?);
    }
    println!("{table}");
    println!("ε = {}; total error: median of the runs", options.epsilon);
    federation.stop().await;
    Ok(())
}

async fn all_studies(
    options: &Options,
    exact: &SessionContext,
    federations: &Federations<'_>,
) -> Result<(), Failure> {
    let header = ["study", "figure", "rows", "intervals", "hold the truth"];
    let mut table = aligned(&header);
    let asked = study::all()?;
    let asked = asked
        .iter()
        .filter(|study| study.name.contains(&options.only));
    for study in asked {
        let (federation, client) = federations.start(&study.name).await?;
        let coverage = studies::cover(study, options, exact, &client).await?;
        eprintln!("{}: {} ms an answer", study.name, coverage.milliseconds());
        for line in coverage.lines(&study.name) {
            table.add_row(line);
        }
        federation.stop().await;
    }
    for column in 2..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    Ok(())
}
