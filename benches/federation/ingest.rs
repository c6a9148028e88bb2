//! How fast tables are prepared, and in how much memory.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    Failure, cores,
    results::Ingested,
    setting::Setting,
    worker::{Duty, Start, Worker},
};

/// What is prepared, and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// People in all regions together, one or more numbers; about 10 episodes each
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    people: Vec<u64>,
    /// Regions, prepared one after the other; with one, all rows are one node's
    #[arg(long, default_value_t = 1)]
    regions: usize,
    /// Memory for rows, as for `skerry ingest`; one or more numbers
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    memory_mib: Vec<u64>,
    /// Partitions that are sorted at the same time [default: the machine's cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Where the tables go, for as long as it takes [default: beside the data]
    #[arg(long)]
    home: Option<PathBuf>,
}

impl Options {
    /// Prepares all of it, each time in a process of its own and in a folder that is removed.
    pub fn measure(&self, data: &Path) -> Result<Vec<Ingested>, Failure> {
        let threads = self.threads.unwrap_or_else(cores);
        let mut all = vec![];
        for people in &self.people {
            let setting = Setting::generated(data, *people, self.regions)?;
            for memory_mib in &self.memory_mib {
                let home = tempfile::tempdir_in(self.home.as_deref().unwrap_or(data))?;
                let federation = home.path().join("federation");
                setting.write_federation(&federation, |_| String::new())?;
                let start = Start {
                    threads,
                    duty: Duty::Prepare {
                        federation,
                        regions: setting.regions.clone(),
                        into: home.path().join("prepared"),
                        memory_mib: *memory_mib,
                    },
                };
                let run = Worker::start(&start)?.done()??;
                all.push(Ingested {
                    people: *people,
                    episodes: setting.episodes,
                    regions: setting.regions.len(),
                    threads,
                    memory_mib: *memory_mib,
                    run,
                });
            }
        }
        Ok(all)
    }
}
