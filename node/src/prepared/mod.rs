//! Prepared tables: all private tables of a node, hashed by the privacy unit into partitions and
//! sorted by it within, so that a person's rows are adjacent and at one place in all tables.
//!
//! `skerry ingest` writes them (see [`ingest`](crate::ingest)); a node whose configuration names
//! their folder reads them in place of the tables' own files. Decisions: `decisions/0003`.

mod file;
mod files;
mod hot;
pub mod manifest;
mod partition;
mod prune;
mod rows;
mod table;
mod truths;
mod words;

use std::{collections::HashMap, path::Path, sync::Arc};

use datafusion::{catalog::TableProvider, error::DataFusionError};

pub use files::{BATCH_ROWS, ROW_GROUP_ROWS, TableFiles, Texts};
pub use hot::{Hot, bytes_of};
pub(crate) use partition::rise;
pub use partition::{Order, Partitions};
pub use prune::Pruning;
pub use rows::PartitionRows;
pub use table::{PreparedScan, PreparedTable};

use crate::pass::Kept;
use manifest::{Manifest, ManifestError};

/// Why prepared tables can't be used. Read by the owner alone.
#[derive(Debug, thiserror::Error)]
pub enum PreparedError {
    /// The manifest.
    #[error("{0}; `skerry ingest` writes it")]
    Manifest(#[from] ManifestError),
    /// A table's files.
    #[error("prepared table {table}: {source}; run `skerry ingest` again")]
    Table {
        /// The table.
        table: String,
        /// What the engine says.
        source: DataFusionError,
    },
}

/// The prepared tables of a node.
#[derive(Debug)]
pub struct Prepared {
    manifest: Manifest,
    tables: HashMap<String, Arc<TableFiles>>,
    kept: Arc<Kept>,
}

impl Prepared {
    /// Opens the tables in a folder. So many bytes of their columns may be held in memory.
    ///
    /// # Errors
    /// If there is no manifest, or the files aren't what it says.
    pub fn open(folder: &Path, hot_bytes: usize) -> Result<Self, PreparedError> {
        let manifest = Manifest::load(folder)?;
        let hot = (hot_bytes > 0).then(|| Arc::new(Hot::new(hot_bytes)));
        let mut tables = HashMap::new();
        for (number, (name, table)) in manifest.tables.iter().enumerate() {
            let hot = hot.as_ref().map(|hot| (Arc::clone(hot), number));
            let files =
                TableFiles::open(folder, &manifest, name, table, hot).map_err(|source| {
                    PreparedError::Table {
                        table: name.clone(),
                        source,
                    }
                })?;
            tables.insert(name.clone(), Arc::new(files));
        }
        Ok(Self {
            manifest,
            tables,
            kept: Arc::default(),
        })
    }

    /// What the folder says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A table's files.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<TableFiles>> {
        self.tables.get(name)
    }

    /// What is kept of searches for bounds over these tables.
    #[must_use]
    pub fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// A table for the engine.
    #[must_use]
    pub fn provider(&self, name: &str, co_partitioned: bool) -> Option<Arc<dyn TableProvider>> {
        let files = Arc::clone(self.tables.get(name)?);
        Some(Arc::new(PreparedTable::new(files, co_partitioned)))
    }
}
