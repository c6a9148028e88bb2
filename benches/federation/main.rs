//! Private answers beside plain DataFusion: the same questions, over the same Parquet files, in
//! one process, with the same threads, run in turns.
//!
//! ```text
//! cargo bench --bench federation -- --people 1000000 --regions 1,5 --runs 7 --out results.json
//! ```
//!
//! Skerry's time is what a researcher waits for: planning, mutual TLS between coordinator and
//! nodes, debit on disk, bounding, noise, merging, intervals. Each run is a fresh, paid release.
//! Plain DataFusion knows of no noise and no bounds, and reads the regions' files as one. Both
//! read prepared tables; `--unprepared` also has Skerry read the files as they were generated, by
//! the engine's own plan.

mod measure;
mod plain;
mod questions;
mod report;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use clap::Parser;
use serde_json::Value;
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
    synth::{self, SynthOptions},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_node::{
    config::NodeConfig,
    ingest::{IngestOptions, ingest},
    prepared::manifest::Manifest,
};
use skerry_proto::Epsilon;

use measure::Run;
use plain::Plain;
use questions::{QUESTIONS, Wording};
use report::Measured;

type Failure = Box<dyn Error + Send + Sync>;

/// What is measured.
#[derive(Debug, Parser)]
pub struct Options {
    /// People in all regions together, one or more numbers; about 10 episodes each
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    people: Vec<u64>,
    /// Regions, each with a node of its own; one or more numbers
    #[arg(long, value_delimiter = ',', default_value = "5")]
    regions: Vec<usize>,
    /// Questions at once, each by a connection of its own; one or more numbers
    #[arg(long, value_delimiter = ',', default_value = "1")]
    at_once: Vec<usize>,
    /// Runs of each question on each side; the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Questions to ask, by the start of their names [default: all]
    #[arg(long, value_delimiter = ',')]
    questions: Vec<String>,
    /// Threads of the process [default: the machine's]
    #[arg(long)]
    threads: Option<usize>,
    /// The privacy loss of each run; small, so that a budget lasts for all of them
    #[arg(long, default_value_t = 0.0001)]
    epsilon: f64,
    /// Partitions of the prepared tables [default: by their size]
    #[arg(long)]
    partitions: Option<usize>,
    /// A top-level line for each node's configuration, as in `hot_mib = 512`
    #[arg(long)]
    node: Vec<String>,
    /// Also over the files as they were generated
    #[arg(long)]
    unprepared: bool,
    /// Where data are kept: they are generated and prepared once [default: a folder that is removed]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where the federations' files are, and so the ledgers [default: a folder that is removed]
    #[arg(long)]
    home: Option<PathBuf>,
    /// Also write the results to a file, and a picture beside it
    #[arg(long)]
    out: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// DataFusion over the prepared tables' files.
    Plain,
    /// Skerry over prepared tables.
    Prepared,
    /// Skerry over the files as they were generated.
    Unprepared,
}

impl Side {
    /// Its name in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Prepared => "prepared",
            Self::Unprepared => "unprepared",
        }
    }
}

/// What is asked about.
pub struct Setting {
    people: u64,
    episodes: u64,
    regions: Vec<String>,
    threads: usize,
    data: PathBuf,
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
    let home = options
        .home
        .clone()
        .unwrap_or_else(|| folder.path().to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    let mut results = vec![];
    for people in &options.people {
        for regions in &options.regions {
            let own = data.join(format!("{people}-people-{regions}-regions"));
            let setting = generate(&own, *people, *regions, threads)?;
            let measured = runtime.block_on(measure_setting(&setting, &options, &home))?;
            report::print(&setting, &measured, &options);
            results.push(report::json(&setting, &measured));
            report::write(&options, &results)?;
        }
    }
    Ok(())
}

/// Generates the data unless they are there.
fn generate(data: &Path, people: u64, regions: usize, threads: usize) -> Result<Setting, Failure> {
    if !data.join("truth.json").exists() {
        let mut wanted = SynthOptions::new(data, people);
        wanted.regions = regions;
        let began = Instant::now();
        let summary = synth::generate(&wanted, &|_| ())?;
        println!(
            "{} synthetic people, {} episodes, {} regions: written in {:.1} s",
            summary.people,
            summary.episodes,
            summary.regions.len(),
            began.elapsed().as_secs_f64()
        );
    }
    let truth: Value = serde_json::from_slice(&fs::read(data.join("truth.json"))?)?;
    Ok(Setting {
        people,
        episodes: truth["episodes"].as_u64().unwrap_or(0),
        regions: truth["regions"]
            .as_object()
            .map_or_else(Vec::new, |regions| regions.keys().cloned().collect()),
        threads,
        data: data.to_owned(),
    })
}

async fn measure_setting(
    setting: &Setting,
    options: &Options,
    home: &Path,
) -> Result<Vec<Measured>, Failure> {
    let own = tempfile::tempdir_in(home)?;
    let mut sides = vec![];
    let prepared = write_federation(setting, &own.path().join("prepared"))?;
    prepare(setting, options, &prepared).await?;
    sides.push((Side::Prepared, prepared));
    if options.unprepared {
        let unprepared = write_federation(setting, &own.path().join("unprepared"))?;
        sides.push((Side::Unprepared, unprepared));
    }
    let mut asked = vec![];
    for (side, folder) in sides {
        asked.push(Asked::start(side, &folder, options).await?);
    }
    let plain = Plain::open(&setting.regions, setting.threads, |region, table| {
        let folder = prepared_folder(setting, region);
        let manifest = Manifest::load(&folder)?;
        Ok(folder.join(manifest.version.to_string()).join(table))
    })
    .await?;
    let mut measured = vec![];
    for wording in &QUESTIONS {
        let wanted = options.questions.is_empty()
            || options
                .questions
                .iter()
                .any(|wanted| wording.name.starts_with(wanted.as_str()));
        if !wanted {
            continue;
        }
        for at_once in &options.at_once {
            measured.push(measure_question(wording, *at_once, options, &plain, &asked).await?);
        }
    }
    for side in asked {
        side.federation.stop().await;
    }
    Ok(measured)
}

/// The configurations of one federation; the folder.
fn write_federation(setting: &Setting, folder: &Path) -> Result<PathBuf, Failure> {
    init(&InitOptions {
        folder: folder.to_owned(),
        regions: setting
            .regions
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()?,
        data: None,
        unit: None,
        policy: Some(setting.data.clone()),
        port: 0,
    })?;
    Ok(folder.to_owned())
}

fn prepared_folder(setting: &Setting, region: &str) -> PathBuf {
    setting.data.join(region).join("prepared")
}

/// Prepares each region's tables unless they are prepared, and has its node use them.
async fn prepare(setting: &Setting, options: &Options, federation: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let mut rows = 0;
    for region in &setting.regions {
        let file = federation.join(region).join("node.toml");
        let folder = prepared_folder(setting, region);
        let partitions = Manifest::load(&folder).ok().map(|found| found.partitions);
        let wanted = options.partitions;
        if partitions.is_none() || wanted.is_some() && partitions != wanted {
            let into = IngestOptions {
                folder: folder.clone(),
                memory_mib: 1_024,
                partitions: wanted,
                threads: Some(setting.threads),
            };
            let report = ingest(&NodeConfig::load(&file)?, &into, &|_| ()).await?;
            rows += report
                .tables
                .values()
                .map(|table| table.found.rows)
                .sum::<u64>();
        }
        let mut lines = format!("prepared = {:?}\n", folder.display().to_string());
        for line in &options.node {
            lines.push_str(line);
            lines.push('\n');
        }
        let text = fs::read_to_string(&file)?;
        fs::write(
            &file,
            text.replacen("listen = ", &format!("{lines}listen = "), 1),
        )?;
    }
    if rows > 0 {
        let seconds = began.elapsed().as_secs_f64();
        println!("{rows} rows of all tables: prepared in {seconds:.1} s");
    }
    Ok(())
}

/// A federation that is asked.
struct Asked {
    side: Side,
    federation: Federation,
    clients: Vec<Arc<Client>>,
}

impl Asked {
    async fn start(side: Side, folder: &Path, options: &Options) -> Result<Self, Failure> {
        let federation = federation::start(folder).await?;
        let credentials = Credentials::load(&folder.join("researcher"))?;
        let mut clients = vec![];
        for _ in 0..options.at_once.iter().copied().max().unwrap_or(1) {
            let client = Client::connect(&federation.url(), &credentials).await?;
            clients.push(Arc::new(client));
        }
        Ok(Self {
            side,
            federation,
            clients,
        })
    }
}

/// One question in turns, after a turn of each that doesn't count. A question that Skerry refuses
/// is left out of the ratios, and said.
async fn measure_question(
    wording: &'static Wording,
    at_once: usize,
    options: &Options,
    plain: &Plain,
    asked: &[Asked],
) -> Result<Measured, Failure> {
    let mut question = Question::new(wording.skerry);
    question.epsilon = Some(Epsilon::try_from(options.epsilon)?);
    question.fresh = true;
    let sql = plain.sql(wording);
    let mut measured = Measured {
        wording,
        at_once,
        runs: vec![(Side::Plain, vec![])],
        refused: None,
    };
    for side in asked {
        if let Err(refusal) = side.clients[0].query(&question).await {
            measured.refused = Some(refusal.to_string());
            return Ok(measured);
        }
        measured.runs.push((side.side, vec![]));
    }
    for turn in 0..=options.runs {
        let theirs = measure::run(at_once, |_| {
            let (plain, sql) = (plain.clone(), sql.clone());
            async move { plain.rows(&sql).await }
        })
        .await?;
        let mut runs: Vec<Run> = vec![theirs];
        for side in asked {
            let ours = measure::run(at_once, |index| {
                let (client, question) = (Arc::clone(&side.clients[index]), question.clone());
                async move { Ok(client.query(&question).await?.rows.num_rows()) }
            });
            runs.push(ours.await?);
        }
        if turn > 0 {
            for ((_, all), run) in measured.runs.iter_mut().zip(runs) {
                all.push(run);
            }
        }
    }
    Ok(measured)
}
