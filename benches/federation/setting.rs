//! What is asked about: synthetic regions, generated and prepared once, and federations over them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skerry::{
    init::{InitOptions, init},
    synth::{self, SynthOptions},
};
use skerry_node::{
    config::NodeConfig,
    ingest::{IngestOptions, ingest},
    prepared::manifest::Manifest,
};

use crate::Failure;

/// Memory for rows when tables are prepared to be asked about.
const PREPARE_MIB: u64 = 1_024;

/// Synthetic regions on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setting {
    /// In all regions together.
    pub people: u64,
    /// In all regions together.
    pub episodes: u64,
    /// Their ids.
    pub regions: Vec<String>,
    /// Where their files are.
    pub data: PathBuf,
}

impl Setting {
    /// Generates the data in a folder of their own beneath `data`, unless they are there.
    pub fn generated(data: &Path, people: u64, regions: usize) -> Result<Self, Failure> {
        let own = data.join(format!("{people}-people-{regions}-regions"));
        if !own.join("truth.json").exists() {
            let mut wanted = SynthOptions::new(&own, people);
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
        let truth: Value = serde_json::from_slice(&fs::read(own.join("truth.json"))?)?;
        Ok(Self {
            people,
            episodes: truth["episodes"].as_u64().unwrap_or(0),
            regions: truth["regions"]
                .as_object()
                .map_or_else(Vec::new, |regions| regions.keys().cloned().collect()),
            data: own,
        })
    }

    /// Writes a federation's configurations, with these lines at the top of each node's.
    pub fn write_federation(
        &self,
        folder: &Path,
        lines: impl Fn(&str) -> String,
    ) -> Result<(), Failure> {
        init(&InitOptions {
            folder: folder.to_owned(),
            regions: self
                .regions
                .iter()
                .map(|id| id.parse())
                .collect::<Result<_, _>>()?,
            data: None,
            unit: None,
            policy: Some(self.data.clone()),
            port: 0,
        })?;
        for region in &self.regions {
            let file = node_file(folder, region);
            let text = fs::read_to_string(&file)?;
            let with = format!("{}listen = ", lines(region));
            fs::write(&file, text.replacen("listen = ", &with, 1))?;
        }
        Ok(())
    }

    /// Where a region's prepared tables are.
    pub fn prepared(&self, region: &str) -> PathBuf {
        self.data.join(region).join("prepared")
    }

    /// Where a region's prepared table is.
    pub fn prepared_table(&self, region: &str, table: &str) -> Result<PathBuf, Failure> {
        let folder = self.prepared(region);
        let version = Manifest::load(&folder)?.version.to_string();
        Ok(folder.join(version).join(table))
    }

    /// Prepares each region's tables unless they are prepared, in so many partitions if that is said.
    pub async fn prepare(&self, threads: usize, wanted: Option<usize>) -> Result<(), Failure> {
        let began = Instant::now();
        let home = tempfile::tempdir()?;
        let federation = home.path().join("federation");
        let mut rows = 0;
        for region in &self.regions {
            let folder = self.prepared(region);
            let partitions = Manifest::load(&folder).ok().map(|found| found.partitions);
            if partitions.is_some() && (wanted.is_none() || partitions == wanted) {
                continue;
            }
            if !federation.exists() {
                self.write_federation(&federation, |_| String::new())?;
            }
            let into = IngestOptions {
                folder,
                memory_mib: PREPARE_MIB,
                partitions: wanted,
                threads: Some(threads),
            };
            let config = NodeConfig::load(&node_file(&federation, region))?;
            let report = ingest(&config, &into, &|_| ()).await?;
            rows += report
                .tables
                .values()
                .map(|table| table.found.rows)
                .sum::<u64>();
        }
        if rows > 0 {
            let seconds = began.elapsed().as_secs_f64();
            println!("{rows} rows of all tables: prepared in {seconds:.1} s");
        }
        Ok(())
    }
}

/// A node's configuration in a federation's folder.
pub fn node_file(federation: &Path, region: &str) -> PathBuf {
    federation.join(region).join("node.toml")
}
