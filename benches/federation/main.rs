//! Private answers beside plain DataFusion: the same questions, over the same Parquet files, with
//! the same threads, run in turns; how fast tables are prepared; how long noise takes.
//!
//! ```text
//! cargo bench --bench federation -- --people 1000000 --regions 1,5 --runs 7 --out results.json
//! cargo bench --bench federation -- ingest --people 1000000 --memory-mib 256,1024
//! cargo bench --bench federation -- noise
//! cargo bench --bench federation -- all --data DIR
//! cargo bench --bench federation -- report benches/federation/results.json
//! ```
//!
//! Skerry's time is what a researcher waits for: planning, mutual TLS between coordinator and
//! nodes, debit on disk, bounding, noise, merging, intervals. Each run is a fresh, paid release.
//! Plain DataFusion knows of no noise and no bounds, and reads the regions' files as one. Both
//! read prepared tables; `--sides plain,prepared,generic` also has Skerry read the files as they
//! were generated, by the engine's generic plan.
//!
//! Each side is a process of its own, which tells its own time and its own peak of memory: that of
//! Skerry's is of the coordinator, all nodes and the researchers' connections together.

mod compare;
mod figures;
mod ingest;
mod measure;
mod noise;
mod plain;
mod questions;
mod report;
mod results;
mod setting;
mod suite;
mod table;
mod tables;
mod targets;
mod worker;

use std::{
    error::Error,
    num::NonZero,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Parser, Subcommand};

use results::{Found, Part, Results};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, args_override_self = true)]
struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    questions: compare::Options,
    /// Where data are kept: they are generated and prepared once [default: a folder that is removed]
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// Write the results to this file, and RESULTS.md and figures beside it
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ask questions: what is done without a subcommand
    Questions(Box<compare::Options>),
    /// Prepare tables
    Ingest(ingest::Options),
    /// Draw noise
    Noise(noise::Options),
    /// All of it, as it stands in RESULTS.md [default of --out: benches/federation/results.json]
    All(suite::Options),
    /// Write RESULTS.md and the figures beside a results' file from what is in it
    Report {
        /// The results' file
        file: PathBuf,
    },
    /// One side, told on its input what to do
    #[command(hide = true)]
    Worker,
}

fn main() -> Result<(), Failure> {
    let command = Command::parse();
    let mut out = command.out.clone();
    let what = command
        .what
        .unwrap_or_else(|| What::Questions(Box::new(command.questions)));
    match &what {
        What::Worker => return worker::work(),
        What::Report { file } => return report::write(&Results::load(file)?, file),
        What::All(_) => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            out.get_or_insert(here.join("benches/federation/results.json"));
        }
        What::Questions(_) | What::Ingest(_) | What::Noise(_) => {}
    }
    let folder = tempfile::tempdir()?;
    let data = command.data.unwrap_or_else(|| folder.path().join("data"));
    std::fs::create_dir_all(&data)?;
    let mut results = Results::here();
    match &what {
        What::All(options) => {
            for arguments in options.parts() {
                let part = Command::try_parse_from(
                    std::iter::once("federation").chain(arguments.split(' ')),
                )?;
                let what = part
                    .what
                    .unwrap_or_else(|| What::Questions(Box::new(part.questions)));
                println!("{arguments}");
                // The other parts are worth having all the same.
                if let Err(failure) = measure(&what, &arguments, &data, &mut results) {
                    println!("{arguments}: {failure}\n");
                }
                if let Some(out) = &out {
                    results.store(out)?;
                }
            }
        }
        _ => {
            let given: Vec<String> = std::env::args().skip(1).collect();
            let given = given.iter().filter(|argument| *argument != "--bench");
            let arguments: Vec<&str> = given.map(String::as_str).collect();
            measure(&what, &arguments.join(" "), &data, &mut results)?;
        }
    }
    if let Some(out) = &out {
        results.store(out)?;
        report::write(&results, out)?;
    }
    Ok(())
}

/// Measures one part, and prints its tables.
fn measure(
    what: &What,
    arguments: &str,
    data: &Path,
    results: &mut Results,
) -> Result<(), Failure> {
    let (began, load) = results::now();
    let start = Instant::now();
    let found = match what {
        What::Questions(options) => Found::Questions(options.measure(data)?),
        What::Ingest(options) => Found::Ingest(options.measure(data)?),
        What::Noise(options) => Found::Noise(options.measure()?),
        What::All(_) | What::Report { .. } | What::Worker => return Ok(()),
    };
    let part = Part {
        command: format!("cargo bench --bench federation -- {arguments}")
            .trim()
            .to_owned(),
        began,
        load,
        seconds: start.elapsed().as_secs_f64().round(),
        found,
    };
    for table in tables::of_part(&part) {
        table.print();
    }
    results.parts.push(part);
    Ok(())
}

/// As the process sees them.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
