//! The other side: DataFusion with no privacy, over the same files.

use std::path::Path;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::{Failure, questions::Wording};

/// A session with the tables of all regions.
pub struct Plain {
    session: SessionContext,
    regions: Vec<String>,
}

impl Plain {
    /// Registers `<region>_<table>` for the private tables that the questions use.
    pub async fn open(data: &Path, regions: &[String], threads: usize) -> Result<Self, Failure> {
        let config = SessionConfig::new().with_target_partitions(threads);
        let session = SessionContext::new_with_config(config);
        for region in regions {
            for table in ["episodes", "patients", "inclusions"] {
                let file = data.join(region).join(format!("{table}.parquet"));
                session
                    .register_parquet(
                        format!("{region}_{table}"),
                        file.display().to_string(),
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
