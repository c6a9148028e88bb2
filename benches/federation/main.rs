//! Private answers beside plain DataFusion: the same questions, over the same Parquet files, in
//! one process, with the same threads, run in turns.
//!
//! ```text
//! cargo bench --bench federation -- --people 1000000 --regions 5 --runs 7 --out results.json
//! ```
//!
//! Skerry's time is what a researcher waits for: planning, mutual TLS between coordinator and
//! nodes, debit on disk, bounding, noise, merging, intervals. Each run is a fresh, paid release.
//! Plain DataFusion knows of no noise and no bounds, and reads the regions' files as one.

mod measure;
mod plain;
mod questions;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::Parser;
use datafusion::DATAFUSION_VERSION;
use serde_json::{Value, json};
use skerry::{
    federation,
    init::{InitOptions, init},
    synth::{self, SynthOptions},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::Epsilon;

use measure::{Run, median};
use plain::Plain;
use questions::{QUESTIONS, Wording};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Options {
    /// People in all regions together; about 10 episodes each
    #[arg(long, default_value_t = 100_000)]
    people: u64,
    /// Regions, each with a node of its own
    #[arg(long, default_value_t = 5)]
    regions: usize,
    /// Runs of each question on each side; the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Threads of the process [default: the machine's]
    #[arg(long)]
    threads: Option<usize>,
    /// The privacy loss of each run; small, so that a budget lasts for all of them
    #[arg(long, default_value_t = 0.01)]
    epsilon: f64,
    /// Write each person's episodes together
    #[arg(long)]
    sorted: bool,
    /// Where the data are written, or were: they are generated once [default: a folder that is
    /// removed]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Also write the results to a file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The times of one question.
struct Measured {
    wording: &'static Wording,
    plain: Vec<Run>,
    skerry: Vec<Run>,
    /// Why Skerry doesn't answer it.
    refused: Option<String>,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let threads = options
        .threads
        .or_else(|| std::thread::available_parallelism().map(usize::from).ok())
        .unwrap_or(1);
    let folder = tempfile::tempdir()?;
    let data = options
        .data
        .clone()
        .unwrap_or_else(|| folder.path().join("data"));
    let truth = prepare(&options, &data)?;
    let regions: Vec<String> = truth["regions"]
        .as_object()
        .map_or_else(Vec::new, |regions| regions.keys().cloned().collect());
    let home = folder.path().join("federation");
    init(&InitOptions {
        folder: home.clone(),
        regions: regions
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()?,
        data: None,
        unit: None,
        policy: Some(data.clone()),
        port: 0,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    let measured = runtime.block_on(async {
        let plain = Plain::open(&data, &regions, threads).await?;
        let federation = federation::start(&home).await?;
        let credentials = Credentials::load(&home.join("researcher"))?;
        let client = Client::connect(&federation.url(), &credentials).await?;
        let mut measured = Vec::new();
        for wording in &QUESTIONS {
            measured.push(measure_question(wording, &options, &plain, &client).await?);
        }
        federation.stop().await;
        Ok::<_, Failure>(measured)
    })?;
    report(&options, threads, &truth, &measured)
}

/// Generates the data unless they are there; what is true of them.
fn prepare(options: &Options, data: &Path) -> Result<Value, Failure> {
    if !data.join("truth.json").exists() {
        let mut wanted = SynthOptions::new(data, options.people);
        wanted.regions = options.regions;
        wanted.sorted = options.sorted;
        let began = std::time::Instant::now();
        let summary = synth::generate(&wanted, &|_| ())?;
        println!(
            "{} synthetic people, {} episodes, {} regions: written in {:.1} s",
            summary.people,
            summary.episodes,
            summary.regions.len(),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(serde_json::from_slice(&std::fs::read(
        data.join("truth.json"),
    )?)?)
}

/// One question in turns, after a turn of each that doesn't count. A question that Skerry refuses
/// is left out of the ratios, and said.
async fn measure_question(
    wording: &'static Wording,
    options: &Options,
    plain: &Plain,
    client: &Client,
) -> Result<Measured, Failure> {
    let mut question = Question::new(wording.skerry);
    question.epsilon = Some(Epsilon::try_from(options.epsilon)?);
    question.fresh = true;
    let sql = plain.sql(wording);
    let mut measured = Measured {
        wording,
        plain: Vec::new(),
        skerry: Vec::new(),
        refused: None,
    };
    if let Err(refusal) = client.query(&question).await {
        measured.refused = Some(refusal.to_string());
        return Ok(measured);
    }
    for turn in 0..=options.runs {
        let theirs = measure::run(async || plain.rows(&sql).await).await?;
        let ours = measure::run(async || {
            let answer = client.query(&question).await?;
            Ok(answer.rows.num_rows())
        })
        .await?;
        if turn > 0 {
            measured.plain.push(theirs);
            measured.skerry.push(ours);
        }
    }
    Ok(measured)
}

fn report(
    options: &Options,
    threads: usize,
    truth: &Value,
    measured: &[Measured],
) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.set_header([
        "question",
        "plain ms",
        "skerry ms",
        "ratio",
        "plain rows",
        "skerry rows",
        "plain peak MiB",
        "skerry peak MiB",
    ]);
    let mut logarithms = 0.0;
    let mut results = Vec::new();
    for question in measured {
        if let Some(refusal) = &question.refused {
            println!("{} is not answered: {refusal}", question.wording.name);
            results.push(json!({"question": question.wording.name, "refused": refusal}));
            continue;
        }
        let plain = median(&question.plain);
        let skerry = median(&question.skerry);
        let ratio = skerry.milliseconds / plain.milliseconds;
        logarithms += ratio.ln();
        table.add_row([
            question.wording.name.to_owned(),
            format!("{:.1}", plain.milliseconds),
            format!("{:.1}", skerry.milliseconds),
            format!("{ratio:.2}"),
            plain.rows.to_string(),
            skerry.rows.to_string(),
            measure::show_memory(plain.peak_bytes),
            measure::show_memory(skerry.peak_bytes),
        ]);
        let times = |runs: &[Run]| runs.iter().map(|run| run.milliseconds).collect::<Vec<_>>();
        results.push(json!({
            "question": question.wording.name,
            "sql": question.wording.skerry,
            "ratio": ratio,
            "plain_ms": times(&question.plain),
            "skerry_ms": times(&question.skerry),
            "plain_peak_bytes": plain.peak_bytes,
            "skerry_peak_bytes": skerry.peak_bytes,
        }));
    }
    let answered = measured
        .iter()
        .filter(|question| question.refused.is_none())
        .count();
    let mean = (logarithms / answered.max(1) as f64).exp();
    println!("{table}");
    println!(
        "geometric mean of the ratios {mean:.2}; {} episodes, {} regions, {threads} threads, median of {} runs, \
         DataFusion {DATAFUSION_VERSION}",
        truth["episodes"],
        truth["regions"].as_object().map_or(0, serde_json::Map::len),
        options.runs
    );
    if let Some(out) = &options.out {
        let text = json!({
            "command": std::env::args().collect::<Vec<_>>(),
            "machine": measure::machine(),
            "skerry": env!("CARGO_PKG_VERSION"),
            "datafusion": DATAFUSION_VERSION,
            "people": truth["people"],
            "episodes": truth["episodes"],
            "regions": truth["regions"].as_object().map(|regions| regions.keys().collect::<Vec<_>>()),
            "threads": threads,
            "geometric_mean": mean,
            "questions": results,
        });
        std::fs::write(out, format!("{text:#}\n"))?;
    }
    Ok(())
}
