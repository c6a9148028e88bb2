//! The other side: DataFusion with no privacy, over the same files.

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::{Failure, questions::Wording, setting::Setting};

/// A session with the tables of all regions.
#[derive(Clone)]
pub struct Plain {
    session: SessionContext,
    regions: Vec<String>,
}

impl Plain {
    /// Registers `<region>_<table>` for the private tables that the questions use.
    pub async fn open(setting: &Setting, threads: usize) -> Result<Self, Failure> {
        let config = SessionConfig::new().with_target_partitions(threads);
        let session = SessionContext::new_with_config(config);
        for region in &setting.regions {
            for table in ["episodes", "patients", "inclusions"] {
                session
                    .register_parquet(
                        format!("{region}_{table}"),
                        // A folder's name ends in a slash.
                        format!("{}/", setting.prepared_table(region, table)?.display()),
                        ParquetReadOptions::default(),
                    )
                    .await?;
            }
        }
        Ok(Self {
            session,
            regions: setting.regions.clone(),
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
