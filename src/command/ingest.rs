//! `skerry ingest`

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use skerry_node::{
    config::NodeConfig,
    ingest::{IngestOptions, IngestReport, Progress, Stage, TableReport, ingest},
};
use skerry_proto::{ErrorCode, Refusal};

use super::block_on;
use crate::{output::print, progress::counting};

/// The folder beside a node's file, unless the file names another.
const FOLDER: &str = "prepared";

#[derive(Debug, Args)]
pub struct Arguments {
    /// The configurations of one or more nodes
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where one node's prepared tables go [default: `prepared` of its file, or `prepared` beside it]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Memory for rows; what is more goes over the disk. Beside it the process needs about half a GiB, however
    /// many rows there are
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory_mib: u64,
    /// Partitions of each table, a power of two [default: by the size of the largest]
    #[arg(long, value_name = "N")]
    partitions: Option<usize>,
    /// Partitions that are sorted at the same time [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Prepares each node's tables, and tells the owner what was found in them.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    if arguments.into.is_some() && arguments.files.len() > 1 {
        return Err(refusal(
            "--into is for one node".to_owned(),
            "name the folders in the nodes' files as in: prepared = \"prepared\"",
        ));
    }
    for file in &arguments.files {
        let config = NodeConfig::load(file)?;
        let beside = file.parent().map(|folder| folder.join(FOLDER));
        let folder = arguments
            .into
            .clone()
            .or_else(|| config.prepared.clone())
            .or(beside)
            .unwrap_or_else(|| FOLDER.into());
        let options = IngestOptions {
            folder: folder.clone(),
            memory_mib: arguments.memory_mib,
            partitions: arguments.partitions,
            threads: arguments.threads,
        };
        let report = with_progress(&config, &options)?;
        print(&told(&config, &report))?;
        if config.prepared.as_ref() != Some(&folder) {
            print(&format!(
                "\nTo use them, write into {}, at the top:\n  prepared = \"{}\"",
                file.display(),
                folder.display()
            ))?;
        }
    }
    Ok(())
}

fn with_progress(config: &NodeConfig, options: &IngestOptions) -> Result<IngestReport, Refusal> {
    let bar = counting("rows", 0);
    let tell = |progress: Progress<'_>| {
        let doing = match progress.stage {
            Stage::Exchange => "reading",
            Stage::Sort => "sorting",
        };
        bar.set_message(format!("{}: {doing} {}", config.region, progress.table));
        bar.set_length(progress.of.unwrap_or(progress.rows));
        bar.set_position(progress.rows);
    };
    let report = block_on(async {
        ingest(config, options, &tell)
            .await
            .map_err(|error| refusal(error.to_string(), "what was finished is kept; run it again"))
    });
    bar.finish_and_clear();
    report
}

/// The report: numbers without noise, for the owner's own terminal.
fn told(config: &NodeConfig, report: &IngestReport) -> String {
    let mut text = format!(
        "Region {}: {} tables in {} partitions each, data version {}.\n\
         These figures are exact, and not for others:",
        config.region,
        report.tables.len(),
        report.partitions,
        report.version
    );
    for (name, table) in &report.tables {
        let found = &table.found;
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n  {name}: {} rows of {} persons",
            found.rows, found.persons
        );
        for finding in findings(table) {
            let _ = write!(text, "\n    {finding}");
        }
    }
    text
}

fn findings(table: &TableReport) -> Vec<String> {
    let found = &table.found;
    let mut findings = vec![];
    if table.without_unit > 0 {
        findings.push(format!(
            "{} rows were left out: they say no person",
            table.without_unit
        ));
    }
    if found.persons_over > 0 {
        findings.push(format!(
            "{} persons have more than {} rows, the most {}; answers that count all of them scale \
             them down ({} rows too many)",
            found.persons_over, table.max_rows_per_unit, found.most_rows, found.rows_over
        ));
    }
    for (column, outside) in &found.outside {
        findings.push(format!(
            "{column}: {outside} values are outside the declared range or list; they are clipped, \
             or in no group"
        ));
    }
    findings
}

fn refusal(message: String, hint: &str) -> Refusal {
    Refusal::new(ErrorCode::Configuration, message, hint)
}
