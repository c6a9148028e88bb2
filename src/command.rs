//! The command line: one file for each subcommand.

mod asking;
mod budget;
mod catalog;
#[cfg(feature = "ballista")]
mod cluster;
mod connection;
mod coordinator;
mod demo;
mod doctor;
mod ingest;
mod init;
mod logging;
mod node;
mod query;
mod standing;
mod study;
mod synth;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use skerry_proto::{ErrorCode, Refusal};

use crate::output::{Format, print_refusal};
use logging::LogFormat;

/// SQL over patient-level data that never leaves its region, answered with differential privacy.
#[derive(Debug, Parser)]
#[command(
    name = "skerry",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// How log lines are written to standard error; RUST_LOG chooses which
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start five synthetic Nordic regions on this machine and compare them
    Demo(demo::Arguments),
    /// Write a new federation: keys, certificates, configuration
    Init(init::Arguments),
    /// Run all of a federation in one process
    Up(up::Arguments),
    /// Run one region's node
    Node(node::Arguments),
    /// Run a part of a Ballista cluster, for a node whose file says `engine = { kind = "ballista", … }`
    #[cfg(feature = "ballista")]
    #[command(subcommand)]
    Cluster(cluster::Part),
    /// Run the coordinator
    Coordinator(coordinator::Arguments),
    /// Ask the federation a question in SQL
    Query(query::Arguments),
    /// List, show and run the studies that regions ask for
    Study(study::Arguments),
    /// Show the tables, columns, public ranges and values
    Catalog(catalog::Arguments),
    /// Show what a project has spent and has left in each region
    Budget(budget::Arguments),
    /// Show the questions that the coordinator asks by itself, week after week
    Standing(standing::Arguments),
    /// Generate synthetic regions with a known truth
    Synth(synth::Arguments),
    /// Prepare a node's private tables, sorted by person, so that answers are fast
    Ingest(ingest::Arguments),
    /// Check a node's configuration, keys, data files and ledger
    Doctor(doctor::Arguments),
}

/// Runs what the command line says; a refusal is told of, and makes the exit code 1.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let serves = matches!(
        cli.command,
        Command::Up(_) | Command::Node(_) | Command::Coordinator(_)
    );
    logging::start(cli.log_format, serves);
    skerry_node::quiet_panics();
    let mut format = Format::Table;
    let done = match cli.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Up(arguments) => up::run(&arguments),
        Command::Node(arguments) => node::run(&arguments),
        #[cfg(feature = "ballista")]
        Command::Cluster(part) => cluster::run(part),
        Command::Coordinator(arguments) => coordinator::run(&arguments),
        Command::Query(arguments) => {
            format = arguments.asking.format;
            query::run(&arguments)
        }
        Command::Study(arguments) => {
            format = arguments.format();
            study::run(&arguments)
        }
        Command::Catalog(arguments) => {
            format = arguments.format.into();
            catalog::run(&arguments)
        }
        Command::Budget(arguments) => {
            format = arguments.format.into();
            budget::run(&arguments)
        }
        Command::Standing(arguments) => {
            format = arguments.format.into();
            standing::run(&arguments)
        }
        Command::Synth(arguments) => synth::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            print_refusal(&refusal, format);
            ExitCode::FAILURE
        }
    }
}

/// Of each thread, more than a node wants for a question; only what is used of it is taken.
pub const STACK_BYTES: usize = skerry_node::STACK_BYTES + (4 << 20);

/// Runs a future to its end on all cores.
fn block_on<T>(future: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The engine walks nested plans on the stack.
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| {
            Refusal::new(
                ErrorCode::Unavailable,
                format!("no threads can be started: {error}"),
                "",
            )
        })?
        .block_on(future)
}

/// Waits until the process is asked to end, by Ctrl-C or by its supervisor.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal ends the process itself.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
