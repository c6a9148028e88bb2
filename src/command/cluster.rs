//! `skerry cluster`

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use skerry_ballista::{ExecutorOptions, SchedulerOptions, run_executor, run_scheduler};
use skerry_proto::{ErrorCode, Refusal};

use super::block_on;

#[derive(Debug, Subcommand)]
pub enum Part {
    /// Run the scheduler, which nodes and executors call
    Scheduler(Scheduler),
    /// Run an executor, on each machine that has the tables' files under the same path
    Executor(Executor),
}

#[derive(Debug, Args)]
pub struct Scheduler {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// An executor that isn't heard of for so long is taken for lost
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    executor_timeout: u64,
}

#[derive(Debug, Args)]
pub struct Executor {
    /// Host and port of the scheduler
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "ADDRESS")]
    scheduler: String,
    /// Where the node and other executors fetch what was exchanged
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where what is exchanged is written: rows of persons, on a disk of the owner's
    #[arg(long, value_name = "DIR")]
    work: PathBuf,
    /// Tasks at once [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    tasks: Option<usize>,
    /// Memory of all tasks together; what doesn't fit goes over the disk
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: u64,
    /// How often the scheduler hears of it
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    heartbeat: u64,
}

/// Runs a part of a cluster until it is interrupted.
pub fn run(part: Part) -> Result<(), Refusal> {
    block_on(async {
        let done = match part {
            Part::Scheduler(scheduler) => {
                let options = SchedulerOptions {
                    listen: scheduler.listen,
                    executor_timeout_seconds: scheduler.executor_timeout,
                };
                run_scheduler(options).await
            }
            Part::Executor(executor) => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let options = ExecutorOptions {
                    scheduler: executor.scheduler,
                    listen: executor.listen,
                    work: executor.work,
                    tasks: executor.tasks.unwrap_or(cores),
                    memory_mib: executor.memory_mib,
                    heartbeat_seconds: executor.heartbeat,
                };
                run_executor(options).await
            }
        };
        done.map_err(|error| {
            Refusal::new(
                ErrorCode::Unavailable,
                format!("the cluster's part can't run: {error}"),
                "",
            )
        })
    })
}
