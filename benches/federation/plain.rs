//! The other side: DataFusion with no privacy, over the same files.

use std::path::Path;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::{Failure, questions::Wording};

/// A session with the tables of all regions.
#[derive(Clone)]
pub struct Plain {
    session: SessionContext,
    regions: Vec<String>,
}

impl Plain {
    /// Registers `<region>_<table>` for the private tables that the questions use: at the place
    /// that `path` says for a region and a table, a file or a folder.
    pub async fn open(
        regions: &[String],
        threads: usize,
        path: impl Fn(&str, &str) -> Result<std::path::PathBuf, Failure>,
    ) -> Result<Self, Failure> {
        let config = SessionConfig::new().with_target_partitions(threads);
        let session = SessionContext::new_with_config(config);
        for region in regions {
            for table in ["episodes", "patients", "inclusions"] {
                session
                    .register_parquet(
                        format!("{region}_{table}"),
                        shown(&path(region, table)?),
                        ParquetReadOptions::default(),
                    )
                    .await?;
            }
        }
        Ok(Self {
            session,
            regions: regions.to_vec(),
        })
    }

    /// The statement over all regions.
    pub fn sql(&self, wording: &Wording) -> String {
        let parts: Vec<String> = self
            .regions
            .iter()
            .map(|region| wording.part.replace("{region}", region))
            .collect();
        wording.total.replace("{parts}", &parts.join(" UNION ALL "))
    }

    /// Runs a statement; how many rows it gave.
    pub async fn rows(&self, sql: &str) -> Result<usize, Failure> {
        let batches = self.session.sql(sql).await?.collect().await?;
        Ok(batches.iter().map(|batch| batch.num_rows()).sum())
    }
}

/// A folder's name ends in a slash.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if path.is_dir() {
        format!("{text}/")
    } else {
        text
    }
}
